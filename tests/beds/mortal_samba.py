"""A Samba whose process for one client dies or stops, and who refuses what it used to allow.

smbd has a process for each client (all connections of one client GUID, with multichannel), below
the one that listens. Losing it is what a crash of a server looks like that is back at once: TCP
ends, sessions and handles are gone, files and the other clients are not.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from tests.beds.guardian import BedError
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import User
from tests.beds.tcp_sockets import descendants, holders, sockets_of

SETTINGS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        # What Samba 4.22 has by itself: handles are durable until they lock a range.
        "stock": {"posix locking": "yes"},
        "durable": {"posix locking": "no"},
        "volatile": {"posix locking": "yes", "durable handles": "no"},
    }
)
"""smb.conf parameters of ``[global]`` that decide which handles may be durable."""

_ENDS_WITHIN_S = 10.0


class MortalSamba(SambaServer):
    """A server that can lose the process which serves a client, a share, and a user's trust.

    A client is named by its process id, which holds the TCP connections.
    """

    def serving_pids(self, client: int) -> set[int]:
        """Return the ids of the processes that hold the other end of a client's connections."""
        return holders(sockets_of(client), descendants(self.pid))

    def serving_pid(self, client: int) -> int:
        """Return the one of :meth:`serving_pids`. Raises: BedError unless there is just one."""
        pids = self.serving_pids(client)
        if len(pids) != 1:
            raise BedError(f"client {client} is served by {sorted(pids) or 'nobody'}, not by one")
        return pids.pop()

    def kill_connection(self, client: int) -> int:
        """SIGKILL the process that serves a client, and wait until it is gone; return its id.

        Raises: BedError if nobody serves it, or the process does not end.
        """
        pid = self.serving_pid(client)
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            if not select.select([descriptor], [], [], _ENDS_WITHIN_S)[0]:
                raise BedError(f"smbd {pid} was killed and has not ended")
        finally:
            os.close(descriptor)
        return pid

    def wait_serving(self, client: int, within_s: float) -> float:
        """Wait until one process serves a client; return how many seconds that took.

        Raises: BedError if it takes longer than ``within_s``.
        """
        start = time.monotonic()
        while len(self.serving_pids(client)) != 1:
            if time.monotonic() - start > within_s:
                raise BedError(f"client {client} was not served again within {within_s:g} s")
            time.sleep(0.01)  # The kernel tells nobody when a connection is there.
        return time.monotonic() - start

    @contextmanager
    def frozen(self, client: int) -> Iterator[int]:
        """Stop the process that serves a client for the length of the block; yield its id.

        Its connections stay, and are silent: nobody is told.
        """
        pid = self.serving_pid(client)
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGSTOP)
            yield pid
        finally:
            signal.pidfd_send_signal(descriptor, signal.SIGCONT)
            os.close(descriptor)

    def configure(self, share: str, options: Mapping[str, str] | None) -> None:
        """Give a share these options from the next start on; None takes it away, with its files."""
        self._folder.configure(share, options)

    def reload(self) -> None:
        """Have the running server read its configuration again; connections stay."""
        self._folder.write_config(self.port)
        os.kill(self.pid, signal.SIGHUP)

    def set_password(self, user: User, password: str) -> None:
        """Change what a user signs on with; sessions go on. Raises: BedError."""
        self._folder.set_password(user, password)

    def enable(self, user: User, *, allowed: bool) -> None:
        """Let a user sign on, or not; sessions go on. Raises: BedError."""
        self._folder.enable(user, allowed=allowed)
