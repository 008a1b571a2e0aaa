"""What becomes of a request when its channel does not carry it to the end."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from smbfs.client.lifeline import Channel
from smbfs.client.sender import NOT_AVAILABLE_PAUSES_S, Sender
from smbfs.engine.exchange import Exchange
from smbfs.errors import ServerStatusError, TransportError
from smbfs.wire.close_flush import CloseRequest
from smbfs.wire.create import CreateRequest
from smbfs.wire.create_contexts import LeaseState
from smbfs.wire.error_response import ErrorResponse
from smbfs.wire.file_id import FileId
from smbfs.wire.header import Command, Header, HeaderFlags
from smbfs.wire.info import FileInfoClass, InfoType, SetInfoRequest
from smbfs.wire.ioctl import FsctlCode, IoctlRequest
from smbfs.wire.message import Message
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.oplock_break import LeaseBreakAcknowledgment
from smbfs.wire.read_write import ReadRequest, ReadResponse, WriteRequest
from tests.beds.scripted_server import FILE_ID, TREE_ID, Reply, file_contents
from tests.t2_client.test_connection import Bed, signed_on
from tests.t2_client.test_lifeline import line_with_patience
from tests.t2_client.test_open import connected_tree


async def test_who_waits_for_the_session_to_be_proved_does_not_fail_with_its_channel(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nothing was executed, so it goes by the next channel."""
    line = line_with_patience()
    sender = Sender(line)
    sender.tree_id = TREE_ID
    async with signed_on() as first, signed_on() as second:
        first.server.handlers[Command.READ] = lambda _header, _body: (
            NtStatus.STATUS_NETWORK_SESSION_EXPIRED,
            ErrorResponse(),
        )
        line.add(Channel(first.connection, first.session))

        async def lose_it(channel: Channel) -> None:
            channel.connection.give_up(TransportError("lost"))
            line.add(Channel(second.connection, second.session))
            line.restored()
            await trio.lowlevel.checkpoint()
            raise TransportError("lost", request_sent=True)

        sender.on_expired = lose_it
        exchange = await sender.perform((ReadRequest(FILE_ID, 8, 16),))
        assert ReadResponse.decode(exchange.response().body).data == file_contents(8, 16)


@pytest.mark.parametrize("is_waited_for", [True, False])
async def test_a_close_that_was_not_heard_is_sent_once(
    autojump_clock: trio.testing.MockClock, *, is_waited_for: bool
) -> None:
    """By who waits for it, or else for the session's sake: the id may be another file's by then."""
    line = line_with_patience()
    sender = Sender(line)
    sender.tree_id = TREE_ID
    async with signed_on() as first, signed_on() as second, trio.open_nursery() as nursery:
        first.server.mangle = lambda _frames: []
        line.add(Channel(first.connection, first.session))
        if is_waited_for:
            nursery.start_soon(sender.perform, (CloseRequest(FILE_ID),))
        else:
            sender.send(CloseRequest(FILE_ID))
        await trio.testing.wait_all_tasks_blocked()
        first.connection.give_up(TransportError("lost"))
        line.add(Channel(second.connection, second.session))
        line.restored()
        await trio.testing.wait_all_tasks_blocked()
        assert second.commands().count(Command.CLOSE) == 1


