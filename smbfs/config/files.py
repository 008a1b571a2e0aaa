"""The user's ``config.toml`` and the administrator's ``policy.toml``, which look alike.

::

    require_signing = true
    ciphers = ["aes-256-gcm", "aes-128-gcm"]
    minimum_dialect = "3.0"
    block_ntlm = true
    block_ntlm_exceptions = ["old-nas"]

    [kdc_proxy]
    "EXAMPLE.ORG" = "https://proxy.example.org/KdcProxy"

    [server."nas.example.org"]
    require_encryption = true
    cache_size = "256M"

At the top stand rules (:mod:`smbfs.config.rules`), in a server's section rules and mount options.
A key that is not known is an error: a misspelt rule must not be a rule that is missing.
"""

from __future__ import annotations

import ipaddress
import json
import os
import pwd
import stat
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from smbfs.config.kdc_proxy import parse_key, parse_proxies
from smbfs.config.option_table import REFUSED, REFUSED_ALIASES
from smbfs.config.options import GivenOption, nearest, option_names, takes_path
from smbfs.config.rules import NTLM_EXCEPTIONS, RULES, Rule
from smbfs.config.toml_lines import line_of, lines_of
from smbfs.config.unc import parse_unc
from smbfs.errors import ConfigError

POLICY_PATH: Final = Path("/etc/smbfs/policy.toml")
POLICY_OWNER: Final = 0
"""User id that the policy's file and folder have to belong to."""

TOP_KEYS: Final = (*RULES, NTLM_EXCEPTIONS)
_SECTIONS: Final = ("kdc_proxy", "server")
_NUMBER_END: Final = 1 << 63
_SIZE_MAX: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class KdcProxy:
    """One entry of ``[kdc_proxy]``."""

    urls: tuple[str, ...]

    origin: str
    """File and line."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One file, read and checked; empty when there is none."""

    path: Path
    """Where it is, or would be."""

    rules: Mapping[str, GivenOption] = field(default_factory=dict)
    """Keys at the top, by name."""

    ntlm_exceptions: Mapping[str, GivenOption] = field(default_factory=dict)
    """Lower-case server name to the ``block_ntlm = false`` that it comes to."""

    kdc_proxies: Mapping[str, KdcProxy] = field(default_factory=dict)
    """By realm, ``.domain`` or ``*``, in capitals."""

    servers: Mapping[str, tuple[GivenOption, ...]] = field(default_factory=dict)
    """Lower-case server name to the options of its section."""

    @property
    def general(self) -> list[GivenOption]:
        """What holds for every server."""
        return list(self.rules.values())

    def special(self, server: str) -> list[GivenOption]:
        """What is said about one server, the weaker first."""
        name = server_key(server)
        exception = self.ntlm_exceptions.get(name)
        return [*([exception] if exception else ()), *self.servers.get(name, ())]


def server_key(name: str) -> str:
    """Return the form of a server's name by which sections are found.

    One host has many spellings: capitals, the last dot, letters beyond ASCII, zeros of IPv6.
    """
    name = name.lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(name.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    try:
        return name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


def _is_server(name: str) -> bool:
    """Whether a mount's server can be called so. A section of any other name would never hold."""
    host = f"[{name}]" if ":" in name and not name.startswith("[") else name
    try:
        unc = parse_unc(f"//{host}/share")
    except ConfigError:
        return False
    return (unc.port, unc.share, unc.path) == (None, "share", "")


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


def read_user_config(environment: Mapping[str, str]) -> ConfigFile:
    """Read the user's file. Raises: ConfigError as :func:`read_config_file`."""
    return read_config_file(user_config_path(environment), owners=(os.geteuid(), 0))


def read_policy() -> ConfigFile:
    """Read the administrator's file.

    Raises: ConfigError as :func:`read_config_file`: a policy that a user can change is none.
    """
    return read_config_file(POLICY_PATH, owners=(POLICY_OWNER,))


def read_config_file(path: Path, *, owners: Collection[int] | None = None) -> ConfigFile:
    """Read a file; one that is not there is an empty one.

    With ``owners`` it has to belong to one of these user ids, as the folder that it really is in,
    and nobody else may write to either.
    Raises: ConfigError naming file, line and what would be right.
    """
    text = read_text(path, owners=owners)
    return ConfigFile(path) if text is None else parse_config(text, path)


def read_text(path: Path, *, owners: Collection[int] | None = None) -> str | None:
    """Return the text of a file, None if it is not there. Raises: ConfigError as above."""
    try:
        # One open file is checked and read, so that it can't be exchanged in between.
        with open_at_once(path) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise ConfigError(
                    f"{path} is not a regular file",
                    "a pipe or a device can't be read as one.",
                    "repair or remove it.",
                )
            if owners is not None:
                _check_owner(path, info, owners)
                folder = path.resolve().parent
                _check_owner(folder, folder.stat(), owners)
            content = file.read(_SIZE_MAX + 1)
        if len(content) > _SIZE_MAX:
            raise ConfigError(
                f"{path} is too long", f"it has more than {_SIZE_MAX} bytes.", "shorten it."
            )
        return content.decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read", f"{error}.", "repair or remove it.") from error


def open_at_once(path: Path) -> BinaryIO:
    """Open a file for reading. A pipe in its place is not waited for. Raises: OSError."""
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))


