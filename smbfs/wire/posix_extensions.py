"""The POSIX extensions' GUID, and their mode, whose type bits are not those of ``st_mode``.

A mode on the wire has permission bits as in POSIX, and a type number at bit 12: file 0,
directory 1, symbolic link 2, character device 3, block device 4, FIFO 5, socket 6. A server
of an older draft sends permission bits only.

Spec: SMB3 POSIX Extensions (fscc_posix_extensions: file mode).
"""

from __future__ import annotations

from stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK

POSIX_EXTENSIONS_GUID = bytes.fromhex("93AD25509CB411E7B42383DE968BCD7C")
"""Data of the negotiate context, and name of the create context."""

PERMISSION_MASK = 0o7777
"""Permission bits with set-user-id, set-group-id and sticky."""

_TYPE_SHIFT = 12
_TYPE_MASK = 0o7
_TYPES = (S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, S_IFREG)
_NUMBERS = {
    S_IFREG: 0,
    S_IFDIR: 1,
    S_IFLNK: 2,
    S_IFCHR: 3,
    S_IFBLK: 4,
    S_IFIFO: 5,
    S_IFSOCK: 6,
}


def decode_posix_mode(wire_mode: int, *, is_directory: bool) -> int:
    """Return ``st_mode``, type and permissions, of a mode on the wire.

    ``is_directory`` (from the file's attributes) overrules the type number.
    """
    kind = S_IFDIR if is_directory else _TYPES[wire_mode >> _TYPE_SHIFT & _TYPE_MASK]
    return kind | wire_mode & PERMISSION_MASK


def encode_posix_mode(mode: int) -> int:
    """Return the mode on the wire of an ``st_mode``."""
    return _NUMBERS.get(S_IFMT(mode), 0) << _TYPE_SHIFT | mode & PERMISSION_MASK
