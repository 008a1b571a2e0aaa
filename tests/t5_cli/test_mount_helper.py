"""``mount.smbfs`` as mount(8) and fstab call it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from smbfs.cli.mount_table import find_mount
from tests.beds.mounted import SMBFS, run_smbfs
from tests.beds.samba import SambaServer

pytestmark = pytest.mark.usefixtures("fuse")

HELPER = SMBFS.with_name("mount.smbfs")
LINK = Path("/sbin/mount.smbfs")


@pytest.fixture
def mount_command() -> Iterator[list[str]]:
    """``mount -t smbfs``, with the helper where mount(8) looks; for plain users the helper."""
    if os.geteuid() != 0:
        yield [str(HELPER)]
        return
    made = not LINK.exists()
    if made:
        LINK.symlink_to(HELPER)
    yield ["mount", "-t", "smbfs"]
    if made:
        LINK.unlink()


@pytest.fixture
def mountpoint(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mnt"
    path.mkdir()
    yield path
    if find_mount(str(path)) is not None:
        run_smbfs("umount", str(path))


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_mount_with_options_of_mount_and_systemd(
    samba: SambaServer, mount_command: list[str], mountpoint: Path
) -> None:
    options = f"rw,_netdev,nofail,noexec,x-systemd.automount,credentials={samba.credentials_file()}"
    done = run([*mount_command, samba.unc(), str(mountpoint), "-o", options])
    assert (done.returncode, done.stderr) == (0, "")
    entry = find_mount(str(mountpoint))
    assert entry is not None
    assert entry.source == samba.unc()
    table = Path("/proc/self/mountinfo").read_text()
    (line,) = [line for line in table.splitlines() if str(mountpoint) in line]
    assert "noexec" in line
    assert ("allow_other" in line) == (os.geteuid() == 0)


def test_fstab_line(samba: SambaServer, mount_command: list[str], mountpoint: Path) -> None:
    if mount_command[0] != "mount":
        pytest.fail("fstab is for root: run the tests as root")
    fstab = mountpoint.with_name("fstab")
    options = f"credentials={samba.credentials_file()},_netdev,noauto,uid=1000,x-systemd.automount"
    fstab.write_text(f"{samba.unc()} {mountpoint} smbfs {options} 0 0\n")
    done = run(["mount", "-T", str(fstab), str(mountpoint)])
    assert (done.returncode, done.stderr) == (0, "")
    assert find_mount(str(mountpoint)) is not None
    assert run(["umount", str(mountpoint)]).returncode == 0
    assert find_mount(str(mountpoint)) is None


@pytest.mark.parametrize(
    ("share", "options", "code", "said"),
    [
        ("nope", "", 32, "there is no such share"),
        ("share", ",sael", 1, "did you mean seal?"),
        ("share", ",password=hunter2", 1, "command lines"),
        ("share", ",port=1", 1, "two ports"),
    ],
)
def test_failures_keep_their_exit_code(
    samba: SambaServer,
    mountpoint: Path,
    share: str,
    options: str,
    code: int,
    said: str,
) -> None:
    credentials = f"credentials={samba.credentials_file()}"
    done = run([str(HELPER), samba.unc(share), str(mountpoint), "-o", credentials + options])
    assert done.returncode == code
    assert done.stderr.startswith("mount.smbfs: ")
    assert said in done.stderr
    assert find_mount(str(mountpoint)) is None


def test_flags(samba: SambaServer, mountpoint: Path) -> None:
    options = f"credentials={samba.credentials_file()},zzz"
    arguments = [samba.unc(), str(mountpoint), "-o", options]
    fake = run([str(HELPER), "-s", "-f", *arguments])
    assert (fake.returncode, fake.stderr) == (0, "")
    assert find_mount(str(mountpoint)) is None
    sloppy = run([str(HELPER), *arguments, "-svn"])
    assert sloppy.returncode == 0
    assert "zzz is unknown" in sloppy.stderr
    assert "credentials file" in sloppy.stderr


@pytest.mark.parametrize("arguments", [[], ["//nas/share"], ["-q", "//nas/share", "/mnt"]])
def test_wrong_usage(arguments: list[str]) -> None:
    done = run([str(HELPER), *arguments])
    assert done.returncode == 1
    assert "mount.smbfs UNC MOUNTPOINT" in done.stderr


@pytest.mark.parametrize(
    "command",
    [[str(HELPER), "-V"], [str(HELPER), "--version"], [str(SMBFS), "--version"]],
    ids=["helper, short", "helper", "smbfs"],
)
def test_version(command: list[str]) -> None:
    done = run(command)
    name = Path(command[0]).name
    assert (done.returncode, done.stdout) == (0, f"{name} {metadata.version('smbfs')}\n")