def _check_owner(path: Path, info: os.stat_result, owners: Collection[int]) -> None:
    owner = min(owners) if len(owners) == 1 else os.geteuid()
    if info.st_uid not in owners:
        raise ConfigError(
            f"{path} refused: it belongs to another user",
            f"user id {info.st_uid} could change what it says.",
            f"chown {owner} {path}",
        )
    # Where files are everybody's, as in /tmp, others still can't exchange what is ours.
    sticky = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX
    if info.st_mode & 0o022 and not sticky:
        raise ConfigError(
            f"{path} refused: other users can write to it",
            "they could change what it says.",
            f"chmod go-w {path}",
        )


def parse_config(text: str, path: Path) -> ConfigFile:
    """Check the text of a file. Raises: ConfigError as :func:`read_config_file`."""
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # A number too long for Python is no TOML error.
        raise ConfigError(
            f"{path} is not valid TOML", f"{error}.", "mend it there; texts stand in quotes."
        ) from error
    reader = _Reader(path, lines_of(text))
    for key in content:
        if key not in (*TOP_KEYS, *_SECTIONS):
            raise reader.unknown((key,), (*TOP_KEYS, *_SECTIONS))
    return ConfigFile(
        path,
        {name: reader.rule((name,), content[name]) for name in RULES if name in content},
        reader.ntlm_exceptions(content.get(NTLM_EXCEPTIONS, [])),
        reader.kdc_proxies(content.get("kdc_proxy", {})),
        reader.servers(content.get("server", {})),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Checks values and says in which line each stands."""

    path: Path
    lines: Mapping[tuple[str, ...], int]

    def rule(self, key: tuple[str, ...], value: object) -> GivenOption:
        """A rule, at the top or in a server's section."""
        name, rule = key[-1], RULES[key[-1]]
        why = _what_is_wrong(rule, value)
        if why:
            raise self.wrong(key, why)
        if isinstance(value, bool | str):
            return GivenOption(name, value, self.origin(key), shown(name, value))
        assert isinstance(value, list)
        return GivenOption(name, ":".join(value), self.origin(key), shown(name, value))

    def ntlm_exceptions(self, names: object) -> dict[str, GivenOption]:
        """``block_ntlm_exceptions``: a list of servers."""
        key = (NTLM_EXCEPTIONS,)
        if not (
            isinstance(names, list) and all(isinstance(n, str) and _is_server(n) for n in names)
        ):
            raise self.wrong(key, 'it is a list of servers: ["nas", "nas.example.org"]')
        given = GivenOption("block_ntlm", False, self.origin(key), shown(key[0], names))
        return {server_key(name): given for name in names}

    def kdc_proxies(self, section: object) -> dict[str, KdcProxy]:
        """``[kdc_proxy]``: realm to URL or URLs, or Windows' spelling of them."""
        proxies = {}
        for realm, value in self._table(("kdc_proxy",), section).items():
            key = ("kdc_proxy", realm)
            if realm.upper() in proxies:
                raise self.wrong(key, "the realm stands here twice, with other capitals")
            parts = value if isinstance(value, list) else [value]
            try:
                # What is no text is no address, either.
                text = " ".join(part if isinstance(part, str) else "?" for part in parts)
                proxies[parse_key(realm)] = KdcProxy(parse_proxies(text), self.origin(key))
            except ValueError as error:
                raise self.wrong(key, str(error)) from None
        return proxies

    def servers(self, section: object) -> dict[str, tuple[GivenOption, ...]]:
        """``[server."name"]``: any rule or mount option."""
        servers: dict[str, tuple[GivenOption, ...]] = {}
        for name, options in self._table(("server",), section).items():
            if not _is_server(name):
                raise self.wrong(("server", name), "it is a server's name alone, or its address")
            if server_key(name) in servers:
                raise self.wrong(("server", name), "the server has a section already")
            servers[server_key(name)] = tuple(
                self._option(("server", name, key), value)
                for key, value in self._table(("server", name), options).items()
            )
        return servers

    def _option(self, key: tuple[str, ...], value: object) -> GivenOption:
        name = key[-1]
        if name in RULES:
            return self.rule(key, value)
        if name not in option_names():
            if name not in REFUSED and name not in REFUSED_ALIASES:
                raise self.unknown(key, option_names())
            # parse_options gives the reason. The value may be a password: it is forgotten here.
            return GivenOption(name, "", self.origin(key))
        if takes_path(name) and isinstance(value, str) and not value.startswith(("/", "~")):
            raise self.wrong(key, "a path in a file begins with / or ~: nobody knows from where")
        if isinstance(value, str | bool):
            return GivenOption(name, value, self.origin(key), shown(name, value))
        if not isinstance(value, int | float):
            raise self.wrong(key, "it is a text, a number, true or false")
        if abs(value) >= _NUMBER_END:  # Python does not even write very long ones.
            raise self.wrong(key, "so large a number means nothing here")
        text = str(value) if isinstance(value, int) else f"{value:f}"
        return GivenOption(name, text, self.origin(key), shown(name, value))

    def _table(self, key: tuple[str, ...], section: object) -> Mapping[str, object]:
        if not isinstance(section, dict):
            raise self.wrong(key, f"it is a section: [{'.'.join(key)}]")
        return section

    def origin(self, key: tuple[str, ...]) -> str:
        """File and line of a key."""
        return f"{self.path}, line {line_of(key, self.lines)}"

    def wrong(self, key: tuple[str, ...], why: str) -> ConfigError:
        """The value of ``key`` is not one."""
        return ConfigError(
            f"{self.origin(key)}: the value of {key[-1]} is wrong",
            f"{why}.",
            "mend it, or take it out.",
        )

    def unknown(self, key: tuple[str, ...], known: Iterable[str]) -> ConfigError:
        """``key`` is not one of ``known``."""
        guess = nearest(key[-1], known)
        return ConfigError(
            f"{self.origin(key)}: there is no {key[-1]}",
            "nothing would look at it, and it may have been meant to matter.",
            f"did you mean {guess}?" if guess else f"known are {', '.join(sorted(known))}.",
        )


def shown(name: str, value: object) -> str:
    """Return a key and its value as a file has them."""
    return f"{name} = {format_value(value)}"


def format_value(value: object) -> str:
    """Return a value as a file has it."""
    match value:
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return "[" + ", ".join(map(format_value, value)) + "]"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def _what_is_wrong(rule: Rule, value: object) -> str:
    """Return what would be right, or nothing."""
    known = ", ".join(f'"{each}"' for each in rule.known)
    if rule.kind == "flag":
        return "" if isinstance(value, bool) else "it is true or false"
    if rule.kind == "dialect":
        return "" if value in rule.known else f"it is one of {known}"
    if isinstance(value, list) and value and all(each in rule.known for each in value):
        return "" if len(set(value)) == len(value) else "it names one of them twice"
    return f"it is a list of one or more of {known}"
