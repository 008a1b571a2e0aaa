"""The real ``smbfs gateway`` in front of a TCP port, on a free UDP port of this machine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.beds.guardian import BedError, Guardian
from tests.beds.pki import Leaf

HOST = "127.0.0.1"
_REPOSITORY = Path(__file__).parents[2]
_PATIENCE_S = 20.0


class QuicGateway:
    """A gateway, ended at the latest when this process ends."""

    def __init__(self, guardian: Guardian) -> None:
        self._guardian = guardian
        self.port = int(self.wait_said(r"^listening on ").rpartition(":")[2])
        """UDP port."""

    @property
    def pid(self) -> int:
        return self._guardian.pid

    def log(self) -> str:
        """What it has printed and audited so far."""
        return self._guardian.log()

    def wait_said(self, pattern: str) -> str:
        """Return the first line of the log that ``pattern`` is found in; it may still come.

        Raises: BedError when it does not come in time.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            for line in self.log().splitlines():
                if re.search(pattern, line):
                    return line
            time.sleep(0.01)  # A file has nobody who tells that it has grown.
        raise BedError(f"the gateway never said {pattern!r}:\n{self.log()}")

    def hang_up(self) -> None:
        """SIGHUP: read certificates again."""
        os.kill(self.pid, signal.SIGHUP)

    def terminate(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end."""
        os.kill(self.pid, number)

    def wait_ended(self) -> int | None:
        """Its exit code; None when it does not end in time."""
        return self._guardian.wait_exited(_PATIENCE_S)


def gateway_command(*arguments: str) -> list[str]:
    """The command line, for this interpreter."""
    return [sys.executable, "-m", "smbfs.cli.main", "gateway", *arguments]


def run_gateway(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a gateway that is expected to refuse its arguments."""
    return subprocess.run(
        gateway_command(*arguments),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=False,
        cwd=_REPOSITORY,
    )


@contextmanager
def quic_gateway(
    folder: Path,
    to_port: int,
    certificates: list[Leaf],
    *options: str,
    host: str = HOST,
    inside: Sequence[str] = (),
) -> Iterator[QuicGateway]:
    """Serve TCP port ``to_port`` of this machine over QUIC. Its log is in ``folder``.

    ``inside`` is a command that runs another one, in a network namespace for example.

    Raises: BedError if it does not listen.
    """
    arguments = ["--listen", f"{host}:0", "--to", f"{HOST}:{to_port}", *options]
    for leaf in certificates:
        arguments += ["--cert", str(leaf.cert), "--key", str(leaf.key)]
    guardian = Guardian.start([*inside, *gateway_command(*arguments)], folder / "gateway.log")
    try:
        yield QuicGateway(guardian)
    finally:
        guardian.stop()
