// Hours of a client in milliseconds: dead lines, sleep, networks that come and go, pages that are hidden, tokens, stops.
// Run by `node --test`.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { HELLO, NotAuthorized, SPEAKS, control, start, turn, watched } from "./fakes.mjs";

/** What the browser raises on its window. */
const page = new EventTarget();
let heard = 0;
globalThis.addEventListener = (kind, listener) => ((heard += 1), page.addEventListener(kind, listener));
globalThis.removeEventListener = (kind, listener) => page.removeEventListener(kind, listener);
const raise = (kind, persisted) => page.dispatchEvent(Object.assign(new Event(kind), { persisted }));

beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000_000_000 }));
afterEach(() => mock.timers.reset());

/** Lets time pass, in steps of which none is late. */
async function pass(milliseconds) {
  await turn();
  for (let left = milliseconds; left > 0; left -= 1000) {
    mock.timers.tick(Math.min(left, 1000));
    await turn();
  }
}

/** The machine sleeps: its clock goes on, and no timer fires. */
const sleep = (milliseconds) => mock.timers.setTime(Date.now() + milliseconds);

/** A client that is connected to a server that has said hello. */
async function greeted(options = {}, hello = HELLO) {
  const all = start({ random: () => 0.5, baseDelay: 500, ...options });
  await turn();
  const [open] = all.sockets;
  open.opens("websockets-simple");
  open.says(hello);
  const states = () => all.of("state").map(({ state }) => state);
  return { ...all, open, states, probes: (socket = open) => socket.sent.filter((text) => text.includes('"probe","n"')).length };
}

test("a line that is silent for longer than the server's pings is asked about, and left if it stays silent", async () => {
  const { client, open, of, sockets, states, probes } = await greeted();
  assert.deepEqual(open.sent, [SPEAKS]);
  await pass(29_000);
  assert.equal(probes(), 0, "20 s and 10 s more");
  await pass(1000);
  assert.equal(open.sent[1], control('"type":"probe","n":1'));
  await pass(4000);
  open.says(control('"type":"alive","n":1'));
  assert.equal(of("message").length, 0);
  await pass(29_000);
  assert.equal(probes(), 1, "any byte is a sign of life");
  await pass(2000);
  assert.deepEqual([probes(), client.state], [2, "connected"]);
  // The end of the socket is not waited for: on a dead line it takes a minute.
  await pass(5000);
  assert.ok(open.closed !== null);
  assert.deepEqual(states(), ["connecting", "connected", "waiting", "connecting"]);
  const [{ code, reason, opened, reconnectIn }] = of("disconnected");
  assert.deepEqual([code, reason, opened, reconnectIn], [1006, "no answer to a probe", true, 250]);
  assert.equal(sockets.length, 2);
  open.ends(1006);
  open.says("too late");
  assert.deepEqual([of("disconnected").length, of("message").length, client.state], [1, 0, "connecting"]);
  client.disconnect();
});

test("pings of the server and messages of users are signs of life", async () => {
  const { client, open, probes } = await greeted();
  for (let minute = 0; minute < 30; minute += 1) {
    open.says(minute % 2 === 0 ? "ping" : "a message");
    await pass(29_000);
  }
  assert.deepEqual([probes(), client.state], [0, "connected"]);
  client.disconnect();
});

test("nobody is asked who has not named the word, or whose server does not ping", async () => {
  const says = (members) => control(`"type":"hello"${members}`);
  for (const hello of [says(""), says(',"ping_seconds":20'), says(',"speaks":["closing"],"ping_seconds":1'), says(',"speaks":["probe"]'), says(',"speaks":["probe"],"ping_seconds":0'), "a message"]) {
    const { client, probes } = await greeted({}, hello);
    await pass(3_600_000);
    assert.deepEqual([probes(), client.state], [0, "connected"], hello);
    client.disconnect();
  }
});

test("a short interval counts from its hello on", async () => {
  const { client, probes } = await greeted({}, control('"type":"hello","speaks":["probe"],"ping_seconds":1'));
  await pass(10_000);
  assert.equal(probes(), 0);
  await pass(1000);
  assert.equal(probes(), 1);
  client.disconnect();
});

