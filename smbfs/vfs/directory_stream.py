"""The entries of one open directory, in the order in which the server sends them, each name once.

The server's listing is read piece by piece as the reader advances; a piece's descriptions are kept
only until the reader has passed them, its names (packed) and their hashes for as long as the
directory is open. So memory grows by some tens of bytes for an entry, time grows linearly, and a
reader may go back: to the beginning, which starts a new listing, or to where it was before.

A position counts entries: the position of an entry is how many were before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from smbfs.vfs.descriptions import Description

if TYPE_CHECKING:
    from smbfs.vfs.shown import Entry

REMEMBERED_NAMES_MAX: Final = 1_000_000
"""Entries of one open directory up to which a name that comes twice is noticed."""


@dataclass(slots=True)
class Listed:
    """One entry of a directory."""

    name: bytes
    description: Description
    asked_s: float = 0.0
    """When the server was asked, in seconds of the event loop's clock."""
    shown: Entry | None = field(default=None, compare=False)
    """What the kernel was told of it, if it may be told the same again."""


class Source(Protocol):
    """A server's listing of one directory."""

    async def next_piece(self, *, restart: bool) -> list[Listed] | None:
        """Return the next entries that can be shown, or None when there are no more."""


class DirectoryStream:
    """A reader's view of a listing. Use it from one task at a time."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._restart()

    def _restart(self) -> None:
        self._entries: list[Listed] = []
        self._first = 0
        """Position of the first entry in ``_entries``."""
        self._packed: list[bytes] = []
        """The names of all entries so far, piece by piece, NUL between them."""
        self._seen: set[int] = set()
        self._is_fresh = True
        self._is_complete = False

    @property
    def length(self) -> int:
        """Entries read so far."""
        return self._first + len(self._entries)

    def rewind(self) -> None:
        """Begin again with a new listing, unless nothing was read yet."""
        if not self._is_fresh:
            self._restart()

    def is_here(self, position: int) -> bool:
        """Whether :meth:`entry` answers without asking the server."""
        return self._first <= position < self.length or self._is_complete

    async def entry(self, position: int) -> Listed | None:
        """Return the entry at a position, or None behind the last one."""
        if position < self._first:
            self._go_back(position)
        while position >= self.length:
            if self._is_complete:
                return None
            await self._read_piece()
        return self._entries[position - self._first]

    def passed(self, position: int) -> None:
        """The reader will not go back behind ``position``, or it may cost a new listing."""
        position = min(position, self.length)  # Who goes on has perhaps read by another open.
        done = position - self._first
        if done > 0:
            del self._entries[:done]
            self._first = position

    async def _read_piece(self) -> None:
        piece = await self._source.next_piece(restart=self._is_fresh)
        self._is_fresh = False
        if piece is None:
            self._is_complete = True
            return
        fresh = [listed for listed in piece if self._is_new(listed.name)]
        if fresh:
            self._packed.append(b"\0".join(listed.name for listed in fresh))
            self._entries += fresh

    def _is_new(self, name: bytes) -> bool:
        if len(self._seen) >= REMEMBERED_NAMES_MAX:
            return True
        fingerprint = hash(name)
        if fingerprint in self._seen:
            return False
        self._seen.add(fingerprint)
        return True

    def _go_back(self, position: int) -> None:
        """Begin a new listing that shows what was not shown before ``position``."""
        before = b"\0".join(self._packed).split(b"\0")[:position]
        self._restart()
        self._first = position
        if before:
            self._packed = [b"\0".join(before)]
        self._seen = {hash(name) for name in before}
