"""What people are told: what failed, why, what to do, and the code that others show for it.

Every refusal ends in a :class:`Problem`. Which one is looked up in tables: by class for our
own errors, by NTSTATUS for the server's (:mod:`smbfs.cli.refusals`), by the innermost cause
for the network's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from smbfs.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidName,
    NoTransport,
    RemoteProtocolError,
    SecurityViolation,
    ServerStatusError,
    TransportError,
    UserError,
    WireError,
)
from smbfs.vfs.refusals import Refused


class ExitCode(IntEnum):
    """Exit codes of mount(8)."""

    FINE = 0
    USAGE = 1
    SYSTEM = 2
    DAEMON = 16
    MOUNT = 32


@dataclass(frozen=True, slots=True)
class Problem:
    """An error, ready to be shown."""

    what: str
    """What failed, in one line."""

    why: str = ""
    """The cause, and the code that Windows or mount.cifs shows for it."""

    do: str = ""
    """The remedy; may have several lines."""

    exit_code: int = ExitCode.MOUNT
    """What the command exits with."""


class CommandError(UserError):
    """A command failed for a reason of its own, with its own exit code."""

    def __init__(
        self, what: str, why: str = "", do: str = "", *, exit_code: ExitCode = ExitCode.MOUNT
    ) -> None:
        super().__init__(what, why, do)
        self.exit_code = exit_code


def format_problem(problem: Problem, program: str = "smbfs") -> str:
    """Lay the three parts out, further lines indented below their label.

    What others have put into them gets no control of the terminal, and no line without an indent.
    """
    lines = [f"{program}: {problem.what}"]
    for label, text in (("  Why: ", problem.why), ("  Do:  ", problem.do)):
        for number, line in enumerate(text.splitlines()):
            lines.append((label if number == 0 else " " * len(label)) + line)
    return "\n".join(map(printable, lines))


def printable(line: str) -> str:
    """Return a line as it may be shown, whoever has written it: without control of the terminal."""
    return "".join(c if c.isprintable() else "?" for c in line)


def explain(error: BaseException, unc: str = "") -> Problem:
    """Turn an error into what is shown; ``unc`` is the share it was about.

    Never raises: an error that nobody foresaw becomes a request to report it.
    """
    for kind, build in _BY_CLASS:
        if isinstance(error, kind):
            return build(error, unc)
    if isinstance(error, RuntimeError) and str(error).startswith("fuse_session"):
        return _mount_refused(error, unc)
    return Problem(
        f"{unc or 'this command'} failed: {type(error).__name__}: {error}",
        "this is an error in smbfs itself.",
        "please report it, with the output of the same command and --verbose.",
        ExitCode.SYSTEM,
    )


def first_leaf(error: BaseException) -> BaseException:
    """Return the first error inside groups of groups; an error alone is itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def certificate_warning(unc: str, not_after: str) -> str:
    """Tell of a server's certificate that ends soon; ``not_after`` is its last day."""
    return (
        f"{unc}: the server's certificate ends on {not_after}; have it renewed, or nobody gets in "
        "from then on."
    )


def _own_words(error: BaseException, unc: str) -> Problem:
    """Errors that bring their three parts along."""
    assert isinstance(error, UserError)
    code = ExitCode.USAGE if isinstance(error, ConfigError) else ExitCode.MOUNT
    what = error.what
    if unc and not isinstance(error, ConfigError | CommandError) and unc not in what:
        what = f"{unc} refused: {what}"
    return Problem(what, error.why, error.do, int(getattr(error, "exit_code", code)))


def _server_refused(error: BaseException, unc: str) -> Problem:
    # Loaded here: only failures need the tables.
    from smbfs.cli.refusals import explain_status

    assert isinstance(error, ServerStatusError)
    what, why, do = explain_status(error.status, error.command, error.context)
    return Problem(f"{unc}: {what}", why, do)


def _mount_refused(error: BaseException, unc: str) -> Problem:
    """The library has said why on stderr, and raised next to nothing."""
    return Problem(
        f"{unc}: the kernel refuses the mount.",
        f"{error}; fusermount3's own words stand above or in the log.",
        "in a container, give it the capability SYS_ADMIN and --device /dev/fuse; elsewhere see "
        "whether security software forbids FUSE.",
        ExitCode.SYSTEM,
    )


def _missing_library(error: BaseException, unc: str) -> Problem:
    return Problem(
        f"{unc or 'this command'} failed: a library that smbfs needs can't be loaded.",
        f"{error}.",
        "install the package fuse3 (it brings libfuse3), and smbfs again with its dependencies.",
        ExitCode.SYSTEM,
    )


