"""The least that smbfs must reach beside rclone, whatever else changes."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.run import BASELINE, SEALED, Samples


@dataclass(frozen=True, slots=True)
class Floor:
    """``candidate`` reaches ``least`` times ``baseline`` in measure ``key``."""

    key: str
    least: float
    candidate: str = "smbfs"
    baseline: str = BASELINE


FLOORS = (
    Floor("read", 3.0),
    Floor("write", 1.5),
    Floor("read", 0.7, SEALED, "smbfs"),
    Floor("write", 0.7, SEALED, "smbfs"),
    Floor("create", 1.5),
    Floor("read_small", 1.5),
    Floor("unlink", 1.5),
    Floor("list", 1.0),
    Floor("list_again", 1.0),
    Floor("tar_extract", 1.0),
    Floor("copy", 3.0),
)
MEMORY_LIMIT_MB = 80.0
"""The daemon's, after mounting."""


def below_floors(samples: Samples) -> list[str]:
    """What is too slow or too big, one line each. What was not measured counts as too slow."""
    complaints = []
    for floor in FLOORS:
        ratio = samples.ratio(floor.candidate, floor.key, floor.baseline)
        if ratio is None or ratio < floor.least:
            said = "not measured" if ratio is None else f"{ratio:.2f} x {floor.baseline}"
            complaints.append(f"{floor.key} of {floor.candidate}: {said}, at least {floor.least}")
    memory = samples.median("smbfs", "rss_mounted")
    if memory is None or memory > MEMORY_LIMIT_MB:
        complaints.append(f"memory after mounting: {memory} MB, at most {MEMORY_LIMIT_MB:.0f}")
    return complaints
