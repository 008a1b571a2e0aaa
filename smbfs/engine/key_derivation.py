"""Session keys from the key that sign-on produced.

Counter-mode KDF of SP 800-108 with HMAC-SHA256, a 32-bit counter before the label and a
32-bit length after the context.

Spec: [MS-SMB2] 3.1.4.2, 3.2.5.3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

from smbfs.wire.dialect import Dialect
from smbfs.wire.negotiate import Cipher

SESSION_KEY_SIZE = 16
"""Bytes of Session.SessionKey: the authentication key, cut or zero-padded (3.2.5.3.1)."""


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """The keys of one session. ``repr`` shows none of them."""

    signing_key: bytes
    encryption_key: bytes
    """Client to server; empty before SMB 3.0."""
    decryption_key: bytes
    """Server to client; empty before SMB 3.0."""

    def __repr__(self) -> str:
        return "SessionKeys(…)"


def derive_key(key: bytes, label: bytes, context: bytes, *, length: int) -> bytes:
    """Return ``length`` bytes derived from ``key``. ``label`` includes its trailing NUL.

    Spec: [MS-SMB2] 3.1.4.2.
    """
    return KBKDFHMAC(
        algorithm=hashes.SHA256(),
        mode=Mode.CounterMode,
        length=length,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=context,
        fixed=None,
    ).derive(key)


def derive_session_keys(
    dialect: Dialect, authentication_key: bytes, *, preauth_hash: bytes, cipher: Cipher | None
) -> SessionKeys:
    """Derive a session's keys.

    ``authentication_key``: what sign-on produced, 16 bytes (NTLM) or more (Kerberos).
    ``preauth_hash``: Session.PreauthIntegrityHashValue; used by 3.1.1 alone.

    Spec: [MS-SMB2] 3.2.5.3.1.
    """
    session_key = authentication_key[:SESSION_KEY_SIZE].ljust(SESSION_KEY_SIZE, b"\0")
    if dialect < Dialect.SMB_3_0:
        return SessionKeys(session_key, b"", b"")
    wide = cipher in (Cipher.AES_256_CCM, Cipher.AES_256_GCM)
    # "If Connection.CipherId is AES-256-*, the KDF is given Session.FullSessionKey."
    cipher_source, cipher_length = (authentication_key, 32) if wide else (session_key, 16)
    if dialect == Dialect.SMB_3_1_1:
        signing = (b"SMBSigningKey\0", preauth_hash)
        outgoing = (b"SMBC2SCipherKey\0", preauth_hash)
        incoming = (b"SMBS2CCipherKey\0", preauth_hash)
    else:
        signing = (b"SMB2AESCMAC\0", b"SmbSign\0")
        # The blank after "ServerIn" is the specification's.
        outgoing = (b"SMB2AESCCM\0", b"ServerIn \0")
        incoming = (b"SMB2AESCCM\0", b"ServerOut\0")
    return SessionKeys(
        signing_key=derive_key(session_key, *signing, length=16),
        encryption_key=derive_key(cipher_source, *outgoing, length=cipher_length),
        decryption_key=derive_key(cipher_source, *incoming, length=cipher_length),
    )
