"""What a share hangs by: the channels of its session, and who waits while there is none.

``TreeConnect`` asks for a channel before every request; ``reconnect`` brings new ones. Everything
here is decided without a checkpoint, except for waiting.

INVARIANT: a channel in ``channels`` was signed on, and its end has not been noticed yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from smbfs.client.connection import Connection
from smbfs.client.sleepers import Sleepers, check_awake
from smbfs.client.status import Counters
from smbfs.engine.availability import Availability, State
from smbfs.engine.exchange import Exchange
from smbfs.engine.lease_table import LeaseTable
from smbfs.engine.leases import Lease
from smbfs.engine.session import Session
from smbfs.errors import DeadlineExceeded, ServerAway, SmbfsError, TransportError
from smbfs.transport.base import OnMoved
from smbfs.wire.message import Message

ECHO_BESIDE_OTHERS_S: Final = 0.5
"""Silence of one channel of several after which it is asked whether the server lives; after twice
that it is given up if others answer."""

OWED_MAX: Final = 10_000
"""Messages that are kept for a session that may go on."""

LAST_PATIENCE_S: Final = 1.0
"""Seconds that requests wait for a server that goes away when the mount ends."""

_SEQUENCES: Final = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Channel:
    """A connection on which the session is signed on. Spec: [MS-SMB2] 3.2.1.8."""

    connection: Connection
    session: Session
    """The session as this connection knows it: its own key to sign with."""


@dataclass(slots=True, eq=False)
class Lifeline:
    """The channels of a share's session, one session after the other."""

    availability: Availability = field(default_factory=lambda: Availability(patience_s=0.0))
    leases: LeaseTable = field(default_factory=LeaseTable)
    """All leases; they are of the client, not of a connection."""
    counters: Counters = field(default_factory=Counters)
    channels: list[Channel] = field(default_factory=list)
    epoch: int = 0
    """How many sessions came before this one: a file id is worth nothing in the next."""
    times_proved: int = 0
    """How often the server was shown anew who we are, on whichever channel: it is the session's."""
    channel_sequence: int = 0
    """How many channels were lost so far, modulo 2^16. Spec: [MS-SMB2] 3.2.1.3.

    A new session goes on counting: a durable open that it takes over has the number of the last
    request that changed it, and refuses what has a lower one (3.3.5.2.10).
    """
    is_session_gone: bool = False
    """Whether the server has said that it does not know this session, or its tree, any more."""
    on_doubted: Callable[[Lease], None] = lambda _lease: None
    """Called with each lease that is believed no more because a channel has gone."""
    on_owing: Callable[[], None] = lambda: None
    """Called when there is a channel, and something that the session is owed."""
    on_expired: Callable[[Channel, Exchange], None] = lambda _channel, _exchange: None
    """Called when the session has to be proved anew before it hears what nobody waits for."""
    _owed: list[tuple[int, Message]] = field(default_factory=list)
    """What the server may never have heard, with the ``epoch`` that it belongs to."""
    is_asleep: bool = False
    """Whether this machine is about to sleep: then nobody waits for a server that is away."""
    sleepers: Sleepers = field(default_factory=Sleepers)
    """Who waits for something else that the server has to do."""
    failure: SmbfsError | None = None
    """Why there is no connection; None while all is well."""
    on_state: Callable[[State], None] = lambda _state: None
    """Called when the state has become another one. It must not raise; nor must those below."""
    on_ended: Callable[[SmbfsError], None] = lambda _failure: None
    """Called when a connection has ended, with the reason."""
    on_refused: Callable[[SmbfsError], None] = lambda _refusal: None
    """Called when the server does not let us sign on again, each time that we have asked."""
    on_moved: OnMoved = lambda _before, _now: None
    """Called when a connection goes on from another address of ours."""
    _changed: trio.Event = field(default_factory=trio.Event)
    _told: State = State.CONNECTED

    @property
    def ready(self) -> Channel | None:
        """The channel to send by now: the one with the least to do. None if there is none."""
        if not self.availability.is_usable:
            return None
        if len(self.channels) == 1 and self.channels[0].connection.is_alive:
            return self.channels[0]
        alive = [channel for channel in self.channels if channel.connection.is_alive]
        if len(alive) > 1:
            alive = [each for each in alive if not each.connection.silence.is_silent] or alive
        if len(alive) < 2:
            return alive[0] if alive else None
        return min(alive, key=lambda channel: channel.connection.engine.outstanding)

    async def channel(self, *, patient: bool = False) -> Channel:
        """Return the channel to send by, once there is one.

        ``patient``: no program waits for it, so it may last while this machine sleeps.
        Raises: DeadlineExceeded when that took too long; ServerAway when it is in vain to wait.
        """
        await trio.lowlevel.checkpoint()
        must_wait = False
        while (channel := self.ready) is None:
            if not patient:
                check_awake(self)
            if self.availability.state is State.OFFLINE:
                if must_wait:
                    raise DeadlineExceeded("our requests", self.availability.patience_s)
                raise ServerAway(str(self.failure))
            must_wait = True
            await self._changed.wait()
        return channel

    async def wait_for_change(self) -> None:
        """Return when the state, or a channel, has become another one."""
        await self._changed.wait()

    # ------------------------------------------------------------- what happens

    def add(self, channel: Channel) -> None:
        """A connection is signed on: requests may travel by it."""
        connection = channel.connection
        self.channels.append(channel)
        connection.on_ended = lambda failure: self._ended(channel, failure)
        connection.on_expired = lambda exchange: self.on_expired(channel, exchange)
        connection.on_moved = self._moved
        connection.silence.on_silent = lambda since_s: self._silent(channel, since_s)
        connection.silence.on_answered = self._answered
        if len(self.channels) > 1:
            for each in self.channels:
                each.connection.silence.be_impatient(ECHO_BESIDE_OTHERS_S)
        self._tell()

    def _ended(self, channel: Channel, failure: SmbfsError) -> None:
        self.on_ended(failure)
        for message in channel.connection.unheard:
            self.owe(message)
        self.channels.remove(channel)
        self.channel_sequence = (self.channel_sequence + 1) % _SEQUENCES
        if self.channels:
            self.doubt_leases()
        else:
            since_s = trio.current_time()
            if isinstance(failure, DeadlineExceeded):  # If anything was answered it was not silent.
                since_s = max(since_s - failure.waited_s, channel.connection.silence.answered_s)
            self.failure = failure
            self.availability.lost(since_s)
            if self.availability.deadline_s <= trio.current_time():
                self.availability.give_up()
        self._tell()

    def doubt_leases(self) -> None:
        """A connection has gone: a break may have gone astray with it, and others wait for us."""
        for lease in self.leases.doubt_all():
            self.on_doubted(lease)

    def _moved(self, before: str, now: str) -> None:
        self.on_moved(before, now)  # Who listens may have come since.

    def _silent(self, channel: Channel, since_s: float) -> None:
        if any(not each.connection.silence.is_silent for each in self.channels):
            # The others answer: what it was asked goes to them.
            silent_s = trio.current_time() - since_s
            channel.connection.give_up(DeadlineExceeded("our requests on one channel", silent_s))
        else:
            self.availability.silent_since(since_s)
        self._tell()

    def _answered(self) -> None:
        self.availability.answered()
        self._tell()

    def given_up(self, failure: SmbfsError, *, for_now: bool = False) -> None:
        """Send nothing, because of ``failure``; ``for_now``: but have everybody wait.

        The connections stay.
        """
        self.failure = failure
        if for_now:
            self.availability.lost(trio.current_time())
        elif self.availability.state is not State.OFFLINE:
            self.availability.give_up()
        self._tell()

    def restored(self) -> None:
        """The server answers us again, and knows who we are."""
        self.failure = None
        self.availability.restored(trio.current_time())
        self._tell()

    def give_up_channels(self, failure: SmbfsError) -> None:
        """End every connection."""
        for channel in list(self.channels):
            channel.connection.give_up(failure)

    def owe(self, message: Message) -> None:
        """Remember what can't be sent now: the session may go on on another connection."""
        if len(self._owed) < OWED_MAX:
            self._owed.append((self.epoch, message))

    def take_owed(self) -> list[Message]:
        """Return what this session has to be told yet, once."""
        owed = [message for epoch, message in self._owed if epoch == self.epoch]
        self._owed.clear()
        return owed

    def next_session(self) -> None:
        """The session is gone, and all that the server kept for it."""
        self.epoch += 1
        self.times_proved += 1
        self.is_session_gone = False

    def session_gone(self, epoch: int, why: SmbfsError) -> None:
        """The server has ended the session ``epoch``, or its tree: what was kept for it is gone."""
        if epoch == self.epoch and not self.is_session_gone:
            self.is_session_gone = True
            self.give_up_channels(TransportError(f"the server has ended our session: {why}"))

    def sleeps(self, *, now: bool) -> None:
        """This machine is about to sleep, or has slept."""
        self.is_asleep = now
        self._tell()

    def wait_no_longer(self, answer_within_s: float) -> None:
        """The mount ends: nobody waits for a server that is away, or goes away now.

        Who does not answer within ``answer_within_s`` is away.
        """
        self.availability.patience_s = min(self.availability.patience_s, LAST_PATIENCE_S)
        for connection in (channel.connection for channel in self.channels):
            if connection.is_alive:
                connection.silence.answer_within(answer_within_s)
        self._tell()

    @property
    def deadline_s(self) -> float:
        """When who waits has waited for long enough; never if nothing is wrong."""
        is_over = self.availability.state is State.OFFLINE
        return math.inf if is_over else self.availability.deadline_s

    def _tell(self) -> None:
        if self._owed and self.ready is not None:
            self.on_owing()
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        if self.is_asleep:
            self.sleepers.wake()
        if self._told is not self.availability.state:
            self._told = self.availability.state
            self.on_state(self._told)