test("whoever wakes up asks whether the line is still there, and does not take the sleep for silence", async () => {
  const { client, open, of, probes } = await greeted({}, control('"type":"hello","speaks":["probe"],"ping_seconds":3600'));
  await pass(10_000);
  sleep(60_000);
  assert.equal(probes(), 0);
  await pass(3000);
  assert.equal(probes(), 1);
  // It sleeps again while the answer is on its way.
  sleep(60_000);
  await pass(3000);
  assert.deepEqual([client.state, probes()], ["connected", 2]);
  open.says(control('"type":"alive","n":2'));
  await pass(60_000);
  assert.equal(client.state, "connected");
  sleep(3_600_000);
  await pass(20_000);
  assert.deepEqual(of("disconnected").map(({ reason }) => reason), ["no answer to a probe"]);
  client.disconnect();
});

test("a browser that goes offline leaves the connection, and one that is online again connects at once", async () => {
  const { client, open, of, sockets, states } = await greeted({ baseDelay: 20_000 });
  raise("offline");
  assert.deepEqual([client.state, open.closed !== null, of("disconnected")[0].reason], ["waiting", true, "the browser is offline"]);
  raise("offline");
  assert.equal(of("disconnected").length, 1);
  raise("online");
  await turn();
  assert.equal(sockets.length, 2);
  // Also an attempt that hangs.
  raise("offline");
  assert.ok(sockets[1].closed !== null);
  // A browser that is wrong about it does not keep the client from trying.
  await pass(30_000);
  assert.equal(sockets.length, 3);
  sockets[2].opens("websockets-simple");
  sockets[2].says(HELLO);
  raise("online");
  assert.ok(sockets[2].sent.at(-1).includes('"probe"'), "another network: the line may be dead");
  assert.deepEqual(states().slice(-3), ["waiting", "connecting", "connected"]);
  client.disconnect();
});

test("a page that may be kept closes its connection, and is connected again when it is shown", async () => {
  const { client, open, of, sockets } = await greeted();
  raise("pagehide", false);
  assert.equal(client.state, "connected", "it is gone for good");
  raise("pagehide", true);
  assert.deepEqual(open.closed, { code: 1000, reason: "the page is hidden" });
  assert.deepEqual(of("disconnected"), [{ code: 1001, reason: "the page is hidden", opened: true, reconnectIn: 250 }]);
  raise("pageshow", false);
  await turn();
  assert.equal(sockets.length, 1);
  raise("pageshow", true);
  await turn();
  assert.equal(sockets.length, 2);
  raise("pagehide", true);
  assert.ok(sockets[1].closed !== null, "an attempt, too");
  client.disconnect();
});

test("who wants no connection hears nothing of the page", async () => {
  const before = heard;
  const { client } = watched();
  assert.equal(heard, before);
  const idle = await greeted();
  idle.client.disconnect();
  const gaveUp = await greeted();
  gaveUp.open.ends(4004);
  for (const kind of ["offline", "online", "pagehide", "pageshow"]) {
    raise(kind, true);
  }
  await pass(24 * 3600);
  assert.deepEqual([client.state, idle.client.state, gaveUp.client.state], ["idle", "idle", "givenUp"]);
  assert.deepEqual([idle.count(), gaveUp.count()], [1, 1]);
});

test("a server that closes says over how long to come back", async () => {
  for (const [seconds, code, reconnectIn] of [[10, 1001, 5000], [10, 1012, 5000], [10, 1006, 5000], ["soon", 1012, 0], [-1, 1001, 0], [1e30, 1001, 1_800_000]]) {
    const { client, open, of, count } = await greeted();
    open.says(control(`"type":"closing","spread_seconds":${JSON.stringify(seconds)},"resumable":false`));
    open.ends(code);
    assert.deepEqual(of("disconnected").map(({ reconnectIn }) => reconnectIn), [reconnectIn], `${seconds}`);
    await pass(1000);
    assert.equal(count(), reconnectIn < 1000 ? 2 : 1);
    client.disconnect();
  }
  // Without it, by the ladder: later if the server asks for time.
  for (const [code, reconnectIn] of [[1001, 2000], [1012, 250], [1005, 250], [1000, null]]) {
    const { client, open, of } = await greeted();
    open.ends(code);
    assert.deepEqual(of("disconnected").map(({ reconnectIn }) => reconnectIn), [reconnectIn], `${code}`);
    client.disconnect();
  }
  // Whoever has not said hello does not mean 1000.
  const { client, open } = await greeted({}, "welcome");
  open.ends(1000);
  assert.equal(client.state, "waiting");
  client.disconnect();
});

