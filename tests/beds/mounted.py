"""Real mounts, made by the command that people use, and always undone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.beds.guardian import BedError, Guardian, is_mounted

SMBFS = Path(sys.executable).with_name("smbfs")
"""The ``smbfs`` of this environment."""

_ANSWERS_WITHIN_S = 60.0


class MountFailed(BedError):
    """``smbfs mount`` refused: its exit code (None when it never ended) and all it printed."""

    def __init__(self, code: int | None, output: str) -> None:
        super().__init__(f"smbfs mount failed with exit code {code}:\n{output}")
        self.code = code
        self.output = output


@dataclass(frozen=True)
class Mounted:
    """A mount that answers."""

    path: Path
    """The mount point."""
    _guardian: Guardian

    def status(self) -> dict[str, Any]:
        """What ``smbfs status --json`` says of it."""
        done = run_smbfs("status", str(self.path), "--json")
        if done.returncode:
            raise BedError(f"smbfs status failed:\n{done.stdout}{done.stderr}")
        (status,) = json.loads(done.stdout)
        return dict(status)

    @property
    def pid(self) -> int:
        """Process id of the daemon."""
        return int(self.status()["pid"])

    @property
    def guardian_pid(self) -> int:
        """Process id of what ends the daemon when we are gone."""
        return self._guardian.process.pid

    def output(self) -> str:
        """What ``smbfs mount`` printed."""
        return self._guardian.log()


def run_smbfs(
    *arguments: str, env: Mapping[str, str] | None = None, said: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``smbfs`` to its end. ``env`` is added to the environment; ``said`` is its input."""
    return subprocess.run(
        [str(SMBFS), *arguments],
        input=said,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def mount(
    unc: str,
    mountpoint: Path,
    *options: str,
    inside: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[Mounted]:
    """Mount ``unc`` on ``mountpoint`` (made if need be) with ``smbfs mount OPTIONS``.

    ``options`` are arguments, ``-o`` and its value being two; ``inside`` is a command that runs
    another one, in a network namespace for example; ``env`` is added to its environment. On the way
    out it is
    unmounted by ``smbfs umount``; its daemon and what that left behind end in any case,
    also when this process is killed.
    Raises: MountFailed if it does not mount; BedError if it does not unmount.
    """
    mountpoint.mkdir(parents=True, exist_ok=True)
    log = mountpoint.with_name(f"{mountpoint.name}.output")
    log.unlink(missing_ok=True)
    guardian = Guardian.start(
        [*inside, str(SMBFS), "mount", unc, str(mountpoint), *options],
        log,
        env=dict(env or {}),
        unmount=(mountpoint,),
    )
    try:
        code = guardian.wait_exited(_ANSWERS_WITHIN_S)
        if code != 0 or not is_mounted(mountpoint):
            raise MountFailed(code, guardian.log())
        yield Mounted(mountpoint, guardian)
        if is_mounted(mountpoint):
            _unmount(mountpoint)
    finally:
        guardian.stop()


def _unmount(mountpoint: Path) -> None:
    done = run_smbfs("umount", str(mountpoint))
    if done.returncode or is_mounted(mountpoint):
        raise BedError(f"smbfs umount failed ({done.returncode}):\n{done.stdout}{done.stderr}")
