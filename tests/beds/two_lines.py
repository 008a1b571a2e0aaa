"""A client and a server that are joined by two cables, each as fast as one says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FOLDER = Path("/run/netns")


class TwoLines:
    """Two network namespaces. Line 0 and line 1 have networks of their own."""

    def __init__(self, bits_per_s: int) -> None:
        self._client, self._server = (f"smbfs-2{end}-{os.getpid()}" for end in ("c", "s"))
        for name in (self._client, self._server):
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
        for line in range(2):
            near, far = f"c{line}", f"s{line}"
            _run("ip", "link", "add", near, "netns", self._client, "type", "veth",
                 "peer", "name", far, "netns", self._server)  # fmt: skip
            for name, device, host in ((self._client, near, 1), (self._server, far, 2)):
                _run("ip", "-n", name, "address", "add", f"10.9{line}.0.{host}/24", "dev", device)
                _run("ip", "-n", name, "link", "set", device, "up")
                _run("tc", "-n", name, "qdisc", "add", "dev", device, "root", "tbf",
                     "rate", f"{bits_per_s}bit", "burst", "256k", "latency", "50ms")  # fmt: skip

    @property
    def addresses(self) -> tuple[str, str]:
        """The server's."""
        return ("10.90.0.2", "10.91.0.2")

    @property
    def in_client(self) -> tuple[str, ...]:
        """The command that runs another one at the client's end."""
        return ("nsenter", f"--net={_FOLDER / self._client}")

    @property
    def in_server(self) -> tuple[str, ...]:
        """The command that runs another one at the server's end."""
        return ("nsenter", f"--net={_FOLDER / self._server}")

    def cut(self, line: int) -> None:
        """Let nothing through on a line any more; the client's kernel does not know."""
        _run("ip", "-n", self._server, "link", "set", f"s{line}", "down")

    def mend(self, line: int) -> None:
        """Let it through again."""
        _run("ip", "-n", self._server, "link", "set", f"s{line}", "up")

    def close(self) -> None:
        """Remove them."""
        for name in (self._client, self._server):
            _run("ip", "netns", "delete", name)


@contextmanager
def two_lines(bits_per_s: int) -> Iterator[TwoLines]:
    """Make the lines, and remove them at the end."""
    lines = TwoLines(bits_per_s)
    try:
        yield lines
    finally:
        lines.close()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
