"""Directories: making, removing, and above all listing them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.t4_fuse.conftest import MountShare, Place, wait_until
from tests.t4_fuse.libc import DirectoryReader

MANY = 3000


def fill(folder: Path, count: int) -> list[str]:
    names = [f"file-{number:05d}" for number in range(count)]
    for name in names:
        os.close(os.open(folder / name, os.O_CREAT | os.O_WRONLY, 0o644))
    return names


def test_a_directory_is_made_and_removed(place: Place) -> None:
    directory = place.path / "directory"
    directory.mkdir()
    assert directory.is_dir()
    assert (place.served / "directory").is_dir()
    directory.rmdir()
    assert not directory.exists()
    assert not (place.served / "directory").exists()


def test_what_exists_is_not_made(place: Place) -> None:
    (place.path / "directory").mkdir()
    (place.path / "file").touch()
    for name in ("directory", "file"):
        with pytest.raises(FileExistsError):
            (place.path / name).mkdir()


def test_nothing_is_made_in_what_is_not_there(place: Place) -> None:
    with pytest.raises(FileNotFoundError):
        (place.path / "nothing" / "below").mkdir()
    (place.path / "file").touch()
    with pytest.raises(NotADirectoryError):
        (place.path / "file" / "below").mkdir()


def test_only_empty_directories_are_removed(place: Place) -> None:
    (place.path / "directory").mkdir()
    (place.path / "directory" / "file").touch()
    with pytest.raises(OSError, match="not empty"):
        (place.path / "directory").rmdir()
    assert (place.path / "directory" / "file").exists()


def test_a_directory_with_what_only_the_server_knows_is_not_removed(place: Place) -> None:
    (place.path / "directory").mkdir()
    (place.served / "directory" / "file").touch()
    with pytest.raises(OSError, match="not empty"):
        (place.path / "directory").rmdir()


def test_files_are_unlinked_and_directories_removed(place: Place) -> None:
    (place.path / "directory").mkdir()
    (place.path / "file").touch()
    with pytest.raises(IsADirectoryError):
        (place.path / "directory").unlink()
    with pytest.raises(NotADirectoryError):
        (place.path / "file").rmdir()
    with pytest.raises(FileNotFoundError):
        (place.path / "nothing").unlink()
    with pytest.raises(FileNotFoundError):
        (place.path / "nothing").rmdir()


def test_an_empty_directory_lists_itself_and_its_parent(place: Place) -> None:
    with DirectoryReader(place.path) as reader:
        assert sorted(reader.read_all()) == [".", ".."]
        assert reader.read() is None


def test_a_listing_tells_types_and_inode_numbers(place: Place) -> None:
    (place.path / "directory").mkdir()
    (place.path / "file").write_bytes(b"12345")
    (place.path / "link").symlink_to("file")
    with os.scandir(place.path) as entries:
        found = {entry.name: entry for entry in entries}
    assert found["directory"].is_dir(follow_symlinks=False)
    assert found["file"].is_file(follow_symlinks=False)
    assert found["link"].is_symlink()
    for name, entry in found.items():
        assert entry.inode() == (place.path / name).lstat().st_ino


def test_a_listing_tells_attributes_too(place: Place) -> None:
    (place.served / "file").write_bytes(b"x" * 4321)
    with os.scandir(place.path) as entries:
        (entry,) = entries
    assert entry.stat().st_size == 4321


def test_a_large_directory_lists_completely(place: Place) -> None:
    names = fill(place.served, MANY)
    listed = os.listdir(place.path)  # noqa: PTH208 - the kernel's list
    assert sorted(listed) == names


def test_going_back_to_any_position(place: Place) -> None:
    fill(place.served, MANY)
    with DirectoryReader(place.path) as reader:
        positions, names = [], []
        while True:
            positions.append(reader.tell())
            name = reader.read()
            if name is None:
                break
            names.append(name)
        assert len(set(names)) == MANY + 2
        for index in (MANY, 2500, 100, 2, 1, 0, 1234):
            reader.seek(positions[index])
            assert reader.read() == names[index]
        reader.seek(positions[1500])
        assert reader.read_all() == names[1500:]


@pytest.mark.parametrize("options", [{}, {"cache": "none"}], ids=["kept by the kernel", "not kept"])
def test_going_on_where_another_open_was(
    mount_share: MountShare, served_folder: Path, options: dict[str, str]
) -> None:
    """Servers of file systems do so: their clients' positions outlive their handles."""
    names = fill(served_folder, MANY)
    folder = mount_share(**options).path / served_folder.name
    with DirectoryReader(folder) as reader:
        before = [reader.read() for _ in range(MANY // 2)]
        position = reader.tell()
    with DirectoryReader(folder) as reader:
        reader.seek(position)
        listed = [*before, *reader.read_all()]
    assert sorted(str(name) for name in listed if name not in {".", ".."}) == names


@pytest.mark.parametrize("is_kept", [False, True])
def test_rewinding_shows_what_has_changed(place: Place, theirs: Path, is_kept: bool) -> None:
    names = fill(place.served, 100)
    if is_kept:  # Then nobody asks us before the first change.
        for _ in range(3):
            list(place.path.iterdir())
    with DirectoryReader(place.path) as reader:

        def again() -> list[str]:
            reader.rewind()
            return sorted(reader.read_all())

        assert again() == again() == [".", "..", *names]
        (place.path / "ours").touch()
        assert again() == [".", "..", *names, "ours"]
        (theirs / "theirs").touch()
        (theirs / names[0]).unlink()
        wait_until(lambda: again() == [".", "..", *names[1:], "ours", "theirs"])


@pytest.mark.parametrize("who", ["ours", "theirs"])
def test_a_listing_that_the_kernel_keeps_is_right(place: Place, theirs: Path, who: str) -> None:
    """Each change is one that the listing before does not show."""
    names = fill(place.served, 50)
    at = place.path if who == "ours" else theirs
    changes: list[tuple[Callable[[], object], list[str]]] = [
        ((at / "new").touch, [*names, "new"]),
        (lambda: (at / "new").rename(at / "newer"), [*names, "newer"]),
        ((at / "newer").unlink, names),
    ]

    def listed() -> list[str]:
        return sorted(entry.name for entry in place.path.iterdir())

    for change, there in 3 * changes:
        for _ in range(3):  # From the server, from us, from the kernel.
            listed()
        change()
        if who == "ours":
            assert listed() == there
        else:
            wait_until(lambda there=there: listed() == there)  # type: ignore[misc]


def test_each_name_once_while_others_add_and_remove(place: Place) -> None:
    names = fill(place.served, MANY)
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            (place.served / f"other-{number}").touch()
            if number >= 20:
                (place.served / f"other-{number - 20}").unlink()
            number += 1

    others = threading.Thread(target=churn)
    others.start()
    try:
        for _ in range(5):
            listed = os.listdir(place.path)  # noqa: PTH208 - the kernel's list
            assert len(listed) == len(set(listed))
            assert set(names) <= set(listed)
    finally:
        stop.set()
        others.join()


def test_removing_what_is_being_listed(place: Place) -> None:
    fill(place.served, MANY)
    with os.scandir(place.path) as entries:
        for entry in entries:
            Path(entry.path).unlink()
    assert list(place.served.iterdir()) == []


def test_two_readers_of_one_directory(place: Place) -> None:
    names = fill(place.served, 500)
    with DirectoryReader(place.path) as first, DirectoryReader(place.path) as second:
        for _ in range(100):
            first.read()
        assert sorted(second.read_all()) == [".", "..", *names]
        assert len(first.read_all()) == 402


def test_what_is_made_is_listed_at_once(place: Place) -> None:
    for number in range(50):
        (place.path / f"file-{number}").touch()
        assert len(os.listdir(place.path)) == number + 1  # noqa: PTH208 - the kernel's list
    for number in range(50):
        (place.path / f"file-{number}").unlink()
        assert len(os.listdir(place.path)) == 49 - number  # noqa: PTH208 - the kernel's list


def test_a_deep_tree(place: Place) -> None:
    deep = place.path
    for level in range(40):
        deep /= f"level-{level}"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"deep")
    assert (deep / "file").read_bytes() == b"deep"
    (place.path / "level-0").rename(place.path / "renamed")
    moved = place.path / "renamed" / deep.relative_to(place.path / "level-0")
    assert (moved / "file").read_bytes() == b"deep"


def test_a_directory_that_another_client_replaced(place: Place, mount_share: MountShare) -> None:
    (place.path / "directory").mkdir()
    (place.path / "directory" / "old").mkdir()
    theirs = mount_share(posix=place.posix).path / place.path.name
    (theirs / "directory").rename(theirs / "away")
    (theirs / "directory").mkdir(mode=0o777)
    (theirs / "directory" / "new").write_bytes(b"new")
    wait_until((place.path / "directory" / "new").exists)
    assert (place.path / "directory" / "new").read_bytes() == b"new"
    assert [entry.name for entry in (place.path / "directory").iterdir()] == ["new"]
