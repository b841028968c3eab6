// The machine that decides when a client connects again takes the steps of the Rust library. Run by `node --test`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const { Reconnector, nextAfter } = await import(new URL("reconnect.js", pathToFileURL(process.env.MODULE)));

test("the vectors are the steps of the machine", () => {
  let steps = 0;
  for (const { name, policy, steps: taken } of JSON.parse(readFileSync(process.env.VECTORS, "utf8"))) {
    const machine = new Reconnector(policy);
    for (const step of taken) {
      const changed = machine.step(step.happened, step.at, step.random, step.next, step.time);
      const told = { changed, attempt: machine.attempt, state: machine.state };
      assert.deepEqual(told, step.then, `${name}: ${JSON.stringify(step)}`);
      steps += 1;
    }
  }
  assert.ok(steps > 30);
});

test("each code has what follows it", () => {
  const all = (codes, greeted, spreads) => [...new Set(codes.map((code) => nextAfter(code, greeted, spreads)))];
  const from = (first, last) => Array.from({ length: last - first + 1 }, (_, nth) => first + nth);
  const again = [1005, 1006, 1012, ...from(3000, 3499), 4000, 4002, 4003, ...from(4100, 4499)];
  const later = [1001, 1011, 1013, 1014, 4001];
  const stop = [1002, 1003, 1004, ...from(1007, 1010), ...from(1015, 2999), ...from(3500, 3999), 4004, 4005, ...from(4006, 4099), ...from(4500, 4999)];
  for (const greeted of [false, true]) {
    assert.deepEqual(all(again, greeted, false), ["again"]);
    assert.deepEqual(all(later, greeted, false), ["later"]);
    assert.deepEqual(all([...again, ...later], greeted, true), ["spread"]);
    assert.deepEqual([...all(stop, greeted, false), ...all(stop, greeted, true)], ["stop", "stop"]);
  }
  assert.equal(again.length + later.length + stop.length + 1, 4000);
  // A server that has said hello means it.
  assert.deepEqual([nextAfter(1000, true, false), nextAfter(1000, false, false)], ["stop", "again"]);
});

test("attempts that fail at once stay few", () => {
  for (const opens of [false, true]) {
    let [now, attempts, seed] = [0, 0, 1];
    const machine = new Reconnector({ base: 500, most: 30_000, stableAfter: 10_000, attempts: null, within: null, first: true });
    machine.step("connect", now, 0);
    while (now < 600_000) {
      seed = (seed * 48_271) % 2_147_483_647;
      opens && machine.step("opened", now, 0);
      machine.step("lost", now, seed / 2_147_483_647);
      now = machine.state.until;
      machine.step("pauseOver", now, 0);
      attempts += 1;
    }
    assert.ok(attempts <= 120, `${attempts} attempts in ten minutes`);
  }
});
