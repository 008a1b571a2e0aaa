"""The chain of create contexts, and each context's data."""

from __future__ import annotations

import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol import create_contexts as theirs
from smbprotocol.structure import Structure

from smbfs.errors import WireError
from smbfs.wire.create import CreateResponse, FileId
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
    LeaseRequestV1,
    LeaseRequestV2,
    LeaseResponseV1,
    LeaseResponseV2,
    LeaseState,
    MaximalAccessRequest,
    MaximalAccessResponse,
    PosixCreateRequest,
    PosixCreateResponse,
    QueryOnDiskIdResponse,
    TimewarpToken,
    UnknownCreateContext,
    decode_request_contexts,
    decode_response_contexts,
    encode_create_contexts,
)
from smbfs.wire.security import Sid
from smbfs.wire.vocabulary import fill, pack
from tests.t0_wire.contexts import (
    CREATE_REQUEST_CONTEXTS,
    CREATE_RESPONSE_CONTEXTS,
    create_request_contexts,
    create_response_contexts,
)
from tests.t0_wire.payload_checks import check_damage, check_truncation
from tests.t0_wire.strategies import CASES
from tests.t0_wire.values import QUICK

KEY = bytes(range(16))
GUID = UUID("00112233-4455-6677-8899-aabbccddeeff")
FILE_ID = FileId(0x0102030405060708, 0x1112131415161718)
FILE_ID_BYTES = struct.pack("<QQ", *FILE_ID)
CONTEXTS = CREATE_REQUEST_CONTEXTS | CREATE_RESPONSE_CONTEXTS


@QUICK
@given(create_request_contexts().filter(len))
def test_request_chain_round_trip(contexts: tuple[AnyCreateContext, ...]) -> None:
    chain = encode_create_contexts(contexts)
    assert decode_request_contexts(memoryview(chain)) == contexts


@QUICK
@given(create_response_contexts().filter(len))
def test_response_chain_round_trip(contexts: tuple[AnyCreateContext, ...]) -> None:
    chain = encode_create_contexts(contexts)
    assert decode_response_contexts(memoryview(chain)) == contexts


@QUICK
@given(create_request_contexts())
def test_entries_are_aligned(contexts: tuple[AnyCreateContext, ...]) -> None:
    """2.2.13.2: each entry and its data start at a multiple of 8."""
    chain = encode_create_contexts(contexts)
    offset = 0
    for _ in contexts:
        step, name_offset, _, _, data_offset, _ = struct.unpack_from("<IHHHHI", chain, offset)
        assert (step % 8, name_offset, data_offset % 8) == (0, 16, 0)
        offset += step


@pytest.mark.parametrize(
    ("context_type", "strategy"), CONTEXTS.items(), ids=[found.__name__ for found in CONTEXTS]
)
def test_data_cut_at_every_length(
    context_type: type[CreateContext], strategy: st.SearchStrategy[CreateContext]
) -> None:
    """A context's data short of its layout is refused; two kinds of data have no layout here."""
    free_form = {"ExtendedAttributes", "SecurityDescriptorContext"}

    @QUICK
    @given(strategy)
    def check(context: CreateContext) -> None:
        data = context.encode_data()
        assert context_type.decode_data(memoryview(data)) == context
        if context_type.__name__ not in free_form:
            check_truncation(data, context_type.decode_data)

    check()


def test_chain_cut_at_every_length() -> None:
    """The whole chain is needed, but a chain may end where its last entry is told to."""
    contexts = (MaximalAccessResponse(0, 5), QueryOnDiskIdResponse(1, 2))
    check_truncation(encode_create_contexts(contexts), decode_response_contexts)


def test_damage() -> None:
    contexts = (
        LeaseRequestV2(KEY, LeaseState(7), KEY, 3),
        DurableHandleRequestV2(GUID),
        MaximalAccessRequest(),
        PosixCreateRequest(0o644),
    )
    check_damage(encode_create_contexts(contexts), decode_request_contexts)
    check_damage(encode_create_contexts(contexts), decode_response_contexts)


@pytest.mark.parametrize("step", [1, 8, 15, 2**31, 2**32 - 8])
def test_next_that_does_not_move_on_or_leaves(step: int) -> None:
    chain = bytearray(encode_create_contexts((MaximalAccessRequest(), TimewarpToken(1))))
    struct.pack_into("<I", chain, 0, step)
    with pytest.raises(WireError):
        decode_request_contexts(memoryview(chain))


def test_empty_entries_that_crawl() -> None:
    """Without a name nothing else would stop a chain from being read byte by byte."""
    chain = struct.pack("<IHHHHI", 1, 0, 0, 0, 0, 0) + bytes(40)
    with pytest.raises(WireError):
        decode_request_contexts(memoryview(chain))


@pytest.mark.parametrize("offset", [0, 4, 17, 60, 0xFFFF])
def test_data_outside_its_entry(offset: int) -> None:
    chain = bytearray(encode_create_contexts((TimewarpToken(1), TimewarpToken(2))))
    struct.pack_into("<H", chain, 10, offset)
    if offset + 8 <= 32:
        decode_request_contexts(memoryview(chain))
    else:
        with pytest.raises(WireError):
            decode_request_contexts(memoryview(chain))


