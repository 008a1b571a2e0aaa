"""Whether the server can be reached, as far as we know: the states of a mount, without a clock.

::

    connected ── silent ──▶ suspect ── lost ──▶ reconnecting ── time is up ──▶ offline
        ▲                      │                     │                            │
        └────── answered ──────┴───── restored ──────┴────────── restored ────────┘

Who asks something waits until the server is back, at most ``patience_s`` after the first failure.
After that everybody is told at once that it is away, until it is back. Attempts go on in any case,
after pauses that grow and that no two clients share.

INVARIANT: ``failing_since_s`` is None exactly while the state is CONNECTED.

Spec: [MS-SMB2] 3.2.7.1 (handling a network disconnect) leaves all of this to the client.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

PAUSE_FIRST_S: Final = 0.1
"""Pause after the first attempt that failed; each one doubles it."""

PAUSE_MAX_S: Final = 1.0
"""Longest pause while nobody answers: who is back is noticed within it."""

REFUSED_PAUSE_MAX_S: Final = 10.0
"""Longest pause while the server answers, and refuses: it has work with each attempt."""

STEADY_S: Final = 10.0
"""A connection that was lost sooner than that was none: the pauses before the next ones go on
growing. A server, or somebody before it, may let everybody in and then break what follows."""


class State(Enum):
    """See the picture above."""

    CONNECTED = "connected"
    SUSPECT = "suspect"
    RECONNECTING = "reconnecting"
    OFFLINE = "offline"


class Availability:
    """The state of one mount's server. Times are in seconds of any one clock."""

    def __init__(self, *, patience_s: float = math.inf) -> None:
        self.patience_s = patience_s
        self.state = State.CONNECTED
        self.failing_since_s: float | None = None
        """When the first failure was that nothing good has followed yet."""
        self.restorations = 0
        """How often the server was back after it had been lost."""
        self.was_brief = False
        """Whether the last connection did not last, and so the next attempt has to wait."""
        self._restored_s = -math.inf
        self._pause_s = PAUSE_FIRST_S

    @property
    def deadline_s(self) -> float:
        """When nobody shall wait any longer."""
        since_s = self.failing_since_s
        return math.inf if since_s is None else since_s + self.patience_s

    @property
    def is_usable(self) -> bool:
        """Whether requests may be sent now: there is a connection, if a silent one."""
        return self.state is State.CONNECTED or self.state is State.SUSPECT

    def silent_since(self, when_s: float) -> None:
        """The server does not answer; it last did at ``when_s``."""
        if self.state is State.CONNECTED:
            self.state = State.SUSPECT
            self.failing_since_s = when_s

    def answered(self) -> None:
        """It was only slow."""
        if self.state is State.SUSPECT:
            self._be_connected()

    def lost(self, now_s: float) -> None:
        """There is no connection any more."""
        if self.is_usable:
            self.state = State.RECONNECTING
            self.was_brief = now_s - self._restored_s < STEADY_S
            if not self.was_brief:
                self.hurry()
        if self.failing_since_s is None:
            self.failing_since_s = now_s

    def pause_s(self, fraction: float, *, refused: bool = False) -> float:
        """An attempt has failed: return the pause before the next one.

        ``fraction``: a random number below 1, so that not all clients come back at once.
        ``refused``: the server has answered.
        """
        longest_s = REFUSED_PAUSE_MAX_S if refused else PAUSE_MAX_S
        self.was_brief = False
        pause_s = min(self._pause_s, longest_s)
        self._pause_s = pause_s * 2
        return pause_s * (1 + fraction) / 2

    def hurry(self) -> None:
        """Something has changed: the next pause is a short one again."""
        self._pause_s = PAUSE_FIRST_S

    def give_up(self) -> None:
        """Who waits has waited for long enough, or it would be in vain."""
        assert self.failing_since_s is not None
        self.state = State.OFFLINE

    def restored(self, now_s: float) -> None:
        """The server can be asked again."""
        self.restorations += 1
        self._restored_s = now_s
        self._be_connected()

    def _be_connected(self) -> None:
        self.state = State.CONNECTED
        self.failing_since_s = None
