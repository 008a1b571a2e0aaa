"""The verbs opendir, readdir, releasedir."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from stat import S_IFDIR
from typing import Final, NamedTuple

import trio

from smbfs.errors import SmbfsError
from smbfs.vfs.attributes import Attributes
from smbfs.vfs.directory_stream import DirectoryStream, Listed
from smbfs.vfs.handles import Numbered
from smbfs.vfs.inodes import Inode
from smbfs.vfs.known_directory import Kept, is_kept, keep
from smbfs.vfs.listing import Listing
from smbfs.vfs.listings import Listings
from smbfs.vfs.refusals import Refused
from smbfs.vfs.shown import Entry
from smbfs.vfs.state import MountState

Emit = Callable[[bytes, Entry, int], bool]
"""Gives the kernel a name, its entry and the next position; False if it has no room."""

_DOTS: Final = 2
"""Positions taken by "." and ".."."""

_log = logging.getLogger(__name__)


class OpenedDirectory(NamedTuple):
    """What the kernel is told of an open directory."""

    handle: int
    may_be_kept: bool
    """The kernel may keep what it is told of it."""
    is_known: bool
    """What it has kept of an earlier open is still right."""


class OpenDirectory:
    """An open directory: FUSE's ``fh``. It shows what is known, or what the server lists."""

    __slots__ = (
        "armed",
        "inode",
        "is_alone",
        "is_fresh",
        "known",
        "listing",
        "may_be_kept",
        "stream",
        "tick",
        "told_until_s",
        "turn",
    )

    def __init__(self, inode: Inode) -> None:
        self.inode = inode
        self.known: list[Listed] = []
        self.listing: Listing | None = None
        self.stream: DirectoryStream | None = None
        """None: it shows what is known."""
        self.is_fresh = False
        """Whether nobody has read since it was begun, as far as we were asked."""
        self.may_be_kept = False
        """Whether it may be read from what the kernel keeps, without asking us."""
        self.is_alone = True
        """Whether nobody else had the directory open in all the time."""
        self.tick = 0
        """Every change up to that one shows in it."""
        self.armed = 0
        """The tick at which the lease was granted under which it was listed, if it was."""
        self.told_until_s = math.inf
        """When the first of the entries that were told is no longer to be believed."""
        self.turn = trio.Lock()

    @property
    def length(self) -> int:
        """Entries so far."""
        return len(self.known) if self.stream is None else self.stream.length

    @property
    def is_large(self) -> bool:
        """Whether it has more entries than are remembered."""
        return self.listing is not None and self.listing.is_large


