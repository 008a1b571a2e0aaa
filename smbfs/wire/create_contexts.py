"""Create contexts: the chain in CREATE, and its payloads.

A context is a name (four ASCII bytes, or a GUID) and data. The same name means one layout
in a request and another in a response, so there are two ways to decode a chain.

Spec: [MS-SMB2] 2.2.13.2 (requests), 2.2.14.2 (responses).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from smbfs.errors import WireError
from smbfs.wire.layout import padding, slice_data, unpack_at

_ENTRY = struct.Struct("<IHHHHI")


class CreateContext:
    """Base of every create context."""

    __slots__ = ()

    name: ClassVar[bytes]
    """The context's name on the wire."""

    def encode_data(self) -> bytes:
        """Return the context's data."""
        raise NotImplementedError

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class UnknownCreateContext:
    """A context that this package has no type for: name and data verbatim."""

    name: bytes
    data: bytes

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return self.data


AnyCreateContext = CreateContext | UnknownCreateContext


def encode_create_contexts(contexts: tuple[AnyCreateContext, ...]) -> bytes:
    """Return the chain of contexts, each 8-byte aligned, the last one with Next = 0.

    Spec: [MS-SMB2] 2.2.13.2.
    """
    chain = bytearray()
    last = len(contexts) - 1
    for index, context in enumerate(contexts):
        name = context.name
        data = context.encode_data()
        data_offset = (_ENTRY.size + len(name) + 7) & ~7 if data else 0
        length = data_offset + len(data) if data else _ENTRY.size + len(name)
        next_offset = (length + 7) & ~7 if index != last else 0
        chain += _ENTRY.pack(next_offset, _ENTRY.size, len(name), 0, data_offset, len(data))
        chain += name
        if data:
            chain += padding(len(name), 8)
            chain += data
        if next_offset:
            chain += bytes(next_offset - length)
    return bytes(chain)


def iterate_create_contexts(chain: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the name and data of each context of a chain.

    Raises: WireError if an entry lies outside the chain or Next does not move on; the
    number of steps is bounded by the chain's length, because Next moves by at least 16.
    """
    offset = 0
    while True:
        what = "create context"
        next_offset, name_offset, name_length, _, data_offset, data_length = unpack_at(
            _ENTRY, chain, offset, what
        )
        end = offset + next_offset if next_offset else len(chain)
        if (next_offset and next_offset < _ENTRY.size) or end > len(chain):
            raise WireError(what, offset)
        entry = chain[offset:end]
        name = bytes(slice_data(entry, name_offset, name_length, what))
        data = slice_data(entry, data_offset, data_length, what) if data_length else entry[:0]
        yield name, data
        if not next_offset:
            return
        offset = end


def decode_request_contexts(chain: memoryview) -> tuple[AnyCreateContext, ...]:
    """Read the contexts of a CREATE request. Raises: WireError."""
    return tuple(
        UnknownCreateContext(name, bytes(data)) for name, data in iterate_create_contexts(chain)
    )


def decode_response_contexts(chain: memoryview) -> tuple[AnyCreateContext, ...]:
    """Read the contexts of a CREATE response. Raises: WireError."""
    return tuple(
        UnknownCreateContext(name, bytes(data)) for name, data in iterate_create_contexts(chain)
    )
