"""Python `websockets`. Usage: python_websockets.py client URL OPTIONS | server OPTIONS

OPTIONS is a Python expression: keyword arguments of its factory for permessage-deflate, or None for its defaults."""

import asyncio
import sys

from messages import messages
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

LIMIT = {"max_size": 1 << 20}


def extensions(factory, options):
    return {} if options is None else {"compression": None, "extensions": [factory(**options)]}


async def client(url, options):
    options = extensions(ClientPerMessageDeflateFactory, options)
    async with connect(url, **LIMIT, **options) as socket:
        print("agreed on", *socket.protocol.extensions, flush=True)
        count = 0
        batch = []
        for message in messages():
            batch.append(message)
            await socket.send(message)
            if len(batch) == 6:
                for sent in batch:
                    assert await socket.recv() == sent
                    count += 1
                batch.clear()
                # In fragments, each of which is compressed for itself.
                parts = [message[at : at + 300] for at in range(0, min(len(message), 3000), 300)]
                if parts:
                    await socket.send(parts)
                    assert await socket.recv() == message[:3000]
                    count += 1
        print("echoed", count, flush=True)


async def server(options):
    async def echo(socket):
        print("agreed on", *socket.protocol.extensions, flush=True)
        async for message in socket:
            await socket.send(message)

    options = extensions(ServerPerMessageDeflateFactory, options)
    async with serve(echo, "127.0.0.1", 0, **LIMIT, **options) as listening:
        print("listening on {}:{}".format(*listening.sockets[0].getsockname()), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


role, *rest = sys.argv[1:]
options = eval(rest.pop())
asyncio.run({"client": client, "server": server}[role](*rest, options))
