"""Attributes: getattr, setattr and statfs.

A file that is open is asked about, and changed, through one of its handles where that matters: it
may have no name any more, and some servers note the time of a write only when the writing handle
is closed, which would undo a time that was set by path.
"""

from __future__ import annotations

from stat import S_IFDIR
from typing import Final, NamedTuple

import trio

from smbfs.errors import ServerStatusError
from smbfs.vfs import changes
from smbfs.vfs.changes import end_of_file_request, set_file_info
from smbfs.vfs.descriptions import Description
from smbfs.vfs.handles import Handle, OpenFile
from smbfs.vfs.inodes import Inode
from smbfs.vfs.names import NAME_SIZE_MAX
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.share import STAT_ACCESS
from smbfs.vfs.state import Entry, MountState
from smbfs.wire.create import FileAttributes, FileId
from smbfs.wire.filetime import ns_to_filetime
from smbfs.wire.fscc import (
    FileStat,
    decode_fs_full_size_information,
    decode_posix_fs_information,
    encode_basic_information,
)
from smbfs.wire.info import (
    FileInfoClass,
    FsInfoClass,
    InfoType,
    QueryInfoRequest,
    QueryInfoResponse,
)
from smbfs.wire.ntstatus import NtStatus

_WRITE_BITS: Final = 0o222

_MAY_NOT_GIVE_AWAY: Final = frozenset(
    {
        NtStatus.STATUS_ACCESS_DENIED,
        NtStatus.STATUS_INVALID_OWNER,
        NtStatus.STATUS_PRIVILEGE_NOT_HELD,
        NtStatus.STATUS_NONE_MAPPED,
    }
)


class AttributeChanges(NamedTuple):
    """What setattr shall change; None stays."""

    size: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


class FileSystemSpace(NamedTuple):
    """What statfs(2) tells. Blocks are of ``block_size`` bytes."""

    block_size: int
    blocks: int
    free_blocks: int
    available_blocks: int
    files: int
    free_files: int
    name_size_max: int


