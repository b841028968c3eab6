"""Frames by hand, and zlib with each size of its window. Usage: python_zlib.py client URL BITS

Offers server_max_window_bits=BITS, decompresses by a window of that size and compresses by windows of each size."""

import base64
import os
import socket
import struct
import sys
import zlib
from urllib.parse import urlsplit

from messages import messages

TAIL = b"\x00\x00\xff\xff"
TEXT, BINARY, FINAL, COMPRESSED = 0x01, 0x02, 0x80, 0x40


def deflated(payload, level, bits):
    """As RFC 7692 section 7.2.1 has it."""
    compress = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return (compress.compress(payload) + compress.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL) or b"\x00"


def send(stream, first, payload):
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    stream.sendall(head + bytes(4) + payload)


def receive(reader):
    first, size = reader.read(2)
    if size == 126:
        (size,) = struct.unpack("!H", reader.read(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", reader.read(8))
    return first, reader.read(size)


url, bits = urlsplit(sys.argv[2]), int(sys.argv[3])
stream = socket.create_connection((url.hostname, url.port), timeout=20)
reader = stream.makefile("rb")
key = base64.b64encode(os.urandom(16)).decode()
stream.sendall(
    f"GET / HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
    f"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={bits}\r\n\r\n".encode()
)
for line in iter(reader.readline, b"\r\n"):
    if line.lower().startswith(b"sec-websocket-extensions:"):
        print("agreed on", line.split(b":", 1)[1].strip().decode(), flush=True)

count = compressed = 0
for message in messages():
    if len(message) > 1 << 16:
        # As large as all windows together, and slow.
        continue
    kind = TEXT if isinstance(message, str) else BINARY
    payload = message.encode() if kind == TEXT else message
    for window in range(9, 16):
        level = count % 9 + 1
        send(stream, FINAL | COMPRESSED | kind, deflated(payload, level, window))
        first, echo = receive(reader)
        if first & COMPRESSED:
            assert len(echo) < len(payload)
            decompress = zlib.decompressobj(-bits)
            echo = decompress.decompress(echo + TAIL) + decompress.flush()
            compressed += 1
        assert (first & ~COMPRESSED, echo) == (FINAL | kind, payload), (len(payload), window)
        count += 1
print("echoed", count, "of which compressed", compressed, flush=True)
