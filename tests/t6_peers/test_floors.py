"""What is promised of speed, held against rclone mount on this machine, now."""

from __future__ import annotations

import pytest

from benchmarks import warm
from benchmarks.__main__ import make_bench
from benchmarks.bench import Scale
from benchmarks.floors import below_floors
from benchmarks.report import format_table
from benchmarks.run import BASELINE, CANDIDATES, SEALED, named_workloads, run_all
from tests.conftest import require_fuse

GIB = 1 << 30
COMPARED = ("smbfs", SEALED, BASELINE)


@pytest.mark.long
def test_smbfs_stays_above_its_floors() -> None:
    require_fuse()
    candidates = [each for each in CANDIDATES if each.name in COMPARED]
    missing = {each.name: remedy for each in candidates if (remedy := each.missing())}
    assert missing == {}
    with make_bench(Scale(GIB)) as bench:
        workloads = named_workloads(("read", "write", "copy", "small", "list", "extract"))
        samples = run_all(bench, candidates, workloads, repeat=3)
    assert samples.failures == []
    assert below_floors(samples) == [], format_table(samples)


@pytest.mark.long
def test_what_is_asked_again_is_as_fast_as_a_disk() -> None:
    require_fuse()
    rates, requests = warm.measure(repeat=7, size=GIB // 2)
    assert requests == 0
    assert warm.below_floors(rates) == [], rates
