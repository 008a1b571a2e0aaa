"""What shares a server has: NetrShareEnum of the Server Service, on the pipe ``srvsvc``.

Spec: [MS-SRVS] 3.1.4.8 (the call), 2.2.4.23 (SHARE_INFO_1), 2.2.2.4 (types); C706 chapter 14 (NDR).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final
from uuid import UUID

from smbfs.errors import WireError
from smbfs.wire.layout import decode_text, encode_text, padding, slice_data, unpack_at

PIPE: Final = "srvsvc"
INTERFACE: Final = UUID("4b324fc8-1670-01d3-1278-5a47bf6ee188")
INTERFACE_VERSION: Final = 3
NETR_SHARE_ENUM: Final = 15
"""Opnum of the call."""

_LEVEL: Final = 1
_ANY_SIZE: Final = 0xFFFF_FFFF
_SOMETHING: Final = 0x0002_0000
"""A referent: any number but 0 stands for a pointer that leads somewhere."""

_STRING = struct.Struct("<III")
_NUMBER = struct.Struct("<I")
_TOTAL = struct.Struct("<II")
_ASKED = struct.Struct("<IIIIIII")
_TOLD = struct.Struct("<IIIII")
_ENTRY = struct.Struct("<III")
_KIND: Final = 0xFF
"""The bits of a share's type that say what it is of; above them, those of clusters."""

_WHAT: Final = "NetrShareEnum"


class ShareKind(IntEnum):
    """What a share is of. Spec: [MS-SRVS] 2.2.2.4."""

    DISK = 0
    PRINTER = 1
    DEVICE = 2
    PIPE = 3


class ShareTypeFlags(IntFlag):
    """Spec: [MS-SRVS] 2.2.2.4."""

    SPECIAL = 0x8000_0000
    TEMPORARY = 0x4000_0000


@dataclass(frozen=True, slots=True)
class SharedResource:
    """One share, as its server tells of it."""

    name: str
    kind: int
    """A :class:`ShareKind`, or what this version does not know."""
    flags: ShareTypeFlags
    remark: str


def encode_share_enum(server: str) -> bytes:
    """Return the stub of the call: everything, at once."""
    name = encode_text(f"\\\\{server}\0")
    count = len(name) // 2
    return (
        _NUMBER.pack(_SOMETHING)
        + _STRING.pack(count, 0, count)
        + name
        + padding(len(name), 4)
        + _ASKED.pack(_LEVEL, _LEVEL, _SOMETHING, 0, 0, _ANY_SIZE, 0)
    )


def decode_share_enum(stub: memoryview) -> tuple[list[SharedResource], int]:
    """Return the shares, and the call's own status (a Win32 error code, 0 if all is well).

    Raises: WireError if it is cut off, of another level, or tells of more than there is.
    """
    level, switch, container, count, entries = unpack_at(_TOLD, stub, 0, _WHAT)
    if level != _LEVEL or switch != _LEVEL:
        raise WireError(_WHAT, 0)
    at = _TOLD.size if container else _TOLD.size - 2 * _NUMBER.size
    shares: list[SharedResource] = []
    if container and entries:
        (told,) = unpack_at(_NUMBER, stub, at, _WHAT)
        if told != count:
            raise WireError(_WHAT, at)
        at += _NUMBER.size
        rows = slice_data(stub, at, count * _ENTRY.size, _WHAT)
        at += len(rows)
        for name_there, kind, remark_there in _ENTRY.iter_unpack(rows):
            name, at = _string(stub, at) if name_there else ("", at)
            remark, at = _string(stub, at) if remark_there else ("", at)
            flags = ShareTypeFlags(kind & (ShareTypeFlags.SPECIAL | ShareTypeFlags.TEMPORARY))
            shares.append(SharedResource(name, kind & _KIND, flags, remark))
    _, resume = unpack_at(_TOTAL, stub, at, _WHAT)
    at += _TOTAL.size + (_NUMBER.size if resume else 0)
    (status,) = unpack_at(_NUMBER, stub, at, _WHAT)
    return shares, int(status)


def _string(stub: memoryview, at: int) -> tuple[str, int]:
    """Read a conformant varying string; return where the next thing is, too."""
    most, offset, count = unpack_at(_STRING, stub, at, _WHAT)
    if offset or count > most:
        raise WireError(_WHAT, at)
    at += _STRING.size
    text = slice_data(stub, at, 2 * count, _WHAT)
    return decode_text(text, _WHAT).rstrip("\0"), at + 2 * count + len(padding(2 * count, 4))
