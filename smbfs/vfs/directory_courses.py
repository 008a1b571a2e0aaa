"""In which order programs open the files of a directory: as it is listed, by name, or neither.

`tar`, `grep -r` and `cp -r` open files as they are listed; a shell that expands ``*`` does so by
name; who has numbered them counts. A few may be left out in between: not everybody wants all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

RUN_MIN: Final = 3
"""Files that were opened in order before one that follows is expected to be opened, too."""

AHEAD: Final = 16
"""Names that are told ahead of a program."""

NUMBERED_MAX: Final = 4096
"""Names up to which it pays to sort by number, which takes long."""

LEFT_OUT_MAX: Final = 4
"""Names that may be left out between two of them."""


_NUMBERED: Final = re.compile(rb"([^0-9]*)([0-9]{0,18})")


@dataclass(slots=True)
class _Order:
    """The names of a directory in one order."""

    names: list[bytes]
    places: dict[bytes, int]
    last: int = -1
    run: int = 0
    """Files that were opened in this order, the last one included."""
    told: int = -1
    """The last place that :meth:`next_names` has told."""

    def opened(self, name: bytes) -> None:
        place = self.places.get(name)
        if place is None:
            return
        if place != self.last:
            is_next = 0 < place - self.last <= 1 + LEFT_OUT_MAX
            self.run = self.run + 1 if is_next and self.run else 1
        self.last = place
        if self.run == 1:
            self.told = place  # It may begin anew.

    def next_names(self) -> list[bytes]:
        if self.run < RUN_MIN or self.told - self.last > AHEAD // 2:
            return []
        first = max(self.told, self.last) + 1
        names = self.names[first : self.last + 1 + AHEAD]
        self.told = first + len(names) - 1
        return names


class DirectoryCourse:
    """What was opened of one directory."""

    def __init__(self, names: Iterable[bytes], *, built_s: float) -> None:
        """``names``: as they are listed. ``built_s``: when, on the caller's clock."""
        self.built_s = built_s
        listed = list(names)
        orders = [listed, sorted(listed)]
        if len(listed) <= NUMBERED_MAX:
            orders.append(sorted(listed, key=_with_numbers))
        self._orders = [
            _Order(each, {name: place for place, name in enumerate(each)}) for each in orders
        ]

    def knows(self, name: bytes) -> bool:
        """Whether the name was listed."""
        return name in self._orders[0].places

    def opened(self, name: bytes) -> list[bytes]:
        """Note that a file was opened; return those that may be next, and were not told before.

        They are told when half of the ``AHEAD`` that were told before are left.
        """
        for order in self._orders:
            order.opened(name)
        return max(self._orders, key=lambda each: each.run).next_names()


def _with_numbers(name: bytes) -> list[tuple[bytes, int]]:
    """Return a key that sorts 9 before 10."""
    return [(text, int(digits or b"0")) for text, digits in _NUMBERED.findall(name)]
