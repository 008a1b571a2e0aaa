"""Properties that every message has."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs.errors import WireError
from smbfs.wire.message import Message
from tests.t0_wire.strategies import CASES, Case
from tests.t0_wire.values import QUICK

every_message = pytest.mark.parametrize(
    ("message_type", "case"), CASES.items(), ids=[message.__name__ for message in CASES]
)


@every_message
def test_round_trip(message_type: type[Message], case: Case) -> None:
    """What was encoded decodes to the same, also with a compound's padding behind it."""

    @QUICK
    @given(case.instances, st.integers(0, 7))
    def check(message: Message, padding: int) -> None:
        body = message.encode() + bytes(padding)
        assert message_type.decode(memoryview(body)) == message

    check()


@every_message
def test_buffers_are_the_body_in_pieces(message_type: type[Message], case: Case) -> None:
    del message_type

    @QUICK
    @given(case.instances)
    def check(message: Message) -> None:
        assert b"".join(message.buffers()) == message.encode()

    check()


@every_message
def test_truncation_at_every_length(message_type: type[Message], case: Case) -> None:
    """Short of its last needed byte no body decodes; from there on it is the same message."""

    @QUICK
    @given(case.instances)
    def check(message: Message) -> None:
        body = message.encode()
        needed = len(body) - case.filler(message)
        for length in range(len(body)):
            cut = memoryview(body)[:length]
            if length < needed:
                with pytest.raises(WireError):
                    message_type.decode(cut)
            else:
                assert message_type.decode(cut) == message

    check()


@every_message
def test_wrong_structure_size(message_type: type[Message], case: Case) -> None:
    @QUICK
    @given(case.instances, st.integers(0, 0xFFFF).filter(lambda n: n != case.structure_size))
    def check(message: Message, wrong: int) -> None:
        body = bytearray(message.encode())
        assert struct.unpack_from("<H", body) == (case.structure_size,)
        struct.pack_into("<H", body, 0, wrong)
        with pytest.raises(WireError):
            message_type.decode(memoryview(body))

    check()


@every_message
def test_damaged_bodies(message_type: type[Message], case: Case) -> None:
    """Whatever a few bytes are changed to, the outcome is a message or WireError."""

    @QUICK
    @given(case.instances, st.data())
    def check(message: Message, data: st.DataObject) -> None:
        body = bytearray(message.encode())
        positions = st.integers(0, len(body) - 1)
        damage = st.lists(st.tuples(positions, st.integers(0, 255)), min_size=1, max_size=6)
        for position, byte in data.draw(damage):
            body[position] = byte
        decode_or_refuse(message_type, bytes(body))

    check()


@every_message
def test_random_bytes(message_type: type[Message], case: Case) -> None:
    @QUICK
    @given(st.binary(max_size=200))
    def check(noise: bytes) -> None:
        decode_or_refuse(message_type, noise)
        decode_or_refuse(message_type, struct.pack("<H", case.structure_size) + noise)

    check()


def decode_or_refuse(message_type: type[Message], body: bytes) -> None:
    try:
        decoded = message_type.decode(memoryview(body))
    except WireError:
        return
    assert isinstance(decoded, message_type)
