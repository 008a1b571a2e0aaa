"""Writing one open file: small writes become large ones, and programs don't wait for the server.

A write is acknowledged to the program once it is gathered; ``flush`` (called for fsync and close)
returns only when the server has answered for every byte, and raises the first error since the
last flush, once. For how long gathered bytes may wait, and in how many places, follows from the
lease (``lease_policy``): as long as nobody else can look, nobody can tell.

INVARIANT: what is gathered is newer than what is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import trio

from smbfs.client.open import Open
from smbfs.client.sleepers import wait_until_awake
from smbfs.errors import HandleLost, ServerAway, SmbfsError
from smbfs.vfs.dirty_ranges import DirtyRange, DirtyRanges
from smbfs.vfs.lease_policy import GATHER, WriteRule
from smbfs.vfs.write_queue import WriteQueue
from smbfs.wire.message import Buffer

CHUNK_SIZE = 1024 * 1024
"""Bytes that are sent as soon as they make one range; less where the server's largest WRITE is
smaller."""

GATHERED_MAX = 8 * 1024 * 1024
"""Bytes in all ranges of a handle: when somebody else wants the file, they must be sent in time."""

DIRECT_SIZE = 256 * 1024
"""A write of this size is sent as it is, without being copied into the gathered bytes."""


@dataclass(slots=True)
class WriteBudget:
    """Bytes of all handles of a mount that the server has not acknowledged."""

    limit: int
    on_change: Callable[[int], None]
    """Called with the bytes that were taken, negative when they are given back."""
    used: int = 0

    def take(self, size: int) -> None:
        """Count bytes that were taken from a program, or acknowledged if negative."""
        self.used += size
        self.on_change(size)

    @property
    def is_spent(self) -> bool:
        """Whether writers must wait for the server before they take more."""
        return self.used >= self.limit


class WriteGather:
    """Writes of one handle. What it sends runs in ``nursery``, which outlives the handle."""

    def __init__(
        self,
        file: Open,
        *,
        nursery: trio.Nursery,
        budget: WriteBudget,
        rule: Callable[[], WriteRule],
        on_written: Callable[[int, Buffer], None],
        on_lost: Callable[[int, int, SmbfsError], None],
    ) -> None:
        """``rule`` says how patient we may be now.

        ``on_lost`` is called with offset, length and reason when written bytes are gone.

        ``on_written`` is called with offset and data whenever the server has executed a write.
        When it refused one, perhaps after a part of it, the data are empty.
        """
        self._file = file
        self._nursery = nursery
        self._budget = budget
        self._rule = rule
        self._on_written = on_written
        self._gathered = DirtyRanges()
        self._due_s = 0.0
        self._timer_runs = False
        self._queue = WriteQueue(file, nursery=nursery, on_answered=self._answered, on_lost=on_lost)

    @property
    def dirty_end(self) -> int | None:
        """Offset behind the last byte that the server may not have yet; None when it has all."""
        ends = [end for end in (self._gathered.end, self._queue.end) if end is not None]
        return max(ends, default=None)

    async def write(self, offset: int, data: Buffer) -> int:
        """Take ``data``; ``flush`` tells whether the server got it. Returns its length.

        Raises: the error of an earlier write of this handle, which is then told.
        """
        self._queue.raise_error()
        if self._file.is_lost:
            raise HandleLost("the server has forgotten an open file")
        rule = self._rule()
        self._budget.take(len(data))
        self._make_room(offset, len(data), rule)
        if len(data) >= DIRECT_SIZE and not self._gathered.joined(offset, len(data)):
            self._queue.send(DirtyRange(offset, data))
        else:
            self._gather(offset, data, rule)
        if not rule.wait_s:
            await self.flush()
        if self._budget.is_spent:
            await self.drain()
        await self._queue.room()
        return len(data)

    async def drain(self) -> None:
        """Have the server execute what was written so far; errors stay for ``flush``.

        Writes that come while it waits are not waited for, or a busy writer would hold it up.
        Raises: ServerAway when this machine goes to sleep without the server. The bytes wait on.
        """
        self.send()
        await self._queue.drain()

    def holds(self, offset: int, end: int) -> bool:
        """Whether bytes between these offsets may not have reached the server yet."""
        return self._gathered.holds(offset, end) or self._queue.holds(offset, end)

    async def flush(self) -> None:
        """Return when the server has every byte written so far.

        Raises: the first error of the writes since the last flush; ServerAway as :meth:`drain`.
        """
        await self.drain()
        self._queue.raise_error()

    async def drain_awake(self) -> None:
        """Do what :meth:`drain` does where no program waits: the machine may sleep meanwhile."""
        while True:
            try:
                return await self.drain()
            except ServerAway:
                await wait_until_awake(self._file.tree.line)

    async def finish(self) -> None:
        """Do what :meth:`flush` does where no program waits."""
        await self.drain_awake()
        self._queue.raise_error()

    @property
    def _chunk_size(self) -> int:
        return min(CHUNK_SIZE, self._file.tree.max_write_size)

    def _make_room(self, offset: int, length: int, rule: WriteRule) -> None:
        """Send what these bytes can't be gathered with."""
        joined = self._gathered.joined(offset, length)
        is_full = len(self._gathered) >= rule.ranges_max and not joined
        if is_full or joined > self._chunk_size:
            self.send()

    def _gather(self, offset: int, data: Buffer, rule: WriteRule) -> None:
        if not self._gathered:
            self._due_s = trio.current_time() + rule.wait_s
        before = self._gathered.size
        length = self._gathered.put(offset, data)
        # Bytes over bytes are there once.
        self._budget.take(self._gathered.size - before - len(data))
        if length >= self._chunk_size:
            self._queue.send(self._gathered.take(offset))
        elif self._gathered.size >= GATHERED_MAX:
            self.send()
        if self._gathered and rule.wait_s and not self._timer_runs:
            self._timer_runs = True
            self._nursery.start_soon(self._send_when_old)

    async def _send_when_old(self) -> None:
        while self._gathered:
            if trio.current_time() >= self._due_s:
                self.send()
            else:  # It may be due earlier meanwhile.
                await trio.sleep_until(min(self._due_s, trio.current_time() + GATHER.wait_s))
        self._timer_runs = False

    def send(self) -> None:
        """Have what is gathered on its way."""
        for piece in self._gathered.take_all():
            self._queue.send(piece)

    def lose(self, why: SmbfsError) -> None:
        """Drop what is gathered: it can't be sent any more. ``flush`` tells.

        It also tells if the server has taken bytes that it may have lost, since it has forgotten
        the file before it was asked to make them stable.
        """
        for piece in self._gathered.take_all():
            self._queue.lose(piece, why)
        self._queue.lose_unstable(why)

    def executed(self, offset: int, end: int) -> None:
        """The server has changed these bytes for us in another way than by a write."""
        self._queue.note_unstable(offset, end)

    def stabilising(self) -> AbstractContextManager[None]:
        """The block has the server make stable what it has executed so far."""
        return self._queue.stabilising()

    def _answered(self, piece: DirtyRange, executed: Buffer) -> None:
        self._on_written(piece.offset, executed)
        self._budget.take(-len(piece.data))
