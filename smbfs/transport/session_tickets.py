"""TLS session tickets: what a server has given us so that the next handshake is shorter.

A resumed handshake proves that the server is the one of last time, and shows no certificate. So a
ticket is kept with the certificates of then, which are judged again each time, by the rules and the
trust of now; where they fail, there is an ordinary handshake. A ticket serves once (RFC 8446
appendix C.4), so that nobody on the way can tell that two connections are the same client's, and is
worth nothing with another certificate of ours than the one that it was given to.

Spec: RFC 8446 sections 2.2, 4.6.1.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from aioquic.tls import CipherSuite, SessionTicket
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from smbfs.transport.certificate_path import MALFORMED_CERTIFICATE
from smbfs.transport.server_memory import ServerMemory

_KIND: Final = "ticket"

_TICKET_MAX: Final = 8192
"""Bytes; aioquic's first message has no room for much more."""


@dataclass(frozen=True, slots=True, repr=False)
class Resumption:
    """A ticket, and the certificates that the server has shown when it gave it."""

    ticket: SessionTicket
    chain: Sequence[x509.Certificate]

    @property
    def allows_early_data(self) -> bool:
        """Whether a request may go along with the handshake."""
        return self.ticket.max_early_data_size is not None


class TicketStore:
    """The ticket of one server for one identity of ours."""

    def __init__(
        self, memory: ServerMemory, server_name: str, port: int, ours: x509.Certificate | None
    ) -> None:
        """``ours``: our own certificate, if we show one."""
        identity = ours.fingerprint(hashes.SHA256()).hex() if ours is not None else ""
        self._memory = memory
        self._name = f"{server_name.lower()}:{port}:{identity}"

    def take(self) -> Resumption | None:
        """Return the ticket, if there is one; it is used up by that."""
        facts = self._memory.take(_KIND, self._name)
        try:
            resumption = _decode(facts)
            is_good = resumption.ticket.is_valid
        except (KeyError, TypeError, OverflowError, *MALFORMED_CERTIFICATE):
            return None
        return resumption if is_good else None

    def keep(self, ticket: SessionTicket, chain: Sequence[x509.Certificate]) -> None:
        """Keep a ticket for the next time, unless it is too large to be shown."""
        if len(ticket.ticket) > _TICKET_MAX:
            return
        self._memory.keep(_KIND, self._name, _encode(ticket, chain))


def _encode(ticket: SessionTicket, chain: Sequence[x509.Certificate]) -> Mapping[str, Any]:
    return {
        "age_add": ticket.age_add,
        "cipher_suite": int(ticket.cipher_suite),
        "not_valid_after": ticket.not_valid_after.isoformat(),
        "not_valid_before": ticket.not_valid_before.isoformat(),
        "resumption_secret": _text(ticket.resumption_secret),
        "server_name": ticket.server_name,
        "ticket": _text(ticket.ticket),
        "max_early_data_size": ticket.max_early_data_size,
        "other_extensions": [[kind, _text(data)] for kind, data in ticket.other_extensions],
        "chain": [_text(certificate.public_bytes(Encoding.DER)) for certificate in chain],
    }


def _decode(facts: Mapping[str, Any]) -> Resumption:
    ticket = SessionTicket(
        age_add=int(facts["age_add"]),
        cipher_suite=CipherSuite(facts["cipher_suite"]),
        not_valid_after=datetime.fromisoformat(facts["not_valid_after"]),
        not_valid_before=datetime.fromisoformat(facts["not_valid_before"]),
        resumption_secret=b64decode(facts["resumption_secret"]),
        server_name=str(facts["server_name"]),
        ticket=b64decode(facts["ticket"]),
        max_early_data_size=facts["max_early_data_size"],
        other_extensions=[(int(kind), b64decode(data)) for kind, data in facts["other_extensions"]],
    )
    chain = [x509.load_der_x509_certificate(b64decode(data)) for data in facts["chain"]]
    if not chain:
        raise ValueError("a ticket without certificates")
    return Resumption(ticket, chain)


def _text(data: bytes) -> str:
    return b64encode(data).decode()
