"""For every create context and negotiate context a way to make any instance of it."""

from __future__ import annotations

from hypothesis import strategies as st

from smbfs.wire.create_contexts import (
    AllocationSize,
    AnyCreateContext,
    CreateContext,
    DurableHandleReconnectV1,
    DurableHandleReconnectV2,
    DurableHandleRequestV1,
    DurableHandleRequestV2,
    DurableHandleResponseV1,
    DurableHandleResponseV2,
    ExtendedAttributes,
    LeaseRequestV1,
    LeaseRequestV2,
    LeaseResponseV1,
    LeaseResponseV2,
    LeaseState,
    MaximalAccessRequest,
    MaximalAccessResponse,
    PosixCreateRequest,
    PosixCreateResponse,
    QueryOnDiskIdRequest,
    QueryOnDiskIdResponse,
    SecurityDescriptorContext,
    TimewarpToken,
    UnknownCreateContext,
)
from smbfs.wire.fscc import ExtendedAttribute
from smbfs.wire.negotiate import (
    CompressionCapabilities,
    EncryptionCapabilities,
    NegotiateContext,
    NetnameContext,
    PosixExtensions,
    PreauthIntegrityCapabilities,
    SigningCapabilities,
    TransportCapabilities,
    UnknownContext,
)
from smbfs.wire.negotiate_contexts import KnownContext
from tests.t0_wire.values import U8, U16, U32, U64, file_ids, keys, names, payloads, sids

_lease_states = st.integers(0, 7).map(LeaseState)
# Bit 2 (PARENT_LEASE_KEY_SET) follows from the parent key.
_lease_flags = U32.map(lambda flags: flags & ~0x4)
_parent_keys = st.none() | keys
_numbers = st.lists(U16, max_size=5).map(tuple)

extended_attributes = st.builds(
    ExtendedAttribute,
    st.binary(max_size=20),
    st.binary(max_size=30),
    U8,
)
extended_attribute_lists = st.lists(extended_attributes, max_size=4).map(tuple)

CREATE_REQUEST_CONTEXTS: dict[type[CreateContext], st.SearchStrategy[CreateContext]] = {
    MaximalAccessRequest: st.just(MaximalAccessRequest()),
    QueryOnDiskIdRequest: st.just(QueryOnDiskIdRequest()),
    TimewarpToken: st.builds(TimewarpToken, U64),
    AllocationSize: st.builds(AllocationSize, U64),
    ExtendedAttributes: st.builds(ExtendedAttributes, extended_attribute_lists),
    SecurityDescriptorContext: st.builds(SecurityDescriptorContext, payloads),
    DurableHandleRequestV1: st.just(DurableHandleRequestV1()),
    DurableHandleReconnectV1: st.builds(DurableHandleReconnectV1, file_ids),
    DurableHandleRequestV2: st.builds(DurableHandleRequestV2, st.uuids(), U32, U32),
    DurableHandleReconnectV2: st.builds(DurableHandleReconnectV2, file_ids, st.uuids(), U32),
    PosixCreateRequest: st.builds(PosixCreateRequest, st.integers(0, 0o7777)),
    LeaseRequestV1: st.builds(LeaseRequestV1, keys, _lease_states, U32),
    LeaseRequestV2: st.builds(LeaseRequestV2, keys, _lease_states, _parent_keys, U16, _lease_flags),
}
CREATE_RESPONSE_CONTEXTS: dict[type[CreateContext], st.SearchStrategy[CreateContext]] = {
    MaximalAccessResponse: st.builds(MaximalAccessResponse, U32, U32),
    QueryOnDiskIdResponse: st.builds(QueryOnDiskIdResponse, U64, U64),
    DurableHandleResponseV1: st.just(DurableHandleResponseV1()),
    DurableHandleResponseV2: st.builds(DurableHandleResponseV2, U32, U32),
    PosixCreateResponse: st.builds(PosixCreateResponse, U32, U32, U32, sids, sids),
    LeaseResponseV1: st.builds(LeaseResponseV1, keys, _lease_states, U32),
    LeaseResponseV2: st.builds(
        LeaseResponseV2, keys, _lease_states, _parent_keys, U16, _lease_flags
    ),
}
_unknown_create_contexts = st.builds(
    UnknownCreateContext, st.binary(min_size=5, max_size=15), payloads
)

NEGOTIATE_CONTEXTS: dict[type[KnownContext], st.SearchStrategy[KnownContext]] = {
    PreauthIntegrityCapabilities: st.builds(PreauthIntegrityCapabilities, _numbers, payloads),
    EncryptionCapabilities: st.builds(EncryptionCapabilities, _numbers),
    CompressionCapabilities: st.builds(CompressionCapabilities, _numbers, U32),
    NetnameContext: st.builds(NetnameContext, names),
    TransportCapabilities: st.builds(TransportCapabilities, U32),
    SigningCapabilities: st.builds(SigningCapabilities, _numbers),
    PosixExtensions: st.just(PosixExtensions()),
}
_unknown_contexts = st.builds(UnknownContext, st.integers(0x200, 0xFFFF), payloads)


def create_request_contexts() -> st.SearchStrategy[tuple[AnyCreateContext, ...]]:
    """Any few contexts of a CREATE request."""
    known = [*CREATE_REQUEST_CONTEXTS.values()]
    return st.lists(st.one_of(_unknown_create_contexts, *known), max_size=4).map(tuple)


def create_response_contexts() -> st.SearchStrategy[tuple[AnyCreateContext, ...]]:
    """Any few contexts of a CREATE response."""
    known = [*CREATE_RESPONSE_CONTEXTS.values()]
    return st.lists(st.one_of(_unknown_create_contexts, *known), max_size=4).map(tuple)


def negotiate_contexts() -> st.SearchStrategy[tuple[NegotiateContext, ...]]:
    """Any few negotiate contexts."""
    known = [*NEGOTIATE_CONTEXTS.values()]
    return st.lists(st.one_of(_unknown_contexts, *known), max_size=4).map(tuple)
