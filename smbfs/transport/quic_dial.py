"""Reach a server over QUIC: handshake, then judge its certificate before anything else is said."""

from __future__ import annotations

import logging
import socket
import ssl
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import trio
from aioquic.quic.configuration import QuicConfiguration

from smbfs.errors import CertificateRefused, ConfigError, DeadlineExceeded, TransportError
from smbfs.transport.certificate_path import MALFORMED_CERTIFICATE, Chain
from smbfs.transport.congestion import congestion_control
from smbfs.transport.handshake import Handshake, OnHandshake
from smbfs.transport.names import look_up
from smbfs.transport.quic import QuicStream
from smbfs.transport.quic_client import ClientConnection
from smbfs.transport.quic_connection import ALPN, CONNECTION_WINDOW, STREAM_WINDOW
from smbfs.transport.quic_settings import QuicSettings
from smbfs.transport.server_certificate import (
    check_server_certificate,
    described,
    judge_certificate,
)
from smbfs.transport.session_tickets import Resumption, TicketStore
from smbfs.transport.tunnel import ServerCertificate
from smbfs.transport.udp import Address, UdpSocket, connected_socket

IDLE_TIMEOUT_S: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Target:
    """Whom to connect to, and how."""

    host: str
    server_name: str
    settings: QuicSettings
    configuration: QuicConfiguration
    on_handshake: OnHandshake | None

    def judge(self, chain: Chain) -> ServerCertificate:
        """Say whether these are the certificates of our server. Raises: CertificateRefused."""
        now = datetime.now(UTC)
        return check_server_certificate(chain, self.server_name, self.settings.trust, now)

    def resumption(self, tickets: TicketStore | None) -> Resumption | None:
        """Return what an earlier connection has left, if its server would be believed today."""
        left = tickets.take() if tickets is not None else None
        if left is None:
            return None
        try:
            self.judge(left.chain)
        except CertificateRefused as error:
            _log.info("an earlier connection is not gone on with: %s", error.what)
            return None
        return left


async def connect_quic(
    host: str,
    server_name: str,
    settings: QuicSettings,
    *,
    timeout_s: float,
    on_handshake: OnHandshake | None = None,
) -> QuicStream:
    """Connect to ``host`` (a name or an address) by UDP.

    The certificate has to be for ``server_name``. What ``on_handshake`` is told, it is told also
    of a server that is refused then.
    Raises: TransportError (its cause: ``socket.gaierror``, ``OSError``), DeadlineExceeded;
    CertificateRefused, NegotiationRefused, ConfigError (our own certificate).
    """
    server_name = _as_in_certificates(server_name)
    configuration = client_configuration(server_name, settings)
    target = _Target(host, server_name, settings, configuration, on_handshake)
    tickets = _tickets(target)
    what = f"a QUIC handshake with {host} on UDP port {settings.port}"
    failure: TransportError | DeadlineExceeded = DeadlineExceeded(what, timeout_s)
    with trio.move_on_after(timeout_s) as limit:
        addresses = await look_up(host, settings.port, socket.SOCK_DGRAM)
        resumption = target.resumption(tickets)
        attempts = [_Attempt(address) for address in addresses]
        if resumption is not None:  # It may not be what it was; then without it.
            # What goes early goes before we know whether anybody is there.
            is_early = settings.early_data and len(addresses) == 1
            attempts.insert(0, _Attempt(addresses[0], resumption, is_early=is_early))
        for number, attempt in enumerate(attempts):
            # None may use up the time of those behind it.
            left_s = max(0.0, limit.deadline - trio.current_time())
            patience_s = left_s / (len(attempts) - number)
            address = attempt.address
            try:
                with trio.fail_after(patience_s):
                    return await _connect(target, attempt, tickets)
            except trio.TooSlowError:
                _log.info("%s does not answer by QUIC", address[0])
            except TransportError as error:
                _log.info("%s by QUIC: %s", address[0], error)
                failure = error
    raise failure


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Where to, and what may shorten it."""

    address: Address
    resumption: Resumption | None = None
    is_early: bool = False
    """Whether the first request begins the handshake."""


def _tickets(target: _Target) -> TicketStore | None:
    """Return where this server's tickets are, if we keep any."""
    settings = target.settings
    if settings.memory is None:
        return None
    ours = target.configuration.certificate
    return TicketStore(settings.memory, target.server_name, settings.port, ours)


