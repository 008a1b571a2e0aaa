"""trio around one engine and one stream.

A reader is the only task that receives; a writer flushes what the network did not take at once;
a watch notices silence; one more keeps the stream when the network changes. Everything else happens
in the caller's task: ``perform`` queues an exchange, ``_pump`` moves frames from the engine to the
stream without a checkpoint, and the caller sleeps until the reader wakes it with the last answer.

INVARIANT: an exchange that the engine holds has its waiting task in ``exchange.waiter``, or
``None`` when that task was cancelled or there never was one (ECHO, the CLOSE of an orphan).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import outcome
import trio

from smbfs.client.replay import is_owed
from smbfs.client.silence import CHECK_S, SilenceWatch
from smbfs.client.status import Counters
from smbfs.engine.connection import Connection as Engine
from smbfs.engine.events import Broken, Completed, Event, Ignored
from smbfs.engine.exchange import Exchange, exchange_of
from smbfs.engine.leases import Lease
from smbfs.errors import (
    DeadlineExceeded,
    RemoteProtocolError,
    SmbfsError,
    TransportError,
    WireError,
)
from smbfs.transport.base import MessageStream, OnMoved
from smbfs.wire.close_flush import CloseRequest
from smbfs.wire.create import CreateResponse
from smbfs.wire.echo_cancel import EchoRequest
from smbfs.wire.header import Command
from smbfs.wire.message import Message
from smbfs.wire.ntstatus import NtStatus, status_name

_ERRORS_BEGIN = 0xC000_0000
"""NTSTATUS codes of severity "error" (2.3 of [MS-ERREF])."""

_NO_ERRORS = frozenset({NtStatus.STATUS_MORE_PROCESSING_REQUIRED, NtStatus.STATUS_END_OF_FILE})
"""Codes of that severity that only tell how far something is."""

PENDING_PATIENCE = 10
"""How many times longer we wait for what the server has said to take longer."""

_log = logging.getLogger(__name__)


class Connection:
    """A live connection. ``run`` must be running for ``perform`` to end."""

    def __init__(
        self,
        engine: Engine,
        stream: MessageStream,
        *,
        timeout_s: float,
        counters: Counters | None = None,
    ) -> None:
        """``timeout_s``: silence, with something outstanding, after which it is given up."""
        self.engine = engine
        self.stream = stream
        self.counters = counters if counters is not None else Counters()
        self.on_break: Callable[[Lease, bool], None] = lambda _lease, _must_acknowledge: None
        """Called when the server has taken something back; it must not raise."""
        self.on_expired: Callable[[Exchange], None] = lambda _exchange: None
        """Called when the server has not looked at what it must be told, since the session's time
        is over, and nobody waits for that; it must not raise."""
        self.on_moved: OnMoved = lambda _before, _now: None
        """Called when it goes on from another address of ours."""
        self.on_ended: Callable[[SmbfsError], None] = lambda _failure: None
        """Called when it has ended, before anybody who waits is told; it must not raise."""
        self.silence = SilenceWatch(
            timeout_s=timeout_s,
            is_busy=lambda: bool(engine.outstanding or engine.flow.queued),
            ask=lambda: self.submit(exchange_of([EchoRequest()])),
            flow=lambda: stream.flow,
            overtaken_s=self._overtaken_s,
        )
        self._answered_s = 0.0
        """When the latest was sent of the exchanges that were answered."""
        self.unheard: list[Message] = []
        """What the server has to be told in any case, and was not answered when it ended.

        What somebody waits for is theirs to repeat: a file id that is closed twice may be another
        file's by then.
        """
        self._scope = trio.CancelScope()
        self._must_flush = trio.Event()
        self._send_error: SmbfsError | None = None
        self._ended = trio.Event()

    @property
    def is_alive(self) -> bool:
        """Whether requests can still be answered."""
        return self.engine.failure is None

    async def run(self) -> None:
        """Serve the connection until it fails or this task is cancelled.

        A failure is not raised here: every waiting ``perform`` raises it, and every later one.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read)
                    nursery.start_soon(self._write)
                    nursery.start_soon(self.silence.run)
                    nursery.start_soon(self._follow_network)
        except* SmbfsError as group:
            self._fail(_first_leaf(group))
        finally:
            self._fail(TransportError("the connection was closed"))
            with trio.CancelScope(shield=True):
                await self.stream.aclose()

    def give_up(self, failure: SmbfsError) -> None:
        """End it now, because of ``failure``."""
        self._fail(failure)
        self._scope.cancel()

    def check(self, patience_s: float = CHECK_S) -> None:
        """Find out soon whether the server still answers."""
        if self.is_alive:
            self.silence.check(patience_s)

    def _moved(self, before: str, now: str) -> None:
        self.on_moved(before, now)  # Who listens may have come since.

    async def wait_ended(self) -> SmbfsError:
        """Return why the connection ended, once it has."""
        await self._ended.wait()
        assert self.engine.failure is not None
        return self.engine.failure

    async def perform(self, exchange: Exchange) -> Exchange:
        """Send an exchange and return it when every part is answered, well or badly.

        Raises: TransportError when the connection is or gets lost; its ``request_sent`` says
        whether the server may have acted.
        """
        if self.engine.failure is not None:
            await trio.lowlevel.checkpoint()
            raise _connection_lost(self.engine.failure, sent=False)
        exchange.waiter = trio.lowlevel.current_task()
        self.submit(exchange)

        def abandon(_raise_cancel: object) -> trio.lowlevel.Abort:
            exchange.waiter = None
            self.engine.cancel(exchange)
            self._pump()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abandon)
        return exchange

    def submit(self, exchange: Exchange) -> None:
        """Send an exchange whose answer nobody waits for. Raises: LocalProtocolError if dead."""
        self._queue(exchange)
        self._pump()

    def submit_soon(self, exchange: Exchange) -> None:
        """Do the same, but let the next request of this moment take it along in its frame."""
        self._queue(exchange)
        self._must_flush.set()

    def _queue(self, exchange: Exchange) -> None:
        if not (self.engine.outstanding or self.engine.flow.queued):
            self.silence.begins(trio.current_time())
        self.engine.submit(exchange)
        self.counters.requests += len(exchange.requests)
        self.counters.round_trips[exchange.requests[0].message.command.name] += 1

    def _overtaken_s(self) -> float:
        plain, pending = (self.engine.oldest(is_pending=each) for each in (False, True))
        overtaken_s = 0.0 if plain is None else self._answered_s - plain.sent_s
        if pending is not None:
            overtaken_s = max(overtaken_s, (self._answered_s - pending.sent_s) / PENDING_PATIENCE)
        return overtaken_s

    def _pump(self) -> None:
        """Hand the stream every frame that credits and its buffers allow. No checkpoint.

        Nobody is woken here, since the caller may be the very task that is about to sleep: an
        error is left to ``_write``, and until it has ended the connection nothing is sent.
        """
        if self._send_error is not None:
            return
        now_s = trio.current_time()
        try:
            while not self.stream.unflushed:
                frame = self.engine.next_transmission(now_s)
                if frame is None:
                    return
                self.stream.send(frame)
        except SmbfsError as error:
            self._send_error = error
        self._must_flush.set()

    # ------------------------------------------------------------------- tasks

    async def _read(self) -> None:
        while True:
            frame = await self.stream.receive_message()
            self.silence.heard()
            for event in self.engine.receive_message(frame):
                self._handle(event)
            if self.engine.flow.queued:
                self._pump()  # The answer may have brought credits.

    async def _write(self) -> None:
        while True:
            await self._must_flush.wait()
            self._must_flush = trio.Event()
            if self._send_error is not None:
                raise self._send_error
            await self.stream.flush()
            self._pump()

    async def _follow_network(self) -> None:
        """Keep the connection when this machine's network changes, if the transport can."""
        await self.stream.follow_network(self._moved)

    # ------------------------------------------------------------------ events

    def _handle(self, event: Event) -> None:
        match event:
            case Completed(exchange):
                self._complete(exchange)
            case Broken(lease, must_acknowledge):
                self.counters.breaks += 1
                self.on_break(lease, must_acknowledge)
            case Ignored(reason):
                self.counters.ignored += 1
                # Not a warning: a break may cross our CLOSE, and a server could fill the log.
                _log.info("ignored %s", reason)

    def _complete(self, exchange: Exchange) -> None:
        self._answered_s = max(self._answered_s, exchange.sent_s)
        for request in exchange.requests:
            assert request.response is not None
            status = request.response.header.status
            if status >= _ERRORS_BEGIN and status not in _NO_ERRORS:
                self.counters.count_error(status_name(status))
        task = exchange.waiter
        if isinstance(task, trio.lowlevel.Task):
            exchange.waiter = None
            trio.lowlevel.reschedule(task)
        elif _has_expired(exchange):
            self.on_expired(exchange)
        else:
            self._close_orphan(exchange)

    def _close_orphan(self, exchange: Exchange) -> None:
        """Close what an abandoned CREATE has opened: nobody else knows of it.

        It raises nothing, for the answers behind this one are waited for: what can't be closed
        is left to the end of the connection.
        """
        response = exchange.response()
        opened = response.header.status == NtStatus.STATUS_SUCCESS
        if response.header.command != Command.CREATE or not opened or not self.is_alive:
            return
        last = exchange.response(-1).header
        if last.command == Command.CLOSE and last.status == NtStatus.STATUS_SUCCESS:
            return
        try:
            file_id = CreateResponse.decode(response.body).file_id
        except WireError as error:
            _log.warning("a handle that nobody wants can't be closed: %s", error)
            return
        oplock = self.engine.leases.oplock_of(file_id)
        if oplock is not None:
            self.engine.leases.closed(oplock)
        self.submit(
            exchange_of(
                [CloseRequest(file_id)],
                session=exchange.session,
                tree_id=exchange.tree_id,
                encrypt=exchange.encrypt,
            )
        )

    def _fail(self, failure: SmbfsError) -> None:
        unfinished = self.engine.fail(failure)
        self.unheard = [
            request.message
            for exchange in unfinished
            if exchange.waiter is None
            for request in exchange.requests
            if is_owed(request.message)
        ]
        if not self._ended.is_set():
            self._ended.set()
            assert self.engine.failure is not None
            _log.info("connection ended: %s", self.engine.failure)
            self.on_ended(self.engine.failure)
        for exchange in unfinished:
            task, exchange.waiter = exchange.waiter, None
            if isinstance(task, trio.lowlevel.Task):
                sent = exchange.requests[0].message_id >= 0
                trio.lowlevel.reschedule(task, outcome.Error(_connection_lost(failure, sent=sent)))


def _connection_lost(failure: SmbfsError, *, sent: bool) -> SmbfsError:
    if isinstance(failure, RemoteProtocolError | DeadlineExceeded):
        lost: SmbfsError = TransportError(
            f"the connection was given up: {failure}", request_sent=sent
        )
    else:
        lost = TransportError(f"the connection was lost: {failure}", request_sent=sent)
    lost.__cause__ = failure
    return lost


def _first_leaf(group: BaseExceptionGroup[SmbfsError]) -> SmbfsError:
    first = group.exceptions[0]
    return _first_leaf(first) if isinstance(first, BaseExceptionGroup) else first


def _has_expired(exchange: Exchange) -> bool:
    status = exchange.response().header.status
    is_told = any(is_owed(request.message) for request in exchange.requests)
    return is_told and status == NtStatus.STATUS_NETWORK_SESSION_EXPIRED
