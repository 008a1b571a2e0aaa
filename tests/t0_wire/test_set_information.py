"""The data of SET_INFO."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol import file_info

from smbfs.errors import WireError
from smbfs.wire.fscc import (
    TIME_RESUME_UPDATES,
    TIME_STOP_UPDATES,
    DispositionFlags,
    RenameFlags,
    encode_allocation,
    encode_basic_information,
    encode_disposition,
    encode_disposition_ex,
    encode_end_of_file,
    encode_link_information,
    encode_rename_information,
    encode_rename_information_ex,
)
from smbfs.wire.layout import encode_text
from smbfs.wire.vocabulary import fill, pack
from tests.t0_wire.values import QUICK, names, plain_names

SIGNED = st.integers(-(2**63), 2**63 - 1)
long_enough_names = plain_names.filter(lambda name: len(encode_text(name)) >= 4)


@QUICK
@given(name=long_enough_names, replace=st.booleans())
def test_rename_and_link_as_smbprotocol_packs_them(name: str, *, replace: bool) -> None:
    rename = fill(file_info.FileRenameInformation(), replace_if_exists=replace, file_name=name)
    link = fill(file_info.FileLinkInformation(), replace_if_exists=replace, file_name=name)
    assert encode_rename_information(name, replace=replace) == pack(rename)
    assert encode_link_information(name, replace=replace) == pack(link)


def test_rename_known_bytes() -> None:
    expected = "01 00000000000000 0000000000000000 06000000 6100 5c00 6200"
    assert encode_rename_information("a\\b", replace=True) == bytes.fromhex(expected)


def test_rename_ex_known_bytes() -> None:
    flags = RenameFlags.REPLACE_IF_EXISTS | RenameFlags.POSIX_SEMANTICS
    expected = "03000000 00000000 0000000000000000 06000000 6100 5c00 6200"
    assert encode_rename_information_ex("a\\b", flags) == bytes.fromhex(expected)


@pytest.mark.parametrize("name", ["", "a"])
def test_short_names_are_padded_to_what_windows_accepts(name: str) -> None:
    """Less than 24 bytes are STATUS_INFO_LENGTH_MISMATCH; the length stays the name's."""
    for data in (
        encode_rename_information(name, replace=False),
        encode_rename_information_ex(name, RenameFlags(0)),
        encode_link_information(name, replace=False),
    ):
        assert len(data) == 24
        assert struct.unpack_from("<I", data, 16) == (2 * len(name),)
        assert data[20:] == name.encode("utf-16-le").ljust(4, b"\0")


@QUICK
@given(names)
def test_any_name_can_be_renamed_to(name: str) -> None:
    data = encode_rename_information(name, replace=False)
    (length,) = struct.unpack_from("<I", data, 16)
    assert data[20 : 20 + length].decode("utf-16-le", "surrogatepass") == name


def test_too_long_a_name() -> None:
    with pytest.raises(WireError):
        encode_rename_information("n" * 32768, replace=False)


@QUICK
@given(SIGNED, SIGNED, SIGNED, SIGNED)
def test_basic_information_as_smbprotocol_packs_it(
    creation_time: int, access_time: int, write_time: int, change_time: int
) -> None:
    unsigned = 2**64
    structure = fill(
        file_info.FileBasicInformation(),
        creation_time=creation_time % unsigned,
        last_access_time=access_time % unsigned,
        last_write_time=write_time % unsigned,
        change_time=change_time % unsigned,
        file_attributes=0x21,
    )
    assert encode_basic_information(
        creation_time=creation_time,
        access_time=access_time,
        write_time=write_time,
        change_time=change_time,
        attributes=0x21,
    ) == pack(structure)


def test_basic_information_of_nothing_changes_nothing() -> None:
    assert encode_basic_information() == bytes(40)


def test_basic_information_special_times() -> None:
    data = encode_basic_information(access_time=TIME_STOP_UPDATES, write_time=TIME_RESUME_UPDATES)
    assert data[8:24] == b"\xff" * 8 + b"\xfe" + b"\xff" * 7


@QUICK
@given(st.integers(0, 2**63 - 1))
def test_sizes(size: int) -> None:
    end_of_file = fill(file_info.FileEndOfFileInformation(), end_of_file=size)
    assert encode_end_of_file(size) == pack(end_of_file)
    assert encode_allocation(size) == struct.pack("<Q", size)


def test_disposition() -> None:
    structure = fill(file_info.FileDispositionInformation(), delete_pending=True)
    assert encode_disposition(True) == pack(structure) == b"\x01"
    assert encode_disposition(False) == b"\x00"
    flags = DispositionFlags.DELETE | DispositionFlags.POSIX_SEMANTICS
    assert encode_disposition_ex(flags) == bytes.fromhex("03000000")
