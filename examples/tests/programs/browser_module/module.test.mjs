// What the module does by itself, with sockets that are none. Run by `node --test`.

import assert from "node:assert/strict";
import { test } from "node:test";

const {
  CloseCode,
  NotAuthorized,
  WebsocketClient,
  decodePacket,
  encodePacket,
  reconnectDelay,
  shouldReconnect,
} = await import(process.env.MODULE);

/** A socket that does what the test says. */
class Socket extends EventTarget {
  static opened = [];
  sent = [];
  protocol = "";
  closed = null;

  constructor(url, offered) {
    super();
    Object.assign(this, { url, offered });
    Socket.opened.push(this);
  }

  send(data) {
    this.sent.push(data);
  }

  close(code, reason) {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new DOMException("no such code", "InvalidAccessError");
    }
    this.closed = { code, reason };
  }

  opens(protocol = "") {
    this.protocol = protocol;
    this.dispatchEvent(new Event("open"));
  }

  says(data) {
    this.dispatchEvent(Object.assign(new Event("message"), { data }));
  }

  ends(code, reason = "") {
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
  }
}

/** A client with its events, and its next socket. */
function start(options = {}) {
  const from = Socket.opened.length;
  const client = new WebsocketClient("ws://chat.example/", { WebSocket: Socket, baseDelay: 1, ...options });
  const events = [];
  for (const kind of ["state", "connected", "message", "disconnected", "renewed", "error"]) {
    client.addEventListener(kind, ({ detail }) => events.push([kind, detail]));
  }
  const socket = (nth = 0) => until(() => Socket.opened[from + nth]);
  const of = (kind) => events.filter((event) => event[0] === kind).map((event) => event[1]);
  client.connect();
  return { client, events, socket, of, sockets: () => Socket.opened.length - from };
}

