"""Reaching a server that does not want us."""

from __future__ import annotations

import os
import socket
import struct

import pytest
import trio

from smbfs.errors import TransportError
from smbfs.transport.dial import dial_tcp

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
