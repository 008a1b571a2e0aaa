"""`./dev bench --quic`: what a mount over QUIC carries, beside what is made of the same library.

Plain aioquic, smbfs through its gateway, and Samba's smbclient through the same gateway (where a
newer suite is there to take it from), in turn, over loopback, in one run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bench import drop_caches, seconds_of
from benchmarks.plain_aioquic import measure_plain_aioquic
from tests.beds.guardian import BedError
from tests.beds.mounted import mount
from tests.beds.newer_suite import QUIC, newer_suite
from tests.beds.pki import Pki
from tests.beds.quic_gateway import QuicGateway, quic_gateway
from tests.beds.quic_smbclient import QuicSmbclient
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE

FLOOR = 2.0
"""Times plain aioquic that a mount carries at least."""

_MIB = 1 << 20
_PLAIN_SIZE = 32 * _MIB
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - the file system, not a file

Rates = dict[str, list[float]]
"""MB/s of each candidate, one a round."""


class _Round:
    """Everything that is measured, once."""

    def __init__(self, server: SambaServer, front: QuicGateway, pki: Pki, folder: Path) -> None:
        self._server, self._front, self._pki, self._folder = server, front, pki, folder
        self._smbclient: QuicSmbclient | None = None

    def use_smbclient(self) -> None:
        """Measure smbclient, too. Raises: BedError where there is none that knows QUIC."""
        folder = self._folder / "smbclient"
        folder.mkdir()
        self._smbclient = QuicSmbclient(
            newer_suite(QUIC),
            folder,
            self._front.port,
            ca=self._pki.ca,
            credentials=self._server.credentials_file(ALICE),
        )

    def run(self, size: int, rates: Rates) -> None:
        """Measure transfers of ``size`` bytes."""

        def note(what: str, rate: float) -> None:
            rates.setdefault(what, []).append(rate / 1e6)

        note("plain aioquic", measure_plain_aioquic(self._pki.leaf("server"), _PLAIN_SIZE))
        written, read = self._mounted(size)
        note("smbfs, write", written)
        note("smbfs, read", read)
        if self._smbclient is not None:
            smbclient = self._smbclient
            took_s = seconds_of(lambda: smbclient.run("share", "get big got"))
            note("smbclient, get", size / took_s)

    def _mounted(self, size: int) -> tuple[float, float]:
        options = [
            f"credentials={self._server.credentials_file(ALICE)}",
            "ip=127.0.0.1",
            "transport=quic",
            f"quic_port={self._front.port}",
            f"quic_ca={self._pki.ca}",
        ]
        piece = os.urandom(_MIB)

        def write(path: Path) -> None:
            with path.open("wb", buffering=0) as file:
                for _ in range(size // _MIB):
                    file.write(piece)
                os.fsync(file.fileno())

        def read(path: Path) -> None:
            with path.open("rb", buffering=0) as file:
                while file.read(_MIB):
                    pass

        drop_caches()
        where = self._folder / "mounted"
        with mount("//bed.test/share", where, "-o", ",".join(options)) as mounted:
            written_s = seconds_of(lambda: write(mounted.path / "written"))
            read_s = seconds_of(lambda: read(mounted.path / "big"))
            (mounted.path / "written").unlink()
        return size / written_s, size / read_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a mount is below its floor."""
    parser = argparse.ArgumentParser(prog="./dev bench --quic", description=__doc__)
    parser.add_argument("--size", type=int, default=200, help="MiB of a transfer (200)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (3)")
    parser.add_argument("--no-smbclient", action="store_true", help="leave smbclient out")
    options = parser.parse_args(arguments)
    size = options.size * _MIB
    rates: Rates = {}
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="smbfs-bench-", dir=_IN_MEMORY))
        folder.chmod(0o711)  # Samba's users have to get through.
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            server = stack.enter_context(SambaServer(folder / "samba"))
            pki = Pki(folder / "pki")
            front = stack.enter_context(quic_gateway(folder, server.port, [pki.leaf("server")]))
            with (server.share_path() / "big").open("wb") as file:
                for _ in range(options.size):
                    file.write(os.urandom(_MIB))
            measured = _Round(server, front, pki, folder)
            if not options.no_smbclient:
                measured.use_smbclient()
            for _ in range(options.repeat):
                measured.run(size, rates)
        except BedError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    return _report(rates)


def _report(rates: Rates) -> int:
    plain = statistics.median(rates["plain aioquic"])
    below = False
    for what, values in rates.items():
        rate = statistics.median(values)
        is_floored = what.startswith("smbfs") and rate < FLOOR * plain
        below |= is_floored
        spread = f"{min(values):.0f} to {max(values):.0f}"
        print(
            f"{what:16}{rate:8.1f} MB/s  ({spread}){rate / plain:7.2f} x plain aioquic"
            f"{'  BELOW ITS FLOOR' if is_floored else ''}"
        )
    if "smbclient, get" in rates:
        ratio = statistics.median(rates["smbfs, read"]) / statistics.median(rates["smbclient, get"])
        print(f"smbfs reads at {ratio:.2f} x of smbclient through the same gateway")
    return int(below)


if __name__ == "__main__":
    sys.exit(main())
