// @ts-check
/// <reference types="./websockets-simple.d.ts" />
// A WebSocket client for browsers and the servers of websockets-simple: tokens, packets, text pings, control messages,
// and reconnecting. No dependencies, no build step. Documented in websockets-simple.d.ts.

/** The close codes that a client may act on. Others exist. */
export const CloseCode = Object.freeze({
  NORMAL: 1000,
  GOING_AWAY: 1001,
  PROTOCOL: 1002,
  UNSUPPORTED: 1003,
  /** Never on the wire: the connection was lost, or never opened. */
  ABNORMAL: 1006,
  INVALID_DATA: 1007,
  POLICY: 1008,
  TOO_BIG: 1009,
  INTERNAL: 1011,
  RESTART: 1012,
  TRY_AGAIN: 1013,
  UNRESPONSIVE: 4000,
  OVERFLOW: 4001,
  IDLE: 4002,
  EXPIRED: 4003,
  REVOKED: 4004,
});

export class NotAuthorized extends Error {
  /** @param {string} [message] */
  constructor(message = "not authorized") {
    super(message);
    this.name = "NotAuthorized";
  }
}

export class WebsocketClient extends EventTarget {
  #url;
  #options;
  /** @type {"idle" | "connecting" | "connected" | "waiting"} */
  #state = "idle";
  /** @type {WebSocket | null} */
  #socket = null;
  /** Changes whenever an attempt or connection is abandoned, so that its late results are ignored. */
  #turn = 0;
  #failures = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #comesOnline = () => this.#dial();

  /**
   * @param {string | URL} url
   * @param {import("./websockets-simple.js").ClientOptions} [options]
   */
  constructor(url, options = {}) {
    super();
    this.#url = url;
    this.#options = { ...DEFAULTS, ...options };
  }

  get state() {
    return this.#state;
  }

  get subprotocol() {
    return this.#socket?.protocol ?? "";
  }

  get bufferedAmount() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  connect() {
    if (this.#state === "idle") {
      this.#failures = 0;
      this.#dial();
    }
  }

  disconnect(code = CloseCode.NORMAL, reason = "") {
    if (this.#state === "idle") {
      return;
    }
    // First, as it throws for a code that browsers may not send.
    this.#socket?.close(code, reason);
    const opened = this.#state === "connected";
    this.#abandon();
    this.#enter("idle", "disconnected", { code, reason, opened, reconnectIn: null });
  }

  /** @param {string | Blob | BufferSource} data */
  send(data) {
    if (this.#socket === null || this.#state !== "connected") {
      throw new Error("not connected");
    }
    this.#socket.send(data);
  }

  /** @param {unknown} value */
  sendJson(value) {
    this.send(JSON.stringify(value));
  }

  /** @param {string} data */
  sendPacket(data) {
    this.send(encodePacket(data));
  }

  async #dial() {
    this.#abandon();
    const turn = this.#turn;
    this.#enter("connecting");
    let socket;
    try {
      const token = await this.#options.token?.();
      if (turn !== this.#turn) {
        return;
      }
      socket = new this.#options.WebSocket(this.#url, offer(this.#options, token));
    } catch (error) {
      if (turn === this.#turn) {
        // An invalid URL or subprotocol stays invalid.
        const final = error instanceof NotAuthorized || isSyntaxError(error);
        this.#lost(CloseCode.ABNORMAL, "", false, !final);
        this.#tell("error", { stage: "connect", error });
      }
      return;
    }
    this.#socket = socket;
    this.#watch(socket);
  }

  /** @param {WebSocket} socket */
  #watch(socket) {
    const { stableAfter, connectTimeout } = this.#options;
    /** @type {number | undefined} */
    let openedAt;
    let first = true;
    /** @type {string | null} */
    let controlPrefix = null;
    socket.binaryType = "arraybuffer";
    this.#timer = setTimeout(() => socket.close(), connectTimeout);
    // Events of an abandoned socket are ignored.
    const on = (/** @type {string} */ kind, /** @type {(event: any) => void} */ listener) =>
      socket.addEventListener(kind, (event) => socket === this.#socket && listener(event));

    on("open", () => {
      clearTimeout(this.#timer);
      openedAt = Date.now();
      this.#enter("connected", "connected", { subprotocol: socket.protocol });
    });
    on("message", ({ data }) => {
      const begins = first && socket.protocol === SUBPROTOCOL;
      first = false;
      if (begins && (controlPrefix = prefixOfHello(data)) !== null) {
        return;
      }
      if (controlPrefix !== null && typeof data === "string" && data.startsWith(controlPrefix)) {
        this.#control(socket, controlPrefix, data);
        return;
      }
      if (this.#options.answersTextPing && isPing(data)) {
        socket.send("pong");
        return;
      }
      this.#tell("message", { data });
    });
    on("close", ({ code, reason }) => {
      if (openedAt !== undefined && Date.now() - openedAt >= stableAfter) {
        this.#failures = 0;
      }
      this.#lost(code, reason, openedAt !== undefined, shouldReconnect(code));
    });
  }

  /**
   * @param {number} code
   * @param {string} reason
   * @param {boolean} opened
   * @param {boolean} again
   */
  #lost(code, reason, opened, again) {
    this.#abandon();
    if (!again || !this.#options.reconnect) {
      this.#enter("idle", "disconnected", { code, reason, opened, reconnectIn: null });
      return;
    }
    const delay = reconnectDelay(this.#failures, code, this.#options);
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#dial(), delay);
    globalThis.addEventListener?.("online", this.#comesOnline, { once: true });
    this.#enter("waiting", "disconnected", { code, reason, opened, reconnectIn: delay });
  }

  /**
   * @param {WebSocket} socket
   * @param {string} prefix
   * @param {string} text
   */
  async #control(socket, prefix, text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch (error) {
      this.#tell("error", { stage: "control", error });
      return;
    }
    if (message.type === "renewed") {
      this.#tell("renewed", { expiresAt: message.expires_at ?? null });
    } else if (message.type === "refused") {
      this.#tell("error", { stage: "token", error: new NotAuthorized(String(message.reason)) });
    } else if (message.type === "expiring" && this.#options.token) {
      try {
        const token = await this.#options.token();
        if (socket === this.#socket && typeof token === "string") {
          socket.send(`${prefix}"type":"token","token":${JSON.stringify(token)}}`);
        }
      } catch (error) {
        if (socket === this.#socket) {
          this.#tell("error", { stage: "token", error });
        }
      }
    }
    // Other types are of later versions and ignored.
  }

  /** Abandons the current attempt or connection. */
  #abandon() {
    this.#turn += 1;
    this.#socket = null;
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.("online", this.#comesOnline);
  }

  /**
   * @param {"idle" | "connecting" | "connected" | "waiting"} state
   * @param {string} [kind] of the event that caused it
   * @param {object} [detail]
   */
  #enter(state, kind, detail) {
    this.#state = state;
    const turn = this.#turn;
    if (kind !== undefined) {
      this.#tell(kind, detail);
    }
    // A listener may have connected or disconnected, which has already raised a later state.
    if (turn === this.#turn) {
      this.#tell("state", { state });
    }
  }

  /**
   * @param {string} kind
   * @param {unknown} detail
   */
  #tell(kind, detail) {
    this.dispatchEvent(new ClientEvent(kind, detail));
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

