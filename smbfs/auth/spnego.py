"""Sign-on with NTLMv2 inside SPNEGO, by pyspnego, and without a user for guests; or with Kerberos.

NTLMv1 and LM responses are never produced: pyspnego would follow the variable
``LM_COMPAT_LEVEL`` there, so that variable asking for them is refused.
"""

from __future__ import annotations

import os
from typing import Final

import spnego
from spnego._ntlm_raw.md4 import md4

from smbfs.auth.base import Authenticator, Mechanism
from smbfs.auth.credentials import Credentials
from smbfs.errors import AuthenticationError, LocalProtocolError

_LOWEST_LM_COMPAT_LEVEL: Final = 3  # "Send NTLMv2 response only"

_NTLM_SIGNATURE: Final = b"NTLMSSP\0"
_NEGOTIATE_MESSAGE: Final = 1
_CHALLENGE_MESSAGE: Final = 2
_AUTHENTICATE_MESSAGE: Final = 3
# [MS-NLMP] 2.2.2.5: UNICODE, REQUEST_TARGET, NTLM, EXTENDED_SESSIONSECURITY, 128, 56
_NTLM_FLAGS: Final = 0x0000_0001 | 0x0000_0004 | 0x0000_0200 | 0x0008_0000 | 0x2000_0000 | 1 << 31
_NTLM_ANONYMOUS: Final = 0x0000_0800


def make_authenticator(credentials: Credentials, server: str) -> Authenticator:
    """Choose the mechanism for these credentials at this server (its name, for the SPN).

    Raises: AuthenticationError when the mechanism asked for is not available.
    """
    if credentials.tickets is not None:
        # Loaded here: it takes libkrb5, which need not be there.
        from smbfs.auth.kerberos import KerberosAuthenticator

        return KerberosAuthenticator(credentials.tickets, server)
    if credentials.is_anonymous:
        return AnonymousAuthenticator()
    return NtlmAuthenticator(credentials, server)


class NtlmAuthenticator:
    """NTLMv2 for a named user, wrapped in SPNEGO with its mechListMIC.

    Spec: [MS-NLMP] 3.1.5.1; [MS-SPNG]. Raises as :class:`Authenticator` says.
    """

    def __init__(self, credentials: Credentials, server: str) -> None:
        level = os.environ.get("LM_COMPAT_LEVEL", str(_LOWEST_LM_COMPAT_LEVEL))
        if not level.isdigit() or int(level) < _LOWEST_LM_COMPAT_LEVEL:
            raise AuthenticationError(
                "sign-on refused: the environment asks for NTLMv1",
                f"LM_COMPAT_LEVEL={level}; whoever listens can compute a password from NTLMv1.",
                "unset LM_COMPAT_LEVEL.",
            )
        self._mechanism: Mechanism = "guest" if credentials.is_guest else "ntlm"
        self._context = spnego.client(
            _ntlm_only(credentials),
            hostname=server,
            service="cifs",
            protocol="negotiate",
            options=spnego.NegotiateOptions.use_negotiate,
        )
        self._started = False

    @property
    def mechanism(self) -> Mechanism:
        """How we sign on."""
        return self._mechanism

    @property
    def is_anonymous(self) -> bool:
        """Never: a user is named."""
        return False

    @property
    def complete(self) -> bool:
        """No further token is needed from the server."""
        return self._context.complete

    @property
    def session_key(self) -> bytes:
        """ExportedSessionKey, 16 bytes. Spec: [MS-NLMP] 3.1.5.1.2."""
        key = self._context.session_key
        if not key:
            raise LocalProtocolError("session_key read before sign-on is complete")
        return key

    async def prepare(self) -> None:
        """Nothing: nobody else is asked."""

    async def step(self, token: bytes | None) -> bytes | None:
        """Take the server's token, return ours. At once: it waits for nobody."""
        # NEGOTIATE's token is only a hint about mechanisms, and one that need not name NTLM
        # for NTLM to work (a domain controller that lists Kerberos first): begin on our own.
        if not self._started:
            token = None
            self._started = True
        try:
            return self._context.step(token)
        except Exception as error:
            # The token is the server's, and pyspnego's unpacking raises whatever it trips over:
            # struct.error, ValueError, KeyError, its own errors.
            raise AuthenticationError(
                "sign-on failed: the server's answer is not a valid NTLM message",
                f"{type(error).__name__}: {error}.",
                "check that the server accepts NTLMv2 for this user.",
            ) from error


def _ntlm_only(credentials: Credentials) -> spnego.NTLMHash:
    """Return what pyspnego can use for nothing but NTLM.

    With a password it would also ask whatever KDC there is for a ticket, which blocks, and which is
    one more attempt with that password.
    """
    digest = md4(credentials.password.encode("utf-16-le", errors="surrogatepass"))
    return spnego.NTLMHash(credentials.qualified_name, nt_hash=digest.hex())


class AnonymousAuthenticator:
    """A null session: NTLM without user, password or session key.

    Sent without SPNEGO around it, which servers take just as well.
    Spec: [MS-NLMP] 3.2.5.1.2 (anonymous), 2.2.1.1, 2.2.1.3.
    """

    def __init__(self) -> None:
        self._step = 0

    @property
    def mechanism(self) -> Mechanism:
        """How we sign on."""
        return "guest"

    @property
    def is_anonymous(self) -> bool:
        """Always."""
        return True

    @property
    def complete(self) -> bool:
        """No further token is needed from the server."""
        return self._step == 2

    @property
    def session_key(self) -> bytes:
        """Empty: nothing can be signed with it."""
        return b""

    async def prepare(self) -> None:
        """Nothing: nobody else is asked."""

    async def step(self, token: bytes | None) -> bytes | None:
        """NEGOTIATE_MESSAGE first, then AUTHENTICATE_MESSAGE with every field empty."""
        if self._step == 0:
            self._step = 1
            return _ntlm_message(_NEGOTIATE_MESSAGE, _NTLM_FLAGS.to_bytes(4, "little") + bytes(16))
        if self._step == 1:
            if not (token or b"").startswith(_ntlm_message(_CHALLENGE_MESSAGE)):
                raise AuthenticationError(
                    "guest sign-on failed: the server's answer is not an NTLM challenge",
                    "it may allow no sign-on without a user.",
                    "mount with user= and a password.",
                )
            self._step = 2
            return _anonymous_authenticate()
        return None


def _ntlm_message(message_type: int, rest: bytes = b"") -> bytes:
    return _NTLM_SIGNATURE + message_type.to_bytes(4, "little") + rest


def _anonymous_authenticate() -> bytes:
    """AUTHENTICATE_MESSAGE whose only content is the one zero byte of an anonymous LM response.

    Spec: [MS-NLMP] 2.2.1.3, 3.2.5.1.2.
    """
    payload_offset = 64

    def field(length: int) -> bytes:
        # Len, MaxLen, BufferOffset
        size = length.to_bytes(2, "little")
        return size + size + payload_offset.to_bytes(4, "little")

    lm_response, others = field(1), field(0) * 5
    flags = (_NTLM_FLAGS | _NTLM_ANONYMOUS).to_bytes(4, "little")
    return _ntlm_message(_AUTHENTICATE_MESSAGE, lm_response + others + flags + b"\0")
