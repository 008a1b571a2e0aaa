"""Changing one key of a config file, and nothing else in it: comments and order stay.

tomlkit does that; it is loaded by ``smbfs config set`` alone.
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from smbfs.errors import ConfigError

Value = bool | int | str | list[str]
"""What a key can be set to."""

Key = tuple[str, ...]
"""``("require_signing",)``, ``("server", "nas", "seal")``."""

_NEW_FILE: Final = 0o600
_NEW_FOLDER: Final = 0o700
_FOR_ALL: Final = 0o044


def with_key(text: str, key: Key, value: Value | None) -> str:
    """Return a TOML text in which ``key`` has this value, or is gone (None).

    Raises: ConfigError where that can't be written without changing anything else.
    """
    try:
        wanted = tomllib.loads(text)
        _change(wanted, key, value)
        document = tomlkit.parse(text)
        # tomlkit's tables are mappings of what they hold, whatever else they know.
        _change(document, key, value, make=lambda parts: tomlkit.table(is_super_table=parts > 1))
        changed = tomlkit.dumps(document)
        done = tomllib.loads(changed) == wanted
    except (TOMLKitError, RecursionError, ValueError, TypeError, KeyError, AttributeError):
        changed, done = text, False
    if not done:
        raise ConfigError(
            f"{'.'.join(key)} can't be written into this file",
            "something in it is written in a way that smbfs does not know how to change.",
            "change it with an editor.",
        )
    return changed


def _change(
    table: MutableMapping[str, Any],
    key: Key,
    value: Value | None,
    make: Callable[[int], object] = lambda _parts: {},
) -> None:
    *above, last = key
    for left, part in enumerate(above):
        if part not in table:
            if value is None:
                return
            table[part] = make(len(above) - left)
        table = table[part]
    if value is None:
        table.pop(last, None)
    else:
        table[last] = value


def write_config(path: Path, text: str, *, for_all: bool = False) -> None:
    """Put a file in its place at once, whole or not at all.

    A new one, and the folders above it, are the user's alone, or (``for_all``) to be read by
    everybody; where there is one, its mode stays. A link stays a link.
    Raises: OSError.
    """
    more = _FOR_ALL if for_all else 0
    target = path.resolve()
    _make_folder(target.parent, _NEW_FOLDER | more | (more >> 2))
    mode = target.stat().st_mode & 0o777 if target.exists() else _NEW_FILE | more
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _make_folder(path: Path, mode: int) -> None:
    """Make a folder and those above it, with all of the mode, whatever the umask is."""
    if not path.is_dir():
        _make_folder(path.parent, mode)
        path.mkdir(mode, exist_ok=True)
        path.chmod(mode)
