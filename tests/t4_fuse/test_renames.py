"""Renaming: over what exists, over what is open, directories, and never half."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.t4_fuse.conftest import Place, only_posix, only_windows
from tests.t4_fuse.libc import RENAME_EXCHANGE, RENAME_NOREPLACE, renameat2


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_gets_another_name(place: Place) -> None:
    old, new = place.path / "old", place.path / "new"
    old.write_bytes(b"content")
    number = old.stat().st_ino
    old.rename(new)
    assert new.read_bytes() == b"content"
    assert new.stat().st_ino == number
    assert names(place.path) == names(place.served) == ["new"]


def test_into_another_directory(place: Place) -> None:
    (place.path / "a").mkdir()
    (place.path / "b").mkdir()
    (place.path / "a" / "file").write_bytes(b"content")
    (place.path / "a" / "file").rename(place.path / "b" / "file")
    assert (place.path / "b" / "file").read_bytes() == b"content"
    assert names(place.path / "a") == []


def test_over_a_file(place: Place) -> None:
    old, new = place.path / "old", place.path / "new"
    old.write_bytes(b"old")
    new.write_bytes(b"new, and longer")
    old.rename(new)
    assert new.read_bytes() == b"old"
    assert names(place.path) == ["new"]


def test_over_a_file_that_is_open(place: Place) -> None:
    old, new = place.path / "old", place.path / "new"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    with new.open("r+b", buffering=0) as opened:
        old.rename(new)
        assert opened.read() == b"new"
        opened.seek(0)
        opened.write(b"NEW!")
        opened.seek(0)
        assert opened.read() == b"NEW!"
        assert os.fstat(opened.fileno()).st_nlink == 0
        assert new.read_bytes() == b"old"
        assert names(place.path) == ["new"]
    assert new.read_bytes() == b"old"
    assert names(place.served) == ["new"]


def test_a_file_that_is_open(place: Place) -> None:
    old, new = place.path / "old", place.path / "new"
    old.write_bytes(b"old")
    with old.open("r+b", buffering=0) as opened:
        opened.write(b"o1d")
        old.rename(new)
        opened.seek(0, os.SEEK_END)
        opened.write(b" and more")
        assert os.fstat(opened.fileno()).st_size == 12
    assert new.read_bytes() == b"o1d and more"


def test_the_way_editors_save(place: Place) -> None:
    file = place.path / "document"
    for version in range(20):
        temporary = place.path / ".document.tmp"
        with temporary.open("wb") as writer:
            writer.write(b"version %d" % version)
            writer.flush()
            os.fsync(writer.fileno())
        temporary.rename(file)
        assert file.read_bytes() == b"version %d" % version
    assert names(place.path) == ["document"]


def test_noreplace(place: Place) -> None:
    old, new = place.path / "old", place.path / "new"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    with pytest.raises(FileExistsError):
        renameat2(old, new, RENAME_NOREPLACE)
    assert (old.read_bytes(), new.read_bytes()) == (b"old", b"new")
    new.unlink()
    renameat2(old, new, RENAME_NOREPLACE)
    assert new.read_bytes() == b"old"


def test_noreplace_of_what_another_client_has_just_made(place: Place) -> None:
    old, new = place.path / "old", place.path / "new"
    old.write_bytes(b"old")
    assert not new.exists()  # Now the kernel may believe that.
    (place.served / "new").write_bytes(b"new")
    with pytest.raises(FileExistsError):
        renameat2(old, new, RENAME_NOREPLACE)
    assert old.read_bytes() == b"old"


def test_no_server_exchanges_two_files_at_once(place: Place) -> None:
    (place.path / "a").touch()
    (place.path / "b").touch()
    with pytest.raises(OSError, match="Invalid argument"):
        renameat2(place.path / "a", place.path / "b", RENAME_EXCHANGE)


def test_a_directory_with_all_that_is_in_it(place: Place) -> None:
    inner = place.path / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").write_bytes(b"content")
    (place.path / "outer").rename(place.path / "renamed")
    assert (place.path / "renamed" / "inner" / "file").read_bytes() == b"content"
    (place.path / "renamed" / "inner" / "file").write_bytes(b"changed")
    assert (place.served / "renamed" / "inner" / "file").read_bytes() == b"changed"


def test_a_directory_over_an_empty_one(place: Place) -> None:
    (place.path / "old").mkdir()
    (place.path / "old" / "file").touch()
    (place.path / "new").mkdir()
    (place.path / "old").rename(place.path / "new")
    assert names(place.path) == ["new"]
    assert names(place.path / "new") == ["file"]


def test_a_directory_over_one_that_is_not_empty(place: Place) -> None:
    (place.path / "old").mkdir()
    (place.path / "new").mkdir()
    (place.path / "new" / "file").touch()
    with pytest.raises(OSError, match="not empty"):
        (place.path / "old").rename(place.path / "new")
    assert names(place.path) == ["new", "old"]


def test_files_and_directories_do_not_replace_each_other(place: Place) -> None:
    (place.path / "directory").mkdir()
    (place.path / "file").touch()
    with pytest.raises(IsADirectoryError):
        (place.path / "file").rename(place.path / "directory")
    with pytest.raises(NotADirectoryError):
        (place.path / "directory").rename(place.path / "file")


def test_a_directory_does_not_go_below_itself(place: Place) -> None:
    (place.path / "outer" / "inner").mkdir(parents=True)
    with pytest.raises(OSError, match="Invalid argument"):
        (place.path / "outer").rename(place.path / "outer" / "inner" / "outer")


def test_what_is_not_there(place: Place) -> None:
    with pytest.raises(FileNotFoundError):
        (place.path / "nothing").rename(place.path / "something")
    (place.path / "file").touch()
    with pytest.raises(FileNotFoundError):
        (place.path / "file").rename(place.path / "nothing" / "file")
    assert (place.path / "file").exists()


def test_to_itself_and_to_another_name_of_it(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"content")
    file.rename(file)
    os.link(file, place.path / "link")
    file.rename(place.path / "link")  # POSIX: both stay.
    assert names(place.path) == ["file", "link"]


@only_posix
def test_a_directory_with_an_open_file(place: Place) -> None:
    (place.path / "old").mkdir()
    (place.path / "old" / "file").write_bytes(b"content")
    with (place.path / "old" / "file").open("rb") as opened:
        (place.path / "old").rename(place.path / "new")
        assert opened.read() == b"content"


@only_windows
def test_a_directory_with_an_open_file_is_not_renamed_by_windows_rules(place: Place) -> None:
    (place.path / "old").mkdir()
    (place.path / "old" / "file").write_bytes(b"content" * 10_000)  # Smaller ones are in memory.
    with (place.path / "old" / "file").open("rb") as opened:
        with pytest.raises(PermissionError) as refused:
            (place.path / "old").rename(place.path / "new")
        assert refused.value.errno == errno.EACCES
        assert opened.read() == b"content" * 10_000


@only_windows
def test_over_a_read_only_file(place: Place) -> None:
    old, new = place.path / "old", place.path / "new"
    old.write_bytes(b"old")
    new.write_bytes(b"new")
    new.chmod(0o444)
    old.rename(new)
    assert new.read_bytes() == b"old"
    assert names(place.served) == ["new"]


def test_many_at_once(place: Place) -> None:
    for number in range(200):
        (place.path / f"a{number}").touch()
    for number in range(200):
        (place.path / f"a{number}").rename(place.path / f"b{number}")
    assert len(names(place.path)) == 200
    assert all(name.startswith("b") for name in names(place.path))
