"""READ and WRITE, the two messages whose payload is never copied.

A response's data is a view of the received frame; a request's data goes out as a piece of
its own (:meth:`WriteRequest.buffers`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar, Self

from smbfs.wire.file_id import FileId
from smbfs.wire.header import Command
from smbfs.wire.layout import HEADER_SIZE, Buffer, slice_body, unpack_body
from smbfs.wire.message import Message

_READ_REQUEST = struct.Struct("<HBBIQQQIIIHHx")
_READ_RESPONSE = struct.Struct("<HBBIII")
_WRITE_REQUEST = struct.Struct("<HHIQQQIIHHI")
_WRITE_RESPONSE = struct.Struct("<HHIIHH")
_READ_DATA_OFFSET = HEADER_SIZE + _READ_RESPONSE.size
_WRITE_DATA_OFFSET = HEADER_SIZE + _WRITE_REQUEST.size


class ReadFlags(IntFlag):
    """Spec: [MS-SMB2] 2.2.19 (SMB2_READFLAG_...)."""

    READ_UNBUFFERED = 0x01
    REQUEST_COMPRESSED = 0x02


class WriteFlags(IntFlag):
    """Spec: [MS-SMB2] 2.2.21 (SMB2_WRITEFLAG_...)."""

    WRITE_THROUGH = 0x0000_0001
    WRITE_UNBUFFERED = 0x0000_0002


@dataclass(frozen=True, slots=True)
class ReadRequest(Message):
    """Read ``length`` bytes of an open file.

    Shape: 48 fixed bytes and a Buffer that is at least one byte even when empty, hence
    StructureSize 49. Padding asks the server to put the data where our decoder expects it.
    Units: offset, length, minimum_count, remaining_bytes in bytes.
    Credits: ceil(length / 65536) (3.1.5.2).
    Raises: WireError on decode if short or StructureSize != 49.
    Spec: [MS-SMB2] 2.2.19; sent per 3.2.4.6.
    """

    command: ClassVar[Command] = Command.READ

    file_id: FileId
    offset: int
    length: int
    minimum_count: int = 0
    flags: int = 0
    remaining_bytes: int = 0

    def encode(self) -> bytes:
        """Return the body."""
        persistent, volatile = self.file_id
        return _READ_REQUEST.pack(
            49,
            _READ_DATA_OFFSET,
            self.flags,
            self.length,
            self.offset,
            persistent,
            volatile,
            self.minimum_count,
            0,
            self.remaining_bytes,
            0,
            0,
        )

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        (_, _, flags, length, offset, persistent, volatile, minimum_count, _, remaining, _, _) = (
            unpack_body(_READ_REQUEST, body, 49, "READ request")
        )
        file_id = FileId(persistent, volatile)
        return cls(file_id, offset, length, minimum_count, flags, remaining)

    @property
    def credit_payload(self) -> int:
        """Bytes expected."""
        return self.length


@dataclass(frozen=True, slots=True)
class ReadResponse(Message):
    """What was read: a view into the received body.

    Shape: 16 fixed bytes and the data at DataOffset.  StructureSize is 17.
    Raises: WireError on decode if short, StructureSize != 17 or data outside the body.
    Spec: [MS-SMB2] 2.2.20.
    """

    command: ClassVar[Command] = Command.READ

    data: memoryview

    def encode(self) -> bytes:
        """Return the body."""
        return b"".join(self.buffers())

    def buffers(self) -> tuple[Buffer, ...]:
        """Return the fixed part and the data."""
        data = self.data
        fixed = _READ_RESPONSE.pack(17, _READ_DATA_OFFSET, 0, data.nbytes, 0, 0)
        return (fixed, data) if data.nbytes else (fixed, b"\0")

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body without copying the data. Raises: WireError."""
        _, offset, _, length, _, _ = unpack_body(_READ_RESPONSE, body, 17, "READ response")
        return cls(slice_body(body, offset, length, "READ response"))


@dataclass(frozen=True, slots=True)
class WriteRequest(Message):
    """Write ``data`` at ``offset`` of an open file.

    Shape: 48 fixed bytes and the data.  StructureSize is 49.
    Units: offset in bytes.  Credits: ceil(len(data) / 65536) (3.1.5.2).
    Raises: WireError on decode if short, StructureSize != 49 or data outside the body.
    Spec: [MS-SMB2] 2.2.21; sent per 3.2.4.7.
    """

    command: ClassVar[Command] = Command.WRITE

    file_id: FileId
    offset: int
    data: Buffer
    flags: int = 0

    def encode(self) -> bytes:
        """Return the body with a copy of the data; senders use :meth:`buffers`."""
        return b"".join(self.buffers())

    def buffers(self) -> tuple[Buffer, ...]:
        """Return the fixed part and the data, which is not copied."""
        persistent, volatile = self.file_id
        length = memoryview(self.data).nbytes
        fixed = _WRITE_REQUEST.pack(
            49,
            _WRITE_DATA_OFFSET,
            length,
            self.offset,
            persistent,
            volatile,
            0,
            0,
            0,
            0,
            self.flags,
        )
        return (fixed, self.data) if length else (fixed, b"\0")

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body without copying the data. Raises: WireError."""
        (_, data_offset, length, offset, persistent, volatile, _, _, _, _, flags) = unpack_body(
            _WRITE_REQUEST, body, 49, "WRITE request"
        )
        data = slice_body(body, data_offset, length, "WRITE request")
        return cls(FileId(persistent, volatile), offset, data, flags)

    @property
    def credit_payload(self) -> int:
        """Bytes sent."""
        return memoryview(self.data).nbytes


@dataclass(frozen=True, slots=True)
class WriteResponse(Message):
    """How many bytes were written.

    Shape: 16 bytes, and StructureSize 17 all the same; the byte of Buffer may be missing.
    Raises: WireError on decode if short or StructureSize != 17.
    Spec: [MS-SMB2] 2.2.22.
    """

    command: ClassVar[Command] = Command.WRITE

    count: int

    def encode(self) -> bytes:
        """Return the body."""
        return _WRITE_RESPONSE.pack(17, 0, self.count, 0, 0, 0) + b"\0"

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        _, _, count, _, _, _ = unpack_body(_WRITE_RESPONSE, body, 17, "WRITE response")
        return cls(count)
