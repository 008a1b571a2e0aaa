"""What a sign-on mechanism looks like from the client: tokens in, tokens out."""

from __future__ import annotations

from typing import Literal, Protocol

Mechanism = Literal["ntlm", "kerberos", "guest"]
"""What ``status`` calls the way we signed on."""


class Authenticator(Protocol):
    """One sign-on. SESSION_SETUP carries its tokens both ways until it is complete.

    Spec: [MS-SMB2] 3.2.4.2.3, 3.2.5.3; [RFC4178] for the tokens.
    """

    @property
    def mechanism(self) -> Mechanism:
        """How we sign on: ``ntlm``, ``kerberos`` or ``guest``."""

    @property
    def is_anonymous(self) -> bool:
        """No user is named: the session can be neither signed nor encrypted."""

    @property
    def complete(self) -> bool:
        """No further token is needed from the server."""

    @property
    def session_key(self) -> bytes:
        """The mechanism's session key, 16 bytes or longer; b"" for anonymous.

        Raises: LocalProtocolError before the exchange is complete.
        """

    async def prepare(self) -> None:
        """Get from third parties, such as a KDC, what the first step needs; it may last.

        Once, and before anything is sent to the server; who does not call it waits in the step.
        Raises: AuthenticationError when it can't be had.
        """

    async def step(self, token: bytes | None) -> bytes | None:
        """Take the server's token, return ours for the next SESSION_SETUP, or None.

        ``token`` is None or b"" to begin, or the security buffer of NEGOTIATE's response. It may
        have to wait for a third party, such as a KDC.
        Raises: AuthenticationError when the token is malformed or proves a false server, or when
        there is nothing to sign on with.
        """
