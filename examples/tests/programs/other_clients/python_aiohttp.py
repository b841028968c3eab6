"""Python `aiohttp`. Usage: python_aiohttp.py URL TOKEN"""

import asyncio
import sys

import aiohttp


async def main(url, token):
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(url, protocols=["chat.v1"]) as socket,
    ):
        print("speaks", socket.protocol, flush=True)
        async for message in socket:
            if message.data == "ping":
                await socket.send_str("pong")
                print("ping", flush=True)
                continue
            packet = message.json()
            if packet["type"] == "welcome":
                await socket.send_json({"type": "say", "text": "hello"})
            if packet["type"] == "private":
                print(packet["from"], "to", packet["to"] + ":", packet["text"], flush=True)
                await socket.close()
        print("closed", socket.close_code, flush=True)


asyncio.run(main(*sys.argv[1:]))
