"""A private MIT KDC: a realm of its own on a port of loopback, and what belongs to it.

Nothing of the machine's own Kerberos is read or written: whoever is to use this realm gets
:meth:`Kdc.environment`.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.beds.guardian import BedError, Guardian
from tests.beds.samba_folder import ALICE, BOB, HOST, program
from tests.beds.tcp_sockets import free_port

REALM = "TEST.LOCAL"
SERVER_NAME = "bed.test"
"""The host whose key servers have, ``cifs/bed.test``; the tests' certificates name it, too."""

_READY_WITHIN_S = 20.0
_PORT_TRIES = 5
_ANY_PORT = 88
"""Stands in the configuration until there is a KDC."""


class Kdc:
    """A running krb5kdc; ends with :meth:`stop`, with the ``with`` block or with us.

    It knows ALICE and BOB of the Samba bed by their passwords, and the host ``SERVER_NAME``.
    ``root`` is a folder for it alone. ``max_life`` and ``max_renewable_life`` bound all tickets
    (kdc.conf's notation). ``inside`` is a command that runs another one, in a network namespace
    for example: only there the KDC can be reached.
    Raises: BedError if it is not installed, or does not serve within 20 s.
    """

    realm = REALM

    def __init__(
        self,
        root: Path,
        *,
        max_life: str = "10h",
        max_renewable_life: str = "7d",
        inside: Sequence[str] = (),
    ) -> None:
        self.root = root
        self._inside = tuple(inside)
        self._life = max_life, max_renewable_life
        self._guardian: Guardian | None = None
        self.port = 0
        root.mkdir()
        self._write_config(_ANY_PORT)
        self._make_database()
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.stop()

    @property
    def config_path(self) -> Path:
        """A krb5.conf for clients of this realm, which asks nobody else for anything."""
        return self.root / "krb5.conf"

    @property
    def service_keytab(self) -> Path:
        """Keys of ``cifs/SERVER_NAME``, for a server."""
        return self.root / "cifs.keytab"

    def environment(self, ccache: Path | None = None) -> dict[str, str]:
        """What makes a program live in this realm, by default with a ticket cache of its own."""
        return {
            "KRB5_CONFIG": str(self.config_path),
            "KRB5CCNAME": f"FILE:{ccache or self.root / 'ccache'}",
        }

    def samba_globals(self) -> Mapping[str, str]:
        """What smb.conf says of a server that takes this realm's tickets.

        Its smbd needs :meth:`environment`, too.
        """
        return {
            "realm": REALM,
            "kerberos method": "dedicated keytab",
            "dedicated keytab file": f"FILE:{self.service_keytab}",
        }

    def start(self) -> None:
        """Serve (again): on the same port as before, if there was one."""
        for _ in range(_PORT_TRIES):
            port = self.port or free_port()
            self._write_config(port)
            command = [program("krb5kdc", "krb5-kdc"), "-n", "-r", REALM]
            command += ["-P", str(self.root / "pid")]
            log = self.root / "krb5kdc.out"
            begun = len(self.log())
            self._guardian = Guardian.start([*self._inside, *command], log, env=self._settings())
            if self._wait_serving(begun):
                self.port = port
                return
            self.stop()
        raise BedError(f"krb5kdc does not serve; its log says:\n{self.log()[-4000:]}")

    def stop(self) -> None:
        """Stop serving. Twice does no harm."""
        if self._guardian is not None:
            self._guardian.stop()
            self._guardian = None

    def log(self) -> str:
        """What it has logged so far, a line for each request."""
        logs = [self.root / "kdc.log", self.root / "krb5kdc.out"]
        return "".join(path.read_text(errors="replace") for path in logs if path.exists())

    def add_principal(self, name: str, password: str | None = None, *flags: str) -> None:
        """Enter a principal, with a random key unless there is a password.

        ``flags`` are kadmin's: ``-maxlife 30s``, ``-expire yesterday``, …
        """
        key = ("-randkey",) if password is None else ("-pw", password)
        self.administer("addprinc", *flags, *key, name)

    def administer(self, *query: str) -> str:
        """Run one command of kadmin.local and return what it printed. Raises: BedError."""
        return self._run("kadmin.local", "-r", REALM, *query)

    def write_keytab(self, principal: str, path: Path) -> None:
        """Add a principal's key, made anew, to a keytab."""
        self.administer("ktadd", "-k", str(path), principal)

    def sign_on(
        self, principal: str = ALICE.name, password: str = ALICE.password, *flags: str, ccache: Path
    ) -> None:
        """Get a ticket as ``kinit`` does. Raises: BedError."""
        self._run("kinit", *flags, principal, ccache=ccache, said=f"{password}\n")

    def _make_database(self) -> None:
        self._run("kdb5_util", "create", "-r", REALM, "-s", "-P", "master-key")
        for user in (ALICE, BOB):
            self.add_principal(user.name, user.password)
        self.add_principal(f"cifs/{SERVER_NAME}")
        self.write_keytab(f"cifs/{SERVER_NAME}", self.service_keytab)

    def _run(self, name: str, *arguments: str, ccache: Path | None = None, said: str = "") -> str:
        done = subprocess.run(
            [program(name, "krb5-admin-server, krb5-kdc and krb5-user"), *arguments],
            input=said,
            env={**os.environ, **self._settings(), **self.environment(ccache)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # kadmin.local exits with 0 whatever happened, and prints what went wrong.
        if done.returncode or f"{name}: " in done.stderr or " while " in done.stderr:
            raise BedError(f"{name} {arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def _settings(self) -> dict[str, str]:
        return {
            "KRB5_CONFIG": str(self.config_path),
            "KRB5_KDC_PROFILE": str(self.root / "kdc.conf"),
        }

    def _write_config(self, port: int) -> None:
        life, renewable = self._life
        self.config_path.write_text(
            f"""\
[libdefaults]
    default_realm = {REALM}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = false
    rdns = false
    udp_preference_limit = 1
    ticket_lifetime = {life}
    renew_lifetime = {renewable}
[realms]
    {REALM} = {{
        kdc = {HOST}:{port}
    }}
[domain_realm]
    .test = {REALM}
    localhost = {REALM}
"""
        )
        (self.root / "kdc.conf").write_text(
            f"""\
[kdcdefaults]
    kdc_listen = {HOST}:{port}
    kdc_tcp_listen = {HOST}:{port}
[realms]
    {REALM} = {{
        database_name = {self.root}/principal
        key_stash_file = {self.root}/stash
        acl_file = {self.root}/acl
        max_life = {life}
        max_renewable_life = {renewable}
    }}
[logging]
    kdc = FILE:{self.root}/kdc.log
"""
        )

    def _wait_serving(self, begun: int) -> bool:
        """Whether it says so behind so many characters of log; False when it has ended instead."""
        assert self._guardian is not None
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            if "commencing operation" in self.log()[begun:]:
                return True
            if self._guardian.wait_exited(timeout_s=0.02) is not None:
                return False
        return False
