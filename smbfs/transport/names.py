"""Names of servers and their addresses."""

from __future__ import annotations

import socket

import trio

from smbfs.errors import TransportError
from smbfs.transport.udp import Address


async def look_up(host: str, port: int, kind: socket.SocketKind) -> list[Address]:
    """Return the addresses of ``host`` (a name or an address), in the order to try them.

    Raises: TransportError, caused by ``socket.gaierror``, if nobody knows the name.
    """
    try:
        found = await trio.socket.getaddrinfo(host, port, type=kind)
    except socket.gaierror as error:
        raise unknown_name(host, error) from error
    return [address for _, _, _, _, address in found]


def unknown_name(host: str, error: socket.gaierror) -> TransportError:
    """Return what to tell where nobody knows a name; raise it from ``error``."""
    return TransportError(f"the name {host} can't be resolved: {error.strerror}")
