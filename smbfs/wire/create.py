"""CREATE: open or make a file, and the enumerations that go with it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar, Self, TypeVar

from smbfs.errors import WireError
from smbfs.wire.create_contexts import (
    AnyCreateContext,
    decode_request_contexts,
    decode_response_contexts,
    encode_create_contexts,
)
from smbfs.wire.file_id import FileId
from smbfs.wire.header import Command
from smbfs.wire.layout import (
    HEADER_SIZE,
    decode_text,
    encode_text,
    padding,
    slice_body,
    unpack_body,
)
from smbfs.wire.message import Message

__all__ = [
    "AccessMask",
    "CreateAction",
    "CreateDisposition",
    "CreateOptions",
    "CreateRequest",
    "CreateResponse",
    "CreateResponseFlags",
    "FileAttributes",
    "FileId",
    "ImpersonationLevel",
    "OplockLevel",
    "ShareAccess",
]

_CREATE_REQUEST = struct.Struct("<HBBIQQIIIIIHHII")
_CREATE_RESPONSE = struct.Struct("<HBBIQQQQQQIIQQII")
_REQUEST_BUFFER_OFFSET = HEADER_SIZE + _CREATE_REQUEST.size
_RESPONSE_BUFFER_OFFSET = HEADER_SIZE + _CREATE_RESPONSE.size

ContextT = TypeVar("ContextT", bound=AnyCreateContext)


class AccessMask(IntFlag):
    """Rights on a file or directory. Spec: [MS-SMB2] 2.2.13.1.

    A directory reads READ_DATA as LIST_DIRECTORY, WRITE_DATA as ADD_FILE, APPEND_DATA as
    ADD_SUBDIRECTORY, EXECUTE as TRAVERSE.
    """

    READ_DATA = 0x0000_0001
    WRITE_DATA = 0x0000_0002
    APPEND_DATA = 0x0000_0004
    READ_EA = 0x0000_0008
    WRITE_EA = 0x0000_0010
    EXECUTE = 0x0000_0020
    DELETE_CHILD = 0x0000_0040
    READ_ATTRIBUTES = 0x0000_0080
    WRITE_ATTRIBUTES = 0x0000_0100
    DELETE = 0x0001_0000
    READ_CONTROL = 0x0002_0000
    WRITE_DAC = 0x0004_0000
    WRITE_OWNER = 0x0008_0000
    SYNCHRONIZE = 0x0010_0000
    ACCESS_SYSTEM_SECURITY = 0x0100_0000
    MAXIMUM_ALLOWED = 0x0200_0000
    GENERIC_ALL = 0x1000_0000
    GENERIC_EXECUTE = 0x2000_0000
    GENERIC_WRITE = 0x4000_0000
    GENERIC_READ = 0x8000_0000

    LIST_DIRECTORY = 0x0000_0001
    ADD_FILE = 0x0000_0002
    ADD_SUBDIRECTORY = 0x0000_0004
    TRAVERSE = 0x0000_0020


class FileAttributes(IntFlag):
    """Spec: [MS-FSCC] 2.6 (FILE_ATTRIBUTE_...)."""

    READONLY = 0x0000_0001
    HIDDEN = 0x0000_0002
    SYSTEM = 0x0000_0004
    DIRECTORY = 0x0000_0010
    ARCHIVE = 0x0000_0020
    NORMAL = 0x0000_0080
    TEMPORARY = 0x0000_0100
    SPARSE_FILE = 0x0000_0200
    REPARSE_POINT = 0x0000_0400
    COMPRESSED = 0x0000_0800
    OFFLINE = 0x0000_1000
    NOT_CONTENT_INDEXED = 0x0000_2000
    ENCRYPTED = 0x0000_4000
    INTEGRITY_STREAM = 0x0000_8000
    NO_SCRUB_DATA = 0x0002_0000
    RECALL_ON_OPEN = 0x0004_0000
    PINNED = 0x0008_0000
    UNPINNED = 0x0010_0000
    RECALL_ON_DATA_ACCESS = 0x0040_0000


class ShareAccess(IntFlag):
    """What others may do while this open lives. Spec: [MS-SMB2] 2.2.13 (FILE_SHARE_...)."""

    READ = 0x0000_0001
    WRITE = 0x0000_0002
    DELETE = 0x0000_0004


class CreateDisposition(IntEnum):
    """What to do if the file exists, or not. Spec: [MS-SMB2] 2.2.13 (FILE_...)."""

    SUPERSEDE = 0
    OPEN = 1
    CREATE = 2
    OPEN_IF = 3
    OVERWRITE = 4
    OVERWRITE_IF = 5


class CreateOptions(IntFlag):
    """Spec: [MS-SMB2] 2.2.13 (FILE_...)."""

    DIRECTORY_FILE = 0x0000_0001
    WRITE_THROUGH = 0x0000_0002
    SEQUENTIAL_ONLY = 0x0000_0004
    NO_INTERMEDIATE_BUFFERING = 0x0000_0008
    NON_DIRECTORY_FILE = 0x0000_0040
    NO_EA_KNOWLEDGE = 0x0000_0200
    RANDOM_ACCESS = 0x0000_0800
    DELETE_ON_CLOSE = 0x0000_1000
    OPEN_BY_FILE_ID = 0x0000_2000
    OPEN_FOR_BACKUP_INTENT = 0x0000_4000
    NO_COMPRESSION = 0x0000_8000
    OPEN_REPARSE_POINT = 0x0020_0000
    OPEN_NO_RECALL = 0x0040_0000


class OplockLevel(IntEnum):
    """Spec: [MS-SMB2] 2.2.13 (SMB2_OPLOCK_LEVEL_...)."""

    NONE = 0x00
    LEVEL_II = 0x01
    EXCLUSIVE = 0x08
    BATCH = 0x09
    LEASE = 0xFF


class ImpersonationLevel(IntEnum):
    """Spec: [MS-SMB2] 2.2.13 (ImpersonationLevel)."""

    ANONYMOUS = 0
    IDENTIFICATION = 1
    IMPERSONATION = 2
    DELEGATE = 3


class CreateAction(IntEnum):
    """What CREATE did. Spec: [MS-SMB2] 2.2.14 (FILE_...)."""

    SUPERSEDED = 0
    OPENED = 1
    CREATED = 2
    OVERWRITTEN = 3


class CreateResponseFlags(IntFlag):
    """Spec: [MS-SMB2] 2.2.14 (SMB2_CREATE_FLAG_...)."""

    REPARSEPOINT = 0x01


_OPLOCK_LEVELS = {int(level): level for level in OplockLevel}
_CREATE_ACTIONS = {int(action): action for action in CreateAction}


@dataclass(frozen=True, slots=True)
class CreateRequest(Message):
    r"""Open the file ``name``, or make it.

    ``name`` is relative to the share, with ``\`` between components and none in front; ""
    is the share's root.
    Shape: 56 fixed bytes, the name at 120, create contexts at the next multiple of 8. An
    empty name still has a valid offset and bytes behind it.
    Raises: WireError on decode if short, StructureSize != 57, or a buffer outside the body;
    WireError on encode if the name is longer than 65,535 bytes of UTF-16.
    Spec: [MS-SMB2] 2.2.13; sent per 3.2.4.3.
    """

    command: ClassVar[Command] = Command.CREATE

    name: str
    desired_access: int
    file_attributes: int = 0
    share_access: int = 0
    create_disposition: int = CreateDisposition.OPEN
    create_options: int = 0
    impersonation_level: int = ImpersonationLevel.IMPERSONATION
    oplock_level: int = OplockLevel.NONE
    contexts: tuple[AnyCreateContext, ...] = ()

    def encode(self) -> bytes:
        """Return the body."""
        name = encode_text(self.name)
        if len(name) > 0xFFFF:
            raise WireError("CREATE request (name too long)", _CREATE_REQUEST.size)
        # "In the request, the Buffer field MUST be at least one byte in length." (2.2.13)
        buffer = name or bytes(8)
        contexts_offset = contexts_length = 0
        if self.contexts:
            chain = encode_create_contexts(self.contexts)
            buffer += padding(len(buffer), 8)
            contexts_offset = _REQUEST_BUFFER_OFFSET + len(buffer)
            contexts_length = len(chain)
            buffer += chain
        fixed = _CREATE_REQUEST.pack(
            57,
            0,
            self.oplock_level,
            self.impersonation_level,
            0,
            0,
            self.desired_access,
            self.file_attributes,
            self.share_access,
            self.create_disposition,
            self.create_options,
            _REQUEST_BUFFER_OFFSET,
            len(name),
            contexts_offset,
            contexts_length,
        )
        return fixed + buffer

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "CREATE request"
        values = unpack_body(_CREATE_REQUEST, body, 57, what)
        oplock_level, impersonation_level = values[2:4]
        access, attributes, sharing, disposition, options = values[6:11]
        name_offset, name_length, contexts_offset, contexts_length = values[11:]
        name = decode_text(slice_body(body, name_offset, name_length, what), what)
        chain = slice_body(body, contexts_offset, contexts_length, what)
        contexts = decode_request_contexts(chain) if contexts_length else ()
        return cls(
            name,
            access,
            attributes,
            sharing,
            disposition,
            options,
            impersonation_level,
            oplock_level,
            contexts,
        )


@dataclass(frozen=True, slots=True)
class CreateResponse(Message):
    """An open, and what the file looks like.

    Shape: 88 fixed bytes and create contexts.  StructureSize is 89.
    Units: times are FILETIMEs, sizes bytes.
    Raises: WireError on decode if short, StructureSize != 89, an unknown oplock level or
    action, or contexts outside the body.
    Spec: [MS-SMB2] 2.2.14.
    """

    command: ClassVar[Command] = Command.CREATE

    oplock_level: OplockLevel
    flags: int
    create_action: CreateAction
    creation_time: int
    last_access_time: int
    last_write_time: int
    change_time: int
    allocation_size: int
    end_of_file: int
    file_attributes: int
    file_id: FileId
    contexts: tuple[AnyCreateContext, ...] = ()

    def context(self, cls: type[ContextT]) -> ContextT | None:
        """Return the first context of this type, or None."""
        for context in self.contexts:
            if isinstance(context, cls):
                return context
        return None

    def encode(self) -> bytes:
        """Return the body."""
        chain = encode_create_contexts(self.contexts)
        fixed = _CREATE_RESPONSE.pack(
            89,
            self.oplock_level,
            self.flags,
            self.create_action,
            self.creation_time,
            self.last_access_time,
            self.last_write_time,
            self.change_time,
            self.allocation_size,
            self.end_of_file,
            self.file_attributes,
            0,
            *self.file_id,
            _RESPONSE_BUFFER_OFFSET if chain else 0,
            len(chain),
        )
        return fixed + (chain or b"\0")

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "CREATE response"
        values = unpack_body(_CREATE_RESPONSE, body, 89, what)
        persistent, volatile, contexts_offset, contexts_length = values[12:]
        oplock_level = _OPLOCK_LEVELS.get(values[1])
        create_action = _CREATE_ACTIONS.get(values[3])
        if oplock_level is None or create_action is None:
            raise WireError(what, 2)
        chain = slice_body(body, contexts_offset, contexts_length, what)
        contexts = decode_response_contexts(chain) if contexts_length else ()
        return cls(
            oplock_level,
            values[2],
            create_action,
            *(*values[4:11], FileId(persistent, volatile), contexts),
        )
