"""Whether a mount may sign on with Kerberos, and with whose tickets: what its options say of it."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, MutableMapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smbfs.config.model import MountOptions
from smbfs.errors import AuthenticationError, ConfigError

if TYPE_CHECKING:
    from smbfs.auth.kerberos_tickets import Tickets

_LIBRARIES: Final = ("krb5", "gssapi")
_CONFIG: Final = "KRB5_CONFIG"
_SYSTEM_CONFIG: Final = "/etc/krb5.conf"
_NAMES_AS_TYPED: Final = Path(__file__).with_name("names_as_typed.krb5.conf")


def kerberos_tickets(options: MountOptions) -> Callable[[str | None], Tickets] | None:
    """Return what makes the tickets of a user by name, or of whoever the cache is of.

    None: there is no Kerberos here, and nobody insists on it.
    Raises: AuthenticationError where a library is missing that ``auth=kerberos`` takes;
    ConfigError for another user's tickets that this one can't read.
    """
    _check_cruid(options.cruid)
    library = missing_library()
    if library is not None:
        if options.auth == "kerberos":
            raise library_missing(library)
        return None
    if not options.trust_dns:
        use_names_as_typed()

    def make(user: str | None) -> Tickets:
        # Loaded here: it takes libkrb5.
        from smbfs.auth.kerberos_cache import Wanted
        from smbfs.auth.kerberos_helper import UsersTickets
        from smbfs.auth.kerberos_tickets import Tickets

        wanted = Wanted(user, str(options.keytab) if options.keytab is not None else None)
        uid = options.cruid
        if uid is None or uid == os.geteuid() or options.keytab is not None:
            return Tickets(wanted)
        return Tickets(wanted, UsersTickets(uid, _group_of(uid), wanted))

    return make


def _check_cruid(uid: int | None) -> None:
    if uid is not None and uid != os.geteuid() and os.geteuid() != 0:
        raise ConfigError(
            f"cruid={uid} is refused",
            "only root can use another user's Kerberos tickets.",
            "leave it out, or mount as root.",
        )


def _group_of(uid: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid


def missing_library() -> str | None:
    """Return which library is missing for Kerberos; None if there are all."""
    return next((name for name in _LIBRARIES if find_spec(name) is None), None)


def library_missing(name: str) -> AuthenticationError:
    """Build the refusal of Kerberos where a library is missing."""
    return AuthenticationError(
        "Kerberos is not available.",
        f"the Python package {name} is missing.",
        "install smbfs with it: `pip install 'smbfs[kerberos]'`, which takes MIT Kerberos' headers "
        "(libkrb5-dev, krb5-devel) and a C compiler.",
    )


def use_names_as_typed(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have libkrb5 ask for servers by the names that people give, not by what DNS says of them.

    Whoever answers for DNS could choose the server else. It is for this process and its children.
    """
    before = environment.get(_CONFIG, _SYSTEM_CONFIG)
    if str(_NAMES_AS_TYPED) not in before.split(":"):
        environment[_CONFIG] = f"{_NAMES_AS_TYPED}:{before}"
