"""Whatever bytes a stranger sends: accepted or refused, and nothing else.

Each example of hypothesis is one valid input and one piece of noise; a run of variations follows
from it. ``--long`` makes twenty times as many examples. ``./dev fuzz`` is for longer runs.

They fail if a check is taken out of the code: the bounds in ``layout.slice_data`` or ``_sid`` of
``directory_listing``, the ``struct.error`` in ``unpack_at``, the odd bytes in ``decode_text``, the
books in ``Connection._settle``, and ``test_memory`` if the parts of a list may overlap.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.t1_fuzz.contract import KNOWN_BAD, Target, attempt
from tests.t1_fuzz.mutator import variations
from tests.t1_fuzz.targets import all_targets

IGNORED_WARNINGS = pytest.mark.filterwarnings(
    "ignore::cryptography.utils.CryptographyDeprecationWarning"  # of what it will refuse one day
)
pytestmark = IGNORED_WARNINGS

_EXAMPLES = 8
_LONG = 20
_VARIATIONS, _VARIATIONS_IF_SLOW = 70, 20
_NOISE_MAX = 300


@pytest.mark.parametrize("target", all_targets().values(), ids=all_targets())
def test_variations_of_what_is_valid(target: Target, pytestconfig: pytest.Config) -> None:
    @settings(
        max_examples=_EXAMPLES * (_LONG if pytestconfig.getoption("--long") else 1),
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(target.valid, st.integers(0, 1 << 32), st.binary(max_size=_NOISE_MAX))
    def check(valid: bytes, seed: int, noise: bytes) -> None:
        attempt(target, valid)
        attempt(target, noise)
        count = _VARIATIONS_IF_SLOW if target.is_slow else _VARIATIONS
        for data in variations(valid, seed, count):
            attempt(target, data)

    check()


def known_bad() -> list[tuple[str, str]]:
    return sorted((path.parent.name, path.name) for path in KNOWN_BAD.glob("*/*"))


@pytest.mark.parametrize(("name", "file"), known_bad())
def test_known_bad(name: str, file: str) -> None:
    """What once broke something."""
    attempt(all_targets()[name], (KNOWN_BAD / name / file).read_bytes())
