"""What an open leaves behind here: a handle, and what the kernel is told of it."""

from __future__ import annotations

import os
from functools import partial
from typing import NamedTuple

from smbfs.client.open import Open
from smbfs.vfs.contents import content_changed, seen
from smbfs.vfs.direct_reader import DirectReader
from smbfs.vfs.disk_cache import CachedFile
from smbfs.vfs.handles import Handle, OpenFile
from smbfs.vfs.inodes import Inode
from smbfs.vfs.lease_policy import Version, WriteRule
from smbfs.vfs.open_files_watch import OpenFilesWatch
from smbfs.vfs.read_ahead import FileReader
from smbfs.vfs.small_file import SMALL_FILE_SIZE_MAX, SmallFile
from smbfs.vfs.state import MountState
from smbfs.vfs.write_gather import WriteGather
from smbfs.vfs.written_files import written


class OpenedFile(NamedTuple):
    """What the kernel is told of an open file."""

    handle: int
    keep_pages: bool
    """The pages that the kernel has of an earlier open are still right."""
    use_pages: bool
    """Whether it may keep pages at all."""


class OpenedFiles:
    """Takes in what was opened."""

    def __init__(self, state: MountState) -> None:
        self._state = state
        self._watch = OpenFilesWatch(state)

    def add(
        self,
        inode: Inode,
        number: int,
        file: Open | SmallFile,
        flags: int,
        size: int,
        *,
        is_current: bool,
    ) -> int:
        """Make a handle of what the server has opened, or of contents, and return its number.

        ``is_current``: the content was not changed here since that was asked for; else nobody
        knows whether ``size`` is from before that.
        """
        state = self._state
        state.kept.close(inode)  # While this open was under way, another one may have ended.
        opened = state.handles.opening(inode, size)
        state.shown.opened(inode)
        self._watch.begin()
        if is_current and not opened.is_dirty:
            opened.end = opened.server_end = size
        else:
            opened.end = max(opened.end, size)
            opened.is_end_doubtful = True
        reader: FileReader | DirectReader | None = None
        gather: WriteGather | None = None
        if reads(flags):
            reader = self._reader(opened, file)
        if writes(flags):
            assert isinstance(file, Open)  # Small files are opened for reading.
            gather = WriteGather(
                file,
                nursery=state.nursery,
                budget=state.budget,
                rule=partial(_write_rule, state, file),
                on_written=partial(written, state, opened),
                on_lost=partial(state.writes_lost, inode),
            )
        return state.handles.add(
            Handle(opened, file, inode_number=number, reader=reader, gather=gather)
        )

    @property
    def _may_times_stand_still(self) -> bool:
        """Whether a server that gives no lease may tell the old time of a file that was changed.

        It gives none while somebody else writes. Samba tells who has no POSIX extensions nothing
        then of writes by who has them, for as long as anybody has the file open.
        """
        policy, share = self._state.policy, self._state.share
        is_told = share.posix or policy.is_loose
        return policy.use_leases and share.tree.grants_leases and not is_told

    def _reader(self, opened: OpenFile, file: Open | SmallFile) -> FileReader | DirectReader:
        state = self._state
        if not state.policy.use_page_cache:
            return DirectReader(file)
        return FileReader(
            file,
            state.blocks,
            opened.inode,
            size=opened.end,
            nursery=state.nursery,
            believe_s=state.policy.block_timeout_s,
            disk=self._on_disk(opened, file),
        )

    def _on_disk(self, opened: OpenFile, file: Open | SmallFile) -> CachedFile | None:
        """Return what is on disk of a file. Small ones come with the open."""
        disk, file_id = self._state.disk, opened.inode.file_id
        is_large = opened.end > SMALL_FILE_SIZE_MAX
        if disk is None or not file_id or not is_large or not isinstance(file, Open):
            return None
        return CachedFile(disk, self._state.share, file, file_id, lambda: opened.version)

    def truncated(self, inode: Inode, number: int, *, is_current: bool) -> None:
        """The open has cut the file to nothing; perhaps before what was written since it began."""
        opened = self._state.handles.opened(inode)
        if opened is not None:
            opened.end = opened.server_end = 0
            opened.is_all_ours = is_current
            opened.content = None
            opened.version = opened.server_version = None
        inode.shown_size = 0
        content_changed(self._state, inode, number)
        self._state.spoil_names(inode)

    def shown(
        self, inode: Inode, number: int, handle: int, version: Version, *, is_current: bool
    ) -> OpenedFile:
        """Return what the kernel is told of a handle whose file was of this version."""
        state = self._state
        if inode.shown_size not in {-1, version.size}:
            # It would read no further than where it thinks that the file ends.
            state.attributes.discard(inode.number)
            state.kernel.attributes_changed(number)
        keep = state.policy.may_keep_pages(inode.version, version)
        if inode.is_version_doubtful:
            keep = False
            state.blocks.discard_inode(inode.number)
        if inode.version != version:
            inode.content_changes += 1  # What is under way may be of the version before.
        state.blocks.believe(inode.number, version)
        seen(inode, version)
        opened = state.handles.get(handle).opened
        opened.version = opened.server_version = version if is_current else None
        if not opened.is_leased and self._may_times_stand_still:
            inode.is_version_doubtful = True
        return OpenedFile(handle, keep, state.policy.use_page_cache)


def _write_rule(state: MountState, file: Open) -> WriteRule:
    return state.policy.write_rule(is_ours=file.lease is not None and file.lease.may_write)


def reads(flags: int) -> bool:
    """Whether open flags ask for reading."""
    return flags & os.O_ACCMODE != os.O_WRONLY


def writes(flags: int) -> bool:
    """Whether open flags ask for writing."""
    return flags & os.O_ACCMODE != os.O_RDONLY
