"""What is measured: each workload does one thing on a share that was mounted just now."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench, drop_caches
from benchmarks.clients import MountedShare, Smbclient
from benchmarks.data import BLOCK
from tests.beds.guardian import BedError

MB = 1_000_000
_SMALL_SIZE = 4096
_RANDOM_SIZE = 4096
_RANDOM_SEED = 4
_AGAIN_SIZE = 256 * 1024 * 1024
_TURN_OF_DAEMON = 2

Results = dict[str, float]
"""Measured values by the key of their :class:`Measure`."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the table."""

    key: str
    title: str
    unit: str
    higher_is_better: bool = True


MEASURES = (
    Measure("read", "sequential read, cold", "MB/s"),
    Measure("read_again", "sequential read, again after reopening", "MB/s"),
    Measure("read_dropped", "sequential read, when the kernel has dropped it", "MB/s"),
    Measure("write", "sequential write with fsync", "MB/s"),
    Measure("copy", "cp of a large file within the share", "MB/s"),
    Measure("random_read", "random 4 KiB reads, cold", "reads/s"),
    Measure("create", "small files: create", "files/s"),
    Measure("read_small", "small files: read", "files/s"),
    Measure("unlink", "small files: unlink", "files/s"),
    Measure("list", "ls -l of a large directory, cold", "entries/s"),
    Measure("list_again", "ls -l of it, again", "entries/s"),
    Measure("tar_extract", "tar x of a source tree", "files/s"),
    Measure("tar_create", "tar c of it, cold", "files/s"),
    Measure("rss_mounted", "memory after mounting", "MB", higher_is_better=False),
    Measure("rss_read", "memory at most, reading", "MB", higher_is_better=False),
    Measure("rss_write", "memory at most, writing", "MB", higher_is_better=False),
    Measure("rss_file", "memory per known file", "bytes", higher_is_better=False),
    Measure("cpu_read", "CPU of the daemon, reading", "s/GB", higher_is_better=False),
    Measure("cpu_write", "CPU of the daemon, writing", "s/GB", higher_is_better=False),
)


