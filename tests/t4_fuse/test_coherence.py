"""Two clients of one share: what one has closed, the other one sees when it opens the file.

What we keep of a file after its last close, the handle included, must be in nobody's way.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from tests.t4_fuse.conftest import MountShare, Place, only_posix, wait_until

CUT_IS_SEEN_WITHIN_S = 4.0
"""Long after ``actimeo``, and long before an answer is too old to be believed."""


def test_a_change_of_the_same_size_is_seen_after_reopening(place: Place, theirs: Path) -> None:
    file = place.path / "file"
    file.write_bytes(b"old content")
    assert file.read_bytes() == b"old content"
    (theirs / "file").write_bytes(b"new content")
    wait_until(lambda: file.read_bytes() == b"new content")  # The server tells us meanwhile.


def test_a_file_that_they_replaced(place: Place, theirs: Path) -> None:
    file = place.path / "file"
    file.write_bytes(b"old")
    assert file.read_bytes() == b"old"
    (theirs / "new").write_bytes(b"the new one")
    (theirs / "new").rename(theirs / "file")
    assert file.read_bytes() == b"the new one"


@only_posix  # Elsewhere there are no links to make.
def test_a_name_of_several_that_they_gave_to_another(place: Place, theirs: Path) -> None:
    """The kernel believes in a name until it is told, and there is another that leads to it."""
    ours = place.path
    (ours / "one").write_bytes(b"linked")
    (ours / "two").hardlink_to(ours / "one")
    (ours / "other").write_bytes(b"the other one")
    for name in ("one", "two", "other"):
        (ours / name).stat()
    (theirs / "one").rename(theirs / "three")
    (theirs / "other").rename(theirs / "one")
    wait_until((ours / "three").exists)
    assert (ours / "one").read_bytes() == b"the other one"
    assert (ours / "two").read_bytes() == (ours / "three").read_bytes() == b"linked"


def test_a_file_that_they_removed_is_not_the_new_one_with_its_id(
    place: Place, theirs: Path
) -> None:
    """What was opened from memory has no handle there, so the server may give its id away."""
    file = place.path / "file"
    file.write_bytes(b"small")
    file.chmod(0o666)
    wait_until((theirs / "file").exists)
    for _ in range(3):
        file.read_bytes()
    with file.open("rb", buffering=0) as opened:
        (theirs / "file").unlink()
        wait_until(lambda: not file.exists())
        for number in range(20):
            (place.path / f"new-{number}").write_bytes(b"a longer one")
        assert os.fstat(opened.fileno()).st_size == 5
        assert opened.read() == b"small"
    assert all(each.read_bytes() == b"a longer one" for each in place.path.iterdir())


def test_a_file_that_they_removed(place: Place, theirs: Path) -> None:
    file = place.path / "file"
    file.write_bytes(b"x")
    assert file.read_bytes() == b"x"
    (theirs / "file").unlink()
    assert not (place.served / "file").exists()  # Our kept handle does not keep it there.
    with pytest.raises(FileNotFoundError):
        file.open("rb")


@only_posix
@pytest.mark.parametrize("opens_before", [True, False])
def test_a_mode_that_they_have_changed_is_set_again(
    place: Place, theirs: Path, opens_before: bool
) -> None:
    """No lease tells of theirs: to us the mode may look as if it was what it shall be."""
    file = place.path / "file"
    file.write_bytes(b"private")
    file.chmod(0o600)
    assert list(place.path.iterdir()) == [file]
    opened = os.open(file, os.O_WRONLY) if opens_before else None
    (theirs / "file").chmod(0o666)
    file.stat()  # It may still be 0600 to us.
    last = os.open(file, os.O_WRONLY)
    os.fchmod(last, 0o600)
    assert (place.served / "file").stat().st_mode & 0o777 == 0o600
    for each in filter(None, (opened, last)):
        os.close(each)


@only_posix
@pytest.mark.parametrize("is_made_anew", [True, False])
def test_a_file_that_they_removed_while_it_is_open_here_from_memory(
    place: Place, theirs: Path, is_made_anew: bool
) -> None:
    file = place.path / "file"
    look_around(place.path)
    file.write_bytes(b"what we wrote")
    with file.open("rb", buffering=0) as reader:
        (theirs / "new").write_bytes(b"another")  # Before: it shall not get the id that is freed.
        (theirs / "file").unlink()
        if is_made_anew:
            (theirs / "new").rename(theirs / "file")
        os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.fstat(reader.fileno()).st_size == len(b"what we wrote")
        assert reader.readall() == b"what we wrote"
        wait_until(lambda: file.exists() == is_made_anew)
        if is_made_anew:
            wait_until(lambda: file.read_bytes() == b"another")


def test_a_file_that_they_wrote_in_place(place: Place, theirs: Path) -> None:
    """The server breaks a lease on reading behind the write's back, so a moment is allowed."""
    file = place.path / "file"
    file.write_bytes(b"old content")
    assert file.read_bytes() == b"old content"
    with (theirs / "file").open("r+b") as writer:
        writer.write(b"NEW")
    wait_until(lambda: file.read_bytes() == b"NEW content")


