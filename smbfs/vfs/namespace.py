"""Names: looking them up, making and removing directories, linking and removing files."""

from __future__ import annotations

import logging
from stat import S_IFREG
from typing import Final, NamedTuple

import trio

from smbfs.errors import ServerStatusError
from smbfs.vfs import changes
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import Listed
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.inodes import Inode
from smbfs.vfs.known_names import ENTRIES_MAX, Answer
from smbfs.vfs.listing import Listing, read_listing
from smbfs.vfs.removal import Removal
from smbfs.vfs.reparse_repair import repair_reparse_point, reparse_point_of
from smbfs.vfs.state import Entry, MountState
from smbfs.wire.create import CreateOptions
from smbfs.wire.ntstatus import NtStatus

_NO_SUCH_NAME: Final = frozenset(
    {
        NtStatus.STATUS_OBJECT_NAME_NOT_FOUND,
        NtStatus.STATUS_NO_SUCH_FILE,
        NtStatus.STATUS_DELETE_PENDING,
    }
)

_log = logging.getLogger(__name__)


class Absent(NamedTuple):
    """There is no such name."""

    timeout_s: float
    """Seconds for which the kernel may believe that."""


class Namespace:
    """The verbs about names. Each may raise ServerStatusError, Refused, InvalidName."""

    def __init__(self, state: MountState, removal: Removal, leases: FileLeases) -> None:
        self._state = state
        self._removal = removal
        self._leases = leases

    async def look_up(self, parent_number: int, name: bytes) -> Entry | Absent:
        """Return the entry of a name, or that there is none."""
        state = self._state
        parent = state.inodes.get(parent_number)
        known = await self._known(parent, name)
        if known is not None:
            if known.description is None:
                state.inodes.remove(parent, name)
                # A lease can be broken at any time, and the kernel would not hear of it.
                return Absent(0.0)
            return state.show_new(parent, name, known.description, known.left_s)
        try:
            description = await state.at_name(parent, name, state.describer.describe)
        except ServerStatusError as error:
            if error.status not in _NO_SUCH_NAME:
                raise
            state.inodes.remove(parent, name)
            return Absent(state.policy.negative_timeout_s)
        return state.show_new(parent, name, description)

    async def _known(self, parent: Inode, name: bytes) -> Answer | None:
        """Return what a listing of the directory says, reading it first when that pays."""
        state, names = self._state, self._state.known_names
        inode = state.inodes.child(parent, name)
        opened = state.handles.opened(inode) if inode is not None else None
        if opened is not None and opened.writable() is not None:
            return None  # Its writes reach the server at any time.
        answer = names.find(parent.number, name, trio.current_time())
        window_s = state.policy.entry_timeout_s
        if answer is not None or not window_s:
            return answer
        if names.should_read(parent.number, trio.current_time(), window_s=window_s):
            await self._read_names(parent)
        return names.find(parent.number, name, trio.current_time())

    async def _read_names(self, parent: Inode) -> None:
        state, names = self._state, self._state.known_names
        until_s = trio.current_time() + state.policy.entry_timeout_s
        key = names.lease_key(parent.number) or self._leases.key_for(None)
        reading = names.begin(parent.number)
        listing: Listing | None = None
        listed: list[Listed] | None = None
        try:
            directory = await state.at(
                parent, lambda path: state.share.open_directory(path, lease_key=key)
            )
            listing = Listing(state, self._removal, parent, directory)
            listed = await read_listing(listing, limit=ENTRIES_MAX)
        except ServerStatusError as error:
            _log.debug("listing for lookups: %s", error)
        finally:
            if listing is None or listed is None:
                names.give_up(reading, too_large=True)
                if listing is not None:
                    listing.directory.close_unwaited()
        if listing is not None and listed is not None:
            names.complete(
                reading,
                listed,
                listing.directory,
                is_whole=listing.is_whole,
                until_s=until_s,
            )

    def forget(self, number: int, count: int) -> None:
        """The kernel forgets an inode as often as ``count``."""
        self._state.inodes.forget(number, count)

    async def make_directory(self, parent_number: int, name: bytes, mode: int) -> Entry:
        """Make a directory with these permission bits (where the server has such)."""
        state = self._state
        parent = state.inodes.get(parent_number)
        stat = await state.at_name(
            parent, name, lambda path: changes.make_directory(state.share, path, mode)
        )
        state.changed(parent)
        return state.show_new(parent, name, Description(stat))

    async def remove_directory(self, parent_number: int, name: bytes) -> None:
        """Remove an empty directory."""
        state = self._state
        parent = state.inodes.get(parent_number)
        inode = state.inodes.child(parent, name)
        if inode is not None:
            state.known_names.forget(inode.number)
        await state.at_name(
            parent,
            name,
            lambda path: changes.remove(state.share, path, kind=CreateOptions.DIRECTORY_FILE),
        )
        state.inodes.remove(parent, name)
        state.changed(parent)

    async def remove_file(self, parent_number: int, name: bytes) -> None:
        """Remove a name; a file that is open here goes on until its last close."""
        state = self._state
        parent = state.inodes.get(parent_number)
        found = state.inodes.find(parent, name)
        inode = found[0] if found is not None else None
        opened = state.handles.opened(inode) if inode is not None else None
        if inode is not None:
            state.kept.close(inode)
        # A link to a directory may be a directory to the server.
        is_file = inode is not None and inode.file_type == S_IFREG
        kind = CreateOptions.NON_DIRECTORY_FILE if is_file else None

        async def remove(path: str) -> None:
            if opened is not None:
                await self._removal.remove_open(path, opened)
            else:
                await changes.remove(state.share, path, kind=kind)

        await state.at_name(parent, name, remove)
        state.inodes.remove(parent, name)
        state.changed(parent)
        if found is not None:
            state.changed(found[0])
            if found[1] != name:
                state.kernel.entry_changed(parent.number, found[1])

    async def link(self, number: int, parent_number: int, name: bytes) -> Entry:
        """Give a file a further name."""
        state = self._state
        inode = state.inodes.get(number)
        parent = state.inodes.get(parent_number)
        opened = state.handles.opened(inode)
        if opened is not None:
            await opened.settle()
        state.kept.close(inode)
        reparse = await reparse_point_of(state, inode)
        new_path = state.path_in(parent, name)
        with state.changing((parent, name)):
            stat = await state.at(inode, lambda path: changes.link(state.share, path, new_path))
        state.changed(inode)
        if reparse is not None:
            await repair_reparse_point(state, new_path, reparse)
            stat = (await state.share.stat(new_path)).stat
        description = await state.describer.complete(new_path, stat)
        state.changed(parent)
        return state.show_new(parent, name, description)
