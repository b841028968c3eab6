"""Python `websockets`, with asyncio. Usage: python_websockets.py URL TOKEN"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect


async def main(url, token):
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(url, additional_headers=headers, subprotocols=["chat.v1"]) as socket:
        print("speaks", socket.subprotocol, flush=True)
        async for text in socket:
            if text == "ping":
                await socket.send("pong")
                print("ping", flush=True)
                continue
            packet = json.loads(text)
            if packet["type"] == "welcome":
                await socket.send(json.dumps({"type": "say", "text": "hello"}))
            if packet["type"] == "private":
                print(packet["from"], "to", packet["to"] + ":", packet["text"], flush=True)
                await socket.close()
    print("closed", socket.close_code, flush=True)


asyncio.run(main(*sys.argv[1:]))
