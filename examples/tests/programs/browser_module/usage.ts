// Compiles if the declarations fit what an application writes.

import { CloseCode, NotAuthorized, WebsocketClient, decodePacket } from "../../../browser/websockets-simple.js";

const client = new WebsocketClient(new URL("wss://chat.example/"), {
  subprotocols: ["chat.v1"],
  token: async () => {
    const response = await fetch("/ticket", { method: "POST" });
    if (response.status === 401) {
      throw new NotAuthorized();
    }
    return response.text();
  },
});
client.addEventListener("message", ({ detail }) => {
  const text: string = typeof detail.data === "string" ? decodePacket(detail.data).data : "";
  const bytes: number = typeof detail.data === "string" ? text.length : detail.data.byteLength;
  console.log(text, bytes);
});
client.addEventListener("disconnected", ({ detail: { code, reconnectIn } }) => {
  const wait: number | null = code === CloseCode.REVOKED ? null : reconnectIn;
  console.log(wait);
});
// @ts-expect-error: there is no such state
client.addEventListener("state", ({ detail }) => detail.state === "closed");
// @ts-expect-error: a number is no message
client.send(5);
client.connect();
