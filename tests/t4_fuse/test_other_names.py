"""Files by one of several names: hard links, other spellings, and names of other clients' files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.beds.samba_folder import ALICE
from tests.t4_fuse.conftest import MountShare, Place, only_windows, wait_until


def names_in(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def opened(path: Path) -> str:
    path.write_text("cut")
    return path.read_text()


CHANGES: dict[str, Callable[[Path], object]] = {
    "open": opened,
    "truncate": lambda path: os.truncate(path, 0),
    "chmod": lambda path: path.chmod(0o400),
    "times": lambda path: os.utime(path, (1, 1)),
    "attribute": lambda path: os.setxattr(path, "user.x", b"1"),
    "link": lambda path: path.with_name("c").hardlink_to(path),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_what_is_done_to_one_name_is_not_done_to_what_has_replaced_another(
    place: Place, theirs: Path, order: str, change: str
) -> None:
    """Here both names are still known to be one file."""
    served, folder, elsewhere = place.served / "d", place.path / "d", theirs / "d"
    served.mkdir()
    served.chmod(0o777)
    (served / "a").write_text("old")
    (served / "a").chmod(0o666)
    if os.geteuid() == 0:
        os.chown(served / "a", ALICE.uid, ALICE.uid)
    (served / "b").hardlink_to(served / "a")
    for name in order:
        (folder / name).stat()
    wait_until((elsewhere / "a").exists)
    (elsewhere / "new").write_text("precious")
    (elsewhere / "new").replace(elsewhere / "a")
    wait_until(lambda: (served / "a").read_text() == "precious")
    before = (served / "a").stat()
    assert (folder / "b").read_text() == "old"
    CHANGES[change](folder / "b")
    after = (served / "a").stat()
    assert (served / "a").read_text() == "precious"
    assert (after.st_mode, after.st_mtime, after.st_nlink) == (before.st_mode, before.st_mtime, 1)
    assert "user.x" not in os.listxattr(served / "a")


@pytest.mark.parametrize("other", ["b", "sub/b"])
def test_a_change_by_one_name_is_seen_by_the_other(place: Place, other: str) -> None:
    for folder in (place.served / "d", place.served / "d" / "sub"):
        folder.mkdir()
        folder.chmod(0o777)
    served = place.served / "d"
    (served / "a").write_bytes(b"x")
    (served / "a").chmod(0o666)
    (served / other).hardlink_to(served / "a")
    (served / "sub" / "z").touch()
    folder = place.path / "d"
    assert (folder / "a").stat().st_size == 1
    (folder / "sub" / "z").stat()  # Now it is known what is there.
    with (folder / "a").open("ab") as file:
        file.write(b"more")
    assert [(folder / name).stat().st_size for name in ("a", other, "a")] == [5, 5, 5]


@only_windows
@pytest.mark.parametrize("names", [["Foo", "foo", "other"], ["strasse", "straße"]])
def test_names_that_the_server_tells_apart_are_listed_again(place: Place, names: list[str]) -> None:
    folder = place.served / "d"
    folder.mkdir()
    folder.chmod(0o777)
    for name in names:
        (folder / name).write_text(name)
        (folder / name).chmod(0o666)
    for _ in range(3):
        assert names_in(place.path / "d") == names
    (place.path / "d" / names[1]).unlink()
    assert names_in(place.path / "d") == names_in(folder) == [names[0], *names[2:]]


@only_windows
def test_what_was_renamed_is_gone_in_every_spelling(place: Place) -> None:
    (place.path / "foo").write_text("content")
    (place.path / "foo").stat()
    (place.path / "FOO").rename(place.path / "bar")
    wait_until(lambda: not (place.path / "foo").exists())
    assert (place.path / "bar").read_text() == "content"


@only_windows
def test_what_was_replaced_is_so_in_every_spelling(place: Place) -> None:
    (place.path / "foo").write_text("1")
    (place.path / "new").write_text("22222")
    for name in ("foo", "FOO"):
        assert (place.path / name).stat().st_size == 1
    (place.path / "new").rename(place.path / "FOO")
    assert (place.path / "foo").stat().st_size == 5
    assert (place.path / "foo").read_text() == "22222"


@only_windows
def test_an_open_file_is_replaced_by_another_spelling(place: Place) -> None:
    (place.path / "foo").write_text("1")
    (place.path / "new").write_text("22222")
    with (place.path / "foo").open("r+b", buffering=0) as file:
        (place.path / "new").rename(place.path / "FOO")
        file.write(b"still")
    assert (place.path / "foo").read_text() == "22222"


@pytest.mark.parametrize("name", [".zfs", "~snapshot"])
def test_a_directory_of_snapshots_need_not_be_listed(
    mount_share: MountShare, served_folder: Path, name: str
) -> None:
    """What is listed is believed to be all, but for these."""
    (served_folder / "file").touch()
    folder = mount_share().path / served_folder.name
    assert names_in(folder) == ["file"]
    (served_folder / name).mkdir()  # On the server's own disk, so that nobody is told.
    assert (folder / name).is_dir()
