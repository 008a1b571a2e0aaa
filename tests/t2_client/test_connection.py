"""The shell around the engine: waiting, cancelling, losing the connection, silence."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from smbfs.client.connection import Connection
from smbfs.client.sign_on import negotiate
from smbfs.client.silence import CHECK_S, ECHO_AFTER_S
from smbfs.engine.connection import Connection as Engine
from smbfs.engine.exchange import Exchange, exchange_of
from smbfs.engine.session import Session
from smbfs.errors import (
    DeadlineExceeded,
    NegotiationRefused,
    RemoteProtocolError,
    TransportError,
)
from smbfs.transport.base import Buffer
from smbfs.transport.memory import MemoryStream, memory_stream_pair
from smbfs.wire.close_flush import CloseRequest
from smbfs.wire.header import Command
from smbfs.wire.message import Message
from smbfs.wire.negotiate import Capabilities, SecurityMode
from smbfs.wire.read_write import ReadRequest, ReadResponse
from smbfs.wire.session_setup import SessionSetupRequest
from tests.beds.scripted_server import (
    AUTHENTICATION_KEY,
    FILE_ID,
    TREE_ID,
    ScriptedServer,
    file_contents,
)
from tests.t1_engine.conversation import OFFER
from tests.t1_engine.test_connection import pending

TIMEOUT_S = 60.0


class Bed:
    """A connection that is signed on, and the server at its other end."""

    def __init__(self, connection: Connection, server: ScriptedServer, end: MemoryStream) -> None:
        self.connection = connection
        self.server = server
        self.end = end
        self.session = Session(signing_required=True)

    async def serve(self) -> None:
        while True:
            try:
                frame = await self.end.receive_message()
            except TransportError:
                return
            for answer in self.server.receive(bytes(frame)):
                self.end.send([answer])

    async def sign_on(self) -> None:
        await self.connection.perform(exchange_of([OFFER.request()]))
        await self._set_up(b"hello")
        self.connection.engine.establish(await self._set_up(b"response"), AUTHENTICATION_KEY)

    async def _set_up(self, token: bytes) -> Exchange:
        request = SessionSetupRequest(OFFER.security_mode, Capabilities(0), token)
        return await self.connection.perform(exchange_of([request], session=self.session))

    def exchange(self, *messages: Message) -> Exchange:
        return exchange_of(messages, session=self.session, tree_id=TREE_ID)

    async def read(self, offset: int, length: int) -> bytes:
        exchange = self.exchange(ReadRequest(FILE_ID, offset, length))
        await self.connection.perform(exchange)
        return bytes(ReadResponse.decode(exchange.response().body).data)

    def commands(self) -> list[Command]:
        return [header.command for header in self.server.received]


@asynccontextmanager
async def signed_on(
    timeout_s: float = TIMEOUT_S, server: ScriptedServer | None = None
) -> AsyncIterator[Bed]:
    ours, theirs = memory_stream_pair()
    connection = Connection(Engine(OFFER), ours, timeout_s=timeout_s)
    bed = Bed(connection, server or ScriptedServer(), theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bed.connection.run)
        nursery.start_soon(bed.serve)
        await bed.sign_on()
        yield bed
        nursery.cancel_scope.cancel()


async def test_many_callers_each_get_their_own_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on() as bed, trio.open_nursery() as nursery:

        async def check(offset: int) -> None:
            assert await bed.read(offset, 70_000) == file_contents(offset, 70_000)

        for index in range(300):
            nursery.start_soon(check, index * 1000)
    assert bed.server.violations == []


async def test_cancelled_caller_sends_cancel_and_harms_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on() as bed:
        bed.server.mangle = lambda _frames: []
        with trio.move_on_after(1):
            await bed.read(0, 100)
        await trio.testing.wait_all_tasks_blocked()
        assert bed.commands()[-1] == Command.CANCEL
        bed.server.mangle = lambda frames: frames
        assert await bed.read(8, 100) == file_contents(8, 100)


async def test_a_lost_connection_wakes_everybody(autojump_clock: trio.testing.MockClock) -> None:
    async with signed_on() as bed:
        bed.server.mangle = lambda _frames: []
        errors: list[TransportError] = []

        async def expect_error() -> None:
            with pytest.raises(TransportError) as caught:
                await bed.read(0, 100)
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(expect_error)
            await trio.testing.wait_all_tasks_blocked()
            await bed.end.aclose()
        assert len(errors) == 20
        assert all(error.request_sent for error in errors)
        with pytest.raises(TransportError) as caught:
            await bed.read(0, 100)
        assert not caught.value.request_sent
        assert not bed.connection.is_alive


def break_sending(monkeypatch: pytest.MonkeyPatch, bed: Bed) -> None:
    """Let every ``send`` fail from now on, as after a reset of the connection."""

    def send(_buffers: Sequence[Buffer]) -> None:
        raise TransportError("broken pipe")

    monkeypatch.setattr(bed.connection.stream, "send", send)


async def test_a_send_that_fails_is_raised_by_every_caller(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Also by the one that was about to sleep, even with a child task that is cancelled."""
    async with signed_on() as bed:
        break_sending(monkeypatch, bed)

        async def read() -> None:
            with pytest.raises(TransportError, match="broken pipe"):
                await bed.read(0, 100)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await read()
        assert not bed.connection.is_alive


