"""Who we say we are: a user, a domain and a secret that never shows itself."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from smbfs.auth.kerberos_tickets import Tickets


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user's name and password, and where they came from.

    The password is left out of ``repr`` and so of every log line and traceback.
    """

    username: str
    """User without domain, or ``name@REALM``; empty for a session without a user."""

    domain: str = ""
    """Domain or workgroup; empty lets the server choose."""

    password: str = field(default="", repr=False)
    """The secret."""

    source: str = ""
    """Where it was found, for ``--verbose`` and the audit: ``credentials file /root/nas``."""

    as_of_ns: int = 0
    """When that was last changed: whoever writes the same again wants it to be tried again."""

    tickets: Tickets | None = field(default=None, repr=False, compare=False)
    """Kerberos tickets, in place of a password."""

    remark: str = ""
    """Why these and no better ones, if there is something to say: for ``--verbose``."""

    is_guest: bool = False
    """Guest access was asked for: no password, and nothing that could sign."""

    @classmethod
    def guest(cls, username: str = "") -> Self:
        """Guest access: without a user, or by a user name that needs no password."""
        return cls(username=username, source="guest", is_guest=True)

    @property
    def is_anonymous(self) -> bool:
        """Nobody is named: the session is a null session."""
        return not self.username

    @property
    def qualified_name(self) -> str:
        r"""``DOMAIN\user``, ``user`` or ``user@REALM``."""
        return f"{self.domain}\\{self.username}" if self.domain else self.username

    def attended(self) -> AbstractContextManager[None]:
        """Have everything run that signing on takes, from before privileges are given up."""
        return nullcontext() if self.tickets is None else self.tickets.attended()
