"""Reparse points of every dialect."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smbprotocol.exceptions import SMB2SymbolicLinkErrorResponse
from smbprotocol.reparse_point import ReparseDataBuffer, SymbolicLinkReparseDataBuffer

from smbfs.errors import WireError
from smbfs.wire.error_response import ErrorContext, ErrorResponse
from smbfs.wire.reparse import (
    MountPoint,
    NfsSpecial,
    NfsSymlink,
    ReparseTag,
    SpecialKind,
    StoppedOnSymlink,
    SymbolicLink,
    UnknownReparse,
    WslSpecial,
    WslSymlink,
    decode_reparse_point,
    decode_stopped_on_symlink,
    encode_nfs_special,
    encode_nfs_symlink,
    encode_symbolic_link,
)
from smbfs.wire.vocabulary import fill, pack
from tests.t0_wire.payload_checks import check_damage, check_truncation
from tests.t0_wire.values import QUICK, U32, names, plain_names

DEVICES = (SpecialKind.CHARACTER_DEVICE, SpecialKind.BLOCK_DEVICE)


def reparse_point(tag: int, payload: bytes) -> bytes:
    return struct.pack("<IHH", tag, len(payload), 0) + payload


@QUICK
@given(target=names, relative=st.booleans())
def test_symbolic_link_round_trip(target: str, *, relative: bool) -> None:
    data = encode_symbolic_link(target, relative=relative)
    assert decode_reparse_point(data) == SymbolicLink(target, target, relative)


@QUICK
@given(plain_names, plain_names)
def test_symbolic_link_as_smbprotocol_packs_it(target: str, print_name: str) -> None:
    link = fill(SymbolicLinkReparseDataBuffer(), flags=1)
    link.set_name(target, print_name)
    structure = fill(ReparseDataBuffer(), reparse_tag=0xA000000C, data_buffer=link)
    assert decode_reparse_point(pack(structure)) == SymbolicLink(target, print_name, True)


def test_symbolic_link_known_bytes() -> None:
    expected = "0c0000a0 1400 0000 0000 0400 0400 0400 01000000 6100 6200 6100 6200"
    assert encode_symbolic_link("ab", relative=True) == bytes.fromhex(expected)


def test_names_in_any_order() -> None:
    """Windows writes the print name first, with a gap or without."""
    data = bytes.fromhex("0c0000a0 1600 0000 0600 0400 0000 0200 00000000 7000 ffff ffff 6100 6200")
    assert decode_reparse_point(data) == SymbolicLink("ab", "p", relative=False)


def test_junction() -> None:
    names = "\\??\\C:\\x\0C:\\x\0".encode("utf-16-le")
    payload = struct.pack("<HHHH", 0, 16, 18, 8) + names
    found = decode_reparse_point(reparse_point(ReparseTag.MOUNT_POINT, payload))
    assert found == MountPoint("\\??\\C:\\x", "C:\\x")


@QUICK
@given(names)
def test_nfs_symlink_round_trip(target: str) -> None:
    assert decode_reparse_point(encode_nfs_symlink(target)) == NfsSymlink(target)


@QUICK
@given(st.sampled_from(SpecialKind), U32, U32)
def test_nfs_special_round_trip(kind: SpecialKind, major: int, minor: int) -> None:
    numbers = (major, minor) if kind in DEVICES else (0, 0)
    data = encode_nfs_special(kind, major=major, minor=minor)
    assert decode_reparse_point(data) == NfsSpecial(kind, *numbers)


def test_nfs_known_bytes() -> None:
    device = encode_nfs_special(SpecialKind.BLOCK_DEVICE, major=8, minor=1)
    expected = "14000080 1000 0000 424c4b0000000000 08000000 01000000"
    assert device == bytes.fromhex(expected)
    link = "14000080 0c00 0000 4c4e4b0100000000 6100 2f00"
    assert encode_nfs_symlink("a/") == bytes.fromhex(link)
    fifo = "14000080 0800 0000 4649464f00000000"
    assert encode_nfs_special(SpecialKind.FIFO) == bytes.fromhex(fifo)


def test_wsl() -> None:
    link = reparse_point(0xA000001D, b"\x02\0\0\0/t\xc3\xa4rget")
    assert decode_reparse_point(link) == WslSymlink("/tärget".encode())
    kinds = {
        0x80000023: SpecialKind.SOCKET,
        0x80000024: SpecialKind.FIFO,
        0x80000025: SpecialKind.CHARACTER_DEVICE,
        0x80000026: SpecialKind.BLOCK_DEVICE,
    }
    for tag, kind in kinds.items():
        assert decode_reparse_point(reparse_point(tag, b"")) == WslSpecial(kind)


@QUICK
@given(st.integers(0x1000, 0x7FFF_FFFF), st.binary(max_size=30))
def test_other_tags_are_kept(tag: int, data: bytes) -> None:
    assert decode_reparse_point(reparse_point(tag, data)) == UnknownReparse(tag, data)


def test_nfs_of_another_kind_is_kept() -> None:
    payload = b"WHAT\0\0\0\0"
    found = decode_reparse_point(reparse_point(ReparseTag.NFS, payload))
    assert found == UnknownReparse(ReparseTag.NFS, payload)


POINTS = {
    "symbolic link": encode_symbolic_link("target", relative=False),
    "junction": reparse_point(
        ReparseTag.MOUNT_POINT, struct.pack("<HHHH", 0, 4, 4, 2) + "abc".encode("utf-16-le")
    ),
    "nfs symlink": encode_nfs_symlink("target"),
    "nfs device": encode_nfs_special(SpecialKind.CHARACTER_DEVICE, major=1, minor=3),
    "wsl symlink": reparse_point(ReparseTag.LX_SYMLINK, b"\x02\0\0\0target"),
}


@pytest.mark.parametrize("data", POINTS.values(), ids=POINTS)
def test_cut_at_every_length_and_damaged(data: bytes) -> None:
    check_truncation(data, decode_reparse_point)
    check_damage(data, decode_reparse_point)


@pytest.mark.parametrize("data", POINTS.values(), ids=POINTS)
def test_payload_cut_with_its_length(data: bytes) -> None:
    """A consistent length does not help where the payload itself is too short."""
    for length in range(len(data) - 8):
        cut = data[:4] + struct.pack("<HH", length, 0) + data[8 : 8 + length]
        try:
            found = decode_reparse_point(cut)
        except WireError:
            continue
        # A shorter text is another text.
        assert isinstance(found, NfsSymlink | WslSymlink)


def test_too_long_a_target() -> None:
    with pytest.raises(WireError):
        encode_symbolic_link("n" * 16384, relative=True)
    with pytest.raises(WireError):
        encode_nfs_symlink("n" * 32768)


def stopped(target: str, print_name: str, unparsed: int) -> bytes:
    structure = SMB2SymbolicLinkErrorResponse()
    structure["unparsed_path_length"] = unparsed
    structure["flags"] = 1
    structure["reserved"] = 0x8000
    structure.set_name(print_name, target)
    return pack(structure)


@QUICK
@given(plain_names, plain_names, st.integers(0, 0xFFFF))
def test_stopped_on_symlink_as_smbprotocol_packs_it(
    target: str, print_name: str, unparsed: int
) -> None:
    """With the bits above the flag that Windows sets."""
    data = stopped(target, print_name, unparsed)
    expected = StoppedOnSymlink(SymbolicLink(target, print_name, True), unparsed)
    assert decode_stopped_on_symlink(data) == expected


def test_stopped_on_symlink_cut_and_damaged() -> None:
    data = stopped("target", "print", 10)
    check_truncation(data, decode_stopped_on_symlink)
    check_damage(data, decode_stopped_on_symlink)


def test_stopped_on_symlink_of_something_else() -> None:
    data = stopped("target", "print", 10)
    for position in (4, 8):
        damaged = data[:position] + b"\xff" + data[position + 1 :]
        with pytest.raises(WireError):
            decode_stopped_on_symlink(damaged)


def test_where_the_error_data_is() -> None:
    """Before 3.1.1 ErrorData itself, since then inside the context with ErrorId 0."""
    data = stopped("target", "print", 10)
    assert ErrorResponse(data).symbolic_link_data() == data
    in_context = ErrorResponse(error_contexts=(ErrorContext(5, b"x"), ErrorContext(0, data)))
    assert in_context.symbolic_link_data() == data
    with pytest.raises(WireError):
        ErrorResponse().symbolic_link_data()
