"""Blocks of files on disk, in one SQLite file per share and user.

SQLite's journal makes of a power cut what never happened or has happened whole; a checksum for each
block notices a disk that forgets. Every call blocks, and none may overlap another.

INVARIANT: ``size`` is the sum of all blocks' lengths, at most ``limit`` after every call.
INVARIANT: every block belongs to a file that is in the table, and is of the version there.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

_FORMAT: Final = 2
_PAGE_SIZE: Final = 65536
"""SQLite's largest: a block is a chain of few pages."""

_EVICTED_AT_ONCE: Final = 64

_TABLES: Final = """
CREATE TABLE files (
    id INTEGER PRIMARY KEY, size INTEGER, change_time INTEGER, write_time INTEGER,
    creation_time INTEGER, used INTEGER
);
CREATE INDEX by_use ON files (used);
CREATE TABLE blocks (
    file INTEGER, position INTEGER, length INTEGER, checksum INTEGER, data BLOB
);
CREATE UNIQUE INDEX by_position ON blocks (file, position);
CREATE INDEX by_length ON blocks (length);
"""

_log = logging.getLogger(__name__)


class FileVersion(NamedTuple):
    """What must agree before a block is taken for what the server has. Times are FILETIMEs."""

    size: int
    change_time: int
    write_time: int
    creation_time: int


class StoredBlock(NamedTuple):
    """One block to keep."""

    file_id: int
    version: FileVersion
    position: int
    """Which block of the file it is."""
    data: memoryview


class DiskStore:
    """The blocks of one share on disk."""

    def __init__(self, path: Path, limit: int) -> None:
        """Open or make the file. ``limit``: bytes of file contents in it.

        Raises: OSError, sqlite3.Error if another mount uses it, or it can't be written.
        """
        self.limit = limit
        self._path = path
        self._database = _opened(path)
        # Only a disk that forgets leaves such; nothing would ever evict them.
        self._database.execute("DELETE FROM blocks WHERE file NOT IN (SELECT id FROM files)")
        (size,) = self._database.execute("SELECT ifnull(sum(length), 0) FROM blocks").fetchone()
        self.size: int = size
        with self._transaction():
            self._evict()

    def get(self, file_id: int, version: FileVersion, position: int) -> bytes | None:
        """Return a block of this version of a file.

        Raises: sqlite3.DatabaseError if it is not what was put.
        """
        key = _signed(file_id)
        found = self._database.execute(
            "SELECT data, checksum FROM blocks JOIN files ON file = id"
            " WHERE file = ? AND position = ?"
            " AND (size, change_time, write_time, creation_time) = (?, ?, ?, ?)",
            (key, position, *map(_signed, version)),
        ).fetchone()
        if found is None:
            return None
        data, checksum = found
        if not isinstance(data, bytes) or zlib.crc32(data) != checksum:
            raise sqlite3.DatabaseError(f"block {position} of file {file_id} has changed on disk")
        return data

    def put(self, blocks: Iterable[StoredBlock]) -> None:
        """Keep blocks, all or none; those of files that were used least recently make room."""
        with self._transaction():
            for block in blocks:
                self._put(block)
            self._evict()

    def _put(self, block: StoredBlock) -> None:
        key, execute = _signed(block.file_id), self._database.execute
        version = tuple(map(_signed, block.version))
        known = execute(
            "SELECT size, change_time, write_time, creation_time FROM files WHERE id = ?", (key,)
        ).fetchone()
        if known is not None and known != version:
            self._delete("file = ?", key)
        execute(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
            (key, *version, time.time_ns()),
        )
        self._delete("file = ? AND position = ?", key, block.position)
        execute(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?)",
            (key, block.position, len(block.data), zlib.crc32(block.data), block.data),
        )
        self.size += len(block.data)

    def use(self, file_id: int, version: FileVersion) -> set[int]:
        """Return which blocks of this version of a file are here; they shall stay longer."""
        key = _signed(file_id)
        self._database.execute("UPDATE files SET used = ? WHERE id = ?", (time.time_ns(), key))
        found = self._database.execute(
            "SELECT position FROM blocks JOIN files ON file = id WHERE file = ?"
            " AND (size, change_time, write_time, creation_time) = (?, ?, ?, ?)",
            (key, *map(_signed, version)),
        )
        return {position for (position,) in found}

    def _evict(self) -> None:
        if self.size <= self.limit:
            return
        while self.size > self.limit:
            oldest = self._database.execute(
                "SELECT blocks.rowid FROM files JOIN blocks ON file = id"
                " ORDER BY used, blocks.rowid LIMIT ?",
                (_EVICTED_AT_ONCE,),
            ).fetchall()
            for (row,) in oldest:
                if self.size > self.limit:
                    self._delete("rowid = ?", row)
        self._database.execute("DELETE FROM files WHERE id NOT IN (SELECT file FROM blocks)")

    def _delete(self, which: str, *values: int) -> None:
        rows = self._database.execute(
            f"DELETE FROM blocks WHERE {which} RETURNING length",
            values,
        ).fetchall()
        self.size -= sum(length for (length,) in rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        before = self.size
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.size = before
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def close(self) -> None:
        """Give the file back."""
        self._database.close()

    def discard(self) -> None:
        """It is broken: the next mount shall begin anew."""
        _remove(self._path)

    def check_invariants(self) -> None:
        """Raise ``AssertionError`` when the books are wrong. Called by tests."""
        lengths = self._database.execute("SELECT length, length(data) FROM blocks").fetchall()
        assert all(told == real for told, real in lengths)
        assert self.size == sum(told for told, _ in lengths) <= self.limit
        strays = "SELECT count(*) FROM blocks WHERE file NOT IN (SELECT id FROM files)"
        assert self._database.execute(strays).fetchone() == (0,)


def _opened(path: Path) -> sqlite3.Connection:
    """Open the file, as a new one if it is not ours or broken."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    try:
        return _connected(path)
    except sqlite3.OperationalError:
        raise  # In use, or not to be written.
    except sqlite3.DatabaseError as error:
        _log.warning("the cache in %s is broken (%s): beginning anew", path, error)
    _remove(path)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    return _connected(path)


def _remove(path: Path) -> None:
    for each in (path, *(path.with_name(path.name + tail) for tail in ("-wal", "-shm"))):
        each.unlink(missing_ok=True)


def _connected(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        for setting in (
            f"page_size = {_PAGE_SIZE}",
            "locking_mode = EXCLUSIVE",
            "journal_mode = WAL",
            "synchronous = NORMAL",
        ):
            database.execute(f"PRAGMA {setting}").fetchall()
        (found,) = database.execute("PRAGMA user_version").fetchone()
        if found != _FORMAT:
            database.execute("BEGIN IMMEDIATE")
            for (name,) in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            ).fetchall():
                database.execute(f'DROP TABLE "{name}"')
            for statement in filter(str.strip, _TABLES.split(";")):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {_FORMAT}")
            database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


def _signed(number: int) -> int:
    """Return a 64-bit number as SQLite can hold it; a server may set any bit of its own ones."""
    return number - (1 << 64) if number >= 1 << 63 else number
