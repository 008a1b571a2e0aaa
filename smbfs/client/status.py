"""What a connection tells about itself: counters, and one frozen picture of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from smbfs.errors import SmbfsError
from smbfs.transport.base import TransportName
from smbfs.transport.tunnel import Tunnel

ERROR_NAMES_MAX = 256
"""Different errors that are counted by name: the server chooses the codes."""

OTHER_ERRORS = "other"
"""The name of all further ones."""

ConnectionState = Literal["connected", "reconnecting", "offline"]


@dataclass(slots=True)
class Counters:
    """What happened on a connection so far."""

    round_trips: Counter[str] = field(default_factory=Counter)
    """Frames sent, by the command of their first request."""
    requests: int = 0
    """Requests sent; a compound counts each of its parts."""
    read_bytes: int = 0
    written_bytes: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Answers that were errors, by NTSTATUS name."""
    ignored: int = 0
    """Messages discarded because nobody waited for them."""
    breaks: int = 0
    """Oplock and lease breaks received."""

    def count_error(self, name: str) -> None:
        """Count an answer that was an error; names beyond ``ERROR_NAMES_MAX`` are one."""
        if name not in self.errors and len(self.errors) >= ERROR_NAMES_MAX - 1:
            name = OTHER_ERRORS
        self.errors[name] += 1


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom we talk to, and as whom."""

    server_name: str
    user: str
    auth: str
    """``ntlm``, ``kerberos`` or ``guest``."""


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """A connection as ``smbfs status`` shows it."""

    state: ConnectionState
    failure: SmbfsError | None
    """Why it is not connected; None if it is."""
    transport: TransportName
    tunnel: Tunnel | None
    server_name: str
    address: str
    port: int
    server_guid: str
    dialect: str
    signing_required: bool
    signing_algorithm: str
    encryption: str | None
    user: str
    auth: str
    credits: int
    requests: int
    round_trips: dict[str, int]
    read_bytes: int
    written_bytes: int
    breaks: int
    channels: int
    reconnects: int
    errors: dict[str, int]
