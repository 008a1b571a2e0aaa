"""fallocate(2), and lseek(2) for data and holes."""

from __future__ import annotations

import errno
import os
import random
import re
import stat
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from smbfs.vfs.allocation import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE
from tests.beds.fallocate import fallocate
from tests.t4_fuse.conftest import MountShare, Place, only_posix, wait_until

MIB = 1 << 20
CONTENT = random.Random(5).randbytes(3 * MIB)


def refused(number: int) -> AbstractContextManager[object]:
    """Return a block that has to fail with this errno."""
    return pytest.raises(OSError, match=re.escape(f"[Errno {number}]"))


def room(path: Path) -> int:
    """Return how many bytes a file takes on the server's disk."""
    return path.stat().st_blocks * 512


def test_room_at_the_end_is_zeros(place: Place) -> None:
    with (place.path / "file").open("x+b", 0) as file:
        file.write(CONTENT)
        fallocate(file.fileno(), 0, 2 * MIB, 5 * MIB)
        assert os.fstat(file.fileno()).st_size == 7 * MIB
        file.seek(0)
        assert file.read() == CONTENT + bytes(4 * MIB)
        file.seek(6 * MIB)
        file.write(b"there")
    expected = CONTENT + bytes(3 * MIB) + b"there" + bytes(MIB - 5)
    assert (place.served / "file").read_bytes() == expected
    assert (place.path / "file").read_bytes() == expected


