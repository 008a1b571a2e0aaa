"""WRITEs of one open file on their way: several at once, in order where they overlap.

INVARIANT: no two writes under way overlap: the server may execute them in any order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from smbfs.client.open import Open
from smbfs.client.sleepers import check_awake
from smbfs.errors import DeadlineExceeded, HandleLost, SmbfsError, TransportError, WritesLost
from smbfs.vfs.dirty_ranges import DirtyRange
from smbfs.wire.message import Buffer

IN_FLIGHT_MAX = 8
"""WRITEs of one handle under way."""


class WriteQueue:
    """What one handle has sent, or is about to. It runs in ``nursery``, which outlives the handle.

    ``on_answered`` is called with offset, taken bytes and the bytes that the server has executed:
    all of them, or none when it refused, perhaps after a part. ``on_lost`` is called with offset,
    length and reason of bytes that it may not have, because there was no answer.
    """

    def __init__(
        self,
        file: Open,
        *,
        nursery: trio.Nursery,
        on_answered: Callable[[DirtyRange, Buffer], None],
        on_lost: Callable[[int, int, SmbfsError], None],
    ) -> None:
        self._file = file
        self._nursery = nursery
        self._on_answered = on_answered
        self._on_lost = on_lost
        self._queue: deque[DirtyRange] = deque()  # waits for room, in order
        self._in_flight: dict[int, int] = {}  # offset -> end
        self._sent = 0  # so far
        self._unanswered: deque[int] = deque()  # their numbers, ascending
        self._settled = trio.lowlevel.ParkingLot()
        self._error: SmbfsError | None = None
        self._unstable: tuple[int, int] | None = None  # executed since the last FLUSH: between

    @property
    def end(self) -> int | None:
        """Offset behind the last byte that has not been answered for; None if there is none."""
        ends = [*self._in_flight.values(), *(piece.end for piece in self._queue)]
        return max(ends, default=None)

    def holds(self, offset: int, end: int) -> bool:
        """Whether bytes between these offsets may not have reached the server yet."""
        return self._overlaps(offset, end) or any(
            piece.offset < end and offset < piece.end for piece in self._queue
        )

    def send(self, piece: DirtyRange) -> None:
        """Have bytes written, after what they overlap."""
        self._sent += 1
        self._unanswered.append(self._sent)
        self._queue.append(piece)
        self._start_writes()

    async def drain(self) -> None:
        """Return when the server has executed, or refused, what was sent so far.

        What is sent meanwhile is not waited for, or a busy writer would hold it up.
        Raises: ServerAway when this machine goes to sleep without the server. The bytes wait on.
        """
        last = self._sent
        while self._unanswered and self._unanswered[0] <= last:
            await self._wait()

    async def _wait(self) -> None:
        """Return when something was answered."""
        line = self._file.tree.line
        check_awake(line)
        with line.sleepers.waking(self._settled):
            await self._settled.park()

    @contextmanager
    def stabilising(self) -> Iterator[None]:
        """The block has the server make stable what it has executed so far."""
        before, self._unstable = self._unstable, None
        try:
            yield
        except BaseException:
            if before is not None:
                self.note_unstable(*before)
            raise

    def note_unstable(self, offset: int, end: int) -> None:
        """The server has bytes between these offsets that no FLUSH has made stable yet."""
        if self._unstable is not None:
            offset, end = min(offset, self._unstable[0]), max(end, self._unstable[1])
        self._unstable = offset, end

    def lose(self, piece: DirtyRange, why: SmbfsError) -> None:
        """Bytes will never be sent, because of ``why``: have :meth:`raise_error` say so."""
        self._note_lost(piece.offset, piece.end, why)
        self._on_answered(piece, b"")

    def lose_unstable(self, why: SmbfsError) -> None:
        """The server, which may have crashed, has forgotten the file: what was not stable is lost.

        Somewhere between two offsets, that is, if anything.
        """
        if self._unstable is not None:
            self._note_lost(*self._unstable, why)
            self._unstable = None

    def _note_lost(self, offset: int, end: int, why: SmbfsError) -> None:
        if not isinstance(self._error, WritesLost):
            self._error = WritesLost(f"{end - offset} bytes at {offset}: {why}")
            self._error.__cause__ = why
        self._on_lost(offset, end - offset, why)

    async def room(self) -> None:
        """Return when nothing waits for its turn. Raises: ServerAway as :meth:`drain`."""
        while self._queue:
            await self._wait()

    def raise_error(self) -> None:
        """Raise the first error since the last call, if there was one."""
        error, self._error = self._error, None
        if error is not None:
            raise error

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

    async def _write_whole(self, number: int, piece: DirtyRange) -> None:
        executed: Buffer = b""
        try:
            limit = self._file.tree.max_write_size
            rest = memoryview(piece.data)
            position = piece.offset
            while rest:
                count = await self._file.write(position, rest[:limit], patient=True)
                if count == 0:
                    raise SmbfsError("the server took no byte of a WRITE")
                position += count
                rest = rest[count:]
            executed = piece.data
            self.note_unstable(piece.offset, piece.end)
        except (TransportError, DeadlineExceeded, HandleLost) as error:
            self._note_lost(piece.offset, piece.end, error)
        except SmbfsError as error:
            self._error = self._error or error
        finally:
            del self._in_flight[piece.offset]
            self._unanswered.remove(number)
            self._on_answered(piece, executed)
            self._start_writes()
            self._settled.unpark_all()
