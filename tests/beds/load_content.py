"""What a load writes and reads: every byte says where it belongs, so a strange one is seen."""

from __future__ import annotations

import random
import zlib
from functools import cache

RECORD_SIZE = 20_000
"""Bytes of a record; not a multiple of anybody's blocks."""

KNOWN_FILES = 6
KNOWN_SIZE = 8 * 1024 * 1024
"""Bytes of each file that readers read: together more than a small cache holds."""

_PERIOD = 1_000_003
"""Bytes after which what is known repeats itself; a prime, so no block is another one."""


def record(file: str, slot: int, sequence: int) -> bytes:
    """Return the record of a slot: sequence number, length and checksum, and what they are of."""
    body = random.Random(f"{file}/{slot}/{sequence}").randbytes(RECORD_SIZE - 40)
    head = f"{sequence:12d} {len(body):8d} {zlib.crc32(body):08x} {slot:7d}\n"
    return head.encode().ljust(40) + body


def known_content(file: int, offset: int, length: int) -> bytes:
    """Return bytes of a file that readers read."""
    cycle = _cycle()
    start = (offset + file * 104_729) % _PERIOD
    times = (start + length) // _PERIOD + 1
    return (cycle * times)[start : start + length]


def token(number: int) -> bytes:
    """Return the content of a file that is renamed."""
    return f"this is file {number}\n".encode() * 50


@cache
def _cycle() -> bytes:
    return random.Random("known").randbytes(_PERIOD)
