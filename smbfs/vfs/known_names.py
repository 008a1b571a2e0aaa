"""What whole directories hold, for as long as ``actimeo`` allows.

Programs that look up one name of a directory often look up many: a compiler its headers, git its
files, a copy its targets. After a few questions about the same directory its listing is read, in
one or two round trips, and answers the rest. Nothing is believed for longer than an answer to the
single question would have been.

That a name is not there is believed under a lease on the directory alone, for which it is kept
open: otherwise somebody may have made the file since, and told us so by other means.

What changes here is spoiled by name, which sends the next question about it to the server. A name
that is spoiled while the listing is on its way is spoiled in that listing, too.

INVARIANT: a spoiled name is answered from no listing that began before it was spoiled.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from smbfs.client.open import Open
from smbfs.engine.leases import Lease
from smbfs.vfs.descriptions import Description
from smbfs.vfs.directory_stream import Listed

QUESTIONS_BEFORE_LISTING: Final = 6
"""Questions about one directory, within the time that answers are believed, that are one by one."""

DIRECTORIES_MAX: Final = 64
"""Directories that are known as a whole."""

ENTRIES_MAX: Final = 8192
"""Entries up to which a directory is read for this."""


class Answer(NamedTuple):
    """What a listing says of a name."""

    description: Description | None
    """None: there is no such name."""
    left_s: float
    """Seconds for which that may still be believed."""


@dataclass(slots=True)
class _Directory:
    """What is known of one directory, or on its way."""

    questions: int = 0
    questions_until_s: float = 0.0
    is_reading: bool = False
    is_too_large: bool = False
    until_s: float = 0.0
    leased: Open | None = None
    """The directory, kept open for its lease."""
    entries: dict[bytes, Description] = field(default_factory=dict)
    is_whole: bool = False
    """Whether the listing tells every name that the server would find."""
    spoiled: set[bytes] = field(default_factory=set)

    @property
    def is_leased(self) -> bool:
        """Whether no other client has made anything since the listing was read."""
        lease = self.leased.lease if self.leased is not None else None
        return lease is not None and lease.may_read

    def release(self) -> None:
        """Give the lease back."""
        leased, self.leased = self.leased, None
        if leased is not None:
            leased.close_unwaited()


class Reading(NamedTuple):
    """A listing on its way."""

    directory: int
    known: _Directory


class KnownNames:
    """Listings of directories, by the number of the directory's inode. Times are in seconds."""

    def __init__(self, fold: Callable[[bytes], bytes] | None) -> None:
        """``fold`` makes names equal that the server takes for the same one, if it is like that."""
        self._fold = fold
        self._directories: OrderedDict[int, _Directory] = OrderedDict()

    @property
    def leased(self) -> int:
        """How many directories are leased now."""
        return sum(1 for known in self._directories.values() if known.is_leased)

    def find(self, directory: int, name: bytes, now_s: float) -> Answer | None:
        """Return what is known of a name, or None: ask the server."""
        known = self._directories.get(directory)
        if known is None or now_s >= known.until_s or self._key(name) in known.spoiled:
            return None
        self._directories.move_to_end(directory)
        description = known.entries.get(name)
        if description is None and not (known.is_leased and known.is_whole):
            return None
        return Answer(description, known.until_s - now_s)

    def should_read(self, directory: int, now_s: float, *, window_s: float) -> bool:
        """Count a question that goes to the server; say whether to read the listing instead."""
        known = self._directories.get(directory)
        if known is None:
            known = self._directories[directory] = _Directory()
            if len(self._directories) > DIRECTORIES_MAX:
                self._directories.popitem(last=False)[1].release()
        if now_s >= known.questions_until_s:
            known.questions, known.questions_until_s = 0, now_s + window_s
            known.is_too_large = False
        known.questions += 1
        return (
            known.questions > QUESTIONS_BEFORE_LISTING
            and now_s >= known.until_s  # What a good listing does not tell, a new one won't.
            and not known.is_reading
            and not known.is_too_large
        )

    def begin(self, directory: int) -> Reading:
        """The listing is being read: what changes from now on may be missing in it.

        Give what is returned to :meth:`complete` or :meth:`give_up`.
        """
        known = self._directories[directory]
        known.is_reading = True
        known.until_s = 0.0
        known.spoiled.clear()
        return Reading(directory, known)

    def complete(
        self,
        reading: Reading,
        listed: Iterable[Listed],
        directory: Open,
        *,
        is_whole: bool,
        until_s: float,
    ) -> None:
        """Keep the listing, to be believed until a time.

        The open ``directory`` is ours from now on. ``is_whole``: no name is missing or in disguise.
        """
        known = reading.known
        known.release()
        known.is_reading = False
        is_forgotten = self._directories.get(reading.directory) is not known
        if is_forgotten or directory.lease is None or not directory.lease.may_read:
            directory.close_unwaited()
        else:
            known.leased = directory
        known.entries = {each.name: each.description for each in listed}
        # A server that ignores case may know a name in more spellings than we can think of.
        known.is_whole = is_whole and self._fold is None
        known.until_s = until_s

    def give_up(self, reading: Reading, *, too_large: bool) -> None:
        """The listing could not be read, or has too many entries."""
        reading.known.is_reading = False
        reading.known.is_too_large = too_large

    def lease_key(self, directory: int) -> bytes | None:
        """Return the key of the lease on a directory: our own changes shall not break that."""
        known = self._directories.get(directory)
        lease = known.leased.lease if known is not None and known.leased is not None else None
        return lease.key if lease is not None else None

    def broken(self, lease: Lease) -> None:
        """A lease was broken: what is missing in its directory is asked for from now on.

        What is there is believed for its time all the same: our own changes may break a lease, too.
        """
        for known in self._directories.values():
            if known.leased is not None and known.leased.lease is lease:
                known.release()

    def forget(self, directory: int) -> None:
        """A directory may no longer be the one that was known."""
        known = self._directories.pop(directory, None)
        if known is not None:
            known.release()

    def forget_all(self) -> None:
        """Directories move, or the mount ends."""
        for directory in list(self._directories):
            self.forget(directory)

    def spoil(self, directory: int, name: bytes) -> None:
        """A name has changed, or what it stands for has."""
        known = self._directories.get(directory)
        if known is not None:
            known.spoiled.add(self._key(name))

    def _key(self, name: bytes) -> bytes:
        return name if self._fold is None else self._fold(name)
