"""Opening small files for reading: from memory, or with their contents in the same round trip."""

from __future__ import annotations

from stat import S_IFREG
from typing import Final

import trio

from smbfs.client.open import Open
from smbfs.errors import ServerStatusError
from smbfs.vfs.attributes import present
from smbfs.vfs.descriptions import Description
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.inodes import Inode
from smbfs.vfs.kept_handles import KEEP_S
from smbfs.vfs.opened_files import OpenedFile, OpenedFiles
from smbfs.vfs.share import stat_of_open
from smbfs.vfs.small_file import SMALL_FILE_SIZE_MAX, SmallFile
from smbfs.vfs.small_file_reading import read_leased
from smbfs.vfs.state import MountState
from smbfs.wire.create import AccessMask
from smbfs.wire.fscc import FileStat
from smbfs.wire.ntstatus import NtStatus

_READ_ACCESS: Final = AccessMask.READ_DATA


class SmallFileOpening:
    """Opens small files. May raise ServerStatusError, TransportError, Refused."""

    def __init__(self, state: MountState, leases: FileLeases, opened: OpenedFiles) -> None:
        self._state = state
        self._leases = leases
        self._opened = opened

    async def open(self, inode: Inode, number: int, flags: int) -> OpenedFile | None:
        """Open a file for reading; None if it must be opened as any other."""
        if not self.is_small(inode):
            return None
        remembered = self._open_remembered(inode, number, flags)
        if remembered is not None:
            return remembered
        return await self._read(inode, number, flags)

    def is_small(self, inode: Inode) -> bool:
        """Whether the kernel believes that a file is small."""
        return (
            self._state.policy.use_page_cache
            and inode.file_type == S_IFREG
            and 0 < inode.shown_size <= SMALL_FILE_SIZE_MAX
        )

    async def _read(self, inode: Inode, number: int, flags: int) -> OpenedFile | None:
        """Read a small file at once; None if it must be opened as any other."""
        key = self._leases.key_for(inode)
        if key is not None:
            return await self._read_leased(inode, number, flags, key)
        read = await self._read_unleased(inode)
        if read is None:
            return None
        small, stat = read
        version = self._state.share.version_of(stat)
        is_current = small.content_changes == inode.content_changes
        handle = self._opened.add(inode, number, small, flags, version.size, is_current=is_current)
        shown = self._opened.shown(inode, number, handle, version, is_current=is_current)
        if is_current:  # What was forgotten just now is older than this.
            small.content_changes = inode.content_changes
        return shown

    async def _read_leased(
        self, inode: Inode, number: int, flags: int, key: bytes
    ) -> OpenedFile | None:
        """Open and read a file in one round trip, and keep both for as long as the lease lets us.

        None if the server finds fault with the key.
        """
        state = self._state
        read = await read_leased(state, inode, key)
        if read is None:
            return None
        is_current = read.content_changes == inode.content_changes
        handle = self._opened.add(
            inode, number, read.file, flags, read.stat.size, is_current=is_current
        )
        version = state.share.version_of(read.stat)
        shown = self._opened.shown(inode, number, handle, version, is_current=is_current)
        if not state.describer.is_open_question(read.stat):
            state.shown.told(inode, Description(read.stat), asked=read.asked)
        if is_current and read.is_whole:
            state.blocks.put(inode.number, 0, read.block, inode.version)
        return shown

    def _open_remembered(self, inode: Inode, number: int, flags: int) -> OpenedFile | None:
        """Open a small file that we have written or read ourselves, without asking.

        The lease on its directory would have told if somebody else had written to it since.
        """
        state = self._state
        parent, now_s = inode.parent, trio.current_time()
        if parent is None or inode.links:
            return None
        known, version = state.directories.of(parent.number), inode.version
        if version is None or known.is_watched or not known.left_s(now_s):
            return None
        block = state.blocks.whole(inode.number, version)
        if block is None:
            return None
        is_ours = inode.written_tick != -1
        if not is_ours and now_s > block.arrived_s + KEEP_S:
            return None  # Somebody may write to it and not have closed it yet.
        description = known.description_of(inode.name, inode.file_id)
        if description is None or description.stat.link_count > 1:
            return None
        if known.last_change(inode.name) != inode.written_tick:
            answer = known.find(inode.name, now_s)
            if answer is None or state.share.version_of(description.stat) != version:
                return None
        small = self._small_file(
            inode, block.data, version.size, now_s, inode.content_changes, is_remembered=True
        )
        handle = self._opened.add(inode, number, small, flags, version.size, is_current=True)
        opened = state.handles.get(handle).opened
        opened.version = version
        opened.as_opened = present(description.stat, state.rules)._replace(size=version.size)
        return OpenedFile(handle, keep_pages=True, use_pages=True)

    def _small_file(
        self,
        inode: Inode,
        contents: memoryview,
        size: int,
        asked_s: float,
        content_changes: int,
        *,
        is_remembered: bool = False,
    ) -> SmallFile:
        state = self._state

        async def reopen() -> Open:
            key = self._leases.key_for(inode)  # Or it would break the lease of a writer of ours.
            file = await state.at(
                inode, lambda path: state.share.open(path, _READ_ACCESS, lease_key=key)
            )
            try:
                state.check_same(inode, Description(stat_of_open(file.created)))
            except BaseException:
                file.close_unwaited()
                raise
            return file

        return SmallFile(
            state.share.tree,
            contents,
            size=size,
            is_remembered=is_remembered,
            inode=inode,
            content_changes=content_changes,
            asked_s=asked_s,
            believe_s=state.policy.block_timeout_s,
            reopen=reopen,
        )

    async def _read_unleased(self, inode: Inode) -> tuple[SmallFile, FileStat] | None:
        """Read a small file without keeping it open; None if it turns out to be empty."""
        state = self._state
        content_changes, asked_s = inode.content_changes, trio.current_time()
        try:
            created, contents = await state.at(
                inode, lambda path: state.share.read_small(path, SMALL_FILE_SIZE_MAX)
            )
        except ServerStatusError as error:
            if error.status != NtStatus.STATUS_END_OF_FILE:
                raise
            return None
        state.check_same(inode, Description(stat_of_open(created)))
        state.spoil_names(inode)
        stat = stat_of_open(created)
        small = self._small_file(inode, contents, stat.size, asked_s, content_changes)
        return small, stat
