"""Names: looking them up, making and removing directories, linking and removing files."""

from __future__ import annotations

from stat import S_IFDIR, S_IFREG
from typing import Final, NamedTuple

import trio

from smbfs.errors import ServerStatusError
from smbfs.vfs import changes
from smbfs.vfs.descriptions import Description
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.inodes import Inode
from smbfs.vfs.known_directory import Answer
from smbfs.vfs.listings import Listings
from smbfs.vfs.removal import Removal
from smbfs.vfs.reparse_repair import repair_reparse_point, reparse_point_of
from smbfs.vfs.shown import Entry
from smbfs.vfs.state import MountState
from smbfs.wire.create import CreateOptions
from smbfs.wire.ntstatus import NtStatus

_NO_SUCH_NAME: Final = frozenset(
    {
        NtStatus.STATUS_OBJECT_NAME_NOT_FOUND,
        NtStatus.STATUS_NO_SUCH_FILE,
        NtStatus.STATUS_DELETE_PENDING,
    }
)


class Absent(NamedTuple):
    """There is no such name."""

    timeout_s: float
    """Seconds for which the kernel may believe that."""


class Namespace:
    """The verbs about names. Each may raise ServerStatusError, Refused, InvalidName."""

    def __init__(
        self, state: MountState, removal: Removal, leases: FileLeases, listings: Listings
    ) -> None:
        self._state = state
        self._removal = removal
        self._leases = leases
        self._listings = listings

    async def look_up(self, parent_number: int, name: bytes) -> Entry | Absent:
        """Return the entry of a name, or that there is none. Raises: InvalidName."""
        state = self._state
        parent = state.inodes.get(parent_number)
        known = await self._known(parent, name)
        if known is not None:
            if known.description is None:
                state.share.names.to_server(name)  # Nobody asks for what is no name.
                state.inodes.remove(parent, name)
                # A lease can be broken at any time, and the kernel would not hear of it.
                return Absent(0.0)
            return state.shown.new(parent, name, known.description, left_s=known.left_s)
        asked = state.directories.asking()
        try:
            description = await state.at_name(parent, name, state.describer.describe)
        except ServerStatusError as error:
            if error.status not in _NO_SUCH_NAME:
                raise
            state.inodes.remove(parent, name)
            return Absent(state.policy.negative_timeout_s)
        return state.shown.new(parent, name, description, asked=asked)

    async def _known(self, parent: Inode, name: bytes) -> Answer | None:
        """Return what a listing of the directory says, reading it first when that pays."""
        state, directories = self._state, self._state.directories
        inode = state.inodes.child(parent, name)
        opened = state.handles.opened(inode) if inode is not None else None
        if opened is not None and opened.writable() is not None:
            return None  # Its writes reach the server at any time.
        answer = directories.of(parent.number).find(name, trio.current_time())
        if answer is None:
            await self._listings.ahead_of_question(parent)
            answer = directories.of(parent.number).find(name, trio.current_time())
        if answer is None or self._has_another_name(parent, name, answer.description):
            return None
        return answer

    def _has_another_name(
        self, parent: Inode, name: bytes, description: Description | None
    ) -> bool:
        """Whether a file may be changed by another name, which a listing does not hear of."""
        if description is None or description.file_type == S_IFDIR:
            return False
        inode = self._state.inodes.numbers.of_id(description.stat.file_id)
        found = self._state.inodes.find(parent, name)
        is_known_elsewhere = inode is not None and (found is None or found[0] is not inode)
        return is_known_elsewhere or description.stat.link_count > 1

    def forget(self, number: int, count: int) -> None:
        """The kernel forgets an inode as often as ``count``."""
        self._state.inodes.forget(number, count)

    async def make_directory(self, parent_number: int, name: bytes, mode: int) -> Entry:
        """Make a directory with these permission bits (where the server has such)."""
        state = self._state
        parent = state.inodes.get(parent_number)
        keys = self._leases.keys(parent, None)
        with state.directories.changing(parent.number, name) as change:
            stat = await state.at_name(
                parent,
                name,
                lambda path: changes.make_directory(state.share, path, mode, keys=keys),
            )
            change.description = description = Description(stat)
        state.changed(parent)
        return state.shown.new(parent, name, description)

    async def remove_directory(self, parent_number: int, name: bytes) -> None:
        """Remove an empty directory."""
        state = self._state
        parent = state.inodes.get(parent_number)
        inode = state.inodes.child(parent, name)
        if inode is not None:
            state.directories.forget(inode.number)
        keys = self._leases.keys(parent, None)
        kind = CreateOptions.DIRECTORY_FILE
        with state.directories.changing(parent.number, name) as change:
            await state.at_name(
                parent,
                name,
                lambda path: changes.remove(state.share, path, kind=kind, keys=keys),
            )
            change.is_gone = True
        state.inodes.remove(parent, name)
        state.changed(parent)

    async def remove_file(self, parent_number: int, name: bytes) -> None:
        """Remove a name; a file that is open here goes on until its last close."""
        state = self._state
        parent = state.inodes.get(parent_number)
        found = state.inodes.find(parent, name)
        inode, opened = None, None
        if found is not None:
            inode = found[0]
            if state.kept.has(inode):
                await state.kept.let_go(inode)
            opened = state.handles.opened(inode)
        # A link to a directory may be a directory to the server.
        is_file = inode is not None and inode.file_type == S_IFREG
        kind = CreateOptions.NON_DIRECTORY_FILE if is_file else None
        keys = self._leases.keys(parent, inode)

        if opened is not None:
            await opened.have_opened()

        async def remove(path: str) -> None:
            if opened is not None:
                await self._removal.remove_open(path, opened, keys=keys)
            else:
                await changes.remove(state.share, path, kind=kind, keys=keys)

        with state.directories.changing(parent.number, name) as change:
            await state.at_name(parent, name, remove)
            change.is_gone = True
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
        await state.kept.let_go(inode)
        reparse = await reparse_point_of(state, inode)
        new_path = state.path_in(parent, name)
        keys = self._leases.keys(parent, inode)
        with state.directories.changing(parent.number, name) as change:
            stat = await state.at(
                inode, lambda path: changes.link(state.share, path, new_path, keys=keys)
            )
            state.changed(inode)
            if reparse is not None:
                await repair_reparse_point(state, new_path, reparse)
                stat = (await state.share.stat(new_path)).stat
            description = await state.describer.complete(new_path, stat)
            change.description = description
        state.changed(parent)
        return state.shown.new(parent, name, description)
