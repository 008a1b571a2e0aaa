"""When a directory is listed to learn which of its files have no extended attributes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from stat import S_IFDIR, S_IFLNK, S_IFREG
from types import SimpleNamespace
from typing import cast

import pytest
import trio
import trio.testing

from smbfs.errors import ServerStatusError
from smbfs.vfs import known_bare
from smbfs.vfs.inodes import Inode
from smbfs.vfs.known_bare import DIRECTORIES_MAX, IDS_MAX, QUESTIONS_MIN, QUIET_S, KnownBare
from smbfs.vfs.state import MountState
from smbfs.wire.ntstatus import NtStatus

TIMEOUT_S = 1.0
LISTING_S = 0.1


@dataclass
class Bed:
    """What is known of directories, and the listings that were asked for."""

    bare: KnownBare
    state: SimpleNamespace
    listings: list[str] = field(default_factory=list)
    ids: set[int] = field(default_factory=lambda: set(range(1, 100)))
    """Of the files without attributes, in whatever directory."""
    failure: ServerStatusError | None = None
    takes_s: float = LISTING_S
    tells_sizes: bool = True

    async def tells_ea_sizes(self, _share: object) -> bool:
        return self.tells_sizes

    async def ids_of_bare(self, _share: object, path: str, *, entries_max: int) -> set[int]:
        assert entries_max >= len(self.ids)
        self.listings.append(path)
        ids = set(self.ids)
        await trio.sleep(self.takes_s)
        if self.failure is not None:
            raise self.failure
        return ids

    def enter(self, entries: int, *, is_whole: bool = True) -> None:
        """Every directory has so many entries."""
        known = SimpleNamespace(entries=range(entries), is_whole=is_whole)
        self.state.directories = SimpleNamespace(of=lambda _number: known)

    async def ask(self, count: int, *, directory: int = 1) -> list[bool]:
        return [await self.bare.has(file(1 + index, directory)) for index in range(count)]


@asynccontextmanager
async def bed(monkeypatch: pytest.MonkeyPatch, timeout_s: float = TIMEOUT_S) -> AsyncIterator[Bed]:
    async def at(inode: Inode, ask: Callable[[str], Awaitable[set[int]]]) -> set[int]:
        return await ask(str(inode.number))

    async with trio.open_nursery() as nursery:
        policy = SimpleNamespace(timeout_s=timeout_s, listing_timeout_s=lambda _entries: timeout_s)
        state = SimpleNamespace(policy=policy, share=None, at=at, nursery=nursery)
        made = Bed(KnownBare(cast(MountState, state)), state)
        made.enter(0)
        monkeypatch.setattr(known_bare, "ids_of_bare", made.ids_of_bare)
        monkeypatch.setattr(known_bare, "tells_ea_sizes", made.tells_ea_sizes)
        yield made
        nursery.cancel_scope.cancel()


def file(file_id: int, directory: int = 1, file_type: int = S_IFREG) -> Inode:
    parent = SimpleNamespace(number=directory)
    return cast(Inode, SimpleNamespace(parent=parent, file_id=file_id, file_type=file_type))


async def test_a_listing_waits_until_the_questions_have_cost_as_much(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with bed(monkeypatch) as made:
        made.enter(640)
        patience = QUESTIONS_MIN + 10
        assert await made.ask(patience) == [False] * patience
        assert not made.listings
        assert await made.ask(200) == [True] * 99 + [False] * 101
        assert made.listings == ["1"]


async def test_what_was_listed_is_believed_for_a_while_and_then_listed_again_at_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with bed(monkeypatch) as made:
        await made.ask(50)
        made.ids.remove(7)
        await trio.sleep(TIMEOUT_S - LISTING_S - 0.01)
        assert await made.ask(50) == [True] * 50
        assert len(made.listings) == 1
        await trio.sleep(0.02)
        assert await made.ask(50) == [True] * 6 + [False] + [True] * 43
        assert len(made.listings) == 2


@pytest.mark.parametrize("pause_s", [QUIET_S, 3 * QUIET_S])
async def test_few_questions_list_nothing(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock, pause_s: float
) -> None:
    async with bed(monkeypatch) as made:
        for _ in range(5):
            await made.ask(QUESTIONS_MIN)
            await trio.sleep(pause_s)
        assert not made.listings
        await made.ask(QUESTIONS_MIN + 1)
        assert len(made.listings) == 1
        for _ in range(QUESTIONS_MIN - 1):  # That was not worth it.
            await trio.sleep(TIMEOUT_S)
            assert await made.ask(1) == [False]
        assert len(made.listings) == 1


async def test_questions_are_counted_for_as_long_as_they_come(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """A second may see few of them, where the server is far away."""
    async with bed(monkeypatch) as made:
        made.enter(640)
        for _ in range(QUESTIONS_MIN + 10):
            await trio.sleep(QUIET_S / 2)
            assert await made.ask(1) == [False]
        assert await made.ask(1) == [True]


async def test_a_listing_that_comes_too_late_is_not_tried_again_soon(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with bed(monkeypatch) as made:
        made.takes_s = TIMEOUT_S
        for _ in range(9):
            assert not any(await made.ask(50))
            await trio.sleep(QUIET_S / 10)
        assert len(made.listings) == 1


async def test_a_server_that_does_not_tell_is_not_listed(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with bed(monkeypatch) as made:
        made.tells_sizes = False
        assert not any(await made.ask(50))
        assert not made.listings


@pytest.mark.parametrize(
    "asked",
    [file(0), file(1, file_type=S_IFLNK), SimpleNamespace(parent=None, file_id=1)],
    ids=["no file id", "a symlink", "a removed file"],
)
async def test_of_some_nothing_is_known(monkeypatch: pytest.MonkeyPatch, asked: Inode) -> None:
    async with bed(monkeypatch) as made:
        for _ in range(20):
            assert not await made.bare.has(asked)
        assert not made.listings


async def test_nothing_is_known_where_nothing_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bed(monkeypatch, timeout_s=0.0) as made:
        assert not any(await made.ask(20))
        assert not made.listings


async def test_a_directory_of_unknown_size_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bed(monkeypatch) as made:
        made.enter(0, is_whole=False)
        assert not any(await made.ask(20))
        assert not made.listings


async def test_directories_are_known_one_by_one(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with bed(monkeypatch) as made:
        assert any(await made.ask(20))
        assert not any(await made.ask(QUESTIONS_MIN, directory=2))
        assert await made.bare.has(file(1, 2, S_IFDIR))
        assert made.listings == ["1", "2"]


async def test_what_has_changed_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with bed(monkeypatch) as made:
        await made.ask(20)
        made.bare.changed(7)
        assert not await made.bare.has(file(7))
        assert await made.bare.has(file(8))


async def test_what_changes_during_the_listing_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with bed(monkeypatch) as made:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.ask, 20)
            await trio.testing.wait_all_tasks_blocked()
            assert made.listings
            for _ in range(2 * QUESTIONS_MIN):  # Nobody else waits for it, or begins one.
                assert not await made.bare.has(file(8))
            made.bare.changed(7)
        assert not await made.bare.has(file(7))
        assert await made.bare.has(file(8))
        assert len(made.listings) == 1


async def test_a_listing_that_fails_is_not_tried_again_at_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with bed(monkeypatch) as made:
        made.failure = ServerStatusError(NtStatus.STATUS_ACCESS_DENIED, "CREATE")
        assert not any(await made.ask(20))
        assert len(made.listings) == 1


async def test_memory_is_bounded_and_given_back(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    async with bed(monkeypatch, timeout_s=1000.0) as made:
        made.ids = set(range(1, IDS_MAX // 2))
        for directory in range(3):
            assert (await made.ask(QUESTIONS_MIN + 1, directory=directory))[-1]
        assert await made.ask(1, directory=2) == [True]
        assert await made.ask(1, directory=0) == [False]
        for directory in range(3, 3 + DIRECTORIES_MAX):
            await made.ask(1, directory=directory)
        assert await made.ask(1, directory=2) == [False]
        await trio.sleep(3000.0)
        assert not made.bare.is_in_use
