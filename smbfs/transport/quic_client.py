"""A client's connection, with what SMB needs to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicFrameType
from aioquic.tls import SessionTicket
from cryptography import x509

from smbfs.transport.quic_connection import BoundedConnection
from smbfs.transport.quic_errors import BAD_CERTIFICATE
from smbfs.transport.session_tickets import Resumption, TicketStore


class ClientConnection(BoundedConnection):
    """The client's side of a connection."""

    def __init__(
        self,
        configuration: QuicConfiguration,
        tickets: TicketStore | None = None,
        **more: Any,  # noqa: ANN401 - what QuicConnection takes, which differs between its releases
    ) -> None:
        """``tickets``: where those go that the server gives, and come from that it has given.

        The certificates that came with one are to be judged before it is of any use: see
        :meth:`resume`.
        """
        self._tickets = tickets
        self._ticket: SessionTicket | None = None
        self._resumption: Resumption | None = None
        super().__init__(
            configuration=configuration,
            session_ticket_handler=self._take_ticket if tickets is not None else None,
            **more,
        )

    def resume(self, resumption: Resumption, *, early_data: bool) -> None:
        """Shorten the handshake, which has not begun yet, by what is left of an earlier one.

        ``early_data``: send with it what is written before it.
        """
        ticket = resumption.ticket
        if not early_data:
            # aioquic would send along whatever is written early.
            ticket = replace(ticket, max_early_data_size=None)
        self._resumption = resumption
        self.configuration.session_ticket = ticket

    def refuse_certificate(self, reason: str) -> None:
        """End a handshake whose server was not found good, and tell it why."""
        self.close(
            error_code=BAD_CERTIFICATE, frame_type=QuicFrameType.CRYPTO, reason_phrase=reason
        )

    def keep_ticket(self) -> None:
        """Keep the ticket that the server has given, if it has; it was found good by now.

        One is enough: a server may give as many as it likes.
        """
        if self._ticket is not None and self._tickets is not None:
            self._tickets.keep(self._ticket, self.peer_chain)
            self._ticket = self._tickets = None

    def _take_ticket(self, ticket: SessionTicket) -> None:
        self._ticket = ticket

    @property
    def is_connected(self) -> bool:
        """Whether there is somebody to talk to, or to try it."""
        return bool(self._network_paths)

    @property
    def peer_chain(self) -> Sequence[x509.Certificate]:
        """The server's certificate, and those that it sent along: now, or when we first met."""
        leaf = self.tls._peer_certificate  # noqa: SLF001 - it has no public name
        if leaf is None:
            return self._resumption.chain if self._resumption and self.tls.session_resumed else []
        further: list[x509.Certificate] = self.tls._peer_certificate_chain  # noqa: SLF001
        return [leaf, *further]

    @property
    def cipher(self) -> str:
        """TLS's name of the cipher suite, once the handshake is complete."""
        schedule = self.tls.key_schedule
        return schedule.cipher_suite.name if schedule is not None else ""

    @property
    def alpn(self) -> str:
        """The application protocol that was agreed upon, once the handshake is complete."""
        return self.tls.alpn_negotiated or ""

    @property
    def round_trip_s(self) -> float:
        """Seconds to the server and back, smoothed; 0 before anything was acknowledged."""
        seconds: float = self._loss._rtt_smoothed  # noqa: SLF001 - nothing public leads there
        return seconds

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
