"""CHANGE_NOTIFY: tell me when something changes in this directory."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar, NamedTuple, Self

from smbprotocol.change_notify import SMB2ChangeNotifyRequest, SMB2ChangeNotifyResponse

from smbfs.errors import WireError
from smbfs.wire.file_id import FileId
from smbfs.wire.header import Command
from smbfs.wire.layout import decode_text, slice_body, slice_data, unpack_at
from smbfs.wire.message import Message
from smbfs.wire.vocabulary import fill, pack, unpack_structure, value

_FILE_ID = struct.Struct("<QQ")
_ENTRY = struct.Struct("<III")


class ChangeNotifyFlags(IntFlag):
    """Spec: [MS-SMB2] 2.2.35 (SMB2_WATCH_TREE)."""

    WATCH_TREE = 0x0001


class CompletionFilter(IntFlag):
    """Which changes count. Spec: [MS-SMB2] 2.2.35 (FILE_NOTIFY_CHANGE_...)."""

    FILE_NAME = 0x0000_0001
    DIR_NAME = 0x0000_0002
    ATTRIBUTES = 0x0000_0004
    SIZE = 0x0000_0008
    LAST_WRITE = 0x0000_0010
    LAST_ACCESS = 0x0000_0020
    CREATION = 0x0000_0040
    EA = 0x0000_0080
    SECURITY = 0x0000_0100
    STREAM_NAME = 0x0000_0200
    STREAM_SIZE = 0x0000_0400
    STREAM_WRITE = 0x0000_0800


class FileAction(IntEnum):
    """What happened. Spec: [MS-FSCC] 2.7.1 (FILE_ACTION_...)."""

    ADDED = 1
    REMOVED = 2
    MODIFIED = 3
    RENAMED_OLD_NAME = 4
    RENAMED_NEW_NAME = 5
    ADDED_STREAM = 6
    REMOVED_STREAM = 7
    MODIFIED_STREAM = 8
    REMOVED_BY_DELETE = 9
    ID_NOT_TUNNELLED = 10
    TUNNELLED_ID_COLLISION = 11


class NotifyInformation(NamedTuple):
    """One change: a FileAction (an int where unknown) and a name relative to the directory."""

    action: int
    name: str


@dataclass(frozen=True, slots=True)
class ChangeNotifyRequest(Message):
    """Wait for a change in an open directory.

    Shape: 32 bytes.  Units: output_buffer_length in bytes.
    Credits: ceil(output_buffer_length / 65536) (3.1.5.2).
    Raises: WireError on decode if short or StructureSize != 32.
    Spec: [MS-SMB2] 2.2.35; sent per 3.2.4.18.
    """

    command: ClassVar[Command] = Command.CHANGE_NOTIFY

    file_id: FileId
    completion_filter: int
    output_buffer_length: int = 65536
    flags: int = 0

    def encode(self) -> bytes:
        """Return the body."""
        return pack(
            fill(
                SMB2ChangeNotifyRequest(),
                flags=int(self.flags),
                output_buffer_length=self.output_buffer_length,
                file_id=_FILE_ID.pack(*self.file_id),
                completion_filter=int(self.completion_filter),
            )
        )

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        structure = unpack_structure(SMB2ChangeNotifyRequest(), body, "CHANGE_NOTIFY request")
        return cls(
            FileId(*_FILE_ID.unpack(value(structure, "file_id"))),
            value(structure, "completion_filter"),
            value(structure, "output_buffer_length"),
            value(structure, "flags"),
        )

    @property
    def credit_payload(self) -> int:
        """Bytes expected."""
        return self.output_buffer_length


@dataclass(frozen=True, slots=True)
class ChangeNotifyResponse(Message):
    """The changes, a view into the received body: see :func:`iterate_notify_information`.

    Shape: 8 fixed bytes and the data.  StructureSize is 9.
    Raises: WireError on decode if short, StructureSize != 9 or data outside the body.
    Spec: [MS-SMB2] 2.2.36.
    """

    command: ClassVar[Command] = Command.CHANGE_NOTIFY

    data: memoryview

    def encode(self) -> bytes:
        """Return the body."""
        return pack(fill(SMB2ChangeNotifyResponse(), buffer=bytes(self.data)))

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body without copying the data. Raises: WireError."""
        what = "CHANGE_NOTIFY response"
        structure = unpack_structure(SMB2ChangeNotifyResponse(), body, what, variable=("buffer",))
        return cls(
            slice_body(
                body,
                value(structure, "output_buffer_offset"),
                value(structure, "output_buffer_length"),
                what,
            )
        )


def iterate_notify_information(data: memoryview) -> Iterator[NotifyInformation]:
    """Yield the changes; no data means that there were too many to tell.

    Raises: WireError if an entry lies outside the data or NextEntryOffset does not move on.
    Spec: [MS-FSCC] 2.7.1.
    """
    what = "FILE_NOTIFY_INFORMATION"
    rest = data
    while len(rest):
        next_offset, action, name_length = unpack_at(_ENTRY, rest, 0, what)
        if next_offset and not _ENTRY.size <= next_offset < len(rest):
            raise WireError(what, len(data) - len(rest))
        entry = rest[:next_offset] if next_offset else rest
        name = decode_text(slice_data(entry, _ENTRY.size, name_length, what), what)
        yield NotifyInformation(action, name)
        rest = rest[next_offset:] if next_offset else rest[:0]
