"""What turns the machine of one server connection: datagrams, timers, and who waits for it.

aioquic's connection does no I/O. :meth:`Driver.pump` moves what it has to say to the socket and
what it has understood to whoever waits, without a checkpoint in between; :meth:`Driver.run` does
so when a timer is due. :class:`~smbfs.transport.quic_server_stream.ServerStream` is what others
see of it.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import trio
from aioquic.quic import events

from smbfs.transport.quic_connection import STREAM_ID, UNSENT_MAX
from smbfs.transport.quic_tls import ServerConnection
from smbfs.transport.udp import Address, Datagram, largest_datagram

UNACKNOWLEDGED_MAX: Final = 16 * 1024 * 1024
"""Bytes that may be on their way to a client, or lost: enough for 1 Gbit/s over 100 ms."""

_HANDSHAKE_TIMEOUT_S: Final = 10.0

_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Is told what nobody asked for."""

    def refused(self, address: Address, server_name: str | None, reason: str) -> None:
        """A client was not let in."""

    def migrated(self, old: Address, new: Address) -> None:
        """A client that was let in speaks from another address."""


class Endpoint(Protocol):
    """What a driver needs of the server that it belongs to."""

    observer: Observer

    @property
    def is_blocked(self) -> bool:
        """Whether the network takes nothing more at the moment."""

    def transmit(self, datagrams: Sequence[Datagram]) -> None:
        """Send datagrams, now or as soon as the network takes them."""

    def route(self, connection_id: bytes, driver: Driver) -> None:
        """Datagrams for ``connection_id`` are for ``driver`` from now on."""

    def unroute(self, connection_id: bytes) -> None:
        """Datagrams for ``connection_id`` are for nobody any more."""

    def established(self, driver: Driver) -> None:
        """The handshake of ``driver`` is complete."""

    def over(self, driver: Driver) -> None:
        """Nothing more will be heard of ``driver``."""