def _no_such_root(error: BaseException, unc: str) -> Problem:
    return Problem(
        f"{unc}: that is no folder.",
        f"the path after the share's name names a file ({error}; mount.cifs error 20).",
        "mount the folder that it is in.",
    )


def _impossible_name(error: BaseException, unc: str) -> Problem:
    return Problem(
        f"{unc}: there can't be such a folder in the share.",
        f"in the path after the share's name there is {error} (mount.cifs error 22 or 36).",
        "check how it is spelt.",
    )


def _tampered(error: BaseException, unc: str) -> Problem:
    return Problem(
        f"{unc} refused: somebody may be changing the traffic.",
        f"{error} (Windows reports 0xC000A000, STATUS_INVALID_SIGNATURE, event 31013).",
        "if the server was not just restarted or updated, find out what stands between it and "
        "this machine.",
    )


def _not_smb(error: BaseException, unc: str) -> Problem:
    return Problem(
        f"{unc}: the server's answer is not valid SMB.",
        f"{error}.",
        "check that address and port are a file server's; if they are, please report this.",
    )


def _silent(error: BaseException, unc: str) -> Problem:
    return Problem(
        f"{unc}: the server does not answer.",
        f"{error}: it is switched off, or something on the way drops SMB, which firewalls and "
        "Internet providers often do with TCP port 445 (Windows reports 0x80070035, event "
        "30803; mount.cifs error 110 or 112, host is down).",
        "check that it is on and can be reached from here, and its firewall; another port is "
        "given as //server:port/share.",
    )


def _unreachable(error: BaseException, unc: str) -> Problem:
    """The network's refusal, by the most telling of its causes."""
    chain = list(causes(error))
    for kind, what, why, do in _BY_CAUSE:
        if any(isinstance(cause, kind) for cause in chain):
            return Problem(f"{unc}: {what}", why.format(error=error), do)
    return Problem(
        f"{unc}: the connection failed.",
        f"{error} (Windows reports 0x80070040 or 0x8007003B).",
        "check the network and the server's log.",
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and what it was caused by, into groups as well."""
    seen = 0
    pending = [error]
    while pending and seen < 64:
        cause = pending.pop(0)
        seen += 1
        if cause is None:
            continue
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            pending.extend(cause.exceptions)
        pending.append(cause.__cause__)


def _no_transport(error: BaseException, unc: str) -> Problem:
    assert isinstance(error, NoTransport)
    return Problem(
        f"{unc}: the server can be reached neither by TCP nor by QUIC.",
        f"{error.tcp};\n{error.quic}\n(Windows reports 0x80070035, event 30803).",
        "check that it is on, and the firewalls on the way; other ports are given as "
        "//server:port/share and quic_port=.",
    )


_Builder = Callable[[BaseException, str], Problem]

_BY_CLASS: Final[tuple[tuple[type[BaseException], _Builder], ...]] = (
    (UserError, _own_words),
    (Refused, _no_such_root),
    (InvalidName, _impossible_name),
    (ServerStatusError, _server_refused),
    (SecurityViolation, _tampered),
    (RemoteProtocolError, _not_smb),
    (WireError, _not_smb),
    (DeadlineExceeded, _silent),
    (NoTransport, _no_transport),
    (TransportError, _unreachable),
    (ImportError, _missing_library),
)

_BY_CAUSE: Final[tuple[tuple[type[BaseException], str, str, str], ...]] = (
    (
        socket.gaierror,
        "the server's name is not known.",
        "{error} (Windows reports 0x80070035, event 30800; mount.cifs: could not resolve address).",
        (
            "check how it is spelt and whether its domain is needed (nas.example.org); or give the "
            "address: ip=ADDRESS."
        ),
    ),
    (
        ConnectionRefusedError,
        "nothing listens there.",
        (
            "{error}: the machine answers, but no file server does (Windows reports 0x80070035, "
            "event 30803; mount.cifs error 111)."
        ),
        "switch file sharing (SMB) on at the server; another port is given as //server:port/share.",
    ),
    (
        ConnectionResetError,
        "the server hung up.",
        "{error} (Windows reports 0x80070040, event 30804; mount.cifs error 104).",
        "the server's log says why; its limit of users or addresses is a common reason.",
    ),
    (
        TimeoutError,
        "the server does not answer.",
        "{error} (Windows reports 0x80070035, event 30803; mount.cifs error 110).",
        "check that it is on, and its firewall.",
    ),
    (
        OSError,
        "the server can't be reached.",
        "{error} (Windows reports 0x80070035; mount.cifs error 113).",
        "check the network of this machine, and whether a VPN is needed.",
    ),
)
