"""Which way to a server: address, ports, transports and patience, by the options of a mount."""

from __future__ import annotations

from dataclasses import dataclass

from smbfs.config.model import MountOptions
from smbfs.config.unc import Unc
from smbfs.transport.base import MessageStream, TransportName
from smbfs.transport.dial import TCP_PORT, dial_either, dial_quic, dial_tcp
from smbfs.transport.quic_settings import QuicSettings, Trust
from smbfs.transport.server_memory import ServerMemory
from smbfs.wire.dialect import Dialect

CONNECT_S = 15.0
"""Seconds for reaching the server, if ``timeout`` is not shorter."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a server is reached with certain options."""

    host: str
    """Name or address to dial."""

    port: int
    """TCP port."""

    quic: QuicSettings

    timeout_s: float
    """Seconds that reaching it may take."""

    transports: tuple[TransportName, ...]
    """Those that may be used, the preferred one first."""


def route_to(unc: Unc, options: MountOptions, memory: ServerMemory | None = None) -> Route:
    """Return how a share's server is reached; ``memory`` is where we keep what we learn of it."""
    transports: tuple[TransportName, ...] = ("tcp",)
    if options.transport == "quic":
        transports = ("quic",)
    elif options.transport == "auto" and options.vers[1] == Dialect.SMB_3_1_1.label:
        transports = ("tcp", "quic")
    return Route(
        host=options.address or unc.server,
        port=options.port or unc.port or TCP_PORT,
        quic=QuicSettings(
            port=options.quic_port,
            trust=Trust(options.quic_ca, options.quic_pin),
            certificate=options.quic_cert,
            key=options.quic_key,
            memory=memory,
            early_data=options.quic_0rtt,
        ),
        timeout_s=min(CONNECT_S, options.timeout_s),
        transports=transports,
    )


async def dial_route(to: Route, server_name: str) -> MessageStream:
    """Reach a server; over QUIC its certificate has to be for ``server_name``.

    Raises: what the function of :mod:`smbfs.transport.dial` does that is called.
    """
    match to.transports:
        case ("quic",):
            return await dial_quic(to.host, server_name, to.quic, timeout_s=to.timeout_s)
        case ("tcp",):
            return await dial_tcp(to.host, to.port, timeout_s=to.timeout_s)
        case _:
            return await dial_either(to.host, server_name, to.port, to.quic, timeout_s=to.timeout_s)
