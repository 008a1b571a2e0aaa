"""The cache on disk: what was read from far away need not come again after a remount.

A block from here is served only if file id, size and all times are those that the server tells of
the open file, and a lease says that this is still so. Reading and writing the disk happens in a
thread of its own; what can't be written in time is not kept, and a disk that fails is left alone.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import trio

from smbfs.client.background import background_tasks
from smbfs.client.open import Open
from smbfs.errors import SmbfsError
from smbfs.vfs.disk_store import DiskStore, FileVersion, StoredBlock
from smbfs.vfs.lease_policy import Version, is_young
from smbfs.vfs.share import Share

PENDING_MAX: Final = 32 * 1024 * 1024
"""Bytes that wait for the disk; what comes beyond that is not kept."""

BATCH_MAX: Final = 16
"""Blocks that are written together."""

CLOSE_S: Final = 5.0
"""Seconds for writing what waits when the mount ends."""

ResultT = TypeVar("ResultT")

_log = logging.getLogger(__name__)


class DiskCache:
    """The blocks of one mount's share on disk."""

    def __init__(self, store: DiskStore, nursery: trio.Nursery) -> None:
        self._store: DiskStore | None = store
        self._nursery = nursery
        self._turn = trio.CapacityLimiter(1)
        self._pending: deque[StoredBlock] = deque()
        self._pending_size = 0
        self._writes = False
        self._written = trio.lowlevel.ParkingLot()

    @property
    def size(self) -> int:
        """Bytes of file contents on disk."""
        return self._store.size if self._store is not None else 0

    async def get(self, file_id: int, version: FileVersion, position: int) -> memoryview | None:
        """Return a block of this version of a file, None if it is not here."""
        data = await self._call(lambda store: store.get(file_id, version, position))
        return None if data is None else memoryview(data)

    async def use(self, file_id: int, version: FileVersion) -> set[int]:
        """Return which blocks of this version of a file are here."""
        return await self._call(lambda store: store.use(file_id, version)) or set()

    def put(self, block: StoredBlock) -> None:
        """Keep a block, if the disk is fast enough."""
        if self._store is None or self._pending_size + len(block.data) > PENDING_MAX:
            return
        self._pending.append(block)
        self._pending_size += len(block.data)
        if not self._writes:
            self._writes = True
            self._nursery.start_soon(self._write)

    async def _write(self) -> None:
        while self._pending:
            batch = [self._pending.popleft() for _ in range(min(BATCH_MAX, len(self._pending)))]
            await self._call(lambda store, batch=batch: store.put(batch))  # type: ignore[misc]
            self._pending_size -= sum(len(block.data) for block in batch)
        self._writes = False
        self._written.unpark_all()

    async def finish(self) -> None:
        """Return when what waited for the disk is there."""
        while self._writes:
            await self._written.park()

    async def _call(self, work: Callable[[DiskStore], ResultT]) -> ResultT | None:
        store = self._store
        if store is None:
            return None
        try:
            return await trio.to_thread.run_sync(work, store, limiter=self._turn)
        except (sqlite3.Error, OSError) as error:
            _log.warning("the cache on disk is not used any more: %s", error)
            self._store = None
            if isinstance(error, sqlite3.DatabaseError) and not _is_of_the_disk(error):
                store.discard()
            return None


def _is_of_the_disk(error: sqlite3.DatabaseError) -> bool:
    """Whether something else than what is in the file is wrong: a full disk, for example."""
    return isinstance(error, sqlite3.OperationalError)


class CachedFile:
    """An open file and what is on disk of it."""

    def __init__(
        self,
        cache: DiskCache,
        share: Share,
        file: Open,
        file_id: int,
        version: Callable[[], Version | None],
    ) -> None:
        """``version`` tells what the last open has found, None if we have written since."""
        self._cache = cache
        self._share = share
        self._file = file
        self._file_id = file_id
        self._version = version
        self._asked_for: Version | None = None
        self._told: FileVersion | None = None
        self._here: set[int] = set()
        self._turn = trio.Lock()

    async def get(self, index: int) -> memoryview | None:
        """Return a block, None if the server must be asked."""
        version = self._trusted()
        if version is None:
            return None
        told = await self._ask(version)
        if told is None or index not in self._here:
            return None
        data = await self._cache.get(self._file_id, told, index)
        return data if self._trusted() == version else None

    def put(self, index: int, data: memoryview) -> None:
        """Keep a block that was just read, if it is sure what it is of."""
        version, told = self._trusted(), self._told
        if version is None or told is None or self._asked_for != version:
            return
        last = version._replace(time=max(told.change_time, told.write_time))
        if not is_young(last, time.time_ns()):
            self._cache.put(StoredBlock(self._file_id, told, index, data))
            self._here.add(index)

    def _trusted(self) -> Version | None:
        """Return the version of the file, if a lease says that it is still that."""
        return self._version() if self._file.is_vouched_for else None

    async def _ask(self, version: Version) -> FileVersion | None:
        """Return all that tells versions apart: CREATE does not tell the time of every change."""
        async with self._turn:
            if self._asked_for == version:
                return self._told
            try:
                stat = await self._share.stat_open(self._file)
            except SmbfsError as error:
                _log.debug("asking for the cache on disk: %s", error)
                return None
            told = FileVersion(stat.size, stat.change_time, stat.write_time, stat.creation_time)
            if self._trusted() != version or self._share.version_of(stat) != version:
                return None
            self._here = await self._cache.use(self._file_id, told)
            self._asked_for, self._told = version, told
        return told


@asynccontextmanager
async def open_disk_cache(
    folder: Path | None, identity: str, *, limit: int
) -> AsyncIterator[DiskCache | None]:
    """Use the cache in a folder for the length of the block, None if there is no folder.

    ``identity``: server, share and user, whose file is its own. A cache that can't be used is
    logged, and the mount goes on without one.
    """
    if folder is None:
        yield None
        return
    name = hashlib.sha256(identity.encode()).hexdigest()[:32] + ".sqlite"
    try:
        store = await trio.to_thread.run_sync(DiskStore, folder / name, limit)
    except (sqlite3.Error, OSError) as error:
        _log.warning("the cache in %s can't be used: %s", folder, error)
        yield None
        return
    try:
        async with background_tasks() as nursery:
            cache = DiskCache(store, nursery)
            try:
                yield cache
            finally:
                with trio.move_on_after(CLOSE_S) as scope:
                    scope.shield = True
                    await cache.finish()
    finally:
        store.close()
