"""Open files: opening, reading, writing, flushing, closing.

Reads go through the handle's :class:`FileReader`, writes through its :class:`WriteGather`. What one
handle has gathered is sent before another one reads, and every change drops what was read ahead.
"""

from __future__ import annotations

import logging
import os
from stat import S_IFREG
from typing import Final, NamedTuple

import trio

from smbfs.client.open import Open
from smbfs.errors import ServerStatusError, SmbfsError
from smbfs.vfs.changes import end_of_file_request
from smbfs.vfs.descriptions import Description
from smbfs.vfs.direct_reader import DirectReader
from smbfs.vfs.handles import Handle
from smbfs.vfs.inodes import Inode
from smbfs.vfs.lease_policy import Version
from smbfs.vfs.read_ahead import FileReader
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.removal import Removal
from smbfs.vfs.share import stat_of_open
from smbfs.vfs.small_file import SMALL_FILE_SIZE_MAX, SmallFile
from smbfs.vfs.state import Entry, MountState
from smbfs.vfs.write_gather import WriteGather
from smbfs.wire.create import AccessMask, CreateDisposition
from smbfs.wire.fscc import FileStat
from smbfs.wire.message import Buffer
from smbfs.wire.ntstatus import NtStatus

_READ_ACCESS: Final = AccessMask.READ_DATA
_WRITE_ACCESS: Final = AccessMask.WRITE_DATA | AccessMask.APPEND_DATA | AccessMask.WRITE_ATTRIBUTES

_log = logging.getLogger(__name__)


class OpenedFile(NamedTuple):
    """What the kernel is told of an open file."""

    handle: int
    keep_pages: bool
    """The pages that the kernel has of an earlier open are still right."""
    use_pages: bool
    """Whether it may keep pages at all."""


