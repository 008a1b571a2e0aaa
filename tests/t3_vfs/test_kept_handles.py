"""Kept handles: closed in time, in nobody's way, and never trusted beyond their lease."""

from __future__ import annotations

from dataclasses import dataclass, field
from stat import S_IFDIR, S_IFREG
from typing import cast

import pytest
import trio
import trio.testing

from smbfs.client.open import Open
from smbfs.engine.leases import Lease
from smbfs.vfs.inodes import Inode, InodeTable
from smbfs.vfs.kept_handles import HANDLES_MAX, KEEP_S, SWEEP_S, Kept, KeptHandles
from smbfs.vfs.lease_policy import Version
from smbfs.wire.lease import LeaseResponseV2, LeaseState
from smbfs.wire.oplock_break import LeaseBreakNotification

READ, READ_HANDLE = LeaseState.READ_CACHING, LeaseState(3)
VERSION = Version(10, 1, 0)


@dataclass
class OpenFile:
    """Stands in for the server's handle."""

    lease: Lease
    is_open: bool = True
    is_known: bool = True

    def close_unwaited(self) -> None:
        assert self.is_open
        self.is_open = False


@dataclass
class Bed:
    """Kept handles of made-up files."""

    nursery: trio.Nursery
    closed: list[Inode] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inodes = InodeTable(S_IFDIR)
        self.kept = KeptHandles(self.inodes, self.nursery, on_closed=self.closed.append)

    def inode(self, number: int) -> Inode:
        name = b"file-%d" % number
        return self.inodes.admit(
            self.inodes.root, name, file_id=100 + number, file_type=S_IFREG, link_count=1
        )

    def keep(self, number: int, *, until_s: float | None = None) -> tuple[Inode, OpenFile]:
        inode = self.inode(number)
        key = number.to_bytes(16, "little")
        lease = Lease(key)
        lease.granted(LeaseResponseV2(key, READ_HANDLE, None, 1))
        file = OpenFile(lease)
        kept = Kept(inode, cast(Open, file), 10, VERSION)
        if until_s is not None:
            kept.until_s = until_s
        self.kept.keep(kept)
        return inode, file


async def test_a_handle_is_kept_for_its_time_and_pins_its_inode(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    bed = Bed(nursery)
    inode, file = bed.keep(1)
    await trio.sleep(KEEP_S - 0.1)
    assert bed.closed == []
    assert bed.inodes.get(inode.number) is inode  # The kernel never asked for it.
    await trio.sleep(SWEEP_S + 0.2)
    assert not file.is_open
    assert bed.closed == [inode]
    assert len(bed.inodes) == 1


async def test_a_handle_that_is_used_again_and_again_is_closed_at_last(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    bed = Bed(nursery)
    inode, _ = bed.keep(1)
    for _ in range(3):
        await trio.sleep(KEEP_S / 4)
        taken = bed.kept.take(inode)
        assert taken is not None
        bed.kept.keep(taken)
    await trio.sleep(KEEP_S / 4)
    assert bed.kept.take(inode) is None


async def test_a_handle_that_is_taken_is_the_takers(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    bed = Bed(nursery)
    inode, file = bed.keep(1)
    taken = bed.kept.take(inode)
    assert taken is not None
    assert taken.file is cast(Open, file)
    assert bed.kept.take(inode) is None
    await trio.sleep(2 * KEEP_S)
    assert file.is_open


async def test_a_handle_of_a_session_that_was_is_not_used_again(nursery: trio.Nursery) -> None:
    bed = Bed(nursery)
    inode, file = bed.keep(1)
    file.is_known = False
    assert bed.kept.take(inode) is None
    assert not file.is_open


async def test_there_is_one_handle_a_file_and_so_many_in_all(nursery: trio.Nursery) -> None:
    bed = Bed(nursery)
    _, first = bed.keep(1)
    _, second = bed.keep(1)
    assert (first.is_open, second.is_open) == (False, True)
    others = [bed.keep(2 + number)[1] for number in range(HANDLES_MAX)]
    assert not second.is_open
    assert all(other.is_open for other in others)
    assert len(bed.kept) == HANDLES_MAX
    bed.kept.close_all()
    assert len(bed.inodes) == 1


async def test_a_broken_lease_closes_its_handle_and_no_other(nursery: trio.Nursery) -> None:
    bed = Bed(nursery)
    broken, broken_file = bed.keep(1)
    _, other = bed.keep(2)
    lease = broken_file.lease
    lease.broken(LeaseBreakNotification(lease.key, READ_HANDLE, READ, 2))
    assert bed.kept.broken(lease) == [broken]
    assert (broken_file.is_open, other.is_open) == (False, True)
    assert bed.kept.broken(other.lease) == []  # It still allows what it did.


async def test_another_version_is_told_from_that_of_a_kept_handle(nursery: trio.Nursery) -> None:
    bed = Bed(nursery)
    inode, _ = bed.keep(1)
    assert not bed.kept.is_other(inode, VERSION)
    assert bed.kept.is_other(inode, VERSION._replace(time=2))


async def test_who_opens_an_expected_file_waits_for_its_handle(nursery: trio.Nursery) -> None:
    bed = Bed(nursery)
    inode = bed.inode(1)
    order: list[str] = []

    async def wait() -> None:
        await bed.kept.arrived(inode)
        order.append("waited")

    expected = bed.kept.expect(inode, b"k" * 16)
    assert bed.kept.has(inode)
    assert bed.kept.lease_key(inode) == b"k" * 16
    assert inode.pins == 1
    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    order.append("arrived")
    bed.kept.over(expected)
    await trio.testing.wait_all_tasks_blocked()
    assert order == ["arrived", "waited"]
    assert expected.is_wanted
    assert not bed.kept.has(inode)
    await bed.kept.arrived(inode)


@pytest.mark.parametrize("everything", [True, False])
async def test_who_changes_a_file_by_its_path_waits_for_what_is_not_wanted_any_more(
    nursery: trio.Nursery, everything: bool
) -> None:
    bed = Bed(nursery)
    inode = bed.inode(1)
    expected = bed.kept.expect(inode, b"k" * 16)
    is_gone = trio.Event()

    async def let_go() -> None:
        if everything:
            await bed.kept.let_go_of_all()
        else:
            await bed.kept.let_go(inode)
        is_gone.set()

    nursery.start_soon(let_go)
    await trio.testing.wait_all_tasks_blocked()
    assert not expected.is_wanted
    assert not is_gone.is_set()
    bed.kept.over(expected)
    await is_gone.wait()
    with bed.kept.expecting_nothing():
        assert not bed.kept.may_expect
    assert bed.kept.may_expect
