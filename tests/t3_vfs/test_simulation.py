"""A mount in a world that fails in every way that a seed can draw: what is acknowledged is there.

No fsync that was acknowledged is lost, no read returns bytes that the server never had, every wait
ends; no write is lost in silence, none comes after a newer one, no open of a lost session is ever
used, and when all is well again, what is shown is what the server has.

``pytest tests/t3_vfs/test_simulation.py --seed N`` runs one seed again, as it was, and shows every
frame when it fails.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.conftest import count_seeds
from tests.t3_vfs.simulation.mutations import MUTATIONS
from tests.t3_vfs.simulation.transcript import transcript
from tests.t3_vfs.simulation.world import simulate

SEEDS = 10_000
SEEDS_LONG = 100_000
BATCH = 100
MUTANT_SEEDS = 2000
"""Seeds within which every mutation is found."""
SHOWN_MAX = 5


def failures_of(first: int) -> dict[int, str]:
    """Run a batch of seeds; return what went wrong."""
    runs = [simulate(seed) for seed in range(first, first + BATCH)]
    return {run.seed: run.failure for run in runs if run.failure}


def test_whatever_goes_wrong(request: pytest.FixtureRequest) -> None:
    seed = request.config.getoption("--seed")
    if seed is not None:
        run = simulate(seed)
        assert not run.failure, "\n".join(
            (
                *transcript(run.logged),
                f"{run.settings}",
                f"{run.plan}",
                f"{run.errors}",
                run.failure,
            )
        )
        return
    count = SEEDS_LONG if request.config.getoption("--long") else SEEDS
    failures: dict[int, str] = {}
    # Not forked: what this process has open is not theirs.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        for found in pool.map(failures_of, range(0, count, BATCH)):
            failures |= found
    count_seeds(request.config, count)
    shown = [
        f"seed {seed}: {why}\n  pytest {request.node.nodeid} --seed {seed}"
        for seed, why in sorted(failures.items())[:SHOWN_MAX]
    ]
    assert not failures, "\n".join((f"{len(failures)} of {count} seeds fail", *shown))


@pytest.mark.parametrize("seed", [0, 9, 57, 750])
def test_a_seed_is_the_same_again(seed: int) -> None:
    first, again = simulate(seed), simulate(seed)
    assert len(first.logged) > 10
    assert first.logged == again.logged
    assert (first.failure, first.errors) == (again.failure, again.errors)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_client_is_found(name: str) -> None:
    with MUTATIONS[name]():
        assert any(simulate(seed).failure for seed in range(MUTANT_SEEDS))
