r"""Reparse points: symbolic links and special files in their many dialects.

Names are given as they stand on the wire: a Windows link's target has backslashes and, when
it is absolute, often a prefix like ``\??\``. What that means on this machine is for the vfs
to say.

Spec: [MS-FSCC] 2.1.2; WSL's own tags as Windows and cifs.ko write them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, IntEnum

from smbprotocol.reparse_point import ReparseDataBuffer, SymbolicLinkReparseDataBuffer

from smbfs.errors import WireError
from smbfs.wire.layout import Buffer, decode_text, encode_text, slice_data, unpack_at
from smbfs.wire.vocabulary import fill, pack, unpack_structure, value, wire_errors

_HEADER_SIZE = 8
_SYMBOLIC_LINK_SIZE = 12
_MOUNT_POINT = struct.Struct("<HHHH")
_NFS_KIND = struct.Struct("<Q")
_DEVICE = struct.Struct("<II")
_WSL_VERSION = struct.Struct("<I")
_STOPPED = struct.Struct("<IIIHHHHHHI")
_STOPPED_TAG = 0x4C4D_5953
_RELATIVE = 0x0000_0001


class ReparseTag(IntEnum):
    """What kind of reparse point. Spec: [MS-FSCC] 2.1.2.1 (IO_REPARSE_TAG_...)."""

    MOUNT_POINT = 0xA000_0003
    DFS = 0x8000_000A
    SYMLINK = 0xA000_000C
    DFSR = 0x8000_0012
    DEDUP = 0x8000_0013
    NFS = 0x8000_0014
    APPEXECLINK = 0x8000_001B
    LX_SYMLINK = 0xA000_001D
    AF_UNIX = 0x8000_0023
    LX_FIFO = 0x8000_0024
    LX_CHR = 0x8000_0025
    LX_BLK = 0x8000_0026


class SpecialKind(Enum):
    """What a special file is."""

    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    FIFO = "fifo"
    SOCKET = "socket"


@dataclass(frozen=True, slots=True)
class SymbolicLink:
    """A Windows symbolic link. Spec: [MS-FSCC] 2.1.2.4."""

    target: str
    """SubstituteName: where it leads."""
    print_name: str
    """PrintName: what people are shown."""
    relative: bool
    """Relative to the directory that holds the link."""


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A junction: a directory that stands for another one. Spec: [MS-FSCC] 2.1.2.5."""

    target: str
    print_name: str


@dataclass(frozen=True, slots=True)
class NfsSymlink:
    """A symbolic link as Windows' NFS server stores it. Spec: [MS-FSCC] 2.1.2.6."""

    target: str


@dataclass(frozen=True, slots=True)
class NfsSpecial:
    """A special file as Windows' NFS server stores it; device numbers for devices.

    Spec: [MS-FSCC] 2.1.2.6.
    """

    kind: SpecialKind
    major: int = 0
    minor: int = 0


@dataclass(frozen=True, slots=True)
class WslSymlink:
    """A symbolic link of the Windows Subsystem for Linux: bytes, as Linux has them.

    Spec: IO_REPARSE_TAG_LX_SYMLINK, [MS-FSCC] 2.1.2.1.
    """

    target: bytes


@dataclass(frozen=True, slots=True)
class WslSpecial:
    """A special file of the Windows Subsystem for Linux; device numbers are in EA $LXDEV.

    Spec: IO_REPARSE_TAG_LX_..., IO_REPARSE_TAG_AF_UNIX, [MS-FSCC] 2.1.2.1.
    """

    kind: SpecialKind


@dataclass(frozen=True, slots=True)
class UnknownReparse:
    """A reparse point of another kind, verbatim. Spec: [MS-FSCC] 2.1.2.2, 2.1.2.3."""

    tag: int
    data: bytes


ReparsePoint = (
    SymbolicLink | MountPoint | NfsSymlink | NfsSpecial | WslSymlink | WslSpecial | UnknownReparse
)

_NFS_SYMLINK = int.from_bytes(b"LNK\x01\0\0\0\0", "little")
_NFS_KINDS = {
    int.from_bytes(b"CHR", "little"): SpecialKind.CHARACTER_DEVICE,
    int.from_bytes(b"BLK", "little"): SpecialKind.BLOCK_DEVICE,
    int.from_bytes(b"FIFO", "little"): SpecialKind.FIFO,
    int.from_bytes(b"SOCK", "little"): SpecialKind.SOCKET,
}
_NFS_NUMBERS = {kind: number for number, kind in _NFS_KINDS.items()}
_DEVICES = (SpecialKind.CHARACTER_DEVICE, SpecialKind.BLOCK_DEVICE)
_WSL_KINDS = {
    int(ReparseTag.AF_UNIX): SpecialKind.SOCKET,
    int(ReparseTag.LX_FIFO): SpecialKind.FIFO,
    int(ReparseTag.LX_CHR): SpecialKind.CHARACTER_DEVICE,
    int(ReparseTag.LX_BLK): SpecialKind.BLOCK_DEVICE,
}


