// Groups that a client joins and leaves, and joins again. Run by `node --test`.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { GroupError, HELLO, control, start, turn, watched } from "./fakes.mjs";

beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000_000_000 }));
afterEach(() => mock.timers.reset());

const says = (type, group) => control(`"type":"${type}","group":${JSON.stringify(group)}`);
const refuses = (group, reason) => control(`"type":"group_refused","group":"${group}","reason":"${reason}"`);

/** What becomes of a promise: true, or why not. */
const settled = (promise) => promise.then(() => true, (error) => (assert.ok(error instanceof GroupError), error.kind));

/** What was asked of a server on this connection. */
const asked = ({ sent }) => sent.map((text) => JSON.parse(text)).filter(({ group }) => group).map(({ type, group }) => `${type} ${group}`);

/** The next connection, whose server has said hello. */
function greets(all, protocol = "websockets-simple") {
  const socket = all.sockets.at(-1);
  socket.opens(protocol);
  socket.says(HELLO);
  return socket;
}

async function greeted(options) {
  const all = start({ baseDelay: 1, ...options });
  await turn();
  return { ...all, open: greets(all) };
}

async function reconnected(all) {
  all.sockets.at(-1).ends(1006);
  mock.timers.tick(60_000);
  await turn();
  return greets(all);
}

test("a group is joined and left, each as the server confirms it", async () => {
  const { client, open, of } = await greeted({ subprotocols: ["chat.v1"] });
  let done = false;
  const joined = client.join("r\"ed").then(() => (done = true));
  assert.deepEqual(asked(open), ['join r"ed']);
  await turn();
  assert.equal(done, false);
  open.says(says("joined", 'r"ed'));
  await joined;
  const left = client.leave('r"ed');
  open.says(says("left", 'r"ed'));
  await left;
  assert.deepEqual(of("group"), [
    { group: 'r"ed', joined: true, reason: null },
    { group: 'r"ed', joined: false, reason: null },
  ]);
  assert.equal(of("message").length, 0);
  client.disconnect();
});

test("a client is in its groups again on the next connection, and not in those that it left or was refused", async () => {
  const all = await greeted();
  const { client, open, of } = all;
  const requests = ["red", "green", "blue", "grey"].map((group) => settled(client.join(group)));
  ["red", "green", "blue"].forEach((group) => open.says(says("joined", group)));
  open.says(refuses("grey", "not allowed here"));
  const left = client.leave("green");
  open.says(says("left", "green"));
  await left;
  assert.deepEqual(await Promise.all(requests), [true, true, true, "refused"]);

  const second = await reconnected(all);
  assert.deepEqual(asked(second), ["join red", "join blue"]);
  second.says(says("joined", "red"));
  second.says(refuses("blue", "too many groups"));
  assert.deepEqual(of("group").slice(-2), [
    { group: "red", joined: true, reason: null },
    { group: "blue", joined: false, reason: "too many groups" },
  ]);
  assert.deepEqual(asked(await reconnected(all)), ["join red"], "who was refused is not asked for again");
  // Nor is anything, once no connection was wanted.
  client.disconnect();
  client.connect();
  await turn();
  assert.deepEqual(asked(greets(all)), []);
  client.disconnect();
});

test("whoever was thrown out is in no group when it connects again", async () => {
  const all = await greeted();
  const joined = all.client.join("red");
  all.open.says(says("joined", "red"));
  await joined;
  all.open.ends(4004);
  assert.equal(all.client.state, "givenUp");
  all.client.connect();
  await turn();
  assert.deepEqual(asked(greets(all)), []);
  all.client.disconnect();
});

test("a request waits for the hello, and outlives a connection within its time", async () => {
  const all = start({ baseDelay: 1, connectTimeout: 60_000 });
  await turn();
  const joined = settled(all.client.join("red"));
  all.sockets[0].opens("websockets-simple");
  assert.deepEqual(asked(all.sockets[0]), []);
  all.sockets[0].says(HELLO);
  assert.deepEqual(asked(all.sockets[0]), ["join red"]);
  all.sockets[0].ends(1006);
  mock.timers.tick(1000);
  await turn();
  const second = greets(all);
  assert.deepEqual(asked(second), ["join red"]);
  second.says(says("joined", "red"));
  assert.equal(await joined, true);
  // Who leaves while there is no connection is left at once.
  second.ends(1006);
  await all.client.leave("red");
  const again = settled(all.client.join("blue"));
  await all.client.leave("blue");
  assert.equal(await again, "left");
  mock.timers.tick(1000);
  await turn();
  assert.deepEqual(asked(greets(all)), []);
  all.client.disconnect();
});

