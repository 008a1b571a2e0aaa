"""Points in time as people write them, for journal and file alike.

``2026-11-23``, ``2026-11-23 14:05`` (and further, as ISO 8601 has it), ``now``, ``today``,
``yesterday``, ``2 hours ago``, ``-2h``; local time where no zone is named.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

_AGO: Final = re.compile(r"(?:-\s*(\d{1,9})\s*([a-z]+)|(\d{1,9})\s*([a-z]+)\s+ago)")
_UNITS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), timedelta(seconds=1)),
    **dict.fromkeys(("m", "min", "minute", "minutes"), timedelta(minutes=1)),
    **dict.fromkeys(("h", "hour", "hours"), timedelta(hours=1)),
    **dict.fromkeys(("d", "day", "days"), timedelta(days=1)),
    **dict.fromkeys(("w", "week", "weeks"), timedelta(weeks=1)),
}
_DAYS: Final = {"today": 0, "yesterday": 1}


def parse_when(text: str, now: datetime) -> datetime:
    """Return the point in time, with a zone. ``now`` has the local one.

    Raises: ValueError.
    """
    words = " ".join(text.lower().split())
    try:
        if words == "now":
            return now
        if words in _DAYS:
            return _midnight(now - timedelta(days=_DAYS[words]))
        if (ago := _AGO.fullmatch(words)) is not None:
            count, unit = ago.group(1) or ago.group(3), ago.group(2) or ago.group(4)
            return now - int(count) * _UNITS[unit]
        return datetime.fromisoformat(text.strip()).astimezone(now.tzinfo)
    except (KeyError, ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{text!r} is no point in time") from error


def _midnight(time: datetime) -> datetime:
    # Without a zone it is the local one's of that day, which may be another one than today's.
    return time.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None).astimezone()
