"""Python `aiohttp`. Usage: python_aiohttp.py client URL WINDOW_BITS | server"""

import asyncio
import sys

import aiohttp
from aiohttp import web
from messages import messages

# Of this size it takes none any more.
LIMIT = {"max_msg_size": (1 << 20) + 1}


async def client(url, bits):
    async with aiohttp.ClientSession() as session, session.ws_connect(url, compress=int(bits), **LIMIT) as socket:
        print("agreed on", socket.compress, "no takeover" if socket.client_notakeover else "takeover", flush=True)
        count = 0
        batch = []
        for message in messages():
            batch.append(message)
            await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)
            if len(batch) == 6:
                for sent in batch:
                    assert (await socket.receive()).data == sent
                    count += 1
                batch.clear()
        print("echoed", count, flush=True)


async def server():
    async def echo(request):
        socket = web.WebSocketResponse(**LIMIT)
        await socket.prepare(request)
        print("agreed on", socket.compress, flush=True)
        async for message in socket:
            await (socket.send_str if message.type == aiohttp.WSMsgType.TEXT else socket.send_bytes)(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print("listening on {}:{}".format(*runner.addresses[0]), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


role, *rest = sys.argv[1:]
asyncio.run({"client": client, "server": server}[role](*rest))
