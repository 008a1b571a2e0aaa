"""Signatures: one small object per algorithm, each with ``sign`` and ``verify``.

A signature covers one whole SMB2 message (in a compound: one element with its padding), with
the 16 bytes of the Signature field taken as zero.

Spec: [MS-SMB2] 3.1.4.1 (signing), 3.1.5.1 (verifying).
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import ciphers, cmac
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from smbfs.errors import SecurityViolation
from smbfs.wire.message import Buffer
from smbfs.wire.negotiate import SigningAlgorithm

SIGNATURE_SIZE = 16

JOINED_SIZE_MAX = 16384
"""Bytes of a message up to which joining its pieces costs less than signing them one by one."""

_ROLE_SERVER = 0x1
_IS_CANCEL = 0x2


class Signer(Protocol):
    """Signs what we send and verifies what the server sent, with one session's key."""

    def sign(self, message: Sequence[Buffer], message_id: int, *, is_cancel: bool) -> bytes:
        """Return the 16-byte signature of ``message``, given in pieces."""

    def verify(self, message: Buffer, message_id: int, signature: bytes) -> None:
        """Check a server's message whose Signature field was zeroed in place.

        Raises: SecurityViolation.
        """


class HashSigner:
    """HMAC-SHA256 cut to 16 bytes: dialects 2.0.2 and 2.1, or negotiated in 3.1.1."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, message: Sequence[Buffer], message_id: int, *, is_cancel: bool) -> bytes:
        """See :class:`Signer`."""
        del message_id, is_cancel  # Only GMAC has a nonce.
        mac = hmac.new(self._key, digestmod="sha256")
        for piece in message:
            mac.update(piece)
        return mac.digest()[:SIGNATURE_SIZE]

    def verify(self, message: Buffer, message_id: int, signature: bytes) -> None:
        """See :class:`Signer`."""
        _require_equal(self.sign((message,), message_id, is_cancel=False), signature)


class CmacSigner:
    """AES-128-CMAC: the algorithm of dialects 3.0 and 3.0.2."""

    def __init__(self, key: bytes) -> None:
        self._algorithm = algorithms.AES(key)

    def sign(self, message: Sequence[Buffer], message_id: int, *, is_cancel: bool) -> bytes:
        """See :class:`Signer`."""
        del message_id, is_cancel  # Only GMAC has a nonce.
        mac = cmac.CMAC(self._algorithm)
        for piece in message:
            mac.update(piece)  # type: ignore[arg-type]  # any buffer will do; the stub is narrower
        return mac.finalize()

    def verify(self, message: Buffer, message_id: int, signature: bytes) -> None:
        """See :class:`Signer`."""
        _require_equal(self.sign((message,), message_id, is_cancel=False), signature)


class GmacSigner:
    """AES-128-GMAC (3.1.1): GCM over nothing, with the message as associated data.

    The nonce is the MessageId and 32 bits that say who sent it and whether it is a CANCEL, so
    that a response can't be played back as a request.
    """

    def __init__(self, key: bytes) -> None:
        self._algorithm = algorithms.AES(key)
        self._one_shot = AESGCM(key)

    def sign(self, message: Sequence[Buffer], message_id: int, *, is_cancel: bool) -> bytes:
        """See :class:`Signer`. Streams over the pieces, so a large payload need not be joined."""
        nonce = _gmac_nonce(message_id, _IS_CANCEL if is_cancel else 0)
        if sum(map(len, message)) <= JOINED_SIZE_MAX:
            return self._one_shot.encrypt(nonce, b"", b"".join(message))
        encryptor = ciphers.Cipher(self._algorithm, modes.GCM(nonce)).encryptor()
        for piece in message:
            encryptor.authenticate_additional_data(piece)
        encryptor.finalize()
        return encryptor.tag

    def verify(self, message: Buffer, message_id: int, signature: bytes) -> None:
        """See :class:`Signer`."""
        nonce = _gmac_nonce(message_id, _ROLE_SERVER)
        try:
            self._one_shot.decrypt(nonce, signature, message)
        except InvalidTag as error:
            raise SecurityViolation("the signature of a message is wrong") from error


_SIGNERS: dict[SigningAlgorithm, type[HashSigner | CmacSigner | GmacSigner]] = {
    SigningAlgorithm.HMAC_SHA256: HashSigner,
    SigningAlgorithm.AES_CMAC: CmacSigner,
    SigningAlgorithm.AES_GMAC: GmacSigner,
}


def signer_for(algorithm: SigningAlgorithm, key: bytes) -> Signer:
    """Return the signer of ``algorithm`` with a session's 16-byte signing key."""
    return _SIGNERS[algorithm](key)


def _gmac_nonce(message_id: int, role: int) -> bytes:
    return message_id.to_bytes(8, "little") + role.to_bytes(4, "little")


def _require_equal(computed: bytes, received: bytes) -> None:
    if not hmac.compare_digest(computed, received):
        raise SecurityViolation("the signature of a message is wrong")
