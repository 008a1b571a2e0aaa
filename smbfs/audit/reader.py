"""Events read back from where they were kept, the oldest first."""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from smbfs.audit.datagrams import IDENTIFIER
from smbfs.audit.file import read_lines
from smbfs.audit.record import Record, make_record, parse_line

_FIELD: Final = "SMBFS_"
_NUMBERS: Final = {
    "pid": "_PID",
    "uid": "_UID",
    "windows_event": "WINDOWS_EVENT",
    "priority": "PRIORITY",
    "lost": "SMBFS_LOST",
}
_ON_THE_WAY_S: Final = 2
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are asked for; None for all."""

    since: datetime | None = None
    until: datetime | None = None
    event: str | None = None
    unc: str | None = None
    """A server or share, ``//server[/share]``, and what is below it, in any case."""

    def takes(self, record: Record) -> bool:
        """Whether a record is one of them."""
        unc = record.details.get("unc", "").lower()
        return (
            (self.since is None or record.time >= self.since)
            and (self.until is None or record.time <= self.until)
            and (self.event is None or record.event == self.event)
            and (self.unc is None or f"{unc}/".startswith(f"{self.unc.lower()}/"))
        )


class JournalUnreadable(Exception):
    """journalctl would not read, for the reason that it gives."""


def read_file(path: Path, wanted: Wanted, on_unreadable: Callable[[], None]) -> Iterator[Record]:
    """Yield the events of a file; ``on_unreadable`` is called for each line that is none of ours.

    Raises: OSError.
    """
    for line in read_lines(path):
        try:
            record = parse_line(line)
        except ValueError:
            on_unreadable()
            continue
        if wanted.takes(record):
            yield record


def read_journal(wanted: Wanted) -> Iterator[Record]:
    """Yield the events in the journal that this user may see.

    Raises: FileNotFoundError without journalctl; JournalUnreadable.
    """
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            journalctl(wanted),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                try:
                    record = parse_entry(line)
                except ValueError:
                    continue  # Not an event: a daemon's log has the same name there.
                if wanted.takes(record):
                    yield record
            code = process.wait()
        finally:
            process.kill()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()
    if code:
        raise JournalUnreadable(said.rpartition("\n")[2] or f"journalctl ends with code {code}")


def journalctl(wanted: Wanted) -> list[str]:
    """Return the command that prints the entries among which the wanted events are."""
    command = ["journalctl", "--output=json", "--all", "--no-pager", "--quiet"]
    if wanted.since is not None:
        command.append(f"--since=@{max(0, math.floor(_seconds(wanted.since)))}")
    if wanted.until is not None:
        # An entry has the time when the journal has got it.
        command.append(f"--until=@{max(0, math.ceil(_seconds(wanted.until) + _ON_THE_WAY_S))}")
    command.append(f"SYSLOG_IDENTIFIER={IDENTIFIER}")
    return command + ([f"{_FIELD}EVENT={wanted.event}"] if wanted.event is not None else [])


def parse_entry(line: str) -> Record:
    """Make a record of an entry. Raises: ValueError when it is none of ours."""
    try:
        entry = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested without end") from error
    if not isinstance(entry, dict):
        raise ValueError("no object")
    details = {
        name.removeprefix(_FIELD).lower(): value
        for name, value in entry.items()
        if name.startswith(_FIELD)
    }
    numbers = {name: _number(entry.get(field)) for name, field in _NUMBERS.items()}
    # The first is when it was sent, which few entries lack.
    sent = _number(entry.get("_SOURCE_REALTIME_TIMESTAMP"))
    microseconds = sent if sent is not None else _number(entry.get("__REALTIME_TIMESTAMP"))
    if microseconds is None or microseconds > 1 << 57:
        raise ValueError("no time")
    return make_record(
        {
            **details,
            **numbers,
            "time": (_EPOCH + timedelta(microseconds=microseconds)).isoformat(),
            "host": entry.get("_HOSTNAME"),
            "message": entry.get("MESSAGE"),
        }
    )


def _number(text: Any) -> int | None:  # noqa: ANN401 - it comes from JSON
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 20:
        return int(text)
    return None


def _seconds(time: datetime) -> float:
    return (time - _EPOCH).total_seconds()
