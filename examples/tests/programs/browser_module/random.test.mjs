// Whatever happens, in any order, with listeners that call back: one thing exists at a time, it is told once and in order,
// and nothing is left waiting. Run by `node --test`.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { HELLO, control, turn, watched } from "./fakes.mjs";

const page = new EventTarget();
globalThis.addEventListener = (kind, listener) => page.addEventListener(kind, listener);
globalThis.removeEventListener = (kind, listener) => page.removeEventListener(kind, listener);

beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000_000_000 }));
afterEach(() => mock.timers.reset());

/** Numbers with as little order as any, and the same in every run. */
function numbers(seed) {
  let state = (seed * 2_654_435_761) % 2_147_483_647 || 1;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

test("a client survives anything", async () => {
  const reached = new Set();
  for (let seed = 1; seed <= 300; seed += 1) {
    const random = numbers(seed);
    const pick = (list) => list[Math.floor(random() * list.length)];
    let pending = 0;
    const follow = (promise) => {
      pending += 1;
      promise.then(() => (pending -= 1), () => (pending -= 1));
    };
    const token = (_, signal) => {
      const given = pick(["now", "never", "later", "fails"]);
      if (given === "fails") {
        throw new TypeError("no network");
      }
      signal.addEventListener("abort", () => {});
      return given === "now" ? "token" : new Promise((resolve) => given === "later" && setTimeout(resolve, 3000, "token"));
    };
    const { client, sockets } = watched({ token: random() < 0.5 ? token : undefined, random, baseDelay: 500, connectTimeout: 5000 });
    const raise = (kind) => page.dispatchEvent(Object.assign(new Event(kind), { persisted: random() < 0.8 }));
    const socket = () => sockets.at(-1);
    const live = () => socket() !== undefined && !socket().over && socket().closed === null;
    const calls = [
      () => client.connect(),
      () => client.disconnect(),
      () => client.reconnectNow(),
      () => follow(client.connected()),
      () => follow(client.join(pick(["a", "b", "c"]))),
      () => follow(client.leave(pick(["a", "b", "c"]))),
    ];
    const happenings = [
      ...calls,
      () => client.connect(),
      () => live() && client.state === "connecting" && socket().opens(pick(["websockets-simple", "websockets-simple", ""])),
      () => live() && client.state === "connected" && socket().says(HELLO),
      () => live() && client.state === "connected" && socket().says(control(`"type":"${pick(["joined", "left", "group_refused"])}","group":"${pick(["a", "b", "c"])}","reason":"no"`)),
      () => live() && client.state === "connected" && socket().says(control('"type":"closing","spread_seconds":7')),
      () => live() && socket().ends(pick([1000, 1001, 1006, 1008, 1012, 4003, 4004]), pick(["", "not authorized"])),
      // Of one that was given up.
      () => sockets.length > 1 && pick(sockets.slice(0, -1)).dispatchEvent(Object.assign(new Event(pick(["open", "close", "message"])), { code: 1006, reason: "", data: HELLO })),
      () => raise(pick(["offline", "online", "pagehide", "pageshow"])),
      () => mock.timers.setTime(Date.now() + 60_000),
      () => mock.timers.tick(Math.floor(random() * 40_000)),
    ];
    let calm = false;
    for (const kind of ["state", "connected", "disconnected", "group"]) {
      client.addEventListener(kind, () => !calm && random() < 0.1 && pick(calls)());
    }
    for (let step = 0; step < 60; step += 1) {
      pick(happenings)();
      await turn();
      reached.add(client.state);
      const open = sockets.filter((one) => one.closed === null && !one.over);
      assert.ok(open.length <= 1, `seed ${seed}`);
      if (client.state === "connected") {
        assert.equal(open.length, 1, `seed ${seed}: connected to nothing`);
      } else if (client.state !== "connecting") {
        assert.equal(open.length, 0, `seed ${seed}: a socket while ${client.state}`);
      }
    }
    calm = true;
    client.disconnect();
    await turn();
    assert.equal(pending, 0, `seed ${seed}: a promise that is not settled`);
    const count = sockets.length;
    mock.timers.tick(24 * 3600 * 1000);
    await turn();
    assert.deepEqual([sockets.length, client.state], [count, "idle"], `seed ${seed}`);
  }
  assert.deepEqual([...reached].sort(), ["connected", "connecting", "givenUp", "idle", "waiting"]);
});

test("whoever wants a connection has one again in the end", async () => {
  for (let seed = 1; seed <= 100; seed += 1) {
    const random = numbers(seed);
    const { client, sockets } = watched({ random });
    client.connect();
    for (let step = 0; step < 20; step += 1) {
      await turn();
      const socket = sockets.at(-1);
      if (socket !== undefined && socket.closed === null && !socket.over) {
        random() < 0.5 && socket.opens("websockets-simple");
        random() < 0.5 ? socket.ends(random() < 0.5 ? 1006 : 1012) : page.dispatchEvent(new Event("offline"));
      }
      // Nothing but time: no state is left without a timer.
      mock.timers.tick(40_000);
    }
    for (let second = 0; second < 60 && client.state !== "connecting"; second += 1) {
      mock.timers.tick(1000);
      await turn();
    }
    await turn();
    assert.equal(client.state, "connecting", `seed ${seed}`);
    sockets.at(-1).opens("");
    assert.equal(client.state, "connected");
    client.disconnect();
  }
});