async function until(condition) {
  for (const patience = Date.now() + 10_000; Date.now() < patience; ) {
    const met = condition();
    if (met) {
      return met;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`waited in vain for ${condition}`);
}

const WORD = "AAAAAAAAAAAAAAAAAAAAAA";
const control = (rest) => `{"websockets-simple":"${WORD}",${rest}}`;

test("the token is offered as a subprotocol behind those of the application and of the library", async () => {
  const { client, socket } = start({ subprotocols: ["chat.v1"], token: () => "tökén?>" });
  assert.deepEqual((await socket()).offered, ["chat.v1", "websockets-simple", "bearer.dMO2a8Opbj8-"]);
  assert.equal(client.state, "connecting");
  client.disconnect();
  const foreign = start({ control: false });
  assert.deepEqual((await foreign.socket()).offered, []);
  foreign.client.disconnect();
});

test("messages are events, and the text ping is answered and is none", async () => {
  const { client, socket, of } = start();
  const open = await socket();
  open.opens("chat.v1");
  for (const data of ["hi", "ping", " PING\n", "pingpong", new ArrayBuffer(2)]) {
    open.says(data);
  }
  assert.deepEqual(of("message").map(({ data }) => data), ["hi", "pingpong", new ArrayBuffer(2)]);
  assert.deepEqual(open.sent, ["pong", "pong"]);
  client.sendPacket("hello");
  client.sendJson({ type: "who" });
  assert.equal(JSON.parse(open.sent[2]).Data, "hello");
  assert.equal(open.sent[3], '{"type":"who"}');
  assert.deepEqual([client.state, client.subprotocol], ["connected", "chat.v1"]);
  client.disconnect(4999, "bye");
  assert.deepEqual(open.closed, { code: 4999, reason: "bye" });
  open.says("too late");
  assert.equal(of("message").length, 3);
  assert.throws(() => client.send("hi"), /not connected/);
});

test("a refresh is asked of the provider, under the word of the connection alone", async () => {
  const tokens = ["first", 'second "quoted"'];
  const { client, socket, of } = start({ token: async () => tokens.shift() });
  const open = await socket();
  open.opens("websockets-simple");
  open.says(control('"type":"hello"'));
  const expiring = '"type":"expiring","expires_at":"2027-01-15T08:00:00Z","grace_seconds":30';
  open.says(`{"websockets-simple":"BBBBBBBBBBBBBBBBBBBBBB",${expiring}}`);
  assert.equal(of("message").length, 1, "another word is a message");
  open.says(control('"type":"of tomorrow"'));
  open.says(control(expiring));
  await until(() => open.sent.length === 1);
  assert.equal(open.sent[0], control('"type":"token","token":"second \\"quoted\\""'));
  open.says(control('"type":"renewed","expires_at":"2027-01-15T09:00:00Z"'));
  open.says(control('"type":"refused","reason":"not authorized"'));
  open.says(control('"type":'));
  assert.deepEqual(of("renewed"), [{ expiresAt: "2027-01-15T09:00:00Z" }]);
  assert.deepEqual(of("error").map(({ stage }) => stage), ["token", "control"]);
  assert.equal(of("message").length, 1);
  client.disconnect();
});

test("only a hello as the first message of our subprotocol begins control messages", async () => {
  for (const [protocol, before] of [["chat.v1", []], ["websockets-simple", ["hi"]]]) {
    const { client, socket, of } = start();
    const open = await socket();
    open.opens(protocol);
    before.forEach((data) => open.says(data));
    open.says(control('"type":"hello"'));
    assert.equal(of("message").length, before.length + 1, protocol);
    client.disconnect();
  }
});

test("the client comes back after a code that says so, each time with a new token", async () => {
  let count = 0;
  const { client, socket, of } = start({ token: () => `t${(count += 1)}` });
  for (const [nth, code] of [CloseCode.ABNORMAL, CloseCode.RESTART, CloseCode.EXPIRED].entries()) {
    const open = await socket(nth);
    assert.equal(open.offered.at(-1), `bearer.${btoa(`t${nth + 1}`).replace(/=+$/, "")}`);
    open.opens();
    open.ends(code, "why");
    assert.equal(client.state, "waiting");
  }
  assert.deepEqual(of("disconnected").map(({ code, reason, opened }) => [code, reason, opened]), [
    [1006, "why", true],
    [1012, "why", true],
    [4003, "why", true],
  ]);
  client.disconnect();
});

test("the client stays away after a code that says so, and when it was told not to reconnect", async () => {
  for (const [code, options] of [[CloseCode.NORMAL, {}], [CloseCode.POLICY, {}], [CloseCode.REVOKED, {}], [1006, { reconnect: false }]]) {
    const { client, socket, of, sockets } = start(options);
    (await socket()).ends(code);
    assert.deepEqual(of("disconnected"), [{ code, reason: "", opened: false, reconnectIn: null }]);
    assert.equal(client.state, "idle");
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(sockets(), 1);
    client.connect();
    assert.ok(await socket(1), "when asked, it tries again");
    client.disconnect();
  }
});

test("a provider that knows of no token ends it, any other failure of it does not", async () => {
  const refused = start({
    token: () => {
      throw new NotAuthorized();
    },
  });
  await until(() => refused.of("error").length);
  assert.equal(refused.client.state, "idle");
  let failing = true;
  const { client, socket, of } = start({
    token: async () => {
      if (failing) {
        failing = false;
        throw new TypeError("no network");
      }
      return "token";
    },
  });
  assert.ok(await socket());
  assert.equal(of("error")[0].error.message, "no network");
  client.disconnect();
});

test("what is given up while its token is on the way never opens", async () => {
  let give;
  const { client, sockets } = start({ token: () => new Promise((resolve) => (give = resolve)) });
  client.disconnect();
  give("token");
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual([sockets(), client.state], [0, "idle"]);
});

test("an attempt that takes too long is given up", async () => {
  const { client, socket } = start({ connectTimeout: 1 });
  const slow = await socket();
  await until(() => slow.closed);
  client.disconnect();
});

test("whoever disconnects on the news of a loss is not connected again", async () => {
  const { client, socket, of, sockets } = start();
  client.addEventListener("disconnected", () => client.disconnect());
  (await socket()).ends(1006);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual([sockets(), client.state], [1, "idle"]);
  assert.deepEqual(of("state").map(({ state }) => state).at(-1), "idle");
});

test("a code that a browser may not send throws, and nothing ends", async () => {
  const { client, socket } = start();
  (await socket()).opens();
  assert.throws(() => client.disconnect(1008), { name: "InvalidAccessError" });
  assert.equal(client.state, "connected");
  client.disconnect();
});

test("delays are anything below a bound that doubles, up to the longest", () => {
  const bound = (failures, code = 1006) => reconnectDelay(failures, code, { random: () => 1 });
  assert.deepEqual([0, 1, 2, 5, 6, 5000].map((n) => bound(n)), [500, 1000, 2000, 16_000, 30_000, 30_000]);
  assert.equal(reconnectDelay(5, 1006, { random: () => 0 }), 0);
  assert.equal(reconnectDelay(1, 1006, { random: () => 0.25, baseDelay: 100 }), 50);
  assert.deepEqual([1001, 1011, 1013, 4001].map((code) => bound(0, code)), [4000, 4000, 4000, 4000]);
  assert.equal(bound(4, 1013), 8000);
});

test("a connection that held makes the delays begin anew", async () => {
  for (const [stableAfter, bounds] of [[0, [1, 1, 1]], [60_000, [1, 2, 4]]]) {
    const { client, socket, of } = start({ stableAfter, random: () => 1 });
    for (const nth of [0, 1, 2]) {
      const open = await socket(nth);
      open.opens();
      open.ends(1006);
    }
    assert.deepEqual(of("disconnected").map(({ reconnectIn }) => reconnectIn), bounds);
    client.disconnect();
  }
});

test("the codes after which it comes back are those of the Rust library", () => {
  const codes = process.env.RECONNECT_CODES.split(",").map(Number);
  const ours = Array.from({ length: 5000 }, (_, code) => code).filter(shouldReconnect);
  // These two are never on the wire: a Close without a code, and none at all.
  const local = [1005, 1006];
  assert.deepEqual(ours.filter((code) => !local.includes(code)), codes);
  assert.ok(local.every(shouldReconnect));
});

test("packets are written and read as the libraries do it", () => {
  const at = new Date("2022-03-05T19:42:01.630Z");
  assert.equal(encodePacket('"hi"', at), '{"Data":"\\"hi\\"","Timestamp":"2022-03-05T19:42:01.630Z"}');
  const data = (text) => decodePacket(text).data;
  assert.deepEqual(decodePacket('{"Data":"hi","Timestamp":"2022-03-05T19:42:01.6305503Z"}'), {
    data: "hi",
    timestamp: "2022-03-05T19:42:01.6305503Z",
  });
  assert.deepEqual(decodePacket('{"data":5,"extra":[1]}'), { data: "5", timestamp: null });
  assert.equal(data('{"DATA":"one","data":"two"}'), "two");
  for (const text of ["hi", "5", "null", "[1]", "{", '{"Data":" "}', '{"Data":null}', '{"Data":{}}', "{}"]) {
    assert.equal(data(text), text);
    assert.ok(!Number.isNaN(Date.parse(decodePacket(text).timestamp)));
  }
});
