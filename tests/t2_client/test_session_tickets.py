"""Connections that go on where an earlier one has ended, and what must not come of that."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from smbfs.errors import CertificateRefused, ConfigError
from smbfs.transport import quic_dial
from smbfs.transport.quic import QuicStream
from smbfs.transport.quic_dial import connect_quic
from smbfs.transport.quic_settings import QuicSettings, Trust
from smbfs.transport.server_memory import ServerMemory
from smbfs.transport.session_tickets import TicketStore
from tests.beds.pki import Leaf, Pki
from tests.beds.quic_ticket_server import TicketServer, ticket_server

NAME = "bed.test"
FRAME = b"NEGOTIATE, let us say"


@pytest.fixture
def server(pki: Pki) -> Iterator[TicketServer]:
    with ticket_server(pki.leaf("server")) as running:
        yield running


@pytest.fixture
def memory(tmp_path: Path) -> ServerMemory:
    return ServerMemory(tmp_path / "servers")


class Client:
    """Somebody who connects again and again."""

    def __init__(self, server: TicketServer, memory: ServerMemory, pki: Pki) -> None:
        self.server, self.memory = server, memory
        self.trust = Trust(pki.ca)
        self.certificate: Leaf | None = None

    async def meet(self, *, early_data: bool = False) -> QuicStream:
        """Connect, exchange a frame, and part."""
        leaf = self.certificate
        settings = QuicSettings(
            self.server.port,
            self.trust,
            leaf.cert if leaf else None,
            leaf.key if leaf else None,
            memory=self.memory,
            early_data=early_data,
        )
        stream = await connect_quic("127.0.0.1", NAME, settings, timeout_s=10)
        try:
            stream.send([FRAME])
            assert await stream.receive_message() == FRAME
        finally:
            await stream.aclose()
        return stream


@pytest.fixture
def client(server: TicketServer, memory: ServerMemory, pki: Pki) -> Client:
    return Client(server, memory, pki)


async def test_the_next_connection_is_resumed_and_known(client: Client, pki: Pki) -> None:
    await client.meet()
    stream = await client.meet()
    assert [seen.is_resumed for seen in client.server.seen] == [False, True]
    assert stream.tunnel is not None
    assert stream.tunnel.certificate.sha256 == pki.leaf("server").sha256
    await client.meet()
    assert client.server.seen[-1].is_resumed  # Each connection gives a ticket for the next.


async def test_early_data_goes_only_if_it_was_asked_for(client: Client) -> None:
    await client.meet()
    stream = await client.meet()
    assert stream.tunnel is not None
    assert not stream.tunnel.zero_rtt
    stream = await client.meet(early_data=True)
    assert stream.tunnel is not None
    assert stream.tunnel.zero_rtt
    assert [seen.took_early_data for seen in client.server.seen] == [False, False, True]


async def test_early_data_that_is_refused_is_sent_again(client: Client) -> None:
    await client.meet()
    client.server.forget_tickets()
    stream = await client.meet(early_data=True)
    assert stream.tunnel is not None
    assert not stream.tunnel.zero_rtt
    assert not client.server.seen[-1].is_resumed


async def test_who_forgets_us_and_is_somebody_else_learns_nothing(client: Client, pki: Pki) -> None:
    """What was to go early is sent again when the handshake is complete: not to just anybody."""
    await client.meet()
    client.server.forget_tickets()
    client.server.show(pki.leaf("wrong_name"))
    with pytest.raises(CertificateRefused):
        await client.meet(early_data=True)
    assert not client.server.seen[-1].received
    assert not client.server.seen[-1].is_complete


async def test_what_is_not_trusted_any_more_is_not_resumed(
    client: Client, pki: Pki, tmp_path: Path
) -> None:
    await client.meet()
    other = Pki(tmp_path / "other")
    client.trust = Trust(other.ca)
    with pytest.raises(CertificateRefused):
        await client.meet(early_data=True)
    assert not client.server.seen[-1].received
    client.trust = Trust(pin=pki.leaf("server").sha256)
    await client.meet()


async def test_another_certificate_of_ours_is_another_client(client: Client, pki: Pki) -> None:
    await client.meet()
    client.certificate = pki.leaf("client")
    await client.meet()
    assert not client.server.seen[-1].is_resumed
    await client.meet()
    assert client.server.seen[-1].is_resumed


async def test_a_ticket_is_private_and_serves_once(client: Client, tmp_path: Path) -> None:
    await client.meet()
    folder = tmp_path / "servers"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    store = TicketStore(client.memory, NAME, client.server.port, None)
    resumption = store.take()
    assert resumption is not None
    assert resumption.ticket.resumption_secret.hex() not in repr(resumption)
    assert store.take() is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"age_add": "x"}'])
async def test_a_broken_ticket_is_none(client: Client, tmp_path: Path, content: bytes) -> None:
    await client.meet()
    (file,) = (tmp_path / "servers").iterdir()
    file.write_bytes(content)
    await client.meet()
    assert not client.server.seen[-1].is_resumed


async def test_a_ticket_that_is_not_what_it_was_costs_nothing_else(
    client: Client, tmp_path: Path
) -> None:
    """Each is used up, or laid aside, and the server is met without it."""
    spoilt: tuple[tuple[str, object], ...] = (
        ("resumption_secret", "AAAA"),
        ("not_valid_before", "2026-01-01T00:00:00"),
        ("not_valid_after", "2026-01-01T00:00:00+00:00"),
        ("chain", []),
    )
    for name, value in spoilt:
        await client.meet()
        (file,) = (tmp_path / "servers").iterdir()
        file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
        await client.meet()
        assert not client.server.seen[-1].is_resumed
        file.unlink()


async def test_a_ticket_that_can_not_be_shown_is_not_kept(client: Client) -> None:
    await client.meet()
    store = TicketStore(client.memory, NAME, client.server.port, None)
    resumption = store.take()
    assert resumption is not None
    store.keep(replace(resumption.ticket, ticket=bytes(17_000)), resumption.chain)
    assert store.take() is None


@pytest.mark.parametrize("early_data", [False, True])
async def test_an_address_where_nobody_is_does_not_use_the_others_up(
    client: Client, monkeypatch: pytest.MonkeyPatch, *, early_data: bool
) -> None:
    async def two(_host: str, port: int, _kind: object) -> list[tuple[str, int]]:
        return [("127.0.0.2", port), ("127.0.0.1", port)]

    await client.meet()
    monkeypatch.setattr(quic_dial, "look_up", two)
    await client.meet(early_data=early_data)
    assert not client.server.seen[-1].took_early_data


async def test_authorities_that_are_gone_are_said_and_nothing_else(
    client: Client, tmp_path: Path
) -> None:
    await client.meet()
    client.trust = Trust(tmp_path / "gone.pem")
    with pytest.raises(ConfigError, match=r"gone\.pem"):
        await client.meet()


async def test_what_can_not_be_kept_is_no_error(client: Client, tmp_path: Path) -> None:
    (tmp_path / "servers").write_text("not a folder")
    await client.meet()
    await client.meet()
    assert not client.server.seen[-1].is_resumed
