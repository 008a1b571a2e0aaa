"""Small files that are opened in order come before they are asked for, and are right all the same.

What is read ahead is open on the server though no program has it open here: nobody may notice.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.t4_fuse.conftest import Place, wait_until

FILES = 60


@pytest.fixture
def folder(place: Place) -> Path:
    """A folder of small files, of which the first third was read in order."""
    (place.served / "folder").mkdir(mode=0o777)
    (place.served / "folder").chmod(0o777)
    for number in range(FILES):
        file = place.served / "folder" / f"file-{number:02}"
        file.write_bytes(b"%d" % number * 500)
        file.chmod(0o666)
    folder = place.path / "folder"
    assert len(list(folder.iterdir())) == FILES
    for number in range(FILES // 3):
        assert (folder / f"file-{number:02}").read_bytes() == b"%d" % number * 500
    return folder


def test_all_are_what_they_are(folder: Path) -> None:
    for number in range(FILES):
        assert (folder / f"file-{number:02}").read_bytes() == b"%d" % number * 500


def test_what_others_change_meanwhile_is_read_as_it_is_then(folder: Path, theirs: Path) -> None:
    for number in range(FILES // 3, FILES, 2):
        (theirs / "folder" / f"file-{number:02}").write_bytes(b"theirs")
    for number in range(FILES // 3, FILES, 2):
        file = folder / f"file-{number:02}"
        wait_until(lambda file=file: file.read_bytes() == b"theirs")  # type: ignore[misc]
        other = folder / f"file-{number + 1:02}"
        assert other.read_bytes() == b"%d" % (number + 1) * 500


def test_what_we_change_meanwhile_is_read_as_it_is_then(folder: Path) -> None:
    for number in range(FILES // 3, FILES):
        with (folder / f"file-{number:02}").open("r+b") as file:
            file.write(b"ours")
    for number in range(FILES // 3, FILES):
        assert (folder / f"file-{number:02}").read_bytes() == b"ours" + (b"%d" % number * 500)[4:]


def test_it_is_in_nobodys_way(folder: Path, theirs: Path) -> None:
    (folder / "file-20").unlink()
    (theirs / "folder" / "file-21").unlink()
    (folder / "file-22").rename(folder / "renamed")
    (theirs / "folder" / "file-23").rename(theirs / "folder" / "renamed-too")
    wait_until(lambda: not (folder / "file-21").exists() and (folder / "renamed-too").exists())
    left = {path.name for path in folder.iterdir()}
    assert left.isdisjoint(f"file-{number}" for number in range(20, 24))
    assert (folder / "renamed").read_bytes() == b"22" * 500


def test_a_folder_can_be_removed_while_its_files_come(folder: Path) -> None:
    shutil.rmtree(folder)
    assert not folder.exists()


def test_a_folder_can_be_moved_while_its_files_come(folder: Path, place: Place) -> None:
    moved = folder.rename(place.path / "moved")
    for number in range(FILES):
        assert (moved / f"file-{number:02}").read_bytes() == b"%d" % number * 500
