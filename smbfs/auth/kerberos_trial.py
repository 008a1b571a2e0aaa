"""Finding out whether Kerberos will do for a server, before anybody is asked for a password.

It takes the KDC, which may not answer, and libkrb5 can't be told to stop waiting. So a child of
this process tries, and is ended when that takes too long.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from smbfs.auth.kerberos_errors import KRB5_KDC_UNREACH, TicketMissing, ticket_missing

if TYPE_CHECKING:
    from smbfs.auth.kerberos_cache import Ticket
    from smbfs.auth.kerberos_tickets import Tickets

PATIENCE_S: Final = 15
"""Seconds for the KDC's answers."""

SHORT_PATIENCE_S: Final = 5
"""The same, where there may be something else than Kerberos."""


def try_tickets(tickets: Tickets, server: str, patience_s: int = PATIENCE_S) -> Ticket:
    """Return the ticket with which sign-on at ``server`` can begin.

    Nothing is sent to the server; the KDC is asked for its ticket. May block for ``patience_s``.
    Raises: TicketMissing, saying what is wrong.
    """
    from smbfs.auth.kerberos import service_name
    from smbfs.auth.kerberos_helper import ticket_from

    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _try(tickets, server, patience_s, writing)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            answer = pipe.read()
    finally:
        if not _has_ended(child):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if not answer:
        words = f"there was no answer within {patience_s} s"
        raise ticket_missing(KRB5_KDC_UNREACH, words, service_name(server))
    return ticket_from(json.loads(answer))


def _has_ended(child: int) -> bool:
    return os.waitpid(child, os.WNOHANG)[0] == child


def _try(tickets: Tickets, server: str, patience_s: int, pipe: int) -> NoReturn:
    """The child's life. Never returns into the parent's code."""
    from smbfs.auth.kerberos import KerberosAuthenticator, service_name
    from smbfs.auth.kerberos_helper import as_answer

    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(patience_s)  # The kernel ends us, whatever libkrb5 is waiting for.
        outcome: Ticket | TicketMissing
        try:
            with tickets.attended():
                KerberosAuthenticator(tickets, server).begin()
                outcome = tickets.look()
        except TicketMissing as missing:
            outcome = missing
        except Exception as error:  # noqa: BLE001 - a bug is no KDC that does not answer
            outcome = ticket_missing(0, f"{type(error).__name__}: {error}", service_name(server))
        os.write(pipe, json.dumps(as_answer(outcome)).encode())
    finally:
        os._exit(0)
