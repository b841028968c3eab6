"""What the Python programs say: sizes around each threshold, of what gets shorter and what does not."""

import random

SIZES = [0, 1, 125, 126, 1023, 1024, 1025, 65_535, 65_536, 1 << 20]


def messages():
    """Pairs of a text and noise of each size, each twice, as a window that is kept makes a difference for the second."""
    noise = random.Random(7)
    for size in SIZES:
        plain = ('{"id":17,"name":"somebody","online":true},' * (size // 40 + 1))[:size]
        # Characters of two, three and four bytes, and filled up to the size.
        letters = "ż日😀" * (size // 9)
        letters += "x" * (size - len(letters.encode()))
        for _ in range(2):
            yield plain
            yield letters
            yield noise.randbytes(size)
