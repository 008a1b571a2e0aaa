"""The payloads of create contexts, leases apart (:mod:`smbfs.wire.lease`).

They travel in every CREATE, so they are packed here and not by smbprotocol, whose
structures cost more than the rest of the message.

Spec: [MS-SMB2] 2.2.13.2 (requests), 2.2.14.2 (responses).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Self
from uuid import UUID

from smbfs.wire.create_context import CreateContext
from smbfs.wire.extended_attributes import (
    ExtendedAttribute,
    decode_full_ea_list,
    encode_full_ea_list,
)
from smbfs.wire.file_id import FileId
from smbfs.wire.layout import unpack_at
from smbfs.wire.posix_extensions import (
    PERMISSION_MASK,
    POSIX_EXTENSIONS_GUID,
    decode_posix_mode,
)
from smbfs.wire.security import Sid

_NUMBER = struct.Struct("<Q")
_MAXIMAL_ACCESS = struct.Struct("<II")
_ON_DISK_ID = struct.Struct("<QQ16x")
_FILE_ID = struct.Struct("<QQ")
_DURABLE_V2 = struct.Struct("<IIQ16s")
_DURABLE_V2_RESPONSE = struct.Struct("<II")
_RECONNECT_V2 = struct.Struct("<QQ16sI")
_MODE = struct.Struct("<I")
_POSIX_RESPONSE = struct.Struct("<III")


@dataclass(frozen=True, slots=True)
class _Empty(CreateContext):
    def encode_data(self) -> bytes:
        """Return the context's data: none."""
        return b""

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Accept whatever data there is."""
        del data
        return cls()


class MaximalAccessRequest(_Empty):
    """Ask for the rights that we have on the file. Spec: [MS-SMB2] 2.2.13.2.5."""

    __slots__ = ()
    name: ClassVar[bytes] = b"MxAc"


@dataclass(frozen=True, slots=True)
class MaximalAccessResponse(CreateContext):
    """The rights that we have; they count only if ``query_status`` is success.

    Shape: 8 bytes.  Spec: [MS-SMB2] 2.2.14.2.5.
    """

    name: ClassVar[bytes] = b"MxAc"

    query_status: int
    maximal_access: int

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return _MAXIMAL_ACCESS.pack(self.query_status, self.maximal_access)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        return cls(*unpack_at(_MAXIMAL_ACCESS, data, 0, "MxAc context"))


class QueryOnDiskIdRequest(_Empty):
    """Ask for the file's number on its volume. Spec: [MS-SMB2] 2.2.13.2.9."""

    __slots__ = ()
    name: ClassVar[bytes] = b"QFid"


@dataclass(frozen=True, slots=True)
class QueryOnDiskIdResponse(CreateContext):
    """The file's number and its volume's: an inode number.

    Shape: 16 bytes and 16 reserved ones.  Spec: [MS-SMB2] 2.2.14.2.9.
    """

    name: ClassVar[bytes] = b"QFid"

    disk_file_id: int
    volume_id: int

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return _ON_DISK_ID.pack(self.disk_file_id, self.volume_id)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        return cls(*unpack_at(_ON_DISK_ID, data, 0, "QFid context"))


@dataclass(frozen=True, slots=True)
class TimewarpToken(CreateContext):
    """Open the file as it was at ``timestamp``, a FILETIME (a snapshot).

    Shape: 8 bytes.  Spec: [MS-SMB2] 2.2.13.2.7.
    """

    name: ClassVar[bytes] = b"TWrp"

    timestamp: int

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return _NUMBER.pack(self.timestamp)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        return cls(*unpack_at(_NUMBER, data, 0, "TWrp context"))


@dataclass(frozen=True, slots=True)
class AllocationSize(CreateContext):
    """Reserve this many bytes for a file that is made. Spec: [MS-SMB2] 2.2.13.2.6."""

    name: ClassVar[bytes] = b"AlSi"

    allocation_size: int

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return _NUMBER.pack(self.allocation_size)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        return cls(*unpack_at(_NUMBER, data, 0, "AlSi context"))


@dataclass(frozen=True, slots=True)
class ExtendedAttributes(CreateContext):
    """Extended attributes of a file that is made. Spec: [MS-SMB2] 2.2.13.2.1."""

    name: ClassVar[bytes] = b"ExtA"

    attributes: tuple[ExtendedAttribute, ...]

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return encode_full_ea_list(self.attributes)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        return cls(decode_full_ea_list(data))


@dataclass(frozen=True, slots=True)
class SecurityDescriptorContext(CreateContext):
    """A self-relative security descriptor, verbatim, of a file that is made.

    Spec: [MS-SMB2] 2.2.13.2.2.
    """

    name: ClassVar[bytes] = b"SecD"

    security_descriptor: bytes

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return self.security_descriptor

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Take the context's data as it is."""
        return cls(bytes(data))


@dataclass(frozen=True, slots=True)
class DurableHandleRequestV1(CreateContext):
    """Ask that the open survives a lost connection. Shape: 16 zero bytes.

    Spec: [MS-SMB2] 2.2.13.2.3.
    """

    name: ClassVar[bytes] = b"DHnQ"

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return bytes(16)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        unpack_at(_FILE_ID, data, 0, "DHnQ context")
        return cls()