class Driver:
    """Drives one client's connection. What others read and write of it is public."""

    def __init__(self, quic: ServerConnection, endpoint: Endpoint, address: Address) -> None:
        self.quic = quic
        self.address = address
        """Where the client speaks from; it may change."""
        self.is_established = False
        """Whether the handshake is complete."""
        self.has_ended = False
        """Whether the connection is closed, or about to be."""
        self.end_reason = ""
        """Why it has ended, for people."""
        self.incoming: deque[bytes] = deque()
        self.incoming_eof = False
        self.unwritten: list[bytes] = []
        """What waits for the stream to exist."""
        self.outgoing_eof = False
        self.readers = trio.lowlevel.ParkingLot()
        self.writers = trio.lowlevel.ParkingLot()
        self._endpoint = endpoint
        self._handshake_until = trio.current_time() + _HANDSHAKE_TIMEOUT_S
        self._is_over = False
        self._alarm = trio.CancelScope()
        self._last_words: list[Datagram] = []
        self._late_datagrams = 0

    @property
    def unacknowledged(self) -> int:
        """Bytes written that the client has not acknowledged."""
        return self.quic.unacknowledged + self._unwritten_size

    @property
    def takes_more(self) -> bool:
        """Whether more may be written."""
        is_sent = self.quic.unsent + self._unwritten_size <= UNSENT_MAX
        return is_sent and self.unacknowledged <= UNACKNOWLEDGED_MAX

    @property
    def _unwritten_size(self) -> int:
        return sum(map(len, self.unwritten))

    def close(self, code: int, reason: str) -> None:
        """Close the connection, and tell the client why; what it has not got is lost."""
        if not self.has_ended:
            self.quic.close(error_code=code, reason_phrase=reason)
            self.pump()

    def receive_datagram(self, data: bytes, address: Address, now: float) -> None:
        """Take a datagram; `pump` afterwards."""
        if self._last_words:
            # The client may not have heard them; ever fewer answers. Spec: RFC 9000 section 10.2.1.
            self._late_datagrams += 1
            if self._late_datagrams.bit_count() == 1:
                self._endpoint.transmit(self._last_words)
            return
        self._step(lambda: self.quic.receive_datagram(data, address, now))
        if not self.quic.has_begun:
            self._forget()  # It was no client's; to keep it would be a gift to whoever sent it.

    def pump(self) -> None:
        """Let out what the connection has to say, and hand on what it has understood."""
        self._step(self._pump)
        self._wake()

    async def run(self) -> None:
        """Do what is due when time passes, until nothing more will be heard of the client."""
        while not self._is_over:
            with trio.CancelScope(deadline=self._due()) as self._alarm:
                await trio.sleep_forever()
            now = trio.current_time()
            if not self.is_established and now >= self._handshake_until:
                self.close(0, "the handshake takes too long")
            if not self._is_over:
                self._step(lambda now=now: self.quic.handle_timer(now))  # type: ignore[misc]
            self.pump()

    def _due(self) -> float:
        if self._is_over:
            return -math.inf
        if self._endpoint.is_blocked:
            return math.inf  # We are pumped when that is over.
        timer = self.quic.get_timer()
        due = math.inf if timer is None else timer
        return due if self.is_established or self.has_ended else min(due, self._handshake_until)

    def _step(self, do: Callable[[], None]) -> None:
        """Do something with aioquic. If it fails, this client is gone, and no other."""
        if self._is_over:
            return
        try:
            do()
        except Exception:  # noqa: BLE001 - one peer's bytes must not end the others' connections
            _log.exception("the connection with %s is dropped", self.address)
            self._note_end("an internal error")
            self._forget()

    def _forget(self) -> None:
        self.has_ended = self._is_over = True
        self._endpoint.over(self)

    def _pump(self) -> None:
        self._take_events()
        if self.quic.end is None:
            self._write()
        if not self._endpoint.is_blocked:
            self._take_address()  # Another path may carry less.
            datagrams = self.quic.datagrams_to_send(trio.current_time())
            if datagrams:
                self._endpoint.transmit(datagrams)
                self._take_events()  # Connection ids are issued when they are sent.
            if self.quic.end is not None and not self.has_ended:
                self._last_words = datagrams
        self._take_end()

    def _write(self) -> None:
        if self.unwritten and self.quic.knows_stream:
            for data in self.unwritten:
                self.quic.send_stream_data(STREAM_ID, data)
            self.unwritten.clear()
        if self.outgoing_eof and self.quic.knows_stream:
            self.outgoing_eof = False
            self.quic.send_stream_data(STREAM_ID, b"", end_stream=True)

    def _take_events(self) -> None:
        while (event := self.quic.next_event()) is not None:
            match event:
                case events.StreamDataReceived():
                    if event.data:
                        self.incoming.append(event.data)
                    self.incoming_eof |= event.end_stream
                case events.StreamReset() | events.StopSendingReceived():
                    self.quic.close(reason_phrase="the client has broken its stream off")
                case events.HandshakeCompleted():
                    self.is_established = True
                    self.quic.search_datagram_size(largest_datagram(self.address))
                    self._endpoint.established(self)
                case events.ConnectionIdIssued():
                    self._endpoint.route(event.connection_id, self)
                case events.ConnectionIdRetired():
                    self._endpoint.unroute(event.connection_id)
                case events.ConnectionTerminated():
                    self._take_end()
                    self._forget()

    def _take_end(self) -> None:
        end = self.quic.end
        if end is None:
            return
        if self.quic.is_ended_by_peer:
            words = f", {end.reason_phrase!r}" if end.reason_phrase else ""
            self._note_end(f"closed by the client (code {end.error_code:#x}{words})")
        else:
            self._note_end(end.reason_phrase or f"error {end.error_code:#x}")

    def _note_end(self, reason: str) -> None:
        if not self.has_ended:
            self.has_ended = True
            self.end_reason = reason
            if not self.is_established:
                self._endpoint.observer.refused(self.address, self.quic.server_name, reason)

    def _take_address(self) -> None:
        address = self.quic.peer_address
        if address is not None and address != self.address:
            old, self.address = self.address, address
            if self.is_established:
                if address[0] != old[0]:  # Else a router has only changed the port.
                    self.quic.begin_path(largest_datagram(self.address))
                self._endpoint.observer.migrated(old, address)

    def _wake(self) -> None:
        if self.incoming or self.incoming_eof or self.has_ended:
            self.readers.unpark_all()
        if self.writers and (self.has_ended or self.takes_more):
            self.writers.unpark_all()
        self._alarm.deadline = self._due()
