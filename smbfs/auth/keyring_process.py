"""Ask the user's keyring, in a process of its own.

A keyring may put up a dialogue, ask on the terminal, wait for a service that never answers, or load
half a desktop into memory. A mount must suffer none of that, so a child process asks
(:mod:`smbfs.auth.keyring_child`), is told by a pipe, and is killed when it takes too long.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from smbfs.auth.keyring_entries import KeyringEntry, KeyringQuery, SeveralUsers
from smbfs.auth.keyring_stores import Trouble
from smbfs.errors import AuthenticationError

FILE_BACKEND: Final = "keyrings.cryptfile.cryptfile.CryptFileKeyring"
"""A keyring without a desktop: an encrypted file, whose passphrase is asked for."""

_HEADLESS_TIMEOUT_S: Final = 5
_PATIENCE_S: Final = 60  # somebody may be typing
_BUS: Final = "DBUS_SESSION_BUS_ADDRESS"
_BACKEND: Final = "PYTHON_KEYRING_BACKEND"
_DESKTOP: Final = ("DISPLAY", "WAYLAND_DISPLAY")

_ALTERNATIVES: Final = (
    "without a desktop: give credentials=FILE (username=, password= and domain= lines, mode 0600) "
    "when you mount, or systemd's $CREDENTIALS_DIRECTORY; or have an encrypted file, whose "
    f"passphrase is asked for: pip install 'smbfs[keyring-file]', and {_BACKEND}={FILE_BACKEND}."
)
_WHY: Final[Mapping[Trouble, str]] = {
    Trouble.ABSENT: "there is no keyring in this session",
    Trouble.LOCKED: "the keyring is locked",
    Trouble.SWITCHED_OFF: "the keyring is switched off ({about})",
    Trouble.PLAIN_TEXT: "{about} keeps passwords as plain text, and is not used",
    Trouble.NOT_LOADED: "{about}",
    Trouble.NO_TERMINAL: "the keyring asks for its passphrase, and there is no terminal",
    Trouble.WRONG_PASSPHRASE: "the keyring's passphrase is not that, or its file is damaged",
    Trouble.SILENT: "the keyring did not answer within {about} s (is it locked?)",
    Trouble.FAILED: "the keyring failed ({about})",
}
_DO: Final[Mapping[Trouble, str]] = {
    Trouble.LOCKED: "unlock it (signing on to the desktop does, or its password manager), and try "
    "again.",
    Trouble.NO_TERMINAL: "run this on a terminal.",
    Trouble.WRONG_PASSPHRASE: "try again.",
}


class KeyringUnusable(AuthenticationError):
    """The keyring can't be asked, or does not answer."""

    def __init__(self, kind: Trouble, about: str = "") -> None:
        self.kind = kind
        self.reason = _WHY[kind].format(about=about or "no more is known")
        if kind is Trouble.ABSENT and os.geteuid() == 0:
            self.reason += " (root, by sudo or fstab, has no part in a user's desktop)"
        do = "\n".join(filter(None, (_DO.get(kind), _capital(_ALTERNATIVES))))
        super().__init__("the keyring can't be used", f"{self.reason}.", do)


