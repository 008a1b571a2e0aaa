"""Run workloads by turns: A B C, A B C, so that a busy minute of the machine hits everybody."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bench import Bench, drop_caches, touch_memory
from benchmarks.clients import Mounter, Rclone, Smbclient, Smbfs, Smbnetfs
from benchmarks.workloads import WORKLOADS, Results, Workload
from tests.beds.guardian import BedError

SEALED = "smbfs sealed"
BASELINE = "rclone"
"""The candidate that ratios are of."""

Candidate = Mounter | Smbclient
CANDIDATES: tuple[Candidate, ...] = (
    Smbfs(),
    Smbfs(SEALED, share="sealed", options=("-o", "seal")),
    Rclone(),
    Smbnetfs(),
    Smbclient(),
)
_BESIDE_FILE = 512 * 1024 * 1024
"""Bytes of memory that a run needs beside what it reads or writes, more or less."""

_ONLY_OF_SEALED = ("read", "write")
"""What sealing changes most; the rest would only take time."""


@dataclass
class Samples:
    """All measured values, by candidate and measure."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, candidate: str, results: Results) -> None:
        """Add what one run measured."""
        for key, value in results.items():
            self.values.setdefault(candidate, {}).setdefault(key, []).append(value)

    def median(self, candidate: str, key: str) -> float | None:
        """Median of a measure; None where it was not measured."""
        found = self.values.get(candidate, {}).get(key)
        return statistics.median(found) if found else None

    def ratio(self, candidate: str, key: str, baseline: str = BASELINE) -> float | None:
        """Median of ``candidate`` in terms of ``baseline``'s; None where one is missing."""
        ours, theirs = self.median(candidate, key), self.median(baseline, key)
        return None if ours is None or not theirs else ours / theirs


def run_all(
    bench: Bench, candidates: Sequence[Candidate], workloads: Sequence[Workload], repeat: int
) -> Samples:
    """Run every workload ``repeat`` times with every candidate. Failures are noted, not hidden."""
    samples = Samples()
    for number in range(1, repeat + 1):
        for workload in workloads:
            for candidate in candidates:
                if not _takes_part(candidate, workload):
                    continue
                _say(f"{number}/{repeat} {workload.name}: {candidate.name}")
                try:
                    samples.add(candidate.name, _run_once(bench, candidate, workload))
                except (BedError, OSError) as error:
                    samples.failures.append(f"{candidate.name}, {workload.name}: {error}")
                    _say(f"  failed: {error}")
    return samples


def named_workloads(names: Sequence[str]) -> tuple[Workload, ...]:
    """Return the workloads of these names. Raises: ValueError."""
    by_name = {workload.name: workload for workload in WORKLOADS}
    unknown = set(names) - set(by_name)
    if unknown:
        raise ValueError(f"no workload {', '.join(sorted(unknown))}")
    return tuple(by_name[name] for name in names)


def _takes_part(candidate: Candidate, workload: Workload) -> bool:
    if isinstance(candidate, Smbclient):
        return workload.by_hand is not None
    return candidate.name != SEALED or workload.name in _ONLY_OF_SEALED


def _run_once(bench: Bench, candidate: Candidate, workload: Workload) -> Results:
    """One run on a mount of its own, so that it begins with nothing cached."""
    drop_caches()
    touch_memory(bench.scale.size + _BESIDE_FILE)
    if isinstance(candidate, Smbclient):
        assert workload.by_hand is not None
        return workload.by_hand(bench, candidate)
    folder = Path(tempfile.mkdtemp(dir=bench.folder))
    with candidate.mount(bench.server, folder) as mounted:
        results = workload.run(bench, mounted)
    shutil.rmtree(folder)
    return results


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
