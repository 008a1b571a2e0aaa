"""Open files: reading, writing, flushing, closing.

Reads go through the handle's :class:`FileReader`, writes through its :class:`WriteGather`. What one
handle has gathered is sent before another one reads it, and every change drops the blocks that it
concerns.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack

from smbfs.client.open import Open
from smbfs.engine.leases import Lease
from smbfs.errors import SmbfsError
from smbfs.vfs.handles import Handle, OpenFile
from smbfs.vfs.kept_handles import Kept
from smbfs.vfs.lease_policy import is_young
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.removal import Removal
from smbfs.vfs.small_file import SMALL_FILE_SIZE_MAX, SmallFile
from smbfs.vfs.state import MountState
from smbfs.vfs.write_gather import WriteGather
from smbfs.vfs.written_files import changed, find_end, note_written
from smbfs.wire.message import Buffer

_log = logging.getLogger(__name__)


class Files:
    """The verbs about file contents. May raise ServerStatusError, TransportError, Refused."""

    def __init__(self, state: MountState, removal: Removal) -> None:
        self._state = state
        self._removal = removal

    # ------------------------------------------------------------- close

    async def release(self, number: int) -> None:
        """Close a handle, or keep it. Errors of its writes were told by the flush before."""
        handle = self._state.handles.get(number)
        is_kept = False
        try:
            if handle.gather is not None:
                await handle.gather.finish()
            is_kept = self._keep(handle, number)
        except SmbfsError as error:
            # Nobody waits for this answer.
            _log.warning("lost writes to inode %d: %s", handle.opened.inode.number, error)
            raise
        finally:
            if not is_kept:
                await self._close(handle, number)

    def _keep(self, handle: Handle, number: int) -> bool:
        """Keep the server's handle for whoever opens the file next, if that is allowed."""
        state, opened, file = self._state, handle.opened, handle.file
        lease = file.lease
        if not isinstance(file, Open) or lease is None or not state.policy.keep_handles:
            return False
        is_last = opened.handles == [handle] and not opened.is_removed
        # Others learn what was written when the handle that wrote is closed.
        is_clean = handle.gather is None and opened.version is not None
        if not (is_last and is_clean and lease.may_read and lease.may_keep_handle):
            return False
        assert opened.version is not None
        kept = Kept(opened.inode, file, opened.end, opened.version, opened.keep_until_s)
        state.kept.keep(kept)
        state.handles.remove(number)
        return True

    async def _close(self, handle: Handle, number: int) -> None:
        state, opened = self._state, handle.opened
        # Not earlier: as long as it is known, nobody trusts a listing about its file.
        state.handles.remove(number)
        if handle.reader is not None:
            handle.reader.close()
        is_remembered = isinstance(handle.file, SmallFile) and handle.file.is_remembered
        lease = handle.file.lease
        is_leased = lease is not None
        is_told = lease is not None and _will_be_told(opened, lease)
        is_current = is_remembered or is_told or state.policy.is_loose
        if not opened.handles and not is_current:
            state.blocks.discard_inode(opened.inode.number)
        try:
            if handle.gather is not None:
                await self._close_written(handle)
            else:
                await handle.file.close()
        finally:
            if is_leased and not opened.handles:
                state.shown.unleased(opened.inode)
            if not opened.handles:
                await self._removal.closed(opened)

    async def _close_written(self, handle: Handle) -> None:
        state, opened = self._state, handle.opened
        file = await handle.server_file()
        is_alone = file.lease is not None and file.lease.may_write
        asked = state.directories.asking()
        try:
            told = await file.close_and_query()
        finally:
            # What was told before may have been told without the time of the last write.
            state.shown.attributes_lost(opened.inode)
        if told is not None and not opened.handles:
            note_written(state, opened, file.created, told, asked, is_alone=is_alone)
        else:
            state.spoil_names(opened.inode)

    async def close_all(self) -> None:
        """Close what is still open when the mount ends; what fails is only logged."""
        for number in self._state.handles:
            gather = self._state.handles.get(number).gather
            if gather is not None:
                gather.send()  # All at once: there is not much time.
        for number in self._state.handles:
            try:
                await self.release(number)
            except SmbfsError as error:
                _log.warning("closing handle %d: %s", number, error)
        self._state.kept.close_all()

    # ------------------------------------------------------------- data

    async def read(self, number: int, offset: int, length: int) -> Buffer:
        """Return up to ``length`` bytes; fewer only at the end of the file."""
        handle = self._state.handles.get(number)
        if handle.reader is None:
            raise Refused(Refusal.BAD_HANDLE, "not opened for reading")
        if handle.opened.must_settle(offset, offset + length):
            await handle.opened.settle()
        return await handle.reader.read(offset, length)

    async def write(self, number: int, offset: int, data: Buffer, *, appends: bool = False) -> int:
        """Take ``data``; :meth:`flush` says whether the server got it.

        ``appends``: whether it goes to the end; the offset is where the kernel thinks that is.
        """
        handle = self._state.handles.get(number)
        if handle.gather is None:
            raise Refused(Refusal.BAD_HANDLE, "not opened for writing")
        opened, inode = handle.opened, handle.opened.inode
        # What another handle wrote there before must not reach the server after this.
        while (other := _overlapping(handle, offset, len(data))) is not None:
            await other.drain()
        position = offset
        is_shared = appends and self._others_may_append(handle)
        if is_shared:
            await find_end(self._state, handle)
        if appends and offset != opened.end:
            # The kernel appends where it thinks that the file ends; it does not.
            position = opened.end
            self._state.kernel.inode_changed(inode.number)
        end = position + len(data)
        opened.end = max(opened.end, end)
        inode.shown_size = max(inode.shown_size, offset + len(data))
        changed(self._state, handle, position, end)
        written = await handle.gather.write(position, data)
        if is_shared:
            await handle.gather.flush()  # The next one may be anybody's.
        return written

    def _others_may_append(self, handle: Handle) -> bool:
        """Whether the file may end elsewhere by now than we know."""
        lease = handle.file.lease
        is_ours = self._state.policy.is_loose or (lease is not None and lease.may_write)
        return handle.opened.is_end_doubtful or not is_ours

    async def flush(self, number: int) -> None:
        """Return when the server has what this handle wrote; raise what went wrong with it."""
        handle = self._state.handles.get(number)
        if handle.gather is not None:
            await handle.gather.flush()

    async def synchronise(self, number: int) -> None:
        """Return when the server has what this handle wrote on stable storage."""
        handle = self._state.handles.get(number)
        opened, share = handle.opened, self._state.share
        await opened.settle()  # Who asks need not be who has written.
        writer = opened.writable(handle)
        if writer is None or writer.gather is None:
            return
        if handle.gather is not None:
            await handle.gather.flush()
        changes = opened.inode.content_changes
        with ExitStack() as stack:
            for gather in filter(None, [each.gather for each in opened.handles]):
                stack.enter_context(gather.stabilising())  # It is one file to the server.
            body = await (await writer.server_file()).flush(share.stat_query())
        if body is not None and changes == opened.inode.content_changes:
            opened.server_version = share.version_of(share.decode_stat(body))


def _overlapping(handle: Handle, offset: int, length: int) -> WriteGather | None:
    """Return the writes of another handle of the file that this range overlaps, if there are."""
    for other in handle.opened.handles:
        gather = other.gather if other is not handle else None
        if gather is not None and gather.holds(offset, offset + length):
            return gather
    return None


def _will_be_told(opened: OpenFile, lease: Lease) -> bool:
    """Whether what was read of a file may outlive its last close.

    Nobody would tell of a change in the instant after its version was seen; and small files are
    opened from memory without asking, for which others must not have them open: what they write
    from now on breaks no lease that is left.
    """
    if opened.version is None or is_young(opened.version, time.time_ns()):
        return False
    return lease.may_read and (lease.may_keep_handle or opened.end > SMALL_FILE_SIZE_MAX)