class AttributeVerbs:
    """The verbs about attributes. May raise ServerStatusError, TransportError, Refused."""

    def __init__(self, state: MountState) -> None:
        self._state = state

    async def get(self, number: int) -> Entry:
        """Return an inode's attributes."""
        state = self._state
        inode = state.inodes.get(number)
        opened = state.handles.opened(inode)
        if opened is not None:
            await opened.settle()
        known = state.attributes.get(inode.number, trio.current_time())
        if known is not None:
            return state.show(inode, known)
        description = await self._describe(inode, opened)
        return self._show(inode, description)

    async def set(self, number: int, wanted: AttributeChanges, handle_number: int | None) -> Entry:
        """Change attributes and return what they are then.

        What the server can't store is passed over in silence, as cifs.ko does: owners and most
        permission bits without POSIX extensions.
        """
        inode = self._state.inodes.get(number)
        try:
            return await self._set(inode, number, wanted, handle_number)
        finally:
            self._state.spoil_names(inode)

    async def _set(
        self, inode: Inode, number: int, wanted: AttributeChanges, handle_number: int | None
    ) -> Entry:
        state = self._state
        handle = state.handles.get(handle_number) if handle_number is not None else None
        opened = state.handles.opened(inode)
        if opened is not None:
            await opened.settle()
        state.kept.close(inode)
        state.changed(inode)
        stat: FileStat | None = None
        if wanted.size is not None:
            stat = await self._set_size(inode, opened, handle, wanted.size)
            state.content_changed(inode, number)
        if wanted.uid is not None or wanted.gid is not None:
            stat = await self._set_owner(inode, wanted.uid, wanted.gid) or stat
        if wanted.mode is not None:
            stat = await self._set_mode(inode, wanted.mode) or stat
        if wanted.atime_ns is not None or wanted.mtime_ns is not None:
            stat = await self._set_times(inode, opened, handle, wanted)
        if stat is None:
            return self._show(inode, await self._describe(inode, opened))
        if inode.file_type != S_IFDIR and self._needs_description(inode, stat):
            return self._show(inode, await self._describe(inode, opened))
        return self._show(inode, Description(stat))

    def _needs_description(self, inode: Inode, stat: FileStat) -> bool:
        return Description(stat).file_type != inode.file_type or (
            self._state.describer.is_open_question(stat)
        )

    def _show(self, inode: Inode, description: Description) -> Entry:
        self._state.check_same(inode, description)
        return self._state.show(inode, self._state.present(inode, description))

    async def _describe(self, inode: Inode, opened: OpenFile | None) -> Description:
        state = self._state
        if opened is not None and opened.handles:
            return Description(await state.share.stat_open(await opened.handles[0].server_file()))
        return await state.at(inode, state.describer.describe)

    # ------------------------------------------------------------- one attribute each

    async def _set_size(
        self, inode: Inode, opened: OpenFile | None, handle: Handle | None, size: int
    ) -> FileStat:
        state = self._state
        writer = opened.writable(handle) if opened is not None else None
        if writer is not None:
            file = await writer.server_file()
            await state.share.tree.request(end_of_file_request(file.file_id, size))
            stat = await state.share.stat_open(file)
        else:
            stat = await state.at(inode, lambda path: changes.set_size(state.share, path, size))
        if opened is not None:
            opened.end = size
        return stat

    async def _set_times(
        self,
        inode: Inode,
        opened: OpenFile | None,
        handle: Handle | None,
        wanted: AttributeChanges,
    ) -> FileStat:
        state = self._state
        access_time = ns_to_filetime(wanted.atime_ns) if wanted.atime_ns is not None else 0
        write_time = ns_to_filetime(wanted.mtime_ns) if wanted.mtime_ns is not None else 0
        writer = opened.writable(handle) if opened is not None else None
        if writer is None:
            return await state.at(
                inode,
                lambda path: changes.set_attributes(
                    state.share, path, access_time=access_time, write_time=write_time
                ),
            )
        data = encode_basic_information(access_time=access_time, write_time=write_time)
        file = await writer.server_file()
        await state.share.tree.request(set_file_info(FileInfoClass.BASIC, data, file.file_id))
        return await state.share.stat_open(file)

    async def _set_mode(self, inode: Inode, mode: int) -> FileStat | None:
        state = self._state
        if state.share.posix:
            return await state.at(inode, lambda path: changes.set_mode(state.share, path, mode))
        if inode.file_type == S_IFDIR:
            return None
        description = await self._describe(inode, state.handles.opened(inode))
        before = description.stat.attributes
        read_only = not mode & _WRITE_BITS
        if read_only == bool(before & FileAttributes.READONLY):
            return None
        after = before ^ FileAttributes.READONLY or FileAttributes.NORMAL
        return await state.at(
            inode,
            lambda path: changes.set_attributes(state.share, path, attributes=after),
        )

    async def _set_owner(self, inode: Inode, uid: int | None, gid: int | None) -> FileStat | None:
        state = self._state
        if not state.share.posix or state.rules.uid_forced or state.rules.gid_forced:
            return None
        now = await self._describe(inode, state.handles.opened(inode))
        shown = state.present(inode, now)
        uid = None if uid == shown.uid else uid
        gid = None if gid == shown.gid else gid
        if uid is None and gid is None:
            return None
        try:
            return await state.at(
                inode, lambda path: changes.set_owner(state.share, path, uid, gid)
            )
        except ServerStatusError as error:
            if error.status in _MAY_NOT_GIVE_AWAY:
                raise Refused(Refusal.NOT_PERMITTED, str(error)) from error
            raise

    # ------------------------------------------------------------- statfs

    async def space(self) -> FileSystemSpace:
        """Return how much room the share has."""
        share = self._state.share
        info_class = FsInfoClass.POSIX if share.posix else FsInfoClass.FULL_SIZE
        (answer,) = await share.compound(
            share.create_request(share.path(()), STAT_ACCESS),
            QueryInfoRequest(FileId.RELATED, InfoType.FILESYSTEM, info_class, 4096),
        )
        data = QueryInfoResponse.decode(answer).data
        if share.posix:
            told = decode_posix_fs_information(data)
            return FileSystemSpace(
                told.block_size or 1,
                _known(told.total_blocks),
                _known(told.available_blocks),
                _known(told.user_available_blocks),
                _known(told.total_files),
                _known(told.free_files),
                NAME_SIZE_MAX,
            )
        size = decode_fs_full_size_information(data)
        return FileSystemSpace(
            size.unit_size or 1,
            size.total_units,
            size.actual_available_units,
            size.caller_available_units,
            0,
            0,
            NAME_SIZE_MAX,
        )


def _known(number: int) -> int:
    """All ones means not known."""
    return 0 if number == 0xFFFF_FFFF_FFFF_FFFF else number
