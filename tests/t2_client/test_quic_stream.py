"""A QUIC stream alone: it moves, it stays awake, and it takes no more than the network does."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
import trio.testing

from smbfs.errors import CertificateRefused, NegotiationRefused, SmbfsError, TransportError
from smbfs.transport.quic import UNSENT_MAX, QuicStream
from smbfs.transport.quic_errors import ended
from smbfs.transport.tunnel import ServerCertificate, Tunnel
from smbfs.transport.udp import UdpSocket
from tests.beds.pki import Leaf, Pki
from tests.beds.quic_pair import quic_stream_pair

FRAME = bytes(range(256)) * 4096
"""1 MiB."""

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
        assert ours.tunnel.migrations == len(addresses)


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


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (0x100 + 116, CertificateRefused, "wants a certificate"),
        (0x100 + 48, CertificateRefused, "refuses our certificate"),
        (0x100 + 120, NegotiationRefused, "does not offer SMB over QUIC"),
        (0, TransportError, "ended the connection"),
        (0x100 + 40, TransportError, "alert|0x128"),
    ],
)
def test_the_end_is_told_by_its_code(code: int, kind: type[SmbfsError], words: str) -> None:
    error = ended(code, "because", is_open=True)
    assert isinstance(error, kind)
    with pytest.raises(kind, match=words):
        raise error


def test_a_failed_handshake_is_not_an_ended_connection() -> None:
    assert "handshake" in str(ended(1, "", is_open=False))
