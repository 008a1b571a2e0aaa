"""The tests: ``python -m tests`` runs all, with other arguments it is pytest.

All of them take less time when those that need no server run beside those that wait for one. The
lower layers keep a processor busy and know but a virtual time; the upper ones mostly wait, for
real. The lower ones are nice about it, and when one of them fails the upper ones end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Final

TESTS: Final = Path(__file__).parent

FOR_ALL: Final = frozenset({"--long", "--quic"})
"""Arguments that choose no tests, and go to both."""

UPPER: Final = ("t4", "t5", "t6")
"""How the names of the folders begin whose tests mount, start servers, and measure."""

LOOK_S: Final = 0.5
"""Seconds between two looks at who has ended."""


def folders(*, upper: bool) -> list[str]:
    """Return the folders of the upper layers, or those of all others."""
    return sorted(str(each) for each in TESTS.glob("t*/") if each.name.startswith(UPPER) is upper)


def run_all(arguments: list[str]) -> int:
    """Run every test, and return the exit code. What is told of the lower layers comes last."""
    pytest = [sys.executable, "-m", "pytest", *arguments]
    with tempfile.TemporaryFile("w+") as told:
        nicely = ["nice", "-n", "19", *pytest, "-p", "no:cacheprovider", *folders(upper=False)]
        lower = subprocess.Popen(nicely, stdout=told, stderr=told)
        upper = subprocess.Popen([*pytest, *folders(upper=True)])
        try:
            while upper.poll() is None and not lower.poll():
                time.sleep(LOOK_S)
        except KeyboardInterrupt:
            pass  # The terminal has told them, too.
        else:
            if lower.poll():
                upper.send_signal(signal.SIGINT)
        codes = [upper.wait(), lower.wait()]
        _show(told)
    return next((code for code in reversed(codes) if code), 0)


def _show(told: IO[str]) -> None:
    told.seek(0)
    sys.stdout.write(told.read())


if __name__ == "__main__":
    given = sys.argv[1:]
    if set(given) <= FOR_ALL:
        sys.exit(run_all(given))
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *given])
