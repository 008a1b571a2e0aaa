"""Directories of any size: complete, each entry once, in time that grows with their number."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.beds.mounted import Mounted
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE
from tests.t6_peers.conftest import MountShare

SMALL = 1_000
SIZES = [10_000, pytest.param(100_000, marks=pytest.mark.long)]
GROWTH_ALLOWED = 1.5
"""Times that an entry of a large directory may cost what one of a small one costs."""


def fill(folder: Path, count: int) -> set[str]:
    """Make a folder of ``count`` empty files on the server; return their names."""
    folder.mkdir()
    names = {f"entry-{number:06d}-of-a-name-as-long-as-people-like" for number in range(count)}
    for name in names:
        (folder / name).touch()
    if os.geteuid() == 0:
        os.chown(folder, ALICE.uid, ALICE.uid)
    return names


def listed(path: Path) -> Counter[str]:
    """How often each name is listed, with the attributes that a listing brings."""
    with os.scandir(path) as entries:
        return Counter(entry.name for entry in entries if entry.is_file(follow_symlinks=False))


@pytest.mark.parametrize("count", SIZES)
def test_everything_is_listed_once(samba: SambaServer, mounted: Mounted, count: int) -> None:
    names = fill(samba.share_path() / f"plain-{count}", count)
    found = listed(mounted.path / f"plain-{count}")
    assert set(found) == names
    assert set(found.values()) == {1}


@pytest.mark.parametrize("count", SIZES)
def test_what_stays_is_listed_once_while_others_come_and_go(
    samba: SambaServer, mount_share: MountShare, count: int
) -> None:
    """A second mount makes and removes files all the time that the first one lists."""
    folder = f"busy-{count}"
    names = fill(samba.share_path() / folder, count)
    reader, writer = mount_share(), mount_share()
    done = threading.Event()
    changes: list[str] = []

    def come_and_go() -> None:
        while not done.is_set():
            name = f"guest-{len(changes)}"
            changes.append(name)
            (writer.path / folder / name).touch()
            if len(changes) > 1:
                (writer.path / folder / changes[-2]).unlink()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(3):
            before = len(changes)
            found = listed(reader.path / folder)
            assert {name for name in found if name.startswith("entry-")} == names
            assert [name for name, times in found.items() if times > 1] == []
            assert len(changes) > before
    finally:
        done.set()
        other.join()


def test_smbclients_changes_are_seen(samba: SambaServer, mounted: Mounted, tmp_path: Path) -> None:
    names = fill(samba.share_path() / "smbclients", SMALL)
    assert set(listed(mounted.path / "smbclients")) == names
    (tmp_path / "empty").touch()
    gone = min(names)
    samba.smbclient("share", "-c", f"cd smbclients; put {tmp_path}/empty added; del {gone}")
    deadline = time.monotonic() + 10  # attributes are believed for a second
    while set(found := listed(mounted.path / "smbclients")) != names - {gone} | {"added"}:
        assert time.monotonic() < deadline, set(found) ^ names
    assert set(found.values()) == {1}


@pytest.mark.parametrize("count", SIZES)
def test_time_grows_with_the_number(
    samba: SambaServer, mount_share: MountShare, count: int
) -> None:
    """Median of three cold listings of each size, by turns."""
    sizes = (SMALL, count)
    for size in sizes:
        fill(samba.share_path() / f"timed-{count}-{size}", size)
    costs: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(3):
        mounted = mount_share()
        for size in sizes:
            begin = time.perf_counter()
            assert len(listed(mounted.path / f"timed-{count}-{size}")) == size
            costs[size].append((time.perf_counter() - begin) / size)
    small, large = (sorted(costs[size])[1] for size in sizes)
    assert large < small * GROWTH_ALLOWED


def test_an_open_listing_can_be_rewound(samba: SambaServer, mounted: Mounted) -> None:
    names = fill(samba.share_path() / "rewound", SMALL)
    descriptor = os.open(mounted.path / "rewound", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert set(os.listdir(descriptor)) == names  # noqa: PTH208 - by the open descriptor
        assert set(os.listdir(descriptor)) == names  # noqa: PTH208
    finally:
        os.close(descriptor)
