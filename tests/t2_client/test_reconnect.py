"""What a share that is being brought back does about a refused password, and a missing ticket."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
import trio
import trio.testing

from smbfs.auth.credentials import Credentials
from smbfs.auth.kerberos_errors import TicketMissing, no_ticket
from smbfs.auth.kerberos_tickets import Tickets
from smbfs.auth.spnego import AnonymousAuthenticator, make_authenticator
from smbfs.client.attach import Destination
from smbfs.client.lifeline import Channel, Lifeline
from smbfs.client.multichannel import RETRY_S, Multichannel
from smbfs.client.reconnect import KDC_S, NEW_PASSWORD_S, NEW_TICKET_S, Reconnector
from smbfs.client.route import route_to
from smbfs.client.tree_connect import TreeConnect
from smbfs.config.model import MountOptions
from smbfs.config.unc import Unc
from smbfs.engine.availability import State
from smbfs.errors import DeadlineExceeded, ServerAway, ServerStatusError, TransportError
from smbfs.wire.error_response import ErrorResponse
from smbfs.wire.header import Command, Header
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.read_write import ReadRequest
from tests.beds.scripted_server import FILE_ID
from tests.t2_client.test_connection import signed_on
from tests.t2_client.test_lifeline import PATIENCE_S, channels, line_with_patience

UNC = Unc("server", None, "share")
TO = Destination(UNC, MountOptions(), Credentials("alice"), make_authenticator, uuid.UUID(int=1))


class Refusing(Reconnector):
    """Reaches a server that refuses the password."""

    attempts = 0
    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    async def _reach(self) -> None:
        self.attempts += 1
        await trio.lowlevel.checkpoint()
        self.meanwhile()
        raise ServerStatusError(NtStatus.STATUS_LOGON_FAILURE, "SESSION_SETUP")

    async def _prove(self, channel: Channel) -> None:  # noqa: ARG002
        await self._reach()


async def test_a_silent_connection_that_answers_is_gone_on_with_whatever_another_was_told(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """And the password that was refused is not sent again when it is silent the next time."""
    line = line_with_patience()
    async with channels(line, 1) as [(channel, _)], trio.open_nursery() as nursery:
        tree = TreeConnect(line, "share")
        reconnector = Refusing(tree, TO, route_to(UNC, TO.options), nursery)
        reconnector.meanwhile = line.availability.answered
        line.availability.silent_since(trio.current_time())
        nursery.start_soon(reconnector.run)
        await trio.testing.wait_all_tasks_blocked()
        assert line.ready is channel
        assert line.availability.state is State.CONNECTED
        channel.connection.silence.is_silent = True
        channel.connection.silence.on_silent(trio.current_time())
        await trio.sleep(2 * NEW_PASSWORD_S)
        assert (reconnector.attempts, line.ready) == (1, channel)
        channel.connection.silence.heard()
        assert line.availability.state is State.CONNECTED
        nursery.cancel_scope.cancel()


class Channelless(Multichannel):
    """Never gets a further channel, because of the password."""

    attempts = 0
    _is_possible = _is_wanted = True

    async def _add_one(self) -> None:
        self.attempts += 1
        await trio.lowlevel.checkpoint()
        raise ServerStatusError(NtStatus.STATUS_LOGON_FAILURE, "SESSION_SETUP")


async def test_a_refused_password_is_not_sent_again_for_another_channel(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line, now = line_with_patience(), [TO]
    async with trio.open_nursery() as nursery:
        tree = TreeConnect(line, "share")
        more = Channelless(tree, lambda: now[0], route_to(UNC, TO.options), nursery)
        nursery.start_soon(more.run)
        await trio.sleep(10 * RETRY_S)
        assert more.attempts == 1
        now[0] = replace(TO, credentials=Credentials("alice", source="a newer file"))
        line.sleeps(now=False)  # Something has changed.
        await trio.sleep(RETRY_S)
        assert more.attempts == 2
        nursery.cancel_scope.cancel()


async def test_a_password_that_no_longer_proves_who_we_are_is_not_sent_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    line, expired = line_with_patience(), NtStatus.STATUS_NETWORK_SESSION_EXPIRED
    async with signed_on() as bed, trio.open_nursery() as nursery:
        bed.server.handlers[Command.READ] = lambda _header, _body: (expired, ErrorResponse())
        line.add(Channel(bed.connection, bed.session))
        tree = TreeConnect(line, "share")
        reconnector = Refusing(tree, TO, route_to(UNC, TO.options), nursery)
        tree.sender.on_expired = reconnector.reauthenticate
        nursery.start_soon(reconnector.run)
        with pytest.raises((DeadlineExceeded, ServerAway)):
            await tree.sender.perform((ReadRequest(FILE_ID, 8, 16),))
        await trio.sleep(10 * NEW_PASSWORD_S)
        assert reconnector.attempts == 1
        nursery.cancel_scope.cancel()


async def test_a_refused_ticket_is_got_anew_for_another_channel(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The server has another key now: nobody's account is locked for that."""
    tickets = FakeTickets()
    to = replace(TO, credentials=Credentials("alice@TEST", tickets=cast(Tickets, tickets)))
    async with trio.open_nursery() as nursery:
        tree = TreeConnect(line_with_patience(), "share")
        more = Channelless(tree, lambda: to, route_to(UNC, TO.options), nursery)
        nursery.start_soon(more.run)
        await trio.sleep(2.5 * RETRY_S)
        assert (more.attempts, tickets.forgotten) == (3, 3)
        nursery.cancel_scope.cancel()


