"""The kernel's vocabulary: what it asks through /dev/fuse, and what both sides agree on.

Names and numbers are those of ``<linux/fuse.h>``, version 7.33: an older kernel (from 5.4 on) uses
less of it, a newer one steps down. ``requests`` takes apart what the kernel sends, ``answers`` puts
together what it gets; neither reads or writes the device.

Spec: fuse(4), Linux ``include/uapi/linux/fuse.h``.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

Buffer = bytes | bytearray | memoryview

VERSION: Final = (7, 33)
"""The dialect that is spoken here."""

WRITE_SIZE_MAX: Final = 1 << 20
"""Bytes that one WRITE carries at most, and one READ asks for."""

REQUEST_SIZE_MAX: Final = WRITE_SIZE_MAX + 4096
"""Bytes that a read of the device must have room for."""


class Opcode(IntEnum):
    """What the kernel wants."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47


UNANSWERED: Final = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT})
"""What the kernel waits for no answer to."""


class InitFlag(IntFlag):
    """What both sides can do."""

    ASYNC_READ = 1 << 0
    ATOMIC_O_TRUNC = 1 << 3
    BIG_WRITES = 1 << 5
    AUTO_INVAL_DATA = 1 << 12
    DO_READDIRPLUS = 1 << 13
    ASYNC_DIO = 1 << 15
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    HANDLE_KILLPRIV_V2 = 1 << 28


WANTED: Final = (
    InitFlag.ASYNC_READ
    | InitFlag.ATOMIC_O_TRUNC
    | InitFlag.BIG_WRITES
    | InitFlag.AUTO_INVAL_DATA
    | InitFlag.DO_READDIRPLUS
    | InitFlag.ASYNC_DIO
    # Else each directory has a lock, for which nobody can be killed who waits.
    | InitFlag.PARALLEL_DIROPS
    | InitFlag.MAX_PAGES
    # Else it asks for an extended attribute before each write. We take setuid bits away.
    | InitFlag.HANDLE_KILLPRIV_V2
)
"""What is used of it, where the kernel offers it."""


class OpenFlag(IntFlag):
    """What the kernel may do with an open file or directory (FOPEN_*)."""

    DIRECT_IO = 1 << 0
    KEEP_CACHE = 1 << 1
    CACHE_DIR = 1 << 3
    NOFLUSH = 1 << 5


class SetAttrField(IntFlag):
    """What SETATTR changes (FATTR_*)."""

    MODE = 1 << 0
    UID = 1 << 1
    GID = 1 << 2
    SIZE = 1 << 3
    ATIME = 1 << 4
    MTIME = 1 << 5
    FH = 1 << 6
    KILL_SUIDGID = 1 << 11


OPEN_KILL_SUIDGID: Final = 1 << 0
"""OPEN and CREATE cut a file whose setuid and setgid bits its user may not keep."""

WRITE_KILL_SUIDGID: Final = 1 << 2
"""WRITE is by a user who may not keep these bits."""
