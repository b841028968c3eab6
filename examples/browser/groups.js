// @ts-check
// The groups that a client wants to be in: asked for on each connection, and again on the next one.

/** Requests that wait for an answer of the server. */
const AT_ONCE = 64;

/** @typedef {import("./websockets-simple.js").GroupError["kind"]} Kind */
/** @typedef {{ type: "join" | "leave", group: string, sent: boolean, settle: (error?: GroupError) => void }} Request */

export class GroupError extends Error {
  /**
   * @param {Kind} kind
   * @param {string} [reason]
   */
  constructor(kind, reason) {
    super(reason ?? kind);
    this.name = "GroupError";
    this.kind = kind;
    this.reason = reason;
  }
}

export class Groups {
  /** @type {Set<string>} */
  #wanted = new Set();
  /** In the order of the answers. What was sent stays until it is answered, even if nobody waits. @type {Request[]} */
  #requests = [];
  /** Sends a request, once the server has said hello. @type {((type: string, group: string) => void) | null} */
  #say = null;
  /** Whether this connection has no control messages. */
  #mute = false;
  #patience;
  #tell;

  /**
   * @param {number} patience
   * @param {(detail: object) => void} tell
   */
  constructor(patience, tell) {
    this.#patience = patience;
    this.#tell = tell;
  }

  /** @param {string} group */
  join(group) {
    return this.#ask("join", group);
  }

  /** @param {string} group */
  leave(group) {
    this.#wanted.delete(group);
    this.#drop("left", (request) => request.group === group && !request.sent);
    // Without a connection it is in no group.
    return this.#say === null && !this.#mute && isName(group) ? Promise.resolve() : this.#ask("leave", group);
  }

  /** @param {(type: string, group: string) => void} say */
  begin(say) {
    this.#say = say;
    for (const group of this.#wanted) {
      if (!this.#requests.some((request) => request.group === group)) {
        this.#push("join", group);
      }
    }
    this.#send();
  }

  mute() {
    this.#mute = true;
    this.#drop("noControls", () => true);
    this.#wanted.forEach((group) => this.#tell({ group, joined: false, reason: "noControls" }));
  }

  /**
   * @param {"joined" | "left" | "group_refused"} type
   * @param {string} group
   * @param {string} [reason]
   */
  answered(type, group, reason) {
    const asked = { joined: "join", left: "leave", group_refused: null }[type];
    const isOf = (/** @type {Request} */ { sent, type, group: of }) => sent && of === group && (asked ?? type) === type;
    const place = this.#requests.findIndex(isOf);
    if (place < 0) {
      return;
    }
    const [request] = this.#requests.splice(place, 1);
    if (!this.#requests.some((other) => other.group === group)) {
      if (asked === null && request.type === "join") {
        this.#wanted.delete(group);
      } else if (asked === "join" && !this.#wanted.has(group)) {
        // Whoever wanted it has given up.
        this.#push("leave", group);
      }
    }
    this.#send();
    request.settle(asked === null ? new GroupError("refused", reason) : undefined);
    if (asked !== null || request.type === "join") {
      this.#tell({ group, joined: type === "joined", reason: reason ?? null });
    }
  }

  /** @param {boolean} again whether another connection follows */
  end(again) {
    this.#say = null;
    this.#mute = false;
    const left = this.#requests.filter(({ type }) => type === "leave");
    this.#requests = this.#requests.filter(({ type }) => type === "join");
    left.forEach(({ settle }) => settle());
    if (!again) {
      this.#wanted.clear();
    }
    this.#drop(again ? "left" : "notConnected", ({ group }) => !this.#wanted.has(group));
    this.#requests.forEach((request) => (request.sent = false));
  }

  /**
   * @param {"join" | "leave"} type
   * @param {string} group
   * @returns {Promise<void>}
   */
  #ask(type, group) {
    if (this.#mute || !isName(group)) {
      return Promise.reject(new GroupError(this.#mute ? "noControls" : "name"));
    }
    return new Promise((resolve, reject) => {
      if (type === "join") {
        this.#wanted.add(group);
      }
      const request = this.#push(type, group, (error) => {
        clearTimeout(timer);
        error === undefined ? resolve() : reject(error);
      });
      const timer = setTimeout(() => this.#late(request), this.#patience);
      this.#send();
    });
  }

  /**
   * @param {"join" | "leave"} type
   * @param {string} group
   * @param {Request["settle"]} [settle]
   */
  #push(type, group, settle = () => {}) {
    const request = { type, group, sent: false, settle };
    this.#requests.push(request);
    return request;
  }

  /** @param {Request} request */
  #late(request) {
    if (!this.#requests.some((other) => other !== request && other.group === request.group)) {
      this.#wanted.delete(request.group);
    }
    if (request.sent) {
      request.settle(new GroupError("timeout"));
    }
    this.#drop("timeout", (other) => other === request && !request.sent);
  }

  #send() {
    const free = AT_ONCE - this.#requests.filter(({ sent }) => sent).length;
    for (const request of this.#say === null ? [] : this.#requests.filter(({ sent }) => !sent).slice(0, free)) {
      request.sent = true;
      this.#say?.(request.type, request.group);
    }
  }

  /**
   * @param {Kind} kind
   * @param {(request: Request) => boolean} which
   */
  #drop(kind, which) {
    const dropped = this.#requests.filter(which);
    this.#requests = this.#requests.filter((request) => !dropped.includes(request));
    for (const { type, group, settle } of dropped) {
      if (type === "join" && kind === "noControls") {
        this.#wanted.delete(group);
      }
      settle(new GroupError(kind));
    }
  }
}

/** @param {unknown} group */
function isName(group) {
  const bytes = typeof group === "string" ? new TextEncoder().encode(group).length : 0;
  return bytes > 0 && bytes <= 128 && !/[\p{Cc}\p{Cs}]/u.test(String(group));
}
