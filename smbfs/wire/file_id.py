"""The server's name for an open."""

from __future__ import annotations

from typing import ClassVar, NamedTuple


class _FileIdFields(NamedTuple):
    persistent: int
    volatile: int


class FileId(_FileIdFields):
    """The server's name for an open: two 64-bit halves.

    ``FileId.RELATED`` (all ones) means "the open of the CREATE before me" in a compound, and
    "no open" in an IOCTL that is not about a file.
    Spec: [MS-SMB2] 2.2.14.1, 3.2.4.1.4.
    """

    __slots__ = ()

    RELATED: ClassVar[FileId]


FileId.RELATED = FileId(0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)
