"""What must be true whatever the network does, checked while it happens."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.beds.simulated_files import Files, Node

NUMBERS_MAX = 250
"""A byte holds the number of the write that it is of."""


@dataclass(frozen=True)
class Intent:
    """A write that somebody has asked for."""

    node: int
    offset: int
    length: int
    is_ours: bool


@dataclass(eq=False)
class Written:
    """What one handle has written, and not been told the end of."""

    node: int
    pending: dict[int, int] = field(default_factory=dict)
    """Offset -> number of the last write of it that was taken."""
    unseen: dict[int, int] = field(default_factory=dict)
    """What a read did not show although it was taken: its failure must be told."""


class Broken(AssertionError):
    """A property does not hold."""


class Oracle:
    """Numbers every change, and judges what comes of it."""

    def __init__(self, files: Files) -> None:
        self._files = files
        files.on_written = self._on_written
        files.on_cut = self._on_cut
        self._last = 0
        self._intents: dict[int, Intent] = {}
        self._cuts: dict[int, int] = {}
        self._stable: dict[tuple[int, int], int] = {}
        self.names_done = self.names_unknown = 0
        """Names that were moved or removed, as far as programs were told; and perhaps."""
        self.failures: list[str] = []
        self.lost: list[tuple[str, int, int, str]] = []
        """What the mount told of lost writes."""

    # ------------------------------------------------------------- what is asked for

    @property
    def is_full(self) -> bool:
        """Whether there are no numbers left."""
        return self._last >= NUMBERS_MAX

    def write(self, node: int, offset: int, length: int, *, is_ours: bool) -> bytes:
        """Return the bytes of a new write."""
        self._last += 1
        self._intents[self._last] = Intent(node, offset, length, is_ours)
        return bytes([self._last]) * length

    def cut(self, size: int) -> None:
        """A file is about to be cut: which one, if its name moves meanwhile, nobody can say."""
        self._last += 1
        self._cuts[size] = self._last

    # ------------------------------------------------------------- what the server does

    def _on_written(self, node: Node, offset: int, data: bytes) -> None:
        for index, number in enumerate(data, start=offset):
            intent = self._intents.get(number)
            if (
                intent is None
                or intent.node != node.number
                or not intent.offset <= index < intent.offset + intent.length
            ):
                self.failures.append(f"byte {index} of file {node.number} got {number}: {intent}")
                return
            before = node.stamp(index, node.data)
            newer = self._intents.get(before)
            is_cut = newer is None and before > 0
            if intent.is_ours and before > number and (is_cut or (newer and newer.is_ours)):
                self.failures.append(f"write {number} came after {before} at {index}")
                return

    def _on_cut(self, node: Node, size: int) -> int:
        number = self._cuts.get(size)
        if number is None:
            self.failures.append(f"file {node.number} was cut to {size}: nobody has asked")
            return 0
        # What another client writes meanwhile may come before it or after it.
        if any(value > number and self._intents[value].is_ours for value in node.data[size:]):
            self.failures.append(f"cut {number} of file {node.number} came after newer writes")
        return number

    # ------------------------------------------------------------- what the mount tells

    def read(self, node_number: int, offset: int, data: bytes, written: Written | None) -> None:
        """A read was answered: the server must have had that, and our last word counts."""
        node = self._files.nodes[node_number]
        for index, value in enumerate(data, start=offset):
            if not node.ever_had(index, value):
                self.failures.append(f"byte {index} of file {node_number} was never {value}")
                return
        if written is None:
            return
        for index, number in written.pending.items():
            if offset <= index < offset + len(data) and data[index - offset] < number:
                cuts = [cut for cut, size in node.cuts if size <= index and cut > number]
                if not cuts:
                    written.unseen[index] = number

    def flushed(self, written: Written, *, is_stable: bool) -> None:
        """A flush, or with ``is_stable`` an fsync, went well: everything is there."""
        node = self._files.nodes[written.node]
        for offset, number in written.pending.items():
            if written.unseen.get(offset) == number:
                self.failures.append(f"write {number} was acknowledged, and not read at {offset}")
                return
            was_there = node.ever_had(offset, number)
            stamp = node.stamp(offset, node.stable) if is_stable else number
            if not was_there or stamp < number:
                self.failures.append(
                    f"write {number} at {offset} of file {node.number} was acknowledged "
                    f"and is lost (now {stamp}, was there: {was_there})"
                )
                return
            if is_stable:
                key = (written.node, offset)
                self._stable[key] = max(number, self._stable.get(key, 0))
        written.pending.clear()

    def names_changed(self, changes: int) -> None:
        """Whoever was told "no" has changed nothing, and nobody has changed anything twice."""
        if not self.names_done <= changes <= self.names_done + self.names_unknown:
            self.failures.append(
                f"{changes} names were changed: {self.names_done} say programs, "
                f"of {self.names_unknown} they don't know"
            )

    def end(self) -> None:
        """Whatever was ever made stable is still there, or newer."""
        for (number, offset), write in self._stable.items():
            node = self._files.nodes[number]
            stamp = node.stamp(offset, node.data)
            if stamp < write:
                self.failures.append(
                    f"write {write} at {offset} of file {number} was stable and is {stamp} now"
                )

    def check(self) -> None:
        """Raise the first failure."""
        if self.failures:
            raise Broken(self.failures[0])