def test_room_that_is_there_changes_nothing(place: Place) -> None:
    with (place.path / "file").open("x+b", 0) as file:
        file.write(CONTENT)
        fallocate(file.fileno(), 0, 0, 2 * MIB)
        file.seek(0)
        assert file.read() == CONTENT
    assert (place.served / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("mode", [PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE | KEEP_SIZE, ZERO_RANGE])
def test_zeros_in_the_middle_and_over_the_end(place: Place, mode: int) -> None:
    (place.path / "file").write_bytes(CONTENT)
    reader = (place.path / "file").open("rb", 0)
    with reader, (place.path / "file").open("r+b", 0) as file:
        assert reader.read() == CONTENT
        file.seek(MIB)
        file.write(b"written just before")
        fallocate(file.fileno(), mode, MIB, MIB // 2)
        expected = bytearray(CONTENT)
        expected[MIB : MIB + MIB // 2] = bytes(MIB // 2)
        reader.seek(0)
        assert reader.read() == expected
        fallocate(file.fileno(), mode, 3 * MIB - 7, 100)
        expected[-7:] = bytes(7 if mode & KEEP_SIZE else 100)
        file.seek(5)
        file.write(b"later")
        expected[5:10] = b"later"
        file.seek(0)
        assert file.read() == expected
        assert os.fstat(file.fileno()).st_size == len(expected)
    assert (place.served / "file").read_bytes() == expected
    assert (place.path / "file").read_bytes() == expected


@pytest.mark.parametrize("mode", [PUNCH_HOLE, ZERO_RANGE])
def test_who_has_it_open_sees_zeros_that_others_make(
    mount_share: MountShare, place: Place, mode: int
) -> None:
    """Samba tells nobody of zeros: it breaks no lease, and tells those without POSIX no time."""
    content = bytearray(b"x" * MIB)
    file, theirs = place.path / "file", mount_share(posix=False).path / place.path.name / "file"
    file.write_bytes(content)
    with theirs.open("r+b", buffering=0) as reader, file.open("r+b", buffering=0) as opened:
        assert reader.read(MIB) == content
        fallocate(opened.fileno(), mode | KEEP_SIZE, 5000, 10_000)
        content[5000:15_000] = bytes(10_000)
        wait_until(lambda: os.pread(reader.fileno(), MIB, 0) == content)
        if mode == PUNCH_HOLE:
            assert room(place.served / "file") < MIB


def test_a_hole_takes_no_room(place: Place) -> None:
    (place.path / "file").write_bytes(CONTENT)
    before = room(place.served / "file")
    with (place.path / "file").open("r+b", 0) as file:
        fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, MIB, MIB)
        os.fsync(file.fileno())
        assert room(place.served / "file") == before - MIB


def test_data_and_holes_are_found(place: Place) -> None:
    (place.path / "file").write_bytes(CONTENT)
    with (place.path / "file").open("r+b", 0) as file:
        number = file.fileno()
        fallocate(number, PUNCH_HOLE | KEEP_SIZE, 0, MIB)
        fallocate(number, PUNCH_HOLE | KEEP_SIZE, 2 * MIB, MIB // 2)
        os.pwrite(number, b"not yet there", 2 * MIB + MIB // 4)
        assert os.lseek(number, 0, os.SEEK_DATA) == MIB
        assert os.lseek(number, MIB + 5, os.SEEK_DATA) == MIB + 5
        assert os.lseek(number, 5, os.SEEK_HOLE) == 5
        assert os.lseek(number, MIB, os.SEEK_HOLE) == 2 * MIB
        assert os.lseek(number, 2 * MIB, os.SEEK_DATA) == 2 * MIB + MIB // 4
        assert os.lseek(number, 3 * MIB - 1, os.SEEK_HOLE) == 3 * MIB
        fallocate(number, PUNCH_HOLE | KEEP_SIZE, 2 * MIB, MIB)
        for offset, whence in ((2 * MIB, os.SEEK_DATA), (3 * MIB, os.SEEK_HOLE)):
            with refused(errno.ENXIO):
                os.lseek(number, offset, whence)


def test_who_may_only_write_is_told_of_data_too(place: Place) -> None:
    """Servers tell of holes to those alone who may read."""
    file = place.path / "file"
    with file.open("xb", buffering=0) as opened:
        opened.write(bytes(MIB))
        fallocate(opened.fileno(), PUNCH_HOLE | KEEP_SIZE, 0, MIB // 2)
        opened.write(b"data")
        assert os.lseek(opened.fileno(), MIB // 2, os.SEEK_DATA) == MIB // 2
        assert os.lseek(opened.fileno(), MIB // 2, os.SEEK_HOLE) == MIB + 4


def test_more_data_and_holes_than_fit_into_an_answer(place: Place) -> None:
    apart, pieces = 64 * 1024, 9000
    with (place.served / "file").open("xb", 0) as file:
        for piece in range(pieces):
            os.pwrite(file.fileno(), b"data", piece * apart)
    (place.served / "file").chmod(0o666)
    with (place.path / "file").open("r+b", 0) as file:
        number, end = file.fileno(), (pieces - 1) * apart
        fallocate(number, PUNCH_HOLE | KEEP_SIZE, end // 2, end // 2)
        assert os.lseek(number, 1, os.SEEK_HOLE) == 4096
        assert os.lseek(number, 4096, os.SEEK_DATA) == apart
        assert os.lseek(number, end // 2 + 1, os.SEEK_DATA) == end
        assert os.lseek(number, end, os.SEEK_HOLE) == end + 4


def test_a_small_file_is_data(place: Place) -> None:
    (place.path / "file").write_bytes(b"content")
    assert (place.path / "file").read_bytes() == b"content"
    with (place.path / "file").open("rb", 0) as file:
        assert os.lseek(file.fileno(), 3, os.SEEK_DATA) == 3
        assert os.lseek(file.fileno(), 3, os.SEEK_HOLE) == 7


def test_a_copy_has_the_holes_too(place: Place) -> None:
    with (place.path / "from").open("xb", 0) as file:
        file.truncate(64 * MIB)
        fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 0, 64 * MIB)
        os.pwrite(file.fileno(), CONTENT, 32 * MIB)
    with (place.path / "from").open("rb", 0) as file:
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 32 * MIB
    subprocess.run(["cp", place.path / "from", place.path / "to"], check=True)
    assert room(place.served / "to") <= 4 * MIB
    expected = bytes(32 * MIB) + CONTENT + bytes(29 * MIB)
    assert (place.served / "to").read_bytes() == expected


def test_what_nobody_keeps_is_refused(place: Place) -> None:
    with (place.path / "file").open("xb", 0) as file:
        for mode in (KEEP_SIZE, 0x08, 0x20):  # Behind the end; collapsing, inserting.
            with refused(errno.EOPNOTSUPP):
                fallocate(file.fileno(), mode, 0, MIB)
        with refused(errno.ENOSPC):
            fallocate(file.fileno(), 0, 0, 1 << 62)
    assert (place.served / "file").stat().st_size == 0


@only_posix
def test_nobody_runs_zeros_as_somebody_else(place: Place) -> None:
    (place.path / "file").write_bytes(CONTENT)
    (place.path / "file").chmod(0o4755)
    with (place.path / "file").open("r+b") as file:
        fallocate(file.fileno(), ZERO_RANGE, 0, MIB)
    assert stat.S_IMODE((place.path / "file").stat().st_mode) == 0o755


def test_nobody_s_appended_bytes_are_cut_off(mount_share: MountShare, place: Place) -> None:
    """Where another client may write, a file is not made longer: programs write zeros instead."""
    other = mount_share(cache="none").path / place.path.name / "file"
    (place.path / "file").write_bytes(CONTENT)
    with other.open("r+b", 0) as theirs, (place.path / "file").open("r+b", 0) as ours:
        theirs.seek(0, os.SEEK_END)
        theirs.write(CONTENT)
        with refused(errno.EOPNOTSUPP):
            fallocate(ours.fileno(), 0, 0, 7 * MIB)
        fallocate(ours.fileno(), 0, 0, 4 * MIB)
        fallocate(ours.fileno(), ZERO_RANGE, 5 * MIB, MIB // 2)
        os.posix_fallocate(ours.fileno(), 6 * MIB - 5, MIB)
    expected = bytearray(CONTENT + CONTENT + bytes(MIB - 5))
    expected[5 * MIB : 5 * MIB + MIB // 2] = bytes(MIB // 2)
    assert (place.served / "file").read_bytes() == expected
