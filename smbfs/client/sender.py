"""Sending the requests of one tree: by which channel, and what if that fails.

Spec: [MS-SMB2] 3.2.4.1 (sending), 3.2.5.1.6 (a session that has expired), 3.2.7.1 (disconnects).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import trio

from smbfs.client.lifeline import Channel, Lifeline
from smbfs.client.replay import REPEATS_MAX, is_owed, may_repeat
from smbfs.engine.exchange import Exchange, exchange_of
from smbfs.errors import ServerAway, ServerStatusError, SmbfsError, TransportError
from smbfs.wire.create import CreateRequest
from smbfs.wire.create_contexts import LeaseRequestV2
from smbfs.wire.info import SetInfoRequest
from smbfs.wire.ioctl import IoctlRequest
from smbfs.wire.message import Message
from smbfs.wire.ntstatus import NtStatus, nt_status
from smbfs.wire.read_write import WriteRequest

if TYPE_CHECKING:
    from smbfs.client.open import Open

_SESSION_TROUBLE = frozenset(
    {
        NtStatus.STATUS_NETWORK_SESSION_EXPIRED,
        NtStatus.STATUS_USER_SESSION_DELETED,
        NtStatus.STATUS_NETWORK_NAME_DELETED,
    }
)
"""How a server says that it has not even looked at a request."""

NOT_AVAILABLE_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds before a change is sent again that the server has put off: what a lost channel has
brought for that file is still being executed."""

_log = logging.getLogger(__name__)


async def nothing_to_do(_channel: Channel) -> None:
    """Do nothing about a channel."""
    await trio.lowlevel.checkpoint()


class Sender:
    """Sends the requests of one tree, and sends again what may be sent again."""

    def __init__(self, line: Lifeline) -> None:
        self.line = line
        line.on_owing = self._send_owed
        self.tree_id = 0
        self.encrypt_data = False
        self.counts_channels = False
        """Whether the server wants to know how many channels were lost."""
        self.on_expired: Callable[[Channel], Awaitable[None]] = nothing_to_do
        """Called when the server wants to know again who we are."""

    def send(self, message: Message) -> None:
        """Send a request whose answer changes nothing here; what goes wrong is only counted."""
        channel = self.line.ready
        if channel is not None:
            channel.connection.submit_soon(self.exchange(channel, (message,)))
        elif is_owed(message):
            self.line.owe(message)

    def _send_owed(self) -> None:
        for message in self.line.take_owed():
            self.send(message)

    async def perform(
        self, messages: tuple[Message, ...], *, of: Open | None = None, patient: bool = False
    ) -> Exchange:
        """Send requests as one frame and return it answered, well or badly.

        Each behind the first works on the same file (``FileId.RELATED``). While the server is
        away, this waits, and sends again what may be sent again (``replay``). ``patient``: no
        program waits for it, so it may last while this machine sleeps.
        Raises: HandleLost when ``of`` did not come back; DeadlineExceeded, ServerAway; the
        TransportError with which the connection ended when nobody knows what became of it.
        """
        is_replay, give_up_s, pauses_s = False, math.inf, iter(NOT_AVAILABLE_PAUSES_S)
        lost = TransportError("it was never sent")
        for _ in range(REPEATS_MAX):
            channel = self.line.ready or await self._next_channel(messages, patient=patient)
            epoch = self.line.epoch
            if of is not None:
                messages = of.addressed(messages)
            exchange = self.exchange(channel, messages, is_replay=is_replay)
            try:
                await channel.connection.perform(exchange)
            except TransportError as error:
                lost = error
            else:
                refusal = exchange.response().header.status
                if self._is_put_off(messages[0], refusal) and (pause_s := next(pauses_s, 0.0)):
                    await trio.sleep(pause_s)
                    continue
                if refusal not in _SESSION_TROUBLE:
                    return exchange
                lost = await self._mend_session(channel, exchange, refusal)
            now_s = trio.current_time()
            if now_s >= give_up_s:
                break  # It fails wherever it is sent.
            give_up_s = min(give_up_s, now_s + self.line.availability.patience_s)
            if lost.request_sent:
                is_replay = True
                await self._may_go_again(messages, epoch, lost, patient=patient)
        raise lost

    def _is_put_off(self, message: Message, status: int) -> bool:
        """Whether the server did not execute a change, and will. Spec: [MS-SMB2] 3.3.5.2.10."""
        is_change = isinstance(message, WriteRequest | SetInfoRequest | IoctlRequest)
        is_refused = status == NtStatus.STATUS_FILE_NOT_AVAILABLE
        return is_refused and is_change and self.counts_channels

    async def _may_go_again(
        self, messages: tuple[Message, ...], epoch: int, lost: TransportError, *, patient: bool
    ) -> None:
        """Wait until the server is back, and return if a request may be sent again then.

        Raises: ``lost``, the error with which its connection ended, if not; DeadlineExceeded.
        """
        if not may_repeat(messages, same_session=True):
            raise lost
        try:
            await self._next_channel(messages, patient=patient)
        except ServerAway:
            raise lost from lost.__cause__
        if not may_repeat(messages, same_session=epoch == self.line.epoch):
            raise lost
        self._note_orphan(messages[0])

    async def _next_channel(self, messages: tuple[Message, ...], *, patient: bool) -> Channel:
        """Wait for a channel; who is cancelled meanwhile leaves behind what others wait for."""
        try:
            return await self.line.channel(patient=patient)
        except trio.Cancelled:
            for message in filter(is_owed, messages):
                self.line.owe(message)
            raise

    def _note_orphan(self, message: Message) -> None:
        """A request is sent again: nobody can close what a first CREATE may have opened."""
        if isinstance(message, CreateRequest):
            for context in message.contexts:
                if isinstance(context, LeaseRequestV2):
                    self.line.leases.repeated(context.lease_key)

    async def tell_again(self, channel: Channel, exchange: Exchange) -> None:
        """Have the session proved again, and told what it has not heard of these requests."""
        if exchange.epoch == self.line.epoch:
            for request in exchange.requests:
                if is_owed(request.message):
                    self.line.owe(request.message)
        await self._mend_session(channel, exchange, NtStatus.STATUS_NETWORK_SESSION_EXPIRED)
        if self.line.ready is not None:
            self._send_owed()

    async def _mend_session(
        self, channel: Channel, exchange: Exchange, status: int
    ) -> TransportError:
        """Have the session proved again, or replaced; return why the request was not executed."""
        why = ServerStatusError(nt_status(status), "the session")
        if status == NtStatus.STATUS_NETWORK_SESSION_EXPIRED:
            if exchange.times_proved != self.line.times_proved:
                return TransportError("the session was proved meanwhile")
            try:
                await self.on_expired(channel)
                return TransportError(str(why))
            except TransportError:
                return TransportError(str(why))  # Whoever brings the session back proves it, too.
            except SmbfsError as error:
                _log.warning("the session can't be renewed: %s", error)
        self.line.session_gone(exchange.epoch, why)
        return TransportError(str(why))

    def exchange(
        self, channel: Channel, messages: tuple[Message, ...], *, is_replay: bool = False
    ) -> Exchange:
        """Return requests of this tree, to be sent by ``channel``."""
        exchange = exchange_of(
            messages, session=channel.session, tree_id=self.tree_id, encrypt=self.encrypt_data
        )
        exchange.epoch, exchange.times_proved = self.line.epoch, self.line.times_proved
        if self.counts_channels:
            exchange.channel_sequence = self.line.channel_sequence
            exchange.is_replay = is_replay
        return exchange
