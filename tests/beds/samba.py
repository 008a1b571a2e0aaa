"""Private Samba servers for tests, the demo and the benchmarks.

Each server is a whole Samba of its own: a free port on loopback, users of its own that are
not users of this machine (nss_wrapper answers for smbd, so ``/etc/passwd`` stays as it is),
all state below one folder, and nothing left behind however the run ends (see ``guardian``).

As root, users have user ids of their own and the kernel decides what each may do, as on a
real server. As a plain user Samba can't change its user id, so all accounts are that user.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.beds.guardian import BedError, Guardian

_READY_WITHIN_S = 30.0
_PORT_TRIES = 5
_ANY_PORT = 445
"""Stands in the configuration until there is a server; Samba refuses to load one with port 0."""
_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Share:
    """One share.

    ``options`` are smb.conf parameters of the share. ``size`` in bytes puts the share on a
    file system of its own that is no larger (root only).
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None


@dataclass(frozen=True)
class User:
    """An account of the server. ``uid`` is the owner of the files it makes (as root)."""

    name: str
    password: str
    uid: int


ALICE = User("alice", "Passw0rd!", 10001)
BOB = User("bob", "Secr3t-Bob", 10002)
ROOT = User("root", "R00t-of-all", 0)
"""May everything on the server, as an administrator's account would."""
USERS = (ALICE, BOB, ROOT)

SHARES = (
    Share("share"),
    Share("sealed", {"server smb encrypt": "required"}),
    Share("readonly", {"read only": "yes"}),
)

DEFAULT_GLOBALS: Mapping[str, str] = {
    "server signing": "mandatory",
    "server min protocol": "SMB2_02",
    "smb3 unix extensions": "yes",
    "ea support": "yes",
    "store dos attributes": "yes",
    "smb2 leases": "yes",
    "smb3 directory leases": "yes",
    # Durable handles are for files that nothing but Samba opens.
    "kernel oplocks": "no",
    "kernel share modes": "no",
    "posix locking": "no",
}


