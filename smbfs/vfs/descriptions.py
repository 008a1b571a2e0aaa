"""What is at a path: the server's attributes, and what a reparse point there stands for.

A reparse point costs a second round trip, so it is asked for only when the attributes leave open
what it is, and remembered by file id and change time.
"""

from __future__ import annotations

from collections import OrderedDict
from stat import S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK
from typing import Final, NamedTuple

from smbfs.errors import ServerStatusError, WireError
from smbfs.vfs.attributes import file_type_of
from smbfs.vfs.share import Share
from smbfs.vfs.special_files import (
    MF_SYMLINK_SIZE,
    SpecialFile,
    decode_mf_symlink,
    special_file,
)
from smbfs.wire.create import AccessMask, FileAttributes
from smbfs.wire.fscc import FileStat
from smbfs.wire.reparse import decode_reparse_point

_REMEMBERED_MAX: Final = 4096

# A plain int: this is asked for every entry of a listing, and flags are slow at it.
_REPARSE_POINT: Final = int(FileAttributes.REPARSE_POINT)


class Description(NamedTuple):
    """Everything that ``stat`` needs to know of one file."""

    stat: FileStat
    special: SpecialFile | None = None
    """What it stands for, where the attributes alone don't tell."""
    spelling: bytes | None = None
    """Its name as the server spells it, where that is known and may differ."""

    @property
    def file_type(self) -> int:
        """S_IFMT bits."""
        return file_type_of(self.stat, self.special)


class Describer:
    """Describes files of one share."""

    def __init__(self, share: Share, *, mf_symlinks: bool) -> None:
        """``mf_symlinks``: files of the right size may be Minshall+French links."""
        self._share = share
        self._mf_symlinks = mf_symlinks
        self._remembered: OrderedDict[tuple[int, int], SpecialFile | None] = OrderedDict()

    async def describe(self, path: str) -> Description:
        """Return what is at ``path``. Raises: ServerStatusError."""
        seen = await self._share.stat(path)
        description = await self.complete(path, seen.stat)
        if seen.spelling is None:
            return description
        return description._replace(spelling=self._share.names.from_server(seen.spelling))

    async def complete(self, path: str, stat: FileStat) -> Description:
        """Return the description of a file whose attributes are known."""
        if not self.is_open_question(stat):
            return Description(stat)
        key = (stat.file_id, stat.change_time)
        if stat.file_id and key in self._remembered:
            self._remembered.move_to_end(key)
            return Description(stat, self._remembered[key])
        special = await self.read_special(path, stat)
        self.remember(stat, special)
        return Description(stat, special)

    def remember(self, stat: FileStat, special: SpecialFile | None) -> None:
        """Note what a file stands for, so that it is not asked until the file changes."""
        if stat.file_id:
            self._remembered[stat.file_id, stat.change_time] = special
            while len(self._remembered) > _REMEMBERED_MAX:
                self._remembered.popitem(last=False)

    def is_open_question(self, stat: FileStat) -> bool:
        """Whether the attributes leave open what the file is."""
        if not stat.attributes & _REPARSE_POINT:
            return self._may_be_mf_symlink(stat)
        file_type = S_IFMT(stat.mode) if stat.mode is not None else 0
        if file_type == S_IFLNK:
            return stat.size == 0  # Otherwise it is the target's length.
        return file_type not in {S_IFDIR, S_IFIFO, S_IFSOCK}

    async def read_special(self, path: str, stat: FileStat) -> SpecialFile | None:
        """Read what a reparse point, or the content of a small file, stands for."""
        try:
            if stat.attributes & FileAttributes.REPARSE_POINT:
                data = await self._share.read_reparse_point(path)
                return special_file(decode_reparse_point(data), self._share.names)
            return decode_mf_symlink(await self._read_content(path))
        except (ServerStatusError, WireError):
            return None  # Then it is shown as what its attributes say.

    def _may_be_mf_symlink(self, stat: FileStat) -> bool:
        return self._mf_symlinks and stat.size == MF_SYMLINK_SIZE and file_type_of(stat) == S_IFREG

    async def _read_content(self, path: str) -> bytes:
        file = await self._share.open(path, AccessMask.READ_DATA)
        try:
            return bytes(await file.read(0, MF_SYMLINK_SIZE))
        finally:
            await file.close()
