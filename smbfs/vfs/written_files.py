"""What we know of a file because we have just written it.

With the last bytes before a close, the server is asked in the same frame what the file is now. So
the next `stat` costs no round trip, and the handle can be kept together with the version that the
contents are of. The contents of a small file are remembered, too: they are often read next.
"""

from __future__ import annotations

import trio

from smbfs.client.open import Open
from smbfs.vfs.block_cache import Block
from smbfs.vfs.descriptions import Description
from smbfs.vfs.handles import OpenFile
from smbfs.vfs.lease_policy import Version
from smbfs.vfs.small_file import SMALL_FILE_SIZE_MAX
from smbfs.vfs.state import MountState
from smbfs.wire.fscc import FileStat
from smbfs.wire.message import Buffer


class WrittenFile:
    """Takes note of the writes of one handle."""

    def __init__(self, state: MountState, opened: OpenFile, file: Open) -> None:
        self._state = state
        self._opened = opened
        self._file = file
        self._told: FileStat | None = None

    async def write_last(self, offset: int, data: Buffer) -> int:
        """Write as :meth:`Open.write` does, and ask what the file is behind that.

        Without a lease the answer would be good for nothing. Without POSIX extensions, it tells
        the times from before the write until the handle is closed.
        """
        share = self._state.share
        if not self._is_leased or not share.posix:
            return await self._file.write(offset, data)
        count, answer = await self._file.write_and_query(offset, data, share.stat_query())
        self._told = share.decode_stat(answer) if answer is not None else None
        return count

    def written(self, offset: int, data: Buffer) -> None:
        """The server has executed a write, or refused it: then ``data`` are empty."""
        state, opened, told = self._state, self._opened, self._told
        self._told = None
        state.forget_content(opened.inode)
        if not data or opened.is_dirty or not self._is_leased:
            return
        is_whole = offset == 0 and len(data) == opened.end
        if told is not None and told.size == opened.end:
            self._take_note(told, is_whole=is_whole)
        if is_whole and len(data) <= SMALL_FILE_SIZE_MAX:
            block = Block(memoryview(data), trio.current_time())
            state.blocks.put(opened.inode.number, 0, block)

    @property
    def _is_leased(self) -> bool:
        return self._file.lease is not None and self._file.lease.may_read

    def _take_note(self, stat: FileStat, *, is_whole: bool) -> None:
        state, opened = self._state, self._opened
        inode = opened.inode
        opened.version = Version(stat.size, stat.change_time)
        if is_whole:  # Then the kernel's pages are of this version, whatever was there before.
            inode.version = opened.version
        if not state.describer.is_open_question(stat):
            attributes = state.present(inode, Description(stat))
            until_s = trio.current_time() + state.policy.attribute_timeout_s
            state.attributes.put(inode.number, attributes, until_s)