def test_who_has_it_open_sees_their_write(place: Place, theirs: Path) -> None:
    file = place.path / "file"
    file.write_bytes(b"o" * 10_000)
    with file.open("rb", buffering=0) as reader:
        assert reader.read(5) == b"ooooo"
        with (theirs / "file").open("r+b") as writer:
            writer.write(b"N" * 10_000)
        wait_until(lambda: os.pread(reader.fileno(), 5, 5000) == b"NNNNN")


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("reads_by", [os.O_RDONLY, os.O_RDWR])
def test_who_has_it_open_for_writing_sees_their_writes(
    place: Place, theirs: Path, writes: bool, reads_by: int
) -> None:
    """What we have read a moment before is not given to a kernel that knows of another time."""
    file = place.path / "file"
    file.write_bytes(bytes(16_384))
    file.chmod(0o666)
    wait_until((theirs / "file").exists)
    ours, other = os.open(file, os.O_RDWR), os.open(theirs / "file", os.O_RDWR)
    reader = os.open(file, reads_by)
    for number in range(8 if place.posix else 2):  # Where times don't tell it takes a second.
        if writes:
            os.pwrite(ours, b"ours %d" % number, 12_000)
        os.pwrite(other, b"theirs %d" % number, 0)
        os.fsync(other)
        wait_until(lambda: os.pread(reader, 8, 0) == b"theirs %d" % number)  # noqa: B023
    for each in (ours, other, reader):
        os.close(each)


def test_who_has_written_sees_that_they_have_cut_it(place: Place, theirs: Path) -> None:
    file = place.path / "file"
    file.write_bytes(bytes(10_000))
    file.chmod(0o666)
    wait_until((theirs / "file").exists)
    with file.open("r+b", buffering=0) as ours:
        ours.write(b"ours")
        os.fsync(ours)
        os.truncate(theirs / "file", 100)
        began_s = time.monotonic()
        wait_until(lambda: os.fstat(ours.fileno()).st_size == 100)
        assert time.monotonic() - began_s < CUT_IS_SEEN_WITHIN_S
        assert ours.seek(0, os.SEEK_END) == 100


def test_who_appends_does_so_behind_what_they_wrote(place: Place, theirs: Path) -> None:
    file = place.path / "log"
    for number in range(20):
        with (file, theirs / "log")[number % 2].open("ab") as writer:
            writer.write(b"%02d\n" % number)
    assert (place.served / "log").read_bytes() == b"".join(b"%02d\n" % n for n in range(20))


@pytest.mark.parametrize("cache", ["strict", "none"])
def test_two_who_keep_a_log_open_append_in_turn(
    mount_share: MountShare, served_folder: Path, cache: str
) -> None:
    """Each one's kernel thinks that the log ends behind its own last line."""
    logs = [mount_share(cache=cache).path / served_folder.name / "log" for _ in range(2)]
    logs[0].touch()
    logs[0].chmod(0o666)
    wait_until(logs[1].exists)
    writers = [os.open(log, os.O_WRONLY | os.O_APPEND) for log in logs]
    lines = [b"%02d\n" % number for number in range(20)]
    for number, line in enumerate(lines):
        assert os.write(writers[number % 2], line) == len(line)
    assert (served_folder / "log").read_bytes() == b"".join(lines)
    for writer in writers:
        os.close(writer)


@pytest.mark.parametrize("cache", ["strict", "none"])
def test_who_looks_at_a_log_meanwhile_does_not_have_lines_overwritten(
    mount_share: MountShare, served_folder: Path, cache: str
) -> None:
    """An answer with the new size may pass the append that the kernel sent with the old one."""
    mounts = [mount_share(cache=cache, actimeo_s=0.0).path for _ in range(2)]
    logs = [mount / served_folder.name / "log" for mount in mounts]
    logs[0].touch()
    logs[0].chmod(0o666)
    wait_until(logs[1].exists)
    writers = [os.open(log, os.O_WRONLY | os.O_APPEND) for log in logs]
    lines = [b"%02d\n" % number for number in range(60)]
    is_over = Event()

    def look(log: Path) -> None:
        while not is_over.is_set():
            log.stat()

    with ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(look, log) for log in logs]
        for number, line in enumerate(lines):
            os.write(writers[number % 2], line)
        is_over.set()
    assert [each.result() for each in looking] == [None, None]
    assert (served_folder / "log").read_bytes() == b"".join(lines)
    for writer in writers:
        os.close(writer)