async def test_a_lease_is_given_back_once_the_session_is_proved(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Somebody else waits for it, for half a minute if it is not heard."""
    line, is_proved = line_with_patience(), False
    sender = Sender(line)
    expired = NtStatus.STATUS_NETWORK_SESSION_EXPIRED, ErrorResponse()
    done = NtStatus.STATUS_SUCCESS, ErrorResponse()
    async with signed_on() as bed, trio.open_nursery() as nursery:
        bed.server.handlers[Command.OPLOCK_BREAK] = lambda _header, _body: (
            done if is_proved else expired
        )
        line.add(Channel(bed.connection, bed.session))
        line.on_expired = lambda channel, exchange: nursery.start_soon(
            sender.tell_again, channel, exchange
        )

        async def prove(_channel: Channel) -> None:
            nonlocal is_proved
            await trio.sleep(1)
            is_proved = True
            line.times_proved += 1

        sender.on_expired = prove
        for key in (b"1" * 16, b"2" * 16):
            sender.send(LeaseBreakAcknowledgment(key, LeaseState.READ_CACHING))
        await trio.sleep(2)
        assert bed.commands().count(Command.OPLOCK_BREAK) == 4


@pytest.mark.parametrize("is_sent", [True, False])
async def test_a_close_that_is_cancelled_without_a_server_is_sent_once_there_is_one(
    autojump_clock: trio.testing.MockClock, *, is_sent: bool
) -> None:
    line = line_with_patience()
    sender = Sender(line)
    async with signed_on() as first, signed_on() as second, trio.open_nursery() as nursery:
        first.server.mangle = lambda _frames: []
        line.add(Channel(first.connection, first.session))
        if not is_sent:
            first.connection.give_up(TransportError("lost"))
            await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as impatient:
            nursery.start_soon(_cancel_when_lost, first, impatient)
            await sender.perform((CloseRequest(FILE_ID),))
        assert impatient.cancelled_caught
        line.add(Channel(second.connection, second.session))
        line.restored()
        await trio.testing.wait_all_tasks_blocked()
        assert second.commands().count(Command.CLOSE) == 1


async def _cancel_when_lost(bed: Bed, scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    bed.connection.give_up(TransportError("lost"))
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_what_a_failed_compound_has_opened_is_closed_in_its_own_session_or_not_at_all(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """In the next one the same id may be another file's."""
    async with signed_on() as first, signed_on() as second, trio.open_nursery() as nursery:
        refused = NtStatus.STATUS_ACCESS_DENIED, ErrorResponse()
        first.server.handlers[Command.READ] = lambda _header, _body: refused
        first.server.handlers[Command.CLOSE] = lambda _header, _body: refused

        def swallow_closes(frames: list[bytes]) -> list[bytes]:
            return frames if first.server.received[-2].command == Command.READ else []

        first.server.mangle = swallow_closes
        tree = connected_tree(first)
        tree.line.availability.patience_s = 60.0

        async def ask() -> None:
            with pytest.raises(ServerStatusError, match="READ"):
                await tree.compound(CreateRequest("file", 1), ReadRequest(FileId.RELATED, 0, 1))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        first.connection.give_up(TransportError("lost"))
        tree.line.next_session()
        tree.line.add(Channel(second.connection, second.session))
        tree.line.restored()
        await trio.testing.wait_all_tasks_blocked()
        assert Command.CLOSE not in second.commands()


PUT_OFF = NtStatus.STATUS_FILE_NOT_AVAILABLE, ErrorResponse()
WRITE = WriteRequest(FILE_ID, 0, b"data")


def counting_sender(bed: Bed) -> Sender:
    """Return a sender that tells the server with each request how many channels were lost."""
    sender = Sender(line_with_patience())
    sender.tree_id, sender.counts_channels = TREE_ID, True
    sender.line.add(Channel(bed.connection, bed.session))
    return sender


@pytest.mark.parametrize(
    "message",
    [
        WRITE,
        SetInfoRequest(FILE_ID, InfoType.FILE, FileInfoClass.RENAME, b""),
        IoctlRequest(FsctlCode.SET_SPARSE, FILE_ID),
    ],
    ids=["WRITE", "SET_INFO", "IOCTL"],
)
async def test_a_change_that_the_server_puts_off_is_sent_again_until_it_is_executed(
    autojump_clock: trio.testing.MockClock, message: Message
) -> None:
    """It was not executed, so whatever it is may be sent again."""
    async with signed_on() as bed:
        answers = [(0, ErrorResponse()), *[PUT_OFF] * 3]
        bed.server.handlers[message.command] = lambda _header, _body: answers.pop()
        began_s = trio.current_time()
        exchange = await counting_sender(bed).perform((message,))
        assert exchange.response().header.status == NtStatus.STATUS_SUCCESS
        assert bed.commands().count(message.command) == 4
        assert trio.current_time() - began_s == pytest.approx(sum(NOT_AVAILABLE_PAUSES_S[:3]))


async def test_a_replay_waits_for_what_the_lost_channel_has_brought(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The first WRITE is still being executed when the second one comes by the next channel."""
    async with signed_on() as first, signed_on() as second, trio.open_nursery() as nursery:
        sender, done = counting_sender(first), list[Exchange]()
        first.server.mangle = lambda _frames: []

        async def write() -> None:
            done.append(await sender.perform((WRITE,)))

        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        executed_s = trio.current_time() + 2.0

        def execute(header: Header, body: memoryview) -> Reply:
            assert header.flags & HeaderFlags.REPLAY_OPERATION
            assert header.status == 1  # So many channels were lost.
            is_busy = trio.current_time() < executed_s
            return PUT_OFF if is_busy else second.server._write(header, body)

        second.server.handlers[Command.WRITE] = execute
        first.connection.give_up(TransportError("lost"))
        sender.line.add(Channel(second.connection, second.session))
        sender.line.restored()
        await trio.sleep(10)
        assert [each.response().header.status for each in done] == [NtStatus.STATUS_SUCCESS]


async def test_a_change_that_is_put_off_for_too_long_is_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Whoever asked hears what the server says, in seconds."""
    async with signed_on() as bed:
        bed.server.handlers[Command.WRITE] = lambda _header, _body: PUT_OFF
        began_s = trio.current_time()
        exchange = await counting_sender(bed).perform((WRITE,))
        assert exchange.response().header.status == NtStatus.STATUS_FILE_NOT_AVAILABLE
        assert bed.commands().count(Command.WRITE) == 1 + len(NOT_AVAILABLE_PAUSES_S)
        assert trio.current_time() - began_s == pytest.approx(sum(NOT_AVAILABLE_PAUSES_S))


@pytest.mark.parametrize(
    ("message", "counts_channels"),
    [(ReadRequest(FILE_ID, 0, 8), True), (WRITE, False)],
    ids=["READ", "SMB 2.1"],
)
async def test_the_same_status_for_another_reason_is_told_at_once(
    autojump_clock: trio.testing.MockClock, message: Message, *, counts_channels: bool
) -> None:
    """A question is not counted, nor is anything before SMB 3: waiting would change nothing."""
    async with signed_on() as bed:
        bed.server.handlers[message.command] = lambda _header, _body: PUT_OFF
        sender = counting_sender(bed)
        sender.counts_channels = counts_channels
        began_s = trio.current_time()
        exchange = await sender.perform((message,))
        assert exchange.response().header.status == NtStatus.STATUS_FILE_NOT_AVAILABLE
        assert bed.commands().count(message.command) == 1
        assert trio.current_time() == began_s
