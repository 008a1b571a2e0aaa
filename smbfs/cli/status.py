"""``smbfs status``: what every mount's daemon says, for people or as JSON."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from smbfs.cli.daemons import Daemon, find_daemons
from smbfs.cli.errors import CommandError, ExitCode, printable
from smbfs.cli.mount_table import absolute_path
from smbfs.transport.tunnel import EXPIRY_WARNING

_WATCH_S: Final = 2.0
_TICKET_WARNING: Final = timedelta(minutes=15)
_CLEAR_SCREEN: Final = "\033[H\033[2J"
_UNITS: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def show_status(mountpoint: str | None, *, as_json: bool, watch: bool) -> int:
    """Print the state of one mount or of all; with ``watch`` again and again.

    Raises: CommandError when ``mountpoint`` is not one of ours.
    """
    while True:
        daemons = find_daemons(os.environ) if mountpoint is None else _find(mountpoint)
        text = format_json(daemons) if as_json else format_people(daemons)
        print((_CLEAR_SCREEN if watch else "") + text, flush=True)
        if not watch:
            return int(ExitCode.FINE)
        time.sleep(_WATCH_S)


def format_json(daemons: Sequence[Daemon]) -> str:
    """Every entry as the daemons gave it, in one list."""
    return json.dumps([daemon.status for daemon in daemons if daemon.status], indent=2)


def format_people(daemons: Sequence[Daemon]) -> str:
    """Every mount in a few lines."""
    if not daemons:
        return "nothing is mounted"
    return "\n\n".join(map(_described, daemons))


def _find(mountpoint: str) -> list[Daemon]:
    wanted = absolute_path(mountpoint)
    found = find_daemons(os.environ, wanted)
    chosen = [daemon for daemon in found if daemon.mountpoint == wanted]
    silent = next((daemon for daemon in found if not daemon.status), None)
    if not chosen and silent is not None:
        raise CommandError(
            f"the daemon of {wanted} (pid {silent.pid}) does not answer",
            "it hangs, or was stopped.",
            f"see {silent.socket_path.with_suffix('.log')}; its mount ends with it.",
            exit_code=ExitCode.DAEMON,
        )
    if not chosen:
        raise CommandError(
            f"{wanted} is not mounted by smbfs",
            "no daemon of yours says that it is.",
            "`smbfs status` lists the mounts.",
            exit_code=ExitCode.USAGE,
        )
    return chosen


def _described(daemon: Daemon) -> str:
    """Describe one mount. Root sees other users' daemons, which may say anything."""
    try:
        if daemon.status:
            return _describe(daemon.status)
        what = "does not answer"
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        what = "says what only its version can read"
    lines = (str(daemon.socket_path), f"  pid {daemon.pid} {what}")
    # Names come from servers and from other users' daemons.
    return "\n".join(map(printable, lines))


# Any: entries come from JSON; a daemon of another version may lack a field.
def _describe(status: Mapping[str, Any]) -> str:
    server, cache = status["server"], status["cache"]
    io, signing = status["io"], status["signing"]
    lines = [f"{status['unc']} on {status['mountpoint']}"]
    rows = {
        "state": f"{status['state']}, mounted since {status['since']}, pid {status['pid']}",
        "reason": status.get("reason", ""),
        "server": f"{server['name']} ({server['address']}, {status['transport']} port "
        f"{server['port']}), SMB {status['dialect']}",
        "protection": _protection(status["encryption"], signing),
        "tunnel": _tunnel(status.get("quic")),
        "user": f"{status['user'] or 'nobody'} ({status['auth']})",
        "ticket": _ticket(status.get("ticket")),
        "read": f"{_size(io['read_bytes'])}, written {_size(io['written_bytes'])}, "
        f"{io['requests']} requests",
        "open": f"{status['handles']['open']} files",
        "cache": f"{_size(cache['bytes'])} of {_size(cache['limit'])}, "
        f"{cache['hits']} hits, {cache['misses']} misses",
        "memory": _size(status["rss_bytes"]),
        "errors": ", ".join(f"{count} {name}" for name, count in status["errors"].items()),
        "log": status["log"],
    }
    lines += [f"  {label:<10}  {text}" for label, text in rows.items() if text]
    # Names come from servers and from other users' daemons.
    return "\n".join(map(printable, lines))


def _tunnel(quic: Mapping[str, Any] | None) -> str:
    if quic is None:
        return ""
    certificate = quic["certificate"]
    not_after = datetime.fromisoformat(certificate["not_after"])
    soon = " (soon!)" if not_after - datetime.now(UTC) < EXPIRY_WARNING else ""
    return f"TLS {quic['tls']}, {certificate['subject']}, until {not_after:%Y-%m-%d}{soon}"


def _ticket(ticket: Mapping[str, Any] | None) -> str:
    if ticket is None:
        return ""
    ends = datetime.fromisoformat(ticket["ends"])
    renewable = ", renewed by itself" if ticket["renewable_until"] else ""
    soon = " (soon!)" if ends - datetime.now(UTC) < _TICKET_WARNING and not renewable else ""
    return f"{ticket['source']}, until {ends.astimezone():%Y-%m-%d %H:%M:%S}{soon}{renewable}"


def _protection(encryption: str | None, signing: Mapping[str, Any]) -> str:
    if encryption is not None:
        return f"encrypted, {encryption}"
    if signing["required"]:
        return f"signed, {signing['algorithm']}"
    return f"signed only where the server insists, {signing['algorithm']}"


def _size(count: int) -> str:
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, len(_UNITS))
    return f"{count / 1024**power:.1f} {_UNITS[power - 1]}"
