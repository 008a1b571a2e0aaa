"""A process that does with files what it is told, one thing at a time."""

from __future__ import annotations

import errno
import mmap
import multiprocessing
import os
import pathlib
from multiprocessing.connection import Connection
from typing import Final

from tests.beds.fallocate import fallocate

KEEP_SIZE: Final = 1
PUNCH_HOLE: Final = 2
ZERO_RANGE: Final = 16

_context = multiprocessing.get_context("fork")


class Worker:
    """The side of who tells."""

    def __init__(self) -> None:
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(target=_serve, args=(theirs, self._pipe), daemon=True)
        self._process.start()
        theirs.close()
        self.pid = self._process.pid

    def tell(self, verb: str, *arguments: object) -> None:
        """Have it do something; ``answer`` tells how it went."""
        self._pipe.send((verb, arguments))

    def answer(self) -> object:
        """What came of it. Raises: OSError; EOFError if the process is gone; TimeoutError."""
        if not self._pipe.poll(90):
            raise TimeoutError("it hangs")
        result = self._pipe.recv()
        if isinstance(result, BaseException):
            raise result
        return result

    def ask(self, verb: str, *arguments: object) -> object:
        """Have it do something, and wait."""
        self.tell(verb, *arguments)
        return self.answer()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


class _Files:
    """What it has open, by numbers that it is told, and what it can do with that."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}

    def open(self, slot: int, path: str, flags: int) -> None:
        self._open[slot] = os.open(path, flags, 0o666)

    def close(self, slot: int) -> None:
        os.close(self._open.pop(slot))

    def content(self, path: str) -> bytes:
        with pathlib.Path(path).open("rb", buffering=0) as file:
            return file.readall()

    def size(self, slot: int) -> int:
        return os.fstat(self._open[slot]).st_size

    def pread(self, slot: int, offset: int, length: int) -> bytes:
        parts = []
        while length and (part := os.pread(self._open[slot], length, offset)):
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def pwrite(self, slot: int, offset: int, data: bytes) -> None:
        while data:
            done = os.pwrite(self._open[slot], data, offset)
            data, offset = data[done:], offset + done

    def append(self, slot: int, data: bytes) -> None:
        while data:
            data = data[os.write(self._open[slot], data) :]

    def truncate(self, slot: int, size: int) -> None:
        os.ftruncate(self._open[slot], size)

    def fallocate(self, slot: int, mode: int, offset: int, length: int) -> None:
        fallocate(self._open[slot], mode, offset, length)

    def copy(self, slot: int, source: int, target_slot: int, target: int, length: int) -> int:
        done = 0
        while done < length and (
            count := os.copy_file_range(
                self._open[slot],
                self._open[target_slot],
                length - done,
                source + done,
                target + done,
            )
        ):
            done += count
        return done

    def seek_data(self, slot: int, offset: int) -> int | None:
        try:
            return os.lseek(self._open[slot], offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return None

    def fsync(self, slot: int) -> None:
        os.fsync(self._open[slot])

    def mapped_read(self, slot: int, offset: int, length: int) -> bytes:
        start = offset % mmap.ALLOCATIONGRANULARITY
        with mmap.mmap(
            self._open[slot], start + length, prot=mmap.PROT_READ, offset=offset - start
        ) as view:
            return view[start:]

    def mapped_write(self, slot: int, offset: int, data: bytes, sync: bool) -> None:
        start = offset % mmap.ALLOCATIONGRANULARITY
        with mmap.mmap(self._open[slot], start + len(data), offset=offset - start) as view:
            view[start:] = data
            if sync:
                view.flush()

    def rename(self, old: str, new: str) -> None:
        pathlib.Path(old).rename(new)

    def unlink(self, path: str) -> None:
        pathlib.Path(path).unlink()


def _serve(pipe: Connection, other: Connection) -> None:
    other.close()
    files = _Files()
    while True:
        verb, arguments = pipe.recv()
        try:
            result = getattr(files, verb)(*arguments)
        except OSError as error:
            result = error
        pipe.send(result)
