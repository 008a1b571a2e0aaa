"""An event with when and where it happened: what journal, syslog and file keep alike.

As JSON it is one flat object: the names below, and the event's own fields as texts. The journal
has the same in fields of its own.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from smbfs.audit.events import Event

TEXT_MAX: Final = 1000
"""Characters of a field; what a server says beyond that is cut off."""

_CUT: Final = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One event, as it is kept."""

    time: datetime
    """When, in UTC."""

    host: str
    """The machine's name."""

    pid: int
    uid: int
    """The process, and whose it is. In the journal, what the kernel says."""

    mountpoint: str
    """Absolute path; empty where nothing is mounted, as for a gateway."""

    event: str
    """Our id."""

    windows_event: int | None
    """Windows' id."""

    priority: int
    """Syslog's: 3 error, 4 warning, 6 information."""

    message: str
    """The line that people read."""

    lost: int = 0
    """How many events of the same process could not be kept before this one."""

    details: Mapping[str, str] = field(default_factory=dict)
    """The event's own fields, ``unc`` above all."""

    @classmethod
    def of(cls, event: Event, mountpoint: str) -> Record:
        """Return what happened just now, in this process."""
        return cls(
            time=datetime.now(UTC),
            host=socket.gethostname(),
            pid=os.getpid(),
            uid=os.geteuid(),
            mountpoint=harmless(mountpoint),
            event=event.event,
            windows_event=event.windows_event,
            priority=event.priority,
            message=harmless(event.message),
            details={name: harmless(value) for name, value in event.values().items()},
        )

    def shortened(self, length: int) -> Record:
        """Return the same with the event's own texts cut to ``length`` characters."""
        return replace(
            self,
            message=_cut(self.message, length),
            details={name: _cut(value, length) for name, value in self.details.items()},
        )

    def as_json(self) -> dict[str, str | int | None]:
        """Return the flat object."""
        return {
            "time": self.time.isoformat(timespec="microseconds"),
            "host": self.host,
            "pid": self.pid,
            "uid": self.uid,
            "mountpoint": self.mountpoint,
            "event": self.event,
            "windows_event": self.windows_event,
            "priority": self.priority,
            "message": self.message,
            "lost": self.lost,
            **self.details,
        }


NAMES: Final = (
    *("time", "host", "pid", "uid", "mountpoint", "event", "windows_event", "priority"),
    *("message", "lost"),
)
"""The names that every record has; no event has a field of such a name."""


def format_line(record: Record) -> str:
    """Return the flat object as one line of JSON, without its end."""
    return json.dumps(record.as_json(), ensure_ascii=False)


def parse_line(line: str) -> Record:
    """Read a line back. Raises: ValueError when it is none of ours."""
    try:
        found = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested without end") from error
    if not isinstance(found, dict):
        raise ValueError("no object")
    return make_record(found)


def make_record(found: Mapping[str, Any]) -> Record:
    """Make a record of names and values that anybody may have written.

    Raises: ValueError when a value is missing, or is not what it has to be.
    """
    windows_event = found.get("windows_event")
    return Record(
        time=_time(_text(found, "time")),
        host=_text(found, "host"),
        pid=_number(found, "pid"),
        uid=_number(found, "uid"),
        mountpoint=_text(found, "mountpoint"),
        event=_text(found, "event"),
        windows_event=None if windows_event is None else _number(found, "windows_event"),
        priority=_number(found, "priority"),
        message=_text(found, "message"),
        lost=_number(found, "lost"),
        details={
            harmless(name): harmless(value)
            for name, value in found.items()
            if name not in NAMES and isinstance(value, str)
        },
    )


def harmless(text: str) -> str:
    """Give a text that somebody else chose no line, no field and no control of a terminal."""
    return _cut("".join(c if c.isprintable() else "?" for c in text[: TEXT_MAX + 1]), TEXT_MAX)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + _CUT


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return harmless(value)


def _number(found: Mapping[str, Any], name: str) -> int:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise ValueError(f"{name} is no number")
    return value


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None or not 1970 < time.year < 9999:
        raise ValueError("a time without a zone, or of no time of ours")
    return time.astimezone(UTC)
