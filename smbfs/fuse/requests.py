"""Requests of the kernel, taken apart.

A request is a header and a body; a name in a body ends with NUL. The kernel is trusted: a body that
is too short raises ``struct.error``, and is a bug of ours.

Spec: Linux ``include/uapi/linux/fuse.h``, structures ``fuse_*_in``.
"""

from __future__ import annotations

import os
import struct
from typing import Final, NamedTuple

from smbfs.fuse.protocol import OPEN_KILL_SUIDGID, WRITE_KILL_SUIDGID, SetAttrField

_NS: Final = 1_000_000_000

_REQUEST: Final = struct.Struct("=IIQQ8xI4x")
REQUEST_HEADER_SIZE: Final = _REQUEST.size

_INIT_IN: Final = struct.Struct("=IIII")
_INTERRUPT_IN: Final = struct.Struct("=Q")
_FORGET_IN: Final = struct.Struct("=Q")
_FORGET_COUNT: Final = struct.Struct("=I4x")
_FORGET_ONE: Final = struct.Struct("=QQ")
_SETATTR_IN: Final = struct.Struct("=I4xQQ8xqqqIIIIIII4x")
_NODE_MODE_IN: Final = struct.Struct("=II8x")
_MODE_IN: Final = struct.Struct("=I4x")
_RENAME_IN: Final = struct.Struct("=Q")
_RENAME2_IN: Final = struct.Struct("=QI4x")
_OPEN_IN: Final = struct.Struct("=II")
_CREATE_IN: Final = struct.Struct("=II4xI")
_READ_IN: Final = struct.Struct("=QQI")
_COPY_IN: Final = struct.Struct("=QQQQQQQ")
_FALLOCATE_IN: Final = struct.Struct("=QQQI4x")
_LSEEK_IN: Final = struct.Struct("=QQI4x")
_WRITE_IN: Final = struct.Struct("=QQII8xI4x")
_HANDLE_IN: Final = struct.Struct("=Q")
_SETXATTR_IN: Final = struct.Struct("=II")
_GETXATTR_IN: Final = struct.Struct("=I4x")
_ACCESS_IN: Final = struct.Struct("=I4x")


class Request(NamedTuple):
    """The header of a request: ``fuse_in_header``."""

    size: int
    """Bytes of the whole request."""
    opcode: int
    unique: int
    """What the answer names it by."""
    node: int
    """The inode that it is about."""
    thread: int
    """Who asks; 0 if that is in another PID namespace, or the kernel itself."""


def decode_request(data: memoryview) -> Request:
    """Decode the header that begins ``data``."""
    return Request._make(_REQUEST.unpack_from(data))


class InitRequest(NamedTuple):
    """``fuse_init_in``."""

    major: int
    minor: int
    read_ahead_max: int
    flags: int


def decode_init(body: bytes) -> InitRequest:
    """Decode the kernel's first request."""
    return InitRequest._make(_INIT_IN.unpack_from(body))


def decode_name(body: bytes) -> bytes:
    """Decode a body that is a name."""
    return body[:-1]


def decode_two_names(body: bytes) -> tuple[bytes, bytes]:
    """Decode a body of two names."""
    first, second, _ = body.split(b"\0")
    return first, second


def decode_interrupt(body: bytes) -> int:
    """Decode what the request is named by whose answer somebody would rather not wait for."""
    (unique,) = _INTERRUPT_IN.unpack_from(body)
    return int(unique)


def decode_forget(body: bytes) -> int:
    """Decode how many answers about an inode the kernel takes back."""
    (count,) = _FORGET_IN.unpack_from(body)
    return int(count)


def decode_batch_forget(body: bytes) -> list[tuple[int, int]]:
    """Decode inodes and how many answers about each the kernel takes back."""
    (count,) = _FORGET_COUNT.unpack_from(body)
    begin = _FORGET_COUNT.size
    return list(_FORGET_ONE.iter_unpack(body[begin : begin + count * _FORGET_ONE.size]))


class SetAttrRequest(NamedTuple):
    """``fuse_setattr_in``, of which ``fields`` says what counts."""

    fields: SetAttrField
    handle: int
    size: int
    atime_ns: int
    mtime_ns: int
    mode: int
    uid: int
    gid: int


def decode_setattr(body: bytes) -> SetAttrRequest:
    """Decode which attributes change, and to what."""
    fields, handle, size, atime_s, mtime_s, _, atime_ns, mtime_ns, _, mode, _, uid, gid = (
        _SETATTR_IN.unpack_from(body)
    )
    return SetAttrRequest(
        SetAttrField(fields),
        handle,
        size,
        atime_s * _NS + atime_ns,
        mtime_s * _NS + mtime_ns,
        mode,
        uid,
        gid,
    )


def decode_mknod(body: bytes) -> tuple[int, int, bytes]:
    """Decode mode, device number and name."""
    mode, device = _NODE_MODE_IN.unpack_from(body)
    return mode, device, body[_NODE_MODE_IN.size : -1]


