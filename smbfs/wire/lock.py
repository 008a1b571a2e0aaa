"""LOCK: byte ranges.

smbprotocol's element has a signed length, which can't name a lock to the end of a large
file, so the message is packed here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar, NamedTuple, Self

from smbfs.errors import WireError
from smbfs.wire.file_id import FileId
from smbfs.wire.header import Command
from smbfs.wire.layout import slice_data, unpack_body
from smbfs.wire.message import Message

_REQUEST = struct.Struct("<HHIQQ")
_ELEMENT = struct.Struct("<QQI4x")
_RESPONSE = struct.Struct("<HH")


class LockFlags(IntFlag):
    """Spec: [MS-SMB2] 2.2.26.1 (SMB2_LOCKFLAG_...)."""

    SHARED_LOCK = 0x0000_0001
    EXCLUSIVE_LOCK = 0x0000_0002
    UNLOCK = 0x0000_0004
    FAIL_IMMEDIATELY = 0x0000_0010


class LockElement(NamedTuple):
    """One range in bytes, and what to do with it. Spec: [MS-SMB2] 2.2.26.1."""

    offset: int
    length: int
    flags: int


@dataclass(frozen=True, slots=True)
class LockRequest(Message):
    """Lock or unlock ranges of an open file, all or none.

    ``lock_sequence``: LockSequenceNumber in the low 4 bits, LockSequenceIndex above them.
    Shape: 24 fixed bytes and 24 per element, at least one element.  StructureSize is 48.
    Raises: WireError on decode if short, StructureSize != 48 or without an element.
    Spec: [MS-SMB2] 2.2.26; sent per 3.2.4.19.
    """

    command: ClassVar[Command] = Command.LOCK

    file_id: FileId
    elements: tuple[LockElement, ...]
    lock_sequence: int = 0

    def encode(self) -> bytes:
        """Return the body."""
        fixed = _REQUEST.pack(48, len(self.elements), self.lock_sequence, *self.file_id)
        return fixed + b"".join(_ELEMENT.pack(*element) for element in self.elements)

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "LOCK request"
        _, count, lock_sequence, persistent, volatile = unpack_body(_REQUEST, body, 48, what)
        if not count:
            raise WireError(what, 2)
        data = slice_data(body, _REQUEST.size, _ELEMENT.size * count, what)
        elements = tuple(LockElement(*fields) for fields in _ELEMENT.iter_unpack(data))
        return cls(FileId(persistent, volatile), elements, lock_sequence)


@dataclass(frozen=True, slots=True)
class LockResponse(Message):
    """All ranges are locked, or unlocked.

    Shape: 4 bytes.  Raises: WireError on decode if short or StructureSize != 4.
    Spec: [MS-SMB2] 2.2.27.
    """

    command: ClassVar[Command] = Command.LOCK

    def encode(self) -> bytes:
        """Return the body."""
        return _RESPONSE.pack(4, 0)

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        unpack_body(_RESPONSE, body, 4, "LOCK response")
        return cls()
