"""SERVER on the command line: a name, a name with a port, a URL, or a share of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from smbfs.config.unc import Unc, parse_unc
from smbfs.errors import ConfigError

IPC_SHARE: Final = "IPC$"
"""What every server has. Spec: [MS-SMB2] 3.3.4.13."""

_BEGINNING: Final = re.compile(r"smb://|//|\\\\", re.IGNORECASE)
_SEPARATORS: Final = "/\\"
_FORMS: Final = (
    "write server, server:port, smb://user@server, or //server/share (an IPv6 address in "
    "brackets: [fe80::1])."
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server, or one share of it."""

    unc: Unc
    """The share, or ``IPC$``."""

    share: str | None
    """The share that was named; None: the whole server is meant."""

    @property
    def shown(self) -> str:
        """``//server[:port][/share]``, as messages have it."""
        return str(self.unc) if self.share is not None else self.host

    @property
    def host(self) -> str:
        """``//server[:port]``."""
        return str(replace(self.unc, share=IPC_SHARE, path="")).removesuffix(f"/{IPC_SHARE}")


def parse_server(text: str) -> Server:
    """Turn what the user wrote into a server. Raises: ConfigError."""
    beginning = _BEGINNING.match(text)
    rest = text[beginning.end() :] if beginning else text
    kind = beginning[0] if beginning else "//"
    if not beginning and "@" in rest:
        # Not echoed: a password may be in it.
        raise ConfigError(
            "a user is not part of a server's name",
            "only addresses that begin with smb:// have one.",
            "smb://user@server, or --user.",
        )
    names_share = bool(beginning) and any(c in rest.rstrip(_SEPARATORS) for c in _SEPARATORS)
    try:
        if names_share:
            unc = parse_unc(text)
            return Server(unc, unc.share)
        if not beginning and any(c in rest for c in _SEPARATORS):
            raise ConfigError("", "a share is written //server/share.", _FORMS)
        return Server(parse_unc(f"{kind}{rest.rstrip(_SEPARATORS)}/{IPC_SHARE}"), None)
    except ConfigError as error:
        if "password" in error.what:
            raise  # The text is not to be shown.
        raise ConfigError(f"{text!r} does not name a server", error.why, _FORMS) from error
