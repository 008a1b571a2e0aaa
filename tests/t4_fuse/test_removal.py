"""Removing files that are open: they go on until their last close, and leave nothing."""

from __future__ import annotations

import os
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.beds.samba import SambaServer
from tests.t4_fuse.conftest import KINDS, MountShare, Place, wait_until


def hidden(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith(".smbfs")]


def test_an_open_file_goes_on_without_its_name(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"content")
    with file.open("r+b", buffering=0) as opened:
        file.unlink()
        assert not file.exists()
        assert list(place.path.iterdir()) == []
        assert opened.read() == b"content"
        opened.write(b" and more")
        os.fsync(opened.fileno())
        opened.seek(0)
        assert opened.read() == b"content and more"
        facts = os.fstat(opened.fileno())
        assert (facts.st_size, facts.st_nlink) == (16, 0)


def test_it_can_be_cut_and_extended(place: Place) -> None:
    file = place.path / "file"
    with file.open("w+b", buffering=0) as opened:
        opened.write(b"0123456789")
        file.unlink()
        os.ftruncate(opened.fileno(), 4)
        assert os.fstat(opened.fileno()).st_size == 4
        os.ftruncate(opened.fileno(), 8)
        opened.seek(0)
        assert opened.read() == b"0123" + bytes(4)


def test_its_times_can_be_set(place: Place) -> None:
    file = place.path / "file"
    with file.open("w+b", buffering=0) as opened:
        file.unlink()
        os.utime(opened.fileno(), ns=(10**18, 10**18))
        assert os.fstat(opened.fileno()).st_mtime_ns == 10**18


def test_its_name_is_free(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"old")
    with file.open("rb") as opened:
        file.unlink()
        file.write_bytes(b"new")
        assert opened.read() == b"old"
        assert file.read_bytes() == b"new"
    assert file.read_bytes() == b"new"


def test_its_directory_can_be_removed(place: Place) -> None:
    directory = place.path / "directory"
    directory.mkdir()
    (directory / "file").write_bytes(b"content")
    with (directory / "file").open("rb") as opened:
        (directory / "file").unlink()
        directory.rmdir()
        assert opened.read() == b"content"


def test_several_handles(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"content")
    handles = [file.open("r+b", buffering=0) for _ in range(3)]
    file.unlink()
    handles[0].close()
    handles[1].write(b"CONTENT")
    handles[1].close()
    assert handles[2].read() == b"CONTENT"
    os.ftruncate(handles[2].fileno(), 3)
    handles[2].seek(0)
    assert handles[2].read() == b"CON"
    handles[2].close()


def test_nothing_is_left(place: Place) -> None:
    root = place.mount.path
    for number in range(5):
        file = place.path / f"file-{number}"
        with file.open("wb") as opened:
            opened.write(b"x")
            file.unlink()
    assert list(place.served.iterdir()) == []
    assert hidden(root) == []
    wait_until(lambda: hidden(place.served.parent) == [])


def test_nothing_is_left_of_files_whose_last_handle_is_closed_meanwhile(place: Place) -> None:
    """A file that is removed and closed at once is open when that begins, and later is not."""
    before, turns = hidden(place.served.parent), random.Random(0)
    with ThreadPoolExecutor(1) as pool:
        for number in range(60):
            file = place.path / f"file-{number}"
            file.write_bytes(b"x" * 100_000)  # More than is read without an open of its own.
            opened = os.open(file, os.O_RDONLY)
            closed = pool.submit(close_after, opened, turns.random() * 0.003)
            file.unlink()
            closed.result()
    assert list(place.path.iterdir()) == []
    wait_until(lambda: list(place.served.iterdir()) == [])
    wait_until(lambda: set(hidden(place.served.parent)) <= set(before))


def close_after(descriptor: int, pause_s: float) -> None:
    time.sleep(pause_s)  # Anywhere in the removal, whose requests are its steps.
    os.close(descriptor)


def test_one_of_two_names(place: Place) -> None:
    first, second = place.path / "first", place.path / "second"
    first.write_bytes(b"content")
    os.link(first, second)
    with first.open("r+b", buffering=0) as opened:
        first.unlink()
        assert second.read_bytes() == b"content"
        opened.write(b"CONTENT")
        assert second.read_bytes() == b"CONTENT"
    assert second.read_bytes() == b"CONTENT"
    assert [entry.name for entry in place.served.iterdir()] == ["second"]


def test_temporary_files(place: Place) -> None:
    with tempfile.TemporaryFile(dir=place.path) as temporary:
        temporary.write(b"x" * 100_000)
        temporary.seek(0)
        temporary.truncate(10)
        assert temporary.read() == b"x" * 10
    with tempfile.TemporaryDirectory(dir=place.path) as folder:
        opened = (Path(folder) / "file").open("wb")
    opened.write(b"late")
    opened.close()
    assert list(place.served.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_mount_that_dies_leaves_nothing(
    samba: SambaServer, mount_share: MountShare, served_folder: Path, kind: str
) -> None:
    mount = mount_share(posix=kind == "posix")
    file = mount.path / served_folder.name / "file"
    opened = os.open(file, os.O_CREAT | os.O_WRONLY)
    os.write(opened, b"x")
    file.unlink()
    mount.guardian.kill()
    with pytest.raises(OSError, match="not connected"):
        os.write(opened, b"y")
    with pytest.raises(OSError, match="not connected"):
        os.close(opened)
    assert list(served_folder.iterdir()) == []
    wait_until(lambda: hidden(samba.share_path()) == [])


def test_a_read_only_file_is_removed(place: Place) -> None:
    file = place.path / "file"
    file.touch()
    file.chmod(0o444)
    file.unlink()
    assert list(place.served.iterdir()) == []


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR], ids=["reader", "writer"])
@pytest.mark.parametrize("actimeo", [0, 1])
def test_the_last_other_name_of_an_open_file_is_removed(
    mount_share: MountShare, served_folder: Path, actimeo: int, flags: int
) -> None:
    """The server knows our lease by the name that the file was opened with."""
    folder = mount_share(actimeo_s=float(actimeo)).path / served_folder.name
    (folder / "one").write_bytes(b"x" * 100_000)
    opened = os.open(folder / "one", flags)
    (folder / "two").hardlink_to(folder / "one")
    (folder / "one").unlink()
    (folder / "two").unlink()
    assert list(folder.iterdir()) == []
    assert os.read(opened, 3) == b"xxx"
    os.close(opened)
    wait_until(lambda: list(served_folder.iterdir()) == [])
