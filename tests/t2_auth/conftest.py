"""What the tests of credentials share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from smbfs.auth.keyring_entries import KeyringEntry
from tests.beds import scripted_keyring

Environment = dict[str, str]
KeyringThat = Callable[[str], Environment]


def stored(user: str, password: str = "", **fields: object) -> KeyringEntry:
    """What a keyring has for a server called nas."""
    values = {"server": "nas", "user": user, "password": password, **fields}
    return KeyringEntry(**values)  # type: ignore[arg-type]


@pytest.fixture
def keyring_that(tmp_path: Path) -> KeyringThat:
    """Return the environment in which the keyring does this."""
    return lambda does: scripted_keyring.keyring_that(does, tmp_path)
