"""Fixtures of the commands' tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.beds.samba import SambaServer
from tests.conftest import require_fuse
from tests.t5_cli.plain_user import AsPlainUser


@pytest.fixture
def fuse() -> None:
    """Mounts work here; fails, and says what to do, where they don't."""
    require_fuse()


@pytest.fixture
def as_plain_user(samba: SambaServer, beds_folder: Path) -> AsPlainUser:
    """Run a script as a plain user, whoever runs the tests."""
    if os.geteuid() != 0:
        pytest.skip("the other tests have run as a plain user already")
    return AsPlainUser(samba, beds_folder)
