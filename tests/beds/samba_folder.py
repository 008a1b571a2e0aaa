"""What a private Samba has on disk: configuration, accounts, state and shares.

nss_wrapper shows smbd the accounts written here, so ``/etc/passwd`` stays as it is. As
root, users have user ids of their own and the kernel decides what each may do, as on a
real server. As a plain user Samba can't change its user id, so all accounts are that user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.beds.guardian import BedError
from tests.beds.limited_disks import mount_small, mount_with_quota

HOST = "127.0.0.1"
_ANY_PORT = 445
"""Stands in the configuration until there is a server; Samba refuses to load one with port 0."""


@dataclass(frozen=True)
class Share:
    """One share.

    ``options`` are smb.conf parameters of the share. ``size`` in bytes puts the share on a
    file system of its own that is no larger, ``quota`` on one that is large enough and grants no
    more than so many bytes (both root only).
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    quota: int | None = None


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


class SambaFolder:
    """One folder below ``root`` that smbd and smbclient are pointed at.

    ``root`` lies below folders that every user may enter. ``globals_`` are smb.conf
    parameters of ``[global]`` over ``DEFAULT_GLOBALS``.
    """

    def __init__(self, root: Path, globals_: Mapping[str, str], shares: Sequence[Share]) -> None:
        self.root = root
        self._globals = {**DEFAULT_GLOBALS, **globals_}
        self._shares = tuple(shares)
        self._make_folders()
        self._add_users()

    @property
    def config_path(self) -> Path:
        """The server's smb.conf."""
        return self.root / "smb.conf"

    @property
    def log_folder(self) -> Path:
        """Where every process of the server logs."""
        return self.root / "log"

    def share_path(self, name: str) -> Path:
        """Where the files of a share are."""
        return self.root / "shares" / name

    def nss_environment(self, library: str = "") -> dict[str, str]:
        """What makes a program see the server's accounts instead of the machine's.

        ``library``: nss_wrapper's name where the program runs, if that is not here.
        Raises: BedError.
        """
        return {
            "LD_PRELOAD": library or str(nss_wrapper()),
            "NSS_WRAPPER_PASSWD": str(self.root / "passwd"),
            "NSS_WRAPPER_GROUP": str(self.root / "group"),
        }

    def credentials_file(self, user: User) -> Path:
        """A credentials file for ``user`` in mount.cifs's format, readable by its owner only."""
        path = self.root / f"credentials.{user.name}"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(f"username={user.name}\npassword={user.password}\n")
        return path

    def write_config(self, port: int) -> None:
        """Write the smb.conf of a server on ``port``."""
        parameters = {
            "server role": "standalone server",
            "netbios name": "SMBFSBED",
            "workgroup": "BED",
            "disable netbios": "yes",
            "interfaces": f"{HOST}/8",
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
        for share in self._shares:
            path = str(self.share_path(share.name))
            sections[share.name] = {"path": path, "read only": "no", **share.options}
        self.config_path.write_text(_smb_conf(sections))

    def client_config(self) -> Path:
        """An smb.conf for clients that leaves the machine's own state alone."""
        path = self.root / "client.conf"
        if not path.exists():
            folders = ("private dir", "lock directory", "state directory", "cache directory")
            settings = dict.fromkeys(folders, f"{self.root}/client")
            settings["log file"] = f"{self.root}/client/log"
            (self.root / "client").mkdir(exist_ok=True)
            path.write_text(_smb_conf({"global": settings}))
        return path

    def mount_limited_shares(self) -> tuple[Path, ...]:
        """Give each share with a size or a quota its own file system, once; return those.

        Raises: BedError.
        """
        limited = [each for each in self._shares if each.size is not None or each.quota is not None]
        for share in limited:
            path = self.share_path(share.name)
            if path.is_mount():
                continue
            if share.size is not None:
                mount_small(path, share.size)
            if share.quota is not None:
                mount_with_quota(path, self.root / f"{share.name}.disk", share.quota)
        return tuple(self.share_path(share.name) for share in limited)

    def configure(self, share: str, options: Mapping[str, str] | None) -> None:
        """Give a share these options in the next configuration; None leaves it out of that."""
        others = tuple(each for each in self._shares if each.name != share)
        self._shares = others if options is None else (*others, Share(share, options))

    def set_password(self, user: User, password: str) -> None:
        """Enter a user in Samba's database, or change its password. Raises: BedError."""
        self._pdbedit(
            *("--create", "--password-from-stdin", "--user", user.name), said=f"{password}\n" * 2
        )

    def enable(self, user: User, *, allowed: bool) -> None:
        """Let a user of the database sign on, or not. Raises: BedError."""
        flags = "[]" if allowed else "[D]"
        self._pdbedit("--modify", "--user", user.name, f"--account-control={flags}")

    def _pdbedit(self, *arguments: str, said: str = "") -> None:
        done = subprocess.run(
            [
                *(program("pdbedit", "samba-common-bin"), "--configfile"),
                *(str(self.config_path), *arguments),
            ],
            input=said,
            env={**os.environ, **self.nss_environment()},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if not (self.root / "private" / "passdb.tdb").exists() or done.returncode:
            raise BedError(f"pdbedit {arguments}: {done.stdout}{done.stderr}")

    def _make_folders(self) -> None:
        self.root.mkdir(exist_ok=True)
        self.root.chmod(0o711)
        _reachable_by_all(self.root)
        for name in ("private", "lock", "state", "cache", "pid", "ncalrpc", "log", "shares"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "private").chmod(0o700)
        for share in self._shares:
            path = self.share_path(share.name)
            path.mkdir(exist_ok=True)
            path.chmod(0o777)

    def _add_users(self) -> None:
        """Write the accounts that nss_wrapper shows to smbd, and Samba's own database."""
        nobody = User("nobody", "", 65534)
        accounts = [(user.name, self._uid(user)) for user in (*USERS, nobody)]
        self._nss_file("passwd", [f"{name}:x:{uid}:{uid}::/:/bin/false" for name, uid in accounts])
        self._nss_file("group", [f"{name}:x:{uid}:" for name, uid in accounts])
        self.write_config(_ANY_PORT)
        for user in USERS:
            self.set_password(user, user.password)

    @staticmethod
    def _uid(user: User) -> int:
        return user.uid if os.geteuid() == 0 else os.geteuid()

    def _nss_file(self, name: str, lines: list[str]) -> None:
        (self.root / name).write_text("".join(f"{line}\n" for line in lines))


def _smb_conf(sections: Mapping[str, Mapping[str, str]]) -> str:
    lines = []
    for name, parameters in sections.items():
        lines += [f"[{name}]", *(f"    {key} = {value}" for key, value in parameters.items())]
    return "\n".join(lines) + "\n"


def program(name: str, package: str) -> str:
    """Path of an installed program. Raises: BedError that names the package to install."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise BedError(f"{name} is not installed: run `./dev setup` as root, or install {package}")
    return path


def nss_wrapper() -> Path:
    """Path of the library that answers in place of the machine's files. Raises: BedError."""
    for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib"):
        for pattern in ("libnss_wrapper.so", "*/libnss_wrapper.so"):
            for path in sorted(Path(folder).glob(pattern)):
                return path
    raise BedError("nss_wrapper is not installed: run `./dev setup` as root (libnss-wrapper)")


def _reachable_by_all(path: Path) -> None:
    """Raise BedError unless the server's users, who are not us, can enter ``path``'s parents."""
    closed = [str(parent) for parent in path.parents if not parent.stat().st_mode & 0o001]
    if closed and os.geteuid() == 0:
        raise BedError(f"Samba's users can't reach {path}: {closed[0]} is closed to them")
