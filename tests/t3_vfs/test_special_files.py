"""Links and special files, in every dialect that servers hold them."""

from __future__ import annotations

import os
from stat import S_IFBLK, S_IFCHR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs.vfs.names import PosixNames, WindowsNames
from smbfs.vfs.special_files import (
    MF_SYMLINK_SIZE,
    SpecialFile,
    decode_mf_symlink,
    encode_mf_symlink,
    posix_link,
    special_file,
    special_reparse_point,
    windows_links,
)
from smbfs.wire.reparse import (
    MountPoint,
    NfsSpecial,
    NfsSymlink,
    ReparsePoint,
    SpecialKind,
    SymbolicLink,
    UnknownReparse,
    WslSpecial,
    WslSymlink,
    decode_reparse_point,
)

POSIX, WINDOWS = PosixNames(), WindowsNames()


def windows_link(target: str, *, relative: bool = True) -> SymbolicLink:
    return SymbolicLink(target, target, relative)


@pytest.mark.parametrize(
    ("reparse", "target"),
    [
        (windows_link("dir\\file"), b"dir/file"),
        (windows_link("..\\up"), b"../up"),
        (windows_link("dir/file"), b"dir/file"),
        (windows_link("/etc/passwd", relative=False), b"/etc/passwd"),
        (windows_link("with\\back/slash"), b"with\\back/slash"),
        (windows_link("a\uf022b\\c\uf029"), b"a:b/c."),
        (windows_link("\\??\\C:\\Users\\x", relative=False), b"/C:/Users/x"),
        (windows_link("\\??\\UNC\\nas\\media\\x", relative=False), b"//nas/media/x"),
        (MountPoint("\\??\\D:\\data", "D:\\data"), b"/D:/data"),
        (NfsSymlink("/any/thing:\\*"), b"/any/thing:\\*"),
        (WslSymlink(b"raw/\xc3\xa9"), b"raw/\xc3\xa9"),
    ],
)
def test_links_of_all_kinds_lead_somewhere(reparse: ReparsePoint, target: bytes) -> None:
    assert special_file(reparse, WINDOWS) == SpecialFile(S_IFLNK, target)


@pytest.mark.parametrize(
    ("kind", "file_type"),
    [
        (SpecialKind.FIFO, S_IFIFO),
        (SpecialKind.SOCKET, S_IFSOCK),
        (SpecialKind.BLOCK_DEVICE, S_IFBLK),
        (SpecialKind.CHARACTER_DEVICE, S_IFCHR),
    ],
)
def test_special_files_of_all_kinds(kind: SpecialKind, file_type: int) -> None:
    assert special_file(WslSpecial(kind), POSIX) == SpecialFile(file_type)
    shown = special_file(NfsSpecial(kind, 8, 17), POSIX)
    assert shown == SpecialFile(file_type, device=os.makedev(8, 17))


@pytest.mark.parametrize(
    "reparse",
    [
        UnknownReparse(0x8000_0013, b"deduplicated"),
        NfsSymlink(""),
        NfsSymlink("nul\0inside"),
        NfsSymlink("x" * 4096),
        NfsSymlink("\ud800"),
        WslSymlink(b""),
        WslSymlink(b"\0"),
    ],
)
def test_what_the_kernel_could_not_hold_is_no_link(reparse: ReparsePoint) -> None:
    assert special_file(reparse, POSIX) is None


def test_device_numbers_out_of_range_do_not_break_anything() -> None:
    special = special_file(NfsSpecial(SpecialKind.BLOCK_DEVICE, 2**32 - 1, 2**32 - 1), POSIX)
    assert special is not None
    assert os.major(special.device) == 0xFFF


TARGETS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)


@given(target=TARGETS)
def test_posix_links_lead_where_they_were_meant_to(target: str) -> None:
    reparse = decode_reparse_point(posix_link(target.encode()))
    special = special_file(reparse, POSIX)
    assert special is not None
    assert special.target.decode() in {target, f"./{target}"}
    assert special.target == target.encode() or ("\\" in target and "/" not in target)


@given(target=TARGETS)
def test_windows_links_lead_where_they_were_meant_to(target: str) -> None:
    for candidate in windows_links(target.encode(), WINDOWS):
        special = special_file(decode_reparse_point(candidate), WINDOWS)
        assert special is not None
        assert special.target == target.encode()


def test_windows_links_are_windows_own_where_that_keeps_them() -> None:
    def first(target: bytes) -> ReparsePoint:
        return decode_reparse_point(windows_links(target, WINDOWS)[0])

    assert first(b"../a/b.txt") == windows_link("..\\a\\b.txt")
    for target in (b"/abs", b"a:b", b"a/b.", b"a//b", b"a/", b"back\\slash", "\uf021".encode()):
        assert isinstance(first(target), NfsSymlink)


def test_targets_that_are_not_text_are_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        posix_link(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        windows_links(b"\xff", WINDOWS)


def test_special_reparse_points_keep_type_and_device() -> None:
    for file_type in (S_IFIFO, S_IFSOCK):
        made = special_reparse_point(file_type | 0o600, 0)
        assert made is not None
        assert special_file(decode_reparse_point(made), POSIX) == SpecialFile(file_type)
    device = os.makedev(1, 3)
    made = special_reparse_point(S_IFCHR, device)
    assert made is not None
    assert special_file(decode_reparse_point(made), POSIX) == SpecialFile(S_IFCHR, device=device)
    assert special_reparse_point(S_IFREG, 0) is None


def test_minshall_french_known_bytes() -> None:
    content = encode_mf_symlink(b"target")
    assert content is not None
    assert len(content) == MF_SYMLINK_SIZE
    # MD5 of "target".
    assert content.startswith(b"XSym\n0006\n42aefbae01d2dfd981f7da7d823d689e\ntarget\n   ")
    assert content.endswith(b" ")


@given(target=st.binary(min_size=1, max_size=1024).filter(lambda target: b"\0" not in target))
def test_minshall_french_round_trip(target: bytes) -> None:
    content = encode_mf_symlink(target)
    assert content is not None
    assert decode_mf_symlink(content) == SpecialFile(S_IFLNK, target)


def test_minshall_french_has_a_limit() -> None:
    assert encode_mf_symlink(b"x" * 1024) is not None
    assert encode_mf_symlink(b"x" * 1025) is None


@given(data=st.data())
def test_content_that_only_looks_like_a_link_is_content(data: st.DataObject) -> None:
    content = bytearray(encode_mf_symlink(b"some/target") or b"")
    position = data.draw(st.integers(0, 42 + len(b"some/target")))
    content[position] ^= data.draw(st.integers(1, 255))
    assert decode_mf_symlink(bytes(content)) is None
    assert decode_mf_symlink(bytes(content[:-1])) is None
