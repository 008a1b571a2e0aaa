r"""Where a share is: ``//server[:port]/share[/path]`` in the three spellings people use.

``//server/share/path``, ``\\server\share\path`` and ``smb://[user@]server[:port]/share/path``
all become one :class:`Unc`. Anything else is a :class:`~smbfs.errors.ConfigError` that
names the part which is wrong; no other exception leaves :func:`parse_unc`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from smbfs.errors import ConfigError

_FORMS: Final = (
    "Write //server/share, //server:port/share/folder or smb://user@server/share "
    "(an IPv6 address in brackets: //[fe80::1]/share)."
)
_MAX_SHARE_NAME: Final = 80  # [MS-FSCC] 2.1.6
_MAX_PATH: Final = 32767  # UNICODE_STRING's limit, in characters
_NOT_IN_SHARE: Final = frozenset('"/\\[]:|<>+=;,*?')  # [MS-FSCC] 2.1.6
_PASSWORD: Final = re.compile(r"(?:\w+:)?[/\\]*[^/\\:]*:[^/\\]*@")
"""What begins like ``user:password@``, in whatever spelling."""
_HOST_NAME: Final = re.compile(r"[\w](?:[\w.-]{0,253}[\w.])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Unc:
    """One share on one server, and perhaps a folder in it."""

    server: str
    """Host name or address as written; an IPv6 address without brackets."""

    port: int | None
    """Port as written in the UNC; None means the transport's own."""

    share: str
    """Name of the share, without separators."""

    path: str = ""
    """Folder inside the share that becomes the mount's root: ``a/b``, no slash at the ends."""

    user: str | None = None
    """User named in an ``smb://`` URL, as written (``name``, ``DOM;name`` or ``name@REALM``)."""

    @property
    def share_path(self) -> str:
        r"""``\\server\share``, as TREE_CONNECT wants it. Spec: [MS-SMB2] 2.2.9."""
        return rf"\\{self.server}\{self.share}"

    @property
    def folder(self) -> str:
        r"""``path`` as it is asked for without POSIX extensions: ``a\b``."""
        return self.path.replace("/", "\\")

    def __str__(self) -> str:
        """``//server[:port]/share[/path]``, as messages and ``status`` show it."""
        host = f"[{self.server}]" if ":" in self.server else self.server
        port = f":{self.port}" if self.port is not None else ""
        path = f"/{self.path}" if self.path else ""
        return f"//{host}{port}/{self.share}{path}"


def parse_unc(text: str) -> Unc:
    """Turn what the user wrote into a :class:`Unc`.

    Raises: ConfigError naming the part that is wrong.
    """
    if _PASSWORD.match(text):
        raise _password_refused()
    if "\0" in text or "\n" in text:
        raise _wrong(text, "it contains a control character")
    if any(map(_is_surrogate, text)):
        raise _wrong(text, "it is not UTF-8")
    user: str | None = None
    if text[:6].lower() == "smb://":
        rest = _percent_decode(text, text[6:])
        authority, slash, tail = rest.partition("/")
        if "@" in authority:
            user, _, authority = authority.rpartition("@")
            if ":" in user or "%" in user:
                raise _password_refused()
            if not user.isprintable():
                raise _wrong(text, "it contains a control character")
        rest = authority + slash + tail
    else:
        rest = text.replace("\\", "/")
        if not rest.startswith("//"):
            raise _wrong(text, "it does not begin with // or \\\\ or smb://")
        rest = rest[2:]
    host, _, tail = rest.partition("/")
    server, port = _split_host(text, host)
    share, _, path = tail.lstrip("/").partition("/")
    return Unc(server, port, _check_share(text, share), _check_path(text, path), user or None)


def _wrong(text: str, why: str) -> ConfigError:
    shown = text if len(text) <= 200 else text[:200] + "…"
    return ConfigError(f"{shown!r} does not name a share", f"{why}.", _FORMS)


def _percent_decode(text: str, rest: str) -> str:
    try:
        decoded = unquote_to_bytes(rest).decode("utf-8")
    except UnicodeError as error:
        raise _wrong(text, "its percent-encoding is not UTF-8") from error
    if "\0" in decoded or "\n" in decoded:
        raise _wrong(text, "it contains a control character")
    return decoded.replace("\\", "/")


def _is_surrogate(character: str) -> bool:
    """Whether it stands for a byte of the command line that is no text."""
    return 0xD800 <= ord(character) < 0xE000


def _password_refused() -> ConfigError:
    # The text is not echoed: it holds a password.
    return ConfigError(
        "a password in the address is refused",
        "every user of this machine can read the command lines of running programs.",
        "leave it out: you are asked for it, or use credentials=FILE.",
    )


def _split_host(text: str, host: str) -> tuple[str, int | None]:
    if host.startswith("["):
        address, bracket, after = host[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise _wrong(text, "the IPv6 address in brackets is not closed")
        try:
            ipaddress.IPv6Address(address)
        except ValueError as error:
            raise _wrong(text, f"{address!r} is not an IPv6 address") from error
        return address, _parse_port(text, after[1:]) if after else None
    if host.count(":") > 1:
        raise _wrong(text, "an IPv6 address needs brackets")
    name, colon, port = host.partition(":")
    if not name:
        raise _wrong(text, "it names no server")
    return _check_host_name(text, name), _parse_port(text, port) if colon else None


def _check_host_name(text: str, name: str) -> str:
    if "@" in name:
        raise _wrong(text, "a user name is written with user=, or as smb://user@server/share")
    try:
        # The codec refuses labels that are too long for the DNS, ASCII or not.
        ascii_name = name.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise _wrong(text, f"{name!r} is not a host name") from error
    if not _HOST_NAME.fullmatch(ascii_name) or ".." in ascii_name:
        raise _wrong(text, f"{name!r} is not a host name")
    return ascii_name


def _parse_port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise _wrong(text, f"{port!r} is not a port (1 to 65535)")
    return int(port)


def _check_share(text: str, share: str) -> str:
    if not share:
        raise _wrong(text, "it names a server but no share")
    if len(share) > _MAX_SHARE_NAME:
        raise _wrong(text, f"a share's name has at most {_MAX_SHARE_NAME} characters")
    bad = sorted({c for c in share if c in _NOT_IN_SHARE or not c.isprintable()})
    if bad or share in (".", ".."):
        raise _wrong(text, f"{share!r} can't be a share's name")
    return share


def _check_path(text: str, path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if "." in parts or ".." in parts:
        raise _wrong(text, "its path contains . or ..")
    if any(ord(c) < 0x20 for c in path):
        raise _wrong(text, "it contains a control character")
    if len(path) > _MAX_PATH:
        raise _wrong(text, f"its path is longer than {_MAX_PATH} characters")
    return "/".join(parts)
