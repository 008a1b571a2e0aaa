"""Directories that are known as a whole.

A directory that was listed is remembered with what the listing told. While its lease holds, no
other client has made, removed, renamed or changed anything in it, so listings, lookups and
attributes are answered from here, for up to ``leased_s`` (programs on the server itself break no
lease). Without a lease what is there is believed for ``unleased_s``, and what is missing is not.

Programs that look up one name of a directory often look up many: a compiler its headers, git its
files, a copy its targets. So after a few questions about the same directory it is listed, too.

What is known of each, and how answers, changes and listings that overlap are put in order, is in
``known_directory``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from smbfs.client.open import Open
from smbfs.engine.leases import Lease
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import Listed
from smbfs.vfs.known_directory import (
    ENTRIES_MAX,
    IN_FLIGHT,
    Fold,
    KnownDirectory,
    Reading,
    lease_key,
)

QUESTIONS_BEFORE_LISTING: Final = 6
"""Questions about one directory, within the time that answers are believed, that are one by one."""

DIRECTORIES_MAX: Final = 4096
"""Directories that are known; servers have a handle open for each that is leased."""

ALL_ENTRIES_MAX: Final = 65_536
"""Entries of all known directories."""

ENTRY_SIZE: Final = 700
"""Bytes that an entry takes here, its name and attributes included."""


@dataclass(slots=True)
class Change:
    """A change of ours to one name; note here what came of it."""

    description: Description | None = None
    """What the name leads to now."""
    is_gone: bool = False
    """The name is not there any more."""


class KnownDirectories:
    """Directories by the number of their inode. Times are in seconds of any one clock."""

    def __init__(
        self,
        fold: Fold | None,
        *,
        leased_s: float,
        unleased_s: float,
        on_lost: Callable[[int], None],
    ) -> None:
        """``fold`` is for servers that take several spellings for the same name.

        ``on_lost`` is called with a directory's number when what was told of its entries, and of
        itself, is no longer to be believed although its time is not over.
        """
        self._fold = fold
        self._leased_s = leased_s
        self.unleased_s = unleased_s
        """Seconds for which a listing without a lease is believed."""
        self._on_lost = on_lost
        self._known: OrderedDict[int, KnownDirectory] = OrderedDict()
        self._nothing = KnownDirectory()
        self._tick = 0
        self.changes = 0
        """Changes of ours so far."""
        self.entries = 0
        """Entries of all directories when the last listing was complete."""

    @property
    def leased(self) -> int:
        """How many directories are leased now."""
        return sum(1 for known in self._known.values() if known.is_leased)

    def of(self, directory: int) -> KnownDirectory:
        """Return what is known of a directory, perhaps nothing."""
        known = self._known.get(directory)
        if known is None:
            return self._nothing
        self._known.move_to_end(directory)
        return known

    # ------------------------------------------------------------- questions and changes

    def asking(self) -> int:
        """Return the tick of a question that is about to be sent."""
        return self._tick

    @contextmanager
    def changing(
        self, directory: int, name: bytes, change: Change | None = None
    ) -> Iterator[Change]:
        """Let nothing answer for a name during a change; its end enters what the block notes."""
        change = change if change is not None else Change()
        self._tick += 1
        self.changes += 1
        began = self._tick + IN_FLIGHT
        self.of(directory).mark(name, began, at=self._tick)
        try:
            yield change
        finally:
            known = self.of(directory)
            is_alone = known.reading is None and known.last_change(name) == began
            self._tick += 1
            self.changes += 1
            known.mark(name, self._tick, at=self._tick)
            if is_alone and change.is_gone:
                known.remove(name)
            elif is_alone and change.description is not None:
                known.put(Listed(name, change.description))

    def spoil(self, directory: int, name: bytes) -> None:
        """A name has changed, or what it stands for has."""
        self._tick += 1
        self.changes += 1
        self.of(directory).mark(name, self._tick, at=self._tick)

    # ------------------------------------------------------------- reading

    def should_read(self, directory: int, now_s: float, *, window_s: float) -> bool:
        """Count a question that goes to the server; say whether to read the listing instead."""
        known = self._use(directory)
        if now_s >= known.questions_until_s:
            known.questions, known.questions_until_s = 0, now_s + window_s
            known.is_hopeless = False
        known.questions += 1
        return (
            known.questions > QUESTIONS_BEFORE_LISTING
            and not known.is_good(now_s)
            and known.reading is None
            and not known.is_hopeless
        )

    def begin(self, directory: int, new_key: bytes | None) -> Reading | None:
        """A listing is about to be asked for; what changes from now on may be missing in it.

        ``new_key``: the key to use if there is no lease yet; None where there are no leases.
        Returns None if it is being read already. End it by :meth:`complete` or :meth:`give_up`.
        """
        known = self._use(directory)
        if known.reading is not None:
            return None
        handle, own = None, None
        if known.is_leased:
            handle, known.handle = known.handle, None
            own = known.own
        key = lease_key(known) if new_key is not None else None
        known.clear()
        known.own = own  # The lease goes on.
        known.reading = Reading(key or new_key, self._tick, handle, known.is_told)
        return known.reading

    def opened(self, directory: int, reading: Reading, handle: Open, now_s: float) -> None:
        """The server has opened the directory, and answers for it from now on."""
        known = self._reading(directory, reading)
        if known is None:
            return
        if reading.handle is None:
            self._tick += 1
            known.armed = self._tick
        is_leased = handle.lease is not None and handle.lease.may_read
        known.lease = handle.lease if is_leased else None
        known.is_told = known.is_told or is_leased
        known.until_s = now_s + (self._leased_s if is_leased else self.unleased_s)

    def watched(self, directory: int, handle: Open) -> bool:
        """From now on it is told what changes in a directory that was listed.

        Return whether the handle is kept, whose lease stands for that: what is listed by it is as
        good as leased.
        """
        known = self.of(directory)
        if known.reading is not None or known.handle is not None or not known.until_s:
            return False
        self._tick += 1
        known.armed = self._tick
        known.lease, known.handle, known.is_watched = handle.lease, handle, True
        return True

    def add(self, directory: int, reading: Reading, listed: list[Listed]) -> bool:
        """Take note of entries; return whether it is worth going on."""
        known = self._reading(directory, reading)
        if known is None:
            return False
        if len(known.entries) + len(listed) > ENTRIES_MAX:
            self.give_up(directory, reading)
            return False
        for each in listed:
            other = known.entries.get(known.key(each.name))
            if other is not None and other.name != each.name:
                self.give_up(directory, reading)  # The server tells them apart, and we don't.
                return False
            if known.last_change(each.name) is None:
                known.put(each)
        return True

    def complete(
        self,
        directory: int,
        reading: Reading,
        handle: Open,
        *,
        is_whole: bool,
        tells_absence: bool,
    ) -> KnownDirectory | None:
        """No more entries come. Return the directory if ``handle`` is kept with it.

        ``is_whole``: every entry was added. ``tells_absence``: no other name is there.
        """
        known = self._reading(directory, reading)
        if known is None:
            return None
        known.reading = None
        known.is_whole, known.tells_absence = is_whole, tells_absence
        self.entries = sum(len(each.entries) for each in self._known.values())
        while self.entries > ALL_ENTRIES_MAX and len(self._known) > 1:
            directory, oldest = next(iter(self._known.items()))
            self.entries -= len(oldest.entries)
            self.forget(directory)
        if not known.is_leased:
            known.is_hopeless = not self.unleased_s
            return None
        known.handle = handle
        return known

    def give_up(self, directory: int, reading: Reading) -> None:
        """The listing could not be read, or has too many entries, or nobody wants the rest."""
        known = self._reading(directory, reading)
        if known is not None:
            known.is_hopeless = True
            known.is_told = reading.was_told  # What it tells is told for a short time.
            self._lose(directory, known)

    def _reading(self, directory: int, reading: Reading) -> KnownDirectory | None:
        known = self.of(directory)
        return known if known.reading is reading else None

    # ------------------------------------------------------------- losing

    def broken(self, lease: Lease) -> None:
        """A lease was broken: somebody else has changed something."""
        for directory, known in list(self._known.items()):
            is_read = known.reading is not None and known.reading.lease_key == lease.key
            if is_read or known.lease is lease:
                self._lose(directory, known)

    def forget(self, directory: int) -> None:
        """A directory may no longer be the one that was known."""
        known = self._known.pop(directory, None)
        if known is not None:
            self._lose(directory, known)

    def forget_where(self, is_concerned: Callable[[int], bool]) -> None:
        """Forget every directory whose number is concerned."""
        for directory in [number for number in self._known if is_concerned(number)]:
            self.forget(directory)

    def expire(self, now_s: float) -> bool:
        """Give back what nobody may believe any more; return whether something is left."""
        for directory, known in list(self._known.items()):
            if known.reading is None and now_s >= max(known.until_s, known.questions_until_s):
                self.forget(directory)
        self.entries = sum(len(each.entries) for each in self._known.values())
        return bool(self._known)

    def _use(self, directory: int) -> KnownDirectory:
        if directory not in self._known:
            self._known[directory] = KnownDirectory(self._fold)
            if len(self._known) > DIRECTORIES_MAX:
                self.forget(next(iter(self._known)))
        return self.of(directory)

    def _lose(self, directory: int, known: KnownDirectory) -> None:
        is_told, known.is_told = known.is_told, False
        known.lease = known.reading = None
        known.is_watched = False
        known.clear()
        known.give_back()
        if is_told:
            self._on_lost(directory)
