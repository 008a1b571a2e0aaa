"""Reach a server: look its name up, try its addresses, return a stream."""

from __future__ import annotations

import socket

import trio

from smbfs.errors import DeadlineExceeded, TransportError
from smbfs.transport.base import MessageStream
from smbfs.transport.tcp import TcpStream

TCP_PORT = 445
"""Direct TCP. Spec: [MS-SMB2] 2.1."""


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