class Files:
    """The verbs about file contents. May raise ServerStatusError, TransportError, Refused."""

    def __init__(self, state: MountState, removal: Removal) -> None:
        self._state = state
        self._removal = removal

    # ------------------------------------------------------------- open and close

    async def open(self, number: int, flags: int) -> OpenedFile:
        """Give out a handle of a known file, for reading or writing as ``flags`` say."""
        state = self._state
        inode = state.inodes.get(number)
        opened = state.handles.opened(inode)
        if opened is not None:
            await opened.settle()
        elif self._is_small(inode) and not _writes(flags):
            small = await self._open_small(inode)
            if small is not None:
                stat = stat_of_open(small.created)
                handle = self._add_handle(inode, number, small, flags, stat)
                is_current = small.content_changes == inode.content_changes
                shown = self._opened(inode, handle, stat)
                if is_current:  # What was forgotten just now is older than this.
                    small.content_changes = inode.content_changes
                return shown
        truncate = bool(flags & os.O_TRUNC) and _writes(flags)
        # Elsewhere overwriting a file also drops its extended attributes and streams.
        overwrite = truncate and state.share.posix
        disposition = CreateDisposition.OVERWRITE if overwrite else CreateDisposition.OPEN
        file = await state.at(
            inode,
            lambda path: state.share.open(path, _access(flags), disposition=disposition),
        )
        stat = stat_of_open(file.created)
        try:
            state.check_same(inode, Description(stat))
            if truncate and not overwrite and stat.size:
                await state.share.tree.request(end_of_file_request(file.file_id, 0))
                stat = await state.share.stat_open(file)
        except BaseException:
            state.nursery.start_soon(_close_quietly, file)
            raise
        handle = self._add_handle(inode, number, file, flags, stat)
        if truncate:
            self._truncated(inode, number)
        return self._opened(inode, handle, stat)

    def _is_small(self, inode: Inode) -> bool:
        return (
            self._state.policy.use_page_cache
            and inode.file_type == S_IFREG
            and 0 < inode.shown_size <= SMALL_FILE_SIZE_MAX
        )

    async def _open_small(self, inode: Inode) -> SmallFile | None:
        """Read a small file at once; None if it turns out to be empty."""
        state = self._state

        async def reopen() -> Open:
            file = await state.at(inode, lambda path: state.share.open(path, _READ_ACCESS))
            try:
                state.check_same(inode, Description(stat_of_open(file.created)))
            except BaseException:
                state.nursery.start_soon(_close_quietly, file)
                raise
            return file

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
        return SmallFile(
            state.share.tree,
            created,
            contents,
            inode=inode,
            content_changes=content_changes,
            asked_s=asked_s,
            believe_s=state.policy.block_timeout_s,
            reopen=reopen,
        )

    async def create(
        self, parent_number: int, name: bytes, mode: int, flags: int
    ) -> tuple[OpenedFile, Entry]:
        """Make a file (or, without O_EXCL, open what is there) and open it."""
        state = self._state
        parent = state.inodes.get(parent_number)
        disposition = _disposition(flags)
        file = await state.at_name(
            parent,
            name,
            lambda path: state.share.open(path, _access(flags), disposition=disposition, mode=mode),
        )
        stat = stat_of_open(file.created)
        try:
            entry = state.show_new(parent, name, Description(stat))
        except BaseException:
            state.nursery.start_soon(_close_quietly, file)
            raise
        inode = state.inodes.get(entry.number)
        state.changed(parent)
        handle = self._add_handle(inode, entry.number, file, flags, stat)
        if disposition == CreateDisposition.OVERWRITE_IF:
            self._truncated(inode, entry.number)
        return self._opened(inode, handle, stat), entry

    def _add_handle(
        self, inode: Inode, number: int, file: Open | SmallFile, flags: int, stat: FileStat
    ) -> int:
        state = self._state
        opened = state.handles.opening(inode, stat.size)
        opened.end = max(opened.end, stat.size) if opened.is_dirty else stat.size
        reader: FileReader | DirectReader | None = None
        gather: WriteGather | None = None
        if _reads(flags):
            reader = self._reader(inode, file)
        if _writes(flags):
            assert isinstance(file, Open)  # Small files are opened for reading.
            gather = WriteGather(
                file,
                nursery=state.nursery,
                budget=state.budget,
                on_written=lambda: state.forget_content(inode),
            )
        appends = bool(flags & os.O_APPEND)
        return state.handles.add(
            Handle(opened, file, inode_number=number, reader=reader, gather=gather, appends=appends)
        )

    def _reader(self, inode: Inode, file: Open | SmallFile) -> FileReader | DirectReader:
        state = self._state
        if not state.policy.use_page_cache:
            return DirectReader(file)
        return FileReader(
            file,
            state.blocks,
            inode,
            nursery=state.nursery,
            believe_s=state.policy.block_timeout_s,
        )

    def _truncated(self, inode: Inode, number: int) -> None:
        opened = self._state.handles.opened(inode)
        if opened is not None:
            opened.end = 0
        inode.shown_size = 0
        self._state.content_changed(inode, number)

    def _opened(self, inode: Inode, handle: int, stat: FileStat) -> OpenedFile:
        version = Version(stat.size, stat.change_time)
        keep = self._state.policy.may_keep_pages(inode.version, version)
        if inode.version != version:
            self._state.forget_content(inode)  # Somebody else has changed it.
        inode.version = version
        return OpenedFile(handle, keep, self._state.policy.use_page_cache)

    async def release(self, number: int) -> None:
        """Close a handle. Errors of its writes were told by the flush before."""
        state = self._state
        handle = state.handles.get(number)
        try:
            if handle.gather is not None:
                await handle.gather.flush()
        except SmbfsError as error:
            # Nobody waits for this answer.
            _log.warning("lost writes to inode %d: %s", handle.opened.inode.number, error)
            raise
        finally:
            # Not earlier: as long as it is known, nobody trusts a listing about its file.
            state.handles.remove(number)
            if not handle.opened.handles:
                state.blocks.discard_inode(handle.opened.inode.number)
            await handle.file.close()
            if handle.gather is not None:
                state.spoil_names(handle.opened.inode)
            if not handle.opened.handles:
                await self._removal.closed(handle.opened)

    async def close_all(self) -> None:
        """Close what is still open when the mount ends; what fails is only logged."""
        for number in self._state.handles:
            try:
                await self.release(number)
            except SmbfsError as error:
                _log.warning("closing handle %d: %s", number, error)

    # ------------------------------------------------------------- data

    async def read(self, number: int, offset: int, length: int) -> Buffer:
        """Return up to ``length`` bytes; fewer only at the end of the file."""
        handle = self._state.handles.get(number)
        if handle.reader is None:
            raise Refused(Refusal.BAD_HANDLE, "not opened for reading")
        if handle.opened.is_dirty:
            await handle.opened.settle()
        return await handle.reader.read(offset, length)

    async def write(self, number: int, offset: int, data: Buffer) -> int:
        """Take ``data``; :meth:`flush` says whether the server got it."""
        handle = self._state.handles.get(number)
        if handle.gather is None:
            raise Refused(Refusal.BAD_HANDLE, "not opened for writing")
        opened, inode = handle.opened, handle.opened.inode
        # What another handle wrote there before must not reach the server after this.
        while (other := _overlapping(handle, offset, len(data))) is not None:
            await other.drain()
        position = offset
        if handle.appends and offset == inode.shown_size and offset != opened.end:
            # The kernel appends where it thinks that the file ends; it does not.
            position = opened.end
            self._state.kernel.inode_changed(inode.number)
        opened.end = max(opened.end, position + len(data))
        inode.shown_size = max(inode.shown_size, offset + len(data))
        self._state.content_changed(inode, handle.inode_number)
        return await handle.gather.write(position, data)

    async def flush(self, number: int) -> None:
        """Return when the server has what this handle wrote; raise what went wrong with it."""
        handle = self._state.handles.get(number)
        if handle.gather is not None:
            await handle.gather.flush()

    async def synchronise(self, number: int) -> None:
        """Return when the server has what this handle wrote on stable storage."""
        handle = self._state.handles.get(number)
        if handle.gather is not None:
            await handle.gather.flush()
            await (await handle.server_file()).flush()


def _overlapping(handle: Handle, offset: int, length: int) -> WriteGather | None:
    """Return the writes of another handle of the file that this range overlaps, if there are."""
    for other in handle.opened.handles:
        gather = other.gather if other is not handle else None
        if gather is not None and gather.holds(offset, offset + length):
            return gather
    return None


def _reads(flags: int) -> bool:
    return flags & os.O_ACCMODE != os.O_WRONLY


def _writes(flags: int) -> bool:
    return flags & os.O_ACCMODE != os.O_RDONLY


def _access(flags: int) -> AccessMask:
    access = AccessMask(0)
    if _reads(flags):
        access |= _READ_ACCESS
    if _writes(flags):
        access |= _WRITE_ACCESS
    return access


def _disposition(flags: int) -> CreateDisposition:
    if flags & os.O_EXCL:
        return CreateDisposition.CREATE
    if flags & os.O_TRUNC:
        return CreateDisposition.OVERWRITE_IF
    return CreateDisposition.OPEN_IF


async def _close_quietly(file: Open) -> None:
    try:
        await file.close()
    except SmbfsError as error:
        _log.debug("closing a file that was not wanted: %s", error)
