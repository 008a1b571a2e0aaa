"""``smbfs audit``: the events of this machine read back, for people or as JSON."""

from __future__ import annotations

import heapq
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from smbfs.audit.events import event_kinds
from smbfs.audit.places import Kind, Places, usual_places
from smbfs.audit.reader import JournalUnreadable, Wanted, read_file, read_journal
from smbfs.audit.record import Record
from smbfs.audit.when import parse_when
from smbfs.cli.errors import CommandError, ExitCode
from smbfs.config.options import nearest
from smbfs.config.unc import parse_unc
from smbfs.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRequest:
    """The command line."""

    unc: str | None = None
    since: str | None = None
    until: str | None = None
    event: str | None = None
    as_json: bool = False


def show_audit(request: AuditRequest) -> int:
    """Print the events, the oldest first; a list of flat objects with ``--json``.

    Raises: CommandError when something is asked that can't be, or they can't be read.
    """
    records = _read(_wanted(request), usual_places(os.environ, os.geteuid()))
    if request.as_json:
        _print_json(records)
    else:
        _print_lines(records)
    return int(ExitCode.FINE)


def _wanted(request: AuditRequest) -> Wanted:
    return Wanted(
        since=_time(request.since, "--since"),
        until=_time(request.until, "--until"),
        event=_event(request.event),
        unc=_share(request.unc),
    )


def _time(text: str | None, option: str) -> datetime | None:
    try:
        return None if text is None else parse_when(text, datetime.now().astimezone())
    except ValueError:
        raise CommandError(
            f"{option} {text} is no point in time",
            "nobody can tell which one is meant.",
            "write 2026-11-23, '2026-11-23 14:05', now, today, yesterday, '2 hours ago' or -2h "
            "(s, m, h, d, w).",
            exit_code=ExitCode.USAGE,
        ) from None


def _event(name: str | None) -> str | None:
    known = sorted({kind.event for kind in event_kinds()})
    if name is None or name in known:
        return name
    guess = nearest(name, known)
    raise CommandError(
        f"there is no event {name}",
        "no event that smbfs records has this name.",
        f"did you mean {guess}?" if guess else f"the events are {', '.join(known)}.",
        exit_code=ExitCode.USAGE,
    )


def _share(text: str | None) -> str | None:
    """Return the UNC as events have it; a server alone will do."""
    if text is None:
        return None
    try:
        return str(parse_unc(text))
    except ConfigError:
        server = text.replace("\\", "/").rstrip("/")
        if server.startswith("//") and server.count("/") == 2:
            return server
        raise


def _read(wanted: Wanted, places: Places) -> Iterator[Record]:
    match places.kind():
        case Kind.FILE:
            return _file(wanted, places)
        case Kind.JOURNAL:  # There may have been none before.
            return heapq.merge(
                _file(wanted, places), _journal(wanted), key=lambda record: record.time
            )
        case Kind.SYSLOG:
            raise CommandError(
                "the events of this machine are with its syslog",
                f"there is no journal, {places.syslog} takes them, and its files are not ours to "
                "read.",
                "look for `smbfs[` in the file that gets authpriv: /var/log/auth.log on Debian, "
                "/var/log/secure on Fedora. Behind @cee: each line is JSON.",
                exit_code=ExitCode.SYSTEM,
            )


def _file(wanted: Wanted, places: Places) -> Iterator[Record]:
    unreadable = 0

    def count() -> None:
        nonlocal unreadable
        unreadable += 1

    try:
        yield from read_file(places.file, wanted, count)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise CommandError(
            f"{places.file} can't be read",
            f"{error.strerror or error}.",
            f"see whose it is: `ls -la {places.file.parent}`.",
            exit_code=ExitCode.SYSTEM,
        ) from error
    if unreadable:
        print(f"smbfs: {unreadable} lines of {places.file} can't be read", file=sys.stderr)


def _journal(wanted: Wanted) -> Iterator[Record]:
    try:
        yield from read_journal(wanted)
    except FileNotFoundError as error:
        raise CommandError(
            "journalctl is missing",
            "the events of this machine are in its journal, which journalctl reads.",
            "install systemd's programs.",
            exit_code=ExitCode.SYSTEM,
        ) from error
    except JournalUnreadable as error:
        raise CommandError(
            "the journal can't be read",
            f"{error}",
            "users see their own events where the journal is kept across boots (Storage=persistent "
            "in journald.conf), and all events in the group systemd-journal.",
            exit_code=ExitCode.SYSTEM,
        ) from error


def _print_json(records: Iterator[Record]) -> None:
    start = "["
    for record in records:
        print(f"{start}\n  {json.dumps(record.as_json())}", end="")
        start = ","
    print("[]" if start == "[" else "\n]")


def _print_lines(records: Iterator[Record]) -> None:
    is_empty = True
    for record in records:
        print(audit_line(record))
        is_empty = False
    if is_empty:
        print("no events")


def audit_line(record: Record) -> str:
    """Return what people read of an event, in one line."""
    time = f"{record.time.astimezone():%Y-%m-%d %H:%M:%S}"
    windows = "-" if record.windows_event is None else str(record.windows_event)
    notes = [f"user {record.uid}"] if record.uid != os.geteuid() else []
    if record.lost:
        notes.append(f"{record.lost} events before this one were lost")
    note = f" ({'; '.join(notes)})" if notes else ""
    return f"{time}  {record.event:<23}  {windows:>5}  {record.message}{note}"
