"""Small files, read with one round trip: CREATE, READ and CLOSE in one frame.

A file that we have just written or read is opened without any, while its directory is leased.
Opened for reading only, another one that fits into one credit's worth of payload is read at once,
and the server keeps no handle. Its contents are believed for as long as any block that was read
ahead; whoever reads later, or asks for more, opens the file for good.

The price: a file that was asked for and that another client removes while it is open here can be
read for a second, and is ESTALE after that, as on NFS; one that was opened from memory goes on from
there. What is removed here goes on until its last close, as always.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from smbfs.client.open import Open
from smbfs.client.tree_connect import TreeConnect
from smbfs.engine.leases import Lease
from smbfs.vfs.read_ahead import Content
from smbfs.vfs.refusals import Refusal, Refused

SMALL_FILE_SIZE_MAX: Final = 65536
"""Bytes up to which a file is read when it is opened: what one credit pays for."""


class SmallFile:
    """An open small file. Has what a reader wants of :class:`Open`."""

    __slots__ = (
        "_asked_s",
        "_believe_s",
        "_contents",
        "_file",
        "_inode",
        "_is_closed",
        "_is_remembered",
        "_reopen",
        "_size",
        "_turn",
        "content_changes",
        "lease",
        "tree",
    )

    def __init__(
        self,
        tree: TreeConnect,
        contents: memoryview,
        *,
        size: int,
        is_remembered: bool,
        inode: Content,
        content_changes: int,
        asked_s: float,
        believe_s: float,
        reopen: Callable[[], Awaitable[Open]],
    ) -> None:
        """``contents``: the beginning of the file, which has ``size`` bytes.

        ``reopen`` opens the same file for good. ``is_remembered``: the lease on its directory
        vouches for the contents.

        ``content_changes`` and ``asked_s``: how often the file had changed, and the time, when
        the server was asked.
        """
        self.tree = tree
        self._size = size
        self._is_remembered = is_remembered
        self.lease: Lease | None = None  # Nothing is open.
        self._contents = contents
        self._inode = inode
        self.content_changes = content_changes
        self._asked_s = asked_s
        self._is_closed = False
        self._believe_s = believe_s
        self._reopen = reopen
        self._file: Open | None = None
        self._turn = trio.Lock()

    @property
    def is_remembered(self) -> bool:
        """Whether it is open in our memory alone."""
        return self._is_remembered and self._file is None

    @property
    def is_vouched_for(self) -> bool:
        """Whether the lease on its directory says that nobody else has changed the contents."""
        return self.is_remembered and self._is_believed

    async def read(self, offset: int, length: int) -> memoryview:
        """Return up to ``length`` bytes from ``offset``. Raises: as ``Open.read``; Refused."""
        if self._file is None and self._is_believed and self._covers(offset, length):
            await trio.lowlevel.checkpoint()
            return self._contents[offset : offset + length]
        try:
            file = await self.server_file()
        except Refused as refused:
            is_same = self.content_changes == self._inode.content_changes
            if refused.reason != Refusal.STALE or not (self._is_remembered and is_same):
                raise
            return self._contents[offset : offset + length]  # Removed by somebody else.
        return await file.read(offset, length)

    @property
    def _is_believed(self) -> bool:
        is_same = self.content_changes == self._inode.content_changes
        return is_same and trio.current_time() <= self._asked_s + self._believe_s

    def _covers(self, offset: int, length: int) -> bool:
        is_whole = len(self._contents) == self._size
        return is_whole or offset + length <= len(self._contents)

    async def server_file(self) -> Open:
        """Return a handle of the server's, opened now if there is none yet.

        Raises: Refused (BAD_HANDLE) after ``close``.
        """
        async with self._turn:
            if self._is_closed:
                raise Refused(Refusal.BAD_HANDLE, "closed meanwhile")
            if self._file is None:
                self._file = await self._reopen()
            return self._file

    def forget_server_file(self) -> None:
        """The server has forgotten it; it is opened again when somebody needs it."""
        self._file = None

    async def close(self) -> None:
        """Give back what the server holds, if it holds anything."""
        async with self._turn:
            self._is_closed = True
            if self._file is not None:
                await self._file.close()
