"""``smbfs`` as it is, but for one thing: it prints every secret that it comes to know, in hex.

Run as ``python -m tests.t5_cli.telling_smbfs ARGUMENTS``. What it prints is what a test then looks
for in everything else that it writes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import aioquic.quic.crypto
import spnego._ntlm
import spnego._ntlm_raw.crypto

import smbfs.auth.kerberos_cache
import smbfs.cli.main
import smbfs.engine.session
from smbfs.auth.kerberos import KerberosAuthenticator
from smbfs.auth.kerberos_cache import Ticket
from smbfs.auth.spnego import NtlmAuthenticator
from smbfs.engine.key_derivation import SessionKeys


def tell(kind: str, secret: bytes) -> None:
    sys.stdout.write(f"{kind} {secret.hex()}\n")
    sys.stdout.flush()


def listen(owner: object, name: str, hear: Callable[..., None]) -> None:
    """Have ``hear`` called with the result of ``owner.name``, and its arguments."""
    original = getattr(owner, name)

    def told(*arguments: object, **keywords: object) -> object:
        result = original(*arguments, **keywords)
        hear(result, *arguments, **keywords)
        return result

    setattr(owner, name, told)


def hear_session_keys(keys: SessionKeys, _dialect: object, session_key: bytes, **_: object) -> None:
    tell("session-key", session_key)
    tell("signing-key", keys.signing_key)
    tell("encryption-key", keys.encryption_key)
    tell("decryption-key", keys.decryption_key)


def hear_ntlm_hash(result: bytes, *_: object) -> None:
    tell("ntlm-hash", result)


def hear_ticket(ticket: Ticket, *_: object) -> None:
    for content in ticket.content:
        tell("ticket", content[-64:])  # the end of the ticket itself, which is sealed


def tell_tokens(kind: type[NtlmAuthenticator | KerberosAuthenticator]) -> None:
    step = kind.step

    # Any: it is one of two classes, and which one mypy can't know.
    async def told(self: Any, token: bytes | None) -> bytes | None:  # noqa: ANN401
        result = await step(self, token)
        tell("token", result or b"")
        return result

    kind.step = told  # type: ignore[method-assign]


def hear_traffic_secret(_: None, __: object, *, secret: bytes, **___: object) -> None:
    tell("quic-secret", secret)


def main() -> int:
    listen(smbfs.engine.session, "derive_session_keys", hear_session_keys)
    for module in (spnego._ntlm, spnego._ntlm_raw.crypto):
        for name in ("ntowfv1", "ntowfv2"):
            if hasattr(module, name):
                listen(module, name, hear_ntlm_hash)
    listen(smbfs.auth.kerberos_cache, "_ticket", hear_ticket)
    for kind in (NtlmAuthenticator, KerberosAuthenticator):
        tell_tokens(kind)
    listen(aioquic.quic.crypto.CryptoContext, "setup", hear_traffic_secret)
    return smbfs.cli.main.main()


if __name__ == "__main__":
    sys.exit(main())
