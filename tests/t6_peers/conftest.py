"""Real mounts of real servers, for whoever tests with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.beds.mortal_samba import SETTINGS, MortalSamba
from tests.beds.mounted import Mounted
from tests.beds.samba import SambaServer

MountShare = Callable[..., Mounted]


@pytest.fixture
def mounted(mount_share: MountShare) -> Mounted:
    """The default share, mounted with nothing but credentials."""
    return mount_share()


@pytest.fixture
def work(mounted: Mounted, request: pytest.FixtureRequest) -> Path:
    """An empty folder of this test's own on that mount."""
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    folder = mounted.path / name
    folder.mkdir()
    return folder


@pytest.fixture
def on_server(samba: SambaServer, mounted: Mounted) -> Callable[[Path], Path]:
    """Where the server keeps what is at a path of the mount ``mounted``."""
    return lambda path: samba.share_path() / path.relative_to(mounted.path)


@pytest.fixture
def make_mortal(make_samba: Callable[..., SambaServer]) -> Callable[[str], MortalSamba]:
    """Make a server that may lose its processes, by the name of its setting."""

    def make(setting: str) -> MortalSamba:
        server = make_samba(MortalSamba, globals=SETTINGS[setting])
        assert isinstance(server, MortalSamba)
        return server

    return make
