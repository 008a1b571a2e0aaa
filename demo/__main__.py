"""`./dev demo`: see smbfs work, with nothing to set up and nothing left behind.

A private Samba server on loopback and a gateway that lets it be reached by QUIC, one share mounted
by the ``smbfs`` command both ways as anybody would, a short tour, and then the mounts stay until
Ctrl-C. With ``--once`` it ends by itself.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.beds.guardian import BedError
from tests.beds.mounted import SMBFS, Mounted, mount
from tests.beds.pki import Pki
from tests.beds.quic_gateway import quic_gateway
from tests.beds.samba import SambaServer

_BOLD, _DIM, _PLAIN = "\033[1m", "\033[2m", "\033[0m"


class TourFailed(Exception):
    """A step of the tour did not do what it should."""


@dataclass
class Tour:
    """The share as it is seen here, and as the server has it."""

    server: SambaServer
    mounted: Mounted
    by_quic: Mounted
    colours: bool

    @property
    def share(self) -> Path:
        """The mount point."""
        return self.mounted.path

    def say(self, text: str) -> None:
        """Tell what comes next."""
        print(f"\n{_BOLD}{text}{_PLAIN}" if self.colours else f"\n# {text}", flush=True)

    def run(self, *command: str | Path) -> str:
        """Show a command as it is typed, run it and show what it prints.

        Raises: TourFailed when it fails.
        """
        words = [str(word) for word in command]
        print(f"$ {shlex.join(words)}", flush=True)
        if words[0] == "smbfs":
            words[0] = str(SMBFS)
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        text = done.stdout.rstrip()
        if text:
            print(f"{_DIM}{text}{_PLAIN}" if self.colours else text, flush=True)
        if done.returncode:
            raise TourFailed(f"{words[0]} exited with {done.returncode}")
        return done.stdout

    def take(self) -> None:
        """The whole tour. Raises: TourFailed."""
        steps = (self._look, self._copy, self._move, self._write_a_lot, self._ask, self._by_quic)
        for step in steps:
            step()

    def _look(self) -> None:
        self.say("A file that is on the server already")
        self.run("ls", "-l", self.share)
        self.run("cat", self.share / "welcome.txt")

    def _copy(self) -> None:
        self.say("Copy a folder there; what the server then has is the same")
        source = Path(__file__).parent
        self.run("cp", "-r", source, self.share / "copied")
        self.run("diff", "-r", source, self.server.share_path() / "copied")

    def _move(self) -> None:
        self.say("Rename, remove, and see how much room there is")
        self.run("mv", self.share / "copied" / "__main__.py", self.share / "tour.py")
        self.run("rm", "-r", self.share / "copied")
        self.run("ls", self.share)
        self.run("df", "-h", self.share)

    def _write_a_lot(self) -> None:
        self.say("Write 64 MiB until the server has every byte, read them, compare")
        big = self.share / "big"
        block = "bs=1M"
        self.run(
            "dd", "if=/dev/urandom", f"of={big}", block, "count=64", "conv=fsync", "status=none"
        )
        self.run("cmp", big, self.server.share_path() / "big")
        self.run("ls", "-lh", big)

    def _ask(self) -> None:
        self.say("Every answer of the server was signed, and checked")
        self.run("smbfs", "status", self.share)

    def _by_quic(self) -> None:
        self.say("The same share over QUIC: what one mount writes the other one sees")
        big = self.by_quic.path / "big"
        self.run("cmp", big, self.server.share_path() / "big")
        self.run("cp", big, self.by_quic.path / "by-quic")
        self.run("cmp", self.share / "by-quic", self.server.share_path() / "big")
        self.run("smbfs", "status", self.by_quic.path)


def main() -> int:
    """Give the tour; return 0 when all of it worked."""
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the tour")
    options = parser.parse_args()
    # Ended by somebody's script is ended as by Ctrl-C: with everything cleaned up.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    try:
        with tempfile.TemporaryDirectory(prefix="smbfs-demo-") as name:
            _show(Path(name), stay=not options.once)
    except KeyboardInterrupt:
        print("\nUnmounted; the server is gone.")
    except (BedError, TourFailed) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def _show(folder: Path, *, stay: bool) -> None:
    folder.chmod(0o711)
    with SambaServer(folder / "server") as server:
        welcome = server.share_path() / "welcome.txt"
        welcome.write_text("This comes from a Samba server.\n")
        welcome.chmod(0o644)
        credentials = f"credentials={server.credentials_file()}"
        print(f"A Samba server of our own listens on {server.host}, port {server.port}.")
        pki = Pki(folder)
        with quic_gateway(folder, server.port, [pki.leaf("server")]) as gateway:
            print(f"A gateway offers it by QUIC on UDP port {gateway.port}.")
            quic = (
                f"{credentials},transport=quic,quic_port={gateway.port},quic_ca={pki.ca},"
                f"ip={server.host}"
            )
            with (
                _mounted(server.unc(), folder / "mnt", credentials) as mounted,
                _mounted("//bed.test/share", folder / "quic", quic) as by_quic,
            ):
                Tour(server, mounted, by_quic, colours=sys.stdout.isatty()).take()
                if stay:
                    _stay(server, mounted, by_quic)


@contextmanager
def _mounted(unc: str, mountpoint: Path, options: str) -> Iterator[Mounted]:
    """Mount as it is typed."""
    print(f"$ smbfs mount {unc} {mountpoint} -o {options}", flush=True)
    with mount(unc, mountpoint, "-o", options) as mounted:
        yield mounted


def _stay(server: SambaServer, mounted: Mounted, by_quic: Mounted) -> None:
    """Leave it all up until Ctrl-C."""
    seen: list[tuple[str, object]] = [
        ("the mount", mounted.path),
        ("the mount over QUIC", by_quic.path),
        ("the server's side of it", server.share_path()),
        ("the daemon's log", mounted.status()["log"]),
    ]
    unc = server.unc()
    peer = f"smbclient -p {server.port} {unc.replace(f':{server.port}', '')}"
    tries = {
        f"cd {mounted.path}": "work there with any program you like",
        f"{SMBFS} status --watch": "what it does meanwhile",
        f"{peer} -A {server.credentials_file()}": "change the share as somebody else does",
        f"{SMBFS} umount {mounted.path}": "then mount again with other options, say -o seal",
    }
    print()
    for what, where in seen:
        print(f"  {what:<24} {where}")
    print("\nTry:")
    for command, purpose in tries.items():
        print(f"  {command}\n      {purpose}")
    print("\nCtrl-C ends all of it.", flush=True)
    signal.pause()


if __name__ == "__main__":
    sys.exit(main())
