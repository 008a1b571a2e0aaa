"""Reach a server over QUIC: handshake, then judge its certificate before anything else is said."""

from __future__ import annotations

import logging
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import trio
from aioquic.quic.configuration import QuicConfiguration

from smbfs.errors import CertificateRefused, ConfigError, DeadlineExceeded, TransportError
from smbfs.transport.certificate_path import Chain
from smbfs.transport.congestion import congestion_control
from smbfs.transport.handshake import Handshake, OnHandshake
from smbfs.transport.names import look_up
from smbfs.transport.quic import QuicStream
from smbfs.transport.quic_client import ClientConnection
from smbfs.transport.quic_connection import ALPN, CONNECTION_WINDOW
from smbfs.transport.quic_settings import QuicSettings
from smbfs.transport.server_certificate import (
    check_server_certificate,
    described,
    judge_certificate,
)
from smbfs.transport.session_tickets import TicketStore
from smbfs.transport.tunnel import ServerCertificate
from smbfs.transport.udp import Address, UdpSocket, connected_socket

WINDOW: Final = 16 * 1024 * 1024
"""Bytes that the server may send before we have taken them: enough for 1 Gbit/s over 100 ms, and
more than the longest frame."""

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

    def resume(self, quic: ClientConnection) -> bool:
        """Go on where an earlier connection ended, if its server would be believed today.

        Return whether the first request goes along with the handshake.
        """
        resumption = self.tickets.take() if self.tickets is not None else None
        if resumption is None:
            return False
        try:
            self.judge(resumption.chain)
        except CertificateRefused as error:
            _log.info("an earlier connection is not gone on with: %s", error.what)
            return False
        is_early = self.settings.early_data and resumption.ticket.max_early_data_size is not None
        quic.resume(resumption, early_data=is_early)
        return is_early

    @property
    def tickets(self) -> TicketStore | None:
        """Where this server's tickets are."""
        settings = self.settings
        if settings.memory is None:
            return None
        return TicketStore(settings.memory, self.server_name, settings.port, settings.certificate)


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
    what = f"a QUIC handshake with {host} on UDP port {settings.port}"
    failure: TransportError | DeadlineExceeded = DeadlineExceeded(what, timeout_s)
    with trio.move_on_after(timeout_s) as limit:
        addresses = await look_up(host, settings.port, socket.SOCK_DGRAM)
        for number, address in enumerate(addresses):
            # None may use up the time of those behind it.
            left_s = max(0.0, limit.deadline - trio.current_time())
            patience_s = left_s / (len(addresses) - number)
            try:
                with trio.fail_after(patience_s):
                    return await _connect(target, address)
            except trio.TooSlowError:
                _log.info("%s does not answer by QUIC", address[0])
            except TransportError as error:
                _log.info("%s by QUIC: %s", address[0], error)
                failure = error
    raise failure


async def _connect(target: _Target, address: Address) -> QuicStream:
    try:
        udp = UdpSocket(connected_socket(address))
    except OSError as error:
        what = f"UDP port {address[1]} of {target.host} can't be reached: {error}"
        raise TransportError(what) from error
    quic = ClientConnection(target.configuration, target.tickets)

    def judge(chain: Chain) -> ServerCertificate:
        if target.on_handshake is not None:
            target.on_handshake(_examined(quic, target, address, chain))
        return target.judge(chain)

    stream = QuicStream(udp, quic, address, judge)
    try:
        is_early = target.resume(quic)
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
        max_stream_data=WINDOW,
    )
    if settings.certificate is not None:
        try:
            configuration.load_cert_chain(settings.certificate, settings.key)
        except (OSError, ValueError, TypeError) as error:
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
    return configuration


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
