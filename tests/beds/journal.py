"""What a process of a load tells about itself: a journal of what happened, and a pulse.

The journal has a line of JSON for each event, and is what a server is held to afterwards. The
pulse says which operation is under way and since when, so that others see one that never returns.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

_PULSE_SIZE = 400

Event = dict[str, Any]
"""``kind``, ``at`` (seconds of the monotonic clock) and what belongs to the kind."""


class Journal:
    """Where one process writes; both files are made."""

    def __init__(self, folder: Path, name: str) -> None:
        self._journal = os.open(
            folder / f"{name}.journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_DSYNC, 0o600
        )
        self._pulse = os.open(folder / f"{name}.pulse", os.O_WRONLY | os.O_CREAT, 0o600)

    def say(self, kind: str, **fields: object) -> None:
        """Add an event; it is on this machine's disk when this returns."""
        event = {"kind": kind, "at": round(time.monotonic(), 4), **fields}
        os.write(self._journal, f"{json.dumps(event)}\n".encode())

    @contextmanager
    def doing(self, operation: str) -> Iterator[None]:
        """Show that ``operation`` is under way."""
        self._beat(operation)
        try:
            yield
        finally:
            self._beat("")

    def _beat(self, operation: str) -> None:
        line = f"{time.monotonic():.4f} {operation}"
        os.pwrite(self._pulse, line.encode()[:_PULSE_SIZE].ljust(_PULSE_SIZE), 0)


class Pulse(NamedTuple):
    """The last sign of life."""

    since: float
    """Seconds of the monotonic clock."""
    operation: str
    """Empty between two."""


def read_pulse(path: Path) -> Pulse | None:
    """Return what a process does now; None if it has done nothing yet."""
    text = path.read_text("utf-8") if path.exists() else ""
    since, _, operation = text.strip().partition(" ")
    return Pulse(float(since), operation) if since else None


def read_journal(path: Path) -> list[Event]:
    """Return the events of a process in order."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
