"""Opening files: by a kept handle, by reading a small one at once, or by asking for a handle."""

from __future__ import annotations

import os
from functools import partial
from stat import S_IFREG
from typing import Final, NamedTuple

import trio

from smbfs.client.open import Open
from smbfs.errors import ServerStatusError
from smbfs.vfs.block_cache import Block
from smbfs.vfs.changes import end_of_file_request
from smbfs.vfs.descriptions import Description
from smbfs.vfs.direct_reader import DirectReader
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.handles import Handle, OpenFile
from smbfs.vfs.inodes import Inode
from smbfs.vfs.kept_handles import Kept
from smbfs.vfs.lease_policy import Version
from smbfs.vfs.read_ahead import FileReader
from smbfs.vfs.share import stat_of_open
from smbfs.vfs.small_file import SMALL_FILE_SIZE_MAX, SmallFile
from smbfs.vfs.state import Entry, MountState
from smbfs.vfs.write_gather import WriteGather
from smbfs.vfs.written_files import WrittenFile
from smbfs.wire.create import AccessMask, CreateDisposition
from smbfs.wire.ntstatus import NtStatus

READ_ACCESS: Final = AccessMask.READ_DATA
WRITE_ACCESS: Final = AccessMask.WRITE_DATA | AccessMask.APPEND_DATA | AccessMask.WRITE_ATTRIBUTES

_MAY_NOT_READ: Final = frozenset({NtStatus.STATUS_ACCESS_DENIED, NtStatus.STATUS_SHARING_VIOLATION})


class OpenedFile(NamedTuple):
    """What the kernel is told of an open file."""

    handle: int
    keep_pages: bool
    """The pages that the kernel has of an earlier open are still right."""
    use_pages: bool
    """Whether it may keep pages at all."""


