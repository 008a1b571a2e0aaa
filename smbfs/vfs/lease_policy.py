"""How long something may be believed: the one place that answers it.

Without leases the answers follow from ``actimeo`` and ``cache`` alone. Under a lease the contents
of a file are believed until it is broken; so are the names and attributes in a leased directory,
but not for ever: what programs change on the server itself breaks no lease.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from smbfs.config.model import MountOptions
from smbfs.wire.filetime import filetime_to_ns


class Version(NamedTuple):
    """What changes whenever a file's content does."""

    size: int
    time: int
    """FILETIME of the last change, as exactly as every answer of the server tells it."""
    created: int
    """FILETIME of its making if that is later, else 0: a tool that unpacks files sets the old time,
    perhaps to one of the same size and with the id of a file that is gone."""


YOUNG_S: Final = 2.0
"""Seconds after a change in which another one may get the same time."""


COARSE: Final = 100_000
"""FILETIMEs (10 ms) that the times of servers are multiples of which count no finer than that."""


def may_hide_a_change(version: Version, seen_ns: int) -> bool:
    """Whether the next change may well get the same time: it is young, and counted in long steps.

    ``seen_ns``: when it was seen, in nanoseconds of the Unix epoch.
    """
    return version.time % COARSE == 0 and is_young(version, seen_ns)


def is_young(version: Version, seen_ns: int) -> bool:
    """Whether a file was seen so soon after it had changed that it may change unnoticed.

    ``seen_ns``: when that was, in nanoseconds of the Unix epoch.
    """
    return seen_ns < filetime_to_ns(version.time) + int(YOUNG_S * 1e9)


class WriteRule(NamedTuple):
    """How patient writes may be."""

    wait_s: float
    """Seconds that bytes may wait for company; 0: the program waits for the server."""
    ranges_max: int
    """Places in a file where they may wait at the same time."""


WRITE_THROUGH: Final = WriteRule(0.0, 1)

GATHER: Final = WriteRule(1.0, 1)
"""Where others may look at any time: what is written in a row is sent together."""

WRITE_BEHIND: Final = WriteRule(5.0, 256)
"""Where others have to wait for our data before they can look."""

LISTED_ENTRY_S = 0.001
"""Seconds that a program takes to look at one entry of a directory that it has listed."""

LISTING_TIMEOUT_MAX_S = 10.0
"""Longest time for which a listing is believed for that; Windows keeps any for as long."""

LEASED_S: Final = 30.0
"""Seconds for which a leased directory is believed; cifs.ko keeps one for as long."""

SPACE_S: Final = 10.0
"""Seconds for which the room on a share is believed: `find` asks for it each time it starts."""


@dataclass(frozen=True, slots=True)
class LeasePolicy:
    """What a mount's options allow."""

    timeout_s: float
    """Seconds for which names and attributes are believed that no lease can vouch for."""
    use_page_cache: bool
    """Whether the kernel may keep file contents at all."""
    use_leases: bool = False
    """Whether to ask for leases."""
    lease_directories: bool = False
    """Whether the server grants leases on directories: then nothing is believed without one."""
    is_loose: bool = False
    """Whether contents are believed, and written behind, without a lease, too: the user says that
    nobody else changes these files."""
    keep_handles: bool = False
    """Whether a handle may outlive its last close, where a lease allows it."""

    @property
    def entry_timeout_s(self) -> float:
        """Seconds for which the kernel may believe that a name leads to an inode."""
        return self._unleased_s

    @property
    def negative_timeout_s(self) -> float:
        """Seconds for which the kernel may believe that there is no such name."""
        return self._unleased_s

    @property
    def attribute_timeout_s(self) -> float:
        """Seconds for which the kernel may believe the attributes of a file."""
        return self._unleased_s

    @property
    def _unleased_s(self) -> float:
        return 0.0 if self.lease_directories and not self.is_loose else self.timeout_s

    @property
    def leased_s(self) -> float:
        """Seconds for which a leased directory is believed, what is in it included."""
        return max(LEASED_S, self.timeout_s) if self.timeout_s else 0.0

    @property
    def space_s(self) -> float:
        """Seconds for which the room on a share is believed, if we change nothing meanwhile."""
        return max(SPACE_S, self.timeout_s) if self.timeout_s else 0.0

    def listing_timeout_s(self, entries: int) -> float:
        """Seconds for which an entry of a listing of so many may be believed.

        `ls -l` reads all names before it looks at the first file. If each entry expired while
        the others are read, every file would be asked about again, one by one.
        """
        if not self.timeout_s:
            return 0.0
        longer = min(self.timeout_s + entries * LISTED_ENTRY_S, LISTING_TIMEOUT_MAX_S)
        return max(self.timeout_s, longer)

    @property
    def block_timeout_s(self) -> float:
        """Seconds for which a block may be handed out that no lease vouches for."""
        return math.inf if self.is_loose else max(self.timeout_s, 1.0)

    def write_rule(self, *, is_ours: bool) -> WriteRule:
        """Return how patient writes to a file may be.

        ``is_ours``: a lease has others wait for our data.
        """
        if not self.use_page_cache:
            return WRITE_THROUGH
        return WRITE_BEHIND if is_ours or self.is_loose else GATHER

    def may_keep_pages(self, before: Version | None, now: Version) -> bool:
        """Whether an open may use the pages that the kernel has from an earlier one."""
        return self.use_page_cache and before == now


def lease_policy(options: MountOptions, *, leases_granted: bool = False) -> LeasePolicy:
    """Return what the options of a mount allow.

    ``leases_granted``: the server has said that it knows leases.
    """
    if options.cache == "none":
        return LeasePolicy(timeout_s=0.0, use_page_cache=False)
    return LeasePolicy(
        timeout_s=options.actimeo_s,
        use_page_cache=True,
        use_leases=options.leases,
        lease_directories=options.leases and leases_granted and options.actimeo_s > 0,
        is_loose=options.cache == "loose",
        keep_handles=options.handle_cache,
    )
