"""Copying from one open file to another on the server.

Whatever it can't copy, or nobody knows whether it has copied, is refused as not supported: then the
kernel reads and writes instead, and the program hears from that what is wrong. So it matters only
that no copy is taken for what it is not.
"""

from __future__ import annotations

import logging
from typing import Final

import trio

from smbfs.client.copychunk import chunks_of, copy_chunks, resume_key
from smbfs.client.open import Open
from smbfs.errors import ServerStatusError, SmbfsError
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.handles import Handle
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.share import NOT_SUPPORTED
from smbfs.vfs.state import MountState
from smbfs.vfs.written_files import executed, executing

TURN_S: Final = 1.0
"""Seconds after which a part is told as done: who copies can't be interrupted before."""

_log = logging.getLogger(__name__)


class ServerCopy:
    """The verb that copies. It raises nothing but Refused."""

    def __init__(self, state: MountState, leases: FileLeases) -> None:
        self._state = state
        self._leases = leases

    async def copy(
        self, source_number: int, offset: int, target_number: int, target_offset: int, length: int
    ) -> int:
        """Copy up to ``length`` bytes between two handles; return how many, at least one.

        Raises: Refused (NOT_SUPPORTED): it has to be read and written. (BAD_HANDLE).
        """
        source = self._state.handles.get(source_number)
        target = self._state.handles.get(target_number)
        if source.reader is None or target.gather is None:
            raise Refused(Refusal.BAD_HANDLE, "not opened for this")
        done = 0
        try:
            for opened in (source.opened, target.opened):
                await opened.settle()  # What waits would be missing, or undo the copy.
            length = min(length, source.opened.end - offset)
            copied = await self._copy(source, offset, target, target_offset, length)
            if copied and not self._leases.are_exclusive(target.opened.inode):
                await _write_last(source, offset + copied, target, target_offset + copied)
            done = copied
        except SmbfsError as error:
            _log.info("not copied by the server: %s", error)
            if isinstance(error, ServerStatusError) and error.status in NOT_SUPPORTED:
                self._state.share.limits.copies = False
        if not done:
            raise Refused(Refusal.NOT_SUPPORTED, "copying on the server")
        return done

    async def _copy(
        self, source: Handle, offset: int, target: Handle, target_offset: int, length: int
    ) -> int:
        """Copy for as long as a turn takes, or until something goes wrong after the first part."""
        from_, to = source.file, target.file
        if not (self._state.share.limits.copies and isinstance(from_, Open)):
            return 0
        assert isinstance(to, Open)
        ends_s = trio.current_time() + TURN_S
        key = await resume_key(from_)
        done = 0
        while done < length and (not done or trio.current_time() < ends_s):
            chunks = chunks_of(offset + done, target_offset + done, length - done)
            start, size = target_offset + done, sum(chunk.length for chunk in chunks)
            try:
                with executing(self._state, target, start, start + size):
                    count = await copy_chunks(to, key, chunks)
            except SmbfsError:
                if not done:
                    raise
                return done  # Who asks again is told what is wrong.
            if count:
                executed(target, start, start + count)
            done += count
            if count < size:
                break
        return done


async def _write_last(source: Handle, end: int, target: Handle, target_end: int) -> None:
    """Write the last byte of a copy, which others have to hear of.

    Samba breaks no lease by copying, and tells who has no POSIX extensions no other time.
    """
    from_, to = source.file, target.file
    assert isinstance(from_, Open)
    assert isinstance(to, Open)
    last = await from_.read(end - 1, 1)
    if not last:
        raise Refused(Refusal.NOT_SUPPORTED, "copying from a file that others have cut")
    await to.write(target_end - 1, last)
