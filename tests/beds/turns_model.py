"""What processes of several clients do to files, held against a model of every byte."""

from __future__ import annotations

import errno
import os
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.beds.turns_worker import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, Worker

GRACE_S: Final = 3.0
"""Seconds after which a client that does not see a change of another one has missed it."""

SIZES: Final = {"small": 50_000, "middle": 400_000, "large": 3_500_000}
"""Names, and about how long their files become."""

OPERATION_SIZE: Final = 300_000
_HANDLES_MAX: Final = 8
_SHOWN: Final = 16


class Wrong(AssertionError):
    """Somebody saw what was not so."""


@dataclass(eq=False)
class File:
    """What a file is."""

    content: bytearray
    limit: int
    number: int
    removed_by: Client | None = None
    changes: dict[Client, float] = field(default_factory=dict)


@dataclass(eq=False)
class Handle:
    """What a process has open."""

    worker: Worker
    slot: int
    file: File
    flags: int

    def __str__(self) -> str:
        size = len(self.file.content)
        return f"[{self.slot} of file {self.file.number}: {self.flags:#o}, {size:#x} bytes]"

    @property
    def reads(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_WRONLY

    @property
    def writes(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_RDONLY

    @property
    def maps(self) -> bool:
        return self.flags & os.O_ACCMODE == os.O_RDWR and not self.flags & os.O_DIRECT


@dataclass(eq=False)
class Client:
    """A mount, and the processes that use it."""

    name: str
    folder: Path
    workers: list[Worker]
    maps: bool = True
    """Whether files can be mapped."""
    direct: bool = True
    """Whether O_DIRECT takes what is not aligned."""
    tells: bool = True
    """Whether others see all that it has synchronised, while it has the file open."""
    handles: list[Handle] = field(default_factory=list)


@dataclass
class Model:
    """What is so, and what was done; and how what somebody sees is held against it."""

    clients: Sequence[Client]
    served: Path
    """The folder where the server keeps it."""
    seed: int
    replaces: bool = True
    """Whether a file may be replaced or removed that another client has open."""
    files: dict[str, File] = field(default_factory=dict)
    log: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    late: list[tuple[float, str]] = field(default_factory=list)
    """Seconds that a client was late, and with what."""
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._turn_number = 0
        self._slot = 0
        self._who = self.clients[0]

    def _length(self) -> int:
        return self._random.choice(
            [
                self._random.randint(1, 100),
                self._random.randint(1, 5000),
                self._random.randint(1, OPERATION_SIZE),
            ]
        )

    def _place(self, handle: Handle, part: float) -> tuple[int, int]:
        return self._random.randrange(
            int(max(1, min(len(handle.file.content), handle.file.limit) * part))
        ), self._length()

    def _put(self, file: File, offset: int, data: bytes) -> None:
        file.content.extend(bytes(max(0, offset - len(file.content))))
        file.content[offset : offset + len(data)] = data
        self._changed(file)

    def _changed(self, file: File) -> None:
        file.changes[self._who] = time.monotonic()

    def _note(self, *what: object) -> None:
        self.counts[str(what[0])] = self.counts.get(str(what[0]), 0) + 1
        text = " ".join(hex(each) if isinstance(each, int) else str(each) for each in what)
        self.log.append(f"{self._turn_number} {self._who.name}: {text}")

    def _await(self, see: Callable[[], object], right: object, what: str, file: File) -> None:
        began_s = time.monotonic()
        while True:
            seen: object
            try:
                seen = see()
            except OSError as error:
                if error.errno not in (errno.ESTALE, errno.ENOENT):
                    raise
                seen = error
            if seen == right:
                break
            if self._is_current(file) or time.monotonic() > began_s + GRACE_S:
                if isinstance(seen, bytes) and isinstance(right, bytes):
                    self._same(seen, right, what)
                raise Wrong(f"{what} is {seen!r}, not {right!r}")
            time.sleep(0.001)
        late_s = time.monotonic() - began_s
        if late_s > 0.02:
            self.late.append((late_s, self.log[-1]))

    def _is_current(self, file: File) -> bool:
        """Whether nobody else has changed it of late."""
        others = (s for client, s in file.changes.items() if client is not self._who)
        return max(others, default=0.0) < time.monotonic() - GRACE_S

    def _same(self, got: bytes, right: bytes | bytearray, what: str) -> None:
        if got == right:
            return
        if len(got) != len(right):
            raise Wrong(f"{what}: {len(got):#x} bytes, not {len(right):#x}")
        wrong = [i for i, (a, b) in enumerate(zip(got, right, strict=True)) if a != b]
        first = wrong[0]
        raise Wrong(
            f"{what}: wrong at {first:#x} to {wrong[-1]:#x} ({len(wrong)} bytes): "
            f"{got[first : first + _SHOWN].hex()} not {bytes(right[first : first + _SHOWN]).hex()}"
        )


class Contents(Model):
    """What is done to the content of what a process has open."""

    @property
    def _verbs(self) -> dict[Callable[[Handle], None], int]:
        """What may be done, and how often."""
        return {
            self._read: 8, self._write: 8, self._append: 3, self._write_behind_end: 2,
            self._mapped_read: 3, self._mapped_write: 4, self._fsync: 2, self._size: 2,
            self._truncate: 2, self._zero: 3, self._allocate: 1, self._copy: 3, self._seek: 2,
            self._close: 5,
        }  # fmt: skip

    def _check(self, handle: Handle) -> None:
        """Compare all of it."""
        self._size(handle)
        if handle.reads:
            self._compare(handle, 0, len(handle.file.content) + 10, "pread")

    def _read(self, handle: Handle) -> None:
        if handle.reads:
            self._compare(handle, *self._place(handle, 1.1), "pread")

    def _mapped_read(self, handle: Handle) -> None:
        if self._who.maps and handle.maps and handle.file.content:
            self._size(handle)
            offset, length = self._place(handle, 1.0)
            length = min(length, len(handle.file.content) - offset)
            if length > 0:
                self._compare(handle, offset, length, "mapped_read")

    def _compare(self, handle: Handle, offset: int, length: int, how: str) -> None:
        self._note(how, offset, length, handle)
        right = bytes(handle.file.content[offset : offset + length])
        see = lambda: handle.worker.ask(how, handle.slot, offset, length)  # noqa: E731
        self._await(see, right, f"{how} {offset:#x}+{length:#x}", handle.file)

    def _size(self, handle: Handle) -> None:
        self._note("size", handle)
        see = lambda: handle.worker.ask("size", handle.slot)  # noqa: E731
        self._await(see, len(handle.file.content), "size", handle.file)

    def _write(self, handle: Handle) -> None:
        if not handle.writes:
            return None
        if handle.flags & os.O_APPEND:
            return self._append(handle)
        offset, length = self._place(handle, 1.05)
        self._do_write(handle, offset, length)
        return None

    def _write_behind_end(self, handle: Handle) -> None:
        if handle.writes and not handle.flags & os.O_APPEND:
            end = len(handle.file.content)
            if end < handle.file.limit:
                self._do_write(
                    handle, end + self._random.choice([0, 1, 4096, 100_000]), self._length()
                )

    def _do_write(self, handle: Handle, offset: int, length: int) -> None:
        data = self._random.randbytes(length)
        self._note("pwrite", offset, length, handle)
        handle.worker.ask("pwrite", handle.slot, offset, data)
        self._put(handle.file, offset, data)

    def _append(self, handle: Handle) -> None:
        if handle.flags & os.O_APPEND and len(handle.file.content) < handle.file.limit:
            data = self._random.randbytes(self._length() // 4 + 1)
            self._note("append", len(handle.file.content), len(data), handle)
            handle.worker.ask("append", handle.slot, data)
            self._put(handle.file, len(handle.file.content), data)

    def _mapped_write(self, handle: Handle) -> None:
        if not (self._who.maps and handle.maps and handle.file.content):
            return
        offset, length = self._place(handle, 1.0)
        length = min(length, len(handle.file.content) - offset)
        if length <= 0:
            return
        start = offset // 4096 * 4096
        self._size(handle)  # What the client does not know yet it would write over by the page.
        self._compare(handle, start, (offset + length - start + 4095) // 4096 * 4096, "pread")
        data, sync = self._random.randbytes(length), self._random.random() < 0.3
        self._note("mapped_write", offset, length, "sync" if sync else "", handle)
        handle.worker.ask("mapped_write", handle.slot, offset, data, sync)
        self._put(handle.file, offset, data)

    def _truncate(self, handle: Handle) -> None:
        if handle.writes and self._has_name(handle.file):
            size = self._random.randrange(handle.file.limit)
            self._note("truncate", size, handle)
            handle.worker.ask("truncate", handle.slot, size)
            content = handle.file.content
            handle.file.content[:] = content[:size].ljust(size, b"\0")
            self._changed(handle.file)

    def _zero(self, handle: Handle) -> None:
        if not (handle.writes and self._has_name(handle.file)):
            return
        offset, length = self._place(handle, 1.0)
        mode = self._random.choice((PUNCH_HOLE, ZERO_RANGE))
        self._note("punch" if mode == PUNCH_HOLE else "zero", offset, length, handle)
        handle.worker.ask("fallocate", handle.slot, mode | KEEP_SIZE, offset, length)
        end = min(offset + length, len(handle.file.content))
        if end > offset:
            handle.file.content[offset:end] = bytes(end - offset)
        self._changed(handle.file)

    def _allocate(self, handle: Handle) -> None:
        if not (handle.writes and self._has_name(handle.file)):
            return
        offset, length = self._place(handle, 1.0)
        self._note("allocate", offset, length, handle)
        try:
            handle.worker.ask("fallocate", handle.slot, 0, offset, length)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            self._note("no")
        else:
            content = handle.file.content
            content.extend(bytes(max(0, offset + length - len(content))))
        self._changed(handle.file)

    def _copy(self, handle: Handle) -> None:
        targets = [
            each
            for each in self._who.handles
            if each.worker is handle.worker and each.writes and not each.flags & os.O_APPEND
        ]
        if not (handle.reads and targets):
            return
        target = self._random.choice(targets)
        self._size(handle)  # The kernel copies nothing behind the end that it knows.
        source, length = self._place(handle, 1.0)
        length = min(length, len(handle.file.content) - source)
        if length <= 0:
            return
        offset = self._random.randrange(target.file.limit)
        if target.file is handle.file and abs(offset - source) < length:
            return
        self._note("copy", source, length, handle, "to", offset, target)
        done = handle.worker.ask("copy", handle.slot, source, target.slot, offset, length)
        if done != length:
            raise Wrong(f"copied {done}, not {length}")
        self._put(target.file, offset, bytes(handle.file.content[source : source + length]))

    def _seek(self, handle: Handle) -> None:
        self._size(handle)
        offset, _ = self._place(handle, 1.0)
        content = handle.file.content
        if offset >= len(content):
            return
        self._note("seek", offset, handle)

        def is_right() -> bool:
            found = handle.worker.ask("seek_data", handle.slot, offset)
            assert found is None or isinstance(found, int)
            return not any(content[offset : len(content) if found is None else found])

        self._await(is_right, True, f"seek {offset:#x}", handle.file)

    def _fsync(self, handle: Handle) -> None:
        self._note("fsync", handle)
        handle.worker.ask("fsync", handle.slot)

    def _close(self, handle: Handle) -> None:
        self._note("close", handle)
        handle.worker.ask("close", handle.slot)
        self._who.handles.remove(handle)

    def _has_name(self, file: File) -> bool:
        """Whether Samba sets the size of a file: it does not if another client has removed it."""
        return file.removed_by in (None, self._who)
