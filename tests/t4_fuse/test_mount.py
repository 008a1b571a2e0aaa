"""The mount itself: its options, its end, and a server that goes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from smbfs.config.model import MountOptions
from smbfs.fuse.mount import READ_AHEAD_KB
from smbfs.fuse.mounter import Mounter, mount_options
from tests.beds.guardian import is_mounted
from tests.beds.samba import SambaServer
from tests.t4_fuse.conftest import Mount, MountShare


def mount_line(path: Path) -> str:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return next(line for line in lines if line.split()[1] == str(path))


def test_the_mount_table_says_what_it_is(samba: SambaServer, mount_share: MountShare) -> None:
    mount = mount_share()
    source, _, kind, *_ = mount_line(mount.path).split()
    assert (source, kind) == (samba.unc(), "fuse.smbfs")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, set()),
        ({"ro": True}, {"ro"}),
        ({"allow_other": True}, {"allow_other", "default_permissions"}),
        ({"allow_other": True, "noperm": True}, {"allow_other"}),
        ({"mount_flags": frozenset({"noexec", "noatime"})}, {"noexec", "noatime"}),
    ],
)
def test_options_for_the_kernel(options: dict[str, object], expected: set[str]) -> None:
    chosen = mount_options(MountOptions(**options), "//nas/a,b\\c")  # type: ignore[arg-type]
    assert chosen == {"fsname=//nas/a\\,b\\\\c", "subtype=smbfs", *expected}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set it")
def test_the_kernel_reads_ahead_in_larger_steps(mount_share: MountShare) -> None:
    device = mount_share().path.stat().st_dev
    bdi = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    assert int(bdi.read_text()) == READ_AHEAD_KB


def test_two_mounts_side_by_side(mount_share: MountShare, served_folder: Path) -> None:
    first = mount_share().path / served_folder.name
    second = mount_share(posix=False).path / served_folder.name
    (first / "file").write_bytes(b"from the first")
    assert (second / "file").read_bytes() == b"from the first"
    (second / "file").write_bytes(b"from the second")
    assert (first / "file").read_bytes() == b"from the second"


def test_unmounting_ends_the_process(mount_share: MountShare) -> None:
    mount = mount_share()
    subprocess.run(["umount", str(mount.path)], check=True)
    mount.guardian.process.stdin.close()  # type: ignore[union-attr]
    assert mount.guardian.process.wait(20) == 0
    assert "Traceback" not in mount.log()


def test_a_signal_unmounts_and_writes_what_is_gathered(
    mount_share: MountShare, served_folder: Path
) -> None:
    mount = mount_share()
    writer = os.open(mount.path / served_folder.name / "file", os.O_CREAT | os.O_WRONLY)
    os.write(writer, b"gathered")
    mount.guardian.stop()  # SIGTERM
    assert not is_mounted(mount.path)
    assert (served_folder / "file").read_bytes() == b"gathered"
    with pytest.raises(OSError, match="not connected"):
        os.close(writer)
    assert "Traceback" not in mount.log()


def test_a_server_that_dies_is_a_host_that_is_down(
    make_samba: Callable[..., SambaServer], mount_share: MountShare
) -> None:
    server = make_samba()
    mount = mount_share(server=server, timeout_s=2)
    file = mount.path / "file"
    writer = os.open(file, os.O_CREAT | os.O_WRONLY)
    os.write(writer, b"lost")
    server.kill()
    began = time.monotonic()
    with pytest.raises(OSError, match="Input/output error"):
        os.fsync(writer)  # The bytes are gone, and it says so.
    assert 1.5 < time.monotonic() - began < 7
    for use in ((mount.path / "other").stat, (mount.path / "other").touch):
        with pytest.raises(OSError, match="Host is down") as refused:
            use()
        assert refused.value.errno == errno.EHOSTDOWN
    os.close(writer)  # It was told once.
    subprocess.run(["umount", str(mount.path)], check=True)
    assert not is_mounted(mount.path)


def test_a_write_that_fails_late_is_told_at_close(
    make_samba: Callable[..., SambaServer], mount_share: MountShare
) -> None:
    server = make_samba()
    mount = mount_share(server=server, timeout_s=2)
    writer = os.open(mount.path / "file", os.O_CREAT | os.O_WRONLY)
    os.write(writer, b"lost")
    server.kill()
    with pytest.raises(OSError, match="Input/output error"):
        os.close(writer)


def test_a_mount_that_was_only_looked_at_is_small(mount_share: MountShare) -> None:
    mount = mount_share()
    assert list(mount.path.iterdir()) is not None
    assert resident_bytes(mount) < 80 << 20


def resident_bytes(mount: Mount) -> int:
    """Memory of the process that serves a mount."""
    served = os.fsencode(mount.path)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        command = (entry / "cmdline").read_bytes().split(b"\0")
        if command[1:3] == [b"-m", b"tests.t4_fuse.mount_process"] and served in command:
            status = (entry / "status").read_text().splitlines()
            (line,) = (line for line in status if line.startswith("VmRSS"))
            return int(line.split()[1]) * 1024
    raise AssertionError("no process serves the mount")


def test_mounter_that_was_killed(tmp_path: Path) -> None:
    with Mounter(str(tmp_path), MountOptions(), "//nas/share") as mounter:
        os.kill(mounter.pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match="was killed"):
            mounter.mount()
    assert not is_mounted(tmp_path)
