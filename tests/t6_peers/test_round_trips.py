"""What users feel is round trips: each verb is one frame, and a listing asks about no file."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.bench import drop_caches
from tests.beds.distance import Distance
from tests.beds.mounted import Mounted, mount
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import HOST
from tests.t4_fuse.conftest import wait_until
from tests.t5_cli.waiting import wait_process_ended
from tests.t6_peers.conftest import MountShare

Count = Callable[[Callable[[], object]], Counter[str]]

ROUND_TRIP_S = 0.02


@pytest.fixture
def mounted(mount_share: MountShare) -> Mounted:
    """A mount that believes for a minute: what is counted is not asked for because time passed."""
    return mount_share("-o", "actimeo=60")


@pytest.fixture
def count(mounted: Mounted) -> Count:
    """Frames, by the command of their first request, that an action costs on that mount."""

    def frames() -> Counter[str]:
        return Counter(mounted.status()["io"]["round_trips"])

    def of(action: Callable[[], object]) -> Counter[str]:
        before = frames()
        action()
        return frames() - before

    return of


@pytest.fixture
def folder(work: Path, on_server: Callable[[Path], Path]) -> Path:
    """A large folder of which this mount has seen the beginning."""
    for index in range(2000):
        file = on_server(work) / f"file {index}"
        file.write_bytes(b"x" * index)
        file.chmod(0o666)  # we are root there, and somebody else through the mount
    (work / "file 0").stat()
    return work


def test_a_stat_is_one_compound(folder: Path, count: Count) -> None:
    assert count(lambda: [(folder / f"file {index}").stat() for index in range(3)]).total() <= 3


def test_a_miss_is_one_compound(folder: Path, count: Count) -> None:
    assert count((folder / "missing").exists) == {"CREATE": 1}


def test_a_long_listing_asks_about_no_file(folder: Path, count: Count) -> None:
    frames = count(lambda: subprocess.run(["ls", "-l", folder], check=True, capture_output=True))
    assert frames["QUERY_DIRECTORY"] <= 4
    assert frames["CREATE"] <= 4


def test_a_removal_is_a_look_and_one_compound(folder: Path, count: Count) -> None:
    (folder / "file 1").unlink()  # The first one also finds out what the server does not know.
    assert count((folder / "file 9").unlink).total() <= 2


def test_a_rename_is_two_looks_and_one_compound(folder: Path, count: Count) -> None:
    (folder / "file 1").rename(folder / "file 0")  # Finds out what the server does not know.
    assert count(lambda: (folder / "file 9").rename(folder / "moved")).total() <= 3


def test_a_new_directory_is_a_look_and_one_compound(folder: Path, count: Count) -> None:
    assert count((folder / "new").mkdir).total() <= 2


def test_a_small_file_is_read_with_a_look_and_one_compound(folder: Path, count: Count) -> None:
    assert count((folder / "file 1999").read_bytes) == {"CREATE": 2}


def test_what_was_read_is_read_again_without_a_request(folder: Path, count: Count) -> None:
    file = folder / "file 1999"
    file.read_bytes()
    assert count(file.read_bytes) == {}


def test_what_was_just_written_is_looked_at_and_not_read(folder: Path, count: Count) -> None:
    file = folder / "written"
    file.write_bytes(b"x" * 5000)
    assert count(lambda: (file.read_bytes(), file.stat())) == {"CREATE": 1}


def test_a_new_file_in_a_directory_that_is_known_is_three_requests(
    folder: Path, count: Count, mounted: Mounted
) -> None:
    """Nobody has to ask whether it is there, or what it is then."""

    def write(first: int) -> None:
        for index in range(100):
            (folder / f"new {first + index}").write_bytes(b"x" * 5000)

    def look() -> None:
        assert all((folder / f"new {index}").stat().st_size == 5000 for index in range(200))

    write(0)
    assert count(lambda: write(100)) == {"CREATE": 100, "WRITE": 100, "CLOSE": 100}
    assert count(look).total() <= 15  # The times are not what the mount has set.
    status = mounted.status()
    assert status["handles"]["cached"] == status["leases"]["file"] == 0
    assert status["leases"]["directory"] == 2


def test_a_directory_that_is_only_held_open_is_known(work: Path, count: Count) -> None:
    """So do those who use names relative to it: tar -C, find, git."""
    for name in ("one", "two"):
        (work / name).mkdir()
    (work / "one" / "file").write_bytes(b"x")
    held = os.open(work, os.O_RDONLY)
    inner = os.open("one", os.O_RDONLY, dir_fd=held)
    try:

        def use() -> None:
            for index in range(20):
                os.stat("file", dir_fd=inner)
                os.stat("one/file", dir_fd=held)
                with pytest.raises(FileNotFoundError):
                    os.stat(f"nothing {index}", dir_fd=inner)

        assert count(use).total() <= 6
        assert count(use) == {}
        assert sorted(os.listdir(held)) == ["one", "two"]  # noqa: PTH208 - what is held
        assert os.listdir(inner) == ["file"]  # noqa: PTH208
    finally:
        os.close(held)
        os.close(inner)


def test_what_unpacks_a_file_waits_five_times(work: Path, count: Count, mounted: Mounted) -> None:
    """Made, written, given its times, left with its mode and owner, given a mode, closed."""

    def unpack(first: int) -> None:
        for index in range(first, first + 50):
            file = os.open(work / f"file {index}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            os.fchmod(file, 0o600)
            os.write(file, bytes(5000))
            os.utime(file, (10**9, 10**9))
            os.fchown(file, os.fstat(file).st_uid, os.fstat(file).st_gid)
            os.fchmod(file, 0o640)
            os.close(file)

    unpack(0)
    breaks = mounted.status()["leases"]["breaks"]
    frames = count(lambda: unpack(50))
    assert frames == {"CREATE": 100, "WRITE": 50, "SET_INFO": 50, "CLOSE": 50}
    assert mounted.status()["leases"]["breaks"] == breaks
    made = (work / "file 60").stat()
    assert (made.st_size, made.st_mtime, made.st_mode & 0o777) == (5000, 10**9, 0o640)


def test_who_writes_one_file_after_the_other_has_nothing_listed(work: Path, count: Count) -> None:
    """As rsync does: each under another name first, and looked at before it gets its own."""

    def copy(first: int) -> None:
        for index in range(first, first + 20):
            hidden = work / f".file {index}"
            hidden.write_bytes(bytes(5000))
            assert hidden.stat().st_size == 5000
            hidden.rename(work / f"file {index}")

    copy(0)
    assert count(lambda: copy(20)) == {"CREATE": 60, "WRITE": 20, "CLOSE": 20}


def test_one_listing_tells_of_a_thousand_files_that_they_have_no_attributes(
    folder: Path, count: Count
) -> None:
    """What coreutils 9.6 and later ask about each file for `ls -l`."""
    names = sorted(entry.path for entry in os.scandir(folder))

    def ask() -> None:
        assert not any(os.listxattr(name) for name in names)

    assert count(ask).total() <= 50
    assert count(ask) == {}


def test_what_is_allowed_is_asked_once_if_its_mode_leaves_it_open(
    folder: Path, on_server: Callable[[Path], Path], count: Count
) -> None:
    (on_server(folder) / "file 1999").chmod(0o640)
    (folder / "file 1999").stat()
    (folder / "file 0").stat()
    assert count(lambda: os.access(folder / "file 0", os.R_OK | os.W_OK)) == {}
    assert count(lambda: os.access(folder / "file 1999", os.R_OK)) == {"CREATE": 1}
    assert count(lambda: os.access(folder / "file 1999", os.W_OK)) == {}


@pytest.mark.parametrize("actimeo", [60, 0], ids=["leased directory", "no leased directory"])
def test_what_is_set_on_an_open_file_breaks_no_lease_of_ours(
    work: Path, mount_share: MountShare, actimeo: int
) -> None:
    mounted = mount_share("-o", f"actimeo={actimeo}")
    place = mounted.path / work.name

    def breaks() -> int:
        count: int = mounted.status()["leases"]["breaks"]
        return count

    with (place / "file").open("w+b", buffering=0) as file:
        file.write(bytes(5000))
        assert mounted.status()["leases"]["file"] == 1
        assert bool(mounted.status()["leases"]["directory"]) == bool(actimeo)
        for change in (
            lambda: os.fchmod(file.fileno(), 0o640),
            lambda: os.setxattr(file.fileno(), "user.mark", b"x"),
            lambda: os.getxattr(file.fileno(), "user.mark"),
            lambda: os.utime(file.fileno(), (10**9, 10**9)),
            lambda: os.truncate(file.fileno(), 100),
            lambda: os.utime(place, (10**9, 10**9)),
            lambda: place.chmod(0o700),
        ):
            change()
            assert breaks() == 0
        (place / "file").stat()
        assert breaks() == 0
        assert mounted.status()["leases"]["file"] == 1


def test_a_large_file_is_read_in_large_pieces(
    work: Path, on_server: Callable[[Path], Path], count: Count
) -> None:
    (on_server(work) / "large").write_bytes(bytes(8 << 20))
    frames = count((work / "large").read_bytes)
    assert frames["READ"] == 8


def test_what_the_kernel_has_dropped_is_read_again_from_memory(
    work: Path, on_server: Callable[[Path], Path], mount_share: MountShare
) -> None:
    """Also after the last handle is closed, and, if a listing vouches for it, without an open."""
    mounted = mount_share("-o", "actimeo=60,nohandlecache")
    (on_server(work) / "large").write_bytes(bytes(8 << 20))
    (on_server(work) / "small").write_bytes(bytes(5000))
    for file in on_server(work).iterdir():
        os.utime(file, (1e9, 1e9))  # What has just changed may change again unnoticed.
    folder = mounted.path / work.name

    def asked() -> Counter[str]:
        frames = mounted.status()["io"]["round_trips"]
        return Counter({command: frames.get(command, 0) for command in ("CREATE", "READ")})

    def frames_of_reading(name: str) -> Counter[str]:
        before = asked()
        with (folder / name).open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert set(file.readall()) == {0}
        return asked() - before

    assert len(list(folder.iterdir())) == 2
    assert frames_of_reading("large")["READ"] == 8
    assert frames_of_reading("large") == {"CREATE": 1}
    assert frames_of_reading("small") == {"CREATE": 1}
    assert frames_of_reading("small") == {}


def test_a_small_file_is_written_in_one_request(folder: Path, count: Count) -> None:
    def write() -> None:
        with (folder / "written").open("wb", buffering=0) as file:
            for _ in range(100):
                file.write(b"a line of a log\n")

    frames = count(write)
    assert frames["WRITE"] == 1
    assert frames.total() <= 5


def test_what_was_written_arrives_when_the_daemon_is_told_to_end(
    mount_share: MountShare, samba: SambaServer
) -> None:
    """A file that is still open, its bytes gathered: SIGTERM sends them before anything ends."""
    mounted = mount_share()
    descriptor = os.open(mounted.path / "open at the end", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"precious" * 1000)
    daemon = os.pidfd_open(mounted.pid)
    signal.pidfd_send_signal(daemon, signal.SIGTERM)
    assert wait_process_ended(daemon)
    assert (samba.share_path() / "open at the end").read_bytes() == b"precious" * 1000


def test_many_lookups_in_one_directory_are_one_listing(folder: Path, count: Count) -> None:
    def look() -> None:
        for index in range(500):
            assert (folder / f"file {index}").stat().st_size == index

    assert count(look).total() < 20


def test_a_listing_never_hides_what_was_just_changed(folder: Path) -> None:
    """Whatever the listing says that a burst of questions brought, our own changes count."""
    for index in range(60):
        changed = folder / f"file {index}"
        with changed.open("ab") as file:
            file.write(b"more")
        assert changed.stat().st_size == index + 4
        os.truncate(changed, 3)
        assert changed.stat().st_size == 3
        moved = changed.rename(folder / f"moved {index}")
        assert not changed.exists()
        assert moved.stat().st_size == 3
        moved.unlink()
        assert not moved.exists()
        assert (folder / f"file {index + 100}").exists()


def test_a_small_file_that_is_held_open_follows_the_server(
    work: Path, on_server: Callable[[Path], Path]
) -> None:
    """What came with the open is believed for a moment; then the file is opened for good."""
    (on_server(work) / "held").write_bytes(b"first")
    (on_server(work) / "held").chmod(0o666)
    with (work / "held").open("rb", buffering=0) as file:
        assert file.read() == b"first"
        (work / "held").write_bytes(b"second, by us")
        file.seek(0)
        assert file.read() == b"second, by us"
        (work / "held").unlink()
        file.seek(0)
        assert file.read() == b"second, by us"


def test_what_another_client_has_just_made_is_there(folder: Path, mount_share: MountShare) -> None:
    """That a name is missing is believed for as long as nobody makes one."""
    theirs = mount_share().path / folder.name
    for index in range(50):
        assert (folder / f"file {index}").exists()
        (theirs / f"made {index}").touch()
        # The server tells us at the same time as it tells them that it is done.
        wait_until((folder / f"made {index}").exists)


def test_a_warm_tree_is_walked_without_a_request(
    mounted: Mounted, work: Path, count: Count
) -> None:
    for folder in range(10):
        (work / f"folder-{folder}").mkdir()
        for file in range(20):
            (work / f"folder-{folder}" / f"file-{file}").write_bytes(b"x" * file)

    def walk() -> None:
        subprocess.run(["find", work, "-ls"], check=True, capture_output=True)

    walk()
    assert count(walk) == {}
    if drop_caches():
        assert count(walk) == {}
    assert mounted.status()["leases"]["directory"] >= 11
    (work / "folder-3" / "file-3").write_bytes(b"new")
    (work / "folder-4" / "file-4").unlink()
    assert count(walk).total() <= 4  # The new time, and what the folders are now.
    assert (work / "folder-3" / "file-3").stat().st_size == 3
    (work / "folder-5").chmod(0o711)
    os.utime(work / "folder-6", (1e9, 1e9))
    drop_caches()
    assert (work / "folder-5").stat().st_mode & 0o777 == 0o711
    assert (work / "folder-6").stat().st_mtime == 1e9


def test_the_server_copies(mounted: Mounted, work: Path, tmp_path: Path) -> None:
    """``cp`` sends and fetches nothing of a file, wherever it begins and ends."""
    content = random.Random(1).randbytes(40 * 1024 * 1024 + 1)
    (tmp_path / "content").write_bytes(content)
    subprocess.run(["cp", tmp_path / "content", work / "from"], check=True)
    before = mounted.status()["io"]
    subprocess.run(["cp", work / "from", work / "to"], check=True)
    after = mounted.status()["io"]
    assert (after["read_bytes"], after["written_bytes"]) == (
        before["read_bytes"],
        before["written_bytes"],
    )
    assert (work / "to").read_bytes() == content


def test_small_files_far_away_cost_one_round_trip_each(samba: SambaServer, tmp_path: Path) -> None:
    folder = samba.share_path() / "far"
    folder.mkdir()
    for index in range(300):
        (folder / f"file {index}").write_bytes(b"x" * 4096)
        (folder / f"file {index}").chmod(0o666)
    with (
        Distance(HOST, samba.port, round_trip_s=ROUND_TRIP_S) as distance,
        mount(
            f"//{HOST}:{distance.port}/share",
            tmp_path / "far",
            *("-o", f"credentials={samba.credentials_file()}"),
        ) as mounted,
    ):
        before = mounted.status()["io"]["round_trips"]
        began = time.monotonic()
        for index in range(300):
            assert (mounted.path / "far" / f"file {index}").read_bytes() == b"x" * 4096
        waited_s = time.monotonic() - began
        after = Counter(mounted.status()["io"]["round_trips"])
    after.subtract(before)
    assert after["CREATE"] + after["QUERY_DIRECTORY"] + after["READ"] <= 1.1 * 300
    assert after["QUERY_INFO"] == 0
    assert waited_s <= 0.6 * 300 * ROUND_TRIP_S  # The next ones come while one is read.
