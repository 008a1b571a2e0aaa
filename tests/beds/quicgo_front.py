"""A front that is not ours: QUIC by quic-go (``quicgo/main.go``), before a TCP port."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.beds.guardian import BedError, Guardian
from tests.beds.newer_suite import QUIC, newer_suite
from tests.beds.pki import Leaf

HOST = "127.0.0.1"
_SOURCE = Path(__file__).with_name("quicgo") / "main.go"
_PATIENCE_S = 20.0

Event = dict[str, Any]
"""One line of what the front tells; ``main.go`` says what is in which."""


class QuicgoFront:
    """A front, ended at the latest when this process ends."""

    def __init__(self, guardian: Guardian) -> None:
        self._guardian = guardian
        self.port = int(str(self.wait_told("listening")["client"]).rpartition(":")[2])
        """UDP port."""

    @property
    def pid(self) -> int:
        """Its process, which holds the connections to the server behind it."""
        return self._guardian.pid

    def told(self, event: str) -> list[Event]:
        """All events of a kind so far."""
        lines = self._guardian.log().splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.startswith("{") and line[-1] == "\n"]
        return [each for each in events if each["event"] == event]

    def wait_told(self, event: str) -> Event:
        """Return the first event of a kind; it may still come.

        Raises: BedError when it does not come in time.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            if events := self.told(event):
                return events[0]
            time.sleep(0.01)  # A file has nobody who tells that it has grown.
        raise BedError(f"quic-go's front never told of {event!r}:\n{self._guardian.log()}")


def build_quicgo_front(folder: Path) -> Path:
    """Compile the front into ``folder`` and return the program.

    Raises: BedError when there is nothing to compile it with; see :mod:`~tests.beds.newer_suite`.
    """
    program = folder / "quicgo"
    newer_suite(QUIC).build_go(_SOURCE, program)
    return program


@contextmanager
def quicgo_front(
    program: Path,
    folder: Path,
    to_port: int,
    certificate: Leaf,
    *options: str,
    host: str = HOST,
    inside: Sequence[str] = (),
) -> Iterator[QuicgoFront]:
    """Serve TCP port ``to_port`` of this machine over QUIC. Its log is in ``folder``.

    ``inside`` is a command that runs another one, in a network namespace for example.

    Raises: BedError if it does not listen.
    """
    arguments = ["-listen", f"{host}:0", "-backend", f"{HOST}:{to_port}", *options]
    arguments += ["-cert", str(certificate.cert), "-key", str(certificate.key)]
    guardian = Guardian.start([*inside, str(program), *arguments], folder / "quicgo.log")
    try:
        yield QuicgoFront(guardian)
    finally:
        guardian.stop()
