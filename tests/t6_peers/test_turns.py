"""Clients with different options, and several processes each, change the same files in turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.beds.samba import SambaServer
from tests.beds.turns import Turns
from tests.beds.turns_model import Client, Wrong
from tests.beds.turns_worker import Worker
from tests.t4_fuse.conftest import wait_until
from tests.t6_peers.conftest import MountShare

IN_CI = 60
AT_LENGTH = 3_000
PROCESSES = 3

SETTINGS = {
    "alike": ("", ""),
    "without-posix": ("", "noposix"),
    "without-leases": ("noposix", "nolease"),
    "little-memory": ("cache_size=4m,max_channels=3", "nohandlecache"),
    "no-cache": ("", "cache=none"),
}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def client(
    stack: ExitStack, folder: Path, options: str, *, direct: bool = True, tells: bool = True
) -> Client:
    workers = [stack.enter_context(closing(Worker())) for _ in range(PROCESSES)]
    maps = "cache=none" not in options
    return Client(options or "default", folder, workers, maps, direct, tells)


@pytest.mark.parametrize("turns", [IN_CI, pytest.param(AT_LENGTH, marks=pytest.mark.long)])
@pytest.mark.parametrize("setting", SETTINGS)
def test_everybody_sees_every_byte(
    mount_share: MountShare, samba: SambaServer, stack: ExitStack, setting: str, turns: int
) -> None:
    served = samba.share_path() / f"turns-{setting}-{turns}"
    served.mkdir()
    served.chmod(0o777)
    options = SETTINGS[setting]
    mounts = [mount_share(*(("-o", each) if each else ())) for each in options]
    has_posix = not any("noposix" in each for each in options)
    clients = []
    for each, mounted in zip(options, mounts, strict=True):
        folder = mounted.path / served.name
        wait_until(folder.exists)
        # Samba tells who has no POSIX extensions the old time of a file until then (see README).
        tells = has_posix or "noposix" in each
        clients.append(client(stack, folder, each, tells=tells))
    Turns(clients, served, seed=turns, replaces=has_posix).run(turns)


def test_a_wrong_byte_is_noticed(stack: ExitStack, tmp_path: Path) -> None:
    """On a local folder that somebody changes behind the model's back."""
    turns = Turns([client(stack, tmp_path, "local", direct=False)], tmp_path, seed=1)
    turns.run(30)
    name = next(each for each in turns.files if turns.files[each].content)
    with (tmp_path / name).open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    with pytest.raises(Wrong, match=name):
        turns.run(0)
