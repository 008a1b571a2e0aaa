"""Passwords that somebody types, or another program says."""

from __future__ import annotations

import getpass
import sys
from typing import Final

from smbfs.cli.errors import CommandError, ExitCode

_LENGTH_MAX: Final = 4096
"""Characters of a line that may be a password; Windows allows 127."""


def read_password(prompt: str, *, from_stdin: bool) -> str:
    """Return a line of standard input, or what is typed, unseen, on the terminal.

    Raises: CommandError when there is nobody to ask, or when that is no password.
    """
    if not from_stdin and (sys.stdin is None or not sys.stdin.isatty()):
        raise CommandError(
            "there is no terminal to ask for the password on",
            "standard input is a file or a pipe.",
            "run this on a terminal, or give it the password as a line and --password-stdin.",
            exit_code=ExitCode.USAGE,
        )
    try:
        password = _line() if from_stdin else getpass.getpass(prompt)
        password.encode()
    except UnicodeError:  # It holds what was typed, and must not travel along.
        password = ""
    if not password or "\0" in password:
        raise CommandError(
            "that is no password",
            "it is empty, or contains a NUL character or something that is not UTF-8.",
            "nothing was sent, nothing was stored. Try again.",
            exit_code=ExitCode.USAGE,
        )
    return password


def _line() -> str:
    return sys.stdin.readline(_LENGTH_MAX).removesuffix("\n").removesuffix("\r")
