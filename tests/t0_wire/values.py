"""Strategies for the values that fields have."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st

from smbfs.wire.create import FileId
from smbfs.wire.security import Sid

QUICK = settings(max_examples=60, deadline=None)
"""Enough for a property of one message; a shared machine may pause any of them."""

U8 = st.integers(0, 0xFF)
U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFF_FFFF)
U64 = st.integers(0, 0xFFFF_FFFF_FFFF_FFFF)

file_ids = st.builds(FileId, U64, U64)
keys = st.binary(min_size=16, max_size=16)
payloads = st.binary(max_size=40)


def _view(data: bytes) -> memoryview:
    return memoryview(data)


views = payloads.map(_view)
# Lone surrogates are legal in NTFS names. A high one before a low one is not lone: UTF-16
# makes one character of them, so only low ones are drawn.
names = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.characters(min_codepoint=0xDC00, max_codepoint=0xDFFF),
    ),
    max_size=20,
)
plain_names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
sids = st.builds(
    Sid,
    st.integers(0, (1 << 48) - 1),
    st.lists(U32, max_size=15).map(tuple),
    U8,
)