async def test_a_cancelled_caller_whose_send_fails_is_just_cancelled(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with signed_on() as bed:
        break_sending(monkeypatch, bed)
        with trio.CancelScope() as scope:
            scope.cancel()
            await bed.read(0, 100)
        assert scope.cancelled_caught
        assert str(await bed.connection.wait_ended()) == "broken pipe"


async def test_too_few_credits_end_the_connection_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on() as bed:
        bed.server.grant = lambda _header: 0
        began = trio.current_time()

        async def read_on() -> None:
            while True:
                await bed.read(0, 100)

        with pytest.raises(TransportError, match="too few credits"):
            await read_on()
        assert trio.current_time() == began


async def test_garbage_ends_the_connection_with_its_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on() as bed:
        bed.server.mangle = lambda _frames: [b"\xfeSMB" + bytes(10)]
        with pytest.raises(TransportError) as caught:
            await bed.read(0, 100)
        assert isinstance(caught.value.__cause__, RemoteProtocolError)


async def test_silence_is_asked_about_and_then_ended(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on() as bed:
        bed.server.mangle = lambda _frames: []
        began = trio.current_time()
        with pytest.raises(TransportError) as caught:
            await bed.read(0, 100)
        assert isinstance(caught.value.__cause__, DeadlineExceeded)
        assert TIMEOUT_S <= trio.current_time() - began <= TIMEOUT_S + ECHO_AFTER_S
        assert bed.commands().count(Command.ECHO) == 1


async def test_silence_begins_with_the_question_even_if_nobody_waits_for_the_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with signed_on(timeout_s=TIMEOUT_S / 2) as bed:
        await trio.sleep(TIMEOUT_S - 5)  # Idle for longer than an answer may take.
        bed.server.mangle = lambda _frames: []
        began = trio.current_time()
        bed.connection.submit(bed.exchange(CloseRequest(FILE_ID)))
        await bed.connection.wait_ended()
        assert trio.current_time() - began >= TIMEOUT_S / 2


async def test_a_slow_answer_is_waited_for_while_the_server_echoes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A lock or a listing may take minutes, and a server says so."""
    async with signed_on() as bed:
        kept: list[bytes] = []

        def answer_echo_only(frames: list[bytes]) -> list[bytes]:
            if bed.server.received[-1].command == Command.ECHO:
                return frames
            kept.extend(frames)
            return [pending(bed.server, bed.server.received[-1], async_id=7)]

        bed.server.mangle = answer_echo_only

        async def answer_late() -> None:
            await trio.sleep(5 * TIMEOUT_S)
            bed.end.send([kept[0]])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_late)
            assert await bed.read(0, 100) == file_contents(0, 100)


async def test_an_answer_that_others_have_overtaken_by_far_will_never_come(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Somebody has taken it out of the stream, or altered its id: every wait ends."""
    async with signed_on() as bed:

        def swallow_reads(frames: list[bytes]) -> list[bytes]:
            return frames if bed.server.received[-1].command == Command.ECHO else []

        bed.server.mangle = swallow_reads
        began = trio.current_time()
        with pytest.raises(TransportError, match="one request of several"):
            await bed.read(0, 100)
        assert TIMEOUT_S <= trio.current_time() - began < TIMEOUT_S + 3 * ECHO_AFTER_S


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (ScriptedServer(security_mode=SecurityMode(0)), "signing"),
        (ScriptedServer(mangle=lambda _frames: [b"\xffSMB" + bytes(31)]), "dialects"),
    ],
)
async def test_a_refused_negotiation_is_told_at_once(
    server: ScriptedServer, words: str, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = memory_stream_pair()
    bed = Bed(Connection(Engine(OFFER), ours, timeout_s=TIMEOUT_S), server, theirs)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bed.connection.run)
        nursery.start_soon(bed.serve)
        with pytest.raises(NegotiationRefused, match=words):
            await negotiate(bed.connection)
        nursery.cancel_scope.cancel()
    assert trio.current_time() == began


async def test_the_network_is_followed_until_the_connection_ends(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every attempt to sign on that fails would leave a task and a socket behind."""
    followed: list[MemoryStream] = []

    async def follow(stream: MemoryStream, _on_moved: object) -> None:
        followed.append(stream)
        try:
            await trio.sleep_forever()
        finally:
            followed.remove(stream)

    monkeypatch.setattr(MemoryStream, "follow_network", follow)
    ours, _theirs = memory_stream_pair()
    connection = Connection(Engine(OFFER), ours, timeout_s=TIMEOUT_S)
    with trio.fail_after(TIMEOUT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run)
            await trio.testing.wait_all_tasks_blocked()
            assert followed == [ours]
            connection.give_up(TransportError("it was not needed"))
    assert followed == []


async def test_silence_is_noticed_however_often_the_network_changes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each news asks for a check; they must not hide that the last one was not answered."""
    async with signed_on() as bed:
        bed.server.mangle = lambda _frames: []
        for _ in range(10):
            bed.connection.check()
            await trio.sleep(CHECK_S)
        assert bed.connection.silence.is_silent
        assert bed.commands().count(Command.ECHO) < 4
