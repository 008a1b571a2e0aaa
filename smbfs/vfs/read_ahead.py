"""Reading one open file: blocks fetched ahead of a sequential reader, single reads for others.

A sequential reader is met by whole blocks, several under way, in a window that doubles from one
block to ``WINDOW_BLOCKS_MAX`` while the reader keeps its course (see ``courses``). A reader that
jumps is answered with exactly what it asks for, and one that jumps in equal steps finds the next
few answers under way.

What was asked for before the content changed is handed to who asked, and not remembered.
"""

from __future__ import annotations

from typing import Protocol

import trio

from smbfs.client.tree_connect import TreeConnect
from smbfs.errors import SmbfsError
from smbfs.vfs.block_cache import Block, BlockCache
from smbfs.vfs.courses import STEPS_AHEAD, Course, Courses
from smbfs.vfs.disk_cache import CachedFile
from smbfs.vfs.lease_policy import Version
from smbfs.wire.message import Buffer

_PAGE_SIZE = 4096

_ASK_UNIT = 65536
"""Bytes to which a request near the end of a file is rounded up: what one credit pays for."""

_STEPS_MAX = 2 * STEPS_AHEAD
"""Reads of the next steps that are kept until somebody wants them."""


_HELD_MAX = 4
"""Blocks that a reader holds itself, when there is no room for them in the cache."""

_STREAM_SHARE = 2
"""A file larger than one of so many parts of the memory passes through without staying there."""


class ReadableFile(Protocol):
    """What a reader needs of an open file; :class:`smbfs.client.open.Open` has it."""

    tree: TreeConnect

    @property
    def is_vouched_for(self) -> bool:
        """Whether what is known of the contents is right without asking."""

    async def read(self, offset: int, length: int) -> memoryview:
        """Return up to ``length`` bytes from ``offset``; fewer only at the end, or by chance."""


class Content(Protocol):
    """Whose content is read; :class:`smbfs.vfs.inodes.Inode` has it."""

    number: int
    content_changes: int
    version: Version | None


