"""Answers to the kernel, put together; and notices, which are answers that nobody asked for.

An answer is a header and a body. Times are in nanoseconds of the Unix epoch, timeouts in seconds.

Spec: Linux ``include/uapi/linux/fuse.h``, structures ``fuse_*_out``.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from smbfs.fuse.protocol import VERSION, WANTED, WRITE_SIZE_MAX, Opcode
from smbfs.fuse.requests import InitRequest

_NS: Final = 1_000_000_000

_PAGES_MAX: Final = max(1, WRITE_SIZE_MAX // mmap.PAGESIZE)
"""Pages of one request."""


class _Notice(IntEnum):
    INVAL_INODE = 2
    INVAL_ENTRY = 3


_ANSWER: Final = struct.Struct("=IiQ")
_INIT_OUT: Final = struct.Struct("=IIIIHHIIHH32x")
_ATTRIBUTES: Final = struct.Struct("=QQQqqqIIIIIIIIII")
_ENTRY_OUT: Final = struct.Struct("=QQQQII")
_ATTR_OUT: Final = struct.Struct("=QI4x")
_OPEN_OUT: Final = struct.Struct("=QI4x")
_LSEEK_OUT: Final = struct.Struct("=Q")
_WRITE_OUT: Final = struct.Struct("=I4x")
_STATFS_OUT: Final = struct.Struct("=QQQQQIII28x")
_GETXATTR_OUT: Final = struct.Struct("=I4x")
_DIRENT: Final = struct.Struct("=QQII")
_INVAL_INODE: Final = struct.Struct("=Qqq")
_INVAL_ENTRY: Final = struct.Struct("=QI4x")


_NODE: Final = struct.Struct("=Q")
_ENTRIES: Final = frozenset(
    {
        *(Opcode.LOOKUP, Opcode.CREATE, Opcode.MKDIR, Opcode.MKNOD),
        *(Opcode.SYMLINK, Opcode.LINK),
    }
)
"""What is answered with one entry."""


def encode_answer_header(unique: int, body_size: int, error: int = 0) -> bytes:
    """Encode what goes before a body. ``error`` is an errno; then there is no body."""
    return _ANSWER.pack(_ANSWER.size + body_size, -error, unique)


def encode_init(asked: InitRequest) -> bytes:
    """Encode what we make of what the kernel can do."""
    flags = asked.flags & WANTED
    major, minor = VERSION
    return _INIT_OUT.pack(
        *(major, minor, asked.read_ahead_max, flags),
        *(0, 0),  # Requests in the background: as the kernel likes.
        *(WRITE_SIZE_MAX, 1, _PAGES_MAX, 0),
    )


class Attr(NamedTuple):
    """``fuse_attr``."""

    node: int
    size: int
    blocks: int
    """Of 512 bytes each."""
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    mode: int
    link_count: int
    uid: int
    gid: int
    device: int
    block_size: int


def encode_attr(attr: Attr) -> bytes:
    """Encode attributes. Times before 1970 are negative."""
    atime_s, atime_ns = divmod(attr.atime_ns, _NS)
    mtime_s, mtime_ns = divmod(attr.mtime_ns, _NS)
    ctime_s, ctime_ns = divmod(attr.ctime_ns, _NS)
    return _ATTRIBUTES.pack(
        *(attr.node, attr.size, attr.blocks),
        *(atime_s, mtime_s, ctime_s, atime_ns, mtime_ns, ctime_ns),
        *(attr.mode, attr.link_count, attr.uid, attr.gid, attr.device & 0xFFFF_FFFF),
        *(attr.block_size, 0),
    )


NO_ATTR: Final = bytes(_ATTRIBUTES.size)
"""The attributes of a name that is not there."""


def encode_entry(node: int, attr: bytes, *, entry_s: float, attr_s: float) -> bytes:
    """Encode the inode of a name, its attributes, and for how many seconds to believe each.

    Inode 0: there is no such name, which the kernel may believe, too.
    """
    entry_valid, attr_valid = int(entry_s), int(attr_s)
    entry_ns, attr_ns = int((entry_s - entry_valid) * _NS), int((attr_s - attr_valid) * _NS)
    return _ENTRY_OUT.pack(node, 0, entry_valid, attr_valid, entry_ns, attr_ns) + attr


def encode_attr_answer(attr: bytes, *, attr_s: float) -> bytes:
    """Encode attributes, and for how many seconds to believe them."""
    valid = int(attr_s)
    return _ATTR_OUT.pack(valid, int((attr_s - valid) * _NS)) + attr


def encode_open(handle: int, flags: int) -> bytes:
    """Encode a handle and what the kernel may do with it."""
    return _OPEN_OUT.pack(handle, flags)


def encode_written(size: int) -> bytes:
    """Encode how many bytes were taken."""
    return _WRITE_OUT.pack(size)


class StatFs(NamedTuple):
    """``fuse_kstatfs``."""

    blocks: int
    free_blocks: int
    available_blocks: int
    files: int
    free_files: int
    block_size: int
    name_size_max: int


def encode_found(offset: int) -> bytes:
    """Return ``fuse_lseek_out``: where data, or a hole, begin."""
    return _LSEEK_OUT.pack(offset)


def encode_statfs(space: StatFs) -> bytes:
    """Encode how much room there is."""
    return _STATFS_OUT.pack(*space, space.block_size)


def encode_xattr_size(size: int) -> bytes:
    """Encode how large an attribute, or the list of them, is."""
    return _GETXATTR_OUT.pack(size)


def encode_listed(name: bytes, position: int, entry: bytes, node: int, mode: int) -> bytes:
    """Encode one entry of READDIRPLUS: what LOOKUP would answer, and the name.

    ``position`` is where the next entry is.
    """
    size = _DIRENT.size + len(name)
    dirent = _DIRENT.pack(node, position, len(name), mode >> 12)
    return b"".join((entry, dirent, name, bytes(_padded(size) - size)))


def _padded(size: int) -> int:
    return -(-size // 8) * 8


def entries_in(opcode: Opcode, answer: bytes) -> Iterator[int]:
    """Yield each inode that an answer has the kernel remember."""
    if opcode in _ENTRIES:
        (node,) = _NODE.unpack_from(answer)
        if node:
            yield node
    elif opcode == Opcode.READDIRPLUS:
        at = 0
        while at < len(answer):
            (node,) = _NODE.unpack_from(answer, at)
            at += _ENTRY_OUT.size + _ATTRIBUTES.size
            _, _, name_size, _ = _DIRENT.unpack_from(answer, at)
            name = answer[at + _DIRENT.size :][:name_size]
            if name not in {b".", b".."}:
                yield node
            at += _padded(_DIRENT.size + name_size)


def handle_in(opcode: Opcode, answer: bytes) -> int | None:
    """Return the handle that an answer gives out, if it gives one."""
    if opcode not in {Opcode.OPEN, Opcode.OPENDIR, Opcode.CREATE}:
        return None
    (handle, _) = _OPEN_OUT.unpack_from(answer, len(answer) - _OPEN_OUT.size)
    return int(handle)


def encode_inode_changed(node: int, *, attributes_only: bool) -> bytes:
    """Encode the notice that an inode's attributes are old, and perhaps its pages."""
    body = _INVAL_INODE.pack(node, -1 if attributes_only else 0, 0)
    return _ANSWER.pack(_ANSWER.size + len(body), _Notice.INVAL_INODE, 0) + body


def encode_entry_changed(parent: int, name: bytes) -> bytes:
    """Encode the notice that a name may lead elsewhere."""
    body = _INVAL_ENTRY.pack(parent, len(name)) + name + b"\0"
    return _ANSWER.pack(_ANSWER.size + len(body), _Notice.INVAL_ENTRY, 0) + body
