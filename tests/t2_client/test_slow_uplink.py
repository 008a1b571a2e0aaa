"""A line that takes little a second: what waits for its turn there is not forgotten."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing

from smbfs.client.connection import Connection
from smbfs.client.silence import ECHO_AFTER_S
from smbfs.engine.connection import Connection as Engine
from smbfs.engine.exchange import Exchange, exchange_of
from smbfs.errors import TransportError
from smbfs.transport.base import Buffer, Flow
from smbfs.transport.memory import MemoryStream, memory_stream_pair
from smbfs.wire.echo_cancel import EchoRequest
from smbfs.wire.read_write import WriteRequest, WriteResponse
from tests.beds.scripted_server import FILE_ID, ScriptedServer
from tests.t1_engine.conversation import OFFER
from tests.t2_client.test_connection import TIMEOUT_S, Bed

MIB = 1 << 20
RATE = 250_000
"""Bytes a second: 2 Mbit/s."""

COPY_HAS_UNDER_WAY = 8
"""WRITEs of 1 MiB that one copy asks for at once."""

LOOK_S = 0.5
"""Seconds between two times at which the line tells what it has taken."""


class NarrowUplink(MemoryStream):
    """Takes one frame after the other, as fast as the line is."""

    def __init__(self, end: MemoryStream) -> None:
        super().__init__(end._outgoing, end._incoming)
        self._waiting: deque[bytes] = deque()
        self._sent = self._taken = 0

    @property
    def unflushed(self) -> bool:
        return bool(self._waiting)

    @property
    def flow(self) -> Flow:
        return Flow(0, self._sent, self._taken)

    def send(self, buffers: Sequence[Buffer]) -> None:
        frame = b"".join(buffers)
        self._sent += len(frame)
        self._waiting.append(frame)

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._waiting:
            left = len(self._waiting[0])
            while left:
                step = min(left, int(RATE * LOOK_S))
                await trio.sleep(step / RATE)
                left -= step
                self._taken += step
            super().send([self._waiting.popleft()])


@asynccontextmanager
async def signed_on_by_a_narrow_line() -> AsyncIterator[Bed]:
    ours, theirs = memory_stream_pair()
    connection = Connection(Engine(OFFER), NarrowUplink(ours), timeout_s=TIMEOUT_S)
    bed = Bed(connection, ScriptedServer(), theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run)
        nursery.start_soon(bed.serve)
        await bed.sign_on()
        yield bed
        nursery.cancel_scope.cancel()


async def ask_each_second(bed: Bed) -> None:
    """As whoever looks at files meanwhile: what asks little may pass those who wait."""
    with suppress(TransportError):
        while True:
            await bed.connection.perform(exchange_of([EchoRequest()]))
            await trio.sleep(1)


def write_of(bed: Bed, index: int) -> Exchange:
    return bed.exchange(WriteRequest(FILE_ID, index * MIB, bytes(MIB)))


@pytest.mark.parametrize("copies", [1, 3])
async def test_a_write_that_waits_for_its_turn_is_not_taken_for_one_that_was_overtaken(
    autojump_clock: trio.testing.MockClock, copies: int
) -> None:
    """Three copies have more under way than the line takes while anybody waits for an answer."""
    async with signed_on_by_a_narrow_line() as bed, trio.open_nursery() as nursery:
        nursery.start_soon(ask_each_second, bed)
        began_s = trio.current_time()

        async def write(index: int) -> None:
            exchange = await bed.connection.perform(write_of(bed, index))
            assert WriteResponse.decode(exchange.response().body).count == MIB

        async with trio.open_nursery() as writers:
            for index in range(copies * COPY_HAS_UNDER_WAY):
                writers.start_soon(write, index)
        assert (trio.current_time() - began_s > TIMEOUT_S) == (copies > 1)
        assert bed.connection.is_alive
        nursery.cancel_scope.cancel()


async def test_a_write_that_was_sent_late_and_is_never_answered_has_as_long_as_any_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The answers to what was sent behind it are what tells, from when it was sent."""
    async with signed_on_by_a_narrow_line() as bed, trio.open_nursery() as nursery:
        last = write_of(bed, COPY_HAS_UNDER_WAY - 1)

        def swallow_the_last(frames: list[bytes]) -> list[bytes]:
            is_last = bed.server.received[-1].message_id == last.requests[0].message_id
            return [] if is_last else frames

        bed.server.mangle = swallow_the_last
        nursery.start_soon(ask_each_second, bed)
        began_s = trio.current_time()
        for index in range(COPY_HAS_UNDER_WAY - 1):
            nursery.start_soon(bed.connection.perform, write_of(bed, index))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(TransportError, match="one request of several"):
            await bed.connection.perform(last)
        assert last.sent_s > began_s + TIMEOUT_S / 3  # It was not its turn before.
        assert TIMEOUT_S <= trio.current_time() - last.sent_s < TIMEOUT_S + 2 * ECHO_AFTER_S
        nursery.cancel_scope.cancel()
