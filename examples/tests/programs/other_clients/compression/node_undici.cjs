// `undici`, whose WebSocket is the one that Node has built in. Usage: node node_undici.cjs client URL
"use strict";

const assert = require("node:assert");
const { WebSocket } = require("undici");
const { messages } = require("./messages.cjs");

const socket = new WebSocket(process.argv[3]);
socket.binaryType = "arraybuffer";
const waiting = [];
const next = () => new Promise((resolve) => waiting.push(resolve));
socket.onmessage = ({ data }) => waiting.shift()(typeof data === "string" ? data : Buffer.from(data));
socket.onerror = ({ error }) => {
  throw error;
};
socket.onopen = async () => {
  console.log("agreed on", socket.extensions || "nothing");
  let count = 0;
  let batch = [];
  for (const message of messages()) {
    batch.push(next().then((echo) => assert.deepStrictEqual(echo, message)));
    socket.send(message);
    count += 1;
    if (batch.length === 6) {
      await Promise.all(batch);
      batch = [];
    }
  }
  console.log("echoed", count);
  socket.close();
};
