"""Reach a server: look its name up, try its addresses and its transports, return a stream."""

from __future__ import annotations

import logging
import socket
from typing import Final

import trio

from smbfs.errors import DeadlineExceeded, NoTransport, TransportError
from smbfs.transport.base import MessageStream
from smbfs.transport.quic_settings import QuicSettings
from smbfs.transport.tcp import TcpStream

TCP_PORT = 445
"""Direct TCP. Spec: [MS-SMB2] 2.1."""

TCP_PATIENCE_S: Final = 3.0
"""Seconds of silence after which QUIC is tried instead."""

QUIC_PATIENCE_S: Final = 6.0
"""Seconds that QUIC then has: people wait for both."""

_log = logging.getLogger(__name__)


async def dial_either(
    host: str, server_name: str, tcp_port: int, quic: QuicSettings, *, timeout_s: float
) -> MessageStream:
    """Connect by TCP, and by QUIC where that fails, as Windows does.

    Raises: what :func:`dial_tcp` raises of names; NoTransport; CertificateRefused,
    NegotiationRefused and ConfigError of QUIC.
    """
    try:
        return await dial_tcp(host, tcp_port, timeout_s=min(TCP_PATIENCE_S, timeout_s))
    except (TransportError, DeadlineExceeded) as error:
        if isinstance(error.__cause__, socket.gaierror):
            raise
        tcp_failure = error
    _log.info("TCP fails (%s): trying QUIC", tcp_failure)
    try:
        patience_s = min(QUIC_PATIENCE_S, timeout_s)
        return await dial_quic(host, server_name, quic, timeout_s=patience_s)
    except (TransportError, DeadlineExceeded) as quic_failure:
        raise NoTransport(str(tcp_failure), str(quic_failure)) from tcp_failure


async def dial_quic(
    host: str, server_name: str, settings: QuicSettings, *, timeout_s: float
) -> MessageStream:
    """Connect to ``host`` by UDP; the server's certificate has to be for ``server_name``.

    Raises: see :func:`smbfs.transport.quic_dial.connect_quic`.
    """
    from smbfs.transport.quic_dial import connect_quic  # Large, and mostly not needed.

    return await connect_quic(host, server_name, settings, timeout_s=timeout_s)


async def dial_tcp(host: str, port: int, *, timeout_s: float) -> MessageStream:
    """Connect to ``host`` (a name or an address, IPv4 or IPv6) on TCP ``port``.

    Addresses are tried as RFC 8305 says (trio does).
    Raises: TransportError, whose cause tells an unknown name (``socket.gaierror``) from a
    refusal or a peer that hung up at once (``OSError``); DeadlineExceeded when nothing answered
    within ``timeout_s``.
    """
    try:
        with trio.fail_after(timeout_s):
            stream = await trio.open_tcp_stream(host, port)
    except trio.TooSlowError as error:
        raise DeadlineExceeded(f"a connection to {host} on TCP port {port}", timeout_s) from error
    except socket.gaierror as error:
        raise TransportError(f"the name {host} can't be resolved: {error.strerror}") from error
    except OSError as error:
        raise TransportError(f"TCP port {port} of {host} can't be reached: {error}") from error
    # No SO_RCVBUF: a size of our own would switch the kernel's auto-tuning off.
    sock = socket.socket(fileno=stream.socket.detach())
    try:
        return TcpStream(sock)
    except OSError as error:  # The peer has reset the connection that it had just accepted.
        sock.close()
        raise TransportError(f"TCP port {port} of {host} hung up at once: {error}") from error
