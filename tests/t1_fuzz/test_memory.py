"""Memory is bounded by what was received, whatever lengths and counts are stated in it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from random import Random
from typing import Final

import pytest

from smbfs.wire.create_contexts import UnknownCreateContext, encode_create_contexts
from smbfs.wire.error_response import ErrorContext, ErrorResponse
from smbfs.wire.extended_attributes import ExtendedAttribute, encode_full_ea_list
from smbfs.wire.fscc import DirectoryEntry, StreamInformation
from smbfs.wire.header import HEADER_SIZE, Command, Header, HeaderFlags
from smbfs.wire.info import FileInfoClass
from smbfs.wire.ioctl_payloads import SrvCopychunk, SrvCopychunkCopy
from smbfs.wire.lock import LockElement, LockRequest
from smbfs.wire.negotiate_contexts import UnknownContext, encode_negotiate_contexts
from smbfs.wire.security import Sid
from tests.t0_wire import payloads
from tests.t0_wire.strategies import EXAMPLE_FILE_ID
from tests.t1_fuzz.contract import (
    KEPT_MAX,
    MEMORY_BASE,
    MEMORY_FACTOR,
    Target,
    attempt,
    memory_for,
    memory_kept,
)
from tests.t1_fuzz.engine_targets import script_of
from tests.t1_fuzz.seeds import examples
from tests.t1_fuzz.targets import all_targets
from tests.t1_fuzz.test_fuzz import IGNORED_WARNINGS
from tests.t1_fuzz.wire_targets import EXAMPLE_STAT

_HOSTILE_SIZE = 32 * 1024
_FIELDS_UNTIL = 160
_KNOWN_BITS = (0xFFFF_FFFF, 0x03FF_FFFF, 0x001F_01FF, 0xFFFF)

pytestmark = IGNORED_WARNINGS

every_target = pytest.mark.parametrize("target", all_targets().values(), ids=all_targets())
every_decoder = pytest.mark.parametrize(
    "target",
    [target for target in all_targets().values() if target.reads],
    ids=lambda target: target.name,
)


def hostile(target: Target) -> Iterator[bytes]:
    """Inputs of one size that state other ones, or are nothing but repetitions."""
    for valid in examples(target)[-1 if target.is_slow else -2 :]:
        padded = valid.ljust(_HOSTILE_SIZE, b"\0")
        yield padded
        for at in range(0, min(len(valid), _FIELDS_UNTIL), 4):
            for lie in (b"\xff\xff\xff\xff", (_HOSTILE_SIZE - at).to_bytes(4, "little")):
                yield padded[:at] + lie + padded[at + len(lie) :]
        for size in (8, 16, 24):
            for piece in (valid[:size], valid[-size:], valid[:4] + bytes(size - 4)):
                yield (valid + piece * (_HOSTILE_SIZE // size))[:_HOSTILE_SIZE]


@every_target
def test_lengths_that_lie(target: Target) -> None:
    for data in hostile(target):
        assert memory_for(target, data) <= target.memory_allowed(len(data)), data[:160].hex()


_STREAMS = [StreamInformation("", 1 << 40, number << 20) for number in range(2000)]
_ENTRIES = [
    DirectoryEntry("", EXAMPLE_STAT._replace(owner=Sid.unix_user_sid(number), size=number << 40))
    for number in range(500)
]
_NOBODYS = Header(0, 0, Command.ECHO, flags=HeaderFlags.SERVER_TO_REDIR, next_command=HEADER_SIZE)

CROWDS: Final[dict[str, bytes]] = {
    "ErrorResponse.decode": ErrorResponse(error_contexts=(ErrorContext(999, b""),) * 255).encode(),
    "LockRequest.decode": LockRequest(
        EXAMPLE_FILE_ID, tuple(LockElement(number << 32, 999, 999) for number in range(2000))
    ).encode(),
    "SrvCopychunkCopy.decode": SrvCopychunkCopy(
        bytes(24), (SrvCopychunk(1 << 40, 1 << 40, 999),) * 2000
    ).encode(),
    "SigningCapabilities.decode_data": struct.pack("<H15000H", 15000, *range(300, 15300)),
    "EncryptionCapabilities.decode_data": struct.pack("<H15000H", 15000, *range(300, 15300)),
    "PreauthIntegrityCapabilities.decode_data": struct.pack(
        "<HH15000H", 15000, 0, *range(300, 15300)
    ),
    "CompressionCapabilities.decode_data": struct.pack(
        "<HHI15000H", 15000, 0, 0, *range(300, 15300)
    ),
    "decode_negotiate_contexts": struct.pack("<HI2x", 4000, HEADER_SIZE + 8)
    + encode_negotiate_contexts((UnknownContext(999, b""),) * 4000),
    "decode_request_contexts": encode_create_contexts((UnknownCreateContext(b"none", b""),) * 2000),
    "decode_response_contexts": encode_create_contexts(
        (UnknownCreateContext(b"none", b""),) * 2000
    ),
    "decode_full_ea_list": encode_full_ea_list([ExtendedAttribute(b"ab", b"cd", 1)] * 4000),
    "decode_stream_information": payloads.encode_stream_information(_STREAMS),
    "iterate_directory": b"\0" + payloads.encode_directory(_ENTRIES, FileInfoClass.POSIX),
    "Sid.parse": b"S-1" + b"-5" * 15000,
    "engine_signed": script_of([(0, _NOBODYS.encode() * 500)]),
}
"""The most parts for the fewest bytes, as far as a list of them is accepted."""


@pytest.mark.parametrize("name", CROWDS)
def test_many_small_parts(name: str) -> None:
    data, target = CROWDS[name], all_targets()[name]
    attempt(target, data)  # The first use of a table is nobody's.
    assert memory_for(target, data) <= MEMORY_FACTOR * len(data) + MEMORY_BASE // 8


_OVERLAPPING: Final[dict[str, bytes]] = {
    "decode_full_ea_list": struct.pack("<IBBH", 8, 0, 0, 15000) * 2000 + bytes(15000),
    "decode_request_contexts": struct.pack("<IHHHHI", 16, 0, 4, 0, 0, 15000) * 2000,
    "decode_response_contexts": struct.pack("<IHHHHI", 16, 0, 4, 0, 0, 15000) * 2000,
    "decode_stream_information": struct.pack("<IIQQ", 24, 15000, 0, 0) * 1500,
}
"""Parts that each claim what belongs to those behind them: together, many times the input."""


@pytest.mark.parametrize("name", _OVERLAPPING)
def test_parts_that_overlap(name: str) -> None:
    data, target = _OVERLAPPING[name], all_targets()[name]
    assert memory_for(target, data) <= target.memory_allowed(len(data))


@every_decoder
def test_nothing_is_kept(target: Target) -> None:
    """A server that sends another value each time does not fill the memory of enumerations."""
    chance = Random(0)
    valid = examples(target)
    inputs = [_with_other_flags(chance, chance.choice(valid)) for _ in range(500)]
    for data in inputs[:100]:
        attempt(target, data)  # First uses fill caches that have an end.
    assert memory_kept(target, inputs[100:]) <= KEPT_MAX


def _with_other_flags(chance: Random, valid: bytes) -> bytes:
    at = chance.randrange(0, max(1, min(len(valid), _FIELDS_UNTIL)), 4)
    flags = chance.getrandbits(32) & chance.choice(_KNOWN_BITS)
    return valid[:at] + flags.to_bytes(4, "little") + valid[at + 4 :]
