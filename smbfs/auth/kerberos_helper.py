"""Reading another user's tickets, by a process that is that user.

Root mounts with the tickets of ``cruid=``. Only that user may open each kind of cache (a kernel
keyring is nothing that one could pass by), and the daemon gives its own rights up early. So a child
becomes that user while it still may, and answers, for as long as the mount lives: what is in the
cache now, or what it is once it was renewed. Nobody else can ask it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NoReturn

from smbfs.auth.kerberos_cache import Ticket, Wanted, read_ticket, renew_ticket
from smbfs.auth.kerberos_errors import TicketMissing, no_ticket

_PATIENCE_S: Final = 60.0
_CHUNK_SIZE: Final = 65536
_CACHE_NAME: Final = "KRB5CCNAME"
_CONFIGURATION: Final = "KRB5_CONFIG"


class UsersTickets:
    """The tickets of the user ``uid``, asked for as :func:`read_ticket` and others do."""

    def __init__(self, uid: int, gid: int, wanted: Wanted) -> None:
        self._uid, self._gid, self._wanted = uid, gid, wanted
        self._channel: socket.socket | None = None
        self._heard = b""
        self._asked = 0

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Have the process run. It takes root; fork before there are threads."""
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            _serve(theirs.detach(), self._uid, self._gid, self._wanted)
        theirs.close()
        ours.settimeout(_PATIENCE_S)
        self._channel, self._heard, self._asked = ours, b"", 0
        try:
            yield
        finally:
            ours.close()
            self._channel = None
            os.kill(child, signal.SIGKILL)  # It may be waiting for a KDC.
            os.waitpid(child, 0)

    def read(self) -> Ticket:
        """Return the ticket. Raises: TicketMissing."""
        return self._ask("read")

    def renew(self) -> Ticket:
        """Renew it and return it. Raises: TicketMissing."""
        return self._ask("renew")

    def _ask(self, question: str) -> Ticket:
        if self._channel is None:
            with self.attended():
                return self._ask(question)
        try:
            self._asked += 1
            self._channel.sendall(f"{question} {self._asked}\n".encode())
            answer = json.loads(self._line(self._channel))
            while answer["to"] != self._asked:  # Nobody waits for that any more.
                answer = json.loads(self._line(self._channel))
        except (OSError, ValueError) as error:
            raise no_ticket(
                f"the process that reads the tickets of user {self._uid} does not answer"
            ) from error
        del answer["to"]
        return ticket_from(answer)

    def _line(self, channel: socket.socket) -> bytes:
        # Not by a file: that reads no more once it was too slow.
        while b"\n" not in self._heard:
            chunk = channel.recv(_CHUNK_SIZE)
            if not chunk:
                raise OSError("it has ended")
            self._heard += chunk
        line, _, self._heard = self._heard.partition(b"\n")
        return line


def ticket_from(answer: dict[str, Any]) -> Ticket:
    """Return what :func:`as_answer` has written down. Raises: the TicketMissing in it."""
    if "missing" in answer:
        raise TicketMissing(*answer["missing"])
    content = tuple(b64decode(each) for each in answer["content"])
    return Ticket(**{**answer, "content": content})


def as_answer(outcome: Ticket | TicketMissing) -> dict[str, Any]:
    """Return what becomes JSON of a ticket, or of why there is none."""
    if isinstance(outcome, TicketMissing):
        return {"missing": [outcome.what, outcome.why, outcome.do]}
    return asdict(outcome) | {"content": [b64encode(each).decode() for each in outcome.content]}


def _keep_configuration() -> None:
    """Have libkrb5 find what we can read now: that for KDC proxies is in a folder of root's."""
    names = []
    for name in filter(None, os.environ.get(_CONFIGURATION, "").split(":")):
        names.append(name)
        with suppress(OSError):
            content = Path(name).read_bytes()
            with os.fdopen(os.memfd_create("krb5.conf"), "wb", closefd=False) as copy:
                copy.write(content)
                names[-1] = f"/proc/self/fd/{copy.fileno()}"
    if names:
        os.environ[_CONFIGURATION] = ":".join(names)


def _serve(descriptor: int, uid: int, gid: int, wanted: Wanted) -> NoReturn:
    """The child's life. Never returns into the parent's code."""
    try:
        for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(ending, signal.SIG_IGN)  # It ends when the parent does.
        # What else the parent has open, somebody waits to see closed.
        os.closerange(3, descriptor)
        os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
        _keep_configuration()
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        os.environ.pop(_CACHE_NAME, None)  # That is the cache of whoever mounts.
        with socket.socket(fileno=descriptor) as channel:
            for line in channel.makefile("rb"):
                question, number = line.split()
                outcome: Ticket | TicketMissing
                try:
                    outcome = renew_ticket(wanted) if question == b"renew" else read_ticket(wanted)
                except TicketMissing as missing:
                    outcome = missing
                answer = as_answer(outcome) | {"to": int(number)}
                channel.sendall(json.dumps(answer).encode() + b"\n")
    finally:
        os._exit(0)
