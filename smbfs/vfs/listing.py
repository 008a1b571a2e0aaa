"""A server's listing of one directory, as entries that can be shown.

As it goes on, its entries are noted in ``known_directories``, if they are to be remembered. What a
listing leaves open is asked, all of a piece at once: what reparse points stand for, and the
real names behind the ones that old Samba servers send for names which Windows would not take.
"""

from __future__ import annotations

import logging
from typing import Final

import trio

from smbfs.errors import (
    HandleLost,
    InvalidName,
    ServerStatusError,
    SmbfsError,
    TransportError,
    WireError,
)
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import Listed
from smbfs.vfs.inodes import Inode
from smbfs.vfs.known_directory import ENTRIES_MAX, Reading
from smbfs.vfs.mangled_names import may_be_mangled, path_without_extensions, real_name
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.removal import Removal
from smbfs.vfs.server_directories import ServerDirectory, list_piece, open_directory
from smbfs.vfs.state import MountState
from smbfs.wire.create import FileAttributes
from smbfs.wire.fscc import DirectoryEntry

QUESTIONS_MAX: Final = 32
"""Questions about single entries that are under way at once."""

_log = logging.getLogger(__name__)


class Listing:
    """One open directory of the server."""

    def __init__(
        self,
        state: MountState,
        removal: Removal,
        inode: Inode,
        opened: ServerDirectory,
        *,
        asked_s: float,
        reading: Reading | None,
    ) -> None:
        """``asked_s``: when the directory was opened. ``reading``: where to note the entries."""
        self._state = state
        self._removal = removal
        self._inode = inode
        self._directory = opened.open
        self._first: ServerDirectory | None = opened if opened.first else None
        self._told = opened.told
        self._asked_s = asked_s
        self._reading = reading
        self._began = False
        self._is_all = False
        self._is_kept = False
        self._is_closed = False
        self._must_restart = False
        """Whether entries were read that could not be told."""
        self._entries = 0
        self._is_faithful = True
        """Whether every name so far is the server's own, and is shown."""
        self._hidden_path: str | None = None
        """The path of the directory to who has no POSIX extensions, once it was needed."""

    async def next_piece(self, *, restart: bool) -> list[Listed] | None:
        """Return the next entries that can be shown, or None when there are no more."""
        directories, number = self._state.directories, self._inode.number
        restart = restart or self._must_restart
        if restart and self._is_kept:
            await self._reopen()
        if restart:
            self._entries = 0
        asked_s = trio.current_time()
        is_all = False
        entries: list[DirectoryEntry] | None
        if restart and self._first is not None:
            first, self._first = self._first, None
            entries, is_all, asked_s = first.first, first.is_all, self._asked_s
        elif self._is_all and not restart:
            return None
        else:
            if restart and self._began:
                self._give_up()  # What it told before is not what it will tell now.
            try:
                entries = await list_piece(
                    self._state.share, self._directory, restart=restart and self._began
                )
            except (HandleLost, TransportError):
                # The server has forgotten it, or nobody knows how far it has told. Who reads it
                # leaves out what it has had before.
                await self._reopen()
                self._first = None
                self._began = self._must_restart = True  # Until it has told something.
                entries = await list_piece(self._state.share, self._directory, restart=True)
        self._began, self._is_all, self._must_restart = True, is_all, False
        if entries is None:
            self._complete()
            return None
        listed = await self._shown(entries, asked_s)
        self._entries += len(listed)
        if self._reading is not None and not directories.add(number, self._reading, listed):
            self._reading = None
        if is_all:
            self._complete()
        return listed

    async def _reopen(self) -> None:
        """List by another handle: the one so far belongs to what is known of the directory."""
        share = self._state.share
        opened = await self._state.at(self._inode, lambda path: open_directory(share, path))
        if self._is_closed:
            opened.open.close_unwaited()
            raise Refused(Refusal.BAD_HANDLE, "the listing was closed meanwhile")
        if not self._is_kept:
            self._directory.close_unwaited()  # The server may have it yet.
        self._directory, self._first = opened.open, opened if opened.first else None
        self._began = self._is_all = self._is_kept = False
        self._asked_s = trio.current_time()

    async def _shown(self, entries: list[DirectoryEntry], asked_s: float) -> list[Listed]:
        entries = [entry for entry in entries if self._is_ordinary(entry)]
        questions = [index for index, entry in enumerate(entries) if self._is_open(entry)]
        shown: list[Listed | None] = [
            self._listed(entry.name, Description(entry.stat)) for entry in entries
        ]
        if questions:
            failures: list[SmbfsError] = []
            limiter = trio.CapacityLimiter(QUESTIONS_MAX)

            async def ask(index: int) -> None:
                async with limiter:
                    try:
                        shown[index] = await self._complete_entry(entries[index])
                    except SmbfsError as error:
                        failures.append(error)

            async with trio.open_nursery() as nursery:
                for index in questions:
                    nursery.start_soon(ask, index)
            if failures:
                self._must_restart = True  # Or these entries would be missing.
                raise failures[0]
        if any(may_be_mangled(entry.name) for entry in entries):
            self._is_faithful = False
        if hidden := shown.count(None):
            self._is_faithful = False
            _log.warning("%d names of the server can't be shown here", hidden)
        whole = [listed for listed in shown if listed is not None]
        for listed in whole:
            listed.asked_s = asked_s
        return whole

    @property
    def is_at_hand(self) -> bool:
        """Whether all of it came when the directory was opened, and nobody has read it yet."""
        return self._first is not None and self._first.is_all

    @property
    def is_large(self) -> bool:
        """Whether it has more entries than are remembered."""
        return self._entries > ENTRIES_MAX

    @property
    def is_remembered(self) -> bool:
        """Whether what it tells is still worth noting."""
        return self._reading is not None

    def _complete(self, *, is_whole: bool = True) -> None:
        state, number = self._state, self._inode.number
        reading, self._reading = self._reading, None
        if reading is None:
            return
        known = state.directories.complete(
            number,
            reading,
            self._directory,
            is_whole=is_whole,
            tells_absence=is_whole and self._is_faithful,
        )
        self._is_kept = known is not None or (
            is_whole and state.watches.begin(self._inode, self._directory)
        )
        told = self._told
        if known is not None and told is not None and known.touched <= reading.began:
            state.shown.told(self._inode, Description(told), asked=known.armed)

    def leave(self) -> None:
        """Keep what was listed so far; the rest is not read."""
        self._complete(is_whole=False)

    def _give_up(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            self._state.directories.give_up(self._inode.number, reading)

    def close(self) -> None:
        """Give the directory back, unless it is kept for its lease."""
        self._is_closed = True
        self._give_up()
        if not self._is_kept:
            self._is_kept = True
            self._directory.close_unwaited()

    async def _real_name(self, directory: str, entry: DirectoryEntry) -> str | None:
        share = self._state.share
        if self._hidden_path is None:
            steps = []
            at = self._inode
            while at.parent is not None:
                steps.append((self._state.path(at), at.file_id))
                at = at.parent
            below_root = await path_without_extensions(share, steps[::-1])
            root = share.path(()).replace("/", "\\")
            self._hidden_path = "\\".join(part for part in (root, below_root) if part)
        return await real_name(share, directory, self._hidden_path, entry)

    def _is_ordinary(self, entry: DirectoryEntry) -> bool:
        return entry.name not in {".", ".."} and not self._removal.hides(entry.name)

    def _is_open(self, entry: DirectoryEntry) -> bool:
        """Whether the entry can't be shown as it is."""
        if self._state.share.posix and may_be_mangled(entry.name):
            return True
        if not self._state.share.posix and entry.stat.attributes & FileAttributes.REPARSE_POINT:
            return True  # The server may follow it, and lookups then say something else.
        return self._state.describer.is_open_question(entry.stat)

    def _listed(self, name: str, description: Description) -> Listed | None:
        shown = self._state.share.names.from_server(name)
        return Listed(shown, description) if shown is not None else None

    async def _complete_entry(self, entry: DirectoryEntry) -> Listed | None:
        """Ask what a listing leaves open; what can't be answered is shown as it was listed."""
        state = self._state
        name = entry.name
        try:
            directory = state.path(self._inode)
            path = state.share.join(directory, name)
            if state.share.posix and may_be_mangled(name):
                name = await self._real_name(directory, entry) or name
                path = state.share.join(directory, name)
            if state.share.posix:
                description = await state.describer.complete(path, entry.stat)
            else:
                description = await state.describer.describe(path)
        except (ServerStatusError, WireError):
            description = Description(entry.stat)
        except (Refused, InvalidName):
            return None  # The directory is gone.
        return self._listed(name, description)
