"""Connections and sessions of a simulated server: who is signed on where, and with which keys.

Spec: [MS-SMB2] 3.3.5.4 (NEGOTIATE), 3.3.5.5 (SESSION_SETUP), 3.3.7.1 (lost connections).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from smbfs.engine.key_derivation import derive_session_keys
from smbfs.engine.preauth_hash import INITIAL_HASH
from smbfs.wire.dialect import Dialect
from smbfs.wire.file_id import FileId
from smbfs.wire.negotiate import (
    Capabilities,
    HashAlgorithm,
    NegotiateResponse,
    PreauthIntegrityCapabilities,
    SecurityMode,
    SigningAlgorithm,
    SigningCapabilities,
)
from tests.beds.framing import ROLE_SERVER, gmac
from tests.beds.simulated_leases import ServerOpen

SIZE_MAX = 65536


@dataclass
class Settings:
    """What kind of server it is."""

    leases: bool = True
    directory_leases: bool = True
    durable: bool = True
    multichannel: bool = True
    posix_semantics: bool = True
    """Whether names can be removed and replaced at once although the file is open."""
    credits_max: int = 512
    """Credits that a client may hold."""


@cache
def negotiate_response(multichannel: bool, leases: bool, directories: bool) -> bytes:
    """Return the body of NEGOTIATE's answer."""
    capabilities = Capabilities.LARGE_MTU
    if multichannel:
        capabilities |= Capabilities.MULTI_CHANNEL
    if leases:
        capabilities |= Capabilities.LEASING
    if directories:
        capabilities |= Capabilities.DIRECTORY_LEASING
    return NegotiateResponse(
        security_mode=SecurityMode.SIGNING_ENABLED | SecurityMode.SIGNING_REQUIRED,
        dialect=Dialect.SMB_3_1_1,
        server_guid=uuid.UUID(int=1),
        capabilities=capabilities,
        max_transact_size=SIZE_MAX,
        max_read_size=SIZE_MAX,
        max_write_size=SIZE_MAX,
        system_time=0,
        server_start_time=0,
        security_buffer=b"",
        contexts=(
            PreauthIntegrityCapabilities((HashAlgorithm.SHA_512,), b"s" * 32),
            SigningCapabilities((SigningAlgorithm.AES_GMAC,)),
        ),
    ).encode()


def session_key_of(token: bytes) -> bytes:
    """Return the key that sign-on with this token gives both sides."""
    return hashlib.sha256(b"secret" + token).digest()[:16]


class ChannelKey:
    """The signing key of a session on one connection."""

    def __init__(self, token: bytes, preauth_hash: bytes) -> None:
        keys = derive_session_keys(
            Dialect.SMB_3_1_1, session_key_of(token), preauth_hash=preauth_hash, cipher=None
        )
        self._key = AESGCM(keys.signing_key)

    def sign(self, message: bytes, message_id: int, role: int = ROLE_SERVER) -> bytes:
        """Return the signature of a message."""
        return gmac(self._key, message, message_id, role)


@dataclass(eq=False)
class Peer:
    """One connection, as the server sees it."""

    name: str
    send: Callable[[bytes], None]
    """Sends a frame to the client."""
    preauth_hash: bytes = INITIAL_HASH
    granted_end: int = 1
    outstanding: int = 1
    """Credits that the client holds."""
    used: set[int] = field(default_factory=set)
    """Message ids."""
    channels: dict[int, ChannelKey] = field(default_factory=dict)
    """Keys of the sessions that are signed on here."""
    is_gone: bool = False


@dataclass(eq=False)
class ServerSession:
    """A session of the client."""

    session_id: int
    key: ChannelKey
    """Of the connection that it began on."""
    peers: list[Peer] = field(default_factory=list)
    opens: dict[int, ServerOpen] = field(default_factory=dict)
    """By volatile id."""
    closed: set[int] = field(default_factory=set)
    """Volatile ids that were closed."""
    next_id: int = 1
    sequence: int = 0
    """The last ChannelSequence of its client: what has an older one was under way for long."""
    is_expired: bool = False
    trees: set[int] = field(default_factory=set)

    def new_id(self, durable_id: int | None = None) -> FileId:
        """Return an id for an open: every session counts anew, so they meet those of the last."""
        volatile = self.next_id
        self.next_id += 1
        return FileId(volatile if durable_id is None else durable_id, volatile)
