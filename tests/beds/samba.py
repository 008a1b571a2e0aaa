"""Private Samba servers for tests, the demo and the benchmarks.

Each server is a whole Samba of its own: a free port on loopback, accounts of its own that
are not users of this machine, all state below one folder, and nothing left behind however
the run ends (see ``guardian``).
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.beds.guardian import BedError, Guardian
from tests.beds.samba_folder import ALICE, HOST, SambaFolder, Share, User, program
from tests.beds.tcp_sockets import free_port

_READY_WITHIN_S = 30.0
_PORT_TRIES = 5

SHARES = (
    Share("share"),
    Share("sealed", {"server smb encrypt": "required"}),
    Share("readonly", {"read only": "yes"}),
)


class SambaServer:
    """A running smbd of its own; ends with :meth:`stop`, with the ``with`` block or with us.

    ``root`` is a folder for it alone, below folders that every user may enter.
    ``globals`` are smb.conf parameters of ``[global]`` over ``DEFAULT_GLOBALS``. ``inside`` is a
    command that runs another one, in a network namespace for example. ``env`` is added to smbd's
    environment.
    Raises: BedError if Samba is not installed, or does not serve within 30 s.
    """

    host = HOST
    user = ALICE.name
    password = ALICE.password

    def __init__(
        self,
        root: Path,
        *,
        globals: Mapping[str, str] | None = None,  # noqa: A002 - smb.conf's name for them
        shares: Sequence[Share] = SHARES,
        inside: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._inside = tuple(inside)
        self._env = dict(env or {})
        self._folder = SambaFolder(root, globals or {}, shares)
        self._guardian: Guardian | None = None
        self.port = 0
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the listening smbd. Raises: BedError if it is stopped."""
        return self._running().pid

    @property
    def guardian_pid(self) -> int:
        """Process id of what ends smbd when we are gone. Raises: BedError if it is stopped."""
        return self._running().process.pid

    def start(self) -> None:
        """Serve (again): on the same port as before, if there was one."""
        for _ in range(_PORT_TRIES):
            port = self.port or free_port()
            self._folder.write_config(port)
            self._guardian = Guardian.start(
                [
                    *(*self._smbd(), "--configfile", str(self._folder.config_path)),
                    *("--log-basename", str(self._folder.log_folder)),
                    *("--foreground", "--no-process-group"),
                ],
                self._folder.log_folder / "smbd.out",
                env={**self._folder.nss_environment(), **self._env},
                unmount=self._folder.mount_limited_shares(),
            )
            if self._wait_serving(port):
                self.port = port
                return
            self.stop()
        raise BedError(f"smbd does not serve; its log says:\n{self.log()[-4000:]}")

    def stop(self) -> None:
        """Stop smbd and every process that it started. Twice does no harm."""
        if self._guardian is not None:
            self._guardian.stop()
            self._guardian = None

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL for every process."""
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian = None

    def restart(self) -> None:
        """Stop and serve again, on the same port with the same files.

        A share with a size comes back empty: its file system lives in memory.
        """
        self.stop()
        self.start()

    def unc(self, share: str = "share") -> str:
        """``//127.0.0.1:PORT/share``, as commands take it."""
        return f"//{HOST}:{self.port}/{share}"

    def share_path(self, name: str = "share") -> Path:
        """Where the server keeps the files of a share."""
        return self._folder.share_path(name)

    def credentials_file(self, user: User = ALICE) -> Path:
        """A credentials file for ``user`` in mount.cifs's format, readable by its owner only."""
        return self._folder.credentials_file(user)

    def smbclient(self, share: str, *arguments: str, user: User | None = ALICE) -> str:
        """Run smbclient on a share of this server and return what it printed.

        ``user`` None is a guest. Raises: BedError if it fails, with what it said.
        """
        return self._run_smbclient(f"//{HOST}/{share}", *arguments, user=user)

    def list_shares(self, user: User | None = ALICE) -> str:
        """What smbclient lists of this server. Raises: BedError as :meth:`smbclient`."""
        return self._run_smbclient("--list", HOST, user=user)

    @property
    def log_path(self) -> Path:
        """Where smbd logs, without its helpers' logs."""
        return self._folder.log_folder / "log.smbd"

    def log(self) -> str:
        """What all processes of the server have logged so far."""
        logs = sorted(path for path in self._folder.log_folder.iterdir() if path.is_file())
        return "".join(path.read_text(errors="replace") for path in logs)

    def _smbd(self) -> list[str]:
        """Return the command that runs smbd, but for its arguments. Raises: BedError."""
        return [*self._inside, program("smbd", "samba")]

    def _run_smbclient(self, *arguments: str, user: User | None) -> str:
        who = ["--no-pass"] if user is None else ["-A", str(self.credentials_file(user))]
        done = subprocess.run(
            [
                *(program("smbclient", "smbclient"), "--port", str(self.port)),
                *("--configfile", str(self._folder.client_config()), *who, *arguments),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise BedError(f"smbclient {arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def _running(self) -> Guardian:
        if self._guardian is None:
            raise BedError("this Samba server is stopped")
        return self._guardian

    def _wait_serving(self, port: int) -> bool:
        """Whether smbd takes connections on ``port``; False when it has ended instead."""
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            if _takes_connections(port, self._inside):
                return True
            if self._running().wait_exited(timeout_s=0.02) is not None:
                return False
        return False


def _takes_connections(port: int, inside: Sequence[str]) -> bool:
    """Whether somebody listens on a port of loopback, ours or that of where ``inside`` leads."""
    if inside:
        connect = f"import socket; socket.create_connection(({HOST!r}, {port}), 1)"
        done = subprocess.run(
            [*inside, sys.executable, "-c", connect], capture_output=True, check=False
        )
        return done.returncode == 0
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