class FakeTickets:
    """Tickets of a user who has none, and gets one."""

    forgotten = 0

    is_over = False
    is_there = False

    def session_is_over(self) -> None:
        self.is_over = True

    def forget(self) -> None:
        self.forgotten += 1

    def usable(self) -> None:
        if not self.is_there:
            raise no_ticket("there is no cache")

    async def in_thread(self, call: Callable[[], None]) -> None:
        await trio.lowlevel.checkpoint()
        call()


class Ticketless(Reconnector):
    """Proves who we are with those."""

    proved = 0

    async def _prove(self, channel: Channel) -> None:  # noqa: ARG002
        await trio.lowlevel.checkpoint()
        assert self.to.credentials.tickets is not None
        self.to.credentials.tickets.usable()
        self.proved += 1
        self.line.times_proved += 1


async def test_a_session_without_a_ticket_waits_on_its_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """All who were told that its time is over wait for the same, and for a later ticket."""
    tickets = FakeTickets()
    to = replace(TO, credentials=Credentials("alice@TEST", tickets=cast(Tickets, tickets)))
    line = line_with_patience()
    async with channels(line, 1) as [(channel, _)], trio.open_nursery() as nursery:
        tree = TreeConnect(line, "share")
        reconnector = Ticketless(tree, to, route_to(UNC, TO.options), nursery)
        nursery.start_soon(reconnector.run)
        for _ in range(2):
            with pytest.raises(TransportError, match="no Kerberos ticket"):
                await reconnector.reauthenticate(channel)
        assert tickets.is_over
        assert line.availability.state is State.RECONNECTING
        assert isinstance(line.failure, TicketMissing)
        await trio.sleep(2 * NEW_TICKET_S)
        assert (line.channels, line.ready) == ([channel], None)
        tickets.is_there = True
        await trio.sleep(2 * NEW_TICKET_S)
        assert (reconnector.proved, line.ready) == (1, channel)
        assert str(line.failure) == "None"
        nursery.cancel_scope.cancel()


async def test_a_session_is_proved_once_for_all_its_channels(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A second time it would take a ticket that ends still later, and nobody has one."""
    tickets, expired = FakeTickets(), NtStatus.STATUS_NETWORK_SESSION_EXPIRED
    tickets.is_there = True
    to = replace(TO, credentials=Credentials("alice@TEST", tickets=cast(Tickets, tickets)))
    line = line_with_patience()
    async with signed_on() as first, signed_on() as second, trio.open_nursery() as nursery:
        tree = TreeConnect(line, "share")
        reconnector = Ticketless(tree, to, route_to(UNC, TO.options), nursery)
        tree.sender.on_expired = reconnector.reauthenticate

        def answer(_header: Header, _body: memoryview) -> tuple[int, ErrorResponse]:
            status = NtStatus.STATUS_ACCESS_DENIED if reconnector.proved else expired
            return status, ErrorResponse()

        for bed in (first, second):
            bed.server.handlers[Command.READ] = answer
            line.add(Channel(bed.connection, bed.session))
        async with trio.open_nursery() as readers:
            for _ in range(4):
                readers.start_soon(tree.sender.perform, (ReadRequest(FILE_ID, 8, 16),))
        assert Command.READ in first.commands()
        assert Command.READ in second.commands()
        assert reconnector.proved == 1
        nursery.cancel_scope.cancel()


class SilentKdc(AnonymousAuthenticator):
    """Would sign on if its KDC answered, for which libkrb5 waits long."""

    async def prepare(self) -> None:
        await trio.sleep_forever()


@pytest.mark.parametrize("sleeps", [False, True])
async def test_nobody_waits_for_a_kdc_for_longer_than_for_a_server(
    autojump_clock: trio.testing.MockClock, *, sleeps: bool
) -> None:
    tickets, expired = FakeTickets(), NtStatus.STATUS_NETWORK_SESSION_EXPIRED
    tickets.is_there = True
    credentials = Credentials("alice@TEST", tickets=cast(Tickets, tickets))
    to = replace(TO, credentials=credentials, authenticator=lambda _who, _server: SilentKdc())
    line = line_with_patience()
    async with signed_on() as bed, trio.open_nursery() as nursery:
        bed.server.handlers[Command.READ] = lambda _header, _body: (expired, ErrorResponse())
        line.add(Channel(bed.connection, bed.session))
        tree = TreeConnect(line, "share")
        reconnector = Reconnector(tree, to, route_to(UNC, TO.options), nursery)
        tree.sender.on_expired = reconnector.reauthenticate
        nursery.start_soon(reconnector.run)
        if sleeps:
            nursery.start_soon(line_goes_to_sleep, line)
        with (
            trio.fail_after(5.0 if sleeps else PATIENCE_S + KDC_S + 1.0),
            pytest.raises((DeadlineExceeded, ServerAway, TransportError)),
        ):
            await tree.sender.perform((ReadRequest(FILE_ID, 8, 16),))
        assert sleeps or isinstance(line.failure, TicketMissing)
        nursery.cancel_scope.cancel()


async def line_goes_to_sleep(line: Lifeline) -> None:
    await trio.sleep(1)
    line.sleeps(now=True)
