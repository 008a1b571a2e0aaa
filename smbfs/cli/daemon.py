"""Go into the background once the mount answers, or say why it never will.

The parent forks before any event loop exists and waits on a pipe; the child reports one
JSON line, ``{"ready": true}`` or the error with its exit code, and lives on as the daemon.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, NoReturn

from smbfs.cli.errors import ExitCode, Problem
from smbfs.cli.privileges import forget_caller

_LOG_LIMIT: Final = 1024 * 1024  # A log longer than this begins anew with the next mount.
_LOOK_S: Final = 0.5
"""Seconds between two looks for Ctrl-C while the daemon has nothing to say."""

_CRASHED: Final = Problem(
    "the mount failed: its daemon ended without a word",
    "",
    "the log says more.",
    ExitCode.SYSTEM,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went: ``problem`` is None when the mount answers."""

    problem: Problem | None = None
    """What is to be shown when it does not."""
    warnings: tuple[str, ...] = ()
    """What is to be said all the same when it does."""


Report = Callable[[Outcome], None]
"""Called once by the daemon: from then on nobody waits for it."""


def start_daemon(run: Callable[[Report], int], log: Path) -> Outcome:
    """Fork; the child calls ``run`` with stdio in ``log`` and exits with what it returns.

    Interrupted while it waits, it ends the child first.

    Returns, in the parent only, what the child reported.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _live_as_daemon(run, log, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        try:
            while not select.select([pipe], [], [], _LOOK_S)[0]:
                pass  # A signal that comes just before a read would wait until that has ended.
            return _parse_report(pipe.read())
        except KeyboardInterrupt:
            os.kill(child, signal.SIGTERM)
            pipe.read()  # until it has cleaned up and gone
            raise


def open_log(path: Path) -> int:
    """Open the log for appending, readable by its owner only; an overlong one is emptied."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    log = os.open(path, flags, 0o600)
    if os.fstat(log).st_size > _LOG_LIMIT:
        os.ftruncate(log, 0)
    return log


def _live_as_daemon(run: Callable[[Report], int], log: Path, pipe: int) -> NoReturn:
    """The rest of the child's life. Never returns into the parent's code."""
    code = int(ExitCode.SYSTEM)
    try:
        os.setsid()
        os.chdir("/")
        _redirect_stdio(log)
        forget_caller(keep={pipe})

        def report(outcome: Outcome) -> None:
            os.write(pipe, _format_report(outcome))
            os.close(pipe)

        code = run(report)
    except BaseException:
        # os._exit skips what Python does with an uncaught exception.
        sys.excepthook(*sys.exc_info())
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def _redirect_stdio(log: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    output = open_log(log)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(null)
    os.close(output)


def _format_report(outcome: Outcome) -> bytes:
    problem = asdict(outcome.problem) if outcome.problem is not None else None
    return json.dumps({"problem": problem, "warnings": outcome.warnings}).encode()


def _parse_report(report: bytes) -> Outcome:
    if not report:
        return Outcome(_CRASHED)
    told = json.loads(report)
    problem = Problem(**told["problem"]) if told["problem"] is not None else None
    return Outcome(problem, tuple(told["warnings"]))
