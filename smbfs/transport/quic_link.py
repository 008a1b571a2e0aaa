"""What turns the machine of our connection to a server: datagrams, timers, and our own address.

aioquic decides what is sent and when; here it gets datagrams and the time. There is no task of its
own: whoever waits for something drives the link meanwhile, the reader or the one that flushes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio
from aioquic.quic import events

from smbfs.errors import RemoteProtocolError, SmbfsError, TransportError
from smbfs.transport.quic_client import ClientConnection
from smbfs.transport.quic_connection import ALPN, STREAM_ID
from smbfs.transport.quic_errors import ended, no_such_protocol
from smbfs.transport.udp import Address, Datagram, UdpSocket, connected_socket, largest_datagram

KEEP_ALIVE_S: Final = 10.0
"""Silence after which we say something, so that neither the server nor a router gives us up."""

_RECEIVES_MAX: Final = 32
"""Receptions in a row before the answers to them are sent."""

_log = logging.getLogger(__name__)


class QuicLink:
    """A connection, and the socket that it has at the moment."""

    def __init__(
        self,
        udp: UdpSocket,
        quic: ClientConnection,
        peer: Address,
        *,
        on_open: Callable[[bool], None],
        on_data: Callable[[bytes], None],
    ) -> None:
        """Take over ``udp``, on which ``quic`` talks to ``peer``.

        ``on_open`` is called when the handshake is complete, before anything more is sent, with
        whether the server has taken what went along with it; ``on_data`` with what the stream
        brings. Both may raise SmbfsError.
        """
        self.quic = quic
        self.peer = peer
        self.is_open = False
        """Whether the handshake is complete."""
        self.failure: SmbfsError | None = None
        """Why it is over, if it is."""
        self._udp = udp
        self._on_open = on_open
        self._on_data = on_data
        self._waiting: list[Datagram] = []
        self._is_driven = False
        self._moved = trio.Event()
        self._last_received_s = trio.current_time()
        self._alarm = trio.CancelScope()
        """What wakes the driver."""
        self.quic.search_datagram_size(largest_datagram(self.peer))

    @property
    def address(self) -> str:
        """Our own address."""
        return str(self._udp.address[0])

    async def drive_until(self, condition: Callable[[], bool]) -> None:
        """Move datagrams until something is the case, or nothing ever will be: see ``failure``."""
        while self.failure is None and not condition():
            if self._is_driven:
                await self._moved.wait()
                continue
            self._is_driven = True
            try:
                await self._step()
            finally:
                self._is_driven = False
                self._wake()

    def transmit(self) -> None:
        """Send what there is to send, as far as the network takes it. Raises: TransportError."""
        try:
            while self._waiting or self._fetch():
                del self._waiting[: self._udp.send(self._waiting)]
                if self._waiting:
                    break  # The driver goes on when the socket has room.
        except OSError as error:
            self._network_failed(error)
        self._alarm.deadline = self._due_s()  # Whoever drives may have to act earlier now.

    def _fetch(self) -> bool:
        self._waiting = self.quic.datagrams_to_send(trio.current_time())
        return bool(self._waiting)

    def close(self) -> None:
        """Close the connection; the server is told, if it can be."""
        if self.quic.end is None:
            self.quic.close()
        if self.quic.is_connected and not self.quic.is_ended_by_peer:
            self._waiting.clear()
            with suppress(SmbfsError):  # It is over in any case.
                self.transmit()
        if self.failure is None:
            self.failure = TransportError("the connection was closed")
        self._udp.close()
        self._wake()

    # ------------------------------------------------------------- moving

    def look_for_address(self) -> bool:
        """Move if the network would now send us from another address; return whether we have.

        If not, see who is there: a link that was down has made us patient.
        """
        try:
            udp = UdpSocket(connected_socket(self.peer))
        except OSError as error:
            _log.info("no way to %s for now: %s", self.peer[0], error)
            return False
        has_changed = str(udp.address[0]) != self.address
        if has_changed:
            self.move_to(udp)
        else:
            udp.close()
            self._ask_for_life()
        return has_changed

    def move_to(self, udp: UdpSocket) -> None:
        """Go on from another address (RFC 9000, section 9): the server finds us by what we say."""
        before, self._udp = self._udp, udp
        _log.info("moved from %s to %s", before.address[0], self.address)
        before.close()
        self._waiting.clear()
        # Under another id, so that nobody on the way can tell that these two are the same.
        self.quic.change_connection_id()
        self.quic.begin_path(largest_datagram(self.peer))
        self._ask_for_life()

    def _ask_for_life(self) -> None:
        """Have the server say something, now and however much is on its way already."""
        self.quic.lose_patience()
        self.transmit()
        self._wake()

    # ------------------------------------------------------------- driving

    def _wake(self) -> None:
        moved, self._moved = self._moved, trio.Event()
        moved.set()

    def _due_s(self) -> float:
        """Return when there is something to do if nothing comes."""
        timer_s = None if self._waiting else self.quic.get_timer()
        alive_s = self._alive_s if self.is_open else math.inf
        return min(timer_s if timer_s is not None else math.inf, alive_s)

    @property
    def _alive_s(self) -> float:
        return self._last_received_s + min(KEEP_ALIVE_S, self.quic.idle_timeout_s / 3)

    async def _step(self) -> None:
        """Wait for a datagram or a timer, and do what follows from it."""
        with trio.CancelScope(deadline=self._due_s()) as self._alarm:
            try:
                if self._waiting:
                    await self._udp.wait_writable()
                else:
                    await self._udp.wait_readable()
            except trio.ClosedResourceError:
                return  # We have moved, or it is over.
        if self.failure is not None:
            return
        try:
            self._turn()
        except SmbfsError as error:
            self.failure = error
        except Exception as error:  # noqa: BLE001 - what the server has sent must not end the mount
            self.failure = RemoteProtocolError(f"the server has confused QUIC: {error!r}")
            self.failure.__cause__ = error

    def _turn(self) -> None:
        self._receive()
        now_s, timer_s = trio.current_time(), self.quic.get_timer()
        if timer_s is not None and now_s >= timer_s and self.quic.end is None:
            self.quic.handle_timer(now_s)
        if self.is_open and now_s >= self._alive_s:
            self._last_received_s = now_s
            self.quic.send_ping(0)
        self._take_events()
        self.transmit()

    def _receive(self) -> None:
        for _ in range(_RECEIVES_MAX):
            try:
                datagrams = self._udp.receive()
            except OSError as error:
                self._network_failed(error)
                return
            if not datagrams:
                return
            self._last_received_s = now_s = trio.current_time()
            for data, address in datagrams:
                self.quic.receive_datagram(data, address, now_s)

    def _network_failed(self, error: OSError) -> None:
        """Believe the network while we connect; later it may recover."""
        self._waiting.clear()
        if not self.is_open:
            host, port = self.peer[:2]
            raise TransportError(f"UDP port {port} of {host} can't be reached: {error}") from error

    def _take_events(self) -> None:
        while (event := self.quic.next_event()) is not None:
            match event:
                case events.StreamDataReceived(data=data, end_stream=is_end, stream_id=stream_id):
                    if stream_id != STREAM_ID:
                        raise RemoteProtocolError("the server opened a stream of its own")
                    self._on_data(data)
                    if is_end:
                        raise TransportError("the server closed the connection")
                case events.StreamReset() | events.StopSendingReceived():
                    raise TransportError("the server gave the stream up")
                case events.HandshakeCompleted(alpn_protocol=protocol, early_data_accepted=early):
                    if protocol != ALPN:
                        raise no_such_protocol("")
                    self._on_open(early)
                    self.is_open = True
                case _:
                    pass
        end = self.quic.end
        if self.is_open:
            self.quic.keep_ticket()
        if end is not None:
            is_told = self.quic.is_ended_by_peer
            raise ended(end, is_told=is_told, is_open=self.is_open)
