"""Where events go on this machine: its journal, its syslog, or else a file of ours."""

from __future__ import annotations

import pwd
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

JOURNAL_SOCKET: Final = Path("/run/systemd/journal/socket")
SYSLOG_SOCKET: Final = Path("/dev/log")
SYSTEM_FILE: Final = Path("/var/log/smbfs/audit.jsonl")
_NAME: Final = Path("smbfs/audit.jsonl")


class Kind(Enum):
    """What takes events."""

    JOURNAL = "journal"
    SYSLOG = "syslog"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Places:
    """Where each of them would be."""

    journal: Path = JOURNAL_SOCKET
    syslog: Path = SYSLOG_SOCKET
    file: Path = SYSTEM_FILE

    def kind(self) -> Kind:
        """Return the first of them that is there and listens."""
        if _listens(self.journal):
            return Kind.JOURNAL
        return Kind.SYSLOG if _listens(self.syslog) else Kind.FILE


def usual_places(environment: Mapping[str, str], uid: int) -> Places:
    """Return the places of user ``uid``.

    The file is /var/log/smbfs/audit.jsonl for root, else $XDG_STATE_HOME/smbfs/audit.jsonl, by
    default under ~/.local/state.
    """
    if uid == 0:
        return Places()
    base = Path(environment.get("XDG_STATE_HOME", ""))
    # The XDG specification: a relative path is to be ignored.
    if not base.is_absolute():
        base = Path(environment.get("HOME") or _home(uid)) / ".local/state"
    return Places(file=base / _NAME)


def _home(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"


def _listens(path: Path) -> bool:
    if not path.is_socket():
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as attempt:
        try:
            attempt.connect(str(path))
        except OSError:  # Who made it is gone, wants a stream, or not us.
            return False
    return True
