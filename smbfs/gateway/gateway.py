"""``smbfs gateway`` itself: takes clients, gives each a relay, writes down what happens."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from smbfs.audit.events import (
    AuditSink,
    GatewayAccepted,
    GatewayEnded,
    GatewayListening,
    GatewayMigrated,
    GatewayRefused,
    GatewayReloaded,
    GatewayReloadFailed,
)
from smbfs.errors import ConfigError
from smbfs.gateway.certificates import Certificates
from smbfs.gateway.relay import Relayed, relay
from smbfs.transport.quic_server import Limits, format_address, listen
from smbfs.transport.quic_server_stream import ServerStream
from smbfs.transport.quic_tls import TlsPolicy
from smbfs.transport.udp import Address

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_FAREWELL: Final = "the gateway is shutting down"
_NOTHING: Final = "-"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """What the command line says."""

    listen: tuple[str, int]
    """An IP address, or "" for all, and a port."""
    server: tuple[str, int]
    """Name or address and TCP port of the SMB server."""
    certificates: Certificates
    client_sha256: frozenset[str] | None = None
    """Clients' certificates that may come in; None: every client may, without one."""
    limits: Limits = field(default_factory=Limits)


class Gateway:
    """Relays clients to one SMB server."""

    def __init__(self, settings: GatewaySettings, audit: AuditSink) -> None:
        self._settings = settings
        self._audit = audit
        host, port = settings.server
        self._unc = f"//{host}:{port}"

    async def run(self, on_listening: Callable[[str], None]) -> None:
        """Serve until SIGTERM or SIGINT; ``on_listening`` gets the address, once.

        Raises: TransportError when the address can't be used.
        """
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heed, signals, nursery.cancel_scope)
                await self._serve(on_listening)

    async def _serve(self, on_listening: Callable[[str], None]) -> None:
        settings = self._settings
        policy = TlsPolicy(settings.certificates.choose, settings.client_sha256)
        async with (
            listen(settings.listen, policy, settings.limits, self, farewell=_FAREWELL) as listener,
            trio.open_nursery() as nursery,
        ):
            address = format_address(listener.address)
            self._audit.write(GatewayListening(self._unc, address))
            on_listening(address)
            while True:
                nursery.start_soon(self._relay, await listener.accept())

    async def _relay(self, client: ServerStream) -> None:
        name, certificate = client.server_name or _NOTHING, client.client_sha256 or _NOTHING
        self._audit.write(
            GatewayAccepted(self._unc, format_address(client.address), name, certificate)
        )
        done = Relayed()
        try:
            await relay(client, *self._settings.server, done)
        finally:
            address = format_address(client.address)
            self._audit.write(
                GatewayEnded(self._unc, address, done.reason, done.to_server, done.to_client)
            )

    async def _heed(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                self._reload()
            else:
                _log.info("ending: %s", signal.Signals(number).name)
                scope.cancel()

    def _reload(self) -> None:
        certificates = self._settings.certificates
        try:
            certificates.reload()
        except ConfigError as error:
            self._audit.write(GatewayReloadFailed(self._unc, f"{error.what}: {error.why}"))
        else:
            self._audit.write(GatewayReloaded(self._unc, len(certificates)))

    # --- what the listener tells -------------------------------------------------------------

    def refused(self, address: Address, server_name: str | None, reason: str) -> None:
        """See :class:`~smbfs.transport.quic_driver.Observer`."""
        client = format_address(address)
        self._audit.write(GatewayRefused(self._unc, client, server_name or _NOTHING, reason))

    def migrated(self, old: Address, new: Address) -> None:
        """See :class:`~smbfs.transport.quic_driver.Observer`."""
        self._audit.write(GatewayMigrated(self._unc, format_address(old), format_address(new)))
