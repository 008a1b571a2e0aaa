"""TREE_CONNECT and TREE_DISCONNECT."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar, Self

from smbprotocol.tree import (
    SMB2TreeConnectRequest,
    SMB2TreeConnectResponse,
    SMB2TreeDisconnect,
)

from smbfs.wire.header import Command
from smbfs.wire.layout import decode_text, encode_text, slice_body
from smbfs.wire.message import Message
from smbfs.wire.vocabulary import fill, pack, unpack_structure, value, wire_errors


class ShareType(IntEnum):
    """Spec: [MS-SMB2] 2.2.10 (SMB2_SHARE_TYPE_...)."""

    DISK = 0x01
    PIPE = 0x02
    PRINT = 0x03


class ShareFlags(IntFlag):
    """Spec: [MS-SMB2] 2.2.10 (SMB2_SHAREFLAG_...).

    Two bits (CACHING_MASK) are a number: how clients may keep files offline.
    """

    DFS = 0x0000_0001
    DFS_ROOT = 0x0000_0002
    AUTO_CACHING = 0x0000_0010
    VDO_CACHING = 0x0000_0020
    CACHING_MASK = 0x0000_0030
    RESTRICT_EXCLUSIVE_OPENS = 0x0000_0100
    FORCE_SHARED_DELETE = 0x0000_0200
    ALLOW_NAMESPACE_CACHING = 0x0000_0400
    ACCESS_BASED_DIRECTORY_ENUM = 0x0000_0800
    FORCE_LEVELII_OPLOCK = 0x0000_1000
    ENABLE_HASH_V1 = 0x0000_2000
    ENABLE_HASH_V2 = 0x0000_4000
    ENCRYPT_DATA = 0x0000_8000
    IDENTITY_REMOTING = 0x0004_0000
    COMPRESS_DATA = 0x0010_0000
    ISOLATED_TRANSPORT = 0x0020_0000


class ShareCapabilities(IntFlag):
    """Spec: [MS-SMB2] 2.2.10 (SMB2_SHARE_CAP_...)."""

    DFS = 0x0000_0008
    CONTINUOUS_AVAILABILITY = 0x0000_0010
    SCALEOUT = 0x0000_0020
    CLUSTER = 0x0000_0040
    ASYMMETRIC = 0x0000_0080
    REDIRECT_TO_OWNER = 0x0000_0100


@dataclass(frozen=True, slots=True)
class TreeConnectRequest(Message):
    r"""Connect to a share, ``\\server\share``.

    Shape: 8 fixed bytes and the path.  StructureSize is 9.
    Raises: WireError on decode if short, StructureSize != 9 or a path outside the body.
    Spec: [MS-SMB2] 2.2.9; sent per 3.2.4.2.4.
    """

    command: ClassVar[Command] = Command.TREE_CONNECT

    path: str
    flags: int = 0

    def encode(self) -> bytes:
        """Return the body."""
        structure = SMB2TreeConnectRequest()
        return pack(fill(structure, flags=int(self.flags), buffer=encode_text(self.path)))

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "TREE_CONNECT request"
        structure = unpack_structure(SMB2TreeConnectRequest(), body, what, variable=("buffer",))
        path = slice_body(
            body, value(structure, "path_offset"), value(structure, "path_length"), what
        )
        return cls(decode_text(path, what), value(structure, "flags"))


@dataclass(frozen=True, slots=True)
class TreeConnectResponse(Message):
    """What kind of share this is.

    The flags are plain numbers: an enumeration would keep every combination of its bits that a
    server ever sends.
    Shape: 16 bytes.  Raises: WireError on decode if short, StructureSize != 16 or an unknown
    share type.
    Spec: [MS-SMB2] 2.2.10; received per 3.2.5.5.
    """

    command: ClassVar[Command] = Command.TREE_CONNECT

    share_type: ShareType
    share_flags: int
    """ShareFlags."""
    capabilities: int
    """ShareCapabilities."""
    maximal_access: int
    """AccessMask."""

    def encode(self) -> bytes:
        """Return the body."""
        return pack(
            fill(
                SMB2TreeConnectResponse(),
                share_type=int(self.share_type),
                share_flags=int(self.share_flags),
                capabilities=int(self.capabilities),
                maximal_access=int(self.maximal_access),
            )
        )

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        what = "TREE_CONNECT response"
        structure = unpack_structure(SMB2TreeConnectResponse(), body, what)
        with wire_errors(what):
            return cls(
                ShareType(value(structure, "share_type")),
                value(structure, "share_flags"),
                value(structure, "capabilities"),
                value(structure, "maximal_access"),
            )


@dataclass(frozen=True, slots=True)
class TreeDisconnectRequest(Message):
    """Let go of the share.

    Shape: 4 bytes.  Raises: WireError on decode if short or StructureSize != 4.
    Spec: [MS-SMB2] 2.2.11; sent per 3.2.4.22.
    """

    command: ClassVar[Command] = Command.TREE_DISCONNECT

    def encode(self) -> bytes:
        """Return the body."""
        return pack(SMB2TreeDisconnect())

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        unpack_structure(SMB2TreeDisconnect(), body, "TREE_DISCONNECT request")
        return cls()


@dataclass(frozen=True, slots=True)
class TreeDisconnectResponse(Message):
    """The share is disconnected.

    Shape: 4 bytes.  Raises: WireError on decode if short or StructureSize != 4.
    Spec: [MS-SMB2] 2.2.12.
    """

    command: ClassVar[Command] = Command.TREE_DISCONNECT

    def encode(self) -> bytes:
        """Return the body."""
        return pack(SMB2TreeDisconnect())

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read the body. Raises: WireError."""
        unpack_structure(SMB2TreeDisconnect(), body, "TREE_DISCONNECT response")
        return cls()