test("a token provider that never answers takes no longer than an attempt", async () => {
  const signals = [];
  const asked = [];
  const token = (reason, signal) => (asked.push(reason), signals.push(signal), new Promise(() => {}));
  const { client, of, count } = start({ token, connectTimeout: 5000, baseDelay: 100, random: () => 0.5 });
  await pass(4000);
  assert.deepEqual([asked, signals[0].aborted], [["first"], false]);
  await pass(2000);
  assert.deepEqual([asked, signals[0].aborted, count()], [["first", "first"], true, 0]);
  assert.deepEqual(of("disconnected")[0], { code: 1006, reason: "the token provider took too long", opened: false, reconnectIn: 50 });
  await pass(600_000);
  assert.ok(asked.length > 10 && asked.length < 120, `${asked.length}`);
  client.disconnect();
  assert.ok(signals.every(({ aborted }) => aborted));
});

test("the time of an attempt is that of its token and its handshake together", async () => {
  let give;
  const { client, sockets, of } = start({ token: () => new Promise((resolve) => (give = resolve)), connectTimeout: 5000 });
  await pass(4000);
  give("token");
  await turn();
  assert.equal(sockets.length, 1);
  await pass(1000);
  assert.ok(sockets[0].closed !== null);
  assert.equal(of("disconnected")[0].reason, "the server took too long");
  sockets[0].opens();
  assert.notEqual(client.state, "connected");
  client.disconnect();
});

test("a provider is told why: first, again, refused, expiring", async () => {
  const asked = [];
  const { client, sockets, of } = start({ token: (reason) => (asked.push(reason), `t${asked.length}`), baseDelay: 1 });
  const ends = async (code, reason) => {
    sockets.at(-1).ends(code, reason);
    await pass(10_000);
  };
  const opens = () => (sockets.at(-1).opens("websockets-simple"), sockets.at(-1).says(HELLO));
  await turn();
  await ends(1006);
  opens();
  sockets.at(-1).says(control('"type":"expiring","expires_at":"2027-01-15T08:00:00Z","grace_seconds":30'));
  await turn();
  assert.equal(sockets.at(-1).sent.at(-1), control('"type":"token","token":"t3"'));
  assert.deepEqual(asked, ["first", "again", "expiring"]);
  // It was not accepted, so that the next one has to be another.
  sockets.at(-1).says(control('"type":"refused","reason":"not authorized"'));
  await ends(1006);
  opens();
  await ends(4003, "the credentials have expired");
  opens();
  await ends(1012);
  assert.deepEqual(asked.slice(3), ["refused", "refused", "again"]);
  // Told after an upgrade that it is not authorized: once more, and not a third time.
  sockets.at(-1).opens("websockets-simple");
  await ends(1008, "not authorized");
  assert.deepEqual([asked.at(-1), client.state], ["refused", "connecting"]);
  sockets.at(-1).opens("websockets-simple");
  await ends(1008, "not authorized");
  assert.deepEqual([asked.length, client.state, of("disconnected").at(-1).reconnectIn], [7, "givenUp", null]);
  client.connect();
  await turn();
  assert.equal(asked.at(-1), "first");
  client.disconnect();
  // Without a provider there is no other token.
  const other = start();
  await turn();
  other.sockets[0].opens();
  other.sockets[0].ends(1008, "not authorized");
  assert.equal(other.client.state, "givenUp");
});

test("a refused token stays refused until there is another one", async () => {
  const asked = [];
  const token = async (reason) => {
    asked.push(reason);
    if (asked.length === 2) {
      throw new TypeError("no network");
    }
    return "token";
  };
  const { client, sockets } = start({ token, baseDelay: 1 });
  await turn();
  sockets[0].opens("websockets-simple");
  sockets[0].ends(4003);
  await pass(2000);
  sockets.at(-1).ends(1006);
  await pass(2000);
  assert.deepEqual(asked, ["first", "refused", "refused", "again"]);
  client.disconnect();
});

