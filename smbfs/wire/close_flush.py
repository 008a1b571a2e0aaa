"""CLOSE and FLUSH."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar, Self

from smbfs.wire.file_id import FileId
from smbfs.wire.header import Command
from smbfs.wire.layout import unpack_body
from smbfs.wire.message import Message

_CLOSE_REQUEST = struct.Struct("<HHIQQ")
_CLOSE_RESPONSE = struct.Struct("<HHIQQQQQQI")
_FLUSH_REQUEST = struct.Struct("<HHIQQ")
_FLUSH_RESPONSE = struct.Struct("<HH")


class CloseFlags(IntFlag):
    """Spec: [MS-SMB2] 2.2.15 (SMB2_CLOSE_FLAG_...)."""

    POSTQUERY_ATTRIB = 0x0001
    """The response shall carry the file's attributes."""


@dataclass(frozen=True, slots=True)
class CloseRequest(Message):
    """Close an open.

    Shape: 24 bytes.  Raises: WireError on decode if short or StructureSize != 24.
    Spec: [MS-SMB2] 2.2.15; sent per 3.2.4.5.
    """

    command: ClassVar[Command] = Command.CLOSE

    file_id: FileId
    flags: int = 0

    def encode(self) -> bytes:
        """Return the body."""
        return _CLOSE_REQUEST.pack(24, self.flags, 0, *self.file_id)

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        _, flags, _, persistent, volatile = unpack_body(_CLOSE_REQUEST, body, 24, "CLOSE request")
        return cls(FileId(persistent, volatile), flags)


@dataclass(frozen=True, slots=True)
class CloseResponse(Message):
    """The open is closed; with POSTQUERY_ATTRIB in ``flags``, this is how the file looked.

    Shape: 60 bytes.  Units: times are FILETIMEs, sizes bytes.
    Raises: WireError on decode if short or StructureSize != 60.
    Spec: [MS-SMB2] 2.2.16.
    """

    command: ClassVar[Command] = Command.CLOSE

    flags: int = 0
    creation_time: int = 0
    last_access_time: int = 0
    last_write_time: int = 0
    change_time: int = 0
    allocation_size: int = 0
    end_of_file: int = 0
    file_attributes: int = 0

    def encode(self) -> bytes:
        """Return the body."""
        return _CLOSE_RESPONSE.pack(
            60,
            self.flags,
            0,
            self.creation_time,
            self.last_access_time,
            self.last_write_time,
            self.change_time,
            self.allocation_size,
            self.end_of_file,
            self.file_attributes,
        )

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        _, flags, _, *values = unpack_body(_CLOSE_RESPONSE, body, 60, "CLOSE response")
        return cls(flags, *values)


@dataclass(frozen=True, slots=True)
class FlushRequest(Message):
    """Have the server write its cached data of an open to stable storage.

    Shape: 24 bytes.  Raises: WireError on decode if short or StructureSize != 24.
    Spec: [MS-SMB2] 2.2.17; sent per 3.2.4.8.
    """

    command: ClassVar[Command] = Command.FLUSH

    file_id: FileId

    def encode(self) -> bytes:
        """Return the body."""
        return _FLUSH_REQUEST.pack(24, 0, 0, *self.file_id)

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        _, _, _, persistent, volatile = unpack_body(_FLUSH_REQUEST, body, 24, "FLUSH request")
        return cls(FileId(persistent, volatile))


@dataclass(frozen=True, slots=True)
class FlushResponse(Message):
    """The data is stable.

    Shape: 4 bytes.  Raises: WireError on decode if short or StructureSize != 4.
    Spec: [MS-SMB2] 2.2.18.
    """

    command: ClassVar[Command] = Command.FLUSH

    def encode(self) -> bytes:
        """Return the body."""
        return _FLUSH_RESPONSE.pack(4, 0)

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        unpack_body(_FLUSH_RESPONSE, body, 4, "FLUSH response")
        return cls()
