"""What a server tells of one file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol import file_info

from smbfs.wire.fscc import (
    FileStat,
    decode_file_all_information,
    decode_network_open_information,
    decode_posix_information,
    decode_posix_mode,
    encode_posix_mode,
)
from smbfs.wire.security import Sid
from smbfs.wire.vocabulary import pack, relaxed
from tests.t0_wire.payload_checks import check_damage, check_truncation
from tests.t0_wire.payloads import (
    encode_file_all_information,
    encode_network_open_information,
    encode_posix_information,
)
from tests.t0_wire.values import QUICK, U32, U64, names, sids

EXAMPLE = FileStat(
    *(0x0123456789ABCDEF, 10, 4096, 1, 2, 3, 4, 0x20, 3, 0),
    *(0o100644, Sid.unix_user_sid(1000), Sid.unix_group_sid(100)),
)
WITHOUT_POSIX = EXAMPLE._replace(mode=None, owner=None, group=None)
sizes_and_times = st.tuples(U64, U64, U64, U64, U64, U64, U64, U32)
TYPES = [0o100000, 0o040000, 0o120000, 0o020000, 0o060000, 0o010000, 0o140000]


def without_posix(numbers: tuple[int, ...], link_count: int) -> FileStat:
    return FileStat._make((*numbers, link_count, 0, None, None, None))


@QUICK
@given(sizes_and_times, U32, names)
def test_file_all_information(numbers: tuple[int, ...], link_count: int, name: str) -> None:
    stat = without_posix(numbers, link_count)
    assert decode_file_all_information(encode_file_all_information(stat, name)) == stat


def test_file_all_information_needs_no_name() -> None:
    """STATUS_BUFFER_OVERFLOW cuts the name off; all that counts is in front of it."""
    data = encode_file_all_information(WITHOUT_POSIX, "some name")
    assert decode_file_all_information(data[:96]) == WITHOUT_POSIX
    check_truncation(data, decode_file_all_information, valid=tuple(range(96, len(data))))
    check_damage(data, decode_file_all_information)


def test_file_all_information_as_smbprotocol_packs_it() -> None:
    structure = relaxed(file_info.FileAllInformation())
    parts = {
        "basic_information": {
            "creation_time": 1,
            "last_access_time": 2,
            "last_write_time": 3,
            "change_time": 4,
            "file_attributes": 0x20,
        },
        "standard_information": {
            "allocation_size": 4096,
            "end_of_file": 10,
            "number_of_links": 3,
        },
        "internal_information": {"index_number": 0x0123456789ABCDEF},
    }
    for part, fields in parts.items():
        for name, number in fields.items():
            structure[part][name] = number
    assert decode_file_all_information(pack(structure)) == WITHOUT_POSIX


@QUICK
@given(sizes_and_times)
def test_network_open_information(numbers: tuple[int, ...]) -> None:
    stat = without_posix(numbers, 1)._replace(file_id=0)
    data = encode_network_open_information(stat)
    assert decode_network_open_information(data) == stat
    check_truncation(data, decode_network_open_information)


def test_posix_information() -> None:
    @QUICK
    @given(sizes_and_times, U32, st.integers(0, 0o7777), st.tuples(U32, sids, sids))
    def check(
        numbers: tuple[int, ...],
        link_count: int,
        permissions: int,
        unix: tuple[int, Sid, Sid],
    ) -> None:
        reparse_tag, owner, group = unix
        is_directory = bool(numbers[-1] & 0x10)
        mode = (0o040000 if is_directory else 0o140000) | permissions
        stat = FileStat._make((*numbers, link_count, reparse_tag, mode, owner, group))
        assert decode_posix_information(encode_posix_information(stat)) == stat

    check()


def test_posix_information_cut_and_damaged() -> None:
    data = encode_posix_information(EXAMPLE)
    assert len(data) == 80 + 16 + 16
    check_truncation(data, decode_posix_information)
    check_damage(data, decode_posix_information)


def test_posix_information_known_bytes() -> None:
    """Laid out by hand after Samba's smb3posix.idl and cifs.ko's smb2_posix_info."""
    data = bytes.fromhex(
        "0100000000000000 0200000000000000 0300000000000000 0400000000000000"
        "0a00000000000000 0010000000000000 20000000 efcdab8967452301 21feca00 00000000"
        "03000000 00000000 a4010000"
        "0102000000000016 01000000 e8030000"
        "0102000000000016 02000000 64000000"
    )
    assert decode_posix_information(data) == EXAMPLE


@pytest.mark.parametrize(
    ("wire_mode", "mode"),
    [
        *((0o000644, 0o100644), (0o010755, 0o040755), (0o020777, 0o120777)),
        *((0o030600, 0o020600), (0o040660, 0o060660), (0o050644, 0o010644)),
        *((0o060755, 0o140755), (0o004755, 0o104755)),
    ],
)
def test_posix_mode_has_its_own_type_numbers(wire_mode: int, mode: int) -> None:
    assert decode_posix_mode(wire_mode, is_directory=False) == mode
    assert encode_posix_mode(mode) == wire_mode


@QUICK
@given(wire_mode=U32, is_directory=st.booleans())
def test_every_wire_mode_has_a_type(wire_mode: int, *, is_directory: bool) -> None:
    mode = decode_posix_mode(wire_mode, is_directory=is_directory)
    assert mode & ~0o7777 in TYPES
    assert not is_directory or mode & ~0o7777 == 0o040000
