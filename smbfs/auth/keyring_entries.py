"""Passwords in a keyring: whose, for what, and which of several is meant.

A password is for a server, or for one share of it, which then goes before the server's. Another
port of the same machine is another server: anybody may listen there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from smbfs.errors import SmbfsError

STANDARD_PORT: Final = 445
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyringQuery:
    """What is looked for. None: whatever is there."""

    server: str
    """Name or address, as written."""

    port: int | None = STANDARD_PORT
    """TCP port."""

    share: str | None = None
    """Name of the share."""

    user: str | None = None
    """User without domain."""

    domain: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyringEntry:
    """A password, and what it is for."""

    server: str
    """Name or address, in lower case."""

    port: int = STANDARD_PORT
    """TCP port."""

    share: str | None = None
    """The only share that it is for; None: all of the server."""

    user: str
    """User without domain."""

    domain: str | None = None

    password: str = field(default="", repr=False)
    """The secret."""

    changed_ns: int = 0
    """When it was stored, in nanoseconds of the Unix epoch; 0: nobody knows."""

    @property
    def qualified_name(self) -> str:
        r"""``DOMAIN\user``, or ``user``."""
        return f"{self.domain}\\{self.user}" if self.domain else self.user

    @property
    def place(self) -> str:
        """``//server[:port][/share]``."""
        host = f"[{self.server}]" if ":" in self.server else self.server
        port = f":{self.port}" if self.port != STANDARD_PORT else ""
        return f"//{host}{port}" + (f"/{self.share}" if self.share else "")

    @property
    def key(self) -> tuple[str, int, str, str, str]:
        """What no two entries have in common."""
        return (
            self.server.casefold(),
            self.port,
            _folded(self.share),
            _folded(self.user),
            _folded(self.domain),
        )

    def as_fields(self) -> dict[str, str | int | None]:
        """Lay it out for JSON, the password among it."""
        return {
            "server": self.server,
            "port": self.port,
            "share": self.share,
            "user": self.user,
            "domain": self.domain,
            "password": self.password,
            "changed_ns": self.changed_ns,
        }

    @classmethod
    def from_fields(cls, fields: object) -> Self:
        """Read what :meth:`as_fields` has laid out. Raises: ValueError, which quotes nothing."""
        if not isinstance(fields, Mapping):
            raise ValueError("not an entry")
        texts = {name: fields.get(name) for name in ("server", "user", "password")}
        choices = {name: fields.get(name) for name in ("share", "domain")}
        numbers = {name: fields.get(name) for name in ("port", "changed_ns")}
        if not (
            all(isinstance(value, str) for value in texts.values())
            and all(value is None or isinstance(value, str) for value in choices.values())
            and all(type(value) is int for value in numbers.values())
        ):
            raise ValueError("not an entry")
        return cls(**texts, **choices, **numbers)  # type: ignore[arg-type] # looked at above


class SeveralUsers(SmbfsError):
    """Nobody is named, and passwords of several users would do."""

    def __init__(self, users: Iterable[str]) -> None:
        self.users = sorted(users, key=str.casefold)
        super().__init__(", ".join(self.users))


def choose(entries: Iterable[KeyringEntry], query: KeyringQuery) -> KeyringEntry | None:
    """Return the password that a mount uses: the share's before the server's, the newest.

    Raises: SeveralUsers when it depends on who is meant.
    """
    fitting = [entry for entry in entries if _fits(entry, query)]
    best = max((_rank(entry, query) for entry in fitting), default=None)
    chosen = [entry for entry in fitting if _rank(entry, query) == best]
    if len({entry.key for entry in chosen}) > 1:
        raise SeveralUsers({entry.qualified_name for entry in chosen})
    return max(chosen, key=lambda entry: entry.changed_ns, default=None)


def meant_by(entries: Iterable[KeyringEntry], query: KeyringQuery) -> list[KeyringEntry]:
    """Return all entries that have what the query names."""
    return [
        entry
        for entry in entries
        if entry.server == query.server.lower()
        and query.port in (None, entry.port)
        and _is(query.share, entry.share)
        and _is(query.user, entry.user)
        and _is(query.domain, entry.domain)
    ]


def parse_port(text: str | None) -> int | None:
    """Return a port that is written as text, the standard one for none; None if it is not one."""
    if not text or text == "0":
        return STANDARD_PORT
    return int(text) if _PORT.fullmatch(text) else None


def _fits(entry: KeyringEntry, query: KeyringQuery) -> bool:
    return (
        entry.server == query.server.lower()
        and query.port in (None, entry.port)
        and (entry.share is None or _folded(entry.share) == _folded(query.share))
        and _is(query.user, entry.user)
        and (entry.domain is None or _is(query.domain, entry.domain))
    )


def _rank(entry: KeyringEntry, query: KeyringQuery) -> tuple[bool, bool]:
    is_named = query.user is not None or query.domain is not None
    same_domain = is_named and _folded(entry.domain) == _folded(query.domain)
    return entry.share is not None, same_domain


def _is(wanted: str | None, found: str | None) -> bool:
    return wanted is None or _folded(wanted) == _folded(found)


def _folded(text: str | None) -> str:
    return (text or "").casefold()
