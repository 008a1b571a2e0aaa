"""Whoever opens a file that we write behind waits for our data, and reads all of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from smbfs.config.model import MIB
from tests.beds.mounted import Mounted
from tests.t6_peers.conftest import MountShare

BREAKS = [40, pytest.param(1000, marks=pytest.mark.long)]
FILES = 5
FILE_SIZE = 512 * 1024
FULL = 24 * MIB
"""More than a handle gathers, so that some of it is on its way when the break comes."""


@pytest.fixture
def theirs(mount_share: MountShare, work: Path) -> Path:
    """The same folder for another client, which keeps nothing open."""
    return mount_share("-o", "nohandlecache").path / work.name


def breaks(mounted: Mounted) -> int:
    count: int = mounted.status()["leases"]["breaks"]
    return count


def test_a_break_while_much_is_waiting(mounted: Mounted, work: Path, theirs: Path) -> None:
    random = Random(1)
    content = bytearray(random.randbytes(FULL))
    before = breaks(mounted)
    with (work / "file").open("wb", buffering=0) as writer:
        for offset in range(0, FULL, MIB):
            writer.write(content[offset : offset + MIB])
        for _ in range(200):
            offset = random.randrange(FULL - 100)
            content[offset : offset + 100] = random.randbytes(100)
            os.pwrite(writer.fileno(), content[offset : offset + 100], offset)
        assert (theirs / "file").read_bytes() == content
        assert breaks(mounted) > before


@pytest.mark.parametrize("count", BREAKS)
def test_forced_breaks_under_load(mounted: Mounted, work: Path, theirs: Path, count: int) -> None:
    forced_breaks(mounted, work, theirs, count)


def forced_breaks(mounted: Mounted, work: Path, theirs: Path, count: int) -> None:
    """Each round one client writes here and there, and another one looks, or writes, too."""
    random = Random(count)
    contents = [bytearray(FILE_SIZE) for _ in range(FILES)]
    for number in range(FILES):
        (work / f"file-{number}").write_bytes(contents[number])
    before, rounds = breaks(mounted), 0
    with load(work):
        while breaks(mounted) < before + count:
            rounds += 1
            assert rounds < 3 * count, "leases are not broken"
            number = random.randrange(FILES)
            one_round(work / f"file-{number}", theirs / f"file-{number}", contents[number], random)
    for number in range(FILES):
        assert (work / f"file-{number}").read_bytes() == contents[number]
        assert (theirs / f"file-{number}").read_bytes() == contents[number]


def one_round(ours: Path, theirs: Path, content: bytearray, random: Random) -> None:
    with ours.open("r+b", buffering=0) as writer:
        write_somewhere(writer.fileno(), content, random)
        if random.random() < 0.3:
            with theirs.open("r+b", buffering=0) as other:
                write_somewhere(other.fileno(), content, random)
        assert theirs.read_bytes() == content
        write_somewhere(writer.fileno(), content, random)  # Nobody has to wait for us any more.


def write_somewhere(file: int, content: bytearray, random: Random) -> None:
    for _ in range(random.randint(1, 40)):
        length = random.choice([1, 100, 4096, 30_000])
        offset = random.randrange(len(content) - length)
        content[offset : offset + length] = random.randbytes(length)
        assert os.pwrite(file, content[offset : offset + length], offset) == length


@contextmanager
def load(folder: Path) -> Iterator[None]:
    """Keep the mount busy with a large file meanwhile."""
    is_over = threading.Event()

    def write_and_read() -> None:
        path = folder / "load"
        block = bytes(MIB)
        while not is_over.is_set():
            with path.open("wb", buffering=0) as file:
                for _ in range(16):
                    file.write(block)
            assert path.stat().st_size == 16 * MIB
            path.read_bytes()

    thread = threading.Thread(target=write_and_read)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
