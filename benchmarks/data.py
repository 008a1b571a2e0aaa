"""The data: the same for every candidate, and recognizable wherever it arrives."""

from __future__ import annotations

import os
import random
import tarfile
from pathlib import Path

from tests.beds.guardian import BedError

BLOCK = 1 << 20
"""Big files are made, written and read in blocks of this many bytes."""
_STAMP = 8
"""Each block begins with its number, so that no block can stand for another."""
_TREE_SEED = 20


class Pattern:
    """Contents of a big file: random, so that nothing on the way can make it smaller."""

    def __init__(self) -> None:
        self._noise = os.urandom(BLOCK)

    def block(self, index: int) -> bytes:
        """Return block ``index``."""
        return index.to_bytes(_STAMP, "little") + self._noise[_STAMP:]

    def write(self, path: Path, size: int) -> None:
        """Make a file of ``size`` bytes, a whole number of blocks."""
        with path.open("wb", buffering=0) as file:
            for index in range(size // BLOCK):
                file.write(self.block(index))

    def check(self, path: Path, size: int) -> None:
        """Raise BedError unless ``path`` holds exactly what :meth:`write` writes."""
        if path.stat().st_size != size:
            raise BedError(f"{path} has {path.stat().st_size} bytes of {size}: not all arrived")
        with path.open("rb", buffering=0) as file:
            for index in range(size // BLOCK):
                if file.read(BLOCK) != self.block(index):
                    raise BedError(f"{path} has other contents in MiB {index}")

    def check_stamp(self, block: memoryview, index: int) -> None:
        """Raise BedError unless ``block`` is the one of number ``index``, by its first bytes."""
        if int.from_bytes(block[:_STAMP], "little") != index:
            raise BedError(f"MiB {index} was read wrongly")


def make_source_tree(path: Path, files: int) -> int:
    """Write a tar archive like that of a program's source; return its bytes of contents.

    Sizes spread as they do in such trees: many of 1-10 KB, few of more than 100 KB.
    """
    shape = random.Random(_TREE_SEED)  # noqa: S311 - a shape that is the same each time
    total = 0
    staging = path.with_suffix(".staging")
    with tarfile.open(path, "w") as archive:
        for number in range(files):
            size = min(int(shape.lognormvariate(8.3, 1.2)), 1 << 20)
            staging.write_bytes(shape.randbytes(size))
            folder = f"source/part{number % 17}/{number % 5}"
            archive.add(staging, f"{folder}/module_{number}.py")
            total += size
    staging.unlink()
    return total
