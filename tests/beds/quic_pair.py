"""Both ends of a QUIC connection over loopback, as streams."""

from __future__ import annotations

import socket

import trio
from aioquic.quic.configuration import QuicConfiguration

from smbfs.transport.quic import QuicStream
from smbfs.transport.quic_client import ClientConnection
from smbfs.transport.quic_connection import ALPN, CONNECTION_WINDOW, STREAM_WINDOW
from smbfs.transport.quic_dial import client_configuration
from smbfs.transport.quic_settings import QuicSettings
from smbfs.transport.udp import UdpSocket
from tests.beds.pki import Leaf


def quic_stream_pair(leaf: Leaf) -> tuple[QuicStream, QuicStream]:
    """Return a client and a server that have not yet shaken hands."""
    ours, theirs = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for sock in (ours, theirs):
        sock.bind(("127.0.0.1", 0))
    ours.connect(theirs.getsockname())  # The server hears whoever speaks: its client may move.
    client = ClientConnection(configuration=client_configuration("localhost", QuicSettings()))
    configuration = QuicConfiguration(
        is_client=False,
        alpn_protocols=[ALPN],
        max_data=CONNECTION_WINDOW,
        max_stream_data=STREAM_WINDOW,
    )
    configuration.load_cert_chain(leaf.cert, leaf.key)
    server = ClientConnection(
        configuration=configuration,
        original_destination_connection_id=client.original_destination_connection_id,
    )
    client.connect(theirs.getsockname(), now=trio.current_time())
    return (
        QuicStream(UdpSocket(ours), client, theirs.getsockname()),
        QuicStream(UdpSocket(theirs), server, ours.getsockname()),
    )