class SambaServer:
    """A running smbd of its own; ends with :meth:`stop`, with the ``with`` block or with us.

    ``root`` is a folder for it alone, below folders that every user may enter.
    ``globals`` are smb.conf parameters of ``[global]`` over ``DEFAULT_GLOBALS``.
    Raises: BedError if Samba is not installed, or does not serve within 30 s.
    """

    host = _HOST

    def __init__(
        self,
        root: Path,
        *,
        globals: Mapping[str, str] | None = None,  # noqa: A002 - smb.conf's name for them
        shares: Sequence[Share] = SHARES,
    ) -> None:
        self.root = root
        self.user = ALICE.name
        self.password = ALICE.password
        self._smbd = _program("smbd", "samba")
        self._shares = {share.name: share for share in shares}
        self._globals = {**DEFAULT_GLOBALS, **(globals or {})}
        self._guardian: Guardian | None = None
        self._make_folders()
        self._add_users()
        self.port = 0
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the listening smbd. Raises: BedError if it is stopped."""
        if self._guardian is None:
            raise BedError("this Samba server is stopped")
        return self._guardian.pid

    def start(self) -> None:
        """Serve (again): on the same port as before, if there was one."""
        for _ in range(_PORT_TRIES):
            port = self.port or _free_port()
            self._write_config(port)
            self._guardian = Guardian.start(
                [
                    *(self._smbd, "--configfile", str(self.config_path)),
                    *("--log-basename", str(self.root / "log")),
                    *("--foreground", "--no-process-group"),
                ],
                self.root / "log" / "smbd.out",
                env=self._nss_environment(),
                unmount=self._mount_limited_shares(),
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
        return f"//{_HOST}:{self.port}/{share}"

    def share_path(self, name: str = "share") -> Path:
        """Where the server keeps the files of a share."""
        return self.root / "shares" / self._shares[name].name

    def credentials_file(self, user: User = ALICE) -> Path:
        """A credentials file for ``user`` in mount.cifs's format, readable by its owner only."""
        path = self.root / f"credentials.{user.name}"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(f"username={user.name}\npassword={user.password}\n")
        return path

    def smbclient(self, share: str, *arguments: str, user: User | None = ALICE) -> str:
        """Run smbclient on a share of this server and return what it printed.

        ``user`` None is a guest. Raises: BedError if it fails, with what it said.
        """
        return self._run_smbclient(f"//{_HOST}/{share}", *arguments, user=user)

    def list_shares(self, user: User | None = ALICE) -> str:
        """What smbclient lists of this server. Raises: BedError as :meth:`smbclient`."""
        return self._run_smbclient("--list", _HOST, user=user)

    def _run_smbclient(self, *arguments: str, user: User | None) -> str:
        who = ["--no-pass"] if user is None else ["-A", str(self.credentials_file(user))]
        done = subprocess.run(
            [
                *(_program("smbclient", "smbclient"), "--configfile", str(self._client_config())),
                *("--port", str(self.port), *who, *arguments),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise BedError(f"smbclient {arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def log(self) -> str:
        """What all processes of the server have logged so far."""
        logs = sorted(path for path in (self.root / "log").iterdir() if path.is_file())
        return "".join(path.read_text(errors="replace") for path in logs)

    # -- making one ----------------------------------------------------------------------

    @property
    def log_path(self) -> Path:
        """Where smbd logs, without its helpers' logs."""
        return self.root / "log" / "log.smbd"

    @property
    def config_path(self) -> Path:
        """The smb.conf in use."""
        return self.root / "smb.conf"

    def _make_folders(self) -> None:
        self.root.mkdir(exist_ok=True)
        self.root.chmod(0o711)
        _reachable_by_all(self.root)
        for name in ("private", "lock", "state", "cache", "pid", "ncalrpc", "log", "shares"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "private").chmod(0o700)
        for name in self._shares:
            path = self.share_path(name)
            path.mkdir(exist_ok=True)
            path.chmod(0o777)

    def _add_users(self) -> None:
        """Write the accounts that nss_wrapper shows to smbd, and Samba's own database."""
        nobody = User("nobody", "", 65534)
        accounts = [(user.name, self._uid(user)) for user in (*USERS, nobody)]
        self._nss_file("passwd", [f"{name}:x:{uid}:{uid}::/:/bin/false" for name, uid in accounts])
        self._nss_file("group", [f"{name}:x:{uid}:" for name, uid in accounts])
        self._write_config(_ANY_PORT)
        for user in USERS:
            done = subprocess.run(
                [
                    *(_program("pdbedit", "samba-common-bin"), "--configfile"),
                    *(str(self.config_path), "--create", "--password-from-stdin"),
                    *("--user", user.name),
                ],
                input=f"{user.password}\n" * 2,
                env={**os.environ, **self._nss_environment()},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if not (self.root / "private" / "passdb.tdb").exists() or done.returncode:
                raise BedError(f"pdbedit made no account {user.name}: {done.stdout}{done.stderr}")

    @staticmethod
    def _uid(user: User) -> int:
        return user.uid if os.geteuid() == 0 else os.geteuid()

    def _nss_file(self, name: str, lines: list[str]) -> None:
        (self.root / name).write_text("".join(f"{line}\n" for line in lines))

    def _nss_environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(_nss_wrapper()),
            "NSS_WRAPPER_PASSWD": str(self.root / "passwd"),
            "NSS_WRAPPER_GROUP": str(self.root / "group"),
        }

    def _write_config(self, port: int) -> None:
        parameters = {
            "server role": "standalone server",
            "netbios name": "SMBFSBED",
            "workgroup": "BED",
            "disable netbios": "yes",
            "interfaces": f"{_HOST}/8",
            "bind interfaces only": "yes",
            "smb ports": str(port),
            "passdb backend": f"tdbsam:{self.root}/private/passdb.tdb",
            "private dir": f"{self.root}/private",
            "lock directory": f"{self.root}/lock",
            "state directory": f"{self.root}/state",
            "cache directory": f"{self.root}/cache",
            "pid directory": f"{self.root}/pid",
            "ncalrpc dir": f"{self.root}/ncalrpc",
            "usershare path": "",
            "log level": "1",
            "max log size": "0",
            "load printers": "no",
            "printcap name": "/dev/null",
            "disable spoolss": "yes",
            **self._globals,
        }
        sections = {"global": parameters}
        for share in self._shares.values():
            path = str(self.share_path(share.name))
            sections[share.name] = {"path": path, "read only": "no", **share.options}
        self.config_path.write_text(_smb_conf(sections))

    def _client_config(self) -> Path:
        path = self.root / "client.conf"
        if not path.exists():
            folders = ("private dir", "lock directory", "state directory", "cache directory")
            settings = dict.fromkeys(folders, f"{self.root}/client")
            settings["log file"] = f"{self.root}/client/log"
            (self.root / "client").mkdir(exist_ok=True)
            path.write_text(_smb_conf({"global": settings}))
        return path

    def _mount_limited_shares(self) -> tuple[Path, ...]:
        """Give each share with a size its own small file system, once; return those."""
        limited = [share for share in self._shares.values() if share.size is not None]
        paths = []
        for share in limited:
            path = self.share_path(share.name)
            paths.append(path)
            if path.is_mount():
                continue
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={share.size},mode=0777", "bed", str(path)],
                check=True,
            )
        return tuple(paths)

    def _wait_serving(self, port: int) -> bool:
        """Whether smbd takes connections on ``port``; False when it has ended instead."""
        deadline = time.monotonic() + _READY_WITHIN_S
        assert self._guardian is not None
        while time.monotonic() < deadline:
            try:
                socket.create_connection((_HOST, port), timeout=1).close()
            except OSError:
                if self._guardian.wait_exited(timeout_s=0.02) is not None:
                    return False
            else:
                return True
        return False


def _smb_conf(sections: Mapping[str, Mapping[str, str]]) -> str:
    lines = []
    for name, parameters in sections.items():
        lines += [f"[{name}]", *(f"    {key} = {value}" for key, value in parameters.items())]
    return "\n".join(lines) + "\n"


def _program(name: str, package: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise BedError(f"{name} is not installed: run `./dev setup` as root, or install {package}")
    return path


def _nss_wrapper() -> Path:
    for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        for pattern in ("libnss_wrapper.so", "*/libnss_wrapper.so"):
            for path in sorted(Path(folder).glob(pattern)):
                return path
    raise BedError("nss_wrapper is not installed: run `./dev setup` as root (libnss-wrapper)")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _reachable_by_all(path: Path) -> None:
    """Raise BedError unless the server's users, who are not us, can enter ``path``'s parents."""
    closed = [str(parent) for parent in path.parents if not parent.stat().st_mode & 0o001]
    if closed and os.geteuid() == 0:
        raise BedError(f"Samba's users can't reach {path}: {closed[0]} is closed to them")
