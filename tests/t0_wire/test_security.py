"""Security identifiers and descriptors."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol.security_descriptor import SIDPacket, SMB2CreateSDBuffer

from smbfs.errors import WireError
from smbfs.wire.security import SecurityDescriptor, Sid
from smbfs.wire.vocabulary import pack
from tests.t0_wire.payload_checks import check_damage, check_round_trip, check_truncation
from tests.t0_wire.values import QUICK, U32, sids

USER = Sid.unix_user_sid(1000)
DOMAIN_USER = Sid.parse("S-1-5-21-1-2-3-1001")
descriptors = st.builds(SecurityDescriptor, st.none() | sids, st.none() | sids)


def test_sid_round_trip() -> None:
    check_round_trip(sids, Sid.encode, Sid.decode)
    check_truncation(DOMAIN_USER.encode(), Sid.decode)
    check_damage(DOMAIN_USER.encode(), Sid.decode)


@QUICK
@given(sids)
def test_sid_text_round_trip(sid: Sid) -> None:
    assert Sid.parse(str(sid)) == sid
    assert sid.size == len(sid.encode())


def test_sid_known_bytes() -> None:
    assert USER.encode() == bytes.fromhex("0102000000000016 01000000 e8030000")
    assert str(USER) == "S-1-22-1-1000"
    assert Sid.decode(b"--" + USER.encode() + b"--", 2) == USER


@QUICK
@given(st.lists(U32, max_size=15), U32)
def test_sid_as_smbprotocol_packs_it(numbers: list[int], authority: int) -> None:
    sid = Sid(authority, tuple(numbers))
    theirs = SIDPacket()
    theirs.from_string(str(sid))
    assert sid.encode() == pack(theirs)


@pytest.mark.parametrize("count", [16, 255])
def test_too_many_sub_authorities(count: int) -> None:
    with pytest.raises(WireError):
        Sid.decode(struct.pack("<BB", 1, count) + bytes(2000))


@pytest.mark.parametrize(
    "text",
    [
        *("", "S", "S-1", "S-1-", "X-1-5-21", "S-1-5-x", "S-1-5--1", "S-256-5", "S-1-5-4294967296"),
        *(f"S-1-{1 << 48}", "S-1-5" + "-1" * 16, "S-1-5-\u0662x"),
    ],
)
def test_what_is_no_sid(text: str) -> None:
    with pytest.raises(WireError):
        Sid.parse(text)


@pytest.mark.parametrize(
    ("text", "user", "group", "mode"),
    [
        ("S-1-22-1-1000", 1000, None, None),
        ("S-1-22-2-100", None, 100, None),
        ("S-1-5-88-1-1000", 1000, None, None),
        ("S-1-5-88-2-100", None, 100, None),
        ("S-1-5-88-3-420", None, None, 420),
        ("S-1-5-21-1-2-3-1001", None, None, None),
        ("S-1-22-1-1000-5", None, None, None),
        ("S-1-5-88-1", None, None, None),
        ("S-1-0-0", None, None, None),
    ],
)
def test_unix_numbers(text: str, user: int | None, group: int | None, mode: int | None) -> None:
    sid = Sid.parse(text)
    assert (sid.unix_user, sid.unix_group, sid.unix_mode) == (user, group, mode)


def test_descriptor_round_trip() -> None:
    check_round_trip(descriptors, SecurityDescriptor.encode, SecurityDescriptor.decode)


def test_descriptor_cut_and_damaged() -> None:
    data = SecurityDescriptor(USER, DOMAIN_USER).encode()
    check_truncation(data, SecurityDescriptor.decode)
    check_damage(data, SecurityDescriptor.decode)


def test_descriptor_of_another_revision() -> None:
    with pytest.raises(WireError):
        SecurityDescriptor.decode(b"\x02" + SecurityDescriptor(USER).encode()[1:])


def test_descriptor_as_smbprotocol_packs_it() -> None:
    theirs = SMB2CreateSDBuffer()
    theirs["control"] = 0x8000
    for setter, sid in ((theirs.set_owner, USER), (theirs.set_group, DOMAIN_USER)):
        packet = SIDPacket()
        packet.from_string(str(sid))
        setter(packet)
    assert SecurityDescriptor(USER, DOMAIN_USER).encode() == pack(theirs)
