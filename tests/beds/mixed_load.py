"""Programs that use a mount while its server dies: writers, readers and one that renames.

Each is a process of its own, so that one that hangs is seen from outside. What it has been promised
(by fsync, by a close without an error, by a rename that succeeded) and every error goes to its
journal outside of the mount. Run as ``python -m tests.beds.mixed_load ROLE NUMBER FOLDER JOURNALS
SEED``; it works until its standard input is closed, and then closes what it has open.
"""

from __future__ import annotations

import os
import random
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from errno import errorcode
from pathlib import Path
from typing import Protocol, TypeVar

from tests.beds.journal import Journal
from tests.beds.load_content import (
    KNOWN_FILES,
    KNOWN_SIZE,
    RECORD_SIZE,
    known_content,
    record,
    token,
)

SLOTS_MAX = 60
LIES = ("unsynced", "wrong-byte", "lost-error")
"""What a writer may be told to do wrong (``$SMBFS_LOAD_LIE``), to prove who checks it."""

_AFTER_ERROR_S = 0.02
_READ_MAX = 300_000
_MOVED_FILES = 8

_Answer = TypeVar("_Answer")


class Role(Protocol):
    """One kind of program."""

    def turn(self) -> None:
        """Do a little. Raises: OSError, which is in the journal already."""

    def end(self) -> None:
        """Close what is open."""


class Worker:
    """What every role has: a folder on the mount, a journal, and chance."""

    def __init__(self, name: str, folder: Path, journals: Path, seed: int) -> None:
        self.name = name
        self.folder = folder
        self.journal = Journal(journals, name)
        self.chance = random.Random(f"{seed}/{name}")
        self.handle = 0
        """The number of the last handle; 0 is none."""

    def do(
        self, operation: str, file: str, call: Callable[..., _Answer], *arguments: object
    ) -> _Answer:
        """Call, with a pulse, and enter an error before it goes on to who called."""
        try:
            with self.journal.doing(f"{operation} {file}"):
                return call(*arguments)
        except OSError as error:
            name = errorcode.get(error.errno or 0, str(error.errno))
            self.journal.say(
                "error", operation=operation, file=file, handle=self.handle, errno=name
            )
            raise

    def open(self, file: str, flags: int) -> int:
        """Open a file below the folder. Raises: OSError."""
        self.handle += 1
        return self.do("open", file, os.open, self.folder / file, flags, 0o600)

    def read(self, descriptor: int, file: str, offset: int, length: int) -> bytes:
        """Read until all is there, or the file ends. Raises: OSError."""
        found = b""
        while len(found) < length:  # A read may be short when its rest has failed.
            place = offset + len(found)
            more = self.do("read", file, os.pread, descriptor, length - len(found), place)
            if not more:
                break
            found += more
        return found