class Directories:
    """The verbs about listings. May raise ServerStatusError, TransportError, Refused."""

    def __init__(self, state: MountState, listings: Listings) -> None:
        self._state = state
        self._listings = listings
        self._open: Numbered[OpenDirectory] = Numbered()

    async def open(self, number: int) -> OpenedDirectory:
        """Begin to list a directory."""
        inode = self._state.inodes.get(number)
        directory = OpenDirectory(inode)
        await self._begin(directory)
        self._state.inodes.pin(inode)
        for other in self._open.values():
            if other.inode is inode:
                # What the kernel keeps may be of either.
                directory.is_alone = other.is_alone = False
        known = self._state.directories.of(number)
        is_known = directory.stream is None and is_kept(known, trio.current_time())
        directory.may_be_kept = known.is_leased
        return OpenedDirectory(self._open.add(directory), directory.may_be_kept, is_known)

    async def _begin(self, directory: OpenDirectory) -> None:
        state, number = self._state, directory.inode.number
        tick = state.directories.asking()
        known = state.directories.of(number).listing(trio.current_time())
        if known is not None:
            directory.known = known
            directory.armed = state.directories.of(number).armed
        else:
            directory.listing = listing = await self._listings.begin(directory.inode)
            directory.stream = DirectoryStream(listing)
            directory.armed = state.directories.of(number).armed
            if listing.is_at_hand:
                # Whoever just holds it open, to use names in it, may never read it.
                await _read_to_be_known(listing, directory.stream)
        directory.is_fresh = True
        directory.tick = tick
        directory.told_until_s = math.inf

    async def read(self, number: int, start: int, emit: Emit) -> None:
        """Give the kernel entries from position ``start`` on until it has no more room.

        Each entry that it takes is counted as told.
        """
        directory = self._open.find(number)
        async with directory.turn:
            if start == 0:
                await self._rewind(directory)
            directory.is_fresh = False
            for position in range(start, _DOTS):
                entry = self._dot(directory.inode, parent=position == 1)
                if not emit(b".." if position else b".", entry, position + 1):
                    return
            first = max(start, _DOTS) - _DOTS
            if directory.stream is None:
                is_all = self._read_known(directory, first, emit)
            else:
                is_all = await self._read_stream(directory, directory.stream, first, emit)
            if is_all and directory.is_alone:
                known = self._state.directories.of(directory.inode.number)
                keep(known, Kept(directory.tick, directory.armed, directory.told_until_s))

    async def _rewind(self, directory: OpenDirectory) -> None:
        if directory.is_fresh and self._is_as_begun(directory):
            return
        if directory.stream is not None and not directory.is_fresh:
            directory.stream.rewind()
            return
        listing, directory.listing, directory.stream = directory.listing, None, None
        if listing is not None:
            listing.close()
        await self._begin(directory)

    def _is_as_begun(self, directory: OpenDirectory) -> bool:
        """Whether a reader who has not asked us so far may be told what was there when it opened.

        What the kernel keeps it may have read since, and now it wants to know what has changed.
        """
        known = self._state.directories.of(directory.inode.number)
        if not directory.may_be_kept:
            return True
        is_current = directory.stream is not None or known.left_s(trio.current_time()) > 0
        is_same_lease = known.is_leased and known.armed == directory.armed
        return is_current and is_same_lease and known.touched <= directory.tick

    def _read_known(self, directory: OpenDirectory, first: int, emit: Emit) -> bool:
        """Emit what is known, and return whether that was all."""
        known, now_s = self._state.directories.of(directory.inode.number), trio.current_time()
        left_s = known.left_s(now_s)
        for index in range(first, len(directory.known)):
            current = known.current(directory.known[index], now_s)
            if current is None:
                continue
            if current.shown is not None and left_s and not known.unknown:
                inode = self._again(directory.inode, current, current.shown, left_s)
                if inode is not None:
                    if not emit(current.name, current.shown, index + _DOTS + 1):
                        return False
                    inode.lookup_count += 1
                    directory.told_until_s = min(directory.told_until_s, now_s + left_s)
                    continue
            if not self._emit(directory, current, index + _DOTS + 1, emit):
                return False
        return True

    async def _read_stream(
        self, directory: OpenDirectory, stream: DirectoryStream, first: int, emit: Emit
    ) -> bool:
        """Emit what the server lists, and return whether that was all."""
        # The kernel asks again for what a reader had no room for, from its last position on.
        stream.passed(first)
        position = first
        # What the kernel is told may be taken back while we ask: tell it what there is before that.
        while position == first or stream.is_here(position):
            listed = await stream.entry(position)
            if listed is None:
                return True
            if not self._emit(directory, listed, position + _DOTS + 1, emit):
                return False
            position += 1
        return False

    async def release(self, number: int) -> None:
        """End the listing."""
        directory = self._open.find(number)
        del self._open[number]
        self._state.inodes.unpin(directory.inode)
        if directory.listing is not None:
            directory.listing.close()
        await trio.lowlevel.checkpoint()

    async def close_all(self) -> None:
        """Close what is still open when the mount ends."""
        for number in list(self._open):
            try:
                await self.release(number)
            except SmbfsError as error:
                _log.debug("closing directory %d: %s", number, error)

    def _again(self, parent: Inode, listed: Listed, shown: Entry, left_s: float) -> Inode | None:
        """Renew what was shown of an entry; None if that may have become something else."""
        inode = self._state.inodes.child(parent, listed.name)
        if inode is None or inode.number != shown.number or self._state.handles.opened(inode):
            return None
        shown.entry_timeout_s = shown.attribute_timeout_s = left_s
        return inode

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
            entry = state.shown.listed(
                parent, inode, listed, entries=directory.length, is_large=directory.is_large
            )
            was_taken = emit(listed.name, entry, position)
            if was_taken:
                state.inodes.remember(inode)
                is_file = inode.file_type != S_IFDIR
                is_vouched_for = is_file and state.shown.is_vouched_for(inode, listed.description)
                if is_vouched_for and entry.attribute_timeout_s == entry.entry_timeout_s > 0:
                    listed.shown = entry
                # About a directory the kernel has to ask in any case.
                told_s = entry.entry_timeout_s
                told_s = min(told_s, entry.attribute_timeout_s) if is_file else told_s
                until_s = trio.current_time() + told_s
                directory.told_until_s = min(directory.told_until_s, until_s)
        finally:
            state.inodes.unpin(inode)
        return was_taken

    def _dot(self, inode: Inode, *, parent: bool) -> Entry:
        shown = inode.parent if parent and inode.parent is not None else inode
        attributes = Attributes(S_IFDIR, 0, 1, 0, 0, 0, 0, 0, 0, 0)
        return Entry(shown.number, attributes, 0.0, 0.0)


async def _read_to_be_known(listing: Listing, stream: DirectoryStream) -> None:
    try:
        await stream.entry(0)
    except BaseException:
        listing.close()
        raise