@dataclass(frozen=True, slots=True)
class DurableHandleResponseV1(CreateContext):
    """The open is durable. Shape: 8 zero bytes.  Spec: [MS-SMB2] 2.2.14.2.3."""

    name: ClassVar[bytes] = b"DHnQ"

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return bytes(8)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        unpack_at(_NUMBER, data, 0, "DHnQ context")
        return cls()


@dataclass(frozen=True, slots=True)
class DurableHandleReconnectV1(CreateContext):
    """Take a durable open back. Shape: 16 bytes.  Spec: [MS-SMB2] 2.2.13.2.4."""

    name: ClassVar[bytes] = b"DHnC"

    file_id: FileId

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return _FILE_ID.pack(*self.file_id)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        return cls(FileId(*unpack_at(_FILE_ID, data, 0, "DHnC context")))


@dataclass(frozen=True, slots=True)
class DurableHandleRequestV2(CreateContext):
    """Ask that the open survives (``flags`` 2: persists over) a lost connection.

    Shape: 32 bytes.  Units: timeout_ms in milliseconds, 0 for the server's choice.
    Spec: [MS-SMB2] 2.2.13.2.11.
    """

    name: ClassVar[bytes] = b"DH2Q"
    PERSISTENT: ClassVar[int] = 0x0000_0002

    create_guid: UUID
    timeout_ms: int = 0
    flags: int = 0

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return _DURABLE_V2.pack(self.timeout_ms, self.flags, 0, self.create_guid.bytes_le)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        timeout_ms, flags, _, guid = unpack_at(_DURABLE_V2, data, 0, "DH2Q context")
        return cls(UUID(bytes_le=guid), timeout_ms, flags)


@dataclass(frozen=True, slots=True)
class DurableHandleResponseV2(CreateContext):
    """The open is durable, or persistent, for ``timeout_ms`` milliseconds.

    Shape: 8 bytes.  Spec: [MS-SMB2] 2.2.14.2.12.
    """

    name: ClassVar[bytes] = b"DH2Q"

    timeout_ms: int
    flags: int = 0

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return _DURABLE_V2_RESPONSE.pack(self.timeout_ms, self.flags)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        return cls(*unpack_at(_DURABLE_V2_RESPONSE, data, 0, "DH2Q context"))


@dataclass(frozen=True, slots=True)
class DurableHandleReconnectV2(CreateContext):
    """Take a durable open back. Shape: 36 bytes.  Spec: [MS-SMB2] 2.2.13.2.12."""

    name: ClassVar[bytes] = b"DH2C"

    file_id: FileId
    create_guid: UUID
    flags: int = 0

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return _RECONNECT_V2.pack(*self.file_id, self.create_guid.bytes_le, self.flags)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        persistent, volatile, guid, flags = unpack_at(_RECONNECT_V2, data, 0, "DH2C context")
        return cls(FileId(persistent, volatile), UUID(bytes_le=guid), flags)


@dataclass(frozen=True, slots=True)
class PosixCreateRequest(CreateContext):
    """Open with POSIX semantics; a file that is made gets these permission bits (0o7777).

    Shape: 4 bytes.  Spec: SMB3 POSIX Extensions 2.2.13.2.16 (SMB2_CREATE_POSIX_CONTEXT).
    """

    name: ClassVar[bytes] = POSIX_EXTENSIONS_GUID

    mode: int

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return _MODE.pack(self.mode & PERMISSION_MASK)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        (mode,) = unpack_at(_MODE, data, 0, "POSIX context")
        return cls(mode & PERMISSION_MASK)


@dataclass(frozen=True, slots=True)
class PosixCreateResponse(CreateContext):
    """What POSIX knows of the file that was opened.

    ``mode`` is as on the wire, whose type bits are not ``st_mode``'s: see :meth:`st_mode`.
    Shape: 12 bytes, the owner's SID, the group's SID.
    Raises: WireError on decode if short.
    Spec: SMB3 POSIX Extensions 2.2.14.2.16.
    """

    name: ClassVar[bytes] = POSIX_EXTENSIONS_GUID

    link_count: int
    reparse_tag: int
    mode: int
    owner: Sid
    group: Sid

    def st_mode(self, *, is_directory: bool) -> int:
        """Return the mode as ``stat`` has it; ``is_directory`` from the file's attributes."""
        return decode_posix_mode(self.mode, is_directory=is_directory)

    def encode_data(self) -> bytes:
        """Return the context's data."""
        fixed = _POSIX_RESPONSE.pack(self.link_count, self.reparse_tag, self.mode)
        return fixed + self.owner.encode() + self.group.encode()

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        link_count, reparse_tag, mode = unpack_at(_POSIX_RESPONSE, data, 0, "POSIX context")
        owner = Sid.decode(data, _POSIX_RESPONSE.size)
        group = Sid.decode(data, _POSIX_RESPONSE.size + owner.size)
        return cls(link_count, reparse_tag, mode, owner, group)
