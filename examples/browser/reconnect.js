// @ts-check
// When a client connects again: a state machine without clock, socket and random numbers, and what follows which close
// code. The Rust library takes the same steps: `tests/vectors/reconnect.json` holds them.

/** @typedef {"again" | "later" | "notBefore" | "exactly" | "spread" | "stop"} Next */
/** @typedef {{ name: "idle" | "connecting" | "open" | "waiting" | "givenUp", since?: number, until?: number }} State */
/** @typedef {Record<"base" | "most" | "stableAfter", number> & Record<"attempts" | "within", number | null> & { first: boolean }} Policy */

/** The close codes that a client may act on. Others exist. */
export const CloseCode = Object.freeze({
  NORMAL: 1000,
  GOING_AWAY: 1001,
  PROTOCOL: 1002,
  UNSUPPORTED: 1003,
  NO_STATUS: 1005,
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
  REPLACED: 4005,
});

/** From which to which code a new connection may succeed. */
const AGAIN = [[1001, 1001], [1005, 1006], [1011, 1014], [3000, 3499], [4000, 4003], [4100, 4499]];

/** Codes by which a server asks for time, and steps of the ladder before the pause then: all of its clients come back. */
const ASKS = [1001, 1011, 1013, 1014, 4001];
const LATER = 3;

/** @param {number} code */
export function shouldReconnect(code) {
  return AGAIN.some(([first, last]) => first <= code && code <= last);
}

/**
 * What follows a close code. Only servers that have said hello mean 1000; others, and proxies, restart with it.
 * @param {number} code
 * @param {boolean} greeted
 * @param {boolean} spreads
 * @returns {Next}
 */
export function nextAfter(code, greeted, spreads) {
  if (!shouldReconnect(code) && (code !== CloseCode.NORMAL || greeted)) {
    return "stop";
  }
  return spreads ? "spread" : ASKS.includes(code) ? "later" : "again";
}

export class Reconnector {
  #policy;
  #wasOpen = false;
  /** @type {number | null} */
  #losingSince = null;
  /** Whether the server had asked for time: all of its clients come back, those whose attempts fail as well. */
  #spreads = false;
  /** What has to exist: a dial, a connection, a timer, or nothing. @type {State} */
  state = { name: "idle" };
  /** The number of the attempt that is made, or comes next. */
  attempt = 0;

  /** @param {Policy} policy */
  constructor(policy) {
    this.#policy = policy;
  }

  /**
   * Whether the state has changed: what does not fit it, such as a late timer, changes nothing.
   * @param {"connect" | "opened" | "lost" | "pauseOver" | "now" | "disconnect"} happened
   * @param {number} now
   * @param {number} random from 0 up to 1
   * @param {Next} [next]
   * @param {number} [time]
   */
  step(happened, now, random, next = "again", time = 0) {
    const { name, since = now } = this.state;
    const rests = name === "idle" || name === "givenUp";
    if ((happened === "connect" && rests) || (happened === "now" && name === "givenUp")) {
      this.attempt = 0;
      this.#losingSince = null;
      this.#spreads = false;
      this.#wasOpen = false;
      this.state = { name: "connecting" };
    } else if (happened === "opened" && name === "connecting") {
      this.#wasOpen = true;
      this.state = { name: "open", since: now };
    } else if (happened === "lost" && name === "open") {
      if (now - since >= this.#policy.stableAfter) {
        this.attempt = 0;
        this.#losingSince = null;
        this.#spreads = false;
      }
      this.state = this.#lost(next, time, now, random);
    } else if (happened === "lost" && name === "connecting") {
      this.state = this.#lost(this.#wasOpen || this.#policy.first ? next : "stop", time, now, random);
    } else if ((happened === "pauseOver" || happened === "now") && name === "waiting") {
      this.state = { name: "connecting" };
    } else if (happened === "disconnect" && name !== "idle") {
      this.state = { name: "idle" };
    } else {
      return false;
    }
    return true;
  }

  /**
   * @param {Next} next
   * @param {number} time
   * @param {number} now
   * @param {number} random
   * @returns {State}
   */
  #lost(next, time, now, random) {
    const { base, most, attempts, within } = this.#policy;
    const since = (this.#losingSince ??= now);
    this.#spreads ||= next === "spread";
    const isLater = next === "later" || next === "spread" || (next === "again" && this.#spreads);
    const steps = Math.max(this.attempt, isLater ? LATER : 0);
    // Full jitter, by which clients that were lost together do not come back together.
    let pause = Math.min(most, base * 2 ** Math.min(steps, 32)) * random;
    if (next === "exactly") {
      pause = time;
    } else if (next === "notBefore") {
      pause = Math.max(pause, time + Math.min(time, most) * random);
    } else if (next === "spread" && this.attempt === 0) {
      // Only the server knows how many have to come back. Those that fail then climb the ladder.
      pause = time * random;
    }
    const until = now + pause;
    this.attempt += 1;
    const enough = this.attempt > (attempts ?? Infinity) || until - since > (within ?? Infinity);
    return next === "stop" || enough ? { name: "givenUp" } : { name: "waiting", until };
  }
}
