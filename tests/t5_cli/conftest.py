"""Fixtures of the commands' tests."""

from __future__ import annotations

import pytest

from tests.conftest import require_fuse


@pytest.fixture
def fuse() -> None:
    """Mounts work here; fails, and says what to do, where they don't."""
    require_fuse()
