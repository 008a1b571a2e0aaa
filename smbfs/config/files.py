"""The user's ``config.toml`` and the administrator's ``policy.toml``, which look alike.

::

    require_signing = true
    allow_insecure_guest = false
    require_encryption = false
    minimum_dialect = "3.0"
    allowed_transports = ["tcp", "quic"]

    [kdc_proxy]
    "EXAMPLE.ORG" = "https://proxy.example.org/KdcProxy"

    [server."nas.example.org"]
    seal = true
    cache_size = "256M"

A key that is not known is an error: a misspelt rule must not be a rule that is missing.
"""

from __future__ import annotations

import os
import pwd
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from smbfs.config.model import DIALECTS
from smbfs.config.options import GivenOption, nearest, option_names
from smbfs.config.values import parse_url
from smbfs.errors import ConfigError

POLICY_PATH: Final = Path("/etc/smbfs/policy.toml")

_FLAGS: Final = ("require_signing", "allow_insecure_guest", "require_encryption")
_TRANSPORTS: Final = ("tcp", "quic")
RULE_NAMES: Final = (*_FLAGS, "minimum_dialect", "allowed_transports")
_SECTIONS: Final = ("kdc_proxy", "server")
_NUMBER_END: Final = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What holds for every server; None where the file says nothing."""

    require_signing: bool | None = None
    """A server that can't sign is refused."""

    allow_insecure_guest: bool | None = None
    """Guest sessions, which nobody can sign, may be asked for."""

    require_encryption: bool | None = None
    """A server that can't encrypt is refused."""

    minimum_dialect: str | None = None
    """Oldest dialect to speak, as a label of ``DIALECTS``."""

    allowed_transports: tuple[str, ...] | None = None
    """Transports that may be used: ``tcp``, ``quic``."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One file, read and checked; empty when there is none."""

    path: Path
    """Where it is, or would be."""

    rules: Rules = Rules()
    """Keys at the top."""

    kdc_proxies: Mapping[str, str] = field(default_factory=dict)
    """Kerberos realm to the https URL of its proxy."""

    servers: Mapping[str, tuple[GivenOption, ...]] = field(default_factory=dict)
    """Lower-case server name to the options of its section."""


def user_config_path(environment: Mapping[str, str]) -> Path:
    """``$XDG_CONFIG_HOME/smbfs/config.toml``, by default under ``~/.config``."""
    base = environment.get("XDG_CONFIG_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    if not base.startswith("/"):
        base = f"{environment.get('HOME') or _home_directory()}/.config"
    return Path(base) / "smbfs" / "config.toml"


def _home_directory() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


def read_config_file(path: Path) -> ConfigFile:
    """Read a file; one that is not there is an empty one.

    Raises: ConfigError naming file, line and what would be right.
    """
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ConfigFile(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read", f"{error}.", "repair or remove it.") from error
    return parse_config(text, path)


def parse_config(text: str, path: Path) -> ConfigFile:
    """Check the text of a file. Raises: ConfigError as above."""
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # A number too long for Python is no TOML error.
        raise ConfigError(f"{path} is not valid TOML", f"{error}.") from error
    reader = _Reader(path, text)
    rules: dict[str, Any] = {}
    for key, value in content.items():
        if key in RULE_NAMES:
            rules[key] = reader.rule(key, value)
        elif key not in _SECTIONS:
            raise reader.unknown(key, (*RULE_NAMES, *_SECTIONS))
    return ConfigFile(
        path,
        Rules(**rules),
        reader.kdc_proxies(content.get("kdc_proxy", {})),
        reader.servers(content.get("server", {})),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Checks values and says in which line a wrong one stands."""

    path: Path
    text: str

    def rule(self, key: str, value: object) -> bool | str | tuple[str, ...]:
        """Value of a key at the top."""
        if key in _FLAGS:
            if not isinstance(value, bool):
                raise self.wrong(key, "it is true or false")
            return value
        if key == "minimum_dialect":
            if not isinstance(value, str) or value not in DIALECTS:
                raise self.wrong(key, f"it is one of {', '.join(map(repr, DIALECTS))}")
            return value
        if not (isinstance(value, list) and value and all(v in _TRANSPORTS for v in value)):
            raise self.wrong(key, 'it is a list of "tcp", "quic" or both')
        return tuple(value)

    def kdc_proxies(self, section: object) -> dict[str, str]:
        """``[kdc_proxy]``: realm to URL."""
        proxies = {}
        for realm, url in self._table("kdc_proxy", section).items():
            try:
                proxies[realm] = parse_url(url if isinstance(url, str) else "")
            except ValueError as error:
                raise self.wrong(realm, str(error)) from None
        return proxies

    def servers(self, section: object) -> dict[str, tuple[GivenOption, ...]]:
        """``[server."name"]``: any mount option."""
        return {
            name.lower(): tuple(
                self._option(name, key, value)
                for key, value in self._table(f'server."{name}"', options).items()
            )
            for name, options in self._table("server", section).items()
        }

    def _option(self, server: str, key: str, value: object) -> GivenOption:
        if key not in option_names():
            # Refused ones have their own reason, which parse_options gives.
            if key not in {"password", "pass", "password2"}:
                raise self.unknown(key, option_names(), after=server)
            value = ""
        if isinstance(value, int) and not isinstance(value, bool):
            if abs(value) >= _NUMBER_END:  # Python does not even write very long ones.
                raise self.wrong(key, "so large a number means nothing here", after=server)
            value = str(value)
        elif isinstance(value, float):
            value = f"{value:f}"
        if not isinstance(value, str | bool):
            raise self.wrong(key, "it is a text, a number, true or false", after=server)
        return GivenOption(key, value, f"{self.path}, line {self._line(key, after=server)}")

    def _table(self, name: str, section: object) -> Mapping[str, object]:
        if not isinstance(section, dict):
            raise self.wrong(name.partition(".")[0], f"it is a section: [{name}]")
        return section

    def wrong(self, key: str, why: str, *, after: str = "") -> ConfigError:
        """The value of ``key`` is not one."""
        where = f"{self.path}, line {self._line(key, after=after)}"
        return ConfigError(f"{where}: the value of {key} is wrong", f"{why}.")

    def unknown(
        self, key: str, known: tuple[str, ...] | list[str], *, after: str = ""
    ) -> ConfigError:
        """``key`` is not one of ``known``."""
        guess = nearest(key, known)
        return ConfigError(
            f"{self.path}, line {self._line(key, after=after)}: there is no {key}",
            "",
            f"did you mean {guess}?" if guess else f"known are {', '.join(sorted(known))}.",
        )

    def _line(self, key: str, *, after: str = "") -> int:
        """Line of ``key``, counted from 1; tomllib doesn't tell, so it is looked for."""
        lines = self.text.splitlines()
        start = next(
            (i for i, line in enumerate(lines) if after and line.startswith("[") and after in line),
            0,
        )
        wanted = re.compile(rf"\s*(?:\[.*)?[\"']?{re.escape(key)}\b")
        for index in range(start, len(lines)):
            if wanted.match(lines[index]):
                return index + 1
        return start + 1
