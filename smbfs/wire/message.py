"""What every request and response body has in common.

A message is a frozen value. ``encode`` gives the body, the bytes after the 64-byte
header; ``decode`` takes such a body, which may be followed by padding that belongs to a
compound. Offsets inside a body count from the header's start ([MS-SMB2] 2.2).
"""

from __future__ import annotations

from typing import ClassVar, Self

from smbfs.wire.header import Command
from smbfs.wire.layout import Buffer

__all__ = ["Buffer", "Message"]


class Message:
    """Base of every request and response body."""

    __slots__ = ()

    command: ClassVar[Command]
    """The command in the header in front of this body."""

    def encode(self) -> bytes:
        """Return the body as bytes."""
        raise NotImplementedError

    @classmethod
    def decode(cls, body: memoryview) -> Self:
        """Read a body. Raises: WireError, and nothing else, on any input."""
        raise NotImplementedError

    def buffers(self) -> tuple[Buffer, ...]:
        """Return the body in pieces, so that payload is sent without a copy."""
        return (self.encode(),)

    @property
    def credit_payload(self) -> int:
        """Bytes sent or expected, whichever is more: CreditCharge is computed from it.

        Spec: [MS-SMB2] 3.1.5.2, 3.2.4.1.5.
        """
        return 0
