"""Bringing a share back when its connection is lost: one task for all who wait.

The first answer of a server on a new connection decides how it goes on. If it still has our session
the new connection joins that as a channel, and nothing was lost but time. If not, there is a new
session; ``on_restored`` gets open files back before anybody else may send something. The old
connection, as long as it is only silent, may answer until then.

A password that the server refuses is not sent again; whatever else it refuses is tried again after
pauses. Where there is no Kerberos ticket any more the server is not asked: a session whose time is
over waits on its connection, with all that the server keeps for it, until there is one.

Spec: [MS-SMB2] 3.2.4.2.3.1 (binding), 3.2.4.2.3 (PreviousSessionId), 3.2.7.1 (lost connections).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import trio

from smbfs.auth.credentials import Credentials
from smbfs.auth.kerberos_errors import TicketMissing, kdc_is_silent
from smbfs.client.attach import Candidate, Destination, bind, candidate, connect_tree, log_on
from smbfs.client.connection import Connection
from smbfs.client.lifeline import Channel, Lifeline
from smbfs.client.progress import Progress
from smbfs.client.route import Route
from smbfs.client.sign_on import sign_on
from smbfs.client.tree_connect import TreeConnect, may_have_channels
from smbfs.engine.availability import State
from smbfs.engine.exchange import exchange_of
from smbfs.errors import (
    DeadlineExceeded,
    NegotiationRefused,
    ServerStatusError,
    SmbfsError,
    TransportError,
)
from smbfs.transport.machine_sleep import follow_sleep
from smbfs.transport.network_changes import network_changes
from smbfs.wire.echo_cancel import EchoRequest
from smbfs.wire.ntstatus import NtStatus

DIAL_S: Final = 4.0
"""Seconds for reaching the server in one attempt: who is back shall be noticed soon."""

ATTEMPT_S: Final = 30.0
"""Seconds that an attempt may take once the server was reached."""

GRACE_S: Final = 1.0
"""Seconds that a silent connection has left to answer when another one was."""

NEW_PASSWORD_S: Final = 3.0
"""Seconds between two looks whether there is another password than the one that was refused."""

NEW_TICKET_S: Final = 2.0
"""Seconds between two looks whether there is a Kerberos ticket."""

KDC_S: Final = 3.0
"""Seconds after which those who wait for a KDC learn that they do, and for how long they may."""

LAST_ANSWERS_S: Final = 3.0
"""Seconds that requests have left to be answered when this machine is about to sleep."""

LOGON_REFUSED: Final = frozenset(
    {
        NtStatus.STATUS_LOGON_FAILURE,
        NtStatus.STATUS_WRONG_PASSWORD,
        NtStatus.STATUS_NO_SUCH_USER,
        NtStatus.STATUS_ACCOUNT_DISABLED,
        NtStatus.STATUS_ACCOUNT_EXPIRED,
        NtStatus.STATUS_ACCOUNT_LOCKED_OUT,
        NtStatus.STATUS_ACCOUNT_RESTRICTION,
        NtStatus.STATUS_PASSWORD_EXPIRED,
        NtStatus.STATUS_PASSWORD_MUST_CHANGE,
        NtStatus.STATUS_INVALID_LOGON_HOURS,
        NtStatus.STATUS_INVALID_WORKSTATION,
        NtStatus.STATUS_LOGON_TYPE_NOT_GRANTED,
    }
)
"""How a server says that it is this account, or its password, that it does not like."""

_log = logging.getLogger(__name__)


def reconnect_route(route: Route) -> Route:
    """Return how a server is looked for that was there before: with less patience, and again."""
    return replace(route, timeout_s=min(route.timeout_s, DIAL_S))


@dataclass(slots=True, eq=False)
class Reconnector:
    """Keeps one share reachable. ``background`` runs the connections."""

    tree: TreeConnect
    to: Destination
    route: Route
    background: trio.Nursery
    renew: Callable[[], Credentials] | None = None
    """Looks the credentials up again. It may block, and raise UserError."""
    _network_changed: trio.Event = field(default_factory=trio.Event)
    _is_whole: bool = True
    """Whether everything that can come back has."""
    _turn: trio.Lock = field(default_factory=trio.Lock)
    _refused: SmbfsError | None = None
    """Why the server does not like the credentials that we have."""
    _ticket_missing: TicketMissing | None = None
    """Why we have no Kerberos ticket for the server."""

    @property
    def line(self) -> Lifeline:
        """What is kept alive."""
        return self.tree.line

    async def run(self) -> None:
        """Bring the share back whenever it is lost, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_network)
            nursery.start_soon(self._watch_patience)
            nursery.start_soon(follow_sleep, self._before_sleep, self._after_sleep)
            while True:
                if self.line.availability.state is State.CONNECTED:
                    await self.line.wait_for_change()
                else:
                    await self._attempt()

    async def _follow_network(self) -> None:
        """Look at once when addresses or routes have changed."""
        async for _ in network_changes():
            self._look_again()

    def _look_again(self) -> None:
        self.line.availability.hurry()
        changed, self._network_changed = self._network_changed, trio.Event()
        changed.set()
        for channel in self.line.channels:
            channel.connection.check()

    async def _before_sleep(self) -> None:
        """Have nothing under way: what waits in the kernel for us would keep it awake."""
        self.line.sleeps(now=True)
        with trio.move_on_after(LAST_ANSWERS_S):
            for channel in list(self.line.channels):
                with suppress(TransportError):
                    await channel.connection.perform(exchange_of([EchoRequest()]))
            return  # Who answers this answers everything else.
        self.line.give_up_channels(TransportError("this machine goes to sleep"))

    def _after_sleep(self) -> None:
        self.line.sleeps(now=False)
        self._look_again()

    async def _watch_patience(self) -> None:
        """Tell who waits when that was long enough."""
        line = self.line
        while True:
            with trio.move_on_at(line.deadline_s):
                await line.wait_for_change()
            if line.deadline_s <= trio.current_time():
                silence = DeadlineExceeded("our requests", line.availability.patience_s)
                line.given_up(line.failure or silence)
                line.give_up_channels(self._ticket_missing or silence)

    async def reauthenticate(self, channel: Channel) -> None:
        """Prove again who we are: the server says that the session's time is over.

        Raises: AuthenticationError, ServerStatusError, TransportError; the latter also when there
        is no ticket now, and everybody has to wait for one.
        Spec: [MS-SMB2] 3.2.5.1.6, 3.2.4.2.3.
        """
        before = self.line.times_proved
        async with self._turn:
            if self.line.times_proved != before:
                return  # Somebody else has done it meanwhile, for all channels.
            if self._ticket_missing is not None:
                raise TransportError(f"the session's time is over: {self._ticket_missing}")
            if self.to.credentials.tickets is not None:
                self.to.credentials.tickets.session_is_over()
            try:
                await self._prove(channel)
            except TicketMissing as error:
                self._ticket_missing = error
                self.line.given_up(error, for_now=True)
                raise TransportError(f"the session's time is over: {error}") from error
            except ServerStatusError as error:
                self._is_refused_for_good(error)  # The new session that follows must not ask again.
                raise

    async def _prove(self, channel: Channel) -> None:
        mechanism = self.to.authenticator(self.to.credentials, self.to.unc.server)
        try:
            with trio.fail_after(KDC_S):
                await mechanism.prepare()
        except trio.TooSlowError as error:
            raise kdc_is_silent(KDC_S) from error
        await sign_on(channel.connection, mechanism, expired=channel.session)
        if not channel.connection.is_alive:
            raise TransportError("the connection was lost again")
        self.line.times_proved += 1
        if self.to.credentials.tickets is not None:
            self.to.credentials.tickets.session_began()

    # ------------------------------------------------------------- attempts

    async def _attempt(self) -> None:
        """Try once; after a failure, wait until it makes sense to try again."""
        availability = self.line.availability
        if availability.was_brief:
            await self._pause(refused=False)
        is_refused = False
        try:
            if self._refused is not None:
                await self._without_credentials(self._refused)
            elif self._ticket_missing is not None:
                await self._without_ticket()
            else:
                await self._reach()
        except (TransportError, DeadlineExceeded) as error:
            self._note(error)
        except TicketMissing as error:
            self._note(error)
            self._ticket_missing = error
            return
        except SmbfsError as error:
            is_refused = True
            self._note(error)
            if self._is_refused_for_good(error):
                return
        if availability.state is not State.CONNECTED:
            await self._pause(refused=is_refused)

    def _is_refused_for_good(self, error: SmbfsError) -> bool:
        """Note a refusal; return whether the same credentials must not be sent again."""
        if self.to.credentials.tickets is not None:
            self.to.credentials.tickets.forget()  # The server may have another key by now.
            return False
        if not _is_logon_refused(error):
            return False
        self._refused = error
        self.line.on_refused(error)
        return True

    async def _pause(self, *, refused: bool) -> None:
        """Wait until it makes sense to try again."""
        pause_s = self.line.availability.pause_s(random.random(), refused=refused)  # noqa: S311 - no secret
        with trio.move_on_after(pause_s):
            await self._network_changed.wait()

    def _note(self, error: SmbfsError) -> None:
        _log.info("not connected again: %s", error)
        if not self.line.channels:
            self.line.failure = error

    async def _without_credentials(self, error: SmbfsError) -> None:
        """The server does not want us: don't lock the account by asking again and again.

        Returns when there are others than those that were refused, or when somebody has written
        the same anew; or when the silent connection has answered, which needs no password.
        """
        line = self.line
        while line.availability.state is not State.CONNECTED:
            if not line.channels and line.availability.state is not State.OFFLINE:
                line.given_up(error)
            await trio.sleep(NEW_PASSWORD_S)
            try:
                found = await self._look_up()
            except SmbfsError as reason:
                _log.info("no other credentials: %s", reason)
                continue
            if found is not None and found != self.to.credentials:
                self.to = replace(self.to, credentials=found)
                self._refused = None
                return

    async def _look_up(self) -> Credentials | None:
        if self.renew is None:
            return None
        # Nobody who unmounts waits for a keyring that does not answer.
        return await trio.to_thread.run_sync(self.renew, abandon_on_cancel=True)

    async def _without_ticket(self) -> None:
        """Return when there may be a ticket, or the connection was found to be good.

        A session that waits for it on its connection goes on there.
        """
        tickets = self.to.credentials.tickets
        assert tickets is not None
        while self.line.availability.state is not State.CONNECTED:
            await trio.sleep(NEW_TICKET_S)
            try:
                await tickets.in_thread(tickets.usable)
                if not self.line.channels:
                    break
                async with self._turn:
                    await self._prove(self.line.channels[0])
            except TicketMissing as reason:
                self.line.failure = reason
                continue
            except TransportError:
                break  # The connection has gone meanwhile: another one is made.
            except SmbfsError as refusal:
                self.line.session_gone(self.line.epoch, refusal)
                break
            self.line.restored()
        self._ticket_missing = None

    async def _reach(self) -> None:
        """Dial, and bring the share back by the new connection; leave none behind that does not.

        Raises: what :func:`smbfs.client.route.dial_route` and :mod:`smbfs.client.attach` do.
        """
        async with candidate(
            self.to, self.route, self.line, self.background, within_s=ATTEMPT_S
        ) as found:
            if self.line.availability.state is State.SUSPECT:
                with trio.move_on_after(GRACE_S):
                    while self.line.availability.state is State.SUSPECT:
                        await self.line.wait_for_change()
            if self.line.availability.state is not State.CONNECTED:
                await self._restore_by(found)
                found.is_used = True

    async def _restore_by(self, found: Candidate) -> None:
        """Bring the share back by a new connection."""
        if self.tree.posix and not found.negotiated.posix:
            raise NegotiationRefused("the server has no POSIX extensions any more.")
        if not await self._join(found):
            await self._begin_anew(found.connection)

    async def _join(self, found: Candidate) -> bool:
        """Have the connection join our session; False if the server does not have it any more."""
        first, connection = self.tree.channel, found.connection
        is_alike = found.negotiated.may_bind(self.tree.negotiated)
        # A session whose transport has sealed it so far can't go on where SMB has to.
        must_seal = self.to.must_seal(connection.stream.transport)
        may_bind = is_alike and may_have_channels(self.tree) and not must_seal
        is_there = self._is_whole and not self.line.is_session_gone
        if not (is_there and first.session.signer is not None and may_bind):
            return False
        try:
            channel = await bind(connection, self.to, first.session)
        except ServerStatusError as error:
            if error.status in LOGON_REFUSED:
                raise
            _log.info("the session is gone: %s", error)
            return False
        connection.on_break = self.tree.broken
        self.line.give_up_channels(TransportError("another connection has taken its place"))
        self.tree.channel = channel
        self.line.doubt_leases()
        self.line.add(channel)
        self.line.restored()
        return True

    async def _begin_anew(self, connection: Connection) -> None:
        """Sign on anew, and have open files come back."""
        line, tree = self.line, self.tree
        previous = tree.channel.session.session_id
        session, identity = await log_on(
            connection, self.to, progress=Progress(), previous_session_id=previous
        )
        channel = Channel(connection, session)
        answered = await connect_tree(channel, self.to)
        line.give_up_channels(TransportError("another connection has taken its place"))
        line.next_session()
        tree.identity = identity
        tree.attach(channel, answered)
        connection.on_break = tree.broken
        lost, self._is_whole = line.leases.lose_all(), False
        try:
            await tree.on_restored(channel)
            self._is_whole = True
        finally:
            for lease in lost:
                if not lease.state:
                    tree.broken(lease, must_acknowledge=False)
        if not connection.is_alive:
            raise TransportError("the connection was lost again")
        line.add(channel)
        line.restored()


def _is_logon_refused(error: SmbfsError) -> bool:
    # A guest is no refusal: nobody vouches for that flag, and the next answer may be the truth.
    return isinstance(error, ServerStatusError) and error.status in LOGON_REFUSED
