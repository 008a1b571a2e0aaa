"""The daemon's memory: little after mounting, and bounded whatever goes through it."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from smbfs.config.model import MIB
from tests.beds.mounted import Mounted
from tests.beds.samba import SambaServer
from tests.t6_peers.conftest import MountShare

AFTER_MOUNTING = 80_000_000
BEYOND_CACHE = 100_000_000
CACHE_SIZE = 32 * MIB
BLOCK = MIB
GIB = 1024 * MIB
VOLUMES = [512 * MIB, pytest.param(4 * GIB, marks=pytest.mark.long)]
FILE_SIZE = 128 * MIB
PER_DIRECTORY = 1000


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


@pytest.mark.parametrize("directories", [20, pytest.param(1000, marks=pytest.mark.long)])
def test_bounded_by_the_cache_whatever_the_kernel_knows(
    mount_share: MountShare, samba: SambaServer, directories: int
) -> None:
    """Fill the cache, then show the kernel as many files as it wants to know.

    With a small cache the bound is for fewer of them: what the kernel knows must be known here.
    """
    cache_size = 1024 * MIB if directories > 100 else 64 * MIB
    folder = samba.share_path() / f"known-{directories}"
    folder.mkdir()
    data = [f"data-{number}" for number in range(cache_size // (16 * MIB) + 1)]
    for name in data:
        (folder / name).write_bytes(bytes(16 * MIB))
    for number in range(directories):
        inner = folder / f"directory-{number}"
        inner.mkdir()
        for index in range(PER_DIRECTORY):
            os.close(os.open(inner / f"file-{index}", os.O_CREAT | os.O_WRONLY, 0o644))
    mounted = mount_share("-o", f"cache_size={cache_size}")
    for name in data:
        assert len((mounted.path / folder.name / name).read_bytes()) == 16 * MIB
    assert mounted.status()["cache"]["bytes"] > 0.9 * cache_size
    seen = 0
    for above, _, names in os.walk(mounted.path / folder.name):
        seen += sum(os.lstat(f"{above}/{name}").st_nlink for name in names)
    assert seen == directories * PER_DIRECTORY + len(data)
    assert memory(mounted.pid, "VmHWM") <= cache_size + BEYOND_CACHE
    shutil.rmtree(folder)


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
