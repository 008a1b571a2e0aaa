"""The verbs opendir, readdir, releasedir."""

from __future__ import annotations

import logging
from collections.abc import Callable
from stat import S_IFDIR
from typing import Final

import trio

from smbfs.errors import SmbfsError
from smbfs.vfs.attributes import Attributes
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import DirectoryStream, Listed
from smbfs.vfs.handles import Numbered
from smbfs.vfs.inodes import Inode
from smbfs.vfs.listing import Listing
from smbfs.vfs.refusals import Refused
from smbfs.vfs.removal import Removal
from smbfs.vfs.share import stat_of_open
from smbfs.vfs.state import Entry, MountState

Emit = Callable[[bytes, Entry, int], bool]
"""Gives the kernel a name, its entry and the next position; False if it has no room."""

_DOTS: Final = 2
"""Positions taken by "." and ".."."""

_log = logging.getLogger(__name__)


class OpenDirectory:
    """An open directory: FUSE's ``fh``."""

    __slots__ = ("inode", "listing", "stream", "turn")

    def __init__(self, inode: Inode, listing: Listing) -> None:
        self.inode = inode
        self.listing = listing
        self.stream = DirectoryStream(listing)
        self.turn = trio.Lock()


class Directories:
    """The verbs about listings. May raise ServerStatusError, TransportError, Refused."""

    def __init__(self, state: MountState, removal: Removal) -> None:
        self._state = state
        self._removal = removal
        self._open: Numbered[OpenDirectory] = Numbered()

    async def open(self, number: int) -> int:
        """Begin to list a directory."""
        state = self._state
        inode = state.inodes.get(number)
        directory = await state.at(inode, state.share.open_directory)
        listing = Listing(state, self._removal, inode, directory)
        try:
            # Another directory by this name: the kernel shall look it up before it lists it.
            state.check_same(inode, Description(stat_of_open(directory.created)))
        except Refused:
            await listing.aclose()
            raise
        state.inodes.pin(inode)
        return self._open.add(OpenDirectory(inode, listing))

    async def read(self, number: int, start: int, emit: Emit) -> None:
        """Give the kernel entries from position ``start`` on until it has no more room.

        Each entry that it takes is counted as told.
        """
        directory = self._open.find(number)
        async with directory.turn:
            if start == 0:
                directory.stream.rewind()
            for position in range(start, _DOTS):
                entry = self._dot(directory.inode, parent=position == 1)
                if not emit(b".." if position else b".", entry, position + 1):
                    return
            position = max(start, _DOTS)
            # The kernel asks again for what a reader had no room for, from its last position on.
            directory.stream.passed(position - _DOTS)
            while True:
                listed = await directory.stream.entry(position - _DOTS)
                if listed is None or not self._emit(directory, listed, position + 1, emit):
                    return
                position += 1

    async def release(self, number: int) -> None:
        """End the listing."""
        directory = self._open.find(number)
        del self._open[number]
        self._state.inodes.unpin(directory.inode)
        await directory.listing.aclose()

    async def close_all(self) -> None:
        """Close what is still open when the mount ends."""
        for number in list(self._open):
            try:
                await self.release(number)
            except SmbfsError as error:
                _log.debug("closing directory %d: %s", number, error)

    def _emit(self, directory: OpenDirectory, listed: Listed, position: int, emit: Emit) -> bool:
        state, parent = self._state, directory.inode
        try:
            inode = state.admit(parent, listed.name, listed.description)
        except Refused:
            # It leads to a directory above: a number of its own ends no path in itself.
            alone = listed.description._replace(stat=listed.description.stat._replace(file_id=0))
            inode = state.admit(parent, listed.name, alone)
        state.inodes.pin(inode)  # Its kept handle may be the last that needs it, and go just now.
        try:
            entry = state.show_listed(
                inode,
                listed.description,
                entries=directory.stream.length,
                asked_s=listed.asked_s,
            )
            was_taken = emit(listed.name, entry, position)
            if was_taken:
                state.inodes.remember(inode)
        finally:
            state.inodes.unpin(inode)
        return was_taken

    def _dot(self, inode: Inode, *, parent: bool) -> Entry:
        shown = inode.parent if parent and inode.parent is not None else inode
        attributes = Attributes(S_IFDIR, 0, 1, 0, 0, 0, 0, 0, 0, 0)
        return Entry(shown.number, attributes, 0.0, 0.0)
