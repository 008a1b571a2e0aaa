"""The daemon's memory: little after mounting, and bounded whatever goes through it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from smbfs.config.model import MIB
from tests.beds.mounted import Mounted
from tests.t6_peers.conftest import MountShare

AFTER_MOUNTING = 80_000_000
BEYOND_CACHE = 100_000_000
CACHE_SIZE = 32 * MIB
BLOCK = MIB
GIB = 1024 * MIB
VOLUMES = [512 * MIB, pytest.param(4 * GIB, marks=pytest.mark.long)]
FILE_SIZE = 128 * MIB


def memory(pid: int, label: str) -> int:
    """``VmRSS`` or ``VmHWM`` (the most ever resident) of a process in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{label}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {label} of process {pid}")


def test_little_after_mounting(mounted: Mounted) -> None:
    assert mounted.path.is_dir()
    assert memory(mounted.pid, "VmRSS") <= AFTER_MOUNTING


@pytest.mark.parametrize("volume", VOLUMES)
def test_bounded_by_the_cache(mount_share: MountShare, volume: int) -> None:
    """Write and read ``volume`` bytes, in files that several readers have open at once."""
    mounted = mount_share("-o", f"cache_size={CACHE_SIZE}")
    folder = mounted.path / f"memory-{volume}"
    folder.mkdir()
    paths = [folder / f"file-{number}" for number in range(4)]
    moved = 0
    while moved < volume:
        for number, path in enumerate(paths):
            write(path, number)
        moved += read_by_turns(paths) + read_here_and_there(paths)
        assert memory(mounted.pid, "VmHWM") <= CACHE_SIZE + BEYOND_CACHE
    for path in paths:
        path.unlink()


def write(path: Path, number: int) -> None:
    with path.open("wb", buffering=0) as file:
        for _ in range(FILE_SIZE // BLOCK):
            file.write(bytes([number]) * BLOCK)
        os.fsync(file.fileno())


def read_by_turns(paths: list[Path]) -> int:
    """Read all files, a block of each in turn; return the bytes."""
    total = 0
    with opened(paths) as files:
        for _ in range(FILE_SIZE // BLOCK):
            for number, file in enumerate(files):
                block = file.read(BLOCK)
                assert block == bytes([number]) * BLOCK
                total += len(block)
    return total


def read_here_and_there(paths: list[Path]) -> int:
    """Begin to read at many places and leave again: what was read ahead there stays behind."""
    total = 0
    with opened(paths) as files:
        for file in files:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # so we ask the daemon
            for offset in range(0, FILE_SIZE, 8 * BLOCK):
                file.seek(offset)
                total += sum(len(file.read(BLOCK)) for _ in range(3))
    return total


@contextmanager
def opened(paths: list[Path]) -> Iterator[list[io.FileIO]]:
    with ExitStack() as stack:
        yield [stack.enter_context(path.open("rb", buffering=0)) for path in paths]
