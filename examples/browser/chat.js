// @ts-check
// The page of the chat server. Messages of others are shown as text, never as HTML.

import { NotAuthorized, WebsocketClient } from "./websockets-simple.js";

/** @typedef {{ kind: "said" | "notice" | "error", from?: string, text: string, at: number }} Line */
/** @typedef {{ lines: Line[], unread: number }} Conversation */

/** The key of the common conversation. Rooms have `room:NAME`, private conversations `with:NAME`. */
const EVERYBODY = "everybody";

/** Most lines that a conversation keeps. */
const KEPT = 200;

/** @type {<T extends HTMLElement = HTMLElement>(id: string) => T} */
const at = (id) => /** @type {any} */ (document.getElementById(id));

const guests = document.body.dataset.entry === "name";
/** The page of a node of a cluster: the WebSocket may be opened at a node that would not know a ticket of this one. */
const tickets = document.body.dataset.entry === "invite";
const state = {
  me: "",
  /** @type {WebsocketClient | null} */
  client: null,
  /** @type {Set<string>} */
  people: new Set(),
  /** @type {{ name: string, people: string[] }[]} */
  rooms: [],
  /** The rooms that this user is in, also while not connected. @type {Set<string>} */
  entered: new Set(),
  /** @type {Map<string, Conversation>} */
  conversations: new Map(),
  current: EVERYBODY,
};

// Signing in and out