def decode_mkdir(body: bytes) -> tuple[int, bytes]:
    """Decode mode and name."""
    (mode,) = _MODE_IN.unpack_from(body)
    return mode, body[_MODE_IN.size : -1]


def decode_rename(body: bytes) -> tuple[int, bytes, bytes]:
    """Decode the new directory, the old name and the new one."""
    (directory,) = _RENAME_IN.unpack_from(body)
    return directory, *decode_two_names(body[_RENAME_IN.size :])


def decode_rename2(body: bytes) -> tuple[int, int, bytes, bytes]:
    """Decode the new directory, the flags of renameat2(2), the old name and the new one."""
    directory, flags = _RENAME2_IN.unpack_from(body)
    return directory, flags, *decode_two_names(body[_RENAME2_IN.size :])


def decode_link(body: bytes) -> tuple[int, bytes]:
    """Decode the inode that gets a further name, and that name."""
    (node,) = _RENAME_IN.unpack_from(body)
    return node, body[_RENAME_IN.size : -1]


class OpenRequest(NamedTuple):
    """``fuse_open_in``, or ``fuse_create_in`` with mode and name."""

    flags: int
    """Those of open(2)."""
    sheds: bool
    """Whether cutting the file takes its setuid and setgid bits away."""
    mode: int = 0
    name: bytes = b""


def decode_open(body: bytes) -> OpenRequest:
    """Decode how a file is opened."""
    flags, open_flags = _OPEN_IN.unpack_from(body)
    return OpenRequest(flags, bool(open_flags & OPEN_KILL_SUIDGID))


def decode_create(body: bytes) -> OpenRequest:
    """Decode how a file is made and opened."""
    flags, mode, open_flags = _CREATE_IN.unpack_from(body)
    name = body[_CREATE_IN.size : -1]
    return OpenRequest(flags, bool(open_flags & OPEN_KILL_SUIDGID), mode, name)


def decode_read(body: bytes) -> tuple[int, int, int]:
    """Decode handle, position and size, of READ and READDIRPLUS."""
    handle, offset, size = _READ_IN.unpack_from(body)
    return handle, offset, size


class WriteRequest(NamedTuple):
    """``fuse_write_in``."""

    handle: int
    offset: int
    data: memoryview
    """A part of the body, not a copy."""
    sheds: bool
    """Whether it takes setuid and setgid bits of the file away."""
    appends: bool
    """Whether it was written by a descriptor that appends; pages of a mapping are not."""


def decode_write(body: bytes) -> WriteRequest:
    """Decode what is written where."""
    handle, offset, size, flags, open_flags = _WRITE_IN.unpack_from(body)
    begin = _WRITE_IN.size
    data = memoryview(body)[begin : begin + size]
    sheds, appends = bool(flags & WRITE_KILL_SUIDGID), bool(open_flags & os.O_APPEND)
    return WriteRequest(handle, offset, data, sheds, appends)


class CopyRequest(NamedTuple):
    """``fuse_copy_file_range_in`` without the node of the target."""

    source: int
    offset: int
    target: int
    target_offset: int
    length: int


def decode_copy(body: bytes) -> CopyRequest:
    """Decode what is copied where."""
    source, offset, _node, target, target_offset, length, _flags = _COPY_IN.unpack_from(body)
    return CopyRequest(source, offset, target, target_offset, length)


class FallocateRequest(NamedTuple):
    """``fuse_fallocate_in``."""

    handle: int
    offset: int
    length: int
    mode: int
    """Bits of fallocate(2)."""


def decode_fallocate(body: bytes) -> FallocateRequest:
    """Decode where room is made, or given back."""
    return FallocateRequest(*_FALLOCATE_IN.unpack_from(body))


class SeekRequest(NamedTuple):
    """``fuse_lseek_in``."""

    handle: int
    offset: int
    whence: int
    """SEEK_DATA or SEEK_HOLE; the kernel answers for the others."""


def decode_seek(body: bytes) -> SeekRequest:
    """Decode from where on data, or a hole, are looked for."""
    return SeekRequest(*_LSEEK_IN.unpack_from(body))


def decode_handle(body: bytes) -> int:
    """Decode the handle that RELEASE, FLUSH and FSYNC begin with."""
    (handle,) = _HANDLE_IN.unpack_from(body)
    return int(handle)


def decode_access(body: bytes) -> int:
    """Decode what somebody would like to do: R_OK, W_OK and X_OK of access(2)."""
    (wanted,) = _ACCESS_IN.unpack_from(body)
    return int(wanted)


def decode_setxattr(body: bytes) -> tuple[int, bytes, bytes]:
    """Decode the flags of setxattr(2), name and value."""
    size, flags = _SETXATTR_IN.unpack_from(body)
    end = len(body) - size
    return flags, body[_SETXATTR_IN.size : end - 1], body[end:]


def decode_getxattr(body: bytes) -> tuple[int, bytes]:
    """Decode for how many bytes there is room, and a name (none for LISTXATTR).

    No room at all: the kernel wants to know the size.
    """
    (size,) = _GETXATTR_IN.unpack_from(body)
    return size, body[_GETXATTR_IN.size : -1]