class FileOpening:
    """The verbs that open files. May raise ServerStatusError, TransportError, Refused."""

    def __init__(self, state: MountState, leases: FileLeases) -> None:
        self._state = state
        self._leases = leases

    async def open(self, number: int, flags: int) -> OpenedFile:
        """Give out a handle of a known file, for reading or writing as ``flags`` say."""
        state = self._state
        inode = state.inodes.get(number)
        truncate = bool(flags & os.O_TRUNC) and _writes(flags)
        opened = state.handles.opened(inode)
        if opened is not None:
            await opened.settle()
        elif _writes(flags):
            state.kept.close(inode)
        else:
            kept = state.kept.take(inode)
            if kept is not None:
                return self._reopened(kept, number, flags)
            if self._is_small(inode):
                small = await self._open_small(inode, number, flags)
                if small is not None:
                    return small
        return await self._open_large(inode, number, flags, truncate=truncate)

    def _reopened(self, kept: Kept, number: int, flags: int) -> OpenedFile:
        handle = self._add_handle(kept.inode, number, kept.file, flags, kept.size)
        opened = self._state.handles.get(handle).opened
        opened.version, opened.keep_until_s = kept.version, kept.until_s
        keep_pages = self._state.policy.may_keep_pages(kept.inode.version, kept.version)
        kept.inode.version = kept.version
        return OpenedFile(handle, keep_pages, self._state.policy.use_page_cache)

    async def _open_large(
        self, inode: Inode, number: int, flags: int, *, truncate: bool
    ) -> OpenedFile:
        state = self._state
        # Elsewhere overwriting a file also drops its extended attributes and streams.
        overwrite = truncate and state.share.posix
        disposition = CreateDisposition.OVERWRITE if overwrite else CreateDisposition.OPEN
        key = self._leases.key_for(inode)
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
                await state.share.tree.request(end_of_file_request(file.file_id, 0))
                stat = await state.share.stat_open(file)
        except BaseException:
            file.close_unwaited()
            raise
        handle = self._add_handle(inode, number, file, flags, stat.size)
        if truncate:
            self._truncated(inode, number)
        return self._opened(inode, number, handle, Version(stat.size, stat.change_time))

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
        """Open a file; for reading, too, if it may be kept, for whoever opens it next."""
        open_for = partial(
            self._state.share.open,
            path,
            disposition=disposition,
            mode=mode,
            lease_key=lease_key,
            parent_lease_key=parent_lease_key,
        )
        access = _access(flags)
        if lease_key is None or _reads(flags):
            return await open_for(access)
        try:
            return await open_for(access | READ_ACCESS)
        except ServerStatusError as error:
            if error.status not in _MAY_NOT_READ:
                raise
        return await open_for(access)

    # ------------------------------------------------------------- small files

    def _is_small(self, inode: Inode) -> bool:
        return (
            self._state.policy.use_page_cache
            and inode.file_type == S_IFREG
            and 0 < inode.shown_size <= SMALL_FILE_SIZE_MAX
        )

    async def _open_small(self, inode: Inode, number: int, flags: int) -> OpenedFile | None:
        """Read a small file at once; None if it must be opened as any other."""
        key = self._leases.key_for(inode)
        if key is not None:
            return await self._read_leased(inode, number, flags, key)
        small = await self._read_unleased(inode)
        if small is None:
            return None
        version = Version(small.created.end_of_file, small.created.change_time)
        handle = self._add_handle(inode, number, small, flags, version.size)
        is_current = small.content_changes == inode.content_changes
        shown = self._opened(inode, number, handle, version)
        if is_current:  # What was forgotten just now is older than this.
            small.content_changes = inode.content_changes
        return shown

    async def _read_leased(
        self, inode: Inode, number: int, flags: int, key: bytes
    ) -> OpenedFile | None:
        """Open and read a file in one round trip, and keep both for as long as the lease lets us.

        None if the server finds fault with the key: then the file has another name, too.
        """
        state = self._state
        content_changes, asked_s = inode.content_changes, trio.current_time()
        try:
            file, contents = await state.at(
                inode,
                lambda path: state.share.open_and_read(path, SMALL_FILE_SIZE_MAX, lease_key=key),
            )
        except ServerStatusError as error:
            if error.status != NtStatus.STATUS_INVALID_PARAMETER:
                raise
            return None
        stat = stat_of_open(file.created)
        try:
            state.check_same(inode, Description(stat))
        except BaseException:
            file.close_unwaited()
            raise
        is_current = content_changes == inode.content_changes
        handle = self._add_handle(inode, number, file, flags, stat.size)
        shown = self._opened(inode, number, handle, Version(stat.size, stat.change_time))
        if is_current and len(contents) == stat.size:
            state.blocks.put(inode.number, 0, Block(contents, asked_s))
        return shown

    async def _read_unleased(self, inode: Inode) -> SmallFile | None:
        """Read a small file without keeping it open; None if it turns out to be empty."""
        state = self._state

        async def reopen() -> Open:
            file = await state.at(inode, lambda path: state.share.open(path, READ_ACCESS))
            try:
                state.check_same(inode, Description(stat_of_open(file.created)))
            except BaseException:
                file.close_unwaited()
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

    # ------------------------------------------------------------- new files

    async def create(
        self, parent_number: int, name: bytes, mode: int, flags: int
    ) -> tuple[OpenedFile, Entry]:
        """Make a file (or, without O_EXCL, open what is there) and open it."""
        state = self._state
        parent = state.inodes.get(parent_number)
        before = state.inodes.child(parent, name)
        if before is not None:
            state.kept.close(before)
        disposition = _disposition(flags)
        key = self._leases.key_for(before)
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
        try:
            entry = state.show_new(parent, name, Description(stat))
        except BaseException:
            file.close_unwaited()
            raise
        inode = state.inodes.get(entry.number)
        state.changed(parent)
        handle = self._add_handle(inode, entry.number, file, flags, stat.size)
        if disposition == CreateDisposition.OVERWRITE_IF:
            self._truncated(inode, entry.number)
        version = Version(stat.size, stat.change_time)
        return self._opened(inode, entry.number, handle, version), entry

    # ------------------------------------------------------------- what an open leaves behind

    def _add_handle(
        self, inode: Inode, number: int, file: Open | SmallFile, flags: int, size: int
    ) -> int:
        state = self._state
        state.kept.close(inode)  # While this open was under way, another one may have ended.
        opened = state.handles.opening(inode, size)
        opened.end = max(opened.end, size) if opened.is_dirty else size
        reader: FileReader | DirectReader | None = None
        gather: WriteGather | None = None
        if _reads(flags):
            reader = self._reader(opened, file)
        if _writes(flags):
            assert isinstance(file, Open)  # Small files are opened for reading.
            written = WrittenFile(state, opened, file)
            gather = WriteGather(
                file,
                nursery=state.nursery,
                budget=state.budget,
                on_written=written.written,
                write_last=written.write_last,
            )
        appends = bool(flags & os.O_APPEND)
        return state.handles.add(
            Handle(opened, file, inode_number=number, reader=reader, gather=gather, appends=appends)
        )

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
        )

    def _truncated(self, inode: Inode, number: int) -> None:
        opened = self._state.handles.opened(inode)
        if opened is not None:
            opened.end = 0
            opened.version = None
        inode.shown_size = 0
        self._state.content_changed(inode, number)

    def _opened(self, inode: Inode, number: int, handle: int, version: Version) -> OpenedFile:
        state = self._state
        if inode.shown_size not in {-1, version.size}:
            # It would read no further than where it thinks that the file ends.
            state.attributes.discard(inode.number)
            state.kernel.attributes_changed(number)
        keep = state.policy.may_keep_pages(inode.version, version)
        if inode.version != version:
            state.forget_content(inode)  # Somebody else has changed it.
        inode.version = version
        state.handles.get(handle).opened.version = version
        return OpenedFile(handle, keep, state.policy.use_page_cache)


def _reads(flags: int) -> bool:
    return flags & os.O_ACCMODE != os.O_WRONLY


def _writes(flags: int) -> bool:
    return flags & os.O_ACCMODE != os.O_RDONLY


def _access(flags: int) -> AccessMask:
    access = AccessMask(0)
    if _reads(flags):
        access |= READ_ACCESS
    if _writes(flags):
        access |= WRITE_ACCESS
    return access


def _disposition(flags: int) -> CreateDisposition:
    if flags & os.O_EXCL:
        return CreateDisposition.CREATE
    if flags & os.O_TRUNC:
        return CreateDisposition.OVERWRITE_IF
    return CreateDisposition.OPEN_IF
