"""A QUIC stream alone: it moves, it stays awake, and it takes no more than the network does."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trio.testing
from aioquic import tls
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.quic import packet
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicTransportParameters
from aioquic.quic.packet_builder import QuicPacketBuilder

from smbfs.errors import CertificateRefused, NegotiationRefused, SmbfsError, TransportError
from smbfs.transport.base import MAX_FRAME_SIZE
from smbfs.transport.quic import QuicStream
from smbfs.transport.quic_connection import GAPS_MAX, TLS_MESSAGE_MAX, UNSENT_MAX
from smbfs.transport.quic_errors import ended
from smbfs.transport.quic_link import KEEP_ALIVE_S
from smbfs.transport.tunnel import ServerCertificate, Tunnel
from smbfs.transport.udp import Datagram, UdpSocket
from tests.beds.pki import Leaf, Pki
from tests.beds.quic_pair import quic_stream_pair

FRAME = bytes(range(256)) * 4096
"""1 MiB."""

LOOPBACK = 65_507
"""Bytes that a datagram may have on loopback: as many as an IP packet."""

NARROW = 1300
"""Bytes that get through when a path has become narrower."""

TUNNEL = Tunnel(ServerCertificate("", (), "", datetime.now(UTC)))


@pytest.fixture(scope="module")
def leaf(tmp_path_factory: pytest.TempPathFactory) -> Leaf:
    return Pki(Path(tmp_path_factory.mktemp("pki"))).leaf("server")


@asynccontextmanager
async def open_pair(leaf: Leaf) -> AsyncIterator[tuple[QuicStream, QuicStream]]:
    ours, theirs = quic_stream_pair(leaf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.handshake)
        nursery.start_soon(theirs.wait_open)
    try:
        yield ours, theirs
    finally:
        await ours.aclose()
        await theirs.aclose()


async def test_a_client_that_moves_goes_on(leaf: Leaf) -> None:
    addresses = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
    async with open_pair(leaf) as (ours, theirs), trio.open_nursery() as nursery:
        ours.tunnel = TUNNEL
        ours.send([b"hello"])
        assert await theirs.receive_message() == b"hello"

        async def serve() -> None:
            for _ in range(2 * len(addresses)):
                theirs.send([FRAME])
                await theirs.flush()
            assert await theirs.receive_message() == b"thanks"

        nursery.start_soon(serve)
        for address in addresses:
            assert await ours.receive_message() == FRAME
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((address, 0))
            sock.connect(ours.peer)
            ours.move_to(UdpSocket(sock))
            assert await ours.receive_message() == FRAME
        ours.send([b"thanks"])
        await ours.flush()
        assert ours.tunnel is not None
        assert ours.tunnel.migrations == len(addresses)


async def test_a_change_of_the_network_after_the_end_is_nobodys_concern(
    leaf: Leaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def one_change() -> AsyncGenerator[None, None]:
        await ours.aclose()
        yield

    monkeypatch.setattr("smbfs.transport.quic.network_changes", one_change)
    async with open_pair(leaf) as (ours, _):
        with trio.fail_after(10):
            await ours.follow_network(lambda *_: pytest.fail("it has not moved"))


async def test_silence_is_not_the_end(leaf: Leaf, autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair(leaf) as (ours, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(theirs.receive_message)
        with trio.move_on_after(600):
            await ours.receive_message()
        ours.send([b"still here"])


async def test_what_waits_for_the_network_is_bounded(leaf: Leaf) -> None:
    async with open_pair(leaf) as (ours, theirs):
        frames = 0
        while not ours.unflushed:
            ours.send([FRAME])
            frames += 1
        assert frames <= UNSENT_MAX // len(FRAME) + 2  # The peer has not even answered yet.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.flush)
            for _ in range(frames):
                assert await theirs.receive_message() == FRAME
        assert not ours.unflushed


async def test_a_frame_that_is_too_long_ends_it_for_good(leaf: Leaf) -> None:
    async with open_pair(leaf) as (ours, theirs):
        ours.max_message_size = 10
        ours.send([b"hello"])
        await theirs.receive_message()
        theirs.send([bytes(11)])
        for _ in range(2):
            with pytest.raises(SmbfsError, match="11 bytes"):
                await ours.receive_message()
        with pytest.raises(SmbfsError, match="11 bytes"):
            ours.send([b"x"])
        await ours.aclose()
        with pytest.raises(TransportError, match="ended the connection"):
            await theirs.receive_message()


CRYPTO = 6
"""The type of the frame that TLS alerts are about."""


@pytest.mark.parametrize(
    ("code", "frame", "kind", "words"),
    [
        (0x100 + 116, CRYPTO, CertificateRefused, "wants a certificate"),
        (0x100 + 48, CRYPTO, CertificateRefused, "refuses our certificate"),
        (0x100 + 120, CRYPTO, NegotiationRefused, "does not offer SMB over QUIC"),
        (0x100 + 40, CRYPTO, TransportError, "0x128"),
        (0, None, TransportError, "has ended the connection"),
        (0x100 + 116, None, TransportError, "because"),
    ],
)
def test_the_end_is_told_by_its_code(
    code: int, frame: int | None, kind: type[SmbfsError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        raise ended(ConnectionTerminated(code, frame, "because"), is_told=True, is_open=True)


@pytest.mark.parametrize(("is_open", "what"), [(True, "connection"), (False, "handshake")])
def test_what_we_end_ourselves_is_not_laid_at_the_servers_door(*, is_open: bool, what: str) -> None:
    end = ConnectionTerminated(0x100 + 42, CRYPTO, "unreadable")
    error = ended(end, is_told=False, is_open=is_open)
    assert isinstance(error, TransportError)
    assert what in str(error)
    assert "server" not in str(error)


async def test_what_was_lost_is_sent_again_soon(leaf: Leaf) -> None:
    """Whoever drives has to learn of a timer that was set behind its back."""
    async with open_pair(leaf) as (ours, theirs), trio.open_nursery() as nursery:
        ours.send([b"hello"])
        assert await theirs.receive_message() == b"hello"
        theirs.send([b"hello"])
        assert await ours.receive_message() == b"hello"
        nursery.start_soon(ours.receive_message)
        await trio.testing.wait_all_tasks_blocked()
        udp = ours._link._udp
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(udp, "send", len)  # It is lost on the way.
            ours.send([b"lost"])
        with trio.fail_after(KEEP_ALIVE_S / 3):
            assert await theirs.receive_message() == b"lost"
        theirs.send([b"the end"])


async def test_a_full_socket_is_waited_for(leaf: Leaf) -> None:
    async with open_pair(leaf) as (ours, theirs), trio.open_nursery() as nursery:
        ours.send([b"hello"])
        await theirs.receive_message()
        udp = ours._link._udp
        waits: list[None] = []
        room = trio.Event()

        async def wait_writable() -> None:
            waits.append(None)
            await room.wait()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(udp, "send", lambda _: 0)
            patch.setattr(udp, "wait_writable", wait_writable)
            ours.send([b"later"])
            nursery.start_soon(ours.flush)
            nursery.start_soon(ours.receive_message)
            await trio.testing.wait_all_tasks_blocked()
        assert len(waits) == 1
        room.set()
        assert await theirs.receive_message() == b"later"
        theirs.send([b"the end"])


async def test_connecting_to_silence_costs_nothing(
    leaf: Leaf, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = quic_stream_pair(leaf)
    steps = 0
    step = ours._link._step

    async def counted() -> None:
        nonlocal steps
        steps += 1
        await step()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ours._link, "_step", counted)
        with trio.move_on_after(3 * KEEP_ALIVE_S):
            await ours.handshake()
    assert 0 < steps < 30
    await ours.aclose()
    theirs._link._udp.close()  # It has never heard of a client.


async def test_datagrams_get_as_large_as_the_path(leaf: Leaf) -> None:
    async with open_pair(leaf) as (ours, theirs):
        ours.tunnel = TUNNEL
        await exchange(ours, theirs)
        assert ours.tunnel is not None
        assert ours.tunnel.datagram_size == LOOPBACK
        assert theirs._quic.datagram_size == LOOPBACK


async def test_a_peer_gets_no_larger_ones_than_it_takes(
    leaf: Leaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = packet.push_quic_transport_parameters

    def limited(buffer: Buffer, parameters: QuicTransportParameters) -> None:
        write(buffer, replace(parameters, max_udp_payload_size=1452))

    monkeypatch.setattr("aioquic.quic.connection.push_quic_transport_parameters", limited)
    async with open_pair(leaf) as (ours, theirs):
        await exchange(ours, theirs)
        assert ours._quic.datagram_size == theirs._quic.datagram_size == 1452


async def test_a_path_that_becomes_narrower_is_noticed(
    leaf: Leaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_pair(leaf) as (ours, theirs):
        await exchange(ours, theirs)
        send = UdpSocket.send

        def narrow(self: UdpSocket, datagrams: Sequence[Datagram]) -> int:
            send(self, [datagram for datagram in datagrams if len(datagram[0]) <= NARROW])
            return len(datagrams)

        monkeypatch.setattr(UdpSocket, "send", narrow)
        with trio.fail_after(30):
            while ours._quic.datagram_size > NARROW or theirs._quic.datagram_size > NARROW:
                await exchange(ours, theirs)


async def exchange(ours: QuicStream, theirs: QuicStream) -> None:
    """Have each side say something long, and hear the other."""

    async def answer() -> None:
        assert await theirs.receive_message() == FRAME
        theirs.send([FRAME])
        await theirs.receive_message()  # Nothing comes, but what was lost is sent again.

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        ours.send([FRAME])
        assert await ours.receive_message() == FRAME
        nursery.cancel_scope.cancel()


async def test_the_longest_frame_has_room(leaf: Leaf) -> None:
    """It is taken whole, so the window must not end before it does."""
    async with open_pair(leaf) as (ours, theirs), trio.open_nursery() as nursery:
        frame = bytes(MAX_FRAME_SIZE)
        ours.send([frame])
        nursery.start_soon(ours.flush)
        with trio.fail_after(20):
            assert await theirs.receive_message() == frame


PIECES_PER_PACKET = 100

SHAPES = {
    "stream": lambda at: b"\x0e\0" + encode_uint_var(at) + b"\1x",
    "handshake": lambda at: b"\6" + encode_uint_var(at) + b"\1x",
}
"""One byte of the stream, or of TLS's messages, at a certain place. Spec: RFC 9000 section 19."""


