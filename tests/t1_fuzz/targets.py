"""All targets by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import chain

from tests.t1_fuzz.contract import Target
from tests.t1_fuzz.engine_targets import engine_targets
from tests.t1_fuzz.local_targets import local_targets
from tests.t1_fuzz.peer_targets import peer_targets
from tests.t1_fuzz.wire_targets import wire_targets


@cache
def all_targets() -> Mapping[str, Target]:
    """Return them; a name that stands for two is a mistake."""
    found: dict[str, Target] = {}
    for target in chain(wire_targets(), engine_targets(), peer_targets(), local_targets()):
        assert target.name not in found, target.name
        found[target.name] = target
    return found
