"""Writing one open file: adjacent small writes become large ones, several under way.

A write is acknowledged to the program once it is gathered; ``flush`` (called for fsync and close)
returns only when the server has answered for every byte, and raises the first error since the
last flush, once. Gathered bytes wait at most ``GATHER_S`` for company.

INVARIANT: no two writes under way overlap: the server may execute them in any order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import trio

from smbfs.client.open import Open
from smbfs.errors import SmbfsError
from smbfs.wire.message import Buffer

CHUNK_SIZE = 1024 * 1024
"""Bytes gathered before they are sent; less where the server's largest WRITE is smaller."""

DIRECT_SIZE = 256 * 1024
"""A write of this size is sent as it is, without being copied into the gathered bytes."""

IN_FLIGHT_MAX = 8
"""WRITEs of one handle under way."""

GATHER_S = 1.0
"""Seconds after which gathered bytes are sent although nobody asked."""


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


class _Piece(NamedTuple):
    """Bytes on their way."""

    offset: int
    data: Buffer

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


class WriteGather:
    """Writes of one handle. What it sends runs in ``nursery``, which outlives the handle."""

    def __init__(
        self,
        file: Open,
        *,
        nursery: trio.Nursery,
        budget: WriteBudget,
        on_written: Callable[[int, Buffer], None],
    ) -> None:
        """``on_written`` is called with offset and data whenever the server has executed a write.

        When it refused one, perhaps after a part of it, the data are empty.
        """
        self._file = file
        self._nursery = nursery
        self._budget = budget
        self._on_written = on_written
        self._gathered = bytearray()
        self._gathered_offset = 0
        self._gathered_due_s = 0.0
        self._timer_runs = False
        self._queue: deque[_Piece] = deque()  # waits for room, in order
        self._in_flight: dict[int, int] = {}  # offset -> end
        self._sent = 0  # writes that left the gathered bytes, so far
        self._unanswered: deque[int] = deque()  # their numbers, ascending
        self._settled = trio.lowlevel.ParkingLot()
        self._error: SmbfsError | None = None

    @property
    def dirty_end(self) -> int | None:
        """Offset behind the last byte that the server may not have yet; None when it has all."""
        ends = list(self._in_flight.values())
        ends += [piece.end for piece in self._queue]
        if self._gathered:
            ends.append(self._gathered_offset + len(self._gathered))
        return max(ends, default=None)

    async def write(self, offset: int, data: Buffer) -> int:
        """Take ``data``; ``flush`` tells whether the server got it. Returns its length.

        Raises: the error of an earlier write of this handle, which is then told.
        """
        self._raise_error()
        self._budget.take(len(data))
        if not self._continues(offset, len(data)):
            self._send_gathered()
        if len(data) >= DIRECT_SIZE and not self._gathered:
            self._send(_Piece(offset, data))
        else:
            self._gather(offset, data)
            if len(self._gathered) >= self._chunk_size:
                self._send_gathered()
        if self._budget.is_spent:
            await self.drain()
        while self._queue:
            await self._settled.park()
        return len(data)

    async def drain(self) -> None:
        """Have the server execute what was written so far; errors stay for ``flush``.

        Writes that come while it waits are not waited for, or a busy writer would hold it up.
        """
        self._send_gathered()
        last = self._sent
        while self._unanswered and self._unanswered[0] <= last:
            await self._settled.park()

    def holds(self, offset: int, end: int) -> bool:
        """Whether bytes between these offsets may not have reached the server yet."""
        gathered_end = self._gathered_offset + len(self._gathered)
        return (
            self._overlaps(offset, end)
            or any(piece.offset < end and offset < piece.end for piece in self._queue)
            or (self._gathered_offset < end and offset < gathered_end)
        )

    async def flush(self) -> None:
        """Return when the server has every byte written so far.

        Raises: the first error of the writes since the last flush.
        """
        self._send_gathered()
        await self.drain()
        self._raise_error()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    @property
    def _chunk_size(self) -> int:
        return min(CHUNK_SIZE, self._file.tree.max_write_size)

    def _continues(self, offset: int, length: int) -> bool:
        return (
            not self._gathered or offset == self._gathered_offset + len(self._gathered)
        ) and len(self._gathered) + length <= self._chunk_size

    def _gather(self, offset: int, data: Buffer) -> None:
        if not self._gathered:
            self._gathered_offset = offset
            self._gathered_due_s = trio.current_time() + GATHER_S
        self._gathered += data
        if not self._timer_runs:
            self._timer_runs = True
            self._nursery.start_soon(self._send_when_old)

    async def _send_when_old(self) -> None:
        while self._gathered:
            if trio.current_time() >= self._gathered_due_s:
                self._send_gathered()
            else:
                await trio.sleep_until(self._gathered_due_s)
        self._timer_runs = False

    def _send_gathered(self) -> None:
        if self._gathered:
            data, self._gathered = self._gathered, bytearray()
            self._send(_Piece(self._gathered_offset, data))

    def _send(self, piece: _Piece) -> None:
        self._sent += 1
        self._unanswered.append(self._sent)
        self._queue.append(piece)
        self._start_writes()

    def _start_writes(self) -> None:
        """Start queued WRITEs, in order, while there is room and none overlaps one under way."""
        while self._queue and len(self._in_flight) < IN_FLIGHT_MAX:
            piece = self._queue[0]
            if self._overlaps(piece.offset, piece.end):
                return
            self._queue.popleft()
            self._in_flight[piece.offset] = piece.end
            number = self._sent - len(self._queue)
            self._nursery.start_soon(self._write_whole, number, piece)

    def _overlaps(self, offset: int, end: int) -> bool:
        return any(o < end and offset < e for o, e in self._in_flight.items())

    async def _write_whole(self, number: int, piece: _Piece) -> None:
        offset, data = piece.offset, piece.data
        written: Buffer = b""
        try:
            limit = self._file.tree.max_write_size
            rest = memoryview(data)
            position = offset
            while rest:
                count = await self._file.write(position, rest[:limit])
                if count == 0:
                    raise SmbfsError("the server took no byte of a WRITE")
                position += count
                rest = rest[count:]
            written = data
        except SmbfsError as error:
            self._error = self._error or error
        finally:
            del self._in_flight[offset]
            self._unanswered.remove(number)
            self._on_written(offset, written)
            self._budget.take(-len(data))
            self._start_writes()
            self._settled.unpark_all()
