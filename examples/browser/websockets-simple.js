// @ts-check
/// <reference types="./websockets-simple.d.ts" />
// A WebSocket client for browsers and the servers of websockets-simple. Documented in websockets-simple.d.ts.

import { GroupError, Groups } from "./groups.js";
import { decodePacket, encodePacket } from "./packet.js";
import { CloseCode, Reconnector, nextAfter, shouldReconnect } from "./reconnect.js";

export { CloseCode, GroupError, decodePacket, encodePacket, shouldReconnect };

/** @typedef {import("./websockets-simple.js").ClientOptions} ClientOptions */
/** @typedef {import("./websockets-simple.js").ConnectionState} ConnectionState */
/** @typedef {import("./websockets-simple.js").TokenReason} TokenReason */
/** @typedef {import("./reconnect.js").Next} Next */

const SUBPROTOCOL = "websockets-simple";
const HELLO = /^\{"websockets-simple":"[\w-]{22}",/;
const SPEAKS = '"type":"speaks","what":["closing","probe"],"agent":"websockets-simple-js/0.1"';

// In milliseconds: silence beyond the interval of the server's pings, the answer to a probe, looks at an open connection,
// timers that were slept through, the longest spread, the longest timer.
const PATIENCE = 10_000;
const ANSWER = 5000;
const BEAT = 15_000;
const LATE = 10_000;
const MOST_SPREAD = 3_600_000;
const MOST_TIMER = 2 ** 31 - 1;

/** @type {ClientOptions & Required<Omit<ClientOptions, "token">>} */
const DEFAULTS = {
  subprotocols: [],
  control: true,
  answersTextPing: true,
  reconnect: true,
  first: true,
  attempts: null,
  within: null,
  baseDelay: 500,
  maxDelay: 30_000,
  stableAfter: 10_000,
  connectTimeout: 20_000,
  random: Math.random,
  WebSocket: globalThis.WebSocket,
};

export class NotAuthorized extends Error {
  constructor(message = "not authorized") {
    super(message);
    this.name = "NotAuthorized";
  }
}

export class ClientEvent extends Event {
  /**
   * @param {string} kind
   * @param {any} detail
   */
  constructor(kind, detail) {
    super(kind);
    this.detail = detail;
  }
}

/** An attempt, or what it has become. What comes late of one that was given up is ignored. */
class Link {
  /** @type {WebSocket | null} */
  socket = null;
  opened = false;
  first = true;
  /** How control messages begin, once there was a hello. @type {string | null} */
  prefix = null;
  probes = false;
  silence = Infinity;
  heard = Date.now();
  /** When a probe without an answer was sent, or 0. */
  probed = 0;
  probe = 0;
  /** @type {number | null} */
  spread = null;
  end = new AbortController();

  /** @param {TokenReason} reason */
  constructor(reason) {
    this.reason = reason;
  }

  /** @param {string} rest */
  say(rest) {
    this.socket?.send(`${this.prefix}${rest}}`);
  }
}

export class WebsocketClient extends EventTarget {
  #url;
  #options;
  #machine;
  #groups;
  /** @type {Link | null} */
  #link = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Told one after the other, also if a listener causes more. @type {ClientEvent[]} */
  #events = [];
  #telling = false;
  /** @type {{ resolve: () => void, reject: (error: Error) => void }[]} */
  #waiting = [];
  /** @type {((value?: undefined) => void)[]} */
  #watching = [];
  /** Of the next token. @type {TokenReason} */
  #reason = "first";

  /**
   * @param {string | URL} url
   * @param {ClientOptions} [options]
   */
  constructor(url, options = {}) {
    super();
    this.#url = url;
    this.#options = { ...DEFAULTS, ...options };
    const { baseDelay: base, maxDelay: most } = this.#options;
    this.#machine = new Reconnector({ ...this.#options, base, most });
    this.#groups = new Groups(this.#options.connectTimeout, (detail) => this.#tell("group", detail));
  }

  /** @returns {ConnectionState} */
  get state() {
    const { name } = this.#machine.state;
    return name === "open" ? "connected" : name;
  }

  get states() {
    return this.#states();
  }

  get subprotocol() {
    const protocol = this.#link?.socket?.protocol ?? "";
    return protocol.startsWith(`${SUBPROTOCOL}+`) ? protocol.slice(SUBPROTOCOL.length + 1) : protocol;
  }

  get hasControls() {
    return typeof this.#link?.prefix === "string";
  }

  get bufferedAmount() {
    return this.#link?.socket?.bufferedAmount ?? 0;
  }

  connect() {
    if (!this.#wants) {
      this.#reason = "first";
      this.#step("connect");
    }
  }

  /** @returns {Promise<void>} */
  connected() {
    if (this.state === "connected") {
      return Promise.resolve();
    }
    return this.#wants
      ? new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
      : Promise.reject(new Error("not connected"));
  }

  reconnectNow() {
    return this.state === "connected" ? this.#probe() : this.#step("now");
  }

  disconnect(code = CloseCode.NORMAL, reason = "") {
    const end = { code, reason, opened: this.state === "connected" };
    // First, as it throws for a code that browsers may not send.
    this.#let(code, reason);
    this.#step("disconnect", this.#wants ? end : undefined);
  }

  /** @param {string | Blob | BufferSource} data */
  send(data) {
    if (this.state !== "connected") {
      throw new Error("not connected");
    }
    this.#link?.socket?.send(data);
  }

  /** @param {unknown} value */
  sendJson(value) {
    this.send(JSON.stringify(value));
  }

  /** @param {string} data */
  sendPacket(data) {
    this.send(encodePacket(data));
  }

  /** @param {string} group */
  join(group) {
    return this.#wants ? this.#groups.join(group) : Promise.reject(new GroupError("notConnected"));
  }

  /** @param {string} group */
  leave(group) {
    return this.#wants ? this.#groups.leave(group) : Promise.reject(new GroupError("notConnected"));
  }

  get #wants() {
    return this.state !== "idle" && this.state !== "givenUp";
  }

  /**
   * Takes a step of the machine: what there was goes, what has to be comes, and then it is told.
   * @param {Parameters<Reconnector["step"]>[0]} happened
   * @param {{ code: number, reason: string, opened: boolean }} [end]
   * @param {Next} [next]
   * @param {number} [time]
   */
  #step(happened, end, next, time) {
    const now = Date.now();
    if (!this.#machine.step(happened, now, this.#options.random(), next, time)) {
      return false;
    }
    const { name, until = now } = this.#machine.state;
    clearTimeout(this.#timer);
    if (name === "open") {
      this.#beat();
    } else {
      this.#let();
      this.#link?.end.abort();
      this.#link = null;
      this.#groups.end(this.#wants);
      if (name === "connecting") {
        this.#dial();
      } else if (name === "waiting") {
        this.#timer = setTimeout(() => this.#step("pauseOver"), Math.min(until - now, MOST_TIMER));
      }
    }
    for (const [kind, listener] of Object.entries(this.#listeners)) {
      globalThis[this.#wants ? "addEventListener" : "removeEventListener"]?.(kind, listener);
    }
    if (name === "open" || !this.#wants) {
      const error = new Error(end?.reason || "not connected");
      this.#waiting.splice(0).forEach(({ resolve, reject }) => (name === "open" ? resolve() : reject(error)));
    }
    this.#watching.splice(0).forEach((resolve) => resolve());
    if (end !== undefined) {
      this.#tell("disconnected", { ...end, reconnectIn: name === "waiting" ? Math.round(until - now) : null }, false);
    } else if (name === "open") {
      this.#tell("connected", { subprotocol: this.subprotocol }, false);
    }
    this.#tell("state", { state: this.state });
    return true;
  }

  /**
   * Closes the socket without waiting for its end, which takes a minute on a dead line.
   * @param {number} [code]
   * @param {string} [reason]
   */
  #let(code, reason) {
    this.#link?.socket?.close(code, reason);
    if (this.#link !== null) {
      this.#link.socket = null;
    }
  }

  async #dial() {
    const link = (this.#link = new Link(this.#reason));
    const { token: provider, connectTimeout, control, subprotocols, WebSocket } = this.#options;
    const late = () => this.#lost(1006, `the ${link.socket === null ? "token provider" : "server"} took too long`);
    this.#timer = setTimeout(late, Math.min(connectTimeout, MOST_TIMER));
    // Code of the application runs once the step is done.
    await null;
    try {
      const token = link === this.#link ? await provider?.(link.reason, link.end.signal) : undefined;
      if (link === this.#link) {
        this.#reason = "again";
        link.socket = new WebSocket(this.#url, offer(subprotocols, control, token));
        this.#watch(link, link.socket);
      }
    } catch (error) {
      if (link === this.#link) {
        // An invalid URL or subprotocol stays invalid.
        const stops = error instanceof NotAuthorized || (error instanceof Error && error.name === "SyntaxError");
        this.#tell("error", { stage: "connect", error }, false);
        this.#lost(1006, "", stops ? "stop" : "again");
      }
    }
  }

  /**
   * @param {Link} link
   * @param {WebSocket} socket
   */
  #watch(link, socket) {
    socket.binaryType = "arraybuffer";
    const on = (/** @type {string} */ kind, /** @type {(event: any) => void} */ listener) =>
      socket.addEventListener(kind, (event) => link === this.#link && listener(event));
    const agreed = () => `${socket.protocol}+`.startsWith(`${SUBPROTOCOL}+`);

    on("open", () => {
      link.opened = true;
      link.heard = Date.now();
      this.#step("opened");
      if (link === this.#link && !agreed()) {
        this.#groups.mute();
      }
    });
    on("message", ({ data }) => {
      link.heard = Date.now();
      link.probed = 0;
      const { first } = link;
      link.first = false;
      if (first && agreed()) {
        if (this.#greeted(link, data)) {
          return;
        }
        this.#groups.mute();
      }
      if (link.prefix !== null && typeof data === "string" && data.startsWith(link.prefix)) {
        this.#control(link, data);
      } else if (this.#options.answersTextPing && isPing(data)) {
        socket.send("pong");
      } else {
        this.#tell("message", { data });
      }
    });
    on("close", ({ code, reason }) => this.#lost(code, reason));
  }

  /**
   * Whether this is a hello. No other client knows its word, so what another one says is never taken for a control message.
   * @param {Link} link
   * @param {unknown} data
   */
  #greeted(link, data) {
    const prefix = typeof data === "string" && HELLO.exec(data)?.[0];
    const hello = prefix ? parsed(data) : null;
    if (!prefix || hello?.type !== "hello") {
      return false;
    }
    link.prefix = prefix;
    if (Array.isArray(hello.speaks)) {
      link.say(SPEAKS);
      link.probes = hello.speaks.includes("probe");
      link.silence = link.probes && hello.ping_seconds > 0 ? hello.ping_seconds * 1000 + PATIENCE : Infinity;
      this.#beat();
    }
    this.#groups.begin((type, group) => link.say(`"type":"${type}","group":${JSON.stringify(group)}`));
    return true;
  }

  /**
   * Types that are not here are of later versions.
   * @param {Link} link
   * @param {string} text
   */
  #control(link, text) {
    const message = parsed(text);
    switch (message?.type) {
      case undefined:
        return this.#tell("error", { stage: "control", error: new Error("malformed control message") });
      case "closing":
        link.spread = Math.min(Math.max(1000 * message.spread_seconds || 0, 0), MOST_SPREAD);
        return;
      case "joined":
      case "left":
      case "group_refused":
        return this.#groups.answered(message.type, message.group, message.reason);
      case "renewed":
        this.#reason = "again";
        return this.#tell("renewed", { expiresAt: message.expires_at ?? null });
      case "refused":
        this.#reason = "refused";
        return this.#tell("error", { stage: "token", error: new NotAuthorized(message.reason) });
      case "expiring":
        return void this.#renew(link);
    }
  }

  /** @param {Link} link */
  async #renew(link) {
    try {
      const token = await this.#options.token?.("expiring", link.end.signal);
      if (link === this.#link && typeof token === "string") {
        link.say(`"type":"token","token":${JSON.stringify(token)}`);
      }
    } catch (error) {
      if (link === this.#link) {
        this.#tell("error", { stage: "token", error });
      }
    }
  }

  /**
   * @param {number} code
   * @param {string} reason
   * @param {Next} [next]
   */
  #lost(code, reason, next) {
    const link = /** @type {Link} */ (this.#link);
    next ??= nextAfter(code, link.prefix !== null, link.spread !== null);
    const stranger = code === CloseCode.POLICY && reason === "not authorized" && this.#options.token !== undefined;
    if (stranger && link.reason !== "refused") {
      next = "again";
    }
    if (stranger || code === CloseCode.EXPIRED) {
      this.#reason = "refused";
    }
    const end = { code, reason, opened: link.opened };
    this.#step("lost", end, this.#options.reconnect ? next : "stop", link.spread ?? 0);
  }

  /** Looks at the open connection when something is due. */
  #beat() {
    const link = /** @type {Link} */ (this.#link);
    const now = Date.now();
    const wait = link.probed > 0 ? link.probed + ANSWER - now : Math.min(BEAT, link.heard + link.silence - now);
    const due = now + Math.max(wait, 0);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const now = Date.now();
      const slept = now - due > LATE;
      if (slept) {
        // What the line brought meanwhile may not have been told yet.
        link.probed = 0;
      }
      if (link.probed > 0) {
        this.#lost(1006, "no answer to a probe");
      } else if (!(slept || now - link.heard >= link.silence) || !this.#probe()) {
        this.#beat();
      }
    }, due - now);
  }

  /** Asks for a sign of life, if the server knows how to give one. */
  #probe() {
    const link = this.#link;
    if (!link?.probes) {
      return false;
    }
    if (link.probed === 0) {
      link.probed = Date.now();
      link.probe += 1;
      link.say(`"type":"probe","n":${link.probe}`);
      this.#beat();
    }
    return true;
  }

  /** @type {Record<string, (event: any) => void>} */
  #listeners = {
    offline: () => this.#link !== null && this.#lost(1006, "the browser is offline"),
    online: () => this.reconnectNow(),
    // A page with a connection is not kept. Browsers may not send 1001.
    pagehide: ({ persisted }) => {
      if (persisted && this.#link !== null) {
        this.#let(CloseCode.NORMAL, "the page is hidden");
        this.#lost(CloseCode.GOING_AWAY, "the page is hidden", "again");
      }
    },
    pageshow: ({ persisted }) => persisted && this.reconnectNow(),
  };

  async *#states() {
    let told;
    for (;;) {
      while (told === this.state) {
        await new Promise((resolve) => this.#watching.push(resolve));
      }
      yield (told = this.state);
    }
  }

  /**
   * @param {string} kind
   * @param {unknown} detail
   * @param {boolean} [now] false where the next one is to be told together with it
   */
  #tell(kind, detail, now = !this.#telling) {
    this.#events.push(new ClientEvent(kind, detail));
    if (now) {
      this.#telling = true;
      for (let event; (event = this.#events.shift()) !== undefined; ) {
        this.dispatchEvent(event);
      }
      this.#telling = false;
    }
  }
}

/**
 * With the token, which a browser could otherwise put only in the URL: that ends up in logs.
 * @param {string[]} names
 * @param {boolean} control
 * @param {string | undefined} token
 */
function offer(names, control, token) {
  const offers = names.flatMap((name) => (control && name !== SUBPROTOCOL ? [`${SUBPROTOCOL}+${name}`, name] : [name]));
  const ours = control && names.length === 0 ? [SUBPROTOCOL] : offers;
  return token === undefined ? ours : [...ours, `bearer.${base64url(token)}`];
}

/** @param {string} text */
function base64url(text) {
  const binary = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** @param {any} text @returns {any} null if it is no JSON */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** @param {unknown} data */
function isPing(data) {
  return typeof data === "string" && data.length < 64 && data.trim().toLowerCase() === "ping";
}
