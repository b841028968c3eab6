// What the module does by itself, with sockets that are none. Run by `node --test`.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  CloseCode,
  NotAuthorized,
  control,
  decodePacket,
  encodePacket,
  shouldReconnect,
  start,
  turn,
  until,
} from "./fakes.mjs";

test("the token is offered as a subprotocol behind those of the application and of the library", async () => {
  const { client, socket } = start({ subprotocols: ["chat.v1"], token: () => "tökén?>" });
  assert.deepEqual((await socket()).offered, ["websockets-simple+chat.v1", "chat.v1", "bearer.dMO2a8Opbj8-"]);
  assert.equal(client.state, "connecting");
  client.disconnect();
  for (const [options, offered] of [
    [{ control: false }, []],
    [{ control: false, subprotocols: ["a"] }, ["a"]],
    [{}, ["websockets-simple"]],
    [{ subprotocols: ["a", "websockets-simple"] }, ["websockets-simple+a", "a", "websockets-simple"]],
  ]) {
    const other = start(options);
    assert.deepEqual((await other.socket()).offered, offered);
    other.client.disconnect();
  }
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
  const hello = control('"type":"hello"');
  for (const [protocol, ...says] of [
    ["chat.v1", hello],
    ["websockets-simplex", hello],
    ["websockets-simple", "hi", hello],
    ["websockets-simple", `${hello} and more`],
    ["websockets-simple", control('"type":"renewed","expires_at":null')],
    ["websockets-simple", control("").replace("AA", "A")],
    ["websockets-simple", new ArrayBuffer(9)],
  ]) {
    const { client, socket, of } = start();
    const open = await socket();
    open.opens(protocol);
    says.forEach((data) => open.says(data));
    assert.equal(of("message").length, says.length, protocol);
    assert.equal(client.hasControls, false);
    assert.deepEqual(open.sent, []);
    client.disconnect();
  }
});

test("a hello may have more members, and is answered only if it names what the server understands", async () => {
  for (const [hello, sent] of [
    ['"type":"hello"', 0],
    ['"version":2,"type":"hello","session":{"a":[1]}', 0],
    ['"type":"hello","speaks":[]', 1],
    ['"type":"hello","speaks":["call","probe"],"agent":"websockets-simple/9.9","ping_seconds":120', 1],
  ]) {
    const { client, socket, of } = start({ subprotocols: ["chat.v1"] });
    const open = await socket();
    open.opens("websockets-simple+chat.v1");
    open.says(control(hello));
    open.says(control('"type":"renewed","expires_at":null,"more":1'));
    assert.deepEqual([of("message").length, of("renewed").length, open.sent.length], [0, 1, sent], hello);
    assert.deepEqual([client.hasControls, client.subprotocol], [true, "chat.v1"]);
    assert.deepEqual(of("connected"), [{ subprotocol: "chat.v1" }]);
    client.disconnect();
    assert.deepEqual([client.hasControls, client.subprotocol], [false, ""]);
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
  for (const [code, options] of [[CloseCode.POLICY, {}], [CloseCode.REVOKED, {}], [3500, {}], [1006, { reconnect: false }]]) {
    const { client, socket, of, count } = start(options);
    (await socket()).ends(code);
    assert.deepEqual(of("disconnected"), [{ code, reason: "", opened: false, reconnectIn: null }]);
    assert.equal(client.state, "givenUp");
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(count(), 1);
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
  assert.equal(refused.client.state, "givenUp");
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
  const { client, count } = start({ token: () => new Promise((resolve) => (give = resolve)) });
  await until(() => give);
  client.disconnect();
  give("token");
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual([count(), client.state], [0, "idle"]);
  // Not even asked for, if it is given up at once.
  let asked = 0;
  const other = start({ token: () => void (asked += 1) });
  other.client.disconnect();
  await turn();
  assert.deepEqual([asked, other.count()], [0, 0]);
});

test("an attempt that takes too long is given up", async () => {
  const { client, socket } = start({ connectTimeout: 1 });
  const slow = await socket();
  await until(() => slow.closed);
  client.disconnect();
});

test("whoever disconnects on the news of a loss is not connected again", async () => {
  const { client, socket, of, count } = start();
  client.addEventListener("disconnected", () => client.disconnect());
  (await socket()).ends(1006);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual([count(), client.state], [1, "idle"]);
  assert.deepEqual(of("state").map(({ state }) => state), ["connecting", "waiting", "idle"]);
});

test("a code that a browser may not send throws, and nothing ends", async () => {
  const { client, socket } = start();
  (await socket()).opens();
  assert.throws(() => client.disconnect(1008), { name: "InvalidAccessError" });
  assert.equal(client.state, "connected");
  client.disconnect();
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
