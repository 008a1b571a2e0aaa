"""The cache of blocks: what goes first, and that nothing of another version is ever served."""

from __future__ import annotations

from random import Random

import pytest

from smbfs.vfs.block_cache import BLOCK_OVERHEAD, PROVEN_SHARE, Block, BlockCache
from smbfs.vfs.lease_policy import Version

BLOCK_SIZE = 4096
SLOT = BLOCK_SIZE + BLOCK_OVERHEAD
OLD, NEW = Version(1, 1, 1), Version(1, 2, 1)


def block(length: int = BLOCK_SIZE, *, arrived_s: float = 1.0) -> Block:
    return Block(memoryview(bytes(length)), arrived_s)


def cache_of(blocks: int) -> BlockCache:
    return BlockCache(blocks * SLOT, block_size=BLOCK_SIZE)


def read_once(cache: BlockCache, inode: int, indexes: range) -> int:
    """Read blocks as a sequential reader does; return how many had to be fetched."""
    fetched = 0
    for index in indexes:
        if cache.get(inode, index, not_before_s=0.0) is None:
            cache.put(inode, index, block(), OLD)
            fetched += 1
        cache.passed(inode, index)
    cache.check_invariants()
    return fetched


def test_a_scan_does_not_push_out_what_is_read_again_and_again() -> None:
    cache = cache_of(100)
    for _ in range(2):
        read_once(cache, 1, range(50))
    read_once(cache, 2, range(1000))
    assert read_once(cache, 1, range(50)) == 0


def test_what_was_read_once_goes_before_what_was_read_later() -> None:
    cache = cache_of(10)
    read_once(cache, 1, range(10))
    read_once(cache, 2, range(4))
    assert [cache.holds(1, index, not_before_s=0.0) for index in range(10)] == [False] * 4 + [
        True
    ] * 6


def test_reading_a_block_piece_by_piece_is_reading_it_once() -> None:
    cache = cache_of(10)
    cache.put(1, 0, block(), OLD)
    for _ in range(8):
        assert cache.get(1, 0, not_before_s=0.0) is not None
    read_once(cache, 2, range(10))
    assert not cache.holds(1, 0, not_before_s=0.0)


def test_not_everything_can_be_proven() -> None:
    """Or a reader ahead of its program would find no room."""
    cache = cache_of(100)
    for _ in range(3):
        read_once(cache, 1, range(100))
    read_once(cache, 2, range(20))
    kept = sum(cache.holds(2, index, not_before_s=0.0) for index in range(20))
    assert kept == 20
    left = sum(cache.holds(1, index, not_before_s=0.0) for index in range(100))
    assert left == 80 >= PROVEN_SHARE * 100


def test_another_version_is_not_served() -> None:
    cache = cache_of(10)
    read_once(cache, 1, range(3))
    cache.believe(1, OLD)
    assert cache.holds(1, 2, not_before_s=0.0)
    cache.believe(1, NEW)
    assert cache.size == 0


def test_a_late_block_of_another_version_is_not_kept() -> None:
    cache = cache_of(10)
    cache.put(1, 0, block(), NEW)
    cache.put(1, 1, block(), OLD)
    assert not cache.holds(1, 1, not_before_s=0.0)
    assert cache.holds(1, 0, not_before_s=0.0)


def test_a_block_that_is_too_old_for_its_reader_is_forgotten() -> None:
    cache = cache_of(10)
    cache.put(1, 0, block(arrived_s=1.0), OLD)
    assert cache.get(1, 0, not_before_s=1.0) is not None
    assert cache.get(1, 0, not_before_s=1.1) is None
    assert cache.size == 0


@pytest.mark.parametrize(
    ("start", "end", "left"),
    [
        (0, 1, {1, 2, 3}),
        (BLOCK_SIZE - 1, BLOCK_SIZE + 1, {2, 3}),
        (BLOCK_SIZE, 2 * BLOCK_SIZE, {0, 2, 3}),
        (0, 1 << 63, set()),
        (10 * BLOCK_SIZE, 11 * BLOCK_SIZE, {0, 1, 2}),
    ],
)
def test_bytes_that_changed_take_their_blocks_along(start: int, end: int, left: set[int]) -> None:
    """The last one is short: when something is written behind the end, it becomes longer."""
    cache = cache_of(10)
    for index in range(3):
        cache.put(1, index, block(), OLD)
    cache.put(1, 3, block(100), OLD)
    cache.discard_range(1, start, end)
    assert {index for index in range(4) if cache.holds(1, index, not_before_s=0.0)} == left


def test_what_others_reserve_is_not_there_for_blocks() -> None:
    cache = cache_of(10)
    read_once(cache, 1, range(10))
    cache.reserve(4 * SLOT)
    cache.check_invariants()
    assert cache.size == 6 * SLOT
    cache.reserve(100 * SLOT)
    assert cache.size == 0
    cache.put(1, 0, block(), OLD)
    assert cache.size == 0
    cache.reserve(-104 * SLOT)
    read_once(cache, 1, range(10))
    assert cache.size == 10 * SLOT


@pytest.mark.parametrize("seed", range(20))
def test_the_books_are_right_whatever_happens(seed: int) -> None:
    random = Random(seed)
    cache = cache_of(random.choice([1, 7, 40]))
    for _ in range(2000):
        inode, index = random.randrange(4), random.randrange(12)
        match random.randrange(9):
            case 0 | 1 | 2:
                length = random.choice([0, 10, BLOCK_SIZE])
                cache.put(inode, index, block(length), random.choice([OLD, NEW]))
            case 3 | 4:
                cache.get(inode, index, not_before_s=random.choice([0.0, 2.0]))
            case 5:
                cache.passed(inode, index)
            case 6:
                cache.believe(inode, random.choice([OLD, NEW]))
            case 7:
                cache.discard_range(inode, index * BLOCK_SIZE, (index + 2) * BLOCK_SIZE)
            case _:
                cache.reserve(random.choice([SLOT, -min(SLOT, cache.reserved)]))
        cache.check_invariants()
