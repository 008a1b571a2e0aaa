"""Negotiate contexts, also a peer's that lies about them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs.errors import WireError
from smbfs.wire.dialect import Dialect
from smbfs.wire.negotiate import (
    Cipher,
    EncryptionCapabilities,
    NegotiateContext,
    NegotiateResponse,
    PosixExtensions,
    PreauthIntegrityCapabilities,
    SigningAlgorithm,
    SigningCapabilities,
    UnknownContext,
)
from smbfs.wire.negotiate_contexts import (
    KnownContext,
    decode_negotiate_contexts,
    encode_negotiate_contexts,
)
from tests.t0_wire.contexts import NEGOTIATE_CONTEXTS, negotiate_contexts
from tests.t0_wire.payload_checks import check_damage, check_truncation
from tests.t0_wire.strategies import CASES
from tests.t0_wire.values import QUICK

HEADER_SIZE = 64


def decode_list(data: memoryview) -> tuple[NegotiateContext, ...]:
    """The list of two contexts that starts right after the header."""
    return decode_negotiate_contexts(data, HEADER_SIZE, 2)


@QUICK
@given(negotiate_contexts())
def test_round_trip(contexts: tuple[NegotiateContext, ...]) -> None:
    encoded = memoryview(encode_negotiate_contexts(contexts))
    assert decode_negotiate_contexts(encoded, HEADER_SIZE, len(contexts)) == contexts


@pytest.mark.parametrize(
    ("context_type", "strategy"),
    NEGOTIATE_CONTEXTS.items(),
    ids=[found.__name__ for found in NEGOTIATE_CONTEXTS],
)
def test_data_cut_at_every_length(
    context_type: type[KnownContext], strategy: st.SearchStrategy[KnownContext]
) -> None:
    """Short data is refused; a name of fewer characters is another name."""

    @QUICK
    @given(strategy)
    def check(context: KnownContext) -> None:
        data = context.encode_data()
        assert context_type.decode_data(memoryview(data)) == context
        is_name = context_type.__name__ == "NetnameContext"
        valid = tuple(range(0, len(data), 2)) if is_name else ()
        check_truncation(data, context_type.decode_data, valid=valid)

    check()


def test_list_cut_at_every_length_and_damaged() -> None:
    contexts = (
        PreauthIntegrityCapabilities((1,), bytes(32)),
        EncryptionCapabilities((Cipher.AES_256_GCM, Cipher.AES_128_GCM)),
    )
    encoded = encode_negotiate_contexts(contexts)
    check_truncation(encoded, decode_list)
    check_damage(encoded, decode_list)


@pytest.mark.parametrize("offset", [0, 1, 40, 63])
def test_contexts_inside_the_header(offset: int) -> None:
    """24 bytes before the body's start are not the last 24 bytes of the body."""
    encoded = memoryview(encode_negotiate_contexts((PosixExtensions(),)))
    assert len(encoded) == 24
    with pytest.raises(WireError):
        decode_negotiate_contexts(encoded, offset, 1)


def test_no_context_has_no_offset() -> None:
    assert decode_negotiate_contexts(memoryview(b""), 0, 0) == ()


def test_more_contexts_than_there_are() -> None:
    encoded = memoryview(encode_negotiate_contexts((PosixExtensions(),)))
    with pytest.raises(WireError):
        decode_negotiate_contexts(encoded, HEADER_SIZE, 0xFFFF)


def test_algorithms_without_a_name_are_kept() -> None:
    """A peer newer than we are may list more; what we know among them must be found."""
    data = memoryview(struct.pack("<HHHH", 3, 0x00F1, 2, 1))
    assert EncryptionCapabilities.decode_data(data).ciphers == (0x00F1, 2, 1)
    assert Cipher.AES_128_GCM in EncryptionCapabilities.decode_data(data).ciphers
    known = SigningCapabilities.decode_data(data).algorithms[1]
    assert known is SigningAlgorithm.AES_GMAC


def test_another_posix_guid() -> None:
    with pytest.raises(WireError):
        PosixExtensions.decode_data(memoryview(bytes(16)))


def test_unknown_contexts_are_kept() -> None:
    context = UnknownContext(0x0007, b"rdma")
    encoded = memoryview(encode_negotiate_contexts((context, PosixExtensions())))
    assert decode_negotiate_contexts(encoded, HEADER_SIZE, 2) == (context, PosixExtensions())


def test_response_finds_its_contexts() -> None:
    @QUICK
    @given(CASES[NegotiateResponse].instances)
    def check(response: object) -> None:
        assert isinstance(response, NegotiateResponse)
        wanted = [one for one in response.contexts if isinstance(one, EncryptionCapabilities)]
        assert response.context(EncryptionCapabilities) == (wanted[0] if wanted else None)
        assert response.dialect is Dialect.SMB_3_1_1 or not response.contexts

    check()
