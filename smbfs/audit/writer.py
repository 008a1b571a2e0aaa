"""Every event to the log, which ``--foreground`` shows, and to the place where it is kept."""

from __future__ import annotations

import logging
import os
from typing import Final, Protocol

from smbfs.audit.datagrams import Datagrams, encode_for_journal, encode_for_syslog
from smbfs.audit.events import AuditSink, Event
from smbfs.audit.file import AuditFile
from smbfs.audit.places import Kind, Places, usual_places
from smbfs.audit.record import Record

_log = logging.getLogger(__name__)
_LEVELS: Final = {3: logging.ERROR, 4: logging.WARNING, 6: logging.INFO}


def open_audit(mountpoint: str = "", places: Places | None = None) -> AuditSink:
    """Return what takes the events of this process. It opens no file and starts no thread yet.

    ``mountpoint``: absolute path, empty where nothing is mounted.
    """
    where = places if places is not None else usual_places(os.environ, os.geteuid())
    return AuditWriter(_open(where), mountpoint)


def record_once(event: Event) -> None:
    """Record one event of a process that has no others; wait until it is kept, but not for ever."""
    audit = open_audit()
    audit.write(event)
    audit.close()


class Keeper(Protocol):
    """Keeps records."""

    def put(self, record: Record) -> None:
        """Keep one, or count it as lost. Never raises and never waits."""

    def close(self) -> None:
        """Take no more of them."""


class AuditWriter:
    """The usual :class:`AuditSink`."""

    def __init__(self, keeper: Keeper, mountpoint: str = "") -> None:
        self._keeper = keeper
        self._mountpoint = mountpoint

    def write(self, event: Event) -> None:
        """Record one event."""
        record = Record.of(event, self._mountpoint)
        windows = f", Windows {event.windows_event}" if event.windows_event is not None else ""
        _log.log(_LEVELS[event.priority], "%s [%s%s]", record.message, event.event, windows)
        self._keeper.put(record)

    def close(self) -> None:
        """Take no more events."""
        self._keeper.close()


def _open(places: Places) -> Keeper:
    match places.kind():
        case Kind.JOURNAL:
            return Datagrams(places.journal, encode_for_journal)
        case Kind.SYSLOG:
            return Datagrams(places.syslog, encode_for_syslog)
        case Kind.FILE:
            return AuditFile(places.file)