async def _connect(target: _Target, attempt: _Attempt, tickets: TicketStore | None) -> QuicStream:
    address = attempt.address
    # Of its own: what shortens this handshake is not for another one.
    quic = ClientConnection(replace(target.configuration), tickets)
    is_early = False
    if attempt.resumption is not None:
        quic.resume(attempt.resumption, early_data=attempt.is_early)
        is_early = attempt.is_early and attempt.resumption.allows_early_data
    try:
        udp = UdpSocket(connected_socket(address))
    except OSError as error:
        what = f"UDP port {address[1]} of {target.host} can't be reached: {error}"
        raise TransportError(what) from error

    def judge(chain: Chain) -> ServerCertificate:
        if target.on_handshake is not None:
            target.on_handshake(_examined(quic, target, address, chain))
        return target.judge(chain)

    stream = QuicStream(udp, quic, address, judge)
    try:
        quic.connect(address, now=trio.current_time())
        if not is_early:  # Else the first request begins the handshake.
            await stream.handshake()
    except BaseException:
        stream.give_up()
        raise
    return stream


def _examined(quic: ClientConnection, target: _Target, address: Address, chain: Chain) -> Handshake:
    trust, now = target.settings.trust, datetime.now(UTC)
    judgments = tuple(judge_certificate(chain, target.server_name, trust, now))
    is_readable = judgments[0].refusal is None
    return Handshake(
        address=str(address[0]),
        port=int(address[1]),
        round_trip_s=quic.round_trip_s,
        cipher=quic.cipher,
        alpn=quic.alpn,
        judgments=judgments,
        certificate=described(chain[0]) if is_readable else None,
    )


def client_configuration(server_name: str, settings: QuicSettings) -> QuicConfiguration:
    """Return what aioquic needs to know.

    Raises: ConfigError if our certificate is of no use.
    """
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=[ALPN],
        server_name=server_name,
        # The certificate is judged by us, once TLS has proved that the server has its key.
        verify_mode=ssl.CERT_NONE,
        congestion_control_algorithm=congestion_control(),
        idle_timeout=IDLE_TIMEOUT_S,
        max_data=CONNECTION_WINDOW,
        max_stream_data=STREAM_WINDOW,
    )
    if settings.certificate is not None:
        try:
            configuration.load_cert_chain(settings.certificate, settings.key)
        except (OSError, TypeError, *MALFORMED_CERTIFICATE) as error:
            raise ConfigError(
                f"quic_cert={settings.certificate} can't be used.",
                f"{error}.",
                "give PEM files: a certificate, and with quic_key= its key without a passphrase.",
            ) from error
        if configuration.private_key is None:
            raise ConfigError(
                f"quic_cert={settings.certificate} can't be used.",
                "there is no key in it.",
                "give the file of its key with quic_key=.",
            )
        _check_private(settings.key or settings.certificate)
    return configuration


def _check_private(key: Path) -> None:
    """See that a key is not everybody's; a group may share it. Raises: ConfigError."""
    with suppress(OSError):  # Whoever reads it says what is wrong.
        if key.stat().st_mode & stat.S_IRWXO:
            raise ConfigError(
                f"{key} refused: other users can read it.",
                "there is a private key in it, and whoever has that is you.",
                f"chmod 600 {key}, and have the certificate replaced if somebody may have.",
            )


def _as_in_certificates(server_name: str) -> str:
    """Return a name as TLS and certificates write it: in ASCII. Raises: ConfigError."""
    if server_name.isascii():
        return server_name
    try:
        return server_name.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ConfigError(
            f"the name {server_name} can't be used for QUIC.", f"{error}.", "check how it is spelt."
        ) from error
