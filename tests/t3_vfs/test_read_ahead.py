"""Read-ahead: right bytes whatever the order, few large requests for a sequential reader."""

from __future__ import annotations

from random import Random
from typing import cast

import pytest
import trio
import trio.testing

from smbfs.client.open import Open
from smbfs.vfs.block_cache import BlockCache
from smbfs.vfs.courses import WINDOW_BLOCKS_MAX
from smbfs.vfs.lease_policy import Version
from smbfs.vfs.read_ahead import FileReader
from tests.t3_vfs.reordering_file import READ_SIZE_MAX, ReorderingFile

BLOCK_SIZE = READ_SIZE_MAX


class FileContent:
    """Stands in for an inode."""

    number = 1
    content_changes = 0
    version: Version | None = None


CONTENT = FileContent()


def reader_for(
    file: ReorderingFile, nursery: trio.Nursery, *, limit: int = 1 << 20, believe_s: float = 1.0
) -> FileReader:
    cache = BlockCache(limit, block_size=BLOCK_SIZE)
    return FileReader(
        cast(Open, file),
        cache,
        CONTENT,
        size=len(file.contents),
        nursery=nursery,
        believe_s=believe_s,
    )


def change(file: ReorderingFile, reader: FileReader) -> None:
    """Make the contents all ``b``, and have what was read before forgotten."""
    file.contents[:] = b"b" * len(file.contents)
    CONTENT.content_changes += 1
    reader._cache.discard_inode(CONTENT.number)


@pytest.mark.parametrize("seed", range(30))
async def test_random_reads_return_the_contents(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    random = Random(seed)
    size = random.choice([0, 1, 4095, 4096, 4097, 100_000])
    file = ReorderingFile(Random(seed), bytearray(random.randbytes(size)))
    async with trio.open_nursery() as nursery:
        reader = reader_for(
            file,
            nursery,
            limit=random.choice([1, 10_000, 1 << 20]),
            believe_s=random.choice([0, 1]),
        )
        offset = 0
        for _ in range(60):
            length = random.choice([0, 1, 512, 4096, 20_000])
            got = await reader.read(offset, length)
            assert bytes(got) == bytes(file.contents[offset : offset + length])
            offset = random.choice([offset + length, random.randint(0, size + 5000)])


async def test_sequential_reader_is_met_by_whole_blocks(
    autojump_clock: trio.testing.MockClock,
) -> None:
    file = ReorderingFile(Random(1), bytearray(Random(1).randbytes(100 * READ_SIZE_MAX)))
    async with trio.open_nursery() as nursery:
        reader = reader_for(file, nursery)
        got = b"".join(
            [
                bytes(await reader.read(offset, 1024))
                for offset in range(0, len(file.contents), 1024)
            ]
        )
    assert got == file.contents
    assert sorted(file.reads) == [(n * READ_SIZE_MAX, READ_SIZE_MAX) for n in range(100)]
    assert 4 <= file.most_under_way <= WINDOW_BLOCKS_MAX + 1


async def test_jumping_reader_gets_what_it_asks_for_and_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    file = ReorderingFile(Random(1), bytearray(100 * READ_SIZE_MAX))
    async with trio.open_nursery() as nursery:
        reader = reader_for(file, nursery)
        for offset in (300_000, 50_000, 200_000, 120_000):
            await reader.read(offset, 512)
    assert file.reads == [(300_000, 512), (50_000, 512), (200_000, 512), (120_000, 512)]


async def test_nothing_read_before_an_invalidation_is_served_after_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    file = ReorderingFile(Random(1), bytearray(b"a" * 3 * READ_SIZE_MAX))
    async with trio.open_nursery() as nursery:
        reader = reader_for(file, nursery)
        assert bytes(await reader.read(0, 512)) == b"a" * 512
        change(file, reader)
        assert bytes(await reader.read(512, 512)) == b"b" * 512
        assert bytes(await reader.read(READ_SIZE_MAX, 512)) == b"b" * 512


async def test_a_block_is_not_believed_for_longer_than_allowed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    file = ReorderingFile(Random(1), bytearray(b"a" * READ_SIZE_MAX))
    async with trio.open_nursery() as nursery:
        reader = reader_for(file, nursery, believe_s=1.0)
        await reader.read(0, 512)
        file.contents[:] = b"b" * len(file.contents)
        await trio.sleep(2)
        assert bytes(await reader.read(512, 512)) == b"b" * 512


async def test_a_file_that_grew_is_read_to_its_new_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A reader who asks for pages behind the end knows that there is more now."""
    file = ReorderingFile(Random(1), bytearray(b"a" * 100))
    async with trio.open_nursery() as nursery:
        reader = reader_for(file, nursery)
        reader._block_size = 65536
        assert len(await reader.read(0, 4096)) == 100
        file.contents.extend(b"b" * 20_000)
        assert len(await reader.read(4096, 16_384)) == 20_100 - 4096


async def test_what_arrives_after_a_change_but_was_asked_for_before_is_not_kept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    file = ReorderingFile(Random(1), bytearray(b"a" * 3 * READ_SIZE_MAX))
    async with trio.open_nursery() as nursery:
        reader = reader_for(file, nursery)
        nursery.start_soon(reader.read, 0, 512)
        await trio.testing.wait_all_tasks_blocked()
        change(file, reader)
        await trio.sleep(0.5)
        assert bytes(await reader.read(512, 512)) == b"b" * 512


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
async def test_without_room_in_memory_blocks_are_not_fetched_again_and_again(
    autojump_clock: trio.testing.MockClock, share: float
) -> None:
    blocks = 60
    file = ReorderingFile(Random(1), bytearray(Random(1).randbytes(blocks * READ_SIZE_MAX)))
    async with trio.open_nursery() as nursery:
        reader = reader_for(file, nursery, limit=40 * READ_SIZE_MAX)
        reader._cache.reserve(int(share * reader._cache.limit))
        got = b"".join(
            [bytes(await reader.read(offset, 512)) for offset in range(0, len(file.contents), 512)]
        )
    assert got == file.contents
    assert sum(length for _, length in file.reads) <= 1.3 * len(file.contents)


async def test_a_block_that_only_the_reader_holds_is_not_believed_for_longer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    file = ReorderingFile(Random(1), bytearray(b"a" * READ_SIZE_MAX))
    async with trio.open_nursery() as nursery:
        reader = reader_for(file, nursery, limit=1, believe_s=1.0)
        await reader.read(0, 512)
        file.contents[:] = b"b" * len(file.contents)
        assert bytes(await reader.read(512, 512)) == b"a" * 512
        await trio.sleep(2)
        assert bytes(await reader.read(1024, 512)) == b"b" * 512
