"""Noticing that the other side of a connection says nothing any more.

When something is outstanding and nothing has come for a while, an ECHO asks whether the server
lives. If nothing comes for as long again, ``on_silent`` is told, and of an answer after that,
however late, ``on_answered``. In the end the connection fails.

A slow line is not silent: whatever is taken or comes counts, even if no message is whole. But that
a machine takes our question tells nothing of its server, which may hang: within ``HUNG_S``, and
until the timeout, there has to be an answer, or something that is on its way for longer than from
one look to the next.

A process that was stopped itself, for longer than it has patience, has heard nobody meanwhile: that
is nobody's silence.

Spec: [MS-SMB2] 3.2.6.1 (Request Expiration), 3.3.5.14 (ECHO).
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from smbfs.errors import DeadlineExceeded
from smbfs.transport.base import Flow

ECHO_AFTER_S = 5.0
"""Silence with something outstanding after which we ask whether the server lives."""

IDLE_ECHO_AFTER_S = 60.0
"""Silence with nothing outstanding after which we ask, as cifs.ko does."""

CHECK_S = 1.0
"""Silence after which we ask again when there is reason to think that it is gone."""

HUNG_S = 60.0
"""Seconds without an answer after which a server is silent whose machine takes what we say."""

OVERTAKEN_MAX_S = 120.0
"""Seconds by which a request may be overtaken that nobody has a shorter patience for."""

_TIMEOUT_SHARE = 4
"""A shorter timeout makes us ask sooner: after one of so many parts of it."""

_LOOKS = 5
"""How often we look within the time after which we ask."""

_LATE_S = 1.0
"""By how much we look later than we meant to if this process was stopped."""


class SilenceWatch:
    """The silence of one connection."""

    def __init__(
        self,
        *,
        timeout_s: float,
        is_busy: Callable[[], bool],
        ask: Callable[[], None],
        flow: Callable[[], Flow],
        overtaken_s: Callable[[], float],
    ) -> None:
        """``is_busy``: whether an answer is outstanding. ``ask`` sends an ECHO.

        ``flow``: what has passed so far, even if no message is whole yet.

        ``overtaken_s``: by how much the oldest request without an answer is older than one that
        has got its own.

        ``timeout_s``: silence, with something outstanding, after which the connection fails. So it
        does when a request was overtaken by as much: its answer will never come.
        """
        self.on_silent: Callable[[float], None] = lambda _since_s: None
        """Called when there was no answer to the ECHO either, with the time of the last sign."""
        self.on_answered: Callable[[], None] = lambda: None
        """Called when there is one after all. Both may be told several times in turn."""
        self.is_silent = False
        """Whether ``on_silent`` was called, and ``on_answered`` not yet."""
        self._timeout_s = timeout_s
        self._echo_after_s = min(ECHO_AFTER_S, timeout_s / _TIMEOUT_SHARE)
        self._patience_s = self._echo_after_s
        self._hung_s = min(HUNG_S, timeout_s)
        self._is_busy = is_busy
        self._ask = ask
        self._flow = flow
        self._overtaken_s = overtaken_s
        self._heard_s = trio.current_time()
        self.answered_s = self._heard_s
        """When the server had shown last that it works, and not only its machine."""
        self._began = trio.Event()
        self._checked = trio.Event()
        self._is_checking = False
        """Whether nothing has come since :meth:`check` has asked."""

    def be_impatient(self, echo_after_s: float) -> None:
        """Ask sooner: there is another way to the server."""
        self._echo_after_s = min(self._echo_after_s, echo_after_s)
        self._patience_s = min(self._patience_s, echo_after_s)

    def check(self, patience_s: float = CHECK_S) -> None:
        """Find out soon whether the server still answers: something may have happened to it.

        It is taken for silent if it does not within twice ``patience_s``.
        """
        if self.is_silent:
            return
        self._patience_s = min(self._patience_s, patience_s)
        if not self._is_checking:  # Else silence goes on: who checks again must not hide it.
            self._is_checking = True
            self._heard_s = trio.current_time()
            self._ask()
        self._checked.set()

    def answer_within(self, patience_s: float) -> None:
        """From now on, take a server for silent that does not answer within ``patience_s``."""
        self.be_impatient(patience_s / 2)
        if patience_s < self._hung_s and not self.is_silent:
            self._hung_s = patience_s
            self.answered_s = trio.current_time()
        self.check(patience_s / 2)

    def begins(self, now_s: float) -> None:
        """Something is about to be asked, and nothing was outstanding: silence starts now."""
        self._heard_s = self.answered_s = now_s
        self._began.set()

    def heard(self) -> None:
        """Something has come."""
        self._patience_s = self._echo_after_s
        self.answered_s = trio.current_time()
        self._hear()
        if self.is_silent:
            self._judge()

    def _hear(self) -> None:
        self._is_checking = False
        self._heard_s = trio.current_time()

    def _judge(self) -> None:
        """Tell when the server has become silent, or is so no more."""
        now_s = trio.current_time()
        is_line_silent = now_s - self._heard_s >= 2 * self._patience_s
        is_silent = is_line_silent or now_s - self.answered_s >= self._hung_s
        if is_silent == self.is_silent:
            return
        self.is_silent = is_silent
        if is_silent:
            self.on_silent(self._heard_s if is_line_silent else self.answered_s)
        else:
            self.on_answered()

    def _look(self, before: Flow) -> Flow:
        """Return what has passed by now, and note whether that is a sign of life."""
        now = self._flow()
        if now.received != before.received or now.taken != before.taken:
            self._hear()
        if now.received != before.received or before.taken != now.taken < before.sent:
            self.answered_s = trio.current_time()
        return now

    async def run(self) -> None:
        """Watch until cancelled. Raises: DeadlineExceeded."""
        asked, before = False, self._flow()
        while True:
            if not self._is_busy():
                self._began = trio.Event()
                with trio.move_on_after(IDLE_ECHO_AFTER_S) as idle:
                    await self._began.wait()
                if idle.cancelled_caught:
                    self._ask()
            before = self._look(before)
            silence_s = trio.current_time() - self._heard_s
            unanswered_s = trio.current_time() - self.answered_s
            if unanswered_s >= self._timeout_s:
                raise DeadlineExceeded("our requests", unanswered_s)
            if self._overtaken_s() >= min(self._timeout_s, OVERTAKEN_MAX_S):
                raise DeadlineExceeded("one request of several", self._overtaken_s())
            self._judge()
            if silence_s < self._patience_s:
                asked = False
            elif not asked:
                asked = True
                self._ask()
            await self._pause()

    async def _pause(self) -> None:
        """Wait until it is time to look again."""
        self._checked = trio.Event()
        until_s = trio.current_time() + self._patience_s / _LOOKS
        with trio.move_on_at(until_s):
            await self._checked.wait()
        now_s = trio.current_time()
        if (late_s := now_s - until_s) >= _LATE_S:
            self._heard_s = min(now_s, self._heard_s + late_s)
            self.answered_s = min(now_s, self.answered_s + late_s)
