"""Symbolic links, hard links and special files, ours and the server's."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from tests.t4_fuse.conftest import MountShare, Place, only_posix, only_windows
from tests.t4_fuse.libc import leads_to

TARGETS = [
    *("file", "../up/there", "/etc/passwd", "a/../b", "deep/er/still", "nowhere", "./here"),
    *("with space/and.dots.", "a:b*?", "ümläut/\u540d", "trailing/", "double//slash", "x" * 1000),
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_link_leads_where_it_was_meant_to(place: Place, target: str) -> None:
    link = place.path / "link"
    link.symlink_to(target)
    assert leads_to(link) == target
    facts = link.lstat()
    assert stat.S_ISLNK(facts.st_mode)
    assert facts.st_size == len(target.encode())
    assert stat.S_IMODE(facts.st_mode) == 0o777


def test_links_are_followed(place: Place) -> None:
    (place.path / "directory").mkdir()
    (place.path / "directory" / "file").write_bytes(b"content")
    (place.path / "to-file").symlink_to("directory/file")
    (place.path / "to-directory").symlink_to("directory")
    assert (place.path / "to-file").read_bytes() == b"content"
    assert (place.path / "to-directory" / "file").read_bytes() == b"content"
    (place.path / "to-file").write_bytes(b"changed")
    assert (place.path / "directory" / "file").read_bytes() == b"changed"


def test_a_link_to_nothing(place: Place) -> None:
    link = place.path / "link"
    link.symlink_to("nothing")
    assert link.is_symlink()
    assert not link.exists()
    with pytest.raises(FileNotFoundError):
        link.read_bytes()
    link.write_bytes(b"now something")
    assert (place.path / "nothing").read_bytes() == b"now something"


def test_what_exists_does_not_become_a_link(place: Place) -> None:
    (place.path / "file").write_bytes(b"content")
    with pytest.raises(FileExistsError):
        (place.path / "file").symlink_to("elsewhere")
    assert (place.path / "file").read_bytes() == b"content"


def test_a_link_is_renamed_and_removed_as_such(place: Place) -> None:
    (place.path / "file").write_bytes(b"content")
    (place.path / "link").symlink_to("file")
    (place.path / "link").rename(place.path / "moved")
    assert leads_to(place.path / "moved") == "file"
    (place.path / "other").symlink_to("elsewhere")
    (place.path / "moved").rename(place.path / "other")
    assert leads_to(place.path / "other") == "file"
    (place.path / "other").unlink()
    assert (place.path / "file").read_bytes() == b"content"
    assert [entry.name for entry in place.served.iterdir()] == ["file"]


def test_replacing_a_link_the_way_programs_do(place: Place) -> None:
    for version in ("one", "two", "three"):
        (place.path / "new").symlink_to(version)
        (place.path / "new").rename(place.path / "current")
        assert leads_to(place.path / "current") == version


def test_a_links_times_can_be_set(place: Place) -> None:
    link = place.path / "link"
    link.symlink_to("somewhere")
    os.utime(link, ns=(10**18, 10**18), follow_symlinks=False)
    assert link.lstat().st_mtime_ns == 10**18
    assert leads_to(link) == "somewhere"


def test_only_links_lead_somewhere(place: Place) -> None:
    (place.path / "file").touch()
    for path in (place.path / "file", place.path):
        with pytest.raises(OSError, match="Invalid argument"):
            Path(path).readlink()


@only_posix
def test_links_that_were_made_on_the_server(place: Place) -> None:
    targets = ("file", "/abs/olute", "../up", "a b:c")
    for number, target in enumerate(targets):
        (place.served / f"link-{number}").symlink_to(target)
    for number, target in enumerate(targets):
        assert leads_to(place.path / f"link-{number}") == target
    with os.scandir(place.path) as entries:
        assert all(entry.is_symlink() for entry in entries)


@only_windows
def test_links_that_the_server_follows_itself(place: Place) -> None:
    (place.served / "directory").mkdir()
    (place.served / "directory" / "file").write_bytes(b"content")
    (place.served / "to-file").symlink_to("directory/file")
    (place.served / "to-directory").symlink_to("directory")
    (place.served / "loop").symlink_to(".")
    assert (place.path / "to-file").read_bytes() == b"content"
    assert (place.path / "to-directory" / "file").read_bytes() == b"content"
    names = {entry.name for entry in place.path.iterdir()}
    assert {"directory", "to-file", "to-directory"} <= names
    (place.path / "to-file").unlink()
    assert (place.served / "directory" / "file").exists()


@only_posix
def test_special_files_that_were_made_on_the_server(place: Place) -> None:
    os.mkfifo(place.served / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(place.served / "socket"))
    assert stat.S_ISFIFO((place.path / "fifo").stat().st_mode)
    assert stat.S_ISSOCK((place.path / "socket").stat().st_mode)
    (place.path / "fifo").unlink()
    assert not (place.served / "fifo").exists()


def test_a_fifo_is_one(place: Place) -> None:
    fifo = place.path / "fifo"
    os.mkfifo(fifo)
    assert stat.S_ISFIFO(fifo.lstat().st_mode)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    os.write(writer, b"through the kernel")
    assert os.read(reader, 100) == b"through the kernel"
    os.close(reader)
    os.close(writer)
    with os.scandir(place.path) as entries:
        assert [stat.S_ISFIFO(entry.stat().st_mode) for entry in entries] == [True]


def test_a_socket_is_one(place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(place.path / "s"))
        server.listen()
        client.connect(str(place.path / "s"))
    assert stat.S_ISSOCK((place.path / "s").stat().st_mode)


@pytest.mark.parametrize("bits", [0o000, 0o200, 0o444], ids=oct)
@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK])
def test_a_node_that_its_owner_may_not_write_to(place: Place, kind: int, bits: int) -> None:
    """Samba makes a file first, and then what it stands for; it must be able to read that."""
    node = place.path / "node"
    os.mknod(node, kind | bits)
    assert stat.S_IFMT(node.stat().st_mode) == kind
    if place.posix:
        assert stat.S_IMODE(node.stat().st_mode) == bits | 0o400
        assert stat.S_IMODE((place.served / "node").stat().st_mode) == bits | 0o400
        assert [entry.name for entry in place.path.iterdir()] == ["node"]
    with pytest.raises(FileExistsError):
        os.mknod(node, kind | bits)


def test_a_node_may_be_a_plain_file(place: Place) -> None:
    file = place.path / "file"
    os.mknod(file, 0o640 | stat.S_IFREG)
    assert file.read_bytes() == b""
    with pytest.raises(FileExistsError):
        os.mknod(file, 0o640 | stat.S_IFREG)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_one(place: Place) -> None:
    device = place.path / "device"
    os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    assert device.stat().st_rdev == os.makedev(1, 3)


def test_hard_links_are_one_file(place: Place) -> None:
    first, second = place.path / "first", place.path / "second"
    first.write_bytes(b"content")
    os.link(first, second)
    assert first.samefile(second)
    assert first.stat().st_nlink == 2
    second.write_bytes(b"changed")
    assert first.read_bytes() == b"changed"
    first.unlink()
    assert second.read_bytes() == b"changed"
    assert (place.served / "second").stat().st_nlink == 1


def test_a_listing_takes_no_hard_link_away(place: Place) -> None:
    """Without POSIX extensions it does not tell how many there are."""
    first, second, third = (place.path / name for name in ("first", "second", "third"))
    first.write_bytes(b"content")
    second.hardlink_to(first)
    third.hardlink_to(first)
    for name, left in ((third, 2), (second, 1)):
        assert first.stat().st_nlink == left + 1
        for _ in range(3):
            with os.scandir(place.path) as listing:
                assert {entry.stat().st_nlink for entry in listing} == {left + 1}
            assert first.stat().st_nlink == left + 1
        name.unlink()
        with os.scandir(place.path) as listing:
            assert {entry.stat().st_nlink for entry in listing} == {left}
        assert first.stat().st_nlink == left


def test_a_hard_link_of_what_was_just_written(place: Place) -> None:
    first, second = place.path / "first", place.path / "second"
    with first.open("wb", buffering=0) as writer:
        writer.write(b"gathered")
        os.link(first, second)
        assert second.read_bytes() == b"gathered"


def test_hard_links_are_refused_where_they_make_no_sense(place: Place) -> None:
    (place.path / "file").touch()
    (place.path / "directory").mkdir()
    with pytest.raises(FileExistsError):
        os.link(place.path / "file", place.path / "directory")
    with pytest.raises(PermissionError):
        os.link(place.path / "directory", place.path / "another")
    with pytest.raises(FileNotFoundError):
        os.link(place.path / "nothing", place.path / "another")


def test_a_hard_link_of_a_link(place: Place) -> None:
    (place.path / "link").symlink_to("somewhere")
    os.link(place.path / "link", place.path / "again", follow_symlinks=False)
    assert leads_to(place.path / "again") == leads_to(place.path / "link") == "somewhere"


@pytest.mark.parametrize("posix", [True, False])
def test_minshall_french_links(
    mount_share: MountShare, served_folder: Path, *, posix: bool
) -> None:
    path = mount_share(posix=posix, mfsymlinks=True).path / served_folder.name
    (path / "file").write_bytes(b"content")
    (path / "link").symlink_to("file")
    assert (served_folder / "link").read_bytes().startswith(b"XSym\n0004\n")
    assert leads_to(path / "link") == "file"
    assert (path / "link").read_bytes() == b"content"
    assert (path / "link").lstat().st_size == 4
    (path / "not-a-link").write_bytes(b"x" * 1067)
    with os.scandir(path) as entries:
        assert {entry.name for entry in entries if entry.is_symlink()} == {"link"}
    assert (path / "not-a-link").read_bytes() == b"x" * 1067
    with pytest.raises(OSError, match="too long") as refused:
        (path / "long").symlink_to("x" * 1025)
    assert refused.value.errno in {errno.E2BIG, errno.ENAMETOOLONG}
