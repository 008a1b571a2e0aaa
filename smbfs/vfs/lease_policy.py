"""How long something may be believed: the one place that answers it.

Without leases the answers follow from ``actimeo`` and ``cache`` alone. Under a lease the contents
of a file are believed until it is broken; names and attributes still follow ``actimeo``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from smbfs.config.model import MountOptions


class Version(NamedTuple):
    """What changes whenever a file's content does."""

    size: int
    change_time: int


LISTED_ENTRY_S = 0.001
"""Seconds that a program takes to look at one entry of a directory that it has listed."""

LISTING_TIMEOUT_MAX_S = 10.0
"""Longest time for which a listing is believed for that; Windows keeps any for as long."""


@dataclass(frozen=True, slots=True)
class LeasePolicy:
    """What a mount's options allow."""

    timeout_s: float
    """Seconds for which a name or attributes are believed."""
    use_page_cache: bool
    """Whether the kernel may keep file contents at all."""
    use_leases: bool = False
    """Whether to ask for leases."""
    keep_handles: bool = False
    """Whether a handle may outlive its last close, where a lease allows it."""

    @property
    def entry_timeout_s(self) -> float:
        """Seconds for which the kernel may believe that a name leads to an inode."""
        return self.timeout_s

    @property
    def negative_timeout_s(self) -> float:
        """Seconds for which the kernel may believe that there is no such name."""
        return self.timeout_s

    @property
    def attribute_timeout_s(self) -> float:
        """Seconds for which the kernel may believe attributes."""
        return self.timeout_s

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
        """Seconds for which a block that was read ahead may be handed out."""
        return max(self.timeout_s, 1.0)

    def may_keep_pages(self, before: Version | None, now: Version) -> bool:
        """Whether an open may use the pages that the kernel has from an earlier one."""
        return self.use_page_cache and before == now


def lease_policy(options: MountOptions) -> LeasePolicy:
    """Return what the options of a mount allow."""
    if options.cache == "none":
        return LeasePolicy(timeout_s=0.0, use_page_cache=False)
    return LeasePolicy(
        timeout_s=options.actimeo_s,
        use_page_cache=True,
        use_leases=options.leases,
        keep_handles=options.handle_cache,
    )