class _Fetch:
    """Bytes under way. ``data`` is set when they arrived, ``error`` when they did not."""

    __slots__ = ("arrived", "asked_s", "content_changes", "data", "error", "is_from_disk")

    def __init__(self, content_changes: int) -> None:
        self.content_changes = content_changes
        """How often the file had changed when this was asked for."""
        self.asked_s = trio.current_time()
        self.arrived = trio.Event()
        self.data: memoryview | None = None
        self.error: SmbfsError | None = None
        self.is_from_disk = False

    async def result(self) -> memoryview:
        """Return the bytes once they are here, or raise what went wrong."""
        await self.arrived.wait()
        if self.error is not None:
            raise self.error
        assert self.data is not None
        return self.data


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
        disk: CachedFile | None = None,
    ) -> None:
        """``size``: bytes of the file now, as far as we know.

        ``believe_s``: seconds for which a block may be served after it was read, without a lease.
        ``disk``: where to look before the server is asked.
        """
        self._file = file
        self._cache = cache
        self._inode = inode
        self._nursery = nursery
        self._believe_s = believe_s
        self._disk = disk
        self._block_size = cache.block_size
        self._courses = Courses(cache.block_size)
        self._blocks: dict[int, _Fetch] = {}  # under way
        self._held: dict[int, _Fetch] = {}  # here, and without a place in the cache
        self._steps: dict[tuple[int, int], _Fetch] = {}  # under way, or here for who asks next
        self._is_closed = False
        # The block in which the file ended when last seen: nothing behind it is fetched ahead.
        self._end_index = (size - 1) // self._block_size
        self._known_end = size

    async def read(self, offset: int, length: int) -> Buffer:
        """Return up to ``length`` bytes from ``offset``; less only where the file ends.

        Raises: ServerStatusError, TransportError.
        """
        if length == 0:
            return b""
        course = self._courses.follow(offset, length)
        if course is None:
            return await self._read_elsewhere(offset, length)
        first, last = offset // self._block_size, (offset + length - 1) // self._block_size
        self._read_ahead(course, first, last)
        parts: list[memoryview] = []
        for index in range(first, last + 1):
            start = max(0, offset - index * self._block_size)
            end = min(self._block_size, offset + length - index * self._block_size)
            data = await self._block(index, end)
            parts.append(data[start:end])
            if end >= len(data):
                self._passed(index)
            if len(data) < self._block_size:
                break
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _passed(self, index: int) -> None:
        """The reader goes on: keep the block for the next one, unless the file is too large.

        Of a file that takes most of the memory, the blocks that come next would push out those
        that the next reader begins with. And memory that is used again at once is warm.
        """
        self._held.pop(index, None)
        if self._known_end > self._cache.limit // _STREAM_SHARE:
            self._cache.discard(self._inode.number, index)
        else:
            self._cache.passed(self._inode.number, index)

    def close(self) -> None:
        """Remember nothing that is still under way: its inode may be gone when it arrives."""
        self._is_closed = True
        self._held.clear()

    # ------------------------------------------------------------- blocks

    def _read_ahead(self, course: Course, first: int, last: int) -> None:
        """Start fetching what is missing from ``first`` to the window's end."""
        room = max(1, self._cache.room // (4 * self._block_size))
        window = min(course.window, self._courses.share(room))
        oldest_s = self._oldest_s()
        for index in range(first, last + 1 + window):
            if index > max(self._end_index, last):
                break
            is_here = self._cache.holds(self._inode.number, index, not_before_s=oldest_s)
            if not is_here and self._under_way(index) is None:
                self._start(index)
        if course.expected % self._block_size == 0:
            self._courses.passed_block(course)

    def _oldest_s(self) -> float:
        """Return when something must have been asked for to be believed now."""
        return 0.0 if self._file.is_vouched_for else trio.current_time() - self._believe_s

    def _cached(self, index: int) -> Block | None:
        return self._cache.get(self._inode.number, index, not_before_s=self._oldest_s())

    def _under_way(self, index: int) -> _Fetch | None:
        """Return the fetch of a block, unless the file has changed since it was asked for."""
        fetch = self._blocks.get(index)
        if fetch is not None:
            return fetch if fetch.content_changes == self._inode.content_changes else None
        held = self._held.get(index)
        return held if held is not None and self._is_believed(held) else None

    def _start(self, index: int) -> _Fetch:
        fetch = self._blocks[index] = _Fetch(self._inode.content_changes)
        self._nursery.start_soon(self._fetch_block, index, fetch)
        return fetch

    async def _fetch_block(self, index: int, fetch: _Fetch) -> None:
        await self._fetch(fetch, index * self._block_size, self._block_size, block=index)
        if self._blocks.get(index) is fetch:
            del self._blocks[index]
        data, inode = fetch.data, self._inode
        if data is None:
            return
        if len(data) < self._block_size:
            self._end_index = index
        if fetch.content_changes == inode.content_changes and not self._is_closed:
            self._cache.put(inode.number, index, Block(data, fetch.asked_s), inode.version)
            if not self._cache.holds(inode.number, index, not_before_s=fetch.asked_s):
                self._hold(index, fetch)
            if self._disk is not None and not fetch.is_from_disk:
                self._disk.put(index, data)

    def _hold(self, index: int, fetch: _Fetch) -> None:
        """Keep a block until the reader has passed it: it would be fetched again and again."""
        self._held[index] = fetch
        if len(self._held) > _HELD_MAX:
            del self._held[next(iter(self._held))]

    async def _block(self, index: int, needed: int) -> memoryview:
        """Return a block with ``needed`` bytes, or fewer when the file really ends there."""
        fetch = self._under_way(index)
        if fetch is None:
            block = self._cached(index)
            if block is not None and _reaches(block.data, needed):
                return block.data
        if fetch is None or (fetch.data is not None and not _reaches(fetch.data, needed)):
            fetch = self._start(index)
        return await fetch.result()

    # ------------------------------------------------------------- single reads

    async def _read_elsewhere(self, offset: int, length: int) -> Buffer:
        """Read where nobody has gone on from."""
        index, start = divmod(offset, self._block_size)
        block = self._cached(index)
        if block is not None and start + length <= len(block.data):
            return block.data[start : start + length]
        if self._courses.is_dense(index) and start + length <= self._block_size:
            return (await self._block(index, start + length))[start : start + length]
        self._start_steps(length)
        step = self._steps.pop((offset, length), None)
        if step is not None and self._is_believed(step):
            return await step.result()
        return await self._read_whole(offset, length)

    def _is_believed(self, fetch: _Fetch) -> bool:
        is_same = fetch.content_changes == self._inode.content_changes
        return is_same and fetch.asked_s >= self._oldest_s()

    def _start_steps(self, length: int) -> None:
        """Have the next reads of a reader under way that jumps in equal steps."""
        for offset in self._courses.next_steps():
            if (offset, length) not in self._steps and offset < self._known_end:
                fetch = self._steps[offset, length] = _Fetch(self._inode.content_changes)
                self._nursery.start_soon(self._fetch, fetch, offset, length)
        while len(self._steps) > _STEPS_MAX:
            del self._steps[next(iter(self._steps))]

    # ------------------------------------------------------------- the server

    async def _fetch(
        self, fetch: _Fetch, offset: int, length: int, *, block: int | None = None
    ) -> None:
        try:
            if self._disk is not None and block is not None:
                fetch.data = await self._disk.get(block)
            fetch.is_from_disk = fetch.data is not None
            if fetch.data is None:
                fetch.data = await self._read_whole(offset, length)
        except SmbfsError as error:
            fetch.error = error
        finally:
            fetch.arrived.set()

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


def _reaches(data: memoryview, needed: int) -> bool:
    """Whether a block is as long as a reader has reason to think.

    A reader asks for whole pages; one who asks for more knows that the file has grown.
    """
    return len(data) + _PAGE_SIZE > needed
