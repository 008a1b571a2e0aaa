"""A desktop's keyring without a desktop: gnome-keyring on a D-Bus session of its own.

Nothing of the user's own session is touched: whoever is to use this keyring gets
:meth:`SecretService.environment`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Self

from jeepney.io.blocking import DBusConnection, open_dbus_connection
from secretstorage import SecretStorageException, get_collection_by_alias

from tests.beds.guardian import BedError, Guardian
from tests.beds.samba_folder import program

_OPENS_IT = "a keyring's own"
_READY_WITHIN_S = 20.0
_STARTS = """\
exec "$1" --unlock --foreground --components=secrets <<END
$KEYRING_PASSPHRASE
END
"""

# Without folders of services nothing is started that nobody has asked for, no dialogue either.
_BUS_CONFIG = """\
<busconfig>
  <type>session</type>
  <auth>EXTERNAL</auth>
  <listen>unix:tmpdir=/tmp</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


class SecretService:
    """A running session with an open keyring; ends with :meth:`stop`, with the block or with us.

    ``root`` is a folder for it alone. With ``keyring=False`` the session has none.
    Raises: BedError if it is not installed, or does not answer within 20 s.
    """

    def __init__(self, root: Path, *, keyring: bool = True) -> None:
        self.root = root
        root.mkdir(mode=0o700)
        (root / "run").mkdir(mode=0o700)
        self._bus: Guardian | None = None
        self._keyring: Guardian | None = None
        self._bus = self._start_bus()
        if keyring:
            self.unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.stop()

    def environment(self, **more: str) -> dict[str, str]:
        """What makes a program part of this session, which has no screen."""
        return {
            "HOME": str(self.root),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "XDG_DATA_HOME": str(self.root / "data"),
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.root}/bus",
            "DISPLAY": "",
            "WAYLAND_DISPLAY": "",
            **more,
        }

    def unlock(self) -> None:
        """Have the keyring open, as signing on to a desktop does. Raises: BedError."""
        self._stop_keyring()
        self._keyring = Guardian.start(
            ["sh", "-c", _STARTS, "sh", program("gnome-keyring-daemon", "gnome-keyring")],
            self.root / "keyring.out",
            env=self.environment(KEYRING_PASSPHRASE=_OPENS_IT),
        )
        deadline_s = time.monotonic() + _READY_WITHIN_S
        while not self._is_open():
            if time.monotonic() > deadline_s or self._keyring.wait_exited(0.01) is not None:
                raise BedError(f"the keyring does not open: {self._keyring.log()}")

    def lock(self) -> None:
        """Lock it, as leaving the desktop does: nobody could be asked to unlock it here."""
        with closing(self._connect()) as connection:
            get_collection_by_alias(connection, "default").lock()

    def freeze(self) -> None:
        """Have it answer nobody, until :meth:`thaw`."""
        os.kill(self._running().pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it answer again."""
        os.kill(self._running().pid, signal.SIGCONT)

    def store(self, password: str, **attributes: str) -> None:
        """Store a password by ``secret-tool``. Raises: BedError."""
        pairs = [text for pair in attributes.items() for text in pair]
        self._run("secret-tool", "store", "--label=test", *pairs, said=password)

    def look_up(self, **attributes: str) -> str | None:
        """Look a password up by ``secret-tool``; None if there is none."""
        pairs = [text for pair in attributes.items() for text in pair]
        done = self._try("secret-tool", "lookup", *pairs)
        return done.stdout if done.returncode == 0 else None

    def stop(self) -> None:
        """End the session. Twice does no harm."""
        self._stop_keyring()
        if self._bus is not None:
            self._bus.stop()
            self._bus = None

    def _running(self) -> Guardian:
        if self._keyring is None:
            raise BedError("this session has no keyring")
        return self._keyring

    def _stop_keyring(self) -> None:
        if self._keyring is not None:
            self._keyring.stop()
            self._keyring = None

    def _start_bus(self) -> Guardian:
        address = f"unix:path={self.root}/bus"
        config = self.root / "bus.conf"
        config.write_text(_BUS_CONFIG)
        command = [program("dbus-daemon", "dbus-daemon"), f"--config-file={config}"]
        bus = Guardian.start([*command, "--nofork", f"--address={address}"], self.root / "bus.out")
        deadline_s = time.monotonic() + _READY_WITHIN_S
        while not _is_served(self.root / "bus"):
            if time.monotonic() > deadline_s or bus.wait_exited(0.01) is not None:
                raise BedError(f"no D-Bus session: {bus.log()}")
        return bus

    def _is_open(self) -> bool:
        with closing(self._connect()) as connection:
            try:
                return not get_collection_by_alias(connection, "default").is_locked()
            except SecretStorageException:
                return False

    def _connect(self) -> DBusConnection:
        return open_dbus_connection(bus=self.environment()["DBUS_SESSION_BUS_ADDRESS"])

    def _run(self, name: str, *arguments: str, said: str = "") -> str:
        done = self._try(name, *arguments, said=said)
        if done.returncode:
            raise BedError(f"{name} {arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def _try(self, name: str, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program(name, "libsecret-tools"), *arguments],
            input=said,
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True
