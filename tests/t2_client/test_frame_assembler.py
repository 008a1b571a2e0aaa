"""Frames out of pieces of any size, and nothing that is forbidden."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs.errors import RemoteProtocolError
from smbfs.transport.frame_assembler import FrameAssembler


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    st.lists(st.integers(1, 30), min_size=1),
)
def test_however_it_is_cut(frames: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    assembler, at = FrameAssembler(), 0
    for index in range(len(stream)):
        size = sizes[index % len(sizes)]
        assembler.feed(stream[at : at + size])
        at += size
    assert [bytes(frame) for frame in assembler.frames] == frames


@pytest.mark.parametrize("prefix", [b"\0\0\3\351", b"HTTP", bytes(4)])
def test_what_may_not_be_is_refused_before_memory_is_taken(prefix: bytes) -> None:
    assembler = FrameAssembler()
    assembler.max_message_size = 1000
    assembler.feed(prefix[:3])
    with pytest.raises(RemoteProtocolError):
        assembler.feed(prefix[3:])
    assert not assembler.frames