class Writer(Worker):
    """Appends and overwrites records of its own files, and notes what fsync has promised.

    After an error on a handle it closes that and goes on with another file.
    """

    def __init__(self, name: str, folder: Path, journals: Path, seed: int) -> None:
        super().__init__(name, folder, journals, seed)
        self._file = ""
        self._generation = 0
        self._descriptor = -1
        self._sequence = 0
        self._written: dict[int, int] = {}
        self._promised: dict[int, int] = {}
        self._lie = os.environ.get("SMBFS_LOAD_LIE", "")

    def turn(self) -> None:
        if self._descriptor < 0:
            self._file = f"{self.name}-{self._generation}"
            self._generation += 1
            self._written, self._promised = {}, {}
            self._descriptor = self.open(self._file, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            return
        try:
            self._work()
        except OSError:
            self._abandon()
            raise

    def end(self) -> None:
        if self._descriptor >= 0:
            with suppress(OSError):
                self._close()

    def _work(self) -> None:
        what = self.chance.random()
        if what < 0.8:
            for _ in range(self.chance.choice((1, 1, 2, 4, 30))):
                self._put()
            if what < 0.7:
                self._sync()
        elif what < 0.9:
            self._look_back()
        elif what < 0.95:
            self._close()
            self.handle += 1
            self._descriptor = self.open(self._file, os.O_RDWR)
        elif len({**self._promised, **self._written}) >= SLOTS_MAX // 2:
            self._close()

    def _put(self) -> None:
        used = len({**self._promised, **self._written})
        is_new = used < SLOTS_MAX and self.chance.random() < 0.6
        slot = used if is_new or not used else self.chance.randrange(used)
        self._sequence += 1
        self.journal.say("tried", file=self._file, slot=slot, sequence=self._sequence)
        data = record(self._file, slot, self._sequence)
        if self._lie == "wrong-byte" and self._sequence == 20:
            data = data[:9000] + bytes([data[9000] ^ 1]) + data[9001:]
        done = 0
        while done < len(data):  # A write may be short when its rest has failed.
            place = slot * RECORD_SIZE + done
            done += self.do("write", self._file, os.pwrite, self._descriptor, data[done:], place)
        self._written[slot] = self._sequence

    def _sync(self) -> None:
        if self._lie == "unsynced" and self._sequence > 20:
            self._written[SLOTS_MAX] = self._sequence  # promised, and never written
        self.do("fsync", self._file, os.fsync, self._descriptor)
        self._promise("fsync")

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        self.do("close", self._file, os.close, descriptor)
        self._promise("close")

    def _promise(self, by: str) -> None:
        self.journal.say(
            "promised", file=self._file, by=by, handle=self.handle, records=self._written
        )
        self._promised |= self._written
        self._written = {}

    def _abandon(self) -> None:
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        with suppress(OSError):
            self.do("close-after-error", self._file, os.close, descriptor)
        if self._lie == "lost-error":
            self._promise("close")

    def _look_back(self) -> None:
        """Read a record that nothing has been written over, by another handle."""
        sure = sorted(set(self._promised) - set(self._written))
        if not sure:
            return
        slot = self.chance.choice(sure)
        descriptor = self.open(self._file, os.O_RDONLY)
        try:
            data = self.read(descriptor, self._file, slot * RECORD_SIZE, RECORD_SIZE)
        finally:
            self.do("close", self._file, os.close, descriptor)
        if data != record(self._file, slot, self._promised[slot]):
            self.journal.say("wrong", file=self._file, what=f"slot {slot} read back differs")


class Reader(Worker):
    """Reads anywhere in files whose content is known."""

    def __init__(self, name: str, folder: Path, journals: Path, seed: int) -> None:
        super().__init__(name, folder, journals, seed)
        self._bytes = 0

    def turn(self) -> None:
        number = self.chance.randrange(KNOWN_FILES)
        file = f"known-{number}"
        descriptor = self.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # The kernel keeps too much.
            offset = self.chance.randrange(KNOWN_SIZE - _READ_MAX)
            for _ in range(self.chance.choice((1, 1, 2, 12))):
                length = self.chance.randrange(1, _READ_MAX)
                offset = min(offset, KNOWN_SIZE - length)
                self._read(descriptor, number, offset, length)
                offset += length  # Some go on in a row.
        finally:
            self.do("close", file, os.close, descriptor)

    def end(self) -> None:
        self.journal.say("read", bytes=self._bytes)

    def _read(self, descriptor: int, number: int, offset: int, length: int) -> None:
        file = f"known-{number}"
        data = self.read(descriptor, file, offset, length)
        if data != known_content(number, offset, length):
            self.journal.say("wrong", file=file, what=f"{len(data)} of {length} bytes at {offset}")
        self._bytes += len(data)


class Renamer(Worker):
    """Renames files back and forth, and makes and removes small ones."""

    def __init__(self, name: str, folder: Path, journals: Path, seed: int) -> None:
        super().__init__(name, folder, journals, seed)
        self._place: dict[int, str] = dict.fromkeys(range(_MOVED_FILES), "here")
        self._made: list[str] = []
        self._count = 0

    def turn(self) -> None:
        what = self.chance.random()
        if what < 0.7:
            self._rename(self.chance.randrange(_MOVED_FILES))
        elif what < 0.85 or not self._made:
            self._make()
        else:
            self._remove(self._made.pop(self.chance.randrange(len(self._made))))

    def end(self) -> None:
        pass

    def _rename(self, number: int) -> None:
        if not self._place[number]:
            self._look_for(number)
            return
        source = self._place[number]
        target = {"here": "there", "there": "here"}[source]
        pair = (self.folder / f"{each}-{number}" for each in (source, target))
        self._place[number] = ""
        self.do("rename", f"{source}-{number}", os.rename, *pair)
        self.journal.say("moved", number=number, to=target)
        self._place[number] = target

    def _look_for(self, number: int) -> None:
        """After an error a file is under one of its names, and only the server knows which."""
        for place in ("here", "there"):
            path = self.folder / f"{place}-{number}"
            if self.do("look", path.name, path.exists):
                self._place[number] = place

    def _make(self) -> None:
        self._count += 1
        file = f"small-{self._count}"
        self.journal.say("making", file=file)
        descriptor = self.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            self.do("write", file, os.write, descriptor, token(self._count))
        finally:
            self.do("close", file, os.close, descriptor)
        self.journal.say("made", file=file, number=self._count)
        self._made.append(file)

    def _remove(self, file: str) -> None:
        self.journal.say("removing", file=file)
        self.do("remove", file, os.unlink, self.folder / file)
        self.journal.say("removed", file=file)


ROLES: dict[str, type[Writer | Reader | Renamer]] = {
    "writer": Writer,
    "reader": Reader,
    "renamer": Renamer,
}


def moved_names() -> list[str]:
    """Return the names of the files that are renamed, as they are in the beginning."""
    return [f"here-{number}" for number in range(_MOVED_FILES)]


def main() -> None:
    """Work until nobody wants it any more."""
    role, number, folder, journals, seed = sys.argv[1:]
    name = f"{role}-{number}"
    worker: Role = ROLES[role](name, Path(folder), Path(journals), int(seed))
    while not select.select([0], [], [], 0)[0]:
        try:
            worker.turn()
        except OSError:
            time.sleep(_AFTER_ERROR_S)  # A server that is gone is not asked all the time.
    worker.end()


if __name__ == "__main__":
    main()
