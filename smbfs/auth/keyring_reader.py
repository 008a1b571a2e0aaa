"""Ask the user's keyring for a password, in a process of its own.

A keyring may put up a dialogue, wait for a service that never answers, or load half a
desktop into memory. The daemon must suffer none of that, so a child process asks, prints
one JSON line, and is killed when it takes too long.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_HEADLESS_TIMEOUT_S: Final = 5.0
_DESKTOP_TIMEOUT_S: Final = 60.0  # somebody may be typing the keyring's password
_ASKS_FOR_IT: Final = ("DBUS_SESSION_BUS_ADDRESS", "PYTHON_KEYRING_BACKEND")
_DESKTOP: Final = ("DISPLAY", "WAYLAND_DISPLAY")


@dataclass(frozen=True, slots=True)
class KeyringEntry:
    """What the keyring holds for a server."""

    username: str
    r"""User as stored: ``name``, ``DOMAIN\name`` or ``name@REALM``."""

    password: str = field(repr=False)
    """The secret."""


def keyring_service(server: str) -> str:
    """Name under which passwords of a server are stored."""
    return f"smbfs:{server.lower()}"


def read_keyring(
    server: str, usernames: Sequence[str], environment: Mapping[str, str]
) -> KeyringEntry | str:
    """Return the entry for the first of ``usernames`` (none: for anybody) at ``server``.

    A text in place of an entry says why there is none. Never raises, never waits long.
    """
    if not _has_keyring(environment):
        return "there is no keyring in this session"
    desktop = any(environment.get(name) for name in _DESKTOP)
    timeout_s = _DESKTOP_TIMEOUT_S if desktop else _HEADLESS_TIMEOUT_S
    # -P: the current directory is no place to load code from.
    command = [sys.executable, "-P", "-m", __name__, keyring_service(server), *usernames]
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            env=dict(environment),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the keyring did not answer within {timeout_s:g} s (is it locked?)"
    except OSError as error:
        return f"the keyring can't be asked: {error}"
    return _parse_answer(result.stdout)


def _has_keyring(environment: Mapping[str, str]) -> bool:
    if any(environment.get(name) for name in _ASKS_FOR_IT):
        return True
    runtime = environment.get("XDG_RUNTIME_DIR")
    return bool(runtime) and (Path(runtime) / "bus").exists() if runtime else False


def _parse_answer(output: bytes) -> KeyringEntry | str:
    try:
        answer = json.loads(output)
        if "reason" in answer:
            return str(answer["reason"])
        username, password = answer["username"], answer["password"]
        if not (isinstance(username, str) and isinstance(password, str)):
            raise TypeError("not text")
        return KeyringEntry(username, password)
    except (ValueError, LookupError, TypeError, RecursionError):
        # The cause may quote what was printed, a password among it: it stays here.
        return "the keyring could not be asked"


def _look_up(service: str, usernames: Sequence[str]) -> dict[str, str]:
    """Run in the child: look into the keyring, return the fields of the JSON line."""
    import keyring
    from keyring.errors import InitError, KeyringError, KeyringLocked, NoKeyringError

    try:
        for username in usernames or (None,):
            entry = keyring.get_credential(service, username)
            if entry is not None and entry.password:
                return {"username": entry.username or username or "", "password": entry.password}
    except KeyringLocked:
        return {"reason": "the keyring is locked"}
    except (NoKeyringError, InitError):
        return {"reason": "there is no keyring in this session"}
    except (KeyringError, RuntimeError, OSError) as error:
        return {"reason": f"the keyring failed ({type(error).__name__})"}
    return {"reason": "the keyring holds nothing for this server"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_look_up(sys.argv[1], sys.argv[2:])))