class KeyringProcess:
    """A conversation with the keyring, for the length of a ``with`` block.

    Every method may wait, as long as somebody may be typing, and raise KeyringUnusable.
    """

    def __init__(self, environment: Mapping[str, str], *, may_ask: bool = True) -> None:
        """Nothing is asked, of the user either, before the first method is called.

        With ``may_ask``, it may ask the user to unlock it, by a dialogue or on the terminal.
        """
        self._environment = _with_bus(environment)
        self._may_ask = may_ask
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.__exit__(None, None, None)

    def make_ready(self, server: str) -> None:
        """Have the keyring unlocked, so that a password for ``server`` can be stored."""
        self._ask({"verb": "make-ready", "server": server})

    def put(self, entry: KeyringEntry) -> None:
        """Store a password in place of what was there for the same."""
        self._ask({"verb": "put", "entry": entry.as_fields()})

    def find(self, query: KeyringQuery) -> KeyringEntry | None:
        """Return the password that a mount uses, if there is one. Raises: SeveralUsers."""
        answer = self._ask({"verb": "find", "query": _fields(query)})
        return parse_entries([answer.get("entry")])[0] if answer.get("entry") is not None else None

    def remove(self, query: KeyringQuery) -> list[KeyringEntry]:
        """Remove all that has what the query names; return that, without the passwords."""
        answer = self._ask({"verb": "remove", "query": _fields(query)})
        return parse_entries(answer.get("entries"))

    def _ask(self, request: Mapping[str, object]) -> Mapping[str, object]:
        within_s = self._patience_s()
        child = self._child = self._child or self._start()
        assert child.stdin is not None
        full = {**request, "may_ask": self._may_ask, "within_s": within_s}
        with suppress(BrokenPipeError):  # what it has not said says why
            child.stdin.write(json.dumps(full).encode() + b"\n")
        line = _read_line(child, within_s)
        if line is None:
            raise KeyringUnusable(Trouble.SILENT, f"{within_s:g}")
        return parse_answer(line)

    def _patience_s(self) -> int:
        if not self._may_ask:
            return _HEADLESS_TIMEOUT_S
        is_desktop = any(self._environment.get(name) for name in _DESKTOP)
        may_ask_here = _is_chosen(self._environment) and _has_terminal()
        return _PATIENCE_S if is_desktop or may_ask_here else _HEADLESS_TIMEOUT_S

    def _start(self) -> subprocess.Popen[bytes]:
        if not (self._environment.get(_BUS) or _is_chosen(self._environment)):
            raise KeyringUnusable(Trouble.ABSENT)
        try:
            return subprocess.Popen(
                # -P: the current directory is no place to load code from.
                [sys.executable, "-P", "-m", "smbfs.auth.keyring_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=self._environment,
                # Without a terminal of its own it can't ask on ours.
                start_new_session=not self._may_ask,
            )
        except OSError as error:
            raise KeyringUnusable(Trouble.FAILED, str(error)) from error


def parse_answer(line: bytes) -> Mapping[str, object]:
    """Read the child's answer. Raises: SeveralUsers, KeyringUnusable, as it says."""
    try:
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise TypeError("no object")
        users = answer.get("users")
        if users is not None:
            raise SeveralUsers(str(user) for user in users)
        if "trouble" in answer:
            raise KeyringUnusable(Trouble(answer["trouble"]), str(answer.get("about") or ""))
    except (ValueError, TypeError, RecursionError):
        # The cause may quote what was said, a password among it: it stays here.
        raise KeyringUnusable(Trouble.FAILED, "it has ended") from None
    return answer


def parse_entries(fields: object) -> list[KeyringEntry]:
    """Read entries of an answer. Raises: KeyringUnusable."""
    try:
        if not isinstance(fields, list):
            raise TypeError("no list")
        return [KeyringEntry.from_fields(each) for each in fields]
    except (ValueError, TypeError):
        raise KeyringUnusable(Trouble.FAILED, "its answer can't be read") from None


def _read_line(child: subprocess.Popen[bytes], within_s: float) -> bytes | None:
    """Return a line of the child's, without its end if it ends there; None when it is silent."""
    assert child.stdout is not None
    said = b""
    deadline_s = time.monotonic() + within_s
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while not said.endswith(b"\n"):
            if not selector.select(max(0.0, deadline_s - time.monotonic())):
                return None
            chunk = os.read(child.stdout.fileno(), 65536)
            if not chunk:
                break
            said += chunk
    return said


def _fields(query: KeyringQuery) -> Mapping[str, object]:
    return {
        "server": query.server,
        "port": query.port,
        "share": query.share,
        "user": query.user,
        "domain": query.domain,
    }


def _with_bus(environment: Mapping[str, str]) -> dict[str, str]:
    """Name the session's bus where it has its usual place: not all libraries look there."""
    found = dict(environment)
    runtime = found.get("XDG_RUNTIME_DIR")
    if not found.get(_BUS) and runtime and (Path(runtime) / "bus").exists():
        found[_BUS] = f"unix:path={runtime}/bus"
    return found


def _is_chosen(environment: Mapping[str, str]) -> bool:
    """Whether the user has named a keyring, as users of the keyring library do."""
    home = environment.get("HOME", "")
    base = environment.get("XDG_CONFIG_HOME") or f"{home}/.config"
    is_configured = (Path(base) / "python_keyring" / "keyringrc.cfg").exists()
    return bool(environment.get(_BACKEND)) or is_configured


def _has_terminal() -> bool:
    try:
        os.close(os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