/** @param {string} entry the invite, or the name of a guest */
function signIn(entry) {
  const url = new URL("/", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (guests) {
    url.searchParams.set("name", entry);
  }
  const client = new WebsocketClient(url, {
    subprotocols: ["chat.v1"],
    token: guests ? undefined : () => (tickets ? ticket(entry) : entry),
  });
  client.addEventListener("message", ({ detail }) => typeof detail.data === "string" && hear(detail.data));
  client.addEventListener("state", ({ detail }) => showConnection(detail.state));
  client.addEventListener("group", ({ detail: { group, joined } }) => !joined && state.entered.has(group) && exited(group));
  client.addEventListener("disconnected", ({ detail: { code, reason, opened, reconnectIn } }) => {
    if (reconnectIn === null) {
      signedOut(code === 1000 ? "" : reason || "This invite is not known.");
    } else if (opened) {
      note("notice", "The connection was lost.");
    } else {
      at("refusal").textContent = "The server cannot be reached. Trying again.";
    }
  });
  state.client = client;
  at("refusal").textContent = "";
  client.connect();
}

/**
 * Gets a ticket for one connection. The invite is sent only in this request, so it is in no log of URLs or WebSocket
 * handshakes.
 * @param {string} invite
 */
async function ticket(invite) {
  const headers = { Authorization: `Bearer ${invite}` };
  const response = await fetch("/ticket", { method: "POST", headers, cache: "no-store", signal: AbortSignal.timeout(10_000) });
  if (response.status === 401) {
    throw new NotAuthorized();
  }
  if (!response.ok) {
    throw new Error(`no ticket: ${response.status}`);
  }
  return response.text();
}

/** @param {string} reason */
function signedOut(reason) {
  state.client = null;
  state.people.clear();
  state.rooms = [];
  at("chat").hidden = true;
  at("sign-in").hidden = false;
  at("refusal").textContent = reason;
  at("entry").focus();
}

// Packets of the server

/** @param {string} text */
function hear(text) {
  const packet = JSON.parse(text);
  switch (packet.type) {
    case "welcome":
      return welcome(packet.name);
    case "online":
      state.people = new Set(packet.names);
      return showSidebar();
    case "joined":
    case "left":
      state.people[packet.type === "joined" ? "add" : "delete"](packet.name);
      showSidebar();
      return add(EVERYBODY, "notice", `${packet.name} ${packet.type}.`);
    case "say":
      return add(EVERYBODY, "said", packet.text, packet.from);
    case "private":
      return add(`with:${packet.from === state.me ? packet.to : packet.from}`, "said", packet.text, packet.from);
    case "tell":
      return add(`room:${packet.room}`, "said", packet.text, packet.from);
    case "entered":
      // After a reconnect the user is in the same rooms again, and the conversation on the screen stays.
      if (packet.name === state.me && !state.entered.has(packet.room)) {
        state.entered.add(packet.room);
        show(`room:${packet.room}`);
      }
      return add(`room:${packet.room}`, "notice", `${packet.name} entered.`);
    case "exited":
      add(`room:${packet.room}`, "notice", `${packet.name} left.`);
      return packet.name === state.me && exited(packet.room);
    case "rooms":
      state.rooms = packet.rooms;
      return showSidebar();
    case "error":
      return note("error", packet.reason);
  }
}

/** @param {string} name */
function welcome(name) {
  if (state.me !== name) {
    state.me = name;
    recall();
  }
  at("me").textContent = name;
  /** @type {HTMLInputElement} */ (at("entry")).value = "";
  at("sign-in").hidden = true;
  at("chat").hidden = false;
  tell({ type: "who" });
  tell({ type: "list" });
  show(state.current);
}

/** @param {string} room */
function exited(room) {
  state.entered.delete(room);
  show(state.current === `room:${room}` ? EVERYBODY : state.current);
}

/** @param {object} packet */
function tell(packet) {
  state.client?.sendJson(packet);
}

// Conversations, which are kept until the tab is closed

/** @param {string} key */
function conversation(key) {
  let found = state.conversations.get(key);
  if (found === undefined) {
    found = { lines: [], unread: 0 };
    state.conversations.set(key, found);
  }
  return found;
}

/**
 * @param {string} key
 * @param {Line["kind"]} kind
 * @param {string} text
 * @param {string} [from]
 */
function add(key, kind, text, from) {
  const { lines } = conversation(key);
  /** @type {Line} */
  const line = { kind, text, from, at: Date.now() };
  lines.push(line);
  lines.splice(0, lines.length - KEPT);
  if (key === state.current) {
    showLine(line);
  } else if (kind === "said") {
    conversation(key).unread += 1;
  }
  showSidebar();
  remember();
}

/**
 * Adds a line that belongs to no conversation to the current one.
 * @param {Line["kind"]} kind
 * @param {string} text
 */
function note(kind, text) {
  add(state.current, kind, text);
}

function remember() {
  if (state.me === "") {
    return;
  }
  try {
    sessionStorage.setItem(`chat of ${state.me}`, JSON.stringify([...state.conversations]));
  } catch {
    // The storage is full or disabled: the conversations are still in memory.
  }
}

function recall() {
  let kept = [];
  try {
    kept = JSON.parse(sessionStorage.getItem(`chat of ${state.me}`) ?? "[]");
  } catch {
    // The storage is disabled, or its content damaged.
  }
  state.conversations = new Map(kept);
  state.entered.clear();
  state.current = EVERYBODY;
}

// The screen

/** @param {string} key */
function show(key) {
  state.current = key;
  const { lines } = conversation(key);
  conversation(key).unread = 0;
  const [kind, name] = parts(key);
  at("conversation").textContent = kind === "room" ? `# ${name}` : kind === "with" ? `${name}, in private` : "Everybody";
  at("exit-room").hidden = kind !== "room";
  at("log").replaceChildren();
  lines.forEach(showLine);
  openMenu(false);
  showSidebar();
}

/** @param {Line} line */
function showLine({ kind, from, text, at: when }) {
  const item = element("li", { className: kind });
  const time = new Date(when);
  const clock = time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  item.append(element("time", { dateTime: time.toISOString(), textContent: clock }));
  if (from !== undefined) {
    item.classList.toggle("mine", from === state.me);
    item.append(element("b", { textContent: from }));
  }
  item.append(element("span", { textContent: text }));
  const log = at("log");
  const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  log.append(item);
  if (follows) {
    log.scrollTop = log.scrollHeight;
  }
}

function showSidebar() {
  const others = [...state.people].filter((name) => name !== state.me).sort();
  // People with a private conversation stay in the list when they are away.
  const spoken = [...state.conversations.keys()].filter((key) => key.startsWith("with:")).map((key) => parts(key)[1]);
  const away = spoken.filter((name) => !others.includes(name));
  const rooms = new Map(state.rooms.map(({ name, people }) => [name, people.length]));
  at("everybody").replaceChildren(choice(EVERYBODY, "Everybody", String(state.people.size)));
  at("rooms").replaceChildren(...[...rooms].map(([name, count]) => choice(`room:${name}`, name, String(count))));
  at("people").replaceChildren(
    ...others.map((name) => choice(`with:${name}`, name, "")),
    ...away.map((name) => choice(`with:${name}`, name, name === state.me ? "you" : "away")),
  );
  const unread = [...state.conversations.values()].reduce((sum, { unread }) => sum + unread, 0);
  at("unread").textContent = unread === 0 ? "" : String(unread);
}

/**
 * @param {string} key
 * @param {string} name
 * @param {string} remark
 */
function choice(key, name, remark) {
  const unread = state.conversations.get(key)?.unread ?? 0;
  const button = element("button", { type: "button" });
  button.dataset.key = key;
  button.setAttribute("aria-current", String(key === state.current));
  const mark = { className: unread > 0 ? "unread" : "", textContent: unread > 0 ? `${unread} new` : remark };
  button.append(element("span", { textContent: name }), element("small", mark));
  button.addEventListener("click", () => choose(key));
  const item = element("li", {});
  item.append(button);
  return item;
}

/** @param {string} key */
function choose(key) {
  const [kind, room] = parts(key);
  if (kind === "room" && !state.entered.has(room)) {
    // Shown when the server confirms it.
    enter(room);
  } else {
    show(key);
  }
}

/** @param {string} room one of its name, as the server would write it */
async function enter(room) {
  const name = [...room.trim().toLowerCase().replace(/\s+/g, "-")].slice(0, 32).join("");
  try {
    // The client joins it again when it was away.
    await state.client?.join(name);
  } catch (error) {
    note("error", `${name} cannot be entered: ${/** @type {Error} */ (error).message}`);
  }
}

/** @param {import("./websockets-simple.js").ConnectionState} connection */
function showConnection(connection) {
  const words = { idle: "Not connected", givenUp: "Not connected", connecting: "Connecting", connected: "Connected", waiting: "Connection lost, trying again" };
  at("connection").textContent = words[connection];
  at("connection").dataset.state = connection;
  for (const id of ["send", "text", "exit-room"]) {
    /** @type {HTMLButtonElement} */ (at(id)).disabled = connection !== "connected";
  }
}

/** @param {boolean} open */
function openMenu(open) {
  at("sidebar").classList.toggle("open", open);
  at("menu").setAttribute("aria-expanded", String(open));
}

/** @param {string} key @returns {[string, string]} */
function parts(key) {
  const colon = key.indexOf(":");
  return colon < 0 ? [key, ""] : [key.slice(0, colon), key.slice(colon + 1)];
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Partial<HTMLElementTagNameMap[K]>} properties
 */
function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}

