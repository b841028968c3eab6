"""Python `websocket-client`, which offers no compression. Usage: python_websocket_client.py client URL"""

import sys

from messages import messages
from websocket import ABNF, create_connection

socket = create_connection(sys.argv[2], timeout=20)
print("agreed on", socket.getheaders().get("sec-websocket-extensions", "nothing"), flush=True)
count = 0
for message in messages():
    if isinstance(message, str):
        socket.send(message)
    else:
        socket.send_binary(message)
    assert socket.recv() == message
    count += 1
# In fragments.
for opcode, part, last in [(ABNF.OPCODE_TEXT, "one ", 0), (ABNF.OPCODE_CONT, "two ", 0), (ABNF.OPCODE_CONT, "three", 1)]:
    socket.send_frame(ABNF.create_frame(part, opcode, last))
assert socket.recv() == "one two three"
print("echoed", count + 1, flush=True)
socket.close()
