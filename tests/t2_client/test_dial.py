"""Reaching a server that does not want us, and by which of the two transports."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from smbfs.errors import DeadlineExceeded, NoTransport, TransportError
from smbfs.transport.dial import TCP_PATIENCE_S, dial_either, dial_quic, dial_tcp
from smbfs.transport.quic_settings import QuicSettings, Trust
from smbfs.transport.server_memory import ServerMemory
from tests.beds.pki import Pki
from tests.beds.quic_ticket_server import ticket_server

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no time."""


async def test_a_peer_that_resets_at_once_is_a_transport_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_tcp_stream = trio.open_tcp_stream
    opened: list[int] = []

    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def open_and_lose(host: str, port: int) -> trio.SocketStream:
            stream = await open_tcp_stream(host, port)
            accepted, _ = listener.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            accepted.close()
            await trio.lowlevel.wait_readable(stream.socket)
            opened.append(stream.socket.fileno())
            return stream

        monkeypatch.setattr(trio, "open_tcp_stream", open_and_lose)
        host, port = listener.getsockname()
        with pytest.raises(TransportError, match="hung up"):
            await dial_tcp(host, port, timeout_s=10)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def closed_port(kind: socket.SocketKind) -> int:
    """A port that nobody listens on (any more)."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def silent_quic() -> Iterator[tuple[socket.socket, QuicSettings]]:
    """A UDP port that hears and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        yield sock, QuicSettings(port=sock.getsockname()[1])


def heard(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(2000))
    except BlockingIOError:
        return False


async def test_where_tcp_works_nothing_is_said_by_udp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, silent_quic() as (udp, settings):
        host, port = listener.getsockname()
        stream = await dial_either(host, host, port, settings, timeout_s=10)
        assert stream.transport == "tcp"
        assert not heard(udp)
        await stream.aclose()


async def test_quic_alone_says_nothing_by_tcp(autojump_clock: trio.testing.MockClock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, silent_quic() as (udp, settings):
        listener.setblocking(False)
        with pytest.raises(DeadlineExceeded):
            await dial_quic("127.0.0.1", "127.0.0.1", settings, timeout_s=10)
        assert heard(udp)
        with pytest.raises(BlockingIOError):
            listener.accept()


async def test_two_refusals_are_told_together() -> None:
    tcp, udp = closed_port(socket.SOCK_STREAM), closed_port(socket.SOCK_DGRAM)
    with pytest.raises(NoTransport) as caught:
        await dial_either("127.0.0.1", "nas", tcp, QuicSettings(port=udp), timeout_s=60)
    assert f"TCP port {tcp}" in caught.value.tcp
    assert f"UDP port {udp}" in caught.value.quic


@pytest.mark.parametrize("timeout_s", [60, 3, 1])
async def test_silence_everywhere_is_told_within_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, timeout_s: float
) -> None:
    async def silence(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", silence)
    began_s = trio.current_time()
    with silent_quic() as (_, settings), pytest.raises(NoTransport) as caught:
        await dial_either("127.0.0.1", "nas", 445, settings, timeout_s=timeout_s)
    assert trio.current_time() - began_s < min(10, 1.1 * timeout_s)
    assert "TCP port 445" in caught.value.tcp
    assert f"UDP port {settings.port}" in caught.value.quic


async def test_a_name_that_nobody_knows_is_not_asked_for_twice() -> None:
    with pytest.raises(TransportError, match="can't be resolved") as caught:
        await dial_either("nas.invalid", "nas.invalid", 445, QuicSettings(), timeout_s=10)
    assert not isinstance(caught.value, NoTransport)


async def test_little_patience_on_a_clock_that_really_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of it is never less than nothing."""

    async def silence(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", silence)
    with silent_quic() as (_, settings), pytest.raises(NoTransport):
        await dial_either("127.0.0.1", "nas", 445, settings, timeout_s=0.2)


async def test_what_worked_is_tried_first_the_next_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pki: Pki
) -> None:
    """A network that swallows TCP costs three seconds once."""

    async def silence(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", silence)
    memory, took_s = ServerMemory(tmp_path), []
    with ticket_server(pki.leaf("server")) as server:
        settings = QuicSettings(server.port, Trust(pki.ca), memory=memory)
        for _ in range(2):
            began_s = trio.current_time()
            stream = await dial_either("127.0.0.1", "bed.test", 445, settings, timeout_s=10)
            took_s.append(trio.current_time() - began_s)
            assert stream.transport == "quic"
            await stream.aclose()
    assert took_s[0] >= TCP_PATIENCE_S
    assert took_s[1] < TCP_PATIENCE_S / 2


async def test_tcp_that_works_again_is_taken_again(tmp_path: Path) -> None:
    memory = ServerMemory(tmp_path)
    memory.keep("transport", "127.0.0.1", {"worked": "quic"})
    with socket.create_server(("127.0.0.1", 0)) as listener, silent_quic() as (_, silent):
        host, port = listener.getsockname()
        settings = QuicSettings(silent.port, memory=memory)
        stream = await dial_either(host, host, port, settings, timeout_s=10)
        assert stream.transport == "tcp"
        await stream.aclose()
    assert memory.recall("transport", "127.0.0.1") == {"worked": "tcp"}
