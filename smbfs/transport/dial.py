"""Reach a server: look its name up, try its addresses and its transports, return a stream."""

from __future__ import annotations

import logging
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import trio

from smbfs.errors import DeadlineExceeded, NoTransport, SmbfsError, TransportError
from smbfs.transport.base import MessageStream
from smbfs.transport.names import unknown_name
from smbfs.transport.quic_settings import QuicSettings
from smbfs.transport.tcp import TcpStream

if TYPE_CHECKING:
    from smbfs.transport.handshake import OnHandshake

TCP_PORT = 445
"""Direct TCP. Spec: [MS-SMB2] 2.1."""

TCP_PATIENCE_S: Final = 3.0
"""Seconds of silence after which QUIC is tried as well."""

TCP_HEAD_START_S: Final = 0.3
"""The same, where QUIC was what worked the last time: we may be in another network now."""

EITHER_PATIENCE_S: Final = 9.0
"""Seconds after which neither has answered: people wait for that."""

_TRANSPORT: Final = "transport"

_log = logging.getLogger(__name__)


async def dial_either(
    host: str, server_name: str, tcp_port: int, quic: QuicSettings, *, timeout_s: float
) -> MessageStream:
    """Connect by TCP, and by QUIC where that fails, as Windows does.

    A server that is only slow may still be reached by TCP while QUIC is tried. Where QUIC has
    worked before and TCP has not, it is tried nearly at once.
    Raises: what :func:`dial_tcp` raises of names; NoTransport; CertificateRefused,
    NegotiationRefused and ConfigError of QUIC.
    """
    patience_s = min(EITHER_PATIENCE_S, timeout_s)
    streams: list[MessageStream] = []
    failures: dict[str, SmbfsError] = {}
    tcp_failed = trio.Event()

    async with trio.open_nursery() as nursery:

        async def by_tcp() -> None:
            try:
                streams.append(await dial_tcp(host, tcp_port, timeout_s=patience_s))
                nursery.cancel_scope.cancel()
            except (TransportError, DeadlineExceeded) as error:
                failures["tcp"] = error
                tcp_failed.set()

        async def by_quic() -> None:
            with trio.move_on_after(tcp_patience_s(quic, server_name, patience_s)):
                await tcp_failed.wait()
            if is_unknown_name(failures.get("tcp")):
                return
            _log.info("TCP does not get through: trying QUIC")
            left_s = max(0.0, began_s + patience_s - trio.current_time())
            try:
                # Nothing goes early: what was never answered must not win over what was.
                late = replace(quic, early_data=False)
                streams.append(await dial_quic(host, server_name, late, timeout_s=left_s))
                nursery.cancel_scope.cancel()
            except SmbfsError as error:
                failures["quic"] = error

        began_s = trio.current_time()
        nursery.start_soon(by_tcp)
        nursery.start_soon(by_quic)
    for late in streams[1:]:
        await late.aclose()
    if streams:
        if quic.memory is not None:
            quic.memory.keep(_TRANSPORT, server_name.lower(), {"worked": streams[0].transport})
        return streams[0]
    raise _failure(failures["tcp"], failures.get("quic"))


def _failure(tcp: SmbfsError, quic: SmbfsError | None) -> SmbfsError:
    """Return what to say when neither has worked."""
    if quic is None or is_unknown_name(tcp):
        return tcp
    if isinstance(quic, TransportError | DeadlineExceeded):
        both = NoTransport(str(tcp), str(quic))
        both.__cause__ = tcp
        return both
    return quic


def tcp_patience_s(quic: QuicSettings, server_name: str, patience_s: float) -> float:
    """Return for how many seconds TCP is waited for before QUIC is tried, too."""
    known = quic.memory.recall(_TRANSPORT, server_name.lower()) if quic.memory is not None else {}
    usual_s = TCP_HEAD_START_S if known.get("worked") == "quic" else TCP_PATIENCE_S
    return min(usual_s, patience_s / 2)


def is_unknown_name(error: SmbfsError | None) -> bool:
    """Whether a server was not reached because nobody knows its name."""
    return error is not None and isinstance(error.__cause__, socket.gaierror)


async def dial_quic(
    host: str,
    server_name: str,
    settings: QuicSettings,
    *,
    timeout_s: float,
    on_handshake: OnHandshake | None = None,
) -> MessageStream:
    """Connect to ``host`` by UDP; the server's certificate has to be for ``server_name``.

    ``on_handshake`` is told how the handshake ended, whether or not the server is believed then.
    Raises: see :func:`smbfs.transport.quic_dial.connect_quic`.
    """
    from smbfs.transport.quic_dial import connect_quic  # Large, and mostly not needed.

    return await connect_quic(
        host, server_name, settings, timeout_s=timeout_s, on_handshake=on_handshake
    )


async def dial_tcp(host: str, port: int, *, timeout_s: float) -> TcpStream:
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
        raise unknown_name(host, error) from error
    except OSError as error:
        raise TransportError(f"TCP port {port} of {host} can't be reached: {error}") from error
    # No SO_RCVBUF: a size of our own would switch the kernel's auto-tuning off.
    sock = socket.socket(fileno=stream.socket.detach())
    try:
        return TcpStream(sock)
    except OSError as error:  # The peer has reset the connection that it had just accepted.
        sock.close()
        raise TransportError(f"TCP port {port} of {host} hung up at once: {error}") from error
