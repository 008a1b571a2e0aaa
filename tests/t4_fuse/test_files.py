"""File contents: opening, reading, writing, cutting, appending, mapping."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import random
from pathlib import Path

import pytest

from tests.t4_fuse.conftest import MountShare, Place, wait_until


def test_what_is_written_is_read_and_is_on_the_server(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"hello")
    assert file.read_bytes() == b"hello"
    assert (place.served / "file").read_bytes() == b"hello"
    assert file.stat().st_size == 5


def test_opening_what_is_not_there(place: Place) -> None:
    with pytest.raises(FileNotFoundError):
        (place.path / "nothing").open("rb")
    with pytest.raises(FileNotFoundError):
        (place.path / "nothing" / "below").open("wb")


def test_o_excl_refuses_what_exists(place: Place) -> None:
    file = place.path / "file"
    file.touch()
    with pytest.raises(FileExistsError):
        file.open("xb")
    with pytest.raises(FileExistsError):
        os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR)


def test_o_excl_refuses_what_another_client_has_just_made(place: Place) -> None:
    file = place.path / "file"
    assert not file.exists()  # Now the kernel may believe that.
    (place.served / "file").touch()
    with pytest.raises(FileExistsError):
        os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR)


def test_o_trunc_cuts_and_keeps_extended_attributes(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"a longer content")
    os.setxattr(file, "user.mark", b"kept")
    file.write_bytes(b"short")
    assert file.read_bytes() == b"short"
    assert os.getxattr(file, "user.mark") == b"kept"


def test_a_file_without_content(place: Place) -> None:
    file = place.path / "file"
    file.touch()
    assert file.read_bytes() == b""
    file.write_bytes(b"")
    assert file.stat().st_size == 0


def test_directories_are_not_opened_for_writing(place: Place) -> None:
    with pytest.raises(IsADirectoryError):
        os.open(place.path, os.O_WRONLY)


def test_a_handle_does_what_it_was_opened_for(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"content")
    with file.open("rb", buffering=0) as reader, pytest.raises(OSError, match="Bad file"):
        os.write(reader.fileno(), b"x")
    with file.open("ab", buffering=0) as writer, pytest.raises(OSError, match="Bad file"):
        os.read(writer.fileno(), 1)


def test_large_contents_arrive_whole(place: Place) -> None:
    content = random.Random(1).randbytes(20_000_000)
    file = place.path / "large"
    file.write_bytes(content)
    assert hashlib.sha256((place.served / "large").read_bytes()).digest() == (
        hashlib.sha256(content).digest()
    )
    digest = hashlib.sha256()
    with file.open("rb") as reader:
        while piece := reader.read(100_000):
            digest.update(piece)
    assert digest.digest() == hashlib.sha256(content).digest()


def test_what_was_not_written_is_zeros(place: Place) -> None:
    with (place.path / "sparse").open("w+b") as file:
        file.seek(1 << 20)
        file.write(b"end")
        file.flush()
        file.seek(0)
        assert file.read(100) == bytes(100)
        file.seek((1 << 20) - 10)
        assert file.read() == bytes(10) + b"end"


def test_the_size_includes_what_is_only_gathered(place: Place) -> None:
    file = place.path / "file"
    with file.open("wb", buffering=0) as writer:
        writer.write(b"x" * 10_000)
        assert file.stat().st_size == 10_000
        writer.write(b"y")
        assert os.fstat(writer.fileno()).st_size == 10_001


def test_another_handle_reads_what_was_written(place: Place) -> None:
    file = place.path / "file"
    with file.open("wb", buffering=0) as writer, file.open("rb", buffering=0) as reader:
        writer.write(b"first")
        assert reader.read(100) == b"first"
        writer.write(b" second")
        assert reader.read(100) == b" second"


def test_truncate_cuts_and_extends(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"0123456789")
    os.truncate(file, 4)
    assert file.read_bytes() == b"0123"
    os.truncate(file, 6)
    assert file.read_bytes() == b"0123\0\0"
    assert (place.served / "file").read_bytes() == b"0123\0\0"


def test_ftruncate_after_gathered_writes(place: Place) -> None:
    with (place.path / "file").open("w+b", buffering=0) as file:
        file.write(b"0123456789")
        os.ftruncate(file.fileno(), 4)
        assert os.fstat(file.fileno()).st_size == 4
        file.seek(0)
        assert file.read() == b"0123"
        file.write(b"ab")
        file.seek(0)
        assert file.read() == b"0123ab"


def test_truncate_by_name_is_seen_by_who_reads(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"x" * 100_000)
    with file.open("rb", buffering=0) as reader:
        assert len(reader.read(50_000)) == 50_000
        os.truncate(file, 10)
        assert os.fstat(reader.fileno()).st_size == 10
        assert reader.read(100) == b""
        reader.seek(0)
        assert reader.read(100) == b"x" * 10


def test_appenders_do_not_overwrite_each_other(place: Place) -> None:
    file = place.path / "log"
    writers = [os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY) for _ in range(4)]
    for line in range(50):
        for number, writer in enumerate(writers):
            os.write(writer, b"%d:%02d\n" % (number, line))
    for writer in writers:
        os.close(writer)
    lines = file.read_bytes().splitlines()
    assert lines == [b"%d:%02d" % (number, line) for line in range(50) for number in range(4)]


def test_who_appends_does_so_behind_what_the_server_itself_wrote(place: Place) -> None:
    """No lease is broken by that, so nobody may append where it thinks that the file ends."""
    file = place.path / "log"
    file.write_bytes(b"ours\n")
    assert file.stat().st_size == 5  # Now the kernel may believe that.
    with (place.served / "log").open("ab") as other:
        other.write(b"theirs\n")
    with file.open("ab") as writer:
        writer.write(b"ours again\n")
    assert (place.served / "log").read_bytes() == b"ours\ntheirs\nours again\n"


def test_append_after_truncate(place: Place) -> None:
    file = place.path / "log"
    with file.open("ab", buffering=0) as writer:
        writer.write(b"0123456789")
        os.truncate(file, 3)
        writer.write(b"x")
    assert file.read_bytes() == b"012x"


def test_mapped_writes_reach_the_server(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"a" * 10_000)
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapping:
        mapping[5000:5003] = b"XYZ"
        mapping.flush()
        assert (place.served / "file").read_bytes()[4999:5004] == b"aXYZa"
        mapping[0:1] = b"Q"
    assert file.read_bytes()[:2] == b"Qa"


@pytest.mark.parametrize("mode", ["r+b", "rb"])
def test_fsync(place: Place, mode: str) -> None:
    file = place.path / "file"
    file.write_bytes(b"x")
    with file.open(mode, buffering=0) as opened:
        if opened.writable():
            opened.write(b"synced")
        os.fsync(opened.fileno())
        os.fdatasync(opened.fileno())
    directory = os.open(place.path, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def test_a_close_that_succeeds_means_that_the_server_has_it(place: Place) -> None:
    with (place.path / "file").open("wb", buffering=0) as writer:
        for number in range(100):
            writer.write(b"%06d\n" % number)
    assert (place.served / "file").read_bytes() == b"".join(b"%06d\n" % n for n in range(100))


@pytest.mark.parametrize("posix", [True, False])
def test_what_the_server_itself_changes_is_seen_after_actimeo_without_leases(
    mount_share: MountShare, served_folder: Path, *, posix: bool
) -> None:
    path = mount_share(posix=posix, leases=False).path / served_folder.name
    file, served = path / "file", served_folder / "file"
    file.write_bytes(b"old content")
    assert file.read_bytes() == b"old content"
    served.write_bytes(b"new content")  # The same size: only the time tells.
    wait_until(lambda: file.read_bytes() == b"new content")
    (served_folder / "other").write_bytes(b"another one")
    (served_folder / "other").rename(served)
    wait_until(lambda: file.read_bytes() == b"another one")
    served.unlink()
    wait_until(lambda: not file.exists())


def test_what_the_server_itself_changes_is_seen_by_who_has_the_file_open(place: Place) -> None:
    file = place.path / "log"
    file.write_bytes(b"one\n")
    with file.open("rb", buffering=0) as reader:
        assert reader.read(100) == b"one\n"
        with (place.served / "log").open("ab") as other:
            other.write(b"two\n")
        wait_until(lambda: os.fstat(reader.fileno()).st_size == 8)
        assert reader.read(100) == b"two\n"


def test_without_a_cache_changes_are_seen_at_once(
    mount_share: MountShare, served_folder: Path
) -> None:
    path = mount_share(cache="none").path / served_folder.name
    (path / "file").write_bytes(b"one")
    with (path / "file").open("rb", buffering=0) as reader:
        assert reader.read(10) == b"one"
        (served_folder / "file").write_bytes(b"two and more")
        assert (path / "file").stat().st_size == 12
        reader.seek(0)
        assert reader.read(20) == b"two and more"
    (served_folder / "file").unlink()
    assert not (path / "file").exists()


def test_a_read_only_mount(mount_share: MountShare, served_folder: Path) -> None:
    (served_folder / "file").write_bytes(b"x")
    path = mount_share(ro=True).path / served_folder.name
    assert (path / "file").read_bytes() == b"x"
    with pytest.raises(OSError, match="Read-only") as refused:
        (path / "new").touch()
    assert refused.value.errno == errno.EROFS
