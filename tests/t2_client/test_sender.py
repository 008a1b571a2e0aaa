"""What becomes of a request when its channel does not carry it to the end."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from smbfs.client.lifeline import Channel
from smbfs.client.sender import Sender
from smbfs.errors import ServerStatusError, TransportError
from smbfs.wire.close_flush import CloseRequest
from smbfs.wire.create import CreateRequest
from smbfs.wire.create_contexts import LeaseState
from smbfs.wire.error_response import ErrorResponse
from smbfs.wire.file_id import FileId
from smbfs.wire.header import Command
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.oplock_break import LeaseBreakAcknowledgment
from smbfs.wire.read_write import ReadRequest, ReadResponse
from tests.beds.scripted_server import FILE_ID, TREE_ID, file_contents
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