Run = Callable[[Bench, MountedShare], Results]
ByHand = Callable[[Bench, Smbclient], Results]


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing to do. ``by_hand`` does the same with smbclient, where it can."""

    name: str
    run: Run
    by_hand: ByHand | None = None


class Stopwatch:
    """Filled when its block ends."""

    elapsed_s = 0.0

    def rate(self, count: float) -> float:
        """Return ``count`` per second."""
        return count / self.elapsed_s


@contextmanager
def timed() -> Iterator[Stopwatch]:
    """Measure the time that the block takes."""
    watch = Stopwatch()
    begin = time.perf_counter()
    yield watch
    watch.elapsed_s = time.perf_counter() - begin


# --- one big file ------------------------------------------------------------------------------


def _read(bench: Bench, mounted: MountedShare) -> Results:
    before = mounted.cost()
    size = bench.scale.size
    buffer = memoryview(bytearray(BLOCK))
    with timed() as watch, (mounted.path / "big").open("rb", buffering=0) as file:
        for index in range(size // BLOCK):
            _fill(file.fileno(), buffer)
            bench.pattern.check_stamp(buffer, index)
    cost = mounted.cost()
    return {
        "read": watch.rate(size) / MB,
        "cpu_read": (cost.cpu_s - before.cpu_s) / (size / 1e9),
        "rss_read": cost.peak_bytes / MB,
        "rss_mounted": before.rss_bytes / MB,
    }


def _read_again(bench: Bench, mounted: MountedShare) -> Results:
    """Read a file of a moderate size three times; the kernel forgets it before the last."""
    size = min(bench.scale.size, _AGAIN_SIZE)
    on_server = bench.on_server("share") / "again"
    bench.pattern.write(on_server, size)
    bench.give(on_server)
    watches = []
    for turn in range(3):
        if turn == _TURN_OF_DAEMON:
            drop_caches()
        buffer = memoryview(bytearray(BLOCK))
        with timed() as watch, (mounted.path / "again").open("rb", buffering=0) as file:
            for index in range(size // BLOCK):
                _fill(file.fileno(), buffer)
                bench.pattern.check_stamp(buffer, index)
        watches.append(watch)
    on_server.unlink()
    return {
        "read_again": watches[1].rate(size) / MB,
        "read_dropped": watches[_TURN_OF_DAEMON].rate(size) / MB,
    }


def _fill(descriptor: int, buffer: memoryview) -> None:
    got = 0
    while got < len(buffer):
        count = os.readv(descriptor, [buffer[got:]])
        if not count:
            raise BedError("the file ends too early")
        got += count


def _write(bench: Bench, mounted: MountedShare) -> Results:
    before = mounted.cost()
    path = mounted.path / "written"
    blocks = bench.scale.size // BLOCK
    with timed() as watch, path.open("wb", buffering=0) as file:
        for index in range(blocks):
            file.write(bench.pattern.block(index))
        os.fsync(file.fileno())
    cost = mounted.cost()
    _check_written(bench)
    return {
        "write": watch.rate(bench.scale.size) / MB,
        "cpu_write": (cost.cpu_s - before.cpu_s) / (bench.scale.size / 1e9),
        "rss_write": cost.peak_bytes / MB,
    }


def _check_written(bench: Bench) -> None:
    """See that what was fsynced and closed is on the server, and take it away."""
    found = [
        path for share in bench.shares if (path := bench.on_server(share) / "written").exists()
    ]
    if len(found) != 1:
        raise BedError("the file that was written is not on the server")
    bench.pattern.check(found[0], bench.scale.size)
    found[0].unlink()


def _get(bench: Bench, client: Smbclient) -> Results:
    done = client.transfer(bench.server, f"get big {os.devnull}")
    return {
        "read": bench.scale.size / done.elapsed_s / MB,
        "cpu_read": done.cpu_s / (bench.scale.size / 1e9),
        "rss_read": done.peak_bytes / MB,
    }


def _put(bench: Bench, client: Smbclient) -> Results:
    done = client.transfer(bench.server, f"put {bench.on_server('share') / 'big'} written")
    _check_written(bench)
    return {
        "write": bench.scale.size / done.elapsed_s / MB,
        "cpu_write": done.cpu_s / (bench.scale.size / 1e9),
        "rss_write": done.peak_bytes / MB,
    }


def _copy(bench: Bench, mounted: MountedShare) -> Results:
    with timed() as watch:
        subprocess.run(["cp", mounted.path / "big", mounted.path / "written"], check=True)
    _check_written(bench)
    return {"copy": watch.rate(bench.scale.size) / MB}


def _scopy(bench: Bench, client: Smbclient) -> Results:
    done = client.transfer(bench.server, "scopy big written")
    _check_written(bench)
    return {"copy": bench.scale.size / done.elapsed_s / MB}


def _random_read(bench: Bench, mounted: MountedShare) -> Results:
    choice = random.Random(_RANDOM_SEED)  # noqa: S311 - the same places for everybody
    pages = bench.scale.size // _RANDOM_SIZE
    count = bench.scale.random_reads
    offsets = [choice.randrange(pages) * _RANDOM_SIZE for _ in range(count)]
    with timed() as watch, (mounted.path / "big").open("rb", buffering=0) as file:
        for offset in offsets:
            if len(os.pread(file.fileno(), _RANDOM_SIZE, offset)) != _RANDOM_SIZE:
                raise BedError(f"a short read at {offset}")
    return {"random_read": watch.rate(count)}


# --- many files --------------------------------------------------------------------------------


def _small_files(bench: Bench, mounted: MountedShare) -> Results:
    folder = mounted.path / "small"
    folder.mkdir()
    contents = bench.pattern.block(0)[:_SMALL_SIZE]
    names = [folder / f"file-{number:05d}" for number in range(bench.scale.small_files)]
    with timed() as creating:
        for name in names:
            name.write_bytes(contents)
    with timed() as reading:
        for name in names:
            if name.read_bytes() != contents:
                raise BedError(f"{name} was read wrongly")
    with timed() as unlinking:
        for name in names:
            name.unlink()
    folder.rmdir()
    count = len(names)
    return {
        "create": creating.rate(count),
        "read_small": reading.rate(count),
        "unlink": unlinking.rate(count),
    }


def _list(bench: Bench, mounted: MountedShare) -> Results:
    before = mounted.cost()
    watches, lines = [], bench.scale.entries
    for _ in range(2):
        with timed() as watch:
            done = subprocess.run(
                ["ls", "-l", str(mounted.path / "listed")], capture_output=True, check=True
            )
        watches.append(watch)
        lines = done.stdout.count(b"\n") - 1  # less the one with the total
        if lines != bench.scale.entries:
            raise BedError(f"ls -l shows {lines} of {bench.scale.entries} entries")
    return {
        "list": watches[0].rate(lines),
        "list_again": watches[1].rate(lines),
        "rss_file": (mounted.cost().rss_bytes - before.rss_bytes) / lines,
    }


def _tar_extract(bench: Bench, mounted: MountedShare) -> Results:
    target = mounted.path / "extracted"
    target.mkdir()
    with timed() as watch:
        subprocess.run(["tar", "xf", str(bench.archive), "-C", str(target)], check=True)
    _compare_with_archive(bench, bench.on_server("share") / "extracted")
    shutil.rmtree(bench.on_server("share") / "extracted")
    return {"tar_extract": watch.rate(bench.scale.tree_files)}


def _tar_create(bench: Bench, mounted: MountedShare) -> Results:
    """Tar reads a tree that the server had all along; a pipe, since tar knows /dev/null."""
    command = ["tar", "cf", "-", "-C", str(mounted.path / "tree"), "source"]
    with timed() as watch, subprocess.Popen(command, stdout=subprocess.PIPE) as packing:
        assert packing.stdout is not None
        packed = packing.stdout.read()
    with tarfile.open(fileobj=io.BytesIO(packed)) as found, tarfile.open(bench.archive) as wanted:
        if packing.returncode or _files_of(found) != _files_of(wanted):
            raise BedError(f"tar c ended with {packing.returncode} and packed something else")
    return {"tar_create": watch.rate(bench.scale.tree_files)}


def _files_of(archive: tarfile.TarFile) -> dict[str, int]:
    return {member.name: member.size for member in archive if member.isfile()}


def _compare_with_archive(bench: Bench, folder: Path) -> None:
    done = subprocess.run(
        ["tar", "--compare", "--file", str(bench.archive), "-C", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = [line for line in done.stdout.splitlines() if "Contents" in line or "Size" in line]
    if wrong or "No such file" in done.stderr:
        raise BedError(f"tar x left other contents: {wrong[:3]} {done.stderr[:300]}")


WORKLOADS = (
    Workload("read", _read, _get),
    Workload("again", _read_again),
    Workload("write", _write, _put),
    Workload("copy", _copy, _scopy),
    Workload("random", _random_read),
    Workload("small", _small_files),
    Workload("list", _list),
    Workload("extract", _tar_extract),
    Workload("pack", _tar_create),
)
