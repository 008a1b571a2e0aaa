"""Who waits while there is no connection, for how long, and which channel is taken."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from smbfs.client.connection import Connection
from smbfs.client.lifeline import ECHO_BESIDE_OTHERS_S, Channel, Lifeline
from smbfs.engine.availability import Availability, State
from smbfs.engine.connection import Connection as Engine
from smbfs.engine.exchange import exchange_of
from smbfs.engine.session import Session
from smbfs.errors import DeadlineExceeded, ServerAway, SmbfsError, TransportError
from smbfs.transport.memory import MemoryStream, memory_stream_pair
from smbfs.wire.echo_cancel import EchoRequest
from tests.t1_engine.conversation import OFFER

PATIENCE_S = 60.0


@asynccontextmanager
async def channels(line: Lifeline, count: int) -> AsyncIterator[list[tuple[Channel, MemoryStream]]]:
    """Give a line so many channels, and the other ends of their streams."""
    made = []
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            ours, theirs = memory_stream_pair()
            connection = Connection(Engine(OFFER), ours, timeout_s=PATIENCE_S)
            nursery.start_soon(connection.run)
            made.append((Channel(connection, Session()), theirs))
            line.add(made[-1][0])
        yield made
        nursery.cancel_scope.cancel()


def line_with_patience() -> Lifeline:
    return Lifeline(Availability(patience_s=PATIENCE_S))


async def test_who_waits_goes_on_when_there_is_a_channel_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line, found = line_with_patience(), []

    async def wait() -> None:
        found.append(await line.channel())

    async with channels(line, 1) as [(_, first)], trio.open_nursery() as nursery:
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert (line.ready, line.availability.state) == (None, State.RECONNECTING)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert found == []
        async with channels(line, 1) as [(second, _)]:
            line.restored()
            await trio.testing.wait_all_tasks_blocked()
            assert found == [second]


async def test_who_has_waited_is_told_so_and_who_comes_later_is_told_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line = line_with_patience()
    async with channels(line, 1) as [(_, end)], trio.open_nursery() as nursery:
        await end.aclose()
        await trio.testing.wait_all_tasks_blocked()

        async def wait() -> None:
            with pytest.raises(DeadlineExceeded):
                await line.channel()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert line.deadline_s == trio.current_time() + PATIENCE_S
        line.given_up(TransportError("nobody answers"))
        with pytest.raises(ServerAway, match="nobody answers"):
            await line.channel()


async def test_a_channel_that_is_lost_beside_others_is_not_missed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line, ended = line_with_patience(), list[SmbfsError]()
    line.on_ended = ended.append
    async with channels(line, 2) as [(_, end), (second, _)]:
        await end.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert line.ready is second
        assert (line.availability.state, line.channel_sequence) == (State.CONNECTED, 1)
        assert len(ended) == 1


async def test_a_channel_that_is_silent_beside_others_is_given_up_soon(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line = line_with_patience()
    async with channels(line, 2) as [(first, _), (second, _)]:
        began = trio.current_time()
        first.connection.check()  # It is asked, and nobody answers.
        failure = await first.connection.wait_ended()
        assert isinstance(failure, DeadlineExceeded)
        assert trio.current_time() - began < 2 * ECHO_BESIDE_OTHERS_S + 0.3
        assert line.ready is second
        assert second.connection.is_alive


async def test_a_silent_connection_is_suspect_until_it_answers(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line = line_with_patience()
    async with channels(line, 1) as [(channel, _)]:
        began = trio.current_time()
        channel.connection.check()
        while line.availability.state is State.CONNECTED:
            await line.wait_for_change()
        assert line.availability.failing_since_s == began
        assert line.ready is channel  # It may answer yet.
        channel.connection.silence.heard()
        assert line.availability.deadline_s == math.inf


async def test_who_forgets_one_request_was_not_away(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Everybody else waits for the next connection, and no longer than for that."""
    line = line_with_patience()
    async with channels(line, 1) as [(channel, _)]:
        await trio.sleep(PATIENCE_S)
        channel.connection.silence.heard()
        await trio.sleep(1.0)
        channel.connection.give_up(DeadlineExceeded("one request of several", PATIENCE_S))
        states = [line.availability.state]
        assert line.deadline_s == trio.current_time() - 1.0 + PATIENCE_S
    async with channels(line, 1) as [(channel, _)]:
        line.restored()
        channel.connection.submit(exchange_of([EchoRequest()]))
        await channel.connection.wait_ended()
        states.append(line.availability.state)
    assert states == [State.RECONNECTING, State.OFFLINE]


async def test_a_session_that_the_server_ended_is_not_gone_on_with(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line = line_with_patience()
    async with channels(line, 2):
        line.session_gone(line.epoch - 1, TransportError("an older one"))
        assert (line.is_session_gone, len(line.channels)) == (False, 2)
        line.session_gone(line.epoch, TransportError("this one"))
        assert (line.is_session_gone, len(line.channels)) == (True, 0)
        assert line.availability.state is State.RECONNECTING
        line.next_session()
        assert (line.is_session_gone, line.epoch) == (False, 1)


async def test_a_machine_that_goes_to_sleep_does_not_wait_for_a_server(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line = line_with_patience()
    async with channels(line, 1) as [(_, end)], trio.open_nursery() as nursery:
        await end.aclose()
        await trio.testing.wait_all_tasks_blocked()

        async def wait() -> None:
            with pytest.raises(ServerAway, match="sleep"):
                await line.channel()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        line.sleeps(now=True)


async def test_nobody_waits_long_when_the_mount_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line = line_with_patience()
    async with channels(line, 1) as [(_, end)]:
        line.wait_no_longer(1.0)
        await end.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert line.deadline_s <= trio.current_time() + 1.0
