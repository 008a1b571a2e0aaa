"""The pre-authentication integrity hash: SHA-512 over every message up to the session key.

Whoever alters one bit of NEGOTIATE or SESSION_SETUP makes both sides derive other keys, and
the first signed message fails.

Spec: [MS-SMB2] 3.2.5.2 and 3.2.5.3 (PreauthIntegrityHashValue).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from smbfs.wire.message import Buffer

INITIAL_HASH = bytes(64)


def extend_hash(value: bytes, message: Iterable[Buffer]) -> bytes:
    """Return SHA-512(value + message). ``message``: a whole SMB2 message in pieces, no framing."""
    digest = hashlib.sha512(value)
    for piece in message:
        digest.update(piece)
    return digest.digest()
