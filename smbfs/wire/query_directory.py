"""QUERY_DIRECTORY: list a directory; what the answer holds is :mod:`smbfs.wire.fscc`'s."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar, Self

from smbfs.wire.file_id import FileId
from smbfs.wire.header import Command
from smbfs.wire.layout import HEADER_SIZE, decode_text, encode_text, slice_body, unpack_body
from smbfs.wire.message import Message

_REQUEST = struct.Struct("<HBBIQQHHI")
_RESPONSE = struct.Struct("<HHI")
_REQUEST_BUFFER_OFFSET = HEADER_SIZE + _REQUEST.size
_RESPONSE_BUFFER_OFFSET = HEADER_SIZE + _RESPONSE.size


class QueryDirectoryFlags(IntFlag):
    """Spec: [MS-SMB2] 2.2.33 (SMB2_...)."""

    RESTART_SCANS = 0x01
    RETURN_SINGLE_ENTRY = 0x02
    INDEX_SPECIFIED = 0x04
    REOPEN = 0x10


@dataclass(frozen=True, slots=True)
class QueryDirectoryRequest(Message):
    """List the entries of an open directory that match ``pattern``.

    Shape: 32 fixed bytes and the pattern.  StructureSize is 33.
    Units: output_buffer_length in bytes.
    Credits: ceil(output_buffer_length / 65536) (3.1.5.2).
    Raises: WireError on decode if short, StructureSize != 33 or a pattern outside the body.
    Spec: [MS-SMB2] 2.2.33; sent per 3.2.4.17.
    """

    command: ClassVar[Command] = Command.QUERY_DIRECTORY

    file_id: FileId
    info_class: int
    pattern: str
    output_buffer_length: int
    flags: int = 0
    file_index: int = 0

    def encode(self) -> bytes:
        """Return the body."""
        pattern = encode_text(self.pattern)
        fixed = _REQUEST.pack(
            33,
            self.info_class,
            self.flags,
            self.file_index,
            *self.file_id,
            _REQUEST_BUFFER_OFFSET,
            len(pattern),
            self.output_buffer_length,
        )
        return fixed + (pattern or b"\0\0")

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "QUERY_DIRECTORY request"
        _, info_class, flags, index, persistent, volatile, offset, length, output_length = (
            unpack_body(_REQUEST, body, 33, what)
        )
        pattern = decode_text(slice_body(body, offset, length, what), what)
        file_id = FileId(persistent, volatile)
        return cls(file_id, info_class, pattern, output_length, flags, index)

    @property
    def credit_payload(self) -> int:
        """Bytes expected."""
        return self.output_buffer_length


@dataclass(frozen=True, slots=True)
class QueryDirectoryResponse(Message):
    """Directory entries, a view into the received body: see ``fscc.iterate_directory``.

    Shape: 8 fixed bytes and the data.  StructureSize is 9.
    Raises: WireError on decode if short, StructureSize != 9 or data outside the body.
    Spec: [MS-SMB2] 2.2.34.
    """

    command: ClassVar[Command] = Command.QUERY_DIRECTORY

    data: memoryview

    def encode(self) -> bytes:
        """Return the body."""
        length = self.data.nbytes
        fixed = _RESPONSE.pack(9, _RESPONSE_BUFFER_OFFSET if length else 0, length)
        return b"".join((fixed, self.data if length else b"\0"))

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body without copying the data. Raises: WireError."""
        what = "QUERY_DIRECTORY response"
        _, offset, length = unpack_body(_RESPONSE, body, 9, what)
        return cls(slice_body(body, offset, length, what))
