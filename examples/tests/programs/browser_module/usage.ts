// Compiles if the declarations fit what an application writes.

import {
  CloseCode,
  GroupError,
  NotAuthorized,
  WebsocketClient,
  decodePacket,
} from "../../../browser/websockets-simple.js";

const client = new WebsocketClient(new URL("wss://chat.example/"), {
  subprotocols: ["chat.v1"],
  token: async (reason, signal) => {
    const response = await fetch("/ticket", { method: "POST", cache: reason === "refused" ? "reload" : "default", signal });
    if (response.status === 401) {
      throw new NotAuthorized();
    }
    return response.text();
  },
  attempts: 10,
  within: null,
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
client.addEventListener("group", ({ detail: { group, joined, reason } }) => console.log(group, joined && reason));
// @ts-expect-error: there is no such state
client.addEventListener("state", ({ detail }) => detail.state === "closed");
// @ts-expect-error: a number is no message
client.send(5);
// @ts-expect-error: there is no such reason
new WebsocketClient("/", { token: (reason) => (reason === "perhaps" ? "" : undefined) });
client.connect();
try {
  await client.connected();
  await client.join("red");
  await client.leave("red");
} catch (error) {
  const why: string = error instanceof GroupError ? error.kind : "not connected";
  const at: boolean = client.hasControls && client.reconnectNow();
  console.log(why, at);
}
for await (const state of client.states) {
  // @ts-expect-error: there is no such state
  console.log(state === "open");
}
