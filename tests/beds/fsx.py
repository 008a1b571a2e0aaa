"""A file system exerciser in the manner of fsx: one file, random operations, a model in memory.

Reads, writes, truncations, mapped reads and writes, holes, copies within the file, fsync and
reopening follow one another by a seed; every read must give what the model holds, and the size
must be the model's after each operation. On a mismatch it tells the seed, the last operations and
the first wrong byte.

``python -m tests.beds.fsx FILE [--operations N] [--seed S] [--no-mappings]`` exits with 0,
or with 1 and the story. The same seed gives the same operations on any file system.
"""

from __future__ import annotations

import argparse
import errno
import mmap
import os
import random
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.beds.fallocate import fallocate

MAX_FILE_SIZE = 256 * 1024
MAX_OPERATION_SIZE = 64 * 1024
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10
_REMEMBERED = 24
_SHOWN_BYTES = 16


class Mismatch(Exception):
    """The file is not what was written to it."""


class Operation(NamedTuple):
    """One operation that was done, as it is told afterwards."""

    number: int
    name: str
    offset: int = 0
    length: int = 0

    def __str__(self) -> str:
        end = self.offset + self.length
        return f"{self.number:>7} {self.name:<11} {self.offset:#x}..{end:#x} ({self.length:#x})"


class Exerciser:
    """The file, its model, and what was done to them. ``path`` is made or emptied."""

    def __init__(self, path: Path, seed: int, *, mapped: bool = True) -> None:
        self.path = path
        self.model = bytearray()
        self.history: deque[Operation] = deque(maxlen=_REMEMBERED)
        self._random = random.Random(seed)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        self._number = 0
        self._chances: list[tuple[Callable[[], None], int]] = [
            (self.read, 30),
            (self.write, 30),
            (self.truncate, 10),
            (self.mapped_read, 15 if mapped else 0),
            (self.mapped_write, 15 if mapped else 0),
            (self.allocate, 3),
            (self.zero, 6),
            (self.copy, 4),
            (self.seek, 4),
            (self.fsync, 3),
            (self.reopen, 3),
        ]

    def run(self, operations: int) -> None:
        """Do so many operations, then compare the whole file. Raises: Mismatch, OSError."""
        verbs = [verb for verb, _ in self._chances]
        weights = [weight for _, weight in self._chances]
        for verb in self._random.choices(verbs, weights, k=operations):
            self._number += 1
            verb()
            self._check_size()
        self.reopen()
        self._compare(self._read(0, len(self.model) + 1), 0, len(self.model) + 1, "read")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    # -- operations ------------------------------------------------------------------------

    def read(self) -> None:
        """Read anywhere, past the end too."""
        offset, length = self._place(MAX_FILE_SIZE)
        self._note("read", offset, length)
        self._compare(self._read(offset, length), offset, length, "read")

    def write(self) -> None:
        """Write anywhere; a gap behind the end becomes zeros."""
        offset, length = self._place(MAX_FILE_SIZE)
        data = self._random.randbytes(length)
        self._note("write", offset, length)
        done = 0
        while done < length:
            done += os.pwrite(self._descriptor, data[done:], offset + done)
        self._grow(offset + length)
        self.model[offset : offset + length] = data

    def truncate(self) -> None:
        """Make the file shorter or longer, by handle or by name."""
        size, before = self._random.randrange(MAX_FILE_SIZE + 1), len(self.model)
        by_name = self._random.random() < 0.5
        name = ("cut" if size < before else "extend") + (" name" if by_name else "")
        self._note(name, min(size, before), abs(size - before))
        os.truncate(self.path if by_name else self._descriptor, size)
        del self.model[size:]
        self._grow(size)

    def mapped_read(self) -> None:
        """Read through a mapping, up to the end."""
        if not self.model:
            return
        offset, length = self._place(len(self.model))
        self._note("mapread", offset, length)
        with _map(self._descriptor, offset, length, mmap.ACCESS_READ) as (view, start):
            self._compare(view[start : start + length], offset, length, "mapread")

    def mapped_write(self) -> None:
        """Write through a mapping, made longer by truncation first where need be."""
        offset, length = self._place(MAX_FILE_SIZE)
        self._note("mapwrite", offset, length)
        data = self._random.randbytes(length)
        if offset + length > len(self.model):
            os.ftruncate(self._descriptor, offset + length)
            self._grow(offset + length)
        with _map(self._descriptor, offset, length, mmap.ACCESS_WRITE) as (view, start):
            view[start : start + length] = data
            view.flush()
        self.model[offset : offset + length] = data

    def allocate(self) -> None:
        """Make room, also behind the end."""
        offset, length = self._place(MAX_FILE_SIZE)
        self._note("allocate", offset, length)
        os.posix_fallocate(self._descriptor, offset, length)
        self._grow(offset + length)

    def zero(self) -> None:
        """Make zeros, as a hole or not, that end with the file at the latest."""
        offset, length = self._place(MAX_FILE_SIZE)
        mode = self._random.choice((PUNCH_HOLE, ZERO_RANGE))
        self._note("punch" if mode == PUNCH_HOLE else "zero", offset, length)
        fallocate(self._descriptor, mode | KEEP_SIZE, offset, length)
        end = min(offset + length, len(self.model))
        self.model[offset:end] = bytes(max(0, end - offset))

    def copy(self) -> None:
        """Copy within the file, between ranges that do not overlap."""
        offset, length = self._place(MAX_FILE_SIZE // 2)
        target = offset + length + self._random.randrange(MAX_FILE_SIZE // 4)
        self._note(f"copy {target - offset:+#x}", offset, length)
        data, done = self.model[offset : offset + length], 0  # Which may make the file longer.
        length = len(data)
        while length and (
            count := os.copy_file_range(
                self._descriptor, self._descriptor, length - done, offset + done, target + done
            )
        ):
            done += count
        if done != length:
            raise Mismatch(f"{done:#x} bytes were copied, {length:#x} is right")
        if length:
            self._grow(target + done)
            self.model[target : target + done] = data

    def seek(self) -> None:
        """Look for data: what is passed over has to be zeros."""
        offset, _ = self._place(MAX_FILE_SIZE)
        self._note("seek", offset)
        try:
            found = os.lseek(self._descriptor, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            found = len(self.model)
        if any(self.model[offset:found]):
            raise Mismatch(f"the first data behind {offset:#x} are found at {found:#x}")

    def fsync(self) -> None:
        """Have everything written."""
        self._note("fsync")
        os.fsync(self._descriptor)

    def reopen(self) -> None:
        """Close and open again."""
        self._note("reopen")
        os.close(self._descriptor)
        self._descriptor = os.open(self.path, os.O_RDWR)

    # -- helpers ---------------------------------------------------------------------------

    def _place(self, limit: int) -> tuple[int, int]:
        offset = self._random.randrange(limit)
        longest = min(MAX_OPERATION_SIZE, limit - offset)
        return offset, self._random.randint(1, longest)

    def _note(self, name: str, offset: int = 0, length: int = 0) -> None:
        self.history.append(Operation(self._number, name, offset, length))

    def _grow(self, size: int) -> None:
        self.model.extend(bytes(max(0, size - len(self.model))))

    def _read(self, offset: int, length: int) -> bytes:
        """Read until ``length`` bytes or the end."""
        parts = []
        while length > 0 and (part := os.pread(self._descriptor, length, offset)):
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def _check_size(self) -> None:
        for what, size in (
            ("fstat", os.fstat(self._descriptor).st_size),
            ("stat", self.path.stat().st_size),
        ):
            if size != len(self.model):
                raise Mismatch(f"{what} gives a size of {size:#x}, {len(self.model):#x} is right")

    def _compare(self, got: bytes, offset: int, length: int, how: str) -> None:
        wanted = self.model[offset : offset + length]
        if got == wanted:
            return
        if len(got) != len(wanted):
            raise Mismatch(
                f"{how} of {length:#x} at {offset:#x} gives {len(got):#x} bytes, "
                f"{len(wanted):#x} is right"
            )
        first = next(i for i, (a, b) in enumerate(zip(got, wanted, strict=True)) if a != b)
        wrong = sum(a != b for a, b in zip(got, wanted, strict=True))
        raise Mismatch(
            f"{how} is wrong at {offset + first:#x} and {wrong - 1} more bytes: "
            f"{got[first : first + _SHOWN_BYTES].hex(' ')} where "
            f"{bytes(wanted[first : first + _SHOWN_BYTES]).hex(' ')} was written"
        )


class _Mapping(NamedTuple):
    """A mapping and where in it the wanted bytes begin; closed with its block."""

    view: mmap.mmap
    start: int

    def __enter__(self) -> tuple[mmap.mmap, int]:
        return self.view, self.start

    def __exit__(self, *exception: object) -> None:
        self.view.close()


def _map(file: int, offset: int, length: int, access: int) -> _Mapping:
    start = offset % mmap.ALLOCATIONGRANULARITY
    return _Mapping(mmap.mmap(file, start + length, access=access, offset=offset - start), start)


def main() -> int:
    """Exercise the file of the command line."""
    parser = argparse.ArgumentParser(prog="fsx")
    parser.add_argument("path", type=Path, metavar="FILE")
    parser.add_argument("--operations", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--no-mappings", action="store_true")
    options = parser.parse_args()
    exerciser = Exerciser(options.path, options.seed, mapped=not options.no_mappings)
    try:
        exerciser.run(options.operations)
    except (Mismatch, OSError) as error:
        story = [str(error), "the last operations:", *map(str, exerciser.history)]
    else:
        story = [f"{options.operations} operations without a mismatch"]
    finally:
        exerciser.close()
    sys.stdout.write(f"fsx: seed {options.seed}: " + "\n".join(story) + "\n")
    return 1 if len(story) > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
