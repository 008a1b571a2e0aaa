"""Renaming, with what POSIX promises and servers do not: a target that is open or read-only.

Such a target is first moved out of the way, and back if the rename fails after all.
"""

from __future__ import annotations

import logging
from stat import S_IFDIR
from typing import Final, NamedTuple

from smbfs.errors import ServerStatusError, SmbfsError
from smbfs.vfs import changes
from smbfs.vfs.descriptions import Description
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.inodes import Inode, is_at_or_above
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.removal import Removal
from smbfs.vfs.reparse_repair import repair_reparse_point, reparse_point_of
from smbfs.vfs.share import LeaseKeys
from smbfs.vfs.state import MountState
from smbfs.wire.create import CreateOptions
from smbfs.wire.fscc import FileStat
from smbfs.wire.ntstatus import NtStatus

RENAME_NOREPLACE: Final = 1
"""Flag of renameat2(2): fail if the target exists."""

_TARGET_IN_THE_WAY: Final = frozenset(
    {
        NtStatus.STATUS_ACCESS_DENIED,
        NtStatus.STATUS_SHARING_VIOLATION,
        NtStatus.STATUS_OBJECT_NAME_COLLISION,
        NtStatus.STATUS_CANNOT_DELETE,
    }
)

_log = logging.getLogger(__name__)


class _Place(NamedTuple):
    """A name, and what is known to be there."""

    parent: Inode
    name: bytes
    inode: Inode | None


class Renames:
    """The verb ``rename``. May raise ServerStatusError, Refused, InvalidName."""

    def __init__(self, state: MountState, removal: Removal, leases: FileLeases) -> None:
        self._state = state
        self._removal = removal
        self._leases = leases

    async def rename(
        self, parent_number: int, name: bytes, new_parent_number: int, new_name: bytes, flags: int
    ) -> None:
        """Rename an entry, over what is at the new name unless RENAME_NOREPLACE.

        Raises: Refused (INVALID) for what no server does in one step (RENAME_EXCHANGE).
        """
        if flags & ~RENAME_NOREPLACE:
            raise Refused(Refusal.INVALID, "a rename of more than one file")
        state = self._state
        parent = state.inodes.get(parent_number)
        new_parent = state.inodes.get(new_parent_number)
        found = state.inodes.find(parent, name)
        old = _Place(parent, name, found[0] if found is not None else None)
        new = _Place(new_parent, new_name, self._target(new_parent, new_name, old.inode))
        with state.kept.expecting_nothing():
            await self._let_go(old.inode, new.inode)
            await self._rename(old, new, flags)

    def _target(self, parent: Inode, name: bytes, moving: Inode | None) -> Inode | None:
        """Return what is known to be at a name, in any spelling, and is not what moves there."""
        found = self._state.inodes.find(parent, name)
        return found[0] if found is not None and found[0] is not moving else None

    async def _rename(self, old: _Place, new: _Place, flags: int) -> None:
        state = self._state
        moving, target = old.inode, new.inode
        reparse = await reparse_point_of(state, moving) if moving is not None else None
        replaced = state.handles.opened(target) if target is not None else None
        if replaced is not None:
            await replaced.have_opened()
        keys = self._leases.keys(old.parent, moving)
        with (
            state.rename_gate.renaming(),
            state.directories.changing(old.parent.number, old.name) as left,
            state.directories.changing(new.parent.number, new.name) as arrived,
        ):
            old_path = state.path_in(old.parent, old.name)
            new_path = state.path_in(new.parent, new.name)
            if flags & RENAME_NOREPLACE:
                stat = await changes.rename(
                    state.share, old_path, new_path, replace=False, keys=keys
                )
            else:
                stat = await self._replace(old_path, new_path, target, keys)
            self._forget_spellings(old, new)
            moved = state.inodes.move(old.parent, old.name, new.parent, new.name, moving)
            left.is_gone = True
            await repair_reparse_point(state, new_path, reparse)
            if stat is not None and reparse is None and not state.describer.is_open_question(stat):
                arrived.description = Description(stat)
        for inode in (old.parent, new.parent, moved, target):
            if inode is not None:
                state.changed(inode, told=(new.parent, new.name))

    def _forget_spellings(self, old: _Place, new: _Place) -> None:
        """Have the kernel look up again what it knows by another spelling of either name."""
        inodes = self._state.inodes
        for place in (old, new):
            found = inodes.find(place.parent, place.name)
            if found is not None and found[1] != place.name and found[0] is place.inode:
                self._state.kernel.entry_changed(place.parent.number, found[1])
                if place is new:
                    inodes.remove(place.parent, found[1])
        if new.inode is not None:
            self._state.shown.attributes_lost(new.inode)

    async def _let_go(self, moving: Inode | None, target: Inode | None) -> None:
        """Let no handle that nobody uses be in the way."""
        state = self._state
        if moving is None or moving.file_type == S_IFDIR:
            # Servers don't move a directory in which something is open.
            await state.kept.let_go_of_all()
            find = state.inodes.numbers.get
            state.directories.forget_where(
                lambda number: moving is None or is_at_or_above(moving, find(number))
            )
            return
        await state.kept.let_go(moving)
        if target is not None:
            await state.kept.let_go(target)

    async def _replace(
        self, old_path: str, new_path: str, target: Inode | None, keys: LeaseKeys | None
    ) -> FileStat | None:
        share = self._state.share
        try:
            return await changes.rename(share, old_path, new_path, replace=True, keys=keys)
        except ServerStatusError as error:
            if target is None or error.status not in _TARGET_IN_THE_WAY:
                raise
            is_open = self._state.handles.opened(target) is not None
            if share.posix and not is_open:
                raise  # The server means it.
            if target.file_type == S_IFDIR:
                await self._replace_directory(old_path, new_path)
            elif not await self._replace_aside(old_path, new_path, target):
                raise
        return None

    async def _replace_directory(self, old_path: str, new_path: str) -> None:
        """Rename a directory over an empty one, for servers that don't."""
        share = self._state.share
        await changes.remove(share, new_path, kind=CreateOptions.DIRECTORY_FILE)
        try:
            await changes.rename(share, old_path, new_path, replace=False)
        except SmbfsError:
            await changes.make_directory(share, new_path, 0o777)
            raise

    async def _replace_aside(self, old_path: str, new_path: str, target: Inode) -> bool:
        """Move the target away, rename, remove the target; False if it can't be moved."""
        share = self._state.share
        aside = self._removal.hidden_path(new_path)
        try:
            await changes.rename(share, new_path, aside, replace=False)
        except ServerStatusError:
            return False
        try:
            await changes.rename(share, old_path, new_path, replace=False)
        except SmbfsError:
            await changes.rename(share, aside, new_path, replace=False)
            raise
        try:
            await self._removal.remove_open(aside, self._state.handles.opened(target))
        except ServerStatusError as error:
            _log.warning("%s was replaced, but stays as %s: %s", new_path, aside, error)
        return True
