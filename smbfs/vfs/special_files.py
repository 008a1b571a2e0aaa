r"""Files that are neither data nor directories: what their reparse points and contents mean.

Symbolic links exist on servers in five dialects: Windows' own, NFS', WSL's, junctions, and the
small text files of Minshall and French. They all become one :class:`SpecialFile`; which dialect
is written is chosen by what the target looks like and what the server takes.
"""

from __future__ import annotations

import hashlib
import os
from stat import S_IFBLK, S_IFCHR, S_IFIFO, S_IFLNK, S_IFMT, S_IFSOCK
from typing import Final, NamedTuple

from smbfs.errors import InvalidName
from smbfs.vfs.names import Names
from smbfs.wire.reparse import (
    MountPoint,
    NfsSpecial,
    NfsSymlink,
    ReparsePoint,
    SpecialKind,
    SymbolicLink,
    WslSpecial,
    WslSymlink,
    encode_nfs_special,
    encode_nfs_symlink,
    encode_symbolic_link,
)

TARGET_SIZE_MAX: Final = 4095
"""Bytes of a link's target (PATH_MAX without its NUL)."""

MF_SYMLINK_SIZE: Final = 1067
"""Bytes of every Minshall+French link; a file of another size is not one."""

_FILE_TYPES: Final = {
    SpecialKind.CHARACTER_DEVICE: S_IFCHR,
    SpecialKind.BLOCK_DEVICE: S_IFBLK,
    SpecialKind.FIFO: S_IFIFO,
    SpecialKind.SOCKET: S_IFSOCK,
}
_KINDS: Final = {file_type: kind for kind, file_type in _FILE_TYPES.items()}

_NT_PREFIX: Final = "\\??\\"
_UNC_PREFIX: Final = "UNC\\"

_MF_MAGIC: Final = b"XSym\n"
_MF_HEADER_SIZE: Final = 43
_MF_TARGET_MAX: Final = MF_SYMLINK_SIZE - _MF_HEADER_SIZE


class SpecialFile(NamedTuple):
    """What a reparse point stands for."""

    file_type: int
    """S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR or S_IFBLK."""
    target: bytes = b""
    """Where a link leads."""
    device: int = 0
    """``st_rdev`` of a device."""


def special_file(reparse: ReparsePoint, names: Names) -> SpecialFile | None:
    """Return what a reparse point stands for; None if it covers a plain file or directory."""
    match reparse:
        case SymbolicLink(target=target, relative=relative):
            return _link(_from_windows(target, names, relative=relative))
        case MountPoint(target=target):
            return _link(_from_windows(target, names, relative=False))
        case NfsSymlink(target=target):
            return _link(target)
        case WslSymlink(target=raw):
            return _checked_link(raw)
        case NfsSpecial(kind=kind, major=major, minor=minor):
            return SpecialFile(_FILE_TYPES[kind], device=_device(major, minor))
        case WslSpecial(kind=kind):
            return SpecialFile(_FILE_TYPES[kind])
    return None


def posix_link(target: bytes) -> bytes:
    """Return the reparse point of a new link on a server with POSIX extensions.

    Raises: UnicodeDecodeError if the target is not UTF-8.
    """
    text = target.decode()
    if "\\" in text and "/" not in text:
        text = "./" + text  # Without a slash, others would take it for a Windows path.
    return encode_symbolic_link(text, relative=not text.startswith("/"))


def windows_links(target: bytes, names: Names) -> tuple[bytes, ...]:
    """Return the reparse points that say where a new link leads, the best one first.

    A relative target with ordinary names is written the way Windows does, which every client
    follows; others, and where Windows asks for a privilege, the way NFS does, which keeps them
    exactly. Raises: UnicodeDecodeError if the target is not UTF-8.
    """
    text = target.decode()
    nfs = encode_nfs_symlink(text)
    parts = text.split("/")
    if not all(part in {".", ".."} or _is_plain(part, names) for part in parts):
        return (nfs,)
    return (encode_symbolic_link("\\".join(parts), relative=True), nfs)


def special_reparse_point(mode: int, device: int) -> bytes | None:
    """Return the reparse point of a special file, or None if there is none for its type."""
    kind = _KINDS.get(S_IFMT(mode))
    if kind is None:
        return None
    return encode_nfs_special(kind, major=os.major(device), minor=os.minor(device))


def decode_mf_symlink(data: bytes) -> SpecialFile | None:
    """Return the link that a file's content is, or None if it is just content."""
    if len(data) != MF_SYMLINK_SIZE or not data.startswith(_MF_MAGIC):
        return None
    digits, digest = data[5:9], data[10:42]
    if not digits.isdigit() or data[9:10] != b"\n" or data[42:43] != b"\n":
        return None
    target = data[_MF_HEADER_SIZE : _MF_HEADER_SIZE + int(digits)]
    if len(target) != int(digits) or _md5(target) != digest:
        return None
    return _checked_link(target)


def encode_mf_symlink(target: bytes) -> bytes | None:
    """Return the content of the file that stands for a link, or None if it is too long."""
    if len(target) > _MF_TARGET_MAX:
        return None
    body = _MF_MAGIC + b"%04d\n" % len(target) + _md5(target) + b"\n" + target
    if len(target) < _MF_TARGET_MAX:
        body += b"\n"
    return body.ljust(MF_SYMLINK_SIZE, b" ")


def _md5(target: bytes) -> bytes:
    return hashlib.md5(target, usedforsecurity=False).hexdigest().encode()


def _is_plain(part: str, names: Names) -> bool:
    """Whether a name is stored on every server as it is written; an empty one is not."""
    try:
        return names.to_server(part.encode()) == part
    except InvalidName:
        return False


def _link(target: str) -> SpecialFile | None:
    try:
        return _checked_link(target.encode())
    except UnicodeEncodeError:
        return None


def _checked_link(target: bytes) -> SpecialFile | None:
    """Return the link, unless the kernel could not hold its target."""
    if not target or len(target) > TARGET_SIZE_MAX or b"\0" in target:
        return None
    return SpecialFile(S_IFLNK, target)


def _from_windows(target: str, names: Names, *, relative: bool) -> str:
    """Turn the target of a Windows link into a path; drives and servers lead nowhere here."""
    if "/" in target:
        return target  # A POSIX server's own link.
    if target.startswith(_NT_PREFIX):
        target = target[len(_NT_PREFIX) :]
        if target.startswith(_UNC_PREFIX):
            target = "\\\\" + target[len(_UNC_PREFIX) :]
        elif not relative:
            target = "\\" + target
    return "/".join(_restore(part, names) for part in target.split("\\"))


def _restore(part: str, names: Names) -> str:
    shown = names.from_server(part)
    return part if shown is None else shown.decode()


def _device(major: int, minor: int) -> int:
    # What a server sends may exceed what a device number holds.
    return os.makedev(major & 0xFFF, minor & 0xFFFFF)
