"""Attributes: what stat shows, what can be changed, and what stays the same."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.beds.samba import SambaServer
from tests.beds.samba_folder import Share
from tests.t4_fuse.conftest import MountShare, Place, only_posix, only_windows, wait_until

TIME_NS = 1_234_567_890_123_456_700


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_times_are_kept_to_a_tenth_of_a_microsecond(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"x")
    os.utime(file, ns=(TIME_NS, TIME_NS + 100))
    facts = file.stat()
    assert (facts.st_atime_ns, facts.st_mtime_ns) == (TIME_NS, TIME_NS + 100)
    assert (place.served / "file").stat().st_mtime_ns == TIME_NS + 100


@pytest.mark.parametrize("time_ns", [0, -(10**18), 10**9 * 2**33])
def test_times_far_away(place: Place, time_ns: int) -> None:
    file = place.path / "file"
    file.touch()
    os.utime(file, ns=(time_ns, time_ns))
    assert file.stat().st_mtime_ns == time_ns


def test_now_is_now(place: Place) -> None:
    file = place.path / "file"
    file.touch()
    os.utime(file, ns=(TIME_NS, TIME_NS))
    os.utime(file)
    assert abs(file.stat().st_mtime - time.time()) < 30


def test_a_time_set_on_an_open_file_stays(place: Place) -> None:
    """As cp, tar and unzip do: write, set the time, close."""
    file = place.path / "file"
    with file.open("wb", buffering=0) as writer:
        writer.write(b"content")
        os.utime(writer.fileno(), ns=(TIME_NS, TIME_NS))
    assert file.stat().st_mtime_ns == TIME_NS
    with file.open("wb", buffering=0) as writer:
        writer.write(b"content")
        os.utime(file, ns=(TIME_NS, TIME_NS))
    assert file.stat().st_mtime_ns == TIME_NS


def test_writing_changes_the_time(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"one")
    os.utime(file, ns=(TIME_NS, TIME_NS))
    file.write_bytes(b"two")
    assert file.stat().st_mtime_ns > TIME_NS


@only_posix  # Elsewhere Samba tells the time of a write two seconds later.
def test_a_listing_does_not_hide_the_time_of_a_write(place: Place) -> None:
    """A name that was listed is looked up, which does not wait for what was gathered."""
    file = place.path / "file"
    file.write_bytes(b"one")
    os.utime(file, ns=(TIME_NS, TIME_NS))
    with file.open("r+b", buffering=0) as writer:
        writer.write(b"two")
        list(place.path.iterdir())
        assert file.stat().st_mtime_ns > TIME_NS
        assert os.fstat(writer.fileno()).st_mtime_ns > TIME_NS


def test_a_directorys_time_can_be_set(place: Place) -> None:
    directory = place.path / "directory"
    directory.mkdir()
    os.utime(directory, ns=(TIME_NS, TIME_NS))
    assert directory.stat().st_mtime_ns == TIME_NS


@only_posix
def test_modes_are_the_servers(place: Place) -> None:
    file = place.path / "file"
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
    assert mode(file) == 0o600
    for wanted in (0o640, 0o444, 0o755, 0o700):
        file.chmod(wanted)
        assert mode(file) == wanted
        assert mode(place.served / "file") == wanted
    directory = place.path / "directory"
    directory.mkdir(mode=0o700)
    assert mode(directory) == 0o700
    directory.chmod(0o755)
    assert mode(place.served / "directory") == 0o755


@only_posix
@pytest.mark.parametrize("bits", [0o444, 0o555, 0o000], ids=oct)
def test_who_owns_a_read_only_file_may_set_its_times_and_link_it(place: Place, bits: int) -> None:
    """Git makes its objects read-only and links them; rsync sets the times of what it copies."""
    file, directory = place.path / "file", place.path / "directory"
    file.touch()
    directory.mkdir()
    for each in (file, directory):
        each.chmod(bits)
        os.utime(each, ns=(TIME_NS, TIME_NS))
        assert each.stat().st_mtime_ns == TIME_NS
        assert (place.served / each.name).stat().st_mtime_ns == TIME_NS
        assert mode(each) == mode(place.served / each.name) == bits
    (place.path / "link").hardlink_to(file)
    assert file.stat().st_nlink == 2
    directory.chmod(0o700)


@only_posix
def test_a_directory_that_its_owner_may_not_list_is_not_listed_from_memory(place: Place) -> None:
    directory = place.path / "directory"
    directory.mkdir()
    (directory / "file").touch()
    assert [each.name for each in directory.iterdir()] == ["file"]
    directory.chmod(0o300)
    with pytest.raises(PermissionError):
        list(directory.iterdir())
    directory.chmod(0o700)
    assert [each.name for each in directory.iterdir()] == ["file"]


@only_posix
def test_what_a_directory_has_shows_when_its_owner_may_enter_it(place: Place) -> None:
    """Samba lists nothing of what nobody may enter, and calls that all there is."""
    directory = place.path / "directory"
    directory.mkdir()
    (directory / "file").touch()
    directory.chmod(0o400)
    assert list(directory.iterdir()) == []
    directory.chmod(0o700)
    assert [each.name for each in directory.iterdir()] == ["file"]
    assert (directory / "file").exists()


@only_posix
def test_a_file_that_is_removed_but_open_has_attributes_to_set(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"content")
    with file.open("rb") as opened:
        file.unlink()
        os.utime(opened.fileno(), ns=(TIME_NS, TIME_NS))
        os.fchmod(opened.fileno(), 0o600)
        found = os.fstat(opened.fileno())
        assert (found.st_mtime_ns, found.st_nlink) == (TIME_NS, 0)
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert opened.read() == b"content"
    wait_until(lambda: not list(place.served.iterdir()))


@only_posix
def test_who_does_not_own_a_file_may_not_set_its_times(place: Place) -> None:
    (place.path / "theirs").mkdir()
    modes = (0o644, 0o444)
    for bits in modes:
        file = place.served / "theirs" / f"{bits:o}"
        file.touch()
        file.chmod(bits)
        os.chown(file, 0, 0)
        os.utime(file, (1, 1))
    for bits in modes:
        file = place.served / "theirs" / f"{bits:o}"
        with pytest.raises(PermissionError):
            os.utime(place.path / "theirs" / file.name, ns=(TIME_NS, TIME_NS))
        assert (file.stat().st_mtime, mode(file)) == (1, bits)


def test_a_mode_that_is_only_shown_is_no_reason_not_to_set_it(
    mount_share: MountShare, served_folder: Path
) -> None:
    folder = mount_share(file_mode=0o600).path / served_folder.name
    opened = os.open(folder / "file", os.O_CREAT | os.O_WRONLY, 0o644)
    assert mode(served_folder / "file") == 0o644
    assert mode(folder / "file") == 0o600
    os.fchmod(opened, 0o600)
    os.close(opened)
    assert mode(served_folder / "file") == 0o600


@only_posix
def test_the_umask_counts(place: Place) -> None:
    before = os.umask(0o077)
    try:
        (place.path / "file").touch()
        (place.path / "directory").mkdir()
    finally:
        os.umask(before)
    assert mode(place.path / "file") == 0o600
    assert mode(place.path / "directory") == 0o700


@only_posix
def test_what_the_mode_forbids_is_forbidden(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"content")
    file.chmod(0o400)
    with pytest.raises(PermissionError):
        file.open("ab")
    assert file.read_bytes() == b"content"
    file.chmod(0o200)
    with pytest.raises(PermissionError):
        file.open("rb")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a capability up")
@pytest.mark.parametrize(
    ("before", "command", "after"),
    [
        (0o6755, "printf x >> file", 0o755),
        (0o6755, "printf x > file", 0o755),
        (0o6755, "truncate -s 3 file", 0o755),
        (0o2745, "printf x >> file", 0o2745),
        (0o644, "printf x >> file", 0o644),
        (0o6755, "cat file", 0o6755),
    ],
)
def test_who_may_not_keep_setuid_bits_takes_them_away(
    make_samba: Callable[..., SambaServer],
    mount_share: MountShare,
    before: int,
    command: str,
    after: int,
) -> None:
    """Also where the server would not do it, because it takes everybody for root."""
    server = make_samba(shares=(Share("share", {"force user": "root"}),))
    mount = mount_share(server=server)
    for folder, drop, expected in (
        ("plain", ["setpriv", "--bounding-set", "-fsetid", "--"], after),
        ("privileged", [], before),
    ):
        served = server.share_path() / folder / "file"
        served.parent.mkdir()
        served.write_bytes(b"content")
        served.chmod(before)  # Samba lets no client set these bits.
        subprocess.run([*drop, "sh", "-ec", command], cwd=mount.path / folder, check=True)
        shown = mode(mount.path / folder / "file")
        assert (shown, mode(served)) == (expected, expected)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a capability up")
@pytest.mark.parametrize(
    "command", ["printf x >> file", "printf x > file", "truncate -s 3 file", "printf x 1<> file"]
)
def test_the_server_takes_setuid_bits_away_from_what_is_not_ours(
    served_folder: Path, mount_share: MountShare, command: str
) -> None:
    """Who may write to a file may not always change its mode."""
    served = served_folder / "file"
    served.write_bytes(b"content")
    os.chown(served, 0, 0)
    served.chmod(0o6777)
    folder = mount_share().path / served_folder.name
    drop = ["setpriv", "--bounding-set", "-fsetid", "--"]
    subprocess.run([*drop, "sh", "-ec", command], cwd=folder, check=True)
    assert (mode(folder / "file"), mode(served)) == (0o777, 0o777)


@only_posix
def test_owners_are_not_given_away(place: Place) -> None:
    file = place.path / "file"
    file.touch()
    facts = file.stat()
    os.chown(file, facts.st_uid, facts.st_gid)
    os.chown(file, -1, -1)
    with pytest.raises(PermissionError, match="not permitted"):
        os.chown(file, 12345, -1)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to somebody")
@only_posix
def test_owners_with_numbers_are_shown(place: Place) -> None:
    file = place.served / "file"
    file.touch()
    os.chown(file, 4321, 4322)
    facts = (place.path / "file").stat()
    assert (facts.st_uid, facts.st_gid) == (4321, 4322)


@only_windows
def test_modes_are_options_and_the_read_only_attribute(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"content")
    assert mode(file) == 0o755
    file.chmod(0o444)
    assert mode(file) == 0o555
    with pytest.raises(PermissionError):
        file.open("ab")
    file.chmod(0o600)
    assert mode(file) == 0o755
    file.write_bytes(b"changed")
    os.chown(file, 12345, 12345)  # Passed over in silence, as cifs.ko does.
    (place.path / "directory").mkdir()
    (place.path / "directory").chmod(0o500)


def test_options_say_how_files_look(mount_share: MountShare, served_folder: Path) -> None:
    (served_folder / "file").touch()
    (served_folder / "directory").mkdir()
    mount = mount_share(posix=False, uid=5, gid=6, file_mode=0o600, dir_mode=0o700)
    path = mount.path / served_folder.name
    facts = (path / "file").stat()
    assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (5, 6, 0o600)
    assert mode(path / "directory") == 0o700


def test_inode_numbers_are_the_servers_and_stay(place: Place, mount_share: MountShare) -> None:
    file = place.path / "file"
    file.write_bytes(b"x")
    number = file.stat().st_ino
    assert number == (place.served / "file").stat().st_ino
    file.rename(place.path / "renamed")
    (place.path / "renamed").write_bytes(b"y")
    assert (place.path / "renamed").stat().st_ino == number
    again = mount_share(posix=place.posix).path / place.path.name / "renamed"
    assert again.stat().st_ino == number


def test_blocks_are_what_the_server_uses(place: Place) -> None:
    file = place.path / "file"
    file.write_bytes(b"x" * 100_000)
    assert file.stat().st_blocks == (place.served / "file").stat().st_blocks
    with (place.path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
    assert (place.path / "sparse").stat().st_size == 1 << 30
    assert (place.path / "sparse").stat().st_blocks < 1000


def test_statfs_is_about_the_servers_disk(place: Place) -> None:
    ours, theirs = os.statvfs(place.path), os.statvfs(place.served)
    assert ours.f_blocks * ours.f_frsize == theirs.f_blocks * theirs.f_frsize
    used = abs(ours.f_bavail * ours.f_frsize - theirs.f_bavail * theirs.f_frsize)
    assert used < 1 << 30
    assert ours.f_namemax == 255
    if place.posix:
        assert ours.f_files == theirs.f_files


def test_what_another_client_changed_is_seen_in_time(
    mount_share: MountShare, served_folder: Path
) -> None:
    path = mount_share().path / served_folder.name / "file"
    path.write_bytes(b"x")
    theirs = mount_share(leases=False).path / served_folder.name / "file"
    theirs.write_bytes(b"a longer content")
    wait_until(lambda: path.stat().st_size == 16)


def test_what_the_server_changed_is_seen_in_time_without_leases(
    mount_share: MountShare, served_folder: Path
) -> None:
    path = mount_share(actimeo_s=0.05, leases=False).path / served_folder.name / "file"
    path.write_bytes(b"x")
    (served_folder / "file").write_bytes(b"a longer content")
    wait_until(lambda: path.stat().st_size == 16)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file of another user")
def test_what_belongs_to_others(place: Place) -> None:
    (place.served / "closed").write_bytes(b"secret")
    (place.served / "closed").chmod(0o600)
    (place.served / "private").mkdir(mode=0o700)
    (place.served / "private" / "file").touch()
    assert (place.path / "closed").stat().st_size == 6
    assert {entry.name for entry in place.path.iterdir()} == {"closed", "private"}
    for forbidden in (
        (place.path / "closed").read_bytes,
        lambda: list((place.path / "private").iterdir()),
        (place.path / "private" / "file").stat,
        (place.path / "private" / "new").touch,
    ):
        with pytest.raises(PermissionError):
            forbidden()


def test_a_folder_of_the_share_may_be_the_root(
    mount_share: MountShare, served_folder: Path
) -> None:
    (served_folder / "inner").mkdir()
    (served_folder / "inner").chmod(0o777)
    (served_folder / "inner" / "file").write_bytes(b"content")
    for posix in (True, False):
        mount = mount_share(share=f"share/{served_folder.name}/inner", posix=posix)
        assert [entry.name for entry in mount.path.iterdir()] == ["file"]
        assert (mount.path / "file").read_bytes() == b"content"
        (mount.path / "file").rename(mount.path / "renamed")
        (mount.path / "renamed").rename(mount.path / "file")
        with (mount.path / "gone").open("wb") as opened:
            (mount.path / "gone").unlink()
            opened.write(b"x")
    inner = served_folder / "inner"
    wait_until(lambda: [entry.name for entry in inner.iterdir()] == ["file"])


def test_the_time_of_a_write_is_known_at_once_and_stays(place: Place) -> None:
    """Without POSIX extensions the server sets it only when the file is closed."""
    file = place.path / "file"
    file.write_bytes(b"o" * 100)
    os.utime(file, (1_000_000_000, 1_000_000_000))
    with file.open("r+b", buffering=0) as writer:
        writer.write(b"new")
    at_once = file.stat().st_mtime_ns
    assert at_once == (place.served / "file").stat().st_mtime_ns // 100 * 100
    assert at_once > 1_000_000_000 * 10**9