test("what waits for an answer when its connection ends is settled", async () => {
  const all = await greeted();
  const { client, open } = all;
  const joined = client.join("red");
  open.says(says("joined", "red"));
  await joined;
  const [leaving, superseded] = [client.leave("red"), settled(client.join("blue"))];
  const leavingToo = client.leave("blue");
  open.ends(1006);
  await Promise.all([leaving, leavingToo]);
  assert.equal(await superseded, "left");
  const lost = [settled(client.join("a")), settled(client.join("b"))];
  client.disconnect();
  assert.deepEqual(await Promise.all(lost), ["notConnected", "notConnected"]);
  assert.deepEqual(await Promise.all([settled(client.join("a")), settled(client.leave("a"))]), ["notConnected", "notConnected"]);
  assert.equal(await settled(watched().client.join("a")), "notConnected");
});

test("a server that does not answer in time may answer later", async () => {
  const all = await greeted({ connectTimeout: 5000 });
  const { client, open } = all;
  const late = settled(client.join("red"));
  mock.timers.tick(5000);
  assert.equal(await late, "timeout");
  // Its answer belongs to the first of both.
  const second = settled(client.join("red"));
  open.says(refuses("red", "not allowed here"));
  open.says(says("joined", "red"));
  assert.equal(await second, true);
  // Nobody wants it any more: left again.
  const third = settled(client.join("blue"));
  mock.timers.tick(5000);
  assert.equal(await third, "timeout");
  open.says(says("joined", "blue"));
  assert.deepEqual(asked(open).slice(-2), ["join blue", "leave blue"]);
  const leaving = settled(client.leave("red"));
  mock.timers.tick(5000);
  assert.equal(await leaving, "timeout");
  assert.deepEqual(asked(await reconnected(all)), []);
  // While nothing is connected, too.
  all.sockets.at(-1).ends(1006);
  const waiting = settled(client.join("red"));
  mock.timers.tick(5000);
  assert.equal(await waiting, "timeout");
  client.disconnect();
});

test("a server without control messages refuses at once, and the groups are not forgotten", async () => {
  for (const [protocol, first] of [["", "hi"], ["chat.v1", "hi"], ["websockets-simple", "no hello"], ["websockets-simple+chat.v1", "no hello"]]) {
    const all = start();
    await turn();
    const early = settled(all.client.join("red"));
    all.sockets[0].opens(protocol);
    all.sockets[0].says(first);
    assert.equal(await early, "noControls", protocol);
    assert.deepEqual(await Promise.all([settled(all.client.join("red")), settled(all.client.leave("red"))]), ["noControls", "noControls"]);
    all.client.disconnect();
  }
  const all = await greeted();
  const joined = all.client.join("red");
  all.open.says(says("joined", "red"));
  await joined;
  all.open.ends(1006);
  const refused = settled(all.client.join("blue"));
  mock.timers.tick(1000);
  await turn();
  all.sockets[1].opens("");
  assert.equal(await refused, "noControls");
  assert.deepEqual(all.of("group").at(-1), { group: "red", joined: false, reason: "noControls" });
  assert.deepEqual(asked(await reconnected(all)), ["join red"]);
  all.client.disconnect();
});

test("what cannot be a name is not asked for", async () => {
  const { client, open } = await greeted();
  for (const name of ["", "a\u0007", "é".repeat(65), "\ud800", undefined, 7]) {
    assert.equal(await settled(client.join(name)), "name");
    assert.equal(await settled(client.leave(name)), "name");
  }
  assert.deepEqual(asked(open), []);
  const longest = settled(client.join("é".repeat(64)));
  open.says(says("joined", "é".repeat(64)));
  assert.equal(await longest, true);
  client.disconnect();
});

test("hundreds of requests at once get their own answers, and the server no more than 64 at a time", async () => {
  const { client, open } = await greeted();
  const names = Array.from({ length: 300 }, (_, nth) => `group ${nth}`);
  const requests = names.map((name) => settled(client.join(name)));
  for (let answered = 0; answered < names.length; answered += 1) {
    assert.equal(asked(open).length, Math.min(names.length, answered + 64));
    open.says(answered % 3 === 0 ? refuses(names[answered], "no") : says("joined", names[answered]));
  }
  assert.deepEqual(await Promise.all(requests), names.map((_, nth) => (nth % 3 === 0 ? "refused" : true)));
  client.disconnect();
});

test("answers that nobody has asked for change nothing", async () => {
  const all = await greeted();
  const names = Array.from({ length: 65 }, (_, nth) => `group ${nth}`);
  const requests = names.map((name) => settled(all.client.join(name)));
  all.open.says(says("joined", "group 64"));
  assert.deepEqual([asked(all.open).length, all.of("group").length], [64, 0], "it is not asked for yet");
  names.forEach((name) => all.open.says(says("joined", name)));
  await Promise.all(requests);
  names.forEach((name) => void all.client.leave(name).then());
  names.forEach((name) => all.open.says(says("left", name)));
  all.events.length = 0;
  all.open.says(says("joined", "red"));
  all.open.says(says("left", "red"));
  all.open.says(refuses("red", "no"));
  all.open.says(control('"type":"joined"'));
  assert.deepEqual([all.of("group"), all.of("message"), all.of("error")], [[], [], []]);
  assert.deepEqual(asked(await reconnected(all)), []);
  all.client.disconnect();
});
