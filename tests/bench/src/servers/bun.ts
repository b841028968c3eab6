// Bun.serve, as https://bun.com/docs/runtime/http/websockets has it: an echo, and topics for broadcasts.

const { BENCH_CERTIFICATE: cert, BENCH_KEY: key, BENCH_DEFLATE } = process.env;
const deflate = BENCH_DEFLATE !== undefined;

const server = Bun.serve<{ path: string }>({
  hostname: "127.0.0.1",
  port: 0,
  tls: cert && key ? { cert, key } : undefined,
  fetch(request, server) {
    const data = { path: new URL(request.url).pathname };
    if (server.upgrade(request, { data })) return;
    return new Response("Only WebSockets are served here.", { status: 426 });
  },
  websocket: {
    maxPayloadLength: 4 * 1024 * 1024,
    perMessageDeflate: deflate,
    open(socket) {
      if (socket.data.path === "/sub") socket.subscribe("all");
    },
    message(socket, message) {
      if (socket.data.path === "/pub") server.publish("all", message, deflate);
      else socket.send(message, deflate);
    },
  },
});

console.log(`${server.hostname}:${server.port}`);
