"""Sign-on with Kerberos inside SPNEGO, by pyspnego and the system's GSSAPI.

Kerberos is the only mechanism that is offered, so there is nothing that a server, or somebody on
the way, could choose in its place, and no mechListMIC to leave out: what NEGOTIATE says about
mechanisms is a hint that nobody has signed, and is not read. pyspnego believes a server that calls
sign-on complete; we do when GSSAPI has verified the server's AP-REP, which only the holder of the
key of ``cifs/server`` can make, and has made a session key of it.

The name is the one that the mount was asked for, unless ``trust_dns`` has DNS make another of it.
No ticket is forwarded. There are no channel bindings (RFC 5056): [MS-SMB2] 3.2.4.2.3 has sign-on
bound to no channel, and SMB over TCP has none; signing with the key that comes of it does the same.

Spec: [MS-SMB2] 3.2.4.2.3, 3.2.5.3.3; RFC 4121; RFC 4178 4.2, 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import spnego

from smbfs.auth.base import Mechanism
from smbfs.auth.kerberos_errors import ServerNotProved, TicketMissing, ticket_missing
from smbfs.errors import LocalProtocolError

if TYPE_CHECKING:
    from smbfs.auth.kerberos_tickets import Tickets

SERVICE: Final = "cifs"

# Mutual authentication, and what makes a key of it; not: delegation.
_WANTED: Final = (
    spnego.ContextReq.mutual_auth
    | spnego.ContextReq.replay_detect
    | spnego.ContextReq.sequence_detect
    | spnego.ContextReq.integrity
)


def service_name(server: str) -> str:
    """Return the server's name as the KDC knows it (SPN)."""
    return f"{SERVICE}/{server}"


class KerberosAuthenticator:
    """One sign-on with a mount's tickets. Raises as :class:`Authenticator` says."""

    def __init__(self, tickets: Tickets, server: str) -> None:
        self._tickets = tickets
        self._server = server
        self._context: spnego.ContextProxy | None = None
        self._session_key = b""
        self._first = b""  # token, until it is sent

    @property
    def mechanism(self) -> Mechanism:
        """How we sign on."""
        return "kerberos"

    @property
    def is_anonymous(self) -> bool:
        """Never: a principal is named."""
        return False

    @property
    def complete(self) -> bool:
        """Whether the server has proved itself, and there is a key."""
        return bool(self._session_key)

    @property
    def session_key(self) -> bytes:
        """The key of the context, as long as its kind of encryption has it: 16 or 32 bytes."""
        if not self._session_key:
            raise LocalProtocolError("session_key read before sign-on is complete")
        return self._session_key

    async def prepare(self) -> None:
        """Get the ticket for the server, for which the KDC may be asked. Raises: TicketMissing."""
        self._first = await self._tickets.in_thread(self.begin)

    async def step(self, token: bytes | None) -> bytes | None:
        """Take the server's token, return ours.

        Raises: TicketMissing when there is no ticket for the server; ServerNotProved.
        """
        if self._context is None:
            await self.prepare()
        if self._first:
            token, self._first = self._first, b""
            return token
        return await self._tickets.in_thread(lambda: self._finish(token))

    def begin(self) -> bytes:
        """Return the first token, for which the KDC may be asked; this blocks.

        Raises: TicketMissing.
        """
        cache = self._tickets.cache()
        try:
            context = spnego.client(
                spnego.KerberosCCache(cache),
                hostname=self._server,
                service=SERVICE,
                context_req=_WANTED,
                protocol="negotiate",
                options=spnego.NegotiateOptions.use_negotiate,
            )
            token = context.step(None)
        except Exception as error:
            raise _why_no_ticket(error, service_name(self._server)) from error
        assert token is not None
        self._context = context
        self._tickets.signed_on(service_name(self._server))
        return token

    def _finish(self, token: bytes | None) -> bytes | None:
        assert self._context is not None
        if not token:
            raise self._not_proved(ValueError("it is empty"))
        try:
            answer = self._context.step(token)
            is_mutual = bool(self._context.context_attr & spnego.ContextReq.mutual_auth)
            if self._context.complete and is_mutual:
                # GSSAPI has none before it has verified the server's answer.
                self._session_key = self._context.session_key or b""
        except Exception as error:
            # The token is the server's: pyspnego raises whatever it trips over.
            raise self._not_proved(error) from error
        return answer

    def _not_proved(self, error: Exception) -> ServerNotProved:
        if isinstance(error, KeyError):
            return ServerNotProved(
                "the server does not sign on with Kerberos.",
                f"it has answered {service_name(self._server)}'s ticket by choosing another way.",
                "if it has left the domain, and NTLM is good enough here: auth=ntlm.",
            )
        return ServerNotProved(
            "the server did not prove that it is the one whose name was given.",
            f"its answer was not made with the key of {service_name(self._server)}: {error}.",
            "find out what answers at this address; nothing was tried in Kerberos' place.",
        )


def _why_no_ticket(error: Exception, spn: str) -> TicketMissing:
    """Find libkrb5's own words in what pyspnego has made of them."""
    cause: BaseException | None = error
    while cause is not None:
        code = getattr(cause, "min_code", None) or getattr(cause, "err_code", None)
        if isinstance(code, int):
            return ticket_missing(code, str(cause).rpartition("): ")[2], spn)
        cause = getattr(cause, "base_error", None)
    return ticket_missing(0, str(error), spn)