def test_a_descriptor_that_appends_from_now_on(place: Place, theirs: Path) -> None:
    with (place.path / "log").open("xb", buffering=0) as ours:
        ours.write(b"ours\n")
        fcntl.fcntl(ours, fcntl.F_SETFL, os.O_APPEND)
        with (theirs / "log").open("ab") as other:
            other.write(b"theirs\n")
        ours.write(b"ours again\n")
        fcntl.fcntl(ours, fcntl.F_SETFL, 0)
        os.pwrite(ours.fileno(), b"OURS", 0)
    assert (place.served / "log").read_bytes() == b"OURS\ntheirs\nours again\n"


def test_who_appends_begins_anew_where_they_have_cut_it_to_nothing(
    place: Place, theirs: Path
) -> None:
    """As a log is rotated; nobody wants zeros where its old lines were."""
    log = place.path / "log"
    log.touch()
    log.chmod(0o666)
    writer = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.write(writer, b"one\n")
    os.fsync(writer)
    wait_until((theirs / "log").exists)
    os.truncate(theirs / "log", 0)
    os.write(writer, b"two\n")
    os.fsync(writer)
    assert (place.served / "log").read_bytes() == b"two\n"
    os.close(writer)


def test_directories_with_kept_files_can_be_moved_and_removed(place: Place, theirs: Path) -> None:
    for number, (mover, remover) in enumerate(((place.path, theirs), (theirs, place.path))):
        folder = place.path / f"folder-{number}"
        folder.mkdir()
        (folder / "file").write_bytes(b"kept")
        assert (folder / "file").read_bytes() == b"kept"
        look_around(folder)
        rename_directory(mover / folder.name, mover / f"moved-{number}")
        moved = remover / f"moved-{number}"
        wait_until((moved / "file").exists)  # Nobody waits until all others know.
        assert (moved / "file").read_bytes() == b"kept"
        look_around(moved)
        (moved / "file").unlink()
        moved.rmdir()
    assert list(place.served.iterdir()) == []


def test_one_removes_what_the_other_has_moved(place: Place, theirs: Path) -> None:
    """Closing what is known of a directory goes before its removal, which waits for the other."""
    for number in range(5):
        folder = place.path / f"folder-{number}"
        (folder / "directory" / "inner").mkdir(parents=True)
        rename_directory(theirs / folder.name / "directory", theirs / folder.name / "moved")
        wait_until((folder / "moved").exists)
        shutil.rmtree(folder)
    wait_until(lambda: os.listdir(theirs) == [])  # noqa: PTH208 - the kernel's list


def rename_directory(old: Path, new: Path) -> None:
    """Rename what the other client may have leased.

    Samba 4.22 asks for these leases and can miss that they are given back in that instant: after
    35 s it refuses. The second time there is nothing to ask for.
    """
    try:
        old.rename(new)
    except PermissionError:
        old.rename(new)


def look_around(folder: Path) -> None:
    """Ask for as many names as make the mount read the directory, and lease it."""
    for number in range(10):
        assert not (folder / f"missing-{number}").exists()


@pytest.mark.parametrize("truncate", [os.ftruncate, lambda file, _size: reopened(file)])
def test_what_was_cut_off_and_grew_again_is_not_what_was_written(
    place: Place, truncate: Callable[[int, int], None]
) -> None:
    file = place.path / "file"
    look_around(place.path)
    with file.open("wb", buffering=0) as writer:
        writer.write(b"hello")
        os.fsync(writer.fileno())
        truncate(writer.fileno(), 0)
        os.ftruncate(writer.fileno(), 5)
    with file.open("rb", buffering=0) as reader:
        os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert reader.readall() == bytes(5)


def reopened(file: int) -> None:
    """Have another handle cut the file to nothing."""
    os.close(os.open(f"/proc/self/fd/{file}", os.O_WRONLY | os.O_TRUNC))


def test_times_that_were_set_stay(place: Place) -> None:
    """A kept handle that has written does not set them again when it is closed."""
    file = place.path / "file"
    file.write_bytes(b"x")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    file.read_bytes()
    (place.path / "file").rename(place.path / "moved")  # This closes what is kept.
    assert (place.path / "moved").stat().st_mtime == 1_000_000_000


@pytest.mark.parametrize("seed", range(3))
def test_random_changes_by_both(place: Place, theirs: Path, seed: int) -> None:
    """Names follow ``actimeo``, so they stay the same here."""
    choice = random.Random(seed)
    contents = dict.fromkeys("abcd", b"")
    for name in contents:
        (place.path / name).touch()
    for _ in range(150):
        here, there = choice.sample((place.path, theirs), 2)
        name, act = choice.choice("abcd"), choice.choice(["replace", "append", "read"])
        data = choice.randbytes(choice.choice([1, 100, 5000, 70_000]))
        if act == "replace":
            (here / name).write_bytes(data)
            contents[name] = data
        elif act == "append":
            with (here / name).open("ab") as writer:
                writer.write(data)
            contents[name] += data
            # A write breaks the others' leases behind its own back.
            wait_until(lambda: (there / name).read_bytes() == contents[name])  # noqa: B023
        assert all((here / known).read_bytes() == contents[known] for known in contents)
