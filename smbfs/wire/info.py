"""QUERY_INFO and SET_INFO, and the numbers of what can be asked and set."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar, Self

from smbfs.wire.file_id import FileId
from smbfs.wire.header import Command
from smbfs.wire.layout import HEADER_SIZE, Buffer, slice_body, unpack_body
from smbfs.wire.message import Message

_QUERY_REQUEST = struct.Struct("<HBBIHHIIIQQ")
_QUERY_RESPONSE = struct.Struct("<HHI")
_SET_REQUEST = struct.Struct("<HBBIHHIQQ")
_SET_RESPONSE = struct.Struct("<H")
_QUERY_BUFFER_OFFSET = HEADER_SIZE + _QUERY_REQUEST.size
_RESPONSE_BUFFER_OFFSET = HEADER_SIZE + _QUERY_RESPONSE.size
_SET_BUFFER_OFFSET = HEADER_SIZE + _SET_REQUEST.size


class InfoType(IntEnum):
    """Spec: [MS-SMB2] 2.2.37 (SMB2_0_INFO_...)."""

    FILE = 1
    FILESYSTEM = 2
    SECURITY = 3
    QUOTA = 4


class FileInfoClass(IntEnum):
    """Spec: [MS-FSCC] 2.4; POSIX: SMB3 POSIX Extensions."""

    DIRECTORY = 1
    FULL_DIRECTORY = 2
    BOTH_DIRECTORY = 3
    BASIC = 4
    STANDARD = 5
    INTERNAL = 6
    EA = 7
    ACCESS = 8
    RENAME = 10
    LINK = 11
    NAMES = 12
    DISPOSITION = 13
    POSITION = 14
    FULL_EA = 15
    MODE = 16
    ALIGNMENT = 17
    ALL = 18
    ALLOCATION = 19
    END_OF_FILE = 20
    ALTERNATE_NAME = 21
    STREAM = 22
    PIPE = 23
    COMPRESSION = 28
    NETWORK_OPEN = 34
    ATTRIBUTE_TAG = 35
    ID_BOTH_DIRECTORY = 37
    ID_FULL_DIRECTORY = 38
    VALID_DATA_LENGTH = 39
    NORMALIZED_NAME = 48
    ID = 59
    DISPOSITION_EX = 64
    RENAME_EX = 65
    LINK_EX = 72
    POSIX = 100


class FsInfoClass(IntEnum):
    """Spec: [MS-FSCC] 2.5; POSIX: SMB3 POSIX Extensions."""

    VOLUME = 1
    LABEL = 2
    SIZE = 3
    DEVICE = 4
    ATTRIBUTE = 5
    CONTROL = 6
    FULL_SIZE = 7
    OBJECT_ID = 8
    SECTOR_SIZE = 11
    POSIX = 100


class SecurityInformation(IntFlag):
    """Which parts of a security descriptor. Spec: [MS-SMB2] 2.2.37 (AdditionalInformation)."""

    OWNER = 0x0000_0001
    GROUP = 0x0000_0002
    DACL = 0x0000_0004
    SACL = 0x0000_0008
    LABEL = 0x0000_0010
    ATTRIBUTE = 0x0000_0020
    SCOPE = 0x0000_0040
    BACKUP = 0x0001_0000


class QueryInfoFlags(IntFlag):
    """How to list extended attributes. Spec: [MS-SMB2] 2.2.37 (SL_...)."""

    RESTART_SCAN = 0x0000_0001
    RETURN_SINGLE_ENTRY = 0x0000_0002
    INDEX_SPECIFIED = 0x0000_0004


@dataclass(frozen=True, slots=True)
class QueryInfoRequest(Message):
    """Ask for information about an open file, its file system, or its security.

    Shape: 40 fixed bytes and the input buffer.  StructureSize is 41.
    Units: output_buffer_length in bytes: how much the answer may be.
    Credits: ceil(max(input, output) / 65536) (3.1.5.2).
    Raises: WireError on decode if short, StructureSize != 41 or a buffer outside the body.
    Spec: [MS-SMB2] 2.2.37; sent per 3.2.4.9.
    """

    command: ClassVar[Command] = Command.QUERY_INFO

    file_id: FileId
    info_type: int
    info_class: int
    output_buffer_length: int
    additional_information: int = 0
    flags: int = 0
    input_buffer: bytes = b""

    def encode(self) -> bytes:
        """Return the body."""
        buffer = self.input_buffer
        fixed = _QUERY_REQUEST.pack(
            41,
            self.info_type,
            self.info_class,
            self.output_buffer_length,
            _QUERY_BUFFER_OFFSET if buffer else 0,
            0,
            len(buffer),
            self.additional_information,
            self.flags,
            *self.file_id,
        )
        return fixed + (buffer or b"\0")

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "QUERY_INFO request"
        (
            _,
            info_type,
            info_class,
            output_length,
            offset,
            _,
            length,
            additional,
            flags,
            *file_id,
        ) = unpack_body(_QUERY_REQUEST, body, 41, what)
        buffer = bytes(slice_body(body, offset, length, what))
        return cls(
            FileId(*file_id), info_type, info_class, output_length, additional, flags, buffer
        )

    @property
    def credit_payload(self) -> int:
        """Bytes sent or expected, whichever is more."""
        return max(self.output_buffer_length, len(self.input_buffer))


@dataclass(frozen=True, slots=True)
class QueryInfoResponse(Message):
    """The information: a view into the received body.

    Shape: 8 fixed bytes and the data.  StructureSize is 9.
    Raises: WireError on decode if short, StructureSize != 9 or data outside the body.
    Spec: [MS-SMB2] 2.2.38.
    """

    command: ClassVar[Command] = Command.QUERY_INFO

    data: memoryview

    def encode(self) -> bytes:
        """Return the body."""
        length = self.data.nbytes
        fixed = _QUERY_RESPONSE.pack(9, _RESPONSE_BUFFER_OFFSET if length else 0, length)
        return b"".join((fixed, self.data if length else b"\0"))

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body without copying the data. Raises: WireError."""
        what = "QUERY_INFO response"
        _, offset, length = unpack_body(_QUERY_RESPONSE, body, 9, what)
        return cls(slice_body(body, offset, length, what))


