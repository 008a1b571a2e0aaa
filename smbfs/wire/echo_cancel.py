"""ECHO and CANCEL: four bytes each."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Self

from smbfs.wire.header import Command
from smbfs.wire.layout import unpack_body
from smbfs.wire.message import Message

_FOUR_BYTES = struct.Struct("<HH")


@dataclass(frozen=True, slots=True)
class EchoRequest(Message):
    """Ask whether the server is still there.

    Shape: 4 bytes.  Raises: WireError on decode if short or StructureSize != 4.
    Spec: [MS-SMB2] 2.2.28; sent per 3.2.4.22.
    """

    command: ClassVar[Command] = Command.ECHO

    def encode(self) -> bytes:
        """Return the body."""
        return _FOUR_BYTES.pack(4, 0)

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        unpack_body(_FOUR_BYTES, body, 4, "ECHO request")
        return cls()


@dataclass(frozen=True, slots=True)
class EchoResponse(Message):
    """The server is there.

    Shape: 4 bytes.  Raises: WireError on decode if short or StructureSize != 4.
    Spec: [MS-SMB2] 2.2.29.
    """

    command: ClassVar[Command] = Command.ECHO

    def encode(self) -> bytes:
        """Return the body."""
        return _FOUR_BYTES.pack(4, 0)

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        unpack_body(_FOUR_BYTES, body, 4, "ECHO response")
        return cls()


@dataclass(frozen=True, slots=True)
class CancelRequest(Message):
    """Cancel the request whose MessageId or AsyncId stands in the header. Has no response.

    Shape: 4 bytes.  Raises: WireError on decode if short or StructureSize != 4.
    Spec: [MS-SMB2] 2.2.30; sent per 3.2.4.24.
    """

    command: ClassVar[Command] = Command.CANCEL

    def encode(self) -> bytes:
        """Return the body."""
        return _FOUR_BYTES.pack(4, 0)

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        unpack_body(_FOUR_BYTES, body, 4, "CANCEL request")
        return cls()
