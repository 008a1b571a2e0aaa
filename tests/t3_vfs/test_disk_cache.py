"""The cache on disk behind open files: what is served from it, and what must not be."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from smbfs.vfs.block_cache import BLOCK_SIZE
from smbfs.vfs.disk_cache import DiskCache, open_disk_cache
from smbfs.vfs.disk_store import DiskStore, FileVersion
from smbfs.vfs.opened_files import OpenedFile
from smbfs.wire.filetime import ns_to_filetime
from tests.t3_vfs.late_server import DELAY_S
from tests.t3_vfs.leased_server import LeasedBed, leased_bed

PAGE = 4096
CONTENTS = b"abcd" * (2 * BLOCK_SIZE // 4) + b"tail"
BLOCKS = 3


@asynccontextmanager
async def disk_bed(
    folder: Path, contents: bytes = CONTENTS, **options: bool
) -> AsyncIterator[tuple[LeasedBed, DiskCache]]:
    """A mount with a cache on disk, of a file that was changed long ago."""
    async with open_disk_cache(folder, "share", limit=1 << 30) as disk:
        assert disk is not None
        async with leased_bed(contents, handle_cache=False, **options) as bed:
            bed.state.disk = disk
            yield bed, disk
            await disk.finish()


async def read_all(bed: LeasedBed) -> tuple[bytes, int]:
    """Read the file; return it and how many READs that took."""
    before = len(bed.server.reads)
    opened = await bed.open(os.O_RDONLY)
    size = len(bed.server.contents)
    parts = []
    for offset in range(0, size, 131072):
        whole_pages = min(131072, -(-(size - offset) // PAGE) * PAGE)
        parts.append(bytes(await bed.files.read(opened.handle, offset, whole_pages)))
    await bed.files.release(opened.handle)
    return b"".join(parts), len(bed.server.reads) - before


async def test_a_remount_reads_from_disk(tmp_path: Path) -> None:
    async with disk_bed(tmp_path) as (bed, disk):
        assert await read_all(bed) == (CONTENTS, BLOCKS)
        await disk.finish()
        assert disk.size == len(CONTENTS)
    async with disk_bed(tmp_path) as (bed, _):
        assert await read_all(bed) == (CONTENTS, 0)


async def test_what_was_changed_in_between_comes_from_the_server(tmp_path: Path) -> None:
    async with disk_bed(tmp_path) as (bed, _):
        await read_all(bed)
    new = CONTENTS[::-1]
    async with disk_bed(tmp_path, new) as (bed, _):
        bed.server.change_time += 1
        assert await read_all(bed) == (new, BLOCKS)
    async with disk_bed(tmp_path, new) as (bed, _):
        bed.server.change_time += 1
        assert await read_all(bed) == (new, 0)


def change_one_byte(folder: Path) -> Path:
    """Change what is kept in a folder, as a failing disk does, and return where that is."""
    (path,) = folder.glob("*.sqlite")
    kept = bytearray(path.read_bytes())
    kept[kept.index(CONTENTS[:PAGE]) + 10] ^= 1
    path.write_bytes(kept)
    return path


async def test_what_the_disk_has_changed_comes_from_the_server(tmp_path: Path) -> None:
    async with disk_bed(tmp_path) as (bed, _):
        await read_all(bed)
    path = change_one_byte(tmp_path)
    async with disk_bed(tmp_path) as (bed, _):
        contents, reads = await read_all(bed)
        assert contents == CONTENTS
        assert 0 < reads <= BLOCKS
    assert not path.exists()  # The next mount begins anew.


async def test_without_a_lease_nothing_comes_from_disk(tmp_path: Path) -> None:
    async with disk_bed(tmp_path) as (bed, _):
        await read_all(bed)
    async with disk_bed(tmp_path, leases=False) as (bed, disk):
        before = disk.size
        assert await read_all(bed) == (CONTENTS, BLOCKS)
        assert disk.size == before


async def test_what_we_write_ourselves_is_not_read_as_it_was(tmp_path: Path) -> None:
    async with disk_bed(tmp_path) as (bed, _):
        await read_all(bed)
    async with disk_bed(tmp_path) as (bed, _):
        opened = await bed.open(os.O_RDWR)
        await bed.files.write(opened.handle, 10, b"NEW")
        await bed.files.flush(opened.handle)
        got = bytes(await bed.files.read(opened.handle, 0, PAGE))
        assert got == CONTENTS[:10] + b"NEW" + CONTENTS[13:PAGE]
        await bed.files.release(opened.handle)
        contents = bytes(bed.server.contents)
        assert (await read_all(bed))[0] == contents


async def test_what_is_written_while_it_is_opened_for_reading_is_not_read_as_it_was(
    tmp_path: Path,
) -> None:
    """The open has found the version that is on disk, and our write is executed after it."""
    async with disk_bed(tmp_path) as (bed, _):
        await read_all(bed)
    async with disk_bed(tmp_path) as (bed, _):
        writer = await bed.open(os.O_WRONLY)
        readers: list[OpenedFile] = []

        async def open_reader() -> None:
            readers.append(await bed.open(os.O_RDONLY))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_reader)
            await trio.sleep(DELAY_S / 2)
            await bed.files.write(writer.handle, BLOCK_SIZE, b"NEW!")
        await bed.files.read(readers[0].handle, 0, PAGE)  # The disk has begun to be read.
        await bed.files.flush(writer.handle)
        for offset in range(PAGE, BLOCK_SIZE, 15 * PAGE):
            await bed.files.read(readers[0].handle, offset, 15 * PAGE)
        got = bytes(await bed.files.read(readers[0].handle, BLOCK_SIZE, PAGE))
        assert got == b"NEW!" + CONTENTS[BLOCK_SIZE + 4 : BLOCK_SIZE + PAGE]
        await bed.files.release(readers[0].handle)
        await bed.files.release(writer.handle)


async def test_a_file_that_has_just_changed_is_not_kept(tmp_path: Path) -> None:
    """The next change may get the same time."""
    async with disk_bed(tmp_path) as (bed, disk):
        bed.server.change_time = ns_to_filetime(time.time_ns())
        await read_all(bed)
        await disk.finish()
        assert disk.size == 0


async def test_after_a_break_nothing_comes_from_disk(tmp_path: Path) -> None:
    async with disk_bed(tmp_path) as (bed, _):
        await read_all(bed)
    async with disk_bed(tmp_path) as (bed, _):
        opened = await bed.open(os.O_RDONLY)
        new = CONTENTS[::-1]
        bed.server.contents[:] = new
        assert bed.server.break_lease(bed.lease(opened))
        assert bytes(await bed.files.read(opened.handle, 0, PAGE)) == new[:PAGE]
        await bed.files.release(opened.handle)


async def test_a_break_while_the_disk_is_read_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with disk_bed(tmp_path) as (bed, _):
        await read_all(bed)
    async with disk_bed(tmp_path) as (bed, _):
        opened = await bed.open(os.O_RDONLY)
        new, get = CONTENTS[::-1], DiskCache.get

        async def interrupted(
            disk: DiskCache, file_id: int, version: FileVersion, position: int
        ) -> memoryview | None:
            data = await get(disk, file_id, version, position)
            bed.server.contents[:] = new
            bed.server.break_lease(bed.lease(opened))
            return data

        monkeypatch.setattr(DiskCache, "get", interrupted)
        assert bytes(await bed.files.read(opened.handle, 0, PAGE)) == new[:PAGE]
        await bed.files.release(opened.handle)


@pytest.mark.parametrize("error", [sqlite3.OperationalError("disk full"), OSError("gone")])
async def test_a_disk_that_fails_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    async with disk_bed(tmp_path) as (bed, disk):
        monkeypatch.setattr(DiskStore, "put", fail)
        assert await read_all(bed) == (CONTENTS, BLOCKS)
        await disk.finish()
        assert await read_all(bed) == (CONTENTS, 0)  # From memory.
        assert disk.size == 0


async def test_a_store_that_turns_out_to_be_broken_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.DatabaseError("malformed")

    async with disk_bed(tmp_path) as (bed, _):
        await read_all(bed)
    with monkeypatch.context() as patched:
        patched.setattr(DiskStore, "get", fail)
        async with disk_bed(tmp_path) as (bed, _):
            assert await read_all(bed) == (CONTENTS, BLOCKS)
    async with disk_bed(tmp_path) as (bed, disk):
        assert disk.size == 0
        assert await read_all(bed) == (CONTENTS, BLOCKS)


async def test_a_mount_goes_on_without_a_cache_that_can_not_be_used(tmp_path: Path) -> None:
    async with open_disk_cache(tmp_path / "missing", "share", limit=100) as disk:
        assert disk is None
    async with (
        open_disk_cache(tmp_path, "share", limit=100) as first,
        open_disk_cache(tmp_path, "share", limit=100) as second,
    ):
        assert first is not None
        assert second is None


async def test_what_the_disk_is_too_slow_for_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smbfs.vfs.disk_cache.PENDING_MAX", BLOCK_SIZE)
    async with disk_bed(tmp_path) as (bed, disk):
        await read_all(bed)
        await disk.finish()
        assert disk.size <= len(CONTENTS)
        assert await read_all(bed) == (CONTENTS, 0)
