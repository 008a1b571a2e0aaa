"""What a daemon costs: CPU time and memory of a process and all its children, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_UTIME, _CSTIME = 11, 14
"""Fields of /proc/PID/stat behind the name: utime, stime, cutime, cstime."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a tree of processes has used so far."""

    cpu_s: float
    """User and system time, that of ended children included."""
    rss_bytes: int
    """Resident memory now."""
    peak_bytes: int
    """Sum of the most that each living process ever had resident."""


def cost_of(pid: int) -> Cost:
    """Cost of process ``pid`` with its children, theirs and so on."""
    cpu_ticks = rss = peak = 0
    for member in _tree(pid):
        try:
            fields = _stat_fields(member)
            status = (_PROC / str(member) / "status").read_text()
        except OSError:
            continue  # it has just ended; its parent has its times
        cpu_ticks += sum(int(field) for field in fields[_UTIME : _CSTIME + 1])
        rss += _kib(status, "VmRSS:")
        peak += _kib(status, "VmHWM:")
    return Cost(cpu_ticks / _TICKS_PER_S, rss * 1024, peak * 1024)


def _tree(root: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_stat_fields(int(entry.name))[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    while found:
        pid = found.pop()
        yield pid
        found += children.get(pid, [])


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; the name before may hold anything."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _kib(status: str, label: str) -> int:
    for line in status.splitlines():
        if line.startswith(label):
            return int(line.split()[1])
    return 0  # a kernel thread or a zombie has none
