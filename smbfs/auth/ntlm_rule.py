"""The rule for NTLM: used unless ``block_ntlm`` is set, as Windows' BlockNTLM has it.

An NTLM response lets a hostile server try passwords, and sign on elsewhere at that moment.
"""

from __future__ import annotations

from smbfs.errors import AuthenticationError


def ntlm_refused(share: str, why_not_kerberos: str) -> AuthenticationError:
    """Build the refusal of a sign-on that could only be NTLM's; ``share`` is shown as it is."""
    return AuthenticationError(
        f"{share} refused: only NTLM is left to sign on with, and NTLM is blocked",
        "block_ntlm is set, so nothing was sent that a password could be guessed from (Windows "
        'reports "the authentication failed because NTLM was blocked", 0xC0000418). '
        f"{why_not_kerberos}.",
        "get a Kerberos ticket for the server; or have its name put into block_ntlm_exceptions.",
        rule="block_ntlm",
    )
