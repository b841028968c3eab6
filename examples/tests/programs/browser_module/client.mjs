// The module over the package `ws`. Prints every event, and sends what it reads, a line each; `join NAME` joins a group.
// Usage: client.mjs URL TOKEN...: the tokens are used in turn, the last one again and again.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { WebSocket } = createRequire(import.meta.url)("ws");
const { WebsocketClient } = await import(process.env.MODULE);

const [url, ...tokens] = process.argv.slice(2);
const token = () => (tokens.length > 1 ? tokens.shift() : tokens[0]);
const subprotocols = process.env.SUBPROTOCOL ? [process.env.SUBPROTOCOL] : [];
const client = new WebsocketClient(url, { token, WebSocket, subprotocols, baseDelay: 1 });

client.addEventListener("connected", ({ detail }) => console.log("connected", detail.subprotocol));
client.addEventListener("message", ({ detail }) => console.log("message", detail.data));
client.addEventListener("renewed", ({ detail }) => console.log("renewed", detail.expiresAt));
client.addEventListener("group", ({ detail }) => console.log("group", detail.group, detail.joined, detail.reason));
client.addEventListener("error", ({ detail }) => console.log("error", detail.stage, detail.error.message));
client.addEventListener("disconnected", ({ detail }) => {
  console.log("disconnected", detail.code, detail.reconnectIn === null ? "for good" : "for now");
  if (detail.reconnectIn === null) {
    process.exit();
  }
});
createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, group] = line.split(" ");
  if (word === "join") {
    client.join(group).then(() => console.log("joined", group), ({ kind }) => console.log("not joined", group, kind));
  } else {
    client.send(line);
  }
});
client.connect();
