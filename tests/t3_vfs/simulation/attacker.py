"""Somebody between client and server who changes what the server says."""

from __future__ import annotations

import random

from smbfs.wire.header import HEADER_SIZE, Command, Header, HeaderFlags
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.read_write import ReadResponse
from tests.beds.framing import elements_of


class Attacker:
    """Each method takes a frame and returns what becomes of it, None for one to be left alone."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def tampered(self, frame: bytes) -> bytes:
        """Change a bit behind the first header."""
        index = self._chance.randrange(HEADER_SIZE, len(frame))
        changed = bytearray(frame)
        changed[index] ^= 1 << self._chance.randrange(8)
        return bytes(changed)

    def unsigned(self, frame: bytes) -> bytes:
        """Do the same, and take the signature away."""
        header = Header.decode(frame)
        header = header._replace(flags=header.flags & ~HeaderFlags.SIGNED, signature=bytes(16))
        return header.encode() + self.tampered(frame)[HEADER_SIZE:]

    def tampered_data(self, frame: bytes) -> bytes | None:
        """Change what a READ has read."""
        *_, (header, element) = elements_of(frame)
        if header.command != Command.READ or header.status != NtStatus.STATUS_SUCCESS:
            return None
        length = len(ReadResponse.decode(element[HEADER_SIZE:]).data)
        index = len(frame) - 1 - self._chance.randrange(length)
        changed = bytearray(frame)
        changed[index] ^= 1 << self._chance.randrange(8)
        return bytes(changed)

    def unsigned_data(self, frame: bytes) -> bytes | None:
        """Do the same, and take the signatures away."""
        changed = self.tampered_data(frame)
        if changed is None:
            return None
        return b"".join(
            header._replace(flags=header.flags & ~HeaderFlags.SIGNED, signature=bytes(16)).encode()
            + element[HEADER_SIZE:]
            for header, element in elements_of(changed)
        )