def test_one_name_two_meanings() -> None:
    """MxAc asks in a request and answers in a response; leases go by their length."""
    asked = encode_create_contexts((MaximalAccessRequest(),))
    with pytest.raises(WireError):
        decode_response_contexts(memoryview(asked))
    for lease in (LeaseResponseV1(KEY, LeaseState(1)), LeaseResponseV2(KEY, LeaseState(1))):
        chain = memoryview(encode_create_contexts((lease,)))
        assert decode_response_contexts(chain) == (lease,)
        (request,) = decode_request_contexts(chain)
        assert isinstance(request, LeaseRequestV1 | LeaseRequestV2)


def test_unknown_names_are_kept() -> None:
    context = UnknownCreateContext(b"\x45\xbc\xa6\x6a\xef\xa7\xf7\x4a", b"data")
    chain = memoryview(encode_create_contexts((context,)))
    assert decode_request_contexts(chain) == decode_response_contexts(chain) == (context,)


def test_response_finds_its_contexts() -> None:
    @QUICK
    @given(CASES[CreateResponse].instances)
    def check(response: object) -> None:
        assert isinstance(response, CreateResponse)
        found = response.context(PosixCreateResponse)
        wanted = [one for one in response.contexts if isinstance(one, PosixCreateResponse)]
        assert found == (wanted[0] if wanted else None)

    check()


def test_reserved_lease_bits_are_dropped() -> None:
    data = struct.pack("<16sIIQ", KEY, 0xFFFF_FFF9, 0, 0)
    assert LeaseResponseV1.decode_data(memoryview(data)).lease_state is LeaseState.READ_CACHING


def test_posix_mode_of_a_response() -> None:
    response = PosixCreateResponse(1, 0, 0o020777, Sid(22, (1, 0)), Sid(22, (2, 0)))
    assert response.st_mode(is_directory=False) == 0o120777
    assert response.st_mode(is_directory=True) == 0o040777


PAIRS: list[tuple[CreateContext, Structure]] = [
    (
        MaximalAccessResponse(5, 6),
        fill(theirs.SMB2CreateQueryMaximalAccessResponse(), query_status=5, maximal_access=6),
    ),
    (
        QueryOnDiskIdResponse(5, 6),
        fill(theirs.SMB2CreateQueryOnDiskIDResponse(), disk_file_id=5, volume_id=6),
    ),
    (TimewarpToken(5), fill(theirs.SMB2CreateTimewarpToken(), timestamp=5)),
    (AllocationSize(5), fill(theirs.SMB2CreateAllocationSize(), allocation_size=5)),
    (DurableHandleRequestV1(), theirs.SMB2CreateDurableHandleRequest()),
    (DurableHandleResponseV1(), theirs.SMB2CreateDurableHandleResponse()),
    (
        DurableHandleReconnectV1(FILE_ID),
        fill(theirs.SMB2CreateDurableHandleReconnect(), data=FILE_ID_BYTES),
    ),
    (
        DurableHandleRequestV2(GUID, 7, 2),
        fill(theirs.SMB2CreateDurableHandleRequestV2(), timeout=7, flags=2, create_guid=GUID),
    ),
    (
        DurableHandleResponseV2(7, 2),
        fill(theirs.SMB2CreateDurableHandleResponseV2(), timeout=7, flags=2),
    ),
    (
        DurableHandleReconnectV2(FILE_ID, GUID, 2),
        fill(
            theirs.SMB2CreateDurableHandleReconnectV2(),
            file_id=FILE_ID_BYTES,
            create_guid=GUID,
            flags=2,
        ),
    ),
    (
        LeaseRequestV1(KEY, LeaseState(5)),
        fill(theirs.SMB2CreateRequestLease(), lease_key=KEY, lease_state=5),
    ),
    (
        LeaseRequestV2(KEY, LeaseState(5), KEY[::-1], 0x0102),
        fill(
            theirs.SMB2CreateRequestLeaseV2(),
            lease_key=KEY,
            lease_state=5,
            lease_flags=4,
            parent_lease_key=KEY[::-1],
            epoch=b"\x02\x01",
        ),
    ),
    (
        LeaseResponseV2(KEY, LeaseState(5), KEY[::-1], 0x0102, 2),
        fill(
            theirs.SMB2CreateResponseLeaseV2(),
            lease_key=KEY,
            lease_state=5,
            flags=6,
            parent_lease_key=KEY[::-1],
            epoch=0x0102,
        ),
    ),
]


@pytest.mark.parametrize(("ours", "structure"), PAIRS, ids=lambda part: type(part).__name__)
def test_as_smbprotocol_packs_it(ours: CreateContext, structure: Structure) -> None:
    assert ours.encode_data() == pack(structure)
    assert type(ours).decode_data(memoryview(pack(structure))) == ours
