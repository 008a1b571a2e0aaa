"""Opening files: by a kept handle, as a small file, or by asking the server for a handle."""

from __future__ import annotations

import os
from typing import Final

import trio

from smbfs.client.open import Open
from smbfs.client.tree_connect import READ_LEASE, WRITE_LEASE
from smbfs.vfs.attributes import has_privileges
from smbfs.vfs.changes import end_of_file_request
from smbfs.vfs.descriptions import Description
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.inodes import Inode
from smbfs.vfs.kept_handles import Kept
from smbfs.vfs.opened_files import OpenedFile, OpenedFiles, reads, writes
from smbfs.vfs.share import stat_of_open
from smbfs.vfs.shown import Entry
from smbfs.vfs.small_file_opening import SmallFileOpening
from smbfs.vfs.small_files_ahead import SmallFilesAhead
from smbfs.vfs.state import MountState
from smbfs.wire.create import AccessMask, CreateAction, CreateDisposition
from smbfs.wire.fscc import FileStat

READ_ACCESS: Final = AccessMask.READ_DATA
WRITE_ACCESS: Final = AccessMask.WRITE_DATA | AccessMask.APPEND_DATA | AccessMask.WRITE_ATTRIBUTES


class FileOpening:
    """The verbs that open files. May raise ServerStatusError, TransportError, Refused."""

    def __init__(self, state: MountState, leases: FileLeases) -> None:
        self._state = state
        self._leases = leases
        self._opened = OpenedFiles(state)
        self._small_files = SmallFileOpening(state, leases, self._opened)
        self._ahead = SmallFilesAhead(state, leases)

    async def open(self, number: int, flags: int) -> OpenedFile:
        """Give out a handle of a known file, for reading or writing as ``flags`` say."""
        state = self._state
        inode = state.inodes.get(number)
        truncate = bool(flags & os.O_TRUNC) and writes(flags)
        opened = state.handles.opened(inode)
        if opened is not None:
            await opened.settle()
        elif writes(flags):
            await state.kept.let_go(inode)
        else:
            if self._small_files.is_small(inode):
                self._ahead.opened(inode)
            await state.kept.arrived(inode)
            kept = state.kept.take(inode)
            if kept is not None:
                return self._reopened(kept, number, flags)
            small = await self._small_files.open(inode, number, flags)
            if small is not None:
                return small
        return await self._open_large(inode, number, flags, truncate=truncate)

    def _reopened(self, kept: Kept, number: int, flags: int) -> OpenedFile:
        handle = self._opened.add(kept.inode, number, kept.file, flags, kept.size, is_current=True)
        self._state.handles.get(handle).opened.keep_until_s = kept.until_s
        return self._opened.shown(kept.inode, number, handle, kept.version, is_current=True)

    async def _open_large(
        self, inode: Inode, number: int, flags: int, *, truncate: bool
    ) -> OpenedFile:
        state = self._state
        # Elsewhere overwriting a file also drops its extended attributes and streams.
        overwrite = truncate and state.share.posix
        disposition = CreateDisposition.OVERWRITE if overwrite else CreateDisposition.OPEN
        key, asked = self._leases.key_for(inode), state.directories.asking()
        content_changes = inode.content_changes
        file = await state.at(
            inode,
            lambda path: self._open_file(
                path,
                flags,
                disposition,
                lease_key=key,
                parent_lease_key=self._leases.parent_key(inode.parent),
            ),
        )
        stat = stat_of_open(file.created)
        try:
            state.check_same(inode, Description(stat))
            if truncate and not overwrite and stat.size:
                await state.share.tree.request(end_of_file_request(file.file_id, 0), of=file)
                stat = await state.share.stat_open(file)
        except BaseException:
            file.close_unwaited()
            raise
        is_current = content_changes == inode.content_changes
        handle = self._add(inode, number, file, flags, stat, is_current=is_current)
        if truncate:
            self._opened.truncated(inode, number, is_current=is_current)
        else:
            state.told_by_open(inode, stat, asked)
        version = state.share.version_of(stat)
        return self._opened.shown(inode, number, handle, version, is_current=is_current)

    def _add(
        self,
        inode: Inode,
        number: int,
        file: Open,
        flags: int,
        stat: FileStat,
        *,
        is_current: bool,
    ) -> int:
        handle_number = self._opened.add(
            inode, number, file, flags, stat.size, is_current=is_current
        )
        handle = self._state.handles.get(handle_number)
        handle.opened.told = stat, trio.current_time()
        if stat.mode is not None:  # Elsewhere there are no such bits.
            handle.sheds = has_privileges(stat.mode)
        return handle_number

    async def _open_file(
        self,
        path: str,
        flags: int,
        disposition: CreateDisposition,
        *,
        lease_key: bytes | None,
        parent_lease_key: bytes | None,
        mode: int = 0,
    ) -> Open:
        return await self._state.share.open(
            path,
            _access(flags),
            disposition=disposition,
            mode=mode,
            lease_key=lease_key,
            lease_wanted=WRITE_LEASE if writes(flags) else READ_LEASE,
            parent_lease_key=parent_lease_key,
        )

    # ------------------------------------------------------------- new files

    async def create(
        self, parent_number: int, name: bytes, mode: int, flags: int
    ) -> tuple[OpenedFile, Entry]:
        """Make a file (or, without O_EXCL, open what is there) and open it."""
        state = self._state
        parent = state.inodes.get(parent_number)
        before = state.inodes.child(parent, name)
        if before is not None:
            await state.kept.let_go(before)
        content_changes = before.content_changes if before is not None else 0
        disposition = _disposition(flags)
        key = self._leases.key_for(before)
        with state.directories.changing(parent.number, name) as change:
            file = await state.at_name(
                parent,
                name,
                lambda path: self._open_file(
                    path,
                    flags,
                    disposition,
                    lease_key=key,
                    parent_lease_key=self._leases.parent_key(parent),
                    mode=mode,
                ),
            )
            stat = stat_of_open(file.created)
            change.description = description = Description(stat)
        if file.created.create_action == CreateAction.CREATED:
            _disown(state, stat.file_id, parent, name)
        try:
            entry = state.shown.new(parent, name, description)
        except BaseException:
            file.close_unwaited()
            raise
        inode = state.inodes.get(entry.number)
        state.changed(parent)
        is_current = inode is not before or inode.content_changes == content_changes
        handle = self._add(inode, entry.number, file, flags, stat, is_current=is_current)
        if file.created.create_action == CreateAction.OVERWRITTEN:
            self._opened.truncated(inode, entry.number, is_current=is_current)
        version = state.share.version_of(stat)
        shown = self._opened.shown(inode, entry.number, handle, version, is_current=is_current)
        return shown, entry


def _disown(state: MountState, file_id: int, parent: Inode, name: bytes) -> None:
    """A file was made there: what is open here from memory alone, and had its id, is gone."""
    gone = state.inodes.numbers.of_id(file_id)
    if gone is not None and state.inodes.child(parent, name) is not gone:
        state.shown.attributes_lost(gone)
        state.inodes.disown(gone)


def _access(flags: int) -> AccessMask:
    access = AccessMask(0)
    if reads(flags):
        access |= READ_ACCESS
    if writes(flags):
        access |= WRITE_ACCESS
    return access


def _disposition(flags: int) -> CreateDisposition:
    if flags & os.O_EXCL:
        return CreateDisposition.CREATE
    if flags & os.O_TRUNC:
        return CreateDisposition.OVERWRITE_IF
    return CreateDisposition.OPEN_IF
