"""What is found out about a mount before there is a daemon: the place, FUSE, the mount table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smbfs.cli import prepare
from smbfs.cli.errors import CommandError, ExitCode
from smbfs.cli.guard import Guard
from smbfs.cli.mount_table import (
    MountEntry,
    absolute_path,
    find_copy,
    find_mount,
    parse_mountinfo,
)
from smbfs.config.model import MountOptions

TABLE = """\
21 27 0:20 / /proc rw,nosuid - proc proc rw
54 27 0:41 / /mnt/a\\040b\\134c rw shared:1 master:2 - fuse.smbfs //nas/my\\040share rw,user_id=1000
not a line
55 27 0:42 / /mnt/x rw -
56 54 0:43 / /mnt/auto rw,relatime - autofs systemd-1 rw,fd=1
"""


def test_mount_table() -> None:
    assert parse_mountinfo(TABLE) == [
        MountEntry("0:20", "/proc", "proc", "proc", None),
        MountEntry("0:41", "/mnt/a b\\c", "fuse.smbfs", "//nas/my share", 1000),
        MountEntry("0:43", "/mnt/auto", "autofs", "systemd-1", None),
    ]


@pytest.mark.parametrize("character", "\r\v\f\x1c\x85\u2028")
def test_the_mount_table_has_lines_of_its_own(character: str) -> None:
    """These are no ends of lines to the kernel, which leaves them in paths as they are."""
    place = f"/mnt/a{character}b"
    (entry,) = parse_mountinfo(f"54 27 0:41 / {place} rw - fuse.smbfs //nas/x rw,user_id=0\n")
    assert entry.mountpoint == place


def test_what_is_on_top_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = TABLE + "60 54 0:50 / /mnt/auto rw - fuse.smbfs //nas/x rw\n"
    entries = parse_mountinfo(twice)
    monkeypatch.setattr("smbfs.cli.mount_table.read_mount_table", lambda: entries)
    found = find_mount("/mnt/auto/")
    assert found is not None
    assert found.source == "//nas/x"
    assert find_mount("/mnt/none") is None


def test_the_number_of_a_device_that_is_gone_is_soon_another_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = parse_mountinfo(TABLE)
    monkeypatch.setattr("smbfs.cli.mount_table.read_mount_table", lambda: entries)
    gone = MountEntry("0:41", "/mnt/gone", "fuse.smbfs", "//nas/my share", 1000)
    assert find_copy(gone) == entries[1]
    for others in ({"source": "//nas/x"}, {"user_id": 0}, {"device": "0:42"}):
        assert find_copy(gone._replace(**others)) is None


def test_automount_points_are_not_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = parse_mountinfo(TABLE)
    monkeypatch.setattr("smbfs.cli.mount_table.read_mount_table", lambda: entries)
    monkeypatch.setattr(os, "stat", None)
    monkeypatch.setattr(os, "listdir", None)
    assert prepare.check_mountpoint("/mnt/auto") == "/mnt/auto"


def test_links_and_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "parent").symlink_to(".")
    real = str((tmp_path / "real").resolve())
    monkeypatch.chdir(tmp_path)
    for spelling in ("real", "./real/", "link", "parent/real", "parent/link", "x/../real"):
        assert absolute_path(spelling) == real
    assert absolute_path("/") == "/"


def test_a_place_that_can_not_be_looked_at(tmp_path: Path) -> None:
    place = str(tmp_path / ("x" * 300))
    assert absolute_path(place) == place
    with pytest.raises(CommandError, match="can't be used as a mount point"):
        prepare.check_mountpoint(place)


def test_place_that_is_not_empty_can_be_wanted(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(CommandError, match="not empty") as caught:
        prepare.check_mountpoint(str(tmp_path))
    assert "-o nonempty" in caught.value.do
    assert prepare.check_mountpoint(str(tmp_path), nonempty=True) == str(tmp_path)


@pytest.mark.parametrize(
    ("device", "said"),
    [("none", "is missing"), ("", "is closed to you")],
)
def test_fuse_that_can_not_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, said: str
) -> None:
    # A directory can't be opened for writing by anybody, root included.
    monkeypatch.setattr(prepare, "FUSE_DEVICE", tmp_path / device)
    with pytest.raises(CommandError, match=said) as caught:
        prepare.check_fuse(MountOptions())
    assert caught.value.exit_code == ExitCode.SYSTEM
    assert "--device /dev/fuse" in caught.value.do


@pytest.mark.usefixtures("fuse")
def test_fusermount_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(CommandError, match="fusermount3 is missing"):
        prepare.check_fuse(MountOptions())


def test_allow_other_of_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "fuse.conf"
    monkeypatch.setattr(prepare, "_FUSE_CONFIG", settings)
    assert not prepare._users_may_allow_other()
    # As fusermount3 reads it: with comments, and no value.
    for line in ("user_allow_other = no", "user_allow_others", "# user_allow_other"):
        settings.write_text(f"{line}\n")
        assert not prepare._users_may_allow_other()
    settings.write_text("mount_max = 9\n\tuser_allow_other # for the media player\n")
    assert prepare._users_may_allow_other()


def test_guard_ends_with_its_owner(tmp_path: Path) -> None:
    """No mount of ours is there: whatever else is mounted there is left alone."""
    with Guard(str(tmp_path)) as guard:
        guard.watch("0:999999")
        assert Path(f"/proc/{guard.pid}/status").exists()
    assert not Path(f"/proc/{guard.pid}").exists()


@pytest.mark.usefixtures("fuse")
def test_start_up_stays_light() -> None:
    """Asking for status must not load what only a daemon needs."""
    code = (
        "import sys; from smbfs.cli.main import main; main(['status'])\n"
        "heavy = {'pyfuse3', 'smbprotocol', 'spnego', 'cryptography', 'keyring', 'tomlkit'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
