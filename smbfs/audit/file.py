"""Events in a file, a line of JSON each, where there is neither journal nor syslog.

Any number of processes of a user append to it: under a lock, a whole line or none. When it is
full it is kept as ``audit.jsonl.1`` in the place of the one before, so both together are bounded.

A disk may be slow, full, or a share that is away, so a thread of its own writes: who has an event
only puts it into a queue that is bounded, too.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import queue
import stat
import threading  # noqa: TID251 - a disk may block; and there are events outside of the event loop
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

from smbfs.audit.record import Record, format_line

FILE_MAX: Final = 4 * 1024 * 1024
"""Bytes of a file; there are two."""

QUEUE_MAX: Final = 1000
"""Events that wait for the disk."""

_END_S: Final = 2.0
"""Seconds that the last events may take when a process ends."""

_APPENDING: Final = (
    os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
)
_READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_log = logging.getLogger(__name__)


class AuditFile:
    """Appends each record, by a thread that begins with the first."""

    def __init__(self, path: Path, limit: int = FILE_MAX) -> None:
        self._path, self._limit = path, limit
        self._queue: queue.Queue[Record | None] = queue.Queue(QUEUE_MAX)
        self._thread: threading.Thread | None = None
        # Each is counted by one thread only.
        self._overflowed = self._failed = self._told = 0

    def put(self, record: Record) -> None:
        """Have a record appended soon; count it if too many wait already."""
        try:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="smbfs-audit", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._queue.put_nowait(record)
        except (queue.Full, RuntimeError):  # RuntimeError: there are no more threads
            self._overflowed += 1

    def close(self) -> None:
        """Wait until everything is written, but not for ever."""
        atexit.unregister(self.close)
        if self._thread is None:
            return
        try:
            self._queue.put(None, timeout=_END_S)
        except queue.Full:
            return
        self._thread.join(_END_S)

    def _run(self) -> None:
        while (record := self._queue.get()) is not None:
            lost = self._overflowed + self._failed - self._told
            line = format_line(replace(record, lost=lost)).encode() + b"\n"
            try:
                append(self._path, line, self._limit)
            except OSError as error:
                if not lost:  # Once, and not for each: the log has the events themselves.
                    _log.warning("events are in this log alone: %s: %s", self._path, error)
                self._failed += 1
            else:
                self._told += lost


def append(path: Path, line: bytes, limit: int) -> None:
    """Add a whole line, or nothing. May block. Raises: OSError."""
    try:
        folder = _open_folder(path.parent)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = _open_folder(path.parent)
    with _closing(folder):
        fcntl.flock(folder, fcntl.LOCK_EX)
        file = _open_file(path.name, folder)
        size = os.fstat(file).st_size
        if size and size + len(line) > limit:
            os.close(file)
            os.rename(path.name, _older(path.name), src_dir_fd=folder, dst_dir_fd=folder)
            file, size = _open_file(path.name, folder), 0
        with _closing(file):
            if os.write(file, line) < len(line):
                os.ftruncate(file, size)
                raise OSError("the disk is full")


def read_lines(path: Path) -> Iterator[str]:
    """Yield every line there is, the oldest first. May block.

    Raises: OSError; FileNotFoundError when there was no event yet.
    """
    files: list[IO[str]] = []
    with _closing(_open_folder(path.parent)) as folder:
        fcntl.flock(folder, fcntl.LOCK_SH)  # Nobody may exchange them between the two.
        for name in (_older(path.name), path.name):
            try:
                file = os.open(name, _READING, dir_fd=folder)
            except FileNotFoundError:
                continue
            files.append(os.fdopen(file, encoding="utf-8", errors="replace", newline="\n"))
    for each in files:
        with each:
            yield from each


def _older(name: str) -> str:
    return f"{name}.1"


def _open_folder(path: Path) -> int:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return _make_private(folder, path, 0o700)


def _open_file(name: str, folder: int) -> int:
    file = os.open(name, _APPENDING, 0o600, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(f"{name} is no file")
    return _make_private(file, Path(name), 0o600)


def _make_private(descriptor: int, path: Path, mode: int) -> int:
    """See that what is open is this user's, and nobody else's to look into."""
    try:
        info = os.fstat(descriptor)
        if info.st_uid != os.geteuid():
            raise PermissionError(f"{path} is another user's")
        if info.st_mode & 0o077:
            os.fchmod(descriptor, mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