test("what fails at once is not tried in a loop", async () => {
  const failing = () => {
    throw new TypeError("no network");
  };
  const closes = (code, protocol) => (socket) => (socket.opens(protocol), protocol && socket.says(HELLO), socket.ends(code));
  for (const [options, does] of [
    [{ token: failing }],
    [{ token: async () => failing() }],
    [{}, (socket) => socket.ends(1006)],
    [{}, closes(1006)],
    [{}, closes(1000)],
    [{}, closes(1012, "websockets-simple")],
    [{ token: () => "old" }, closes(4003)],
    [{}, (socket) => (socket.opens("websockets-simple"), socket.says(HELLO), socket.says(control('"type":"closing","spread_seconds":0')), socket.ends(1001))],
  ]) {
    let attempts = 0;
    const all = watched({ random: Math.random, baseDelay: 500, ...options });
    all.client.addEventListener("state", ({ detail }) => (attempts += detail.state === "connecting" ? 1 : 0));
    all.client.connect();
    let answered = 0;
    for (let second = 0; second < 600; second += 1) {
      await pass(1000);
      if (all.sockets.length > answered) {
        answered = all.sockets.length;
        does(all.sockets.at(-1));
      }
    }
    assert.ok(attempts >= 10 && attempts <= 120, `${attempts} attempts in ten minutes`);
    all.client.disconnect();
    await pass(3600);
  }
});

test("no attempt is made once it has disconnected, and none after it has given up", async () => {
  for (const rests of [(client) => client.disconnect(), (_, socket) => socket.ends(1002)]) {
    const { client, open, count } = await greeted();
    rests(client, open);
    mock.timers.tick(24 * 3600 * 1000);
    await turn();
    assert.equal(count(), 1);
  }
});

test("a renewed token that comes too late is not sent over the next connection", async () => {
  let give;
  const token = (reason) => (reason === "expiring" ? new Promise((resolve) => (give = resolve)) : "token");
  const { client, open, sockets } = await greeted({ token });
  open.says(control('"type":"expiring","expires_at":"2027-01-15T08:00:00Z","grace_seconds":30'));
  await turn();
  open.ends(1006);
  await pass(1000);
  sockets[1].opens("websockets-simple");
  sockets[1].says(HELLO);
  give("late");
  await turn();
  assert.deepEqual([open.sent, sockets[1].sent], [[SPEAKS], [SPEAKS]]);
  client.disconnect();
});

test("an attempt at once is there for who asks, and keeps the ladder", async () => {
  const idle = watched();
  assert.deepEqual([idle.client.reconnectNow(), idle.count()], [false, 0]);
  const { client, open, of, sockets, probes } = await greeted({ baseDelay: 10_000 });
  assert.deepEqual([client.reconnectNow(), probes()], [true, 1]);
  await pass(3000);
  assert.deepEqual([client.reconnectNow(), probes()], [true, 1], "one is on its way");
  await pass(2000);
  assert.equal(client.state, "waiting", "and has no more time for it");
  assert.ok(client.reconnectNow());
  assert.equal(client.reconnectNow(), false, "connecting already");
  await turn();
  sockets[1].ends(1006);
  assert.deepEqual(of("disconnected").map(({ reconnectIn }) => reconnectIn), [5000, 10_000]);
  client.reconnectNow();
  await turn();
  sockets[2].ends(1002);
  assert.equal(client.state, "givenUp");
  assert.ok(client.reconnectNow());
  await turn();
  assert.deepEqual([sockets.length, open.closed !== null], [4, true]);
  client.disconnect();
  // A server that cannot be asked.
  const other = await greeted({}, "welcome");
  assert.equal(other.client.reconnectNow(), false);
  other.client.disconnect();
});

test("a promise of a connection is kept or broken", async () => {
  const settled = (promise) => promise.then(() => "connected", ({ message }) => message);
  const { client } = watched();
  assert.equal(await settled(client.connected()), "not connected");
  const lost = start({ baseDelay: 1 });
  const promise = settled(lost.client.connected());
  await turn();
  lost.sockets[0].ends(1006);
  const later = settled(lost.client.connected());
  await pass(1000);
  lost.sockets[1].opens();
  assert.deepEqual(await Promise.all([promise, later, settled(lost.client.connected())]), Array(3).fill("connected"));
  lost.sockets[1].ends(1006);
  const never = settled(lost.client.connected());
  await pass(1000);
  lost.sockets[2].ends(1002, "a protocol error");
  assert.equal(await never, "a protocol error");
  lost.client.connect();
  const left = settled(lost.client.connected());
  lost.client.disconnect();
  assert.equal(await left, "not connected");
});

