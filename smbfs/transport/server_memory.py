"""What was learned of a server and helps to reach it sooner the next time.

Small files in a folder that only its owner can enter, since there are keys among them. Whatever is
missing, broken or not to be written costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)


class ServerMemory:
    """Facts by kind and name. Each is a JSON object."""

    def __init__(self, folder: Path) -> None:
        """Keep them in ``folder``, which is made when it is needed, in a private place."""
        self._folder = folder

    def recall(self, kind: str, name: str) -> Mapping[str, Any]:
        """Return what is known; empty if nothing is."""
        return _read(self._path(kind, name))

    def take(self, kind: str, name: str) -> Mapping[str, Any]:
        """Return what is known, and forget it: of several who ask at once, one gets it."""
        path = self._path(kind, name)
        ours = path.with_suffix(f".{os.getpid()}")
        try:
            path.rename(ours)
        except OSError:
            return {}
        try:
            return _read(ours)
        finally:
            ours.unlink(missing_ok=True)

    def keep(self, kind: str, name: str, facts: Mapping[str, Any]) -> None:
        """Remember ``facts`` in the place of what was known."""
        path = self._path(kind, name)
        beside = path.with_suffix(f".{os.getpid()}")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(facts, file)
            beside.replace(path)
        except OSError as error:
            _log.debug("not remembered: %s", error)
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def _path(self, kind: str, name: str) -> Path:
        # Names are other people's: they may be long, and have slashes.
        return self._folder / f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}
