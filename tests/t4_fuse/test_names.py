"""Names: everything that Linux allows works, whatever the server's rules."""

from __future__ import annotations

import errno
import os
import shutil

import pytest

from tests.t4_fuse.conftest import Place, only_posix, only_windows
from tests.t4_fuse.libc import leads_to

ODD_NAMES = [
    *("a:b", "back\\slash", "dot.", "space ", '<>?*|"', "\x01control\x1f", "line\nfeed"),
    *("...", " leading", ".hidden", "ü", "\u540d\u524d", "\U0001f600", "~tilde", "A~1.TXT"),
    *("percent%20", "x" * 255, "ü" * 127, "trailing\ttab\t", "$dollar", "#hash", "'quote'"),
]

LONGEST_DIRECTORY = 200
"""Bytes, about: Samba makes a directory under a longer name first."""


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_names_like_any_other(place: Place, name: str) -> None:
    file = place.path / name
    file.write_bytes(b"content")
    assert os.listdir(place.path) == [name]  # noqa: PTH208 - the kernel's list
    assert file.read_bytes() == b"content"
    other = place.path / "plain"
    file.rename(other)
    other.rename(file)
    directory = place.path / "directory"
    directory.mkdir()
    os.link(file, directory / name)
    assert (directory / name).read_bytes() == b"content"
    file.unlink()
    if len(name.encode()) > LONGEST_DIRECTORY:
        return
    (place.path / name).mkdir()
    (place.path / name / name).touch()
    assert [entry.name for entry in (place.path / name).iterdir()] == [name]


@pytest.mark.parametrize("name", ["CON", "nul.txt", "aux.c"])
@only_posix
def test_names_of_dos_devices_are_names(place: Place, name: str) -> None:
    (place.path / name).write_bytes(b"x")
    assert [entry.name for entry in place.path.iterdir()] == [name]
    assert (place.path / name).read_bytes() == b"x"


@only_posix
def test_posix_names_are_on_the_server_as_they_are(place: Place) -> None:
    names = {"a:b", "back\\slash", "dot.", "space ", "*"}
    for name in names:
        (place.path / name).touch()
    assert {entry.name for entry in place.served.iterdir()} == names


@only_windows
def test_reserved_characters_are_stored_as_macos_and_cifs_do(place: Place) -> None:
    (place.path / "a:b*c.").touch()
    assert [entry.name for entry in place.served.iterdir()] == ["a\uf022b\uf021c\uf029"]


@only_posix
def test_names_with_odd_characters_that_the_server_made(place: Place) -> None:
    names = {"1234.M5.host:2,S", "what?", "dot.", "back\\slash", "CON"}
    for name in names:
        (place.served / name).write_text(name)
    assert {entry.name for entry in place.path.iterdir()} == names
    for name in names:
        assert (place.path / name).read_text() == name


@only_posix
def test_links_and_fifos_with_odd_names(place: Place) -> None:
    targets = {"to:file": "file", "to:folder": "folder", "to:nothing": "nothing", "l:l": "l:l"}
    (place.path / "file").touch()
    (place.path / "folder").mkdir()
    for name, target in targets.items():
        (place.path / name).symlink_to(target)
    os.mkfifo(place.path / "fi:fo")
    (place.served / "made:there").symlink_to("file")
    expected = {*targets, "fi:fo", "made:there", "file", "folder"}
    assert {entry.name for entry in place.path.iterdir()} == expected
    for name, target in targets.items():
        assert leads_to(place.path / name) == target
    shutil.rmtree(place.path)
    assert not place.served.exists()


@pytest.mark.parametrize("name", ["x" * 256, "ü" * 128, "\u540d" * 100])
def test_names_that_are_too_long(place: Place, name: str) -> None:
    (place.path / "file").touch()
    for use in (
        (place.path / name).touch,
        (place.path / name).mkdir,
        (place.path / name).stat,
        lambda: (place.path / name).symlink_to("x"),
        lambda: (place.path / "file").rename(place.path / name),
        lambda: os.link(place.path / "file", place.path / name),
    ):
        with pytest.raises(OSError, match="too long") as refused:
            use()
        assert refused.value.errno == errno.ENAMETOOLONG


def test_names_that_are_not_text(place: Place) -> None:
    path = os.fsencode(place.path) + b"/\xff\xfe"
    with pytest.raises(OSError, match="Invalid or incomplete") as refused:
        os.open(path, os.O_CREAT | os.O_WRONLY)
    assert refused.value.errno == errno.EILSEQ
    with pytest.raises(OSError, match="Invalid or incomplete"):
        os.symlink(b"\xff", os.fsencode(place.path / "link"))  # noqa: PTH211 - bytes


@only_posix
@pytest.mark.parametrize(
    ("name", "expected"), [(b"x" * 256, errno.ENAMETOOLONG), (b"\xff", errno.EILSEQ)]
)
def test_a_name_that_cannot_be_is_so_where_all_names_are_known(
    place: Place, name: bytes, expected: int
) -> None:
    path = os.fsencode(place.path)
    (place.path / "file").touch()
    assert os.listdir(path) == [b"file"]  # noqa: PTH208 - the kernel's list
    for _ in range(2):
        with pytest.raises(OSError, match=r"too long|Invalid or incomplete") as refused:
            os.stat(path + b"/" + name)  # noqa: PTH116 - bytes
        assert refused.value.errno == expected


@only_windows
def test_names_that_would_come_back_as_others(place: Place) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        (place.path / "private\uf021").touch()


@only_posix
def test_case_tells_names_apart(place: Place) -> None:
    (place.path / "name").write_bytes(b"small")
    (place.path / "NAME").write_bytes(b"large")
    assert (place.path / "name").read_bytes() == b"small"
    (place.path / "name").rename(place.path / "Name")
    assert {entry.name for entry in place.path.iterdir()} == {"NAME", "Name"}
    assert (place.path / "NAME").read_bytes() == b"large"


@only_windows
def test_case_does_not_tell_names_apart(place: Place) -> None:
    (place.path / "Name").write_bytes(b"content")
    other = place.path / "nAME"
    assert other.read_bytes() == b"content"
    assert other.samefile(place.path / "Name")
    assert not (place.path / "name.txt").exists()
    with other.open("ab") as writer:
        writer.write(b" and more")
    assert (place.path / "Name").read_bytes() == b"content and more"
    assert [entry.name for entry in place.path.iterdir()] == ["Name"]


@pytest.mark.parametrize("kind", ["file", "directory"])
@only_windows
def test_a_rename_may_change_case_only(place: Place, kind: str) -> None:
    old, new = place.path / "Name", place.path / "nAME"
    if kind == "file":
        old.write_bytes(b"content")
    else:
        old.mkdir()
        (old / "inside").touch()
    old.rename(new)
    assert [entry.name for entry in place.path.iterdir()] == ["nAME"]
    assert [entry.name for entry in place.served.iterdir()] == ["nAME"]
    if kind == "file":
        assert new.read_bytes() == b"content"
    else:
        assert [entry.name for entry in new.iterdir()] == ["inside"]


@only_windows
def test_a_file_may_be_removed_by_any_spelling(place: Place) -> None:
    (place.path / "Name").touch()
    (place.path / "nAME").unlink()
    assert list(place.path.iterdir()) == []
    with (place.path / "Open").open("wb", buffering=0) as opened:
        (place.path / "oPEN").unlink()
        opened.write(b"still there")
    assert list(place.served.iterdir()) == []
