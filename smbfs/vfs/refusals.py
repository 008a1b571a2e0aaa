"""What the file system itself refuses, without asking the server.

The server's refusals travel as :class:`~smbfs.errors.ServerStatusError`; these have no NTSTATUS
because no server was asked, or because none of its answers means what POSIX wants said.
"""

from __future__ import annotations

from enum import Enum, auto

from smbfs.errors import SmbfsError


class Refusal(Enum):
    """Why an operation can't be done."""

    STALE = auto()
    """The file is no longer what or where it was; looking its name up again tells more."""
    BAD_HANDLE = auto()
    """No such open file."""
    NOT_DIRECTORY = auto()
    """A file where a directory is needed."""
    NOT_A_LINK = auto()
    """Not a symbolic link."""
    NO_ATTRIBUTE = auto()
    """No such extended attribute."""
    NOT_SUPPORTED = auto()
    """Neither this client nor this server can do it."""
    NO_ACCESS = auto()
    """The server would not let us do it."""
    NOT_PERMITTED = auto()
    """The server has no way to store this kind of file or owner."""
    INVALID = auto()
    """The request makes no sense here."""
    TOO_LARGE = auto()
    """More than the server can hold in one piece."""
    NO_ROOM = auto()
    """More than who asks can hold."""
    FULL = auto()
    """The server has less room than that."""
    NOTHING_THERE = auto()
    """What is looked for is nowhere behind where to begin."""
    EXISTS = auto()
    """It shall be made, and is there."""


class Refused(SmbfsError):
    """The file system refused; ``reason`` says why, in terms that POSIX has an errno for."""

    def __init__(self, reason: Refusal, context: str = "") -> None:
        what = reason.name.lower().replace("_", " ")
        super().__init__(f"{what}: {context}" if context else what)
        self.reason = reason
