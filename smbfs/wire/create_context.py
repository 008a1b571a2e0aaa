"""The base of create contexts, and the one for names that nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self


class CreateContext:
    """Base of every create context that has a type here. Spec: [MS-SMB2] 2.2.13.2."""

    __slots__ = ()

    name: ClassVar[bytes]
    """The context's name on the wire: four ASCII bytes, or a GUID."""

    def encode_data(self) -> bytes:
        """Return the context's data."""
        raise NotImplementedError

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class UnknownCreateContext:
    """A context that this package has no type for: name and data verbatim.

    Spec: [MS-SMB2] 2.2.13.2.
    """

    name: bytes
    data: bytes

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return self.data


AnyCreateContext = CreateContext | UnknownCreateContext