@dataclass(frozen=True, slots=True)
class SetInfoRequest(Message):
    """Change information about an open file.

    Shape: 32 fixed bytes and the data.  StructureSize is 33.
    Credits: ceil(len(data) / 65536) (3.1.5.2).
    Raises: WireError on decode if short, StructureSize != 33 or data outside the body.
    Spec: [MS-SMB2] 2.2.39; sent per 3.2.4.11.
    """

    command: ClassVar[Command] = Command.SET_INFO

    file_id: FileId
    info_type: int
    info_class: int
    data: Buffer
    additional_information: int = 0

    def encode(self) -> bytes:
        """Return the body."""
        length = memoryview(self.data).nbytes
        fixed = _SET_REQUEST.pack(
            33,
            self.info_type,
            self.info_class,
            length,
            _SET_BUFFER_OFFSET,
            0,
            self.additional_information,
            *self.file_id,
        )
        return b"".join((fixed, self.data if length else b"\0"))

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "SET_INFO request"
        _, info_type, info_class, length, offset, _, additional, *file_id = unpack_body(
            _SET_REQUEST, body, 33, what
        )
        data = slice_body(body, offset, length, what)
        return cls(FileId(*file_id), info_type, info_class, data, additional)

    @property
    def credit_payload(self) -> int:
        """Bytes sent."""
        return memoryview(self.data).nbytes


@dataclass(frozen=True, slots=True)
class SetInfoResponse(Message):
    """The change was made.

    Shape: 2 bytes.  Raises: WireError on decode if short or StructureSize != 2.
    Spec: [MS-SMB2] 2.2.40.
    """

    command: ClassVar[Command] = Command.SET_INFO

    def encode(self) -> bytes:
        """Return the body."""
        return _SET_RESPONSE.pack(2)

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        unpack_body(_SET_RESPONSE, body, 2, "SET_INFO response")
        return cls()