/** @param {number} code */
export function shouldReconnect(code) {
  return RECONNECT.some(([first, last]) => first <= code && code <= last);
}

/**
 * @param {number} failures
 * @param {number} code
 * @param {{ baseDelay?: number, maxDelay?: number, random?: () => number }} [options]
 */
export function reconnectDelay(failures, code, options = {}) {
  const { baseDelay, maxDelay, random } = { ...DEFAULTS, ...options };
  const doublings = LATER.has(code) ? Math.max(failures, 3) : failures;
  return Math.round(random() * Math.min(maxDelay, baseDelay * 2 ** doublings));
}

/**
 * @param {string} data
 * @param {Date} [at]
 */
export function encodePacket(data, at = new Date()) {
  return JSON.stringify({ Data: data, Timestamp: at.toISOString() });
}

/** @param {string} text */
export function decodePacket(text) {
  const bare = { data: text, timestamp: new Date().toISOString() };
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return bare;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return bare;
  }
  const data = field(value, "data");
  const timestamp = field(value, "timestamp");
  const says = data === null ? "" : String(data);
  if (data === undefined || typeof data === "object" || says.trim() === "") {
    return bare;
  }
  return { data: says, timestamp: typeof timestamp === "string" ? timestamp : null };
}

/**
 * The last member with that name; case is ignored.
 * @param {Record<string, unknown>} value
 * @param {string} name
 */
function field(value, name) {
  const key = Object.keys(value).findLast((key) => key.toLowerCase() === name);
  return key === undefined ? undefined : value[key];
}

/**
 * The subprotocols to offer, with the token. A browser could otherwise put it only in the URL, which ends up in logs.
 * @param {{ subprotocols: string[], control: boolean }} options
 * @param {string | undefined} token
 */
function offer({ subprotocols, control }, token) {
  const ours = control && !subprotocols.includes(SUBPROTOCOL) ? [SUBPROTOCOL] : [];
  return [...subprotocols, ...ours, ...(token === undefined ? [] : [`bearer.${base64url(token)}`])];
}

/** @param {string} text */
function base64url(text) {
  const binary = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/**
 * The prefix of a connection's control messages, if this is its `hello`; otherwise null. It contains a word that no other
 * client knows, so a message of another client is never taken for a control message.
 * @param {unknown} data
 */
function prefixOfHello(data) {
  const hello = typeof data === "string" ? HELLO.exec(data) : null;
  return hello === null ? null : hello[1];
}

/** @param {unknown} data */
function isPing(data) {
  return typeof data === "string" && data.length < 64 && data.trim().toLowerCase() === "ping";
}

/** @param {unknown} error */
function isSyntaxError(error) {
  return error instanceof Error && error.name === "SyntaxError";
}

const SUBPROTOCOL = "websockets-simple";
const HELLO = /^(\{"websockets-simple":"[\w-]{22}",)"type":"hello"\}$/;

/** After these codes a new connection may succeed; after other codes the same would happen again. As in Rust. */
const RECONNECT = [[1001, 1001], [1005, 1006], [1011, 1014], [3000, 3499], [4000, 4003], [4100, 4499]];

/** After these codes clients should wait longer, so that they do not all come back at once. */
const LATER = new Set([1001, 1011, 1013, 4001]);

const DEFAULTS = {
  /** @type {(() => string | undefined | Promise<string | undefined>) | undefined} */
  token: undefined,
  /** @type {string[]} */
  subprotocols: [],
  control: true,
  answersTextPing: true,
  reconnect: true,
  baseDelay: 500,
  maxDelay: 30_000,
  stableAfter: 10_000,
  connectTimeout: 20_000,
  random: Math.random,
  WebSocket: globalThis.WebSocket,
};
