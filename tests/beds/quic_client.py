"""A small QUIC client, for tests of whoever serves QUIC: aioquic's machine on a trio socket.

It can stop to make room for more (``takes_more``), move to another port, and it says how the
connection ended.
"""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography import x509

from tests.beds.pki import Leaf, Pki

_PATIENCE_S = 30.0
STREAM_ID = 0


class Ended(Exception):
    """The connection ended: with this code, for this reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code:#x} {reason}")
        self.code = code
        self.reason = reason


class _Connection(QuicConnection):
    takes_more = True
    """Whether the server is told of room that there is."""

    def _write_stream_limits(self, builder: Any, space: Any, stream: Any) -> None:  # noqa: ANN401
        if self.takes_more:
            super()._write_stream_limits(builder, space, stream)


class QuicClient:
    """One connection with one stream."""

    def __init__(self, port: int, configuration: QuicConfiguration) -> None:
        self.received = bytearray()
        self.has_eof = False
        self.quic = _Connection(configuration=configuration)
        self._peer = ("127.0.0.1", port)
        self._sock = _bind()
        self._is_complete = False
        self._ended: Ended | None = None
        self._news = trio.lowlevel.ParkingLot()
        self._alarm = trio.CancelScope()
        self._reading = trio.CancelScope()

    async def run(self) -> None:
        self.quic.connect(self._peer, now=trio.current_time())
        await self.pump()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            while True:
                with trio.CancelScope() as self._reading, suppress(trio.ClosedResourceError):
                    data = await self._sock.recv(65536)
                    self.quic.receive_datagram(data, self._peer, trio.current_time())
                    await self.pump()

    async def _keep_time(self) -> None:
        while True:
            timer = self.quic.get_timer()
            with trio.CancelScope(deadline=math.inf if timer is None else timer) as self._alarm:
                await trio.sleep_forever()
            if self.quic.get_timer() is not None:
                self.quic.handle_timer(trio.current_time())
            await self.pump()

    async def pump(self) -> None:
        """Send what is due, take what has come."""
        for data, _ in self.quic.datagrams_to_send(trio.current_time()):
            await self._sock.sendto(data, self._peer)
        while (event := self.quic.next_event()) is not None:
            self._take(event)
        timer = self.quic.get_timer()
        self._alarm.deadline = math.inf if timer is None else timer
        self._news.unpark_all()

    def _take(self, event: events.QuicEvent) -> None:
        match event:
            case events.HandshakeCompleted():
                self._is_complete = True
            case events.StreamDataReceived():
                self.received += event.data
                self.has_eof |= event.end_stream
            case events.ConnectionTerminated():
                self._ended = Ended(event.error_code, event.reason_phrase)

    async def _until(self, what: str) -> None:
        await self._news.park()
        if self._ended is not None and what != "the end":
            raise self._ended

    async def connected(self) -> None:
        """Wait for the handshake. Raises: Ended."""
        with trio.fail_after(_PATIENCE_S):
            while not self._is_complete:
                await self._until("the handshake")

    async def send(self, data: bytes, *, eof: bool = False) -> None:
        self.quic.send_stream_data(STREAM_ID, data, end_stream=eof)
        await self.pump()

    async def receive(self, size: int) -> bytes:
        """Wait for the next ``size`` bytes. Raises: Ended."""
        with trio.fail_after(_PATIENCE_S):
            while len(self.received) < size:
                await self._until("data")
        data = bytes(self.received[:size])
        del self.received[:size]
        return data

    @property
    def unacknowledged(self) -> int:
        """Bytes that were sent and have not arrived."""
        return len(self.quic._streams[STREAM_ID].sender._buffer)

    async def ended(self) -> Ended:
        """Wait for the end."""
        with trio.fail_after(_PATIENCE_S):
            while self._ended is None:
                await self._until("the end")
        return self._ended

    @property
    def certificate(self) -> x509.Certificate:
        """What the server has shown."""
        certificate = self.quic.tls._peer_certificate
        assert certificate is not None
        return certificate

    @property
    def address(self) -> str:
        return ":".join(map(str, self._sock.getsockname()))

    def move(self) -> None:
        """Go on from another port, as when a NAT or the network has changed."""
        self.quic.change_connection_id()
        self._sock.close()
        self._sock = _bind()
        self._reading.cancel()

    def close_socket(self) -> None:
        """Be gone without a word."""
        self._sock.close()

    async def close(self) -> None:
        """Close the connection."""
        self.quic.close(reason_phrase="good bye")
        await self.pump()


@asynccontextmanager
async def quic_client(
    port: int,
    pki: Pki,
    *,
    name: str = "bed.test",
    alpn: str = "smb",
    certificate: Leaf | None = None,
    window: int = 1024 * 1024,
) -> AsyncIterator[QuicClient]:
    """Begin a connection; `connected` tells how it went."""
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=[alpn],
        server_name=name,
        cafile=str(pki.ca),
        max_data=window,
        max_stream_data=window,
    )
    if certificate is not None:
        configuration.load_cert_chain(str(certificate.cert), str(certificate.key))
    client = QuicClient(port, configuration)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            yield client
            nursery.cancel_scope.cancel()
    finally:
        client.close_socket()


def _bind() -> Any:  # noqa: ANN401 - trio's socket type is private
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * 1024 * 1024)
    sock.bind(("127.0.0.1", 0))
    return trio.socket.from_stdlib_socket(sock)
