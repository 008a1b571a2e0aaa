"""Reading one open file: blocks fetched ahead of a sequential reader, single reads for others.

A sequential reader is met by whole blocks, several under way, in a window that doubles from one
block to ``WINDOW_BLOCKS_MAX`` while the reader keeps its course. A reader that jumps is answered
with exactly what it asks for. The kernel splits and slightly reorders what a program reads, so
"on course" means near the last position, not at it.

What was asked for before the content changed is handed to who asked, and not remembered.

A block that was read to its end is dropped: the kernel has it now, and the buffer is reused while
it is warm. Keeping blocks for longer waits for leases (``lease_policy``).
"""

from __future__ import annotations

from typing import Protocol

import trio

from smbfs.client.tree_connect import TreeConnect
from smbfs.engine.leases import Lease
from smbfs.errors import SmbfsError
from smbfs.vfs.block_cache import Block, BlockCache
from smbfs.wire.message import Buffer

WINDOW_BLOCKS_MAX = 12
"""Blocks requested ahead of a reader that keeps its course."""

_PAGE_SIZE = 4096

_ASK_UNIT = 65536
"""Bytes to which a request near the end of a file is rounded up: what one credit pays for."""

_COURSE_TOLERANCE = 2
"""Blocks by which a read may miss the expected position and still be on course."""


class ReadableFile(Protocol):
    """What a reader needs of an open file; :class:`smbfs.client.open.Open` has it."""

    tree: TreeConnect
    lease: Lease | None

    async def read(self, offset: int, length: int) -> memoryview:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end, or by chance."""


class Content(Protocol):
    """Whose content is read; :class:`smbfs.vfs.inodes.Inode` has it."""

    number: int
    content_changes: int


class _Fetch:
    """A block under way. ``data`` is set when it arrived, ``error`` when it did not."""

    __slots__ = ("arrived", "content_changes", "data", "error")

    def __init__(self, content_changes: int) -> None:
        self.content_changes = content_changes
        """How often the file had changed when this was asked for."""
        self.arrived = trio.Event()
        self.data: memoryview | None = None
        self.error: SmbfsError | None = None


class FileReader:
    """Reads of one handle. Its fetches run in ``nursery``, which outlives the handle."""

    def __init__(
        self,
        file: ReadableFile,
        cache: BlockCache,
        inode: Content,
        *,
        size: int,
        nursery: trio.Nursery,
        believe_s: float,
    ) -> None:
        """``size``: bytes of the file now, as far as we know.

        ``believe_s``: seconds for which a block may be served after it was read, without a lease.
        """
        self._file = file
        self._cache = cache
        self._inode = inode
        self._nursery = nursery
        self._believe_s = believe_s
        self._block_size = cache.block_size
        self._fetches: dict[int, _Fetch] = {}
        self._window = 1
        self._expected_offset = 0
        # The block in which the file ended when last seen: nothing behind it is fetched ahead.
        self._end_index = (size - 1) // self._block_size
        self._known_end = size

    async def read(self, offset: int, length: int) -> Buffer:
        """Return up to ``length`` bytes from ``offset``; less only where the file ends.

        Raises: ServerStatusError, TransportError.
        """
        if length == 0:
            return b""
        on_course = self._on_course(offset)
        self._expected_offset = offset + length
        if not on_course:
            self._window = 1
            return await self._read_exactly(offset, length)
        first, last = offset // self._block_size, (offset + length - 1) // self._block_size
        self._read_ahead(first, last)
        parts: list[memoryview] = []
        for index in range(first, last + 1):
            start = max(0, offset - index * self._block_size)
            end = min(self._block_size, offset + length - index * self._block_size)
            data = await self._block(index, end)
            parts.append(data[start:end])
            if end == self._block_size:
                self._cache.discard(self._inode.number, index)
            if len(data) < self._block_size:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _on_course(self, offset: int) -> bool:
        distance = abs(offset - self._expected_offset)
        return distance <= _COURSE_TOLERANCE * self._block_size

    def _read_ahead(self, first: int, last: int) -> None:
        """Start fetching what is missing from ``first`` to the window's end."""
        budget = max(1, self._cache.limit // (4 * self._block_size))
        window = min(self._window, budget)
        for index in range(first, last + 1 + window):
            if index > max(self._end_index, last):
                break
            if self._under_way(index) is None and self._cached(index) is None:
                self._start(index)
        if self._expected_offset % self._block_size == 0:
            self._window = min(2 * self._window, WINDOW_BLOCKS_MAX)

    def _cached(self, index: int) -> Block | None:
        lease = self._file.lease
        is_leased = lease is not None and lease.may_read
        oldest_s = 0.0 if is_leased else trio.current_time() - self._believe_s
        return self._cache.get(self._inode.number, index, not_before_s=oldest_s)

    def _under_way(self, index: int) -> _Fetch | None:
        """Return the fetch of a block, unless the file has changed since it was asked for."""
        fetch = self._fetches.get(index)
        if fetch is not None and fetch.content_changes != self._inode.content_changes:
            return None
        return fetch

    def _start(self, index: int) -> _Fetch:
        fetch = self._fetches[index] = _Fetch(self._inode.content_changes)
        self._nursery.start_soon(self._fetch, index, fetch)
        return fetch

    async def _fetch(self, index: int, fetch: _Fetch) -> None:
        asked_s = trio.current_time()
        try:
            data = await self._read_whole(index * self._block_size, self._block_size)
        except SmbfsError as error:
            fetch.error = error
        else:
            fetch.data = data
            if len(data) < self._block_size:
                self._end_index = index
            if fetch.content_changes == self._inode.content_changes:
                self._cache.put(self._inode.number, index, Block(data, asked_s))
        finally:
            if self._fetches.get(index) is fetch:
                del self._fetches[index]
            fetch.arrived.set()

    async def _block(self, index: int, needed: int) -> memoryview:
        """Return a block with ``needed`` bytes, or fewer when the file really ends there."""
        fetch = self._under_way(index)
        if fetch is None:
            block = self._cached(index)
            # A reader asks for whole pages; one who asks for more knows that the file has grown.
            if block is not None and len(block.data) + _PAGE_SIZE > needed:
                return block.data
            fetch = self._start(index)
        await fetch.arrived.wait()
        if fetch.error is not None:
            raise fetch.error
        assert fetch.data is not None
        return fetch.data

    async def _read_exactly(self, offset: int, length: int) -> Buffer:
        index, start = divmod(offset, self._block_size)
        block = self._cached(index)
        if block is not None and start + length <= len(block.data):
            return block.data[start : start + length]
        return await self._read_whole(offset, length)

    async def _read_whole(self, offset: int, length: int) -> memoryview:
        """Return ``length`` bytes from ``offset``, or fewer when the file ends there.

        A READ may come back short, but when it reaches the end that we know of, we don't ask
        what is behind it. Near that end we ask for little: servers take memory for all of it.
        """
        limit = self._file.tree.max_read_size
        parts: list[memoryview] = []
        got = 0
        while got < length:
            to_end = max(self._known_end - offset - got, 1)
            wanted = min(length - got, limit, -(-to_end // _ASK_UNIT) * _ASK_UNIT)
            data = await self._file.read(offset + got, wanted)
            parts.append(data)
            got += len(data)
            if not data or (len(data) < wanted and offset + got >= self._known_end):
                break
        return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
