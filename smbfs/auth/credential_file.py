"""Credentials files in mount.cifs' format: ``username=``, ``password=``, ``domain=`` lines."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from smbfs.config.files import open_at_once
from smbfs.config.values import split_user
from smbfs.errors import ConfigError

_MAX_SIZE: Final = 65536
_KEYS: Final = {
    "username": "username",
    "user": "username",
    "password": "password",
    "pass": "password",
    "domain": "domain",
    "dom": "domain",
    "workgroup": "domain",
    "password2": "",  # for a password change under way; accepted, not used
}


@dataclass(frozen=True, slots=True)
class CredentialFile:
    """What a credentials file says; None for what it leaves out."""

    username: str | None = None
    """User without its domain."""

    domain: str | None = None
    """Domain, from its own line or from ``DOM\\user``."""

    password: str | None = field(default=None, repr=False)
    """Everything after the first ``=`` of its line, blanks included."""

    changed_ns: int = 0
    """When the file was last changed, in nanoseconds of the Unix epoch."""


def read_credential_file(path: Path, *, private: bool = True) -> CredentialFile:
    """Read the file; with ``private``, refuse one that other users can read or replace.

    Raises: ConfigError with what is wrong and the remedy, never with the file's contents.
    """
    try:
        # One open file is checked and read, so that it can't be exchanged in between.
        with open_at_once(path) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise _unusable(path, "it is not a regular file")
            if private:
                _check_private(path, info)
            content = file.read(_MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unusable(path, reason) from error
    if len(content) > _MAX_SIZE:
        raise _unusable(path, f"it is longer than {_MAX_SIZE} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The cause holds the contents: it must not travel along.
        raise _unusable(path, f"it is not UTF-8 text (byte {error.start})") from None
    return replace(parse_credential_text(text, str(path)), changed_ns=info.st_mtime_ns)


def parse_credential_text(text: str, name: str) -> CredentialFile:
    """Parse the lines of a credentials file called ``name``.

    Raises: ConfigError naming file and line.
    """
    found: dict[str, str] = {}
    # Not splitlines(): it also splits at characters that a password may contain.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        key, equals, value = line.removesuffix("\r").partition("=")
        field_name = _KEYS.get(key.strip().lower())
        if not equals:
            raise _bad_line(name, number, "it has no =")
        if "\0" in value:
            raise _bad_line(name, number, "it contains a NUL character")
        if field_name is None:
            # The key isn't shown: it may be a password that was split over two lines.
            raise _bad_line(name, number, "its key is none of username, password, domain")
        if field_name == "password" and key[-1:].isspace() and value[:1].isspace():
            raise _bad_line(name, number, "blanks around its = would be part of the password")
        # Blanks may be part of a password, and of nothing else.
        found[field_name] = value if field_name == "password" else value.strip()
    found.pop("", None)
    if "username" in found:
        user, domain = split_user(found["username"])
        if "%" in user and "password" not in found:
            raise ConfigError(
                f"{name}: the user's name has a password in it",
                "it contains %, and there is no line with a password.",
                "write the password into a line of its own: password=…",
            )
        found["username"] = user
        if domain:
            found.setdefault("domain", domain)
    return CredentialFile(found.get("username"), found.get("domain"), found.get("password"))


def _check_private(path: Path, info: os.stat_result) -> None:
    if info.st_uid not in (os.geteuid(), 0):
        raise ConfigError(
            f"{path} refused: it belongs to another user",
            f"user id {info.st_uid} could change the password that is sent.",
            f"chown {os.geteuid()} {path} && chmod 600 {path}",
        )
    if info.st_mode & 0o077:
        raise ConfigError(
            f"{path} refused: other users can open it",
            f"its mode is {stat.S_IMODE(info.st_mode):04o}, and it holds a password.",
            f"chmod 600 {path}",
        )


def _unusable(path: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"the credentials file {path} can't be used",
        f"{reason}.",
        "write username=, password= and domain= lines into it, and chmod 600 it.",
    )


def _bad_line(name: str, number: int, reason: str) -> ConfigError:
    return ConfigError(
        f"{name}, line {number}: not a line of a credentials file",
        f"{reason}.",
        "each line is username=…, password=… or domain=…",
    )
