"""SMB over QUIC: the frames of direct TCP in one stream of a QUIC connection.

Memory is bounded both ways: the server may send what its window allows, which grows when a frame
is taken. What we send waits here up to ``UNSENT_MAX``, beyond that in the queues of the engine,
where a short message still overtakes a long one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

import trio
from cryptography import x509

from smbfs.errors import CertificateRefused
from smbfs.transport.base import (
    LENGTH_PREFIX_SIZE,
    MAX_FRAME_SIZE,
    Buffer,
    Flow,
    OnMoved,
    TransportName,
)
from smbfs.transport.frame_assembler import FrameAssembler
from smbfs.transport.network_changes import network_changes
from smbfs.transport.quic_client import ClientConnection
from smbfs.transport.quic_connection import STREAM_ID, UNSENT_MAX
from smbfs.transport.quic_link import QuicLink
from smbfs.transport.tunnel import ServerCertificate, Tunnel
from smbfs.transport.udp import Address, UdpSocket

Judge = Callable[[Sequence[x509.Certificate]], ServerCertificate]
"""Describes the first of these certificates, or raises CertificateRefused."""


class QuicStream:
    """A :class:`~smbfs.transport.base.MessageStream` over a QUIC connection."""

    transport: TransportName = "quic"

    def __init__(
        self, udp: UdpSocket, quic: ClientConnection, address: Address, judge: Judge | None = None
    ) -> None:
        """Take over ``udp``, on which ``quic`` talks to ``address``.

        ``judge`` says whether the server is the right one, before it is told more than a handshake
        needs.
        """
        self._tunnel: Tunnel | None = None
        self._assembler = FrameAssembler()
        self._judge = judge
        self._link = QuicLink(
            udp, quic, address, on_open=self._opened, on_data=self._assembler.feed
        )
        self._quic = quic

    @property
    def peer(self) -> tuple[str, int]:
        """See :class:`MessageStream`."""
        host, port = self._link.peer[:2]
        return str(host), int(port)

    @property
    def tunnel(self) -> Tunnel | None:
        """See :class:`MessageStream`; set when the server's certificate was found good."""
        if self._tunnel is None:
            return None
        return replace(self._tunnel, datagram_size=self._quic.datagram_size)

    @tunnel.setter
    def tunnel(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    @property
    def max_message_size(self) -> int:
        """See :class:`MessageStream`."""
        return self._assembler.max_message_size

    @max_message_size.setter
    def max_message_size(self, size: int) -> None:
        self._assembler.max_message_size = size

    @property
    def flow(self) -> Flow:
        """See :class:`MessageStream`."""
        return self._quic.flow

    @property
    def unflushed(self) -> bool:
        """See :class:`MessageStream`: whether so much waits that no more should be sent."""
        return self._link.failure is None and self._quic.unsent > UNSENT_MAX

    def send(self, buffers: Sequence[Buffer]) -> None:
        """See :class:`MessageStream`. The pieces may change at once: they are copied."""
        length = sum(map(len, buffers))
        if length > MAX_FRAME_SIZE:
            raise ValueError(f"a frame of {length} bytes can't be framed")
        if self._link.failure is not None:
            raise self._link.failure
        frame = b"".join((length.to_bytes(LENGTH_PREFIX_SIZE, "big"), *buffers))
        self._quic.send_stream_data(STREAM_ID, frame)
        self._link.transmit()

    async def flush(self) -> None:
        """See :class:`MessageStream`."""
        await self._wait_for(lambda: self._quic.unsent == 0)

    async def receive_message(self) -> bytearray:
        """See :class:`MessageStream`."""
        frames = self._assembler.frames
        if frames:
            await trio.lowlevel.checkpoint()
        else:
            await self._link.drive_until(lambda: bool(frames))
        if not frames:
            assert self._link.failure is not None
            raise self._link.failure
        frame = frames.popleft()
        if self._quic.consume(LENGTH_PREFIX_SIZE + len(frame)) and self._link.failure is None:
            self._link.transmit()
        return frame

    async def handshake(self) -> None:
        """Return when both sides have the keys, and the server's certificate was found good.

        Raises: TransportError, CertificateRefused, NegotiationRefused.
        """
        self._link.transmit()
        await self.wait_open()

    def _opened(self, zero_rtt: bool) -> None:
        if self._judge is not None:
            try:
                certificate = self._judge(self._quic.peer_chain)
            except CertificateRefused as error:
                self._quic.refuse_certificate(error.what)
                raise
            self._tunnel = Tunnel(certificate, zero_rtt=zero_rtt)

    async def wait_open(self) -> None:
        """Do the same at the other end, which has nothing to say before the client has spoken."""
        await self._wait_for(lambda: self._link.is_open)

    async def _wait_for(self, condition: Callable[[], bool]) -> None:
        await self._link.drive_until(condition)
        if self._link.failure is not None:
            raise self._link.failure

    async def follow_network(self, on_moved: OnMoved) -> None:
        """See :class:`MessageStream`: the connection moves to whatever address we have."""
        async with aclosing(network_changes()) as changes:
            async for _ in changes:
                if self._link.failure is not None:
                    return  # There is no socket any more whose address could be asked for.
                before = self._link.address
                if self._link.look_for_address():
                    self._count_move()
                    on_moved(before, self._link.address)

    def move_to(self, udp: UdpSocket) -> None:
        """Go on from another address."""
        self._link.move_to(udp)
        self._count_move()

    def _count_move(self) -> None:
        if self._tunnel is not None:
            self._tunnel = replace(self._tunnel, migrations=self._tunnel.migrations + 1)

    def give_up(self) -> None:
        """Close the connection at once."""
        self._link.close()

    async def aclose(self) -> None:
        """See :class:`MessageStream`. The server is told, if it can be."""
        self.give_up()
        await trio.lowlevel.checkpoint()
