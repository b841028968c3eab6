// Shows the snapshot of the server, every two seconds. Text goes into the page as text, never as HTML: channels, errors and
// ids are of the peers' writing in part.

const EVERY = 2000;
/** After this long without an answer the page says that it is old. */
const PATIENCE = 10_000;
// No request is made with the name and the password that an address may have in it: the browser sends them by itself.
const SNAPSHOT = Object.assign(new URL("snapshot.json", import.meta.url), { username: "", password: "" });
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);

/** An element with text, or with other elements, in it. */
const make = (name, content = [], className = "") => {
  const element = document.createElement(name);
  element.append(...[content].flat());
  if (className) element.className = className;
  return element;
};

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const bytes = (count) => {
  if (count < 1024) return `${whole.format(count)} B`;
  const units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
  let power = Math.min(Math.floor(Math.log2(count) / 10), units.length);
  if (count / 1024 ** power >= 999.95 && power < units.length) power += 1;
  return `${(count / 1024 ** power).toFixed(1)} ${units[power - 1]}`;
};

const span = (seconds) => {
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)} min`;
  return `${(seconds / 3600).toFixed(0)} h`;
};

const clock = (time) => new Date(time).toLocaleTimeString("en-GB");
const words = (label) => label.replaceAll("_", " ");

/** What the figures have grown by in a second, as text. */
const rate = (now, before, read) => {
  if (!before) return "…";
  const seconds = (Date.parse(now.at) - Date.parse(before.at)) / 1000;
  // A server that was started again counts from zero.
  const grown = Math.max(read(now.figures) - read(before.figures), 0);
  return seconds > 0 ? grown / seconds : 0;
};

const numbers = (now, before) => {
  const { connections, traffic, round_trips: trips, queued_bytes: queued, largest_queue: largest } = now.figures;
  const perSecond = (read, format) => {
    const value = rate(now, before, read);
    return typeof value === "string" ? value : `${format(value)}/s`;
  };
  const all = [
    ["open", whole.format(connections.open)],
    ["local", whole.format(connections.local)],
    ["in handshake", whole.format(connections.handshaking)],
    ["ending", whole.format(connections.ending)],
    ["messages received", perSecond((of) => of.traffic.messages_received, (value) => short.format(value))],
    ["messages sent", perSecond((of) => of.traffic.messages_sent, (value) => short.format(value))],
    ["received", perSecond((of) => of.traffic.bytes_received, bytes)],
    ["sent", perSecond((of) => of.traffic.bytes_sent, bytes)],
    ["waiting", bytes(queued)],
    ["longest queue", bytes(largest)],
    ["dropped", whole.format(traffic.dropped)],
    ["median round trip", trips.connections ? span(trips.median) : "–"],
    ["99 % round trip", trips.connections ? span(trips.p99) : "–"],
    ["handshakes", perSecond((of) => of.handshakes.opened, (value) => short.format(value))],
    ["refused", perSecond((of) => of.handshakes.refused, (value) => short.format(value))],
  ];
  // The browser keeps what is the same, so that selected text stays selected.
  const list = byId("numbers");
  if (list.children.length !== all.length) {
    list.replaceChildren(...all.map(([name]) => make("div", [make("dt", name), make("dd")])));
  }
  all.forEach(([, value], place) => {
    const shown = list.children[place].lastChild;
    if (shown.textContent !== value) shown.textContent = value;
  });
};

const draw = (now) => {
  const points = [...now.history.map(({ at, open }) => [Date.parse(at), open]), [Date.parse(now.at), now.figures.connections.open]];
  const [width, height, edge] = [600, 160, 4];
  const [from, to] = [points[0][0], points.at(-1)[0]];
  const most = Math.max(...points.map(([, open]) => open));
  const x = (time) => edge + ((width - 2 * edge) * (time - from)) / Math.max(to - from, 1);
  const y = (open) => height - edge - ((height - 2 * edge) * open) / Math.max(most, 1);
  const shape = (name, attributes) => {
    const element = document.createElementNS(SVG, name);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    return element;
  };
  const line = points.map(([time, open]) => `${x(time).toFixed(1)},${y(open).toFixed(1)}`).join(" ");
  byId("chart").replaceChildren(
    shape("line", { class: "axis", x1: 0, x2: width, y1: y(0), y2: y(0) }),
    shape("polyline", { class: "open", points: line }),
  );
  byId("chart-says").textContent =
    `The last ${span((to - from) / 1000)}: ${whole.format(now.figures.connections.open)} open now, ${whole.format(most)} at most.`;
};

/** A table, across the whole page where it has many columns; these are a name, how to read a row, and whether it is a number. */
const table = (title, rows, columns, nothing) => {
  if (rows.length === 0) return make("div", [make("h2", title), make("p", nothing, "nothing")]);
  const size = columns.length > 3 ? "wide" : "";
  const head = make("tr", columns.map(([name, , isNumber]) => make("th", name, isNumber ? "number" : "")));
  const body = rows.map((row) =>
    make("tr", columns.map(([, read, isNumber]) => make("td", String(read(row) ?? "–"), isNumber ? "number" : ""))),
  );
  const made = make("table", [make("caption", title), make("thead", [head]), make("tbody", body)]);
  [...head.children].forEach((cell) => cell.setAttribute("scope", "col"));
  return make("div", [made], size);
};

const tables = (now) => {
  const { closes, refusals } = now.figures;
  const counted = Object.entries(refusals).filter(([, count]) => count > 0);
  const all = [
    table("Channels", now.channels, [
      ["channel", (row) => row.channel],
      ["connections", (row) => whole.format(row.connections), true],
    ], "nobody is connected"),
    table("Slow readers", now.slow_readers, [
      ["connection", (row) => row.id],
      ["channel", (row) => row.channel],
      ["user", (row) => row.user],
      ["client", (row) => row.client],
      ["open", (row) => span(row.age), true],
      ["waiting", (row) => bytes(row.queued_bytes), true],
    ], "nothing waits for anybody"),
    table("Closes", closes.toSorted((one, other) => other.count - one.count), [
      ["code", (row) => row.code],
      ["ended by", (row) => words(row.by)],
      ["connections", (row) => whole.format(row.count), true],
    ], "no connection has ended"),
    table("Refusals", counted.toSorted(([, one], [, other]) => other - one), [
      ["reason", ([reason]) => words(reason)],
      ["handshakes", ([, count]) => whole.format(count), true],
    ], "no handshake was refused"),
    table("Last refusals", now.refusals, [
      ["at", (row) => clock(row.at)],
      ["reason", (row) => words(row.reason)],
      ["client", (row) => row.client],
    ], "none"),
    table("Last errors", now.errors, [
      ["at", (row) => clock(row.at)],
      ["where", (row) => row.stage],
      ["error", (row) => row.error],
      ["client", (row) => row.client],
    ], "none"),
  ];
  if (now.nodes?.length) {
    all.unshift(table("Nodes", now.nodes, [
      ["node", (row) => `${row.info.name}${row.is_here ? " (this one)" : ""}`],
      ["heard", (row) => (row.is_here ? "–" : `${span(row.age)} ago`), true],
      ["connections", (row) => whole.format(row.connections), true],
    ], ""));
  }
  byId("tables").replaceChildren(...all);
};

const health = ({ health: { live, ready, why } }) => {
  const text = !live ? "does not live" : ready ? "ready" : `not ready: ${why.map(words).join(", ")}`;
  say(text, live && ready);
};

const say = (text, isWell) => {
  const shown = byId("health");
  shown.className = isWell ? "well" : "unwell";
  // Screen readers say it each time that it is written.
  if (shown.textContent !== text) shown.textContent = text;
};

let before = null;
let answered = Date.now();

const ask = async () => {
  try {
    const answer = await fetch(SNAPSHOT, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (answer.status === 401) throw new Error("you are not let in any more: load the page again");
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    const now = await answer.json();
    answered = Date.now();
    numbers(now, before);
    draw(now);
    tables(now);
    health(now);
    byId("asked").textContent = `as of ${clock(now.at)}, by the server's clock, every ${EVERY / 1000} s`;
    before = now;
  } catch (error) {
    const old = span((Date.now() - answered) / 1000);
    say(`no answer for ${old}: ${error instanceof Error ? error.message : error}`, false);
  }
};

/** One question at a time, and none while nobody looks. */
const live = async () => {
  for (;;) {
    if (document.visibilityState === "hidden") {
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
      continue;
    }
    await ask();
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
};

await live();
