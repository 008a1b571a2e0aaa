"""Random operations on one folder by several clients, held against a model in memory.

Each operation is whole: what a client opens it closes before another one's turn. After a change
another client looks, and must see it. A server tells the others of a change without waiting until
they know, so what a client sees may be late by the time that such news takes; how late it was is
counted, and ``GRACE_S`` is the end of all patience. A client that has changed something sees that
at once.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

GRACE_S = 2.0
"""Seconds after which a client that does not see a change has missed it."""

FOLDERS = ("", "one", "two")
NAMES = tuple(f"{folder}/file-{n}".lstrip("/") for folder in FOLDERS for n in range(8))
SIZE_MAX = 40_000


class Incoherent(AssertionError):
    """Somebody saw what was not so."""


class Late(NamedTuple):
    """A look that did not see the last change at once."""

    what: str
    seconds: float
    change: str


class Client(Protocol):
    """Somebody who works in the folder. Paths are relative to it."""

    def write(self, name: str, content: bytes) -> None:
        """Make a file, or write it anew."""

    def append(self, name: str, content: bytes) -> None:
        """Write at the end of a file."""

    def truncate(self, name: str, size: int) -> None:
        """Cut a file, or extend it by zeros."""

    def rename(self, name: str, new: str) -> None:
        """Move a file over whatever is there."""

    def remove(self, name: str) -> None:
        """Remove a file."""

    def names(self, folder: str) -> set[str]:
        """List the files of a folder."""

    def size(self, name: str) -> int | None:
        """Return a file's size, None if there is none."""

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None if there is none."""


class MountedFolder:
    """A client by way of the kernel."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return str(self.path)

    def write(self, name: str, content: bytes) -> None:
        (self.path / name).write_bytes(content)

    def append(self, name: str, content: bytes) -> None:
        with (self.path / name).open("ab") as file:
            file.write(content)

    def truncate(self, name: str, size: int) -> None:
        os.truncate(self.path / name, size)

    def rename(self, name: str, new: str) -> None:
        (self.path / name).replace(self.path / new)

    def remove(self, name: str) -> None:
        (self.path / name).unlink()

    def names(self, folder: str) -> set[str]:
        with os.scandir(self.path / folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}

    def size(self, name: str) -> int | None:
        try:
            return (self.path / name).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None


@dataclass
class Coherence:
    """Clients of one folder, and what is in it."""

    mounts: list[MountedFolder]
    """Who sees what they did at once, and what others did soon."""
    others: list[Client]
    """Who remembers nothing."""
    seed: int
    model: dict[str, bytes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    looks: int = 0
    late: list[Late] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def run(self, operations: int) -> None:
        """Do so many random operations, and in the end compare everything."""
        for _ in range(operations):
            self._operation()
        for client in (*self.mounts, *self.others):
            for folder in FOLDERS:
                self._look(client, folder=folder, may_be_late=True)
            for name in NAMES:
                self._look(client, name=name, may_be_late=True)

    def _operation(self) -> None:
        client = self.random.choice([*self.mounts, *self.mounts, *self.others])
        name = self.random.choice(NAMES)
        if self.random.random() < 0.4:
            self._look(self.random.choice(self.mounts), name=name, may_be_late=True)
            return
        self._change(client, name)
        observer = self.random.choice([*self.mounts, *self.mounts, *self.others])
        self._look(observer, name=name, may_be_late=observer is not client)

    def _change(self, client: Client, name: str) -> None:
        content = self.random.randbytes(self.random.randrange(1, SIZE_MAX))
        verbs = ["write"]
        if name in self.model:
            verbs += ["append", "truncate", "rename", "remove", "write"]
            # A mount that does not know the file yet may say that it isn't there.
            self._look(client, name=name, may_be_late=True, how="size")
        verb = self.random.choice(verbs)
        self.log.append(f"{client!r}: {verb} {name}")
        if verb == "write":
            client.write(name, content)
            self.model[name] = content
        elif verb == "append":
            client.append(name, content)
            self.model[name] += content
        elif verb == "truncate":
            size = self.random.randrange(SIZE_MAX)
            client.truncate(name, size)
            self.model[name] = self.model[name][:size].ljust(size, b"\0")
        elif verb == "rename":
            new = self.random.choice([other for other in NAMES if other != name])
            client.rename(name, new)
            self.model[new] = self.model.pop(name)
        else:
            client.remove(name)
            del self.model[name]

    def _look(
        self,
        client: Client,
        *,
        name: str = "",
        folder: str | None = None,
        may_be_late: bool,
        how: str = "",
    ) -> None:
        if folder is None:
            folder = name.rpartition("/")[0]
        how = how or ("names" if not name else self.random.choice(["names", "size", "read"]))
        expected = self.model.get(name)
        see: Callable[[], object]
        if how == "names":
            paths = [other.rpartition("/") for other in self.model]
            right: object = {last for above, _, last in paths if above == folder}
            see = lambda: client.names(folder)  # noqa: E731
        elif how == "size":
            right = len(expected) if expected is not None else None
            see = lambda: client.size(name)  # noqa: E731
        else:
            right = expected
            see = lambda: client.read(name)  # noqa: E731
        self._await(see, right, f"{client!r}: {how} of {name or folder!r}", may_be_late=may_be_late)

    def _await(
        self, see: Callable[[], object], right: object, what: str, *, may_be_late: bool
    ) -> None:
        self.looks += 1
        began_s = time.monotonic()
        seen = see()
        if seen == right:
            return
        while seen != right:
            if not may_be_late or time.monotonic() > began_s + GRACE_S:
                story = "\n".join(self.log[-30:])
                raise Incoherent(f"{what} is {_short(seen)}, not {_short(right)}, after\n{story}")
            time.sleep(0.001)
            seen = see()
        self.late.append(Late(what, time.monotonic() - began_s, self.log[-1]))


def _short(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes {value[:8].hex()}..."
    return repr(value)
