"""Attributes: getattr and setattr.

A file that is open is asked about, and changed, through one of its handles where that matters: it
may have no name any more, and some servers note the time of a write only when the writing handle
is closed, which would undo a time that was set by path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from stat import S_IFDIR, S_IMODE
from typing import Final, NamedTuple

import trio

from smbfs.errors import HandleLost, ServerStatusError
from smbfs.vfs import changes, permissions
from smbfs.vfs.attributes import Attributes, has_privileges, present, without_privileges
from smbfs.vfs.changes import end_of_file_request, set_file_info
from smbfs.vfs.contents import content_changed, forget_content
from smbfs.vfs.descriptions import Description
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.handles import Handle, OpenFile
from smbfs.vfs.inodes import Inode
from smbfs.vfs.listings import Listings
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.share import LeaseKeys
from smbfs.vfs.shown import Entry
from smbfs.vfs.state import MountState, at_open
from smbfs.wire.create import FileAttributes
from smbfs.wire.filetime import ns_to_filetime
from smbfs.wire.fscc import FileStat, encode_basic_information
from smbfs.wire.info import FileInfoClass
from smbfs.wire.ntstatus import NtStatus

TOLD_S: Final = 1.0
"""Seconds for which a file has the mode and owner that the server has told, if nobody else has it
open to change them."""

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


class AttributeVerbs:
    """The verbs about attributes. May raise ServerStatusError, TransportError, Refused."""

    def __init__(self, state: MountState, leases: FileLeases, listings: Listings) -> None:
        self._state = state
        self._leases = leases
        self._listings = listings
        self._root: Entry | None = None
        """What the root was when last seen."""

    async def get(self, number: int) -> Entry:
        """Return an inode's attributes.

        Who looks for mounts is told of the root what it was, while the server is away.
        """
        inode = self._state.inodes.get(number)
        if inode is not self._state.inodes.root:
            return await self._get(inode)
        if self._root is not None and self._is_server_away:
            return self._root
        entry = await self._get(inode)
        self._root = Entry(entry.number, entry.attributes, 0.0, 0.0)
        return entry

    async def _get(self, inode: Inode) -> Entry:
        state = self._state
        opened = state.handles.opened(inode)
        if opened is not None:
            await opened.settle()
        remembered = None
        if opened is not None and opened.is_remembered:
            remembered, opened = opened.as_opened, None  # The server has not opened it.
        known = state.shown.known(inode)
        if known is None and opened is None:
            if inode.file_type == S_IFDIR:
                await self._lease(inode)
            elif inode.parent is not None:
                await self._listings.ahead_of_question(inode.parent)
            known = state.shown.known(inode)
        if known is not None:
            return known
        asked, at_s = state.directories.asking(), _asked_s(opened)
        by_path = opened is None or not opened.handles
        with state.questions.asking(inode.number) as question:
            try:
                description = await self._describe(inode, opened)
                state.check_same(inode, description)
            except Refused as refused:
                if refused.reason != Refusal.STALE or remembered is None:
                    raise
                return self._gone(inode, remembered)
        told = state.shown.told(inode, description, asked=asked, asked_s=at_s, is_by_path=by_path)
        if not question.is_overtaken:
            return told
        state.attributes.discard(inode.number)
        return Entry(told.number, told.attributes, 0.0, 0.0)

    @property
    def _is_server_away(self) -> bool:
        return self._state.share.tree.line.ready is None

    def _gone(self, inode: Inode, remembered: Attributes) -> Entry:
        """Show a file that somebody else has removed, and that is open here in memory alone."""
        for parent, name in inode.names():
            self._state.kernel.entry_changed(parent.number, name)
        return Entry(inode.number, remembered._replace(link_count=0), 0.0, 0.0)

    async def _lease(self, inode: Inode) -> None:
        """Lease a directory: opening it tells what it is, and that is then known for longer."""
        known = self._state.directories.of(inode.number)
        if self._state.policy.lease_directories and known.may_be_leased:
            await self._listings.arm(inode)

    async def set(self, number: int, wanted: AttributeChanges, handle_number: int | None) -> Entry:
        """Change attributes and return what they are then.

        What the server can't store is passed over in silence, as cifs.ko does: owners and most
        permission bits without POSIX extensions.
        """
        state = self._state
        inode = state.inodes.get(number)
        handle = state.handles.get(handle_number) if handle_number is not None else None
        opened = state.handles.opened(inode)
        if opened is not None:
            await opened.settle()
        if opened is not None and self._is_as_wanted(opened, wanted):
            # Who unpacks or copies files gives each a mode and an owner, mostly what it has.
            known = state.shown.known(inode)
            if known is not None:
                return Entry(known.number, known.attributes, 0.0, 0.0)
        await state.kept.let_go(inode)
        if opened is not None:
            opened.told = None
            if wanted.size is None and not opened.keeps_its_name:
                await state.prove_name(inode)  # The kernel does not tell whether a name was used.
        state.changed(inode)
        changes_rights = (wanted.mode, wanted.uid, wanted.gid) != (None, None, None)
        if changes_rights:
            forget_content(state, inode)  # The server may let us read it no more.
        with state.changing(inode) as change:
            try:
                description = await self._set(inode, number, opened, handle, wanted)
            finally:
                if inode.file_type == S_IFDIR and changes_rights:
                    # We may look into it no more, or only now see what is in it.
                    state.directories.forget(inode.number)
            state.check_same(inode, description)
            change.description = description
        entry = state.shown.told(inode, description, asked=None)
        opened = state.handles.opened(inode)  # Perhaps only since.
        if opened is not None:
            opened.told = description.stat, trio.current_time()
            for each in opened.handles if wanted.mode is not None else ():
                each.sheds = has_privileges(entry.attributes.mode)
        return entry

    def _is_as_wanted(self, opened: OpenFile, wanted: AttributeChanges) -> bool:
        """Whether all that shall be set is a mode and an owner which a file has on the server.

        That has to be told under a lease that nobody else can change them under, and just now
        (``TOLD_S``): what is changed on the server's own disk breaks none.
        """
        state = self._state
        if opened.told is None or not self._leases.are_exclusive(opened.inode):
            return False
        stat, told_s = opened.told
        if trio.current_time() - told_s > min(TOLD_S, state.policy.timeout_s):
            return False
        if stat.mode is None or has_privileges(stat.mode):  # The server takes these away itself.
            return False
        shown = present(stat, state.rules)
        has_owner = wanted.uid in (None, shown.uid) and wanted.gid in (None, shown.gid)
        has_mode = wanted.mode is None or S_IMODE(wanted.mode) == S_IMODE(stat.mode)
        rest = wanted._replace(mode=None, uid=None, gid=None)
        return has_owner and has_mode and rest == AttributeChanges()

    async def shed_by(self, handle_number: int) -> None:
        """Take setuid and setgid bits away from what somebody writes to who may not keep them.

        Most servers do so themselves, but not for everybody, and some for nobody.
        """
        state = self._state
        handle = state.handles.get(handle_number)
        if handle.sheds:
            await self.shed(await self.get(handle.inode_number))
            handle.sheds = False
            state.kernel.attributes_changed(handle.inode_number)

    async def shed(self, entry: Entry) -> Entry:
        """Take setuid and setgid bits away, if there are any, and return what there is then.

        A server that lets us write to somebody else's file, but not change its mode, is left to
        do so itself: it knows that it is not the owner who writes.
        """
        mode = entry.attributes.mode
        if not has_privileges(mode):
            return entry
        bits = S_IMODE(without_privileges(mode))
        try:
            return await self.set(entry.number, AttributeChanges(mode=bits), None)
        except ServerStatusError as error:
            if error.status != NtStatus.STATUS_ACCESS_DENIED:
                raise
            return entry

    async def _set(
        self,
        inode: Inode,
        number: int,
        opened: OpenFile | None,
        handle: Handle | None,
        wanted: AttributeChanges,
    ) -> Description:
        state = self._state
        stat: FileStat | None = None
        if wanted.size is not None:
            stat = await self._set_size(inode, opened, handle, wanted.size)
            content_changed(state, inode, number)
        if wanted.uid is not None or wanted.gid is not None:
            stat = await self._set_owner(inode, wanted.uid, wanted.gid) or stat
        if wanted.mode is not None:
            stat = await self._set_mode(inode, wanted.mode) or stat
        if wanted.atime_ns is not None or wanted.mtime_ns is not None:
            stat = await self._set_times(inode, opened, handle, wanted)
        if stat is None:
            return await self._describe(inode, opened)
        if inode.file_type != S_IFDIR and self._needs_description(inode, stat):
            return await self._describe(inode, opened)
        return Description(stat)

    def _needs_description(self, inode: Inode, stat: FileStat) -> bool:
        return Description(stat).file_type != inode.file_type or (
            self._state.describer.is_open_question(stat)
        )

    async def _describe(self, inode: Inode, opened: OpenFile | None) -> Description:
        state = self._state
        if opened is not None and opened.handles:
            # What was lost, or closed meanwhile, may be there by its path.
            with suppress(HandleLost):
                file = await opened.best_handle().server_file()
                return Description(await state.share.stat_open(file))
        return await state.at(inode, state.describer.describe)

    # ------------------------------------------------------------- one attribute each

    async def _set_size(
        self, inode: Inode, opened: OpenFile | None, handle: Handle | None, size: int
    ) -> FileStat:
        state = self._state
        stat = None
        writer = opened.writable(handle) if opened is not None else None
        if writer is not None:
            with _suppressing_loss(of_another=writer is not handle):
                file = await writer.server_file()
                await state.share.tree.request(end_of_file_request(file.file_id, size), of=file)
                stat = await state.share.stat_open(file)
        if stat is None:
            keys = self._keys(inode)
            stat = await at_open(
                state, inode, lambda path: changes.set_size(state.share, path, size, keys=keys)
            )
        if opened is not None:
            opened.server_version = state.share.version_of(stat)
            opened.end = opened.server_end = size
            opened.content = None
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
        if writer is not None:
            data = encode_basic_information(access_time=access_time, write_time=write_time)
            with _suppressing_loss(of_another=writer is not handle):
                file = await writer.server_file()
                times = set_file_info(FileInfoClass.BASIC, data, file.file_id)
                return await changes.change_open(state.share, file, times)
        keys = self._keys(inode)
        return await at_open(
            state,
            inode,
            lambda path: permissions.set_times(
                state.share, path, access_time, write_time, keys=keys
            ),
        )

    async def _set_mode(self, inode: Inode, mode: int) -> FileStat | None:
        state = self._state
        keys = self._keys(inode)
        if state.share.posix:
            return await at_open(
                state, inode, lambda path: permissions.set_mode(state.share, path, mode, keys=keys)
            )
        if inode.file_type == S_IFDIR:
            return None
        description = await self._describe(inode, state.handles.opened(inode))
        before = description.stat.attributes
        read_only = not mode & _WRITE_BITS
        if read_only == bool(before & FileAttributes.READONLY):
            return None
        after = before ^ FileAttributes.READONLY or FileAttributes.NORMAL
        return await at_open(
            state,
            inode,
            lambda path: changes.set_attributes(state.share, path, attributes=after, keys=keys),
        )

    def _keys(self, inode: Inode) -> LeaseKeys | None:
        return self._leases.keys(inode.parent, inode)

    async def _set_owner(self, inode: Inode, uid: int | None, gid: int | None) -> FileStat | None:
        state = self._state
        if not state.share.posix or state.rules.uid_forced or state.rules.gid_forced:
            return None
        now = await self._describe(inode, state.handles.opened(inode))
        shown = state.shown.present(inode, now)
        uid = None if uid == shown.uid else uid
        gid = None if gid == shown.gid else gid
        if uid is None and gid is None:
            return now.stat
        keys = self._keys(inode)
        try:
            return await at_open(
                state,
                inode,
                lambda path: permissions.set_owner(state.share, path, uid, gid, keys=keys),
            )
        except ServerStatusError as error:
            if error.status in _MAY_NOT_GIVE_AWAY:
                raise Refused(Refusal.NOT_PERMITTED, str(error)) from error
            raise


def _asked_s(opened: OpenFile | None) -> float:
    """Return the time, if the server has all that was written to a file until now; else 0."""
    return 0.0 if opened is not None and opened.is_dirty else trio.current_time()


@contextmanager
def _suppressing_loss(*, of_another: bool) -> Iterator[None]:
    """Let a handle of another program be lost, or closed just now: there is another way.

    Who uses its own has to hear of it.
    """
    try:
        yield
    except HandleLost:
        if not of_another:
            raise
