"""Python `websocket-client`, which blocks; the token is in the URL. Usage: python_websocket_client.py URL TOKEN"""

import json
import struct
import sys
from urllib.parse import urlencode

from websocket import ABNF, create_connection

url, token = sys.argv[1:]
socket = create_connection(f"{url}/?{urlencode({'token': token})}", subprotocols=["chat.v1"], timeout=20)
print("speaks", socket.getsubprotocol(), flush=True)
while True:
    opcode, data = socket.recv_data()
    if opcode == ABNF.OPCODE_CLOSE:
        print("closed", struct.unpack("!H", data[:2])[0], flush=True)
        break
    text = data.decode()
    if text == "ping":
        socket.send("pong")
        print("ping", flush=True)
        continue
    packet = json.loads(text)
    if packet["type"] == "welcome":
        socket.send(json.dumps({"type": "say", "text": "hello"}))
    if packet["type"] == "private":
        print(packet["from"], "to", packet["to"] + ":", packet["text"], flush=True)
        socket.send_close()
