"""Events to journald with all their fields, or to the log where there is no journal.

Spec: systemd's "Native Journal Protocol".
"""

from __future__ import annotations

import contextlib
import logging
import socket
from pathlib import Path
from typing import Final

from smbfs.audit.events import AuditSink, Event

JOURNAL_SOCKET: Final = Path("/run/systemd/journal/socket")

_log = logging.getLogger(__name__)
_LEVELS: Final = {3: logging.ERROR, 4: logging.WARNING, 6: logging.INFO}


def open_audit(journal: Path = JOURNAL_SOCKET) -> AuditSink:
    """Return the journal's writer where a journal listens, else the log's."""
    return JournalWriter(journal) if journal.is_socket() else LogWriter()


class LogWriter:
    """Writes each event as one line of the log."""

    def write(self, event: Event) -> None:
        """Record one event."""
        windows = f", Windows {event.windows_event}" if event.windows_event is not None else ""
        level = _LEVELS[event.priority]
        _log.log(level, "%s [%s%s]", _one_line(event.message), event.event, windows)


class JournalWriter:
    """Sends each event as one datagram of journald's native protocol."""

    def __init__(self, journal: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._journal = str(journal)
        self._log = LogWriter()

    def write(self, event: Event) -> None:
        """Record one event, in the log as well, which ``--foreground`` shows."""
        self._log.write(event)
        # A journal that is full or restarting must not stop the file system.
        with contextlib.suppress(OSError):
            self._socket.sendto(encode_entry(event), self._journal)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def encode_entry(event: Event) -> bytes:
    """Lay one event out as a datagram: ``NAME=value`` lines."""
    entry = {
        "MESSAGE": event.message,
        "PRIORITY": str(event.priority),
        "SYSLOG_IDENTIFIER": "smbfs",
        "SMBFS_EVENT": event.event,
    }
    if event.windows_event is not None:
        entry["WINDOWS_EVENT"] = str(event.windows_event)
    entry |= {f"SMBFS_{name.upper()}": value for name, value in event.values().items()}
    return b"".join(
        f"{name}={_one_line(value)}\n".encode(errors="replace") for name, value in entry.items()
    )


def _one_line(text: str) -> str:
    """Make names that a server chose harmless: no line of their own in any log."""
    return "".join(c if c.isprintable() else "?" for c in text)
