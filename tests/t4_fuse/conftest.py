"""Mounts of a real Samba server, with and without POSIX extensions, seen from both sides."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from smbfs.config.model import MountOptions
from tests.beds.guardian import BedError, Guardian
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE
from tests.conftest import require_fuse

KINDS = ("posix", "windows")
_ANSWERS_WITHIN_S = 60.0
_HAPPENS_WITHIN_S = 20.0

MountShare = Callable[..., "Mount"]


@dataclass(frozen=True)
class Mount:
    """A mount, and the process that serves it."""

    path: Path
    guardian: Guardian

    def log(self) -> str:
        """What the process has logged so far."""
        return self.guardian.log()


@dataclass(frozen=True)
class Place:
    """A fresh folder of a mounted share."""

    path: Path
    """Where it is mounted."""
    served: Path
    """Where the server keeps it."""
    kind: str
    mount: Mount

    @property
    def posix(self) -> bool:
        """Whether the mount uses the POSIX extensions."""
        return self.kind == "posix"


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what the kernel or the server does in its own time, such as the last close."""
    deadline = time.monotonic() + _HAPPENS_WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@contextmanager
def mounted(unc: str, folder: Path, **options: object) -> Iterator[Mount]:
    """Mount a share below ``folder`` as alice, with fields of MountOptions."""
    require_fuse()
    mountpoint = Path(tempfile.mkdtemp(prefix="mount-", dir=folder))
    log = mountpoint.with_suffix(".log")
    guardian = Guardian.start(
        [
            *(sys.executable, "-m", "tests.t4_fuse.mount_process"),
            *(unc, str(mountpoint), json.dumps(options)),
        ],
        log,
        env={"USERNAME": ALICE.name, "PASSWORD": ALICE.password},
        unmount=(mountpoint,),
    )
    try:
        if guardian.wait_exited(_ANSWERS_WITHIN_S) != 0:
            raise BedError(f"the mount does not answer:\n{guardian.log()}")
        yield Mount(mountpoint, guardian)
    finally:
        guardian.stop()


@pytest.fixture(scope="session")
def long_lived_mounts(samba: SambaServer, beds_folder: Path) -> Iterator[Callable[[str], Mount]]:
    """One mount of each kind for the whole run, made when first asked for."""
    made: dict[str, Mount] = {}
    contexts = []

    def get(kind: str) -> Mount:
        if kind not in made:
            context = mounted(samba.unc(), beds_folder, posix=kind != "windows")
            contexts.append(context)
            made[kind] = context.__enter__()
        return made[kind]

    yield get
    for context in contexts:
        context.__exit__(None, None, None)


@pytest.fixture(params=KINDS)
def place(
    request: pytest.FixtureRequest,
    samba: SambaServer,
    long_lived_mounts: Callable[[str], Mount],
) -> Iterator[Place]:
    """A fresh folder on a mount of each kind; afterwards the mount has logged no traceback."""
    mount = long_lived_mounts(request.param)
    before = len(mount.log())
    path = Path(tempfile.mkdtemp(prefix="t4-", dir=mount.path))
    served = samba.share_path() / path.name
    served.chmod(0o777)  # For the tests, who are somebody else on the server.
    yield Place(path, served, request.param, mount)
    assert "Traceback" not in mount.log()[before:], mount.log()[before:]


@pytest.fixture
def served_folder(samba: SambaServer) -> Path:
    """A fresh folder of the share, on the server, for mounts that are made later."""
    folder = Path(tempfile.mkdtemp(prefix="t4-", dir=samba.share_path()))
    folder.chmod(0o777)
    return folder


@pytest.fixture
def theirs(place: Place, long_lived_mounts: Callable[[str], Mount]) -> Path:
    """The same folder through a second mount, which is another client to the server."""
    folder = long_lived_mounts("theirs").path / place.path.name
    wait_until(folder.exists)  # The server tells it a moment later that there is a new one.
    return folder


only_posix = pytest.mark.parametrize("place", ["posix"], indirect=True)
only_windows = pytest.mark.parametrize("place", ["windows"], indirect=True)


@pytest.fixture
def mount_share(samba: SambaServer, beds_folder: Path) -> Iterator[MountShare]:
    """Mount the share once more: ``mount_share(server=samba, share="share", **options)``."""
    contexts = []

    def make(server: SambaServer = samba, share: str = "share", **options: object) -> Mount:
        MountOptions(**options)  # type: ignore[arg-type] # Fails here, not in the child.
        context = mounted(server.unc(share), beds_folder, **options)
        contexts.append(context)
        return context.__enter__()

    yield make
    for context in reversed(contexts):
        context.__exit__(None, None, None)