test("states are told to who iterates, the newest to who is slow", async () => {
  const { client, sockets } = watched({ baseDelay: 1 });
  const [all, slow] = [[], []];
  let go;
  void (async () => {
    for await (const state of client.states) {
      all.push(state);
    }
  })();
  const ended = (async () => {
    for await (const state of client.states) {
      slow.push(state);
      await new Promise((resolve) => (go = resolve));
      if (state === "givenUp") {
        return;
      }
    }
  })();
  await turn();
  client.connect();
  await turn();
  sockets[0].opens();
  await turn();
  sockets[0].ends(1006);
  await pass(1000);
  sockets[1].ends(1002);
  await turn();
  assert.deepEqual(all, ["idle", "connecting", "connected", "waiting", "connecting", "givenUp"]);
  assert.deepEqual(slow, ["idle"]);
  go();
  await turn();
  go();
  await ended;
  assert.deepEqual(slow, ["idle", "givenUp"]);
});

test("attempts end after so many, and after so long", async () => {
  for (const [options, most] of [[{ attempts: 2 }, 3], [{ within: 3000 }, 4], [{ first: false }, 1]]) {
    const { client, sockets } = start({ baseDelay: 500, random: () => 0.999, ...options });
    for (let second = 0; second < 100; second += 1) {
      await pass(1000);
      sockets.forEach((socket) => !socket.over && socket.ends(1006));
    }
    assert.deepEqual([sockets.length <= most, client.state], [true, "givenUp"], JSON.stringify(options));
  }
});

test("a listener may do anything, and what was before is gone when it is told", async () => {
  const { client, sockets, of } = watched({ baseDelay: 1 });
  const gone = [];
  const act = () => {
    gone.push(sockets.every(({ closed, over }) => closed !== null || over), client.bufferedAmount === 0);
    client.disconnect();
    client.connect();
  };
  client.addEventListener("disconnected", act, { once: true });
  client.connect();
  await turn();
  sockets[0].opens();
  sockets[0].ends(1006);
  assert.equal(client.state, "connecting");
  await turn();
  const told = ["connecting", "connected", "waiting", "idle", "connecting"];
  assert.deepEqual(of("state").map(({ state }) => state), told);
  assert.deepEqual(of("disconnected").map(({ code }) => code), [1006, 1000]);
  assert.deepEqual([gone, sockets.length], [[true, true], 2]);
  client.disconnect();
});

test("every listener hears everything in the same order, also of a client that another one calls", async () => {
  const { client, sockets } = watched({ baseDelay: 1 });
  const heard = [];
  client.addEventListener("disconnected", () => client.reconnectNow());
  for (const kind of ["connected", "disconnected", "state"]) {
    client.addEventListener(kind, ({ detail }) => heard.push(detail.state ?? kind));
  }
  client.connect();
  await turn();
  sockets[0].opens();
  sockets[0].ends(1006);
  assert.deepEqual(heard, ["connecting", "connected", "connected", "disconnected", "waiting", "connecting"]);
  client.disconnect();
});

test("a token provider may disconnect", async () => {
  const all = watched({ token: () => all.client.disconnect() });
  all.client.connect();
  await turn();
  assert.deepEqual([all.client.state, all.count()], ["idle", 0]);
});

test("an invalid URL or subprotocol ends it, as it stays invalid", async () => {
  class Invalid {
    constructor() {
      throw new DOMException("no URL", "SyntaxError");
    }
  }
  const { client, of } = start({ WebSocket: Invalid });
  await turn();
  assert.deepEqual([client.state, of("error")[0].stage, of("disconnected")[0].reconnectIn], ["givenUp", "connect", null]);
  const provider = start({ token: async () => Promise.reject(new NotAuthorized()) });
  await turn();
  assert.equal(provider.client.state, "givenUp");
});
