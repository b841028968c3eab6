// Node `ws`. Usage: node node_ws.cjs client URL OPTIONS | server OPTIONS, the options of its `perMessageDeflate` in JSON.
"use strict";

const assert = require("node:assert");
const { once } = require("node:events");
const { WebSocket, WebSocketServer } = require("ws");
const { messages } = require("./messages.cjs");

const [role, ...rest] = process.argv.slice(2);
const perMessageDeflate = JSON.parse(rest.pop());
const agreed = (socket) => console.log("agreed on", socket.extensions || "nothing");

async function client(url) {
  const socket = new WebSocket(url, { perMessageDeflate });
  const echoes = [];
  socket.on("message", (data, isBinary) => echoes.push(isBinary ? data : data.toString()));
  await once(socket, "open");
  agreed(socket);
  const sent = [];
  const echoed = async () => {
    while (echoes.length < sent.length) await once(socket, "message");
    assert.deepStrictEqual(echoes[sent.length - 1], sent[sent.length - 1]);
  };
  for (const message of messages()) {
    sent.push(message);
    socket.send(message);
    if (sent.length % 6 === 0) await echoed();
    // In fragments.
    if (typeof message === "string" && message.length > 3) {
      sent.push(message.slice(0, 2000));
      for (let at = 0; at < 2000; at += 500) {
        const part = message.slice(at, Math.min(at + 500, 2000));
        socket.send(part, { fin: at === 1500 });
      }
      await echoed();
    }
  }
  await echoed();
  assert.deepStrictEqual(echoes, sent);
  console.log("echoed", echoes.length);
  socket.close();
}

function server() {
  const listening = new WebSocketServer({ host: "127.0.0.1", port: 0, maxPayload: 1 << 20, perMessageDeflate }, () =>
    console.log(`listening on 127.0.0.1:${listening.address().port}`),
  );
  listening.on("connection", (socket) => {
    agreed(socket);
    socket.on("message", (data, binary) => socket.send(data, { binary }));
  });
  process.stdin.resume().on("end", () => process.exit());
}

({ client, server })[role](...rest);
