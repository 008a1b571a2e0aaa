"""A client's connection, with what SMB needs to know of it."""

from __future__ import annotations

from cryptography import x509

from smbfs.transport.quic_connection import BoundedConnection


class ClientConnection(BoundedConnection):
    """The client's side of a connection."""

    @property
    def peer_chain(self) -> list[x509.Certificate]:
        """The server's certificate, and those that it sent along."""
        leaf = self.tls._peer_certificate  # noqa: SLF001 - it has no public name
        further: list[x509.Certificate] = self.tls._peer_certificate_chain  # noqa: SLF001
        return [leaf, *further] if leaf is not None else []

    @property
    def idle_timeout_s(self) -> float:
        """Seconds of silence after which one of the two sides gives up."""
        ours = self.configuration.idle_timeout
        return min(ours, self._remote_max_idle_timeout or ours)

    def _idle_timeout(self) -> float:
        if self._remote_max_idle_timeout == 0:
            self._remote_max_idle_timeout = None  # It means that there is none (RFC 9000 18.2).
        timeout: float = super()._idle_timeout()
        return timeout

    def lose_patience(self) -> None:
        """Send something that the server must answer, even if as much as may be is on its way.

        And do so again soon: that nothing was heard for long was the old network's fault.
        """
        self._probe_pending = True
        self._loss._pto_count = 0  # noqa: SLF001 - nothing public leads there
