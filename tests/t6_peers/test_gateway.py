"""``smbfs gateway`` as clients meet it: the real process between QUIC and a plain TCP server."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import random
import re
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from smbfs.transport.quic_connection import FIRST_WINDOW
from tests.beds.pki import Leaf, Pki
from tests.beds.quic_client import Ended, QuicClient, quic_client
from tests.beds.quic_gateway import HOST, QuicGateway, quic_gateway, run_gateway
from tests.t5_cli.waiting import resident_bytes

MIB = 1024 * 1024
QUIET_S = 1.0
"""When nothing has moved for so long, nothing will."""

CERTIFICATE_REQUIRED = 0x100 + 116
CERTIFICATE_UNKNOWN = 0x100 + 46
NO_APPLICATION_PROTOCOL = 0x100 + 120
CONNECTION_REFUSED = 2
SERVER_UNREACHABLE, SERVER_LOST = 1, 2


class TcpServer:
    """What stands behind the gateway: echoes, or does what a test says."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.handle: Callable[[trio.SocketStream], Awaitable[None]] = self.echo

    async def echo(self, stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    async def accept(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        async with stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await self.handle(stream)


@contextlib.asynccontextmanager
async def tcp_server() -> AsyncIterator[TcpServer]:
    server = TcpServer()
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            functools.partial(trio.serve_tcp, server.accept, 0, host=HOST)
        )
        server.port = listener.socket.getsockname()[1]
        yield server
        nursery.cancel_scope.cancel()


@pytest.fixture
async def server() -> AsyncIterator[TcpServer]:
    async with tcp_server() as running:
        yield running


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def gateway(server: TcpServer, pki: Pki, tmp_path: Path) -> AsyncIterator[QuicGateway]:
    with quic_gateway(tmp_path, server.port, [pki.leaf("server")]) as running:
        yield running


async def said(gateway: QuicGateway, pattern: str) -> str:
    return await trio.to_thread.run_sync(gateway.wait_said, pattern)


async def assert_echoes(client: QuicClient, size: int = 1000) -> None:
    data = random.randbytes(size)
    await client.send(data)
    assert await client.receive(size) == data


def sha256(certificate: x509.Certificate) -> str:
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


# --- bytes -----------------------------------------------------------------------------------


async def test_bytes_go_both_ways_unchanged(
    gateway: QuicGateway, server: TcpServer, pki: Pki
) -> None:
    async with quic_client(gateway.port, pki) as client:
        await client.connected()
        await assert_echoes(client, 3 * MIB + 7)
        # What it had of a stranger is more by now: it would slow down a long line.
        assert client.quic._streams[0].max_stream_data_remote > 4 * MIB + FIRST_WINDOW
        await client.send(b"the end", eof=True)
        assert await client.receive(7) == b"the end"
        end = await client.ended()
        assert client.has_eof
        assert (end.code, end.reason) == (0, "the SMB server has closed the connection")
    line = await said(gateway, "gateway-ended")
    assert f"({3 * MIB + 14} bytes to the server, {3 * MIB + 14} back)" in line


async def test_clients_have_connections_of_their_own(gateway: QuicGateway, pki: Pki) -> None:
    async with (
        quic_client(gateway.port, pki) as one,
        quic_client(gateway.port, pki) as other,
        trio.open_nursery() as nursery,
    ):
        for client in (one, other):
            await client.connected()
            nursery.start_soon(assert_echoes, client, MIB)


async def test_a_client_that_hangs_up_ends_the_tcp_connection(
    gateway: QuicGateway, server: TcpServer, pki: Pki
) -> None:
    is_over = trio.Event()

    async def watch(stream: trio.SocketStream) -> None:
        await server.echo(stream)
        is_over.set()

    server.handle = watch
    async with quic_client(gateway.port, pki) as client:
        await client.connected()
        await assert_echoes(client)
        await client.close()
        with trio.fail_after(10):
            await is_over.wait()
    assert "closed by the client (code 0x0, 'good bye')" in await said(gateway, "gateway-ended")


async def test_a_server_that_is_down(pki: Pki, tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
    with quic_gateway(tmp_path, port, [pki.leaf("server")]) as gateway:
        async with quic_client(gateway.port, pki) as client:
            end = await client.ended()
    assert end.code == SERVER_UNREACHABLE
    assert "can't be reached" in end.reason


async def test_a_server_that_breaks_off(gateway: QuicGateway, server: TcpServer, pki: Pki) -> None:
    async def reset(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()

    server.handle = reset
    async with quic_client(gateway.port, pki) as client:
        await client.connected()
        await client.send(b"hello")
        end = await client.ended()
    assert (end.code, end.reason.partition(":")[0]) == (
        SERVER_LOST,
        "the connection to the SMB server is lost",
    )


async def test_a_client_that_wants_no_more_ends_the_connection(
    gateway: QuicGateway, server: TcpServer, pki: Pki
) -> None:
    async def chatter(stream: trio.SocketStream) -> None:
        while True:
            await stream.send_all(bytes(65536))

    server.handle = chatter
    async with quic_client(gateway.port, pki) as client:
        await client.connected()
        await client.send(b"!")
        await client.receive(MIB)
        client.quic.stop_stream(0, 7)
        await client.pump()
        assert (await client.ended()).reason == "the client has broken its stream off"
    assert "Traceback" not in gateway.log()


# --- back-pressure ---------------------------------------------------------------------------


async def _until_quiet(progress: Callable[[], int]) -> None:
    """Wait until a number has stopped to change."""
    with trio.fail_after(60):
        while True:
            before = progress()
            await trio.sleep(QUIET_S)
            if progress() == before:
                return


async def test_a_server_that_does_not_read_stops_the_client(
    gateway: QuicGateway, server: TcpServer, pki: Pki
) -> None:
    reads = trio.Event()
    total = 100 * MIB

    async def stall(stream: trio.SocketStream) -> None:
        await reads.wait()
        await server.echo(stream)

    server.handle = stall
    async with quic_client(gateway.port, pki) as client:
        await client.connected()
        before = resident_bytes(gateway.pid)
        await client.send(bytes(total))
        await _until_quiet(lambda: client.unacknowledged)
        assert client.unacknowledged > total // 2
        assert resident_bytes(gateway.pid) - before < 32 * MIB
        reads.set()
        assert not any(await client.receive(16 * MIB))
        assert resident_bytes(gateway.pid) - before < 32 * MIB


async def test_a_client_that_does_not_read_stops_the_server(
    gateway: QuicGateway, server: TcpServer, pki: Pki
) -> None:
    sent = 0
    total = 100 * MIB

    async def offer(stream: trio.SocketStream) -> None:
        nonlocal sent
        await stream.receive_some(1)
        while sent < total:
            await stream.send_all(bytes(65536))
            sent += 65536

    server.handle = offer
    async with quic_client(gateway.port, pki) as client:
        await client.connected()
        client.quic.takes_more = False
        before = resident_bytes(gateway.pid)
        await client.send(b"!")
        await _until_quiet(lambda: sent)
        assert MIB < sent < total // 2
        assert resident_bytes(gateway.pid) - before < 32 * MIB
        client.quic.takes_more = True
        client.quic.send_ping(1)
        await client.pump()
        assert not any(await client.receive(16 * MIB))
        assert resident_bytes(gateway.pid) - before < 32 * MIB


async def test_a_byte_at_the_end_of_a_window_costs_little(gateway: QuicGateway, pki: Pki) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients: list[QuicClient] = []
        for _ in range(8):
            clients.append(await stack.enter_async_context(quic_client(gateway.port, pki)))
            await clients[-1].connected()
        before = resident_bytes(gateway.pid)
        for client in clients:
            quic = client.quic
            window = quic._remote_max_stream_data_bidi_remote
            quic.send_stream_data(0, bytes(window))
            quic._streams[0].sender._pending.subtract(0, window - 1)
            await client.pump()
        await _until_quiet(lambda: resident_bytes(gateway.pid))
        assert resident_bytes(gateway.pid) - before < 32 * MIB


# --- certificates ----------------------------------------------------------------------------


async def test_the_certificate_is_chosen_by_name(
    server: TcpServer, pki: Pki, tmp_path: Path
) -> None:
    leaves = [pki.leaf("server"), pki.leaf("wrong_name")]
    with quic_gateway(tmp_path, server.port, leaves) as gateway:
        for name, leaf in [
            ("bed.test", leaves[0]),
            ("other.test", leaves[1]),
            ("127.0.0.1", leaves[0]),  # an address is not sent as a name
        ]:
            async with quic_client(gateway.port, pki, name=name) as client:
                await client.connected()
                assert sha256(client.certificate) == leaf.sha256
        assert "name other.test" in await said(gateway, "accepted.*other")


async def test_renewed_certificates_are_for_new_connections(
    server: TcpServer, tmp_path: Path
) -> None:
    pki = Pki(tmp_path / "pki")
    old = pki.leaf("server")
    with quic_gateway(tmp_path, server.port, [old]) as gateway:
        async with quic_client(gateway.port, pki) as before:
            await before.connected()
            new = pki.renew("server")
            gateway.hang_up()
            await said(gateway, "gateway-reloaded")
            async with quic_client(gateway.port, pki) as after:
                await after.connected()
                assert sha256(after.certificate) == new.sha256 != old.sha256
            await assert_echoes(before)


async def test_a_failed_renewal_changes_nothing(server: TcpServer, tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    leaf = pki.leaf("server")
    with quic_gateway(tmp_path, server.port, [leaf]) as gateway:
        leaf.cert.write_text("half a file")
        gateway.hang_up()
        assert str(leaf.cert) in await said(gateway, "gateway-reload-failed")
        async with quic_client(gateway.port, pki) as client:
            await client.connected()
            assert sha256(client.certificate) == leaf.sha256


async def test_a_client_whose_certificate_is_listed_comes_in(
    server: TcpServer, pki: Pki, tmp_path: Path
) -> None:
    listed = pki.leaf("client")
    colons = ":".join(re.findall("..", listed.sha256.upper()))  # as openssl prints it
    option = ("--client-cert-sha256", colons)
    with quic_gateway(tmp_path, server.port, [pki.leaf("server")], *option) as gateway:
        async with quic_client(gateway.port, pki, certificate=listed) as client:
            await client.connected()
            await assert_echoes(client)
        assert f"certificate {listed.sha256}" in await said(gateway, "gateway-accepted")


@pytest.mark.parametrize(
    ("kind", "code"), [(None, CERTIFICATE_REQUIRED), ("other_client", CERTIFICATE_UNKNOWN)]
)
async def test_others_do_not(
    server: TcpServer, pki: Pki, tmp_path: Path, kind: str | None, code: int
) -> None:
    option = ("--client-cert-sha256", pki.leaf("client").sha256)
    with quic_gateway(tmp_path, server.port, [pki.leaf("server")], *option) as gateway:
        shown = pki.leaf(kind) if kind is not None else None
        async with quic_client(gateway.port, pki, certificate=shown) as client:
            await client.connected()  # As far as the client knows: the server has the last word.
            await client.send(b"let me in")
            assert (await client.ended()).code == code
        await said(gateway, "gateway-refused")
        assert "gateway-accepted" not in gateway.log()
    assert server.connections == 0


async def test_a_stolen_certificate_without_its_key_is_worth_nothing(
    server: TcpServer, pki: Pki, tmp_path: Path
) -> None:
    listed, thief = pki.leaf("client"), pki.leaf("other_client")
    option = ("--client-cert-sha256", listed.sha256)
    with quic_gateway(tmp_path, server.port, [pki.leaf("server")], *option) as gateway:
        stolen = Leaf(listed.cert, thief.key, listed.sha256)
        async with quic_client(gateway.port, pki, certificate=stolen) as client:
            assert (await client.ended()).code == 0x100 + 51  # decrypt_error
    assert server.connections == 0


# --- who is served ---------------------------------------------------------------------------


async def test_other_protocols_are_refused(
    gateway: QuicGateway, server: TcpServer, pki: Pki
) -> None:
    async with quic_client(gateway.port, pki, alpn="h3") as client:
        with pytest.raises(Ended) as end:
            await client.connected()
    assert end.value.code == NO_APPLICATION_PROTOCOL
    await said(gateway, "gateway-refused")
    assert server.connections == 0


async def test_no_more_connections_than_allowed(
    server: TcpServer, pki: Pki, tmp_path: Path
) -> None:
    option = ("--max-connections", "2")
    with quic_gateway(tmp_path, server.port, [pki.leaf("server")], *option) as gateway:
        async with quic_client(gateway.port, pki) as one, quic_client(gateway.port, pki) as two:
            await one.connected()
            await two.connected()
            async with quic_client(gateway.port, pki) as three:
                with pytest.raises(Ended) as end:
                    await three.connected()
            assert end.value.code == CONNECTION_REFUSED
            assert "2 connections already" in await said(gateway, "gateway-refused")
            await assert_echoes(one)
            await two.close()
            await said(gateway, "gateway-ended")
            async with quic_client(gateway.port, pki) as four:
                await four.connected()
                await assert_echoes(four)


@pytest.mark.parametrize("alpn", ["smb", "other"])
async def test_strangers_in_number_must_show_their_address(
    gateway: QuicGateway, pki: Pki, alpn: str
) -> None:
    """Also those that are refused at once."""
    configuration = QuicConfiguration(is_client=True, alpn_protocols=[alpn], server_name="bed.test")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        for _ in range(60):
            stranger = QuicConnection(configuration=configuration)
            stranger.connect((HOST, gateway.port), now=trio.current_time())
            for data, address in stranger.datagrams_to_send(trio.current_time()):
                silent.sendto(data, address)
    async with quic_client(gateway.port, pki) as client:
        await client.connected()
        assert client.quic._retry_count == 1
        await assert_echoes(client)
    assert gateway.log().count("gateway-refused") < 60


async def test_a_client_that_moves_goes_on(
    gateway: QuicGateway, server: TcpServer, pki: Pki
) -> None:
    async with quic_client(gateway.port, pki) as client:
        await client.connected()
        await assert_echoes(client)
        for _ in range(3):
            old = client.address
            client.move()
            await assert_echoes(client, 100_000)
            await said(gateway, f"{old} moved to {client.address}")
    assert server.connections == 1


async def test_rubbish_ends_nothing_and_takes_no_place(
    server: TcpServer, pki: Pki, tmp_path: Path
) -> None:
    rubbish = random.Random(1)
    option = ("--max-connections", "2")
    with quic_gateway(tmp_path, server.port, [pki.leaf("server")], *option) as gateway:
        async with quic_client(gateway.port, pki) as client:
            await client.connected()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for _ in range(200):
                    data = bytearray(rubbish.randbytes(rubbish.choice((0, 1, 9, 40, 1200))))
                    sock.sendto(data, (HOST, gateway.port))
                    # What looks like a client's first packet, but nobody could have encrypted it.
                    data = bytearray(rubbish.randbytes(1200))
                    data[:6], data[14:18] = b"\xc0\0\0\0\1\x08", b"\0\0\x44\x9e"
                    sock.sendto(data, (HOST, gateway.port))
            await assert_echoes(client)
            async with quic_client(gateway.port, pki) as another:
                await another.connected()
        assert "Traceback" not in gateway.log()


async def test_versions_that_we_do_not_speak_are_told_which_we_do(gateway: QuicGateway) -> None:
    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock, trio.fail_after(10):
        hello = b"\xc0\x1a\x2a\x3a\x4a\x08" + b"ours...." + b"\x04" + b"mine"
        await sock.sendto(hello.ljust(1200, b"\0"), (HOST, gateway.port))
        answer = await sock.recv(2000)
    assert answer[1:] == b"\0\0\0\0\x04mine\x08ours....\0\0\0\1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_end_is_announced(gateway: QuicGateway, pki: Pki, number: signal.Signals) -> None:
    async with quic_client(gateway.port, pki) as client:
        await client.connected()
        await assert_echoes(client)
        gateway.terminate(number)
        end = await client.ended()
        assert (end.code, end.reason) == (0, "the gateway is shutting down")
    assert await trio.to_thread.run_sync(gateway.wait_ended) == 0
    assert "shutting down (1000 bytes" in await said(gateway, "gateway-ended")


async def test_silent_clients_are_let_go(server: TcpServer, pki: Pki, tmp_path: Path) -> None:
    option = ("--idle-timeout", "1")
    with quic_gateway(tmp_path, server.port, [pki.leaf("server")], *option) as gateway:
        async with quic_client(gateway.port, pki) as client:
            await client.connected()
            assert "Idle timeout" in await said(gateway, "gateway-ended")


# --- what people are told --------------------------------------------------------------------


def _refused(*arguments: str) -> str:
    done = run_gateway(*arguments)
    assert done.returncode in {1, 2, 32}, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "  Do:  " in done.stderr
    return done.stderr.splitlines()[0]


def test_wrong_certificates_and_keys(pki: Pki, tmp_path: Path) -> None:
    ours, other = pki.leaf("server"), pki.leaf("wrong_name")
    ends = ("--listen", f"{HOST}:0", "--to", HOST)
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("nothing")
    cert, key = str(ours.cert), str(ours.key)
    assert "is not the key of" in _refused(*ends, "--cert", cert, "--key", str(other.key))
    missing = _refused(*ends, "--cert", "/no/such/file", "--key", key)
    assert missing == "smbfs: the certificate /no/such/file can't be read"
    assert "as a certificate" in _refused(*ends, "--cert", str(rubbish), "--key", key)
    assert "as a key" in _refused(*ends, "--cert", cert, "--key", str(rubbish))
    assert "every --cert needs its --key" in _refused(
        *ends, "--cert", cert, "--key", key, "--cert", cert
    )
    fingerprint = ("--client-cert-sha256", "12:34")
    assert "is not a SHA-256" in _refused(*ends, "--cert", cert, "--key", key, *fingerprint)


@pytest.mark.parametrize(
    ("listen", "to", "what"),
    [
        ("nowhere.test:443", HOST, "--listen nowhere.test:443 is not an address"),
        (f"{HOST}:99999", HOST, f"--listen {HOST}:99999 is not an address"),
        ("192.0.2.1:0", HOST, "can't listen on 192.0.2.1:0"),
        (f"{HOST}:0", ":445", "--to :445 is not a server"),
        (f"{HOST}:0", "nas..test", "--to nas..test is not a server"),
        (f"{HOST}:0", "[::1", "--to [::1 is not an address"),
    ],
)
def test_wrong_addresses(pki: Pki, listen: str, to: str, what: str) -> None:
    leaf = pki.leaf("server")
    files = ("--cert", str(leaf.cert), "--key", str(leaf.key))
    assert what in _refused("--listen", listen, "--to", to, *files)


def test_a_port_that_is_in_use(pki: Pki) -> None:
    leaf = pki.leaf("server")
    files = ("--cert", str(leaf.cert), "--key", str(leaf.key))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        listen = f"{HOST}:{taken.getsockname()[1]}"
        assert _refused("--listen", listen, "--to", HOST, *files) == (
            f"smbfs: can't listen on {listen}"
        )


async def test_all_addresses_are_two_kinds(server: TcpServer, pki: Pki, tmp_path: Path) -> None:
    with quic_gateway(tmp_path, server.port, [pki.leaf("server")], host="") as gateway:
        async with quic_client(gateway.port, pki) as client:
            await client.connected()
            await assert_echoes(client)
            assert "accepted 127.0.0.1:" in await said(gateway, "gateway-accepted")


def test_keys_are_private(pki: Pki) -> None:
    assert pki.leaf("server").key.stat().st_mode & 0o077 == 0
