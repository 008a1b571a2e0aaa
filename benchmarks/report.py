"""What is shown of the results: a table for people, JSON for programs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.run import BASELINE, Candidate, Samples
from benchmarks.workloads import MEASURES, Measure


def measured(samples: Samples) -> tuple[Measure, ...]:
    """The measures that anybody has a value of."""
    return tuple(
        measure
        for measure in MEASURES
        if any(measure.key in values for values in samples.values.values())
    )


def format_table(samples: Samples) -> str:
    """A row for each measure, a column for each candidate, with its ratio to the baseline."""
    names = list(samples.values)
    rows = [["", "", *names]]
    for measure in measured(samples):
        cells = [_cell(samples, name, measure) for name in names]
        rows.append([measure.title, measure.unit, *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _cell(samples: Samples, name: str, measure: Measure) -> str:
    value = samples.median(name, measure.key)
    if value is None:
        return "-"
    ratio = samples.ratio(name, measure.key)
    text = format_value(value)
    return text if name == BASELINE or ratio is None else f"{text} ({ratio:.2f}x)"


def format_value(value: float) -> str:
    """Three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def describe(
    bench: Bench, candidates: Sequence[Candidate], repeat: int, *, caches_dropped: bool
) -> dict[str, Any]:
    """Under which circumstances it was measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {_cpu_model()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "server": f"{_first_line('smbd', '--version')}, files on {_file_system(bench.folder)}",
        "versions": {each.name: each.version() for each in candidates},
        "size_bytes": bench.scale.size,
        "repeat": repeat,
        "caches_dropped": caches_dropped,
        "load_before": os.getloadavg()[0],
    }


def to_json(
    circumstances: Mapping[str, Any], samples: Samples, missing: Mapping[str, str]
) -> dict[str, Any]:
    """Everything, raw samples included."""
    return {
        **circumstances,
        "missing": dict(missing),
        "failures": samples.failures,
        "measures": {
            measure.key: {
                "title": measure.title,
                "unit": measure.unit,
                "higher_is_better": measure.higher_is_better,
                "candidates": {
                    name: {
                        "median": samples.median(name, measure.key),
                        f"ratio_to_{BASELINE}": samples.ratio(name, measure.key),
                        "samples": values[measure.key],
                    }
                    for name, values in samples.values.items()
                    if measure.key in values
                },
            }
            for measure in measured(samples)
        },
    }


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write it readably."""
    path.write_text(json.dumps(document, indent=2) + "\n")


def _first_line(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [program, *arguments],
        env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"},
        capture_output=True,
        text=True,
        check=False,
    )
    return f"Samba {done.stdout.split()[-1]}" if done.stdout else program


def _file_system(path: Path) -> str:
    done = subprocess.run(
        ["stat", "--file-system", "--format=%T", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown CPU"
