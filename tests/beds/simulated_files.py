"""Files of a simulated server: one directory, contents, times, and everything that ever was there.

Every byte says who wrote it: the value that a write puts everywhere is its number, counted over all
writers of a run. So whoever reads a byte knows which write it has seen, and the books know whether
the server ever had it, and what came before what.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from smbfs.wire.create import FileAttributes
from smbfs.wire.filetime import ns_to_filetime

EPOCH_NS = 1_700_000_000_000_000_000
"""Nanoseconds of the Unix epoch when the clock of a run begins."""

_ALL = struct.Struct("<QQQQIIQQIBBHQIIQIII")
_ENTRY = struct.Struct("<IIQQQQQQIIIIQ")
ROOT_NUMBER = 2


@dataclass(eq=False)
class Node:
    """A file, or the directory."""

    number: int
    """Never used again."""
    created: int
    changed: int = 0
    """FILETIME of the last change."""
    data: bytearray = field(default_factory=bytearray)
    stable: bytes = b""
    """What a crash leaves of it."""
    past: list[set[int]] = field(default_factory=list)
    """What each byte ever was."""
    cuts: list[tuple[int, int]] = field(default_factory=list)
    """Number and size of each truncation."""
    attributes: int = FileAttributes.ARCHIVE
    name: str | None = None
    """None when it was removed."""
    is_going: bool = False
    """It is removed when its last open is closed."""

    def ever_had(self, offset: int, value: int) -> bool:
        """Whether a byte was ever this."""
        return offset < len(self.past) and value in self.past[offset]

    def stamp(self, offset: int, data: bytes | bytearray) -> int:
        """Return the number of the change that made a byte of ``data`` what it is."""
        value = data[offset] if offset < len(data) else 0
        cuts = [number for number, size in self.cuts if size <= offset]
        return value or max(cuts, default=0)


class Files:
    """The share's one directory. What is done to it is told to ``on_written`` and ``on_cut``."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self.names: dict[str, Node] = {}
        self.nodes: dict[int, Node] = {}
        self.root = Node(ROOT_NUMBER, self.time(), self.time())
        self.root.attributes = FileAttributes.DIRECTORY
        self.on_written: Callable[[Node, int, bytes], None] = lambda *_: None
        self.on_cut: Callable[[Node, int], int] = lambda *_: 0
        """Returns the number of the change."""

    def time(self) -> int:
        """Return the FILETIME of now."""
        return ns_to_filetime(EPOCH_NS + int(self._now_s() * 1e9))

    def make(self, name: str) -> Node:
        """Make an empty file."""
        node = Node(ROOT_NUMBER + 1 + len(self.nodes), self.time(), self.time(), name=name)
        self.names[name] = self.nodes[node.number] = node
        self.root.changed = self.time()
        return node

    def write(self, node: Node, offset: int, data: bytes) -> None:
        """Put bytes where they belong, zeros in front of them."""
        self.on_written(node, offset, data)
        end = offset + len(data)
        if end > len(node.data):
            before = len(node.data)
            node.data.extend(bytes(end - before))
            node.past.extend(set() for _ in range(end - len(node.past)))
            for index in range(before, offset):
                node.past[index].add(0)
        node.data[offset:end] = data
        for index in range(offset, end):
            node.past[index].add(node.data[index])
        node.changed = self.time()

    def cut(self, node: Node, size: int) -> None:
        """Cut or extend a file."""
        number = self.on_cut(node, size)
        if size < len(node.data):
            del node.data[size:]
        else:
            missing = size - len(node.data)
            node.past.extend(set() for _ in range(size - len(node.past)))
            for index in range(len(node.data), size):
                node.past[index].add(0)
            node.data.extend(bytes(missing))
        node.cuts.append((number, size))
        node.changed = self.time()

    def flush(self, node: Node) -> None:
        """From now on a crash takes nothing of it."""
        node.stable = bytes(node.data)

    def crash(self) -> None:
        """Lose whatever was not flushed."""
        for node in self.nodes.values():
            if bytes(node.data) != node.stable:
                node.data[:] = node.stable
                node.changed = self.time()

    def unlink(self, node: Node) -> None:
        """Take a file's name away."""
        if node.name is not None:
            del self.names[node.name]
            node.name = None
            self.root.changed = self.time()

    def rename(self, node: Node, name: str) -> None:
        """Give a file another name, over what is there."""
        target = self.names.get(name)
        if target is not None and target is not node:
            self.unlink(target)
        if node.name is not None:
            del self.names[node.name]
        node.name = name
        self.names[name] = node
        self.root.changed = self.time()

    # ------------------------------------------------------------- what it looks like

    def all_information(self, node: Node) -> bytes:
        """Return FileAllInformation. Spec: [MS-FSCC] 2.4.2."""
        name = ("\\" + (node.name or "")).encode("utf-16-le")
        changed = node.changed
        size = len(node.data)
        is_directory = bool(node.attributes & FileAttributes.DIRECTORY)
        times = (node.created, changed, changed, changed)
        fixed = _ALL.pack(
            *(*times, node.attributes, 0, size, size, 1, node.is_going, is_directory, 0),
            *(node.number, 0, 0, 0, 0, 0, len(name)),
        )
        return fixed + name

    def listing(self) -> bytes:
        """Return all entries as FileIdFullDirectoryInformation. Spec: [MS-FSCC] 2.4.18."""
        entries = [(".", self.root), ("..", self.root), *sorted(self.names.items())]
        listed = b""
        for index, (name, node) in enumerate(entries):
            text = name.encode("utf-16-le")
            length = _ENTRY.size + len(text)
            is_last = index == len(entries) - 1
            step = 0 if is_last else length + -length % 8
            times = (node.created, node.changed, node.changed, node.changed)
            size = len(node.data)
            entry = _ENTRY.pack(
                *(step, 0, *times, size, size, node.attributes, len(text), 0, 0, node.number)
            )
            listed += (entry + text).ljust(step, b"\0")
        return listed
