"""Names: both directions, and what must never pass."""

from __future__ import annotations

import pytest
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st

from smbfs.errors import InvalidName
from smbfs.vfs.names import (
    NameNotText,
    Names,
    NameTooLong,
    PosixNames,
    WindowsNames,
    folded,
)
from smbfs.vfs.shown import Entry
from tests.t3_vfs.laptop import ROOT, laptop

KINDS = [PosixNames(), WindowsNames()]

FUSE_NAME_MAX = 1024
"""Bytes of a name that the kernel takes."""

TRICKY = 'ab.:*?"<>|\\ \x01\x1f\u00e9\uf001\uf01f\uf020\uf021\uf027\uf028\uf029\U0001f600'
NAMES = st.text(alphabet=st.one_of(st.sampled_from(TRICKY), st.characters(codec="utf-8")))


@pytest.mark.parametrize("names", KINDS)
@given(text=NAMES)
@example(text="..a")
@example(text="a..")
@example(text="a. .")
@example(text=" ")
@example(text="\uf029")
def test_what_the_kernel_says_comes_back(names: Names, text: str) -> None:
    name = text.encode()
    try:
        stored = names.to_server(name)
    except InvalidName:
        return
    assert names.from_server(stored) == name


@pytest.mark.parametrize("names", KINDS)
@given(text=st.text())
def test_what_is_shown_can_be_asked_for(names: Names, text: str) -> None:
    shown = names.from_server(text)
    if shown is not None:
        assert names.to_server(shown) == text
        assert 0 < len(shown) <= FUSE_NAME_MAX
        assert b"/" not in shown
        assert b"\0" not in shown
        assert shown not in {b".", b".."}


@given(text=NAMES)
def test_windows_names_hold_nothing_that_windows_refuses(text: str) -> None:
    try:
        stored = WindowsNames().to_server(text.encode())
    except InvalidName:
        return
    assert not set(stored) & set('"*:<>?\\|')
    assert not any(ord(character) < 0x20 for character in stored)
    assert stored[-1] not in ". "


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        (b'"', "\uf020"),
        (b"*", "\uf021"),
        (b":", "\uf022"),
        (b"<", "\uf023"),
        (b">", "\uf024"),
        (b"?", "\uf025"),
        (b"\\", "\uf026"),
        (b"|", "\uf027"),
        (b"a ", "a\uf028"),
        (b"a.", "a\uf029"),
        (b"a b.c", "a b.c"),
        (b"a..", "a.\uf029"),
        (b"\x01\x1f", "\uf001\uf01f"),
        (b"\x7f", "\x7f"),
    ],
)
def test_the_sfm_table(name: bytes, stored: str) -> None:
    assert WindowsNames().to_server(name) == stored
    assert WindowsNames().from_server(stored) == name


def test_posix_names_go_as_they_are() -> None:
    for name in (b'"*:<>?\\|', b"a.", b"a ", b"\x01", "\uf021".encode()):
        assert PosixNames().to_server(name) == name.decode()
        assert PosixNames().from_server(name.decode()) == name


@pytest.mark.parametrize("names", KINDS)
@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/", "a\0b", "\ud800", "a\udfffb", "x" * 256, "ü" * 256, "x" * 65536],
)
def test_hostile_names_are_not_shown(names: Names, name: str) -> None:
    assert names.from_server(name) is None


@pytest.mark.parametrize("name", ["a\\b", "a:b", "a.", "a ", "*", "a\n"])
def test_windows_names_that_would_be_asked_for_differently_are_not_shown(name: str) -> None:
    assert WindowsNames().from_server(name) is None


@pytest.mark.parametrize("names", KINDS)
def test_names_that_cannot_be_stored(names: Names) -> None:
    with pytest.raises(NameTooLong):
        names.to_server(b"x" * 256)
    with pytest.raises(NameTooLong):
        names.to_server("ü".encode() * 256)
    with pytest.raises(NameNotText):
        names.to_server(b"\xff")
    for name in (b".", b"..", b"", b"a/b", b"a\0"):
        with pytest.raises(InvalidName):
            names.to_server(name)
    assert names.to_server(b"x" * 255) == "x" * 255


@pytest.mark.parametrize("character", ["ü", "\u540d", "\U0001f600"])
def test_windows_counts_utf16_units_and_linux_bytes(character: str) -> None:
    units, size = len(character.encode("utf-16-le")) // 2, len(character.encode())
    for names, longest in (
        (WindowsNames(), character * (255 // units)),
        (PosixNames(), character * (255 // size)),
    ):
        assert names.from_server(longest) == longest.encode()
        assert names.to_server(longest.encode()) == longest
        assert names.from_server(longest + character) is None
        with pytest.raises(NameTooLong):
            names.to_server((longest + character).encode())


async def test_long_names_of_windows_are_names_like_any_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """They have more bytes than a Linux server can store."""
    old, new = "\u540d" * 255, "\u524d" * 100
    listed: list[bytes] = []

    def emit(name: bytes, _entry: Entry, _next_position: int) -> bool:
        listed.append(name)
        return True

    async with laptop() as one:
        one.network.server.files.make(old)
        directories = one.filesystem.directories
        opened = await directories.open(ROOT)
        await directories.read(opened.handle, 0, emit)
        await directories.release(opened.handle)
        assert listed == [b".", b"..", old.encode()]
        assert isinstance(await one.filesystem.names.look_up(ROOT, old.encode()), Entry)
        await one.filesystem.files.release(await one.create(new.encode()))
        assert set(one.network.server.files.names) == {old, new}


def test_windows_names_refuse_what_would_become_another_name() -> None:
    with pytest.raises(InvalidName):
        WindowsNames().to_server("\uf021".encode())
    with pytest.raises(InvalidName):
        WindowsNames().to_server("a\uf029".encode())
    assert WindowsNames().to_server("\uf029a".encode()) == "\uf029a"


@pytest.mark.parametrize("spellings", [("FOO", "foo", "Foo"), ("Ä", "ä"), ("\u1e9e.Ж", "\u1e9e.ж")])
def test_spellings_of_a_name_are_folded_to_one(spellings: tuple[str, ...]) -> None:
    assert len({folded(name.encode()) for name in spellings}) == 1


@pytest.mark.parametrize(
    "names", [("ß", "ss", "\u1e9e"), ("\ufb01", "fi"), ("\u0149", "\u02bcn"), ("ä", "a\u0308")]
)
def test_names_that_servers_tell_apart_are_not_folded_to_one(names: tuple[str, ...]) -> None:
    """They compare character by character: to them one letter is never two."""
    assert len({folded(name.encode()) for name in names}) == len(names)


def test_what_is_not_text_is_folded_to_itself() -> None:
    assert folded(b"\xff") == b"\xff"
    assert folded(b"a\xff") == folded(b"A\xff") != folded(b"A\xfe")
