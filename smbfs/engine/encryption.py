"""Sealing: a transform header and AES-CCM or AES-GCM around whole frames.

Spec: [MS-SMB2] 3.1.4.3 (encrypting), 3.2.5.1.1.1 (decrypting), 2.2.41.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

from smbfs.engine.key_derivation import SessionKeys
from smbfs.errors import DecryptionFailed
from smbfs.wire.message import Buffer
from smbfs.wire.negotiate import Cipher
from smbfs.wire.transform import TRANSFORM_HEADER_SIZE, TransformHeader

TAG_SIZE = 16
_NONCE_FIELD_SIZE = 16
_ASSOCIATED_DATA = slice(20, TRANSFORM_HEADER_SIZE)
"""The transform header without its ProtocolId and Signature (3.1.4.3)."""
_NONCE_SIZES = {
    Cipher.AES_128_CCM: 11,
    Cipher.AES_256_CCM: 11,
    Cipher.AES_128_GCM: 12,
    Cipher.AES_256_GCM: 12,
}


class Sealer:
    """Encrypts and decrypts one session's frames.

    Nonces are a counter: unique for the life of the key, and no randomness is needed.
    """

    def __init__(self, cipher: Cipher, keys: SessionKeys, session_id: int) -> None:
        self._nonce_size = _NONCE_SIZES[cipher]
        self._outgoing = _aead(cipher, keys.encryption_key)
        self._incoming = _aead(cipher, keys.decryption_key)
        self._session_id = session_id
        self._frames_sealed = 0

    def seal(self, message: Sequence[Buffer]) -> list[Buffer]:
        """Return the buffers of the sealed frame.

        The pieces are joined once: the one copy that encryption costs writes into a buffer
        of its own anyway.
        """
        self._frames_sealed += 1
        nonce = self._frames_sealed.to_bytes(self._nonce_size, "little")
        size = sum(len(piece) for piece in message)
        header = TransformHeader(
            bytes(TAG_SIZE), nonce.ljust(_NONCE_FIELD_SIZE, b"\0"), size, self._session_id
        )
        sealed = self._outgoing.encrypt(nonce, b"".join(message), header.associated_data)
        header = header._replace(signature=sealed[-TAG_SIZE:])
        return [header.encode(), memoryview(sealed)[:-TAG_SIZE]]

    def unseal(self, frame: bytearray, header: TransformHeader) -> memoryview:
        """Decrypt ``frame`` in place and return the plaintext: a view of the same buffer.

        Raises: DecryptionFailed when the frame was altered or is not of this session.
        """
        if header.original_message_size != len(frame) - TRANSFORM_HEADER_SIZE:
            raise DecryptionFailed("a sealed frame states a wrong length")
        # The primitive wants the tag behind the ciphertext; SMB2 sends it before.
        frame += header.signature
        ciphertext = memoryview(frame)[TRANSFORM_HEADER_SIZE:]
        plaintext = ciphertext[:-TAG_SIZE]
        nonce = header.nonce[: self._nonce_size]
        # As received: a reserved bit that somebody set must not pass.
        associated_data = bytes(frame[_ASSOCIATED_DATA])
        try:
            self._incoming.decrypt_into(nonce, ciphertext, associated_data, plaintext)
        except InvalidTag as error:
            raise DecryptionFailed("a sealed frame can't be decrypted") from error
        return plaintext


def _aead(cipher: Cipher, key: bytes) -> AESGCM | AESCCM:
    if cipher in (Cipher.AES_128_GCM, Cipher.AES_256_GCM):
        return AESGCM(key)
    return AESCCM(key, tag_length=TAG_SIZE)
