"""FILETIME (100 ns since 1601-01-01 UTC) to and from nanoseconds since 1970.

Spec: [MS-DTYP] 2.3.3.
"""

from __future__ import annotations

EPOCH_FILETIME = 116_444_736_000_000_000
"""1970-01-01 00:00:00 UTC as a FILETIME."""

FILETIME_MAX = 0x7FFF_FFFF_FFFF_FFFF
"""The largest FILETIME; larger bit patterns are negative and have meanings of their own."""


def filetime_to_ns(filetime: int) -> int:
    """Return nanoseconds since 1970 (negative before it).

    Clamped: 0 ("never set") and values beyond FILETIME_MAX (the special values -1 and
    -2, or garbage) become 0, the epoch, which is what other clients show for them.
    """
    if not 0 < filetime <= FILETIME_MAX:
        return 0
    return (filetime - EPOCH_FILETIME) * 100


def ns_to_filetime(time_ns: int) -> int:
    """Return the FILETIME of nanoseconds since 1970, rounded down to 100 ns.

    Clamped to 1..FILETIME_MAX: a FILETIME of 0 would mean "leave unchanged" in SET_INFO,
    and a negative one "stop updating", neither of which a caller with a time asks for.
    """
    return min(max(time_ns // 100 + EPOCH_FILETIME, 1), FILETIME_MAX)
