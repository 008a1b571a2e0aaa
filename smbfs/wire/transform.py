"""The header in front of an encrypted message.

Spec: [MS-SMB2] 2.2.41 (SMB2 TRANSFORM_HEADER).
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Self

from smbfs.errors import WireError
from smbfs.wire.header import PROTOCOL_ID_TRANSFORM
from smbfs.wire.layout import Buffer

TRANSFORM_HEADER_SIZE = 52
"""Bytes of the transform header."""
ASSOCIATED_DATA_OFFSET = 20
"""Where the part that is authenticated but not encrypted starts: after the signature."""

_LAYOUT = struct.Struct("<4s16s16sIHHQ")
_FLAG_ENCRYPTED = 0x0001


class TransformHeader(NamedTuple):
    """What a receiver must know to decrypt.

    Shape: 52 bytes. ``signature`` is the 16-byte AEAD tag. ``nonce`` is the raw 16-byte
    field, of which GCM uses the first 12 bytes and CCM the first 11.
    ``original_message_size`` in bytes of plain text. Flags is always 1 (Encrypted; in
    SMB 3.0 and 3.0.2 the same 1 names AES-128-CCM).
    Spec: [MS-SMB2] 2.2.41.
    """

    signature: bytes
    nonce: bytes
    original_message_size: int
    session_id: int

    def encode(self) -> bytes:
        """Return the 52 bytes."""
        return _LAYOUT.pack(
            PROTOCOL_ID_TRANSFORM,
            self.signature,
            self.nonce,
            self.original_message_size,
            0,
            _FLAG_ENCRYPTED,
            self.session_id,
        )

    @classmethod
    def decode(cls, view: Buffer, offset: int = 0) -> Self:
        """Read the transform header at byte ``offset`` of ``view``.

        Raises: WireError if short, of another protocol id, or Flags is not 1: such a message
        MUST be discarded (3.2.5.1.1).
        """
        if offset < 0 or offset + TRANSFORM_HEADER_SIZE > len(view):
            raise WireError("transform header", len(view))
        protocol_id, signature, nonce, size, _reserved, flags, session_id = _LAYOUT.unpack_from(
            view, offset
        )
        if protocol_id != PROTOCOL_ID_TRANSFORM or flags != _FLAG_ENCRYPTED:
            raise WireError("transform header", offset)
        return cls(signature, nonce, size, session_id)

    @property
    def associated_data(self) -> bytes:
        """Bytes 20 to 52: what the AEAD tag covers beside the cipher text (3.1.4.3)."""
        return self.encode()[ASSOCIATED_DATA_OFFSET:]
