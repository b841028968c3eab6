// Sockets that do what a test says, and clients whose every step is watched.

import assert from "node:assert/strict";

export const { CloseCode, GroupError, NotAuthorized, WebsocketClient, decodePacket, encodePacket, shouldReconnect } =
  await import(process.env.MODULE);

/** A socket that does what the test says. */
export class Socket extends EventTarget {
  sent = [];
  protocol = "";
  closed = null;
  over = false;

  constructor(url, offered) {
    super();
    Object.assign(this, { url, offered });
  }

  send(data) {
    this.sent.push(data);
  }

  close(code, reason) {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new DOMException("no such code", "InvalidAccessError");
    }
    this.closed ??= { code, reason };
  }

  opens(protocol = "") {
    this.protocol = protocol;
    this.dispatchEvent(new Event("open"));
  }

  says(data) {
    this.dispatchEvent(Object.assign(new Event("message"), { data }));
  }

  ends(code, reason = "") {
    this.over = true;
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
  }
}

const FOLLOWS = {
  idle: ["connecting"],
  connecting: ["connected", "waiting", "givenUp", "idle"],
  connected: ["waiting", "givenUp", "idle"],
  waiting: ["connecting", "idle"],
  givenUp: ["connecting", "idle"],
};

/** A client with its events, and its sockets. It never has two at a time, and tells each state once and in order. */
export function watched(options = {}) {
  const sockets = [];
  class Mine extends Socket {
    constructor(url, offered) {
      super(url, offered);
      assert.ok(sockets.every(({ closed, over }) => closed !== null || over), "two sockets at a time");
      sockets.push(this);
    }
  }
  const client = new WebsocketClient("ws://chat.example/", { WebSocket: Mine, baseDelay: 1, ...options });
  const events = [];
  let told = "idle";
  for (const kind of ["state", "connected", "message", "disconnected", "group", "renewed", "error"]) {
    client.addEventListener(kind, ({ detail }) => {
      if (kind === "state") {
        assert.ok(FOLLOWS[told].includes(detail.state), `${detail.state} after ${told}`);
        told = detail.state;
      }
      events.push([kind, detail]);
    });
  }
  const of = (kind) => events.filter((event) => event[0] === kind).map((event) => event[1]);
  const socket = (nth = 0) => until(() => sockets[nth]);
  return { client, events, of, socket, sockets, count: () => sockets.length };
}

/** The same, and it connects. */
export function start(options) {
  const all = watched(options);
  all.client.connect();
  return all;
}

export async function until(condition) {
  for (const patience = performance.now() + 10_000; performance.now() < patience; ) {
    const met = condition();
    if (met) {
      return met;
    }
    await turn();
  }
  throw new Error(`waited in vain for ${condition}`);
}

/** What is ready is done. */
export const turn = () => new Promise((resolve) => setImmediate(resolve));

const WORD = "AAAAAAAAAAAAAAAAAAAAAA";
export const control = (rest) => `{"websockets-simple":"${WORD}",${rest}}`;
export const HELLO = control('"type":"hello","speaks":["closing","probe","later"],"agent":"x","ping_seconds":20');
export const SPEAKS = control('"type":"speaks","what":["closing","probe"],"agent":"websockets-simple-js/0.1"');
