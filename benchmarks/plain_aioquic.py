"""What aioquic alone carries over loopback: its own datagrams of 1,200 bytes, one by one.

One process a side, each with an event loop of a few lines. What smbfs makes of the same library is
compared with this.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Callable

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived

from tests.beds.pki import Leaf

_WINDOW = 16 << 20
_BUFFER = 4 << 20
_STREAM = 0


def measure_plain_aioquic(leaf: Leaf, size: int) -> float:
    """Return bytes a second that a server sends to a client."""
    ours, theirs = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
    client = QuicConnection(configuration=_configuration(is_client=True))
    first_id = client.original_destination_connection_id
    child = os.fork()
    if child == 0:
        try:
            _serve(theirs, leaf, first_id, size)
        finally:
            os._exit(0)
    client.connect(theirs.getsockname(), now=time.monotonic())
    client.send_stream_data(_STREAM, b"go")
    _send(ours, client)
    received = 0
    began: float | None = None

    def take(event: QuicEvent) -> None:
        nonlocal received, began
        if isinstance(event, StreamDataReceived):
            began = began or time.monotonic()
            received += len(event.data)

    _drive(ours, client, take, lambda: received >= size)
    took_s = time.monotonic() - (began or 0.0)
    client.close()
    _send(ours, client)
    os.waitpid(child, 0)
    ours.close()
    theirs.close()
    return size / took_s


def _configuration(*, is_client: bool) -> QuicConfiguration:
    return QuicConfiguration(
        is_client=is_client,
        alpn_protocols=["smb"],
        server_name="localhost" if is_client else None,
        verify_mode=ssl.CERT_NONE if is_client else None,
        congestion_control_algorithm="cubic",
        max_data=_WINDOW,
        max_stream_data=_WINDOW,
    )


def _serve(sock: socket.socket, leaf: Leaf, first_id: bytes, size: int) -> None:
    configuration = _configuration(is_client=False)
    configuration.load_cert_chain(leaf.cert, leaf.key)
    server = QuicConnection(
        configuration=configuration, original_destination_connection_id=first_id
    )
    is_over = False

    def take(event: QuicEvent) -> None:
        nonlocal is_over
        if isinstance(event, StreamDataReceived):
            server.send_stream_data(_STREAM, bytes(size))
        is_over |= isinstance(event, ConnectionTerminated)

    _drive(sock, server, take, lambda: is_over)


def _drive(
    sock: socket.socket,
    quic: QuicConnection,
    take: Callable[[QuicEvent], None],
    is_done: Callable[[], bool],
) -> None:
    while not is_done():
        now, timer = time.monotonic(), quic.get_timer()
        wait_s = 1.0 if timer is None else min(1.0, max(0.0, timer - now))
        if select.select([sock], [], [], wait_s)[0]:
            _receive(sock, quic)
        timer = quic.get_timer()
        if timer is not None and time.monotonic() >= timer:
            quic.handle_timer(time.monotonic())
        while (event := quic.next_event()) is not None:
            take(event)
        _send(sock, quic)


def _receive(sock: socket.socket, quic: QuicConnection) -> None:
    for _ in range(64):
        try:
            data, address = sock.recvfrom(65536)
        except BlockingIOError:
            return
        quic.receive_datagram(data, address, time.monotonic())


def _send(sock: socket.socket, quic: QuicConnection) -> None:
    for data, address in quic.datagrams_to_send(time.monotonic()):
        try:
            sock.sendto(data, address)
        except BlockingIOError:
            return