/**
 * Calls back with the trimmed text of the field of a form.
 * @param {string} id
 * @param {string} field
 * @param {(typed: string) => void} typed
 */
function onSubmit(id, field, typed) {
  at(id).addEventListener("submit", (event) => {
    event.preventDefault();
    const input = /** @type {HTMLInputElement} */ (at(field));
    const text = input.value.trim();
    if (text !== "") {
      typed(text);
    }
  });
}

// Actions of the user

onSubmit("sign-in", "entry", (entry) => {
  state.client?.disconnect();
  signIn(entry);
});
onSubmit("new-room", "room-name", (room) => {
  enter(room);
  /** @type {HTMLInputElement} */ (at("room-name")).value = "";
});
onSubmit("say", "text", (text) => {
  if (state.client?.state !== "connected") {
    return;
  }
  const [kind, name] = parts(state.current);
  const packets = { everybody: { type: "say", text }, room: { type: "tell", room: name, text }, with: { type: "private", to: name, text } };
  tell(packets[/** @type {keyof typeof packets} */ (kind)]);
  /** @type {HTMLInputElement} */ (at("text")).value = "";
});
at("exit-room").addEventListener("click", () => {
  // Fails if the connection is lost meanwhile, and then it is in no room.
  state.client?.leave(parts(state.current)[1]).catch(() => {});
});
at("sign-out").addEventListener("click", () => {
  sessionStorage.removeItem(`chat of ${state.me}`);
  state.me = "";
  state.conversations.clear();
  state.client?.disconnect();
});
at("menu").addEventListener("click", () => openMenu(!at("sidebar").classList.contains("open")));

if (guests) {
  at("entry-label").textContent = "Your name";
}
showConnection("idle");
// An invite after the # of a URL is not sent to the server, and is removed from the history.
const invite = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
if (invite === "") {
  signedOut("");
} else {
  at("sign-in").hidden = false;
  signIn(invite);
}
