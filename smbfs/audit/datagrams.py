"""Events as datagrams of this machine's own: journald's native protocol, and syslog's.

Spec: systemd's "Native Journal Protocol"; RFC 3164 4.1 as syslog(3) writes it, with the event as
JSON behind the mark ``@cee:``, by which rsyslog and syslog-ng know it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from smbfs.audit.record import TEXT_MAX, Record, format_line

IDENTIFIER: Final = "smbfs"
_AUTHPRIV: Final = 10
"""Users, shares and paths stand in it: not for everybody's eyes."""

_LINE_MAX: Final = 1024
"""Bytes of a line: BusyBox' and GNU's syslogd read no more. Spec: RFC 3164 4.1."""
_LENGTHS: Final = (TEXT_MAX, 150, 50)
"""Characters of each text in it: as they are, or as many as fit."""


class Datagrams:
    """Sends each record at once, or not at all."""

    def __init__(self, path: Path, encode: Callable[[Record], bytes]) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._path = str(path)
        self._encode = encode
        self._lost = 0

    def put(self, record: Record) -> None:
        """Send a record; count it if nobody takes it."""
        try:
            # Not connected: who is started anew listens on another socket.
            self._socket.sendto(self._encode(replace(record, lost=self._lost)), self._path)
        except OSError:  # Full, or gone, which must not stop the file system.
            self._lost += 1
        else:
            self._lost = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def encode_for_journal(record: Record) -> bytes:
    """Lay a record out as ``NAME=value`` lines; the journal adds time, host and process."""
    entry = {
        "MESSAGE": record.message,
        "PRIORITY": str(record.priority),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "SYSLOG_FACILITY": str(_AUTHPRIV),
        "SMBFS_EVENT": record.event,
        "SMBFS_MOUNTPOINT": record.mountpoint,
        "SMBFS_LOST": str(record.lost),
    }
    if record.windows_event is not None:
        entry["WINDOWS_EVENT"] = str(record.windows_event)
    entry |= {f"SMBFS_{name.upper()}": value for name, value in record.details.items()}
    return b"".join(f"{name}={value}\n".encode() for name, value in entry.items())


def encode_for_syslog(record: Record) -> bytes:
    """Lay a record out as a line of syslog; what would make it too long is cut."""
    time = record.time.astimezone()
    stamp = f"{time:%b} {time.day:2} {time:%H:%M:%S}"
    start = f"<{_AUTHPRIV * 8 + record.priority}>{stamp} {IDENTIFIER}[{record.pid}]: "
    line = b""
    for length in _LENGTHS:
        line = f"{start}@cee: {format_line(record.shortened(length))}".encode()
        if len(line) <= _LINE_MAX:
            break
    return line
