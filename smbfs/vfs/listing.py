"""A server's listing of one directory, as entries that can be shown.

What a listing leaves open is asked, all of a piece at once: what reparse points stand for, and the
real names behind the ones that old Samba servers send for names which Windows would not take.
"""

from __future__ import annotations

import logging
from typing import Final

import trio

from smbfs.client.open import Open
from smbfs.errors import ServerStatusError, SmbfsError, WireError
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import Listed
from smbfs.vfs.inodes import Inode
from smbfs.vfs.mangled_names import may_be_mangled, path_without_extensions, real_name
from smbfs.vfs.removal import Removal
from smbfs.vfs.state import MountState
from smbfs.wire.create import FileAttributes
from smbfs.wire.fscc import DirectoryEntry

QUESTIONS_MAX: Final = 32
"""Questions about single entries that are under way at once."""

_log = logging.getLogger(__name__)


class Listing:
    """One open directory of the server."""

    def __init__(self, state: MountState, removal: Removal, inode: Inode, directory: Open) -> None:
        self._state = state
        self._removal = removal
        self._inode = inode
        self.directory = directory
        self.is_whole = True
        """Whether every name so far is the server's own, and is shown."""
        self._hidden_path: str | None = None
        """The path of the directory to who has no POSIX extensions, once it was needed."""

    async def next_piece(self, *, restart: bool) -> list[Listed] | None:
        """Return the next entries that can be shown, or None when there are no more."""
        asked_s = trio.current_time()
        entries = await self._state.share.list_piece(self.directory, restart=restart)
        if entries is None:
            return None
        entries = [entry for entry in entries if self._is_ordinary(entry)]
        questions = [index for index, entry in enumerate(entries) if self._is_open(entry)]
        shown: list[Listed | None] = [
            self._listed(entry.name, Description(entry.stat)) for entry in entries
        ]
        if questions:
            limiter = trio.CapacityLimiter(QUESTIONS_MAX)

            async def ask(index: int) -> None:
                async with limiter:
                    shown[index] = await self._complete(entries[index])

            async with trio.open_nursery() as nursery:
                for index in questions:
                    nursery.start_soon(ask, index)
        if any(may_be_mangled(entry.name) for entry in entries):
            self.is_whole = False
        if hidden := shown.count(None):
            self.is_whole = False
            _log.warning("%d names of the server can't be shown here", hidden)
        return [listed._replace(asked_s=asked_s) for listed in shown if listed is not None]

    async def aclose(self) -> None:
        """Give the directory back."""
        await self.directory.close()

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

    async def _complete(self, entry: DirectoryEntry) -> Listed | None:
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
        except SmbfsError:
            return None  # The directory is gone.
        return self._listed(name, description)


async def read_listing(listing: Listing, *, limit: int) -> list[Listed] | None:
    """Return everything in a directory, or None if that is more than ``limit`` entries."""
    listed: list[Listed] = []
    piece = await listing.next_piece(restart=True)
    while piece is not None and len(listed) <= limit:
        listed += piece
        piece = await listing.next_piece(restart=False)
    return listed if len(listed) <= limit else None
