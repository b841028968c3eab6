// Node `ws`, with the token where a browser puts it: among the subprotocols. Usage: node node_ws.cjs URL TOKEN
"use strict";

const { WebSocket } = require("ws");

const [url, token] = process.argv.slice(2);
const bearer = `bearer.${Buffer.from(token).toString("base64url")}`;
const socket = new WebSocket(url, ["chat.v1", bearer]);

socket.on("open", () => console.log("speaks", socket.protocol));
socket.on("message", (data) => {
  const text = data.toString();
  if (text === "ping") {
    socket.send("pong");
    console.log("ping");
    return;
  }
  const packet = JSON.parse(text);
  if (packet.type === "welcome") {
    socket.send(JSON.stringify({ type: "say", text: "hello" }));
  }
  if (packet.type === "private") {
    console.log(`${packet.from} to ${packet.to}: ${packet.text}`);
    socket.close(1000);
  }
});
socket.on("close", (code) => console.log("closed", code));
