"""The chain of create contexts in CREATE; every context's type is exported here.

A context is a name (four ASCII bytes, or a GUID) and data. The same name means one layout
in a request and another in a response, so there are two ways to decode a chain.

Spec: [MS-SMB2] 2.2.13.2 (requests), 2.2.14.2 (responses).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from smbfs.errors import WireError
from smbfs.wire.create_context import AnyCreateContext, CreateContext, UnknownCreateContext
from smbfs.wire.create_context_payloads import (
    AllocationSize,
    DurableHandleReconnectV1,
    DurableHandleReconnectV2,
    DurableHandleRequestV1,
    DurableHandleRequestV2,
    DurableHandleResponseV1,
    DurableHandleResponseV2,
    ExtendedAttributes,
    MaximalAccessRequest,
    MaximalAccessResponse,
    PosixCreateRequest,
    PosixCreateResponse,
    QueryOnDiskIdRequest,
    QueryOnDiskIdResponse,
    SecurityDescriptorContext,
    TimewarpToken,
)
from smbfs.wire.layout import slice_data, unpack_at
from smbfs.wire.lease import (
    LEASE_V2_SIZE,
    LeaseFlags,
    LeaseRequestV1,
    LeaseRequestV2,
    LeaseResponseV1,
    LeaseResponseV2,
    LeaseState,
)

__all__ = [
    "AllocationSize",
    "AnyCreateContext",
    "CreateContext",
    "DurableHandleReconnectV1",
    "DurableHandleReconnectV2",
    "DurableHandleRequestV1",
    "DurableHandleRequestV2",
    "DurableHandleResponseV1",
    "DurableHandleResponseV2",
    "ExtendedAttributes",
    "LeaseFlags",
    "LeaseRequestV1",
    "LeaseRequestV2",
    "LeaseResponseV1",
    "LeaseResponseV2",
    "LeaseState",
    "MaximalAccessRequest",
    "MaximalAccessResponse",
    "PosixCreateRequest",
    "PosixCreateResponse",
    "QueryOnDiskIdRequest",
    "QueryOnDiskIdResponse",
    "SecurityDescriptorContext",
    "TimewarpToken",
    "UnknownCreateContext",
    "decode_request_contexts",
    "decode_response_contexts",
    "encode_create_contexts",
    "iterate_create_contexts",
]

_ENTRY = struct.Struct("<IHHHHI")
_WHAT = "create context"

_Decoder = Callable[[memoryview], CreateContext]


def _lease_request(data: memoryview) -> CreateContext:
    if len(data) >= LEASE_V2_SIZE:
        return LeaseRequestV2.decode_data(data)
    return LeaseRequestV1.decode_data(data)


def _lease_response(data: memoryview) -> CreateContext:
    if len(data) >= LEASE_V2_SIZE:
        return LeaseResponseV2.decode_data(data)
    return LeaseResponseV1.decode_data(data)


_REQUESTS: dict[bytes, _Decoder] = {
    MaximalAccessRequest.name: MaximalAccessRequest.decode_data,
    QueryOnDiskIdRequest.name: QueryOnDiskIdRequest.decode_data,
    TimewarpToken.name: TimewarpToken.decode_data,
    AllocationSize.name: AllocationSize.decode_data,
    ExtendedAttributes.name: ExtendedAttributes.decode_data,
    SecurityDescriptorContext.name: SecurityDescriptorContext.decode_data,
    DurableHandleRequestV1.name: DurableHandleRequestV1.decode_data,
    DurableHandleReconnectV1.name: DurableHandleReconnectV1.decode_data,
    DurableHandleRequestV2.name: DurableHandleRequestV2.decode_data,
    DurableHandleReconnectV2.name: DurableHandleReconnectV2.decode_data,
    PosixCreateRequest.name: PosixCreateRequest.decode_data,
    LeaseRequestV1.name: _lease_request,
}
_RESPONSES: dict[bytes, _Decoder] = {
    MaximalAccessResponse.name: MaximalAccessResponse.decode_data,
    QueryOnDiskIdResponse.name: QueryOnDiskIdResponse.decode_data,
    DurableHandleResponseV1.name: DurableHandleResponseV1.decode_data,
    DurableHandleResponseV2.name: DurableHandleResponseV2.decode_data,
    PosixCreateResponse.name: PosixCreateResponse.decode_data,
    LeaseResponseV1.name: _lease_response,
}


def encode_create_contexts(contexts: tuple[AnyCreateContext, ...]) -> bytes:
    """Return the chain of contexts, each 8-byte aligned, the last one with Next = 0.

    Spec: [MS-SMB2] 2.2.13.2.
    """
    chain = b""
    last = len(contexts) - 1
    for index, context in enumerate(contexts):
        name = context.name
        data = context.encode_data()
        data_offset = (_ENTRY.size + len(name) + 7) & ~7 if data else 0
        length = data_offset + len(data) if data else _ENTRY.size + len(name)
        next_offset = (length + 7) & ~7 if index != last else 0
        entry = _ENTRY.pack(next_offset, _ENTRY.size, len(name), 0, data_offset, len(data)) + name
        chain += (entry.ljust(data_offset, b"\0") + data).ljust(next_offset, b"\0")
    return chain


def iterate_create_contexts(chain: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the name and data of each context of a chain.

    Raises: WireError if an entry lies outside the chain or Next does not move on; the
    number of steps is bounded by the chain's length, because Next moves by at least 16.
    """
    offset = 0
    while True:
        next_offset, name_offset, name_length, _, data_offset, data_length = unpack_at(
            _ENTRY, chain, offset, _WHAT
        )
        end = offset + next_offset if next_offset else len(chain)
        if (next_offset and next_offset < _ENTRY.size) or end > len(chain):
            raise WireError(_WHAT, offset)
        entry = chain[offset:end]
        name = bytes(slice_data(entry, name_offset, name_length, _WHAT))
        data = slice_data(entry, data_offset, data_length, _WHAT) if data_length else entry[:0]
        yield name, data
        if not next_offset:
            return
        offset = end


def decode_request_contexts(chain: memoryview) -> tuple[AnyCreateContext, ...]:
    """Read the contexts of a CREATE request. Raises: WireError."""
    return _decode_contexts(chain, _REQUESTS)


def decode_response_contexts(chain: memoryview) -> tuple[AnyCreateContext, ...]:
    """Read the contexts of a CREATE response. Raises: WireError."""
    return _decode_contexts(chain, _RESPONSES)


def _decode_contexts(
    chain: memoryview, decoders: dict[bytes, _Decoder]
) -> tuple[AnyCreateContext, ...]:
    contexts: list[AnyCreateContext] = []
    for name, data in iterate_create_contexts(chain):
        decoder = decoders.get(name)
        if decoder is None:
            contexts.append(UnknownCreateContext(name, bytes(data)))
        else:
            contexts.append(decoder(data))
    return tuple(contexts)