def decode_reparse_point(data: Buffer) -> ReparsePoint:
    """Read REPARSE_DATA_BUFFER, the answer to FSCTL_GET_REPARSE_POINT.

    Raises: WireError if short, or a name lies outside the data.
    Spec: [MS-FSCC] 2.1.2.2.
    """
    what = "reparse point"
    view = memoryview(data)
    structure = unpack_structure(ReparseDataBuffer(), view, what, variable=("data_buffer",))
    tag = value(structure, "reparse_tag")
    payload = slice_data(view, _HEADER_SIZE, value(structure, "reparse_data_length"), what)
    if tag == ReparseTag.SYMLINK:
        return _decode_symbolic_link(payload)
    if tag == ReparseTag.MOUNT_POINT:
        numbers = unpack_at(_MOUNT_POINT, payload, 0, what)
        return MountPoint(*_names(payload[_MOUNT_POINT.size :], numbers))
    if tag == ReparseTag.NFS:
        return _decode_nfs(payload)
    if tag == ReparseTag.LX_SYMLINK:
        unpack_at(_WSL_VERSION, payload, 0, what)
        return WslSymlink(bytes(payload[_WSL_VERSION.size :]))
    kind = _WSL_KINDS.get(tag)
    return WslSpecial(kind) if kind is not None else UnknownReparse(tag, bytes(payload))


def encode_symbolic_link(target: str, *, relative: bool) -> bytes:
    r"""Return a Windows symbolic link to ``target`` (with ``\``), its print name the same.

    Raises: WireError if the target is too long.
    Spec: [MS-FSCC] 2.1.2.4.
    """
    name = encode_text(target)
    with wire_errors("symbolic link"):
        link = fill(
            SymbolicLinkReparseDataBuffer(),
            substitute_name_offset=0,
            substitute_name_length=len(name),
            print_name_offset=len(name),
            print_name_length=len(name),
            flags=_RELATIVE if relative else 0,
            buffer=name + name,
        )
        return _encode(ReparseTag.SYMLINK, pack(link))


def encode_nfs_symlink(target: str) -> bytes:
    """Return a symbolic link as NFS stores it; ``target`` has slashes.

    Raises: WireError if the target is too long.
    Spec: [MS-FSCC] 2.1.2.6.
    """
    return _encode(ReparseTag.NFS, _NFS_KIND.pack(_NFS_SYMLINK) + encode_text(target))


def encode_nfs_special(kind: SpecialKind, *, major: int = 0, minor: int = 0) -> bytes:
    """Return a special file as NFS stores it. Spec: [MS-FSCC] 2.1.2.6."""
    device = _DEVICE.pack(major, minor) if kind in _DEVICES else b""
    return _encode(ReparseTag.NFS, _NFS_KIND.pack(_NFS_NUMBERS[kind]) + device)


@dataclass(frozen=True, slots=True)
class StoppedOnSymlink:
    """Why CREATE stopped: a symbolic link on the way.

    ``unparsed_path_length`` is the length in bytes of UTF-16 of what follows the link in the
    name that was asked for.
    Spec: [MS-SMB2] 2.2.2.2.1.
    """

    link: SymbolicLink
    unparsed_path_length: int


def decode_stopped_on_symlink(data: Buffer) -> StoppedOnSymlink:
    """Read the Symbolic Link Error Response: ``ErrorResponse.symbolic_link_data()``.

    Raises: WireError if short, not about a symbolic link, or a name lies outside the data.
    Spec: [MS-SMB2] 2.2.2.2.1.
    """
    what = "symbolic link error response"
    view = memoryview(data)
    _, error_tag, reparse_tag, _, unparsed, *numbers, flags = unpack_at(_STOPPED, view, 0, what)
    if error_tag != _STOPPED_TAG or reparse_tag != ReparseTag.SYMLINK:
        raise WireError(what)
    target, print_name = _names(view[_STOPPED.size :], tuple(numbers))
    # Windows sets bits above the flag, which have no documented meaning.
    return StoppedOnSymlink(SymbolicLink(target, print_name, bool(flags & _RELATIVE)), unparsed)


def _encode(tag: ReparseTag, payload: bytes) -> bytes:
    with wire_errors("reparse point"):
        return pack(fill(ReparseDataBuffer(), reparse_tag=int(tag), data_buffer=payload))


def _decode_symbolic_link(payload: memoryview) -> SymbolicLink:
    structure = unpack_structure(
        SymbolicLinkReparseDataBuffer(), payload, "symbolic link", variable=("buffer",)
    )
    numbers = (
        value(structure, "substitute_name_offset"),
        value(structure, "substitute_name_length"),
        value(structure, "print_name_offset"),
        value(structure, "print_name_length"),
    )
    target, print_name = _names(payload[_SYMBOLIC_LINK_SIZE:], numbers)
    return SymbolicLink(target, print_name, bool(value(structure, "flags") & _RELATIVE))


def _decode_nfs(payload: memoryview) -> NfsSymlink | NfsSpecial | UnknownReparse:
    what = "NFS reparse point"
    (number,) = unpack_at(_NFS_KIND, payload, 0, what)
    rest = payload[_NFS_KIND.size :]
    if number == _NFS_SYMLINK:
        return NfsSymlink(decode_text(rest, what))
    kind = _NFS_KINDS.get(number)
    if kind is None:
        return UnknownReparse(ReparseTag.NFS, bytes(payload))
    return NfsSpecial(kind, *(unpack_at(_DEVICE, rest, 0, what) if kind in _DEVICES else (0, 0)))


def _names(buffer: memoryview, numbers: tuple[int, ...]) -> tuple[str, str]:
    """Decode the substitute and the print name from offsets and lengths into ``buffer``."""
    what = "name in a reparse point"
    substitute_offset, substitute_length, print_offset, print_length = numbers
    return (
        decode_text(slice_data(buffer, substitute_offset, substitute_length, what), what),
        decode_text(slice_data(buffer, print_offset, print_length, what), what),
    )
