"""What is known of one directory, and for how long each of its entries may be believed.

Questions, changes and listings overlap, so everything is ordered by a count of events, the *tick*:
an answer is entered only if nothing happened to its name since it was asked, and only if it was
asked under the lease that holds. A name is *unknown* while a change of ours is under way, and
after it if what came of it is not known: whoever wants it asks the server.

INVARIANT: of a name that is not unknown, no answer was ever received that is later than its entry.
INVARIANT: there is a lease only if it was never broken since the listing was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from smbfs.client.open import Open
from smbfs.engine.leases import Lease
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import Listed

Fold = Callable[[bytes], bytes]
"""Makes names equal that the server takes for the same one."""

DOUBTFUL_SHARE: Final = 32
"""A listing is worth reading again when more than one of so many entries is unknown."""

DOUBTFUL_MIN: Final = 4
"""Unknown entries for which it is not, however few there are: who writes one file after the other
has changed one or two lately."""

ENTRIES_MAX: Final = 32_768
"""Entries up to which a directory is known."""

NEVER_LISTED: Final = frozenset({b".zfs", b".snapshot", b".snapshots", b"~snapshot"})
"""Directories of snapshots: servers open them for who knows their names, and may not list them."""

KEPT_LEFT_MIN_S: Final = 1.0
"""Seconds that what somebody has kept must be good for. To be told all of it anew is cheaper than
to ask about every entry."""

IN_FLIGHT: Final = 1 << 62
"""Added to the tick of a change that the server has not answered: no answer is later than that."""


class Answer(NamedTuple):
    """What is known of a name."""

    description: Description | None
    """None: there is no such name."""
    left_s: float
    """Seconds for which that may still be believed."""


@dataclass(slots=True)
class Reading:
    """A listing on its way."""

    lease_key: bytes | None
    """The key to open the directory with."""
    began: int
    """The tick at which it was asked for."""
    handle: Open | None = None
    """The directory, if it is open already."""
    was_told: bool = False
    """Whether somebody may believe in an earlier lease."""


class Kept(NamedTuple):
    """A listing that somebody was told, and may keep for as long as nothing changes."""

    tick: int
    """It shows every change up to that one."""
    armed: int
    """The tick at which the lease was granted under which it was listed."""
    until_s: float
    """When the first of its entries is no longer to be believed."""


@dataclass(slots=True)
class KnownDirectory:
    """One directory. Times are in seconds of any one clock."""

    fold: Fold | None = None
    reading: Reading | None = None
    lease: Lease | None = None
    """The lease under which the entries were listed, as long as it was not broken."""
    handle: Open | None = None
    """The directory, kept open for its lease."""
    is_watched: bool = False
    """Whether the lease stands for being told, a moment later, what has changed."""
    armed: int = 0
    """The tick at which the lease was granted: what was asked before may be older."""
    touched: int = 0
    """The tick of our last change in it."""
    until_s: float = 0.0
    own: tuple[Description, int] | None = None
    """What it is itself, and the tick of the question that was answered with this."""
    is_whole: bool = False
    """Whether every entry is here."""
    tells_absence: bool = False
    """Whether a name that is not here is nowhere, as far as the listing goes."""
    entries: dict[bytes, Listed] = field(default_factory=dict)
    changed: dict[bytes, int] = field(default_factory=dict)
    """The tick of the last change of a name, of those that changed since the listing was begun."""
    unknown: set[bytes] = field(default_factory=set)
    is_told: bool = False
    """Whether somebody may believe in this lease."""
    kept: Kept | None = None
    """The listing that the kernel may have, from its beginning to its end."""
    questions: int = 0
    questions_until_s: float = 0.0
    is_hopeless: bool = False
    """Whether reading it would be in vain: it is too large, or changes all the time."""

    @property
    def is_leased(self) -> bool:
        """Whether no other client has changed anything since the listing was asked for."""
        return self.lease is not None and self.lease.may_read

    @property
    def may_be_leased(self) -> bool:
        """Whether it is not leased, and nobody is about to lease it."""
        return self.reading is None and not self.is_leased

    def left_s(self, now_s: float) -> float:
        """Return for how long what was listed under a lease may be believed."""
        if self.reading is not None or not self.is_leased:
            return 0.0
        return max(0.0, self.until_s - now_s)

    def is_good(self, now_s: float) -> bool:
        """Whether a new listing would tell little more, for what it costs."""
        is_complete = self.is_whole and now_s < self.until_s
        doubtful = max(DOUBTFUL_MIN, len(self.entries) // DOUBTFUL_SHARE)
        return is_complete and len(self.unknown) <= doubtful

    def find(self, name: bytes, now_s: float) -> Answer | None:
        """Return what is known of a name, or None: ask the server."""
        key = self.key(name)
        if now_s >= self.until_s or key in self.unknown:
            return None
        listed = self.entries.get(key)
        description = listed.description if listed is not None and listed.name == name else None
        # A server that ignores case may know a name in more spellings than we can think of.
        tells_absence = self.tells_absence and self.fold is None and self.is_leased
        if description is None and (not tells_absence or name in NEVER_LISTED):
            return None
        left_s = self.left_s(now_s) if self.lease is not None else self.until_s - now_s
        return Answer(description, left_s)

    def listing(self, now_s: float) -> list[Listed] | None:
        """Return everything that is in it, or None: ask the server."""
        if not self.is_whole or self.unknown or not self.left_s(now_s):
            return None
        return list(self.entries.values())

    def current(self, listed: Listed, now_s: float) -> Listed | None:
        """Return what became of an entry since :meth:`listing`, None if it is gone."""
        key = self.key(listed.name)
        if not self.left_s(now_s):
            return listed
        # Under another lease perhaps only the beginning was listed: that tells of no absence.
        is_open = key in self.unknown or (not self.is_whole and key not in self.changed)
        return self.entries.get(key, listed if is_open else None)

    def believed_s(self, name: bytes, description: Description, now_s: float) -> float:
        """Return for how long a description may be believed: 0 if it is not what is known."""
        key = self.key(name)
        listed = self.entries.get(key)
        if listed is None or listed.description is not description or key in self.unknown:
            return 0.0
        return self.left_s(now_s)

    def own_believed_s(self, asked: int, now_s: float) -> float:
        """Return for how long attributes of the directory itself may be believed.

        ``asked``: the tick of the question that was answered with them.
        """
        return self.left_s(now_s) if asked >= max(self.armed, self.touched) else 0.0

    def note(self, name: bytes, description: Description, asked: int) -> None:
        """Enter what a name leads to, by an answer to a question that was sent at a tick."""
        key = self.key(name)
        is_older = asked < self.armed or self.changed.get(key, -1) > asked
        if not self.until_s or self.reading is not None or is_older:
            return
        if self.lease is None:
            self.unknown.add(key)  # The next answer may be another one.
        elif key in self.entries or len(self.entries) < ENTRIES_MAX:
            self.put(Listed(name, description))

    def has(self, listed: Listed) -> bool:
        """Whether an entry is what is known of its name."""
        key = self.key(listed.name)
        return self.entries.get(key) is listed and key not in self.unknown

    def description_of(self, name: bytes, file_id: int) -> Description | None:
        """Return what was last told of a name that leads to a file, whatever that has become."""
        listed = self.entries.get(self.key(name))
        if listed is None or not file_id or listed.description.stat.file_id != file_id:
            return None
        return listed.description

    def doubt(self, name: bytes, asked: int) -> None:
        """Another answer, to a question of that tick, does not agree with what is known."""
        is_known = bool(self.until_s) or self.reading is not None
        if is_known and self.changed.get(self.key(name), -1) <= asked:
            self.unknown.add(self.key(name))

    def mark(self, name: bytes, tick: int, *, at: int) -> None:
        """A name changes at a tick; ``at`` is the tick of now."""
        if not self.until_s and self.reading is None:
            return
        key = self.key(name)
        self.changed[key] = tick
        self.touched = at
        self.unknown.add(key)

    def last_change(self, name: bytes) -> int | None:
        """Return what a name was marked with last, None if it was not."""
        return self.changed.get(self.key(name))

    def put(self, listed: Listed) -> None:
        """Enter a name."""
        key = self.key(listed.name)
        self.entries[key] = listed
        self.unknown.discard(key)

    def remove(self, name: bytes) -> None:
        """A name is not there any more."""
        key = self.key(name)
        self.entries.pop(key, None)
        self.unknown.discard(key)

    def clear(self) -> None:
        """Know nothing of what is in it."""
        self.until_s = 0.0
        self.own = self.kept = None
        self.is_whole = self.tells_absence = False
        self.entries.clear()
        self.changed.clear()
        self.unknown.clear()

    def give_back(self) -> None:
        """Close the handle that was kept for the lease."""
        handle, self.handle = self.handle, None
        if handle is not None:
            handle.close_unwaited()

    def key(self, name: bytes) -> bytes:
        """Return what is the same for all spellings of a name."""
        return name if self.fold is None else self.fold(name)


def lease_key(known: KnownDirectory) -> bytes | None:
    """Return the key of the lease on a directory: our own changes shall not break that."""
    if known.lease is not None and known.lease.may_read:
        return known.lease.key
    return known.reading.lease_key if known.reading is not None else None


def lose_name(known: KnownDirectory, name: bytes) -> None:
    """A name may lead elsewhere: what is told by a handle of its file says nothing of it."""
    key = known.key(name)
    if known.entries.pop(key, None) is not None:
        known.unknown.add(key)


def keep(known: KnownDirectory, told: Kept) -> None:
    """A listing was told to its end: that is all there is, unless something has changed."""
    is_current = known.is_whole and known.reading is None and known.is_leased
    is_same = known.armed == told.armed and known.touched <= told.tick
    if is_current and is_same and not known.unknown:
        known.kept = told


def is_kept(known: KnownDirectory, now_s: float) -> bool:
    """Whether the listing that was told is still so, and will be believed for a while."""
    kept = known.kept
    if kept is None or known.touched > kept.tick or known.unknown or not known.left_s(now_s):
        return False
    return now_s + KEPT_LEFT_MIN_S <= kept.until_s