@pytest.mark.parametrize("kind", SHAPES)
async def test_what_comes_in_crumbs_ends_the_connection(leaf: Leaf, kind: str) -> None:
    """Else each would cost more than the last, and the daemon did nothing else for minutes."""
    async with open_pair(leaf) as (ours, theirs), trio.open_nursery() as nursery:
        await exchange(ours, theirs)
        begin = ours._quic.flow.received if kind == "stream" else 0

        async def crumble() -> None:
            places = range(begin + 2, begin + 2 + 4 * GAPS_MAX, 2)
            for first in range(0, len(places), PIECES_PER_PACKET):
                pieces = map(SHAPES[kind], places[first : first + PIECES_PER_PACKET])
                say(theirs, b"".join(pieces))
                await trio.testing.wait_all_tasks_blocked()

        nursery.start_soon(crumble)
        with trio.fail_after(10), pytest.raises(TransportError, match="too many gaps"):
            await ours.receive_message()
        nursery.cancel_scope.cancel()


async def test_a_message_of_tls_has_an_end(leaf: Leaf) -> None:
    async with open_pair(leaf) as (ours, theirs), trio.open_nursery() as nursery:
        await exchange(ours, theirs)

        async def drone() -> None:
            ticket = b"\4\xff\xff\xff" + bytes(2 * TLS_MESSAGE_MAX)
            for at in range(0, len(ticket), 1000):
                piece = ticket[at : at + 1000]
                length = encode_uint_var(len(piece))
                say(theirs, b"\6" + encode_uint_var(at) + length + piece)
                await trio.testing.wait_all_tasks_blocked()

        nursery.start_soon(drone)
        with trio.fail_after(10), pytest.raises(TransportError, match="too long"):
            await ours.receive_message()
        nursery.cancel_scope.cancel()


def say(theirs: QuicStream, frames: bytes) -> None:
    """Have the server say what no library would."""
    quic = theirs._quic
    builder = QuicPacketBuilder(
        host_cid=quic.host_cid,
        is_client=False,
        max_datagram_size=1400,
        packet_number=quic._packet_number,
        peer_cid=quic._peer_cid.cid,
        version=quic._version or 1,
    )
    builder.start_packet(packet.QuicPacketType.ONE_RTT, quic._cryptos[tls.Epoch.ONE_RTT])
    builder.start_frame(packet.QuicFrameType.PING).push_bytes(frames)
    datagrams, _ = builder.flush()
    quic._packet_number = builder.packet_number
    theirs._link._udp.send([(bytes(datagrams[0]), theirs.peer)])
