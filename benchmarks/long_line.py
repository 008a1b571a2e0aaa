"""`./dev bench --line`: the same share over TCP and over QUIC, across a line that delays and loses.

The line is a process between two namespaces (:mod:`tests.beds.slow_link`), or a cable of the
kernel's for `--delay 0 --loss 0`. TCP has whatever congestion control the kernel gives it. Root
only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.bench import drop_caches, seconds_of
from tests.beds.guardian import BedError
from tests.beds.mounted import Mounted, mount
from tests.beds.namespaces import SERVER, cable, slow_cable
from tests.beds.pki import Pki
from tests.beds.quic_across import FIRST_ADDRESS
from tests.beds.quic_gateway import quic_gateway
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE
from tests.beds.slow_link import Wire

FLOOR = 0.7
"""Times TCP that QUIC carries at least on a long line; on a short one, TCP has no such bounds."""

_TCP_ALGORITHM = Path("/proc/sys/net/ipv4/tcp_congestion_control")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if QUIC is below its floor, or a byte is wrong."""
    parser = argparse.ArgumentParser(prog="./dev bench --line", description=__doc__)
    parser.add_argument("--delay", type=float, default=0.02, help="seconds each way (0.02)")
    parser.add_argument("--loss", type=float, default=0.02, help="part that is lost (0.02)")
    parser.add_argument("--size", type=int, default=16, help="MB of a transfer (16)")
    parser.add_argument("--repeat", type=int, default=5, help="rounds (5)")
    options = parser.parse_args(arguments)
    wire = Wire(delay_s=options.delay, loss=options.loss)
    try:
        with ExitStack() as stack:
            rates = _measure(stack, wire, os.urandom(options.size * 1_000_000), options.repeat)
    except BedError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"{2000 * wire.delay_s:.0f} ms, {wire.loss:.1%} lost; TCP has {_algorithm()}")
    is_below = False
    for what in ("read", "write"):
        tcp, quic = (statistics.median(rates[name, what]) for name in ("tcp", "quic"))
        is_slow = wire != Wire() and quic < FLOOR * tcp
        is_below |= is_slow
        verdict = "  BELOW ITS FLOOR" if is_slow else ""
        print(f"{what:6} TCP {tcp:6.2f}  QUIC {quic:6.2f} MB/s {quic / tcp:6.2f} x{verdict}")
    return int(is_below)


def _measure(
    stack: ExitStack, wire: Wire, content: bytes, repeat: int
) -> dict[tuple[str, str], list[float]]:
    """Return MB/s by transport and direction, one a round."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smbfs-bench-")))
    folder.chmod(0o711)  # Samba's users have to get through.
    server = stack.enter_context(SambaServer(folder / "samba"))
    mounts = _mounts(stack, wire, server, folder)
    rates: dict[tuple[str, str], list[float]] = {}
    for number in range(repeat):
        for name, mounted in mounts.items():
            served, written = f"read-{name}-{number}", f"written-{name}-{number}"
            (server.share_path() / served).write_bytes(content)
            drop_caches()

            def read(path: Path = mounted.path / served) -> None:
                if path.read_bytes() != content:
                    raise BedError(f"{path.name} came wrong")

            def write(path: Path = mounted.path / written) -> None:
                with path.open("wb") as file:
                    file.write(content)
                    os.fsync(file.fileno())

            for what, do in (("read", read), ("write", write)):
                rate = len(content) / seconds_of(do) / 1e6
                rates.setdefault((name, what), []).append(rate)
            if (server.share_path() / written).read_bytes() != content:
                raise BedError(f"{written} went wrong")
    return rates


def _mounts(stack: ExitStack, wire: Wire, server: SambaServer, folder: Path) -> dict[str, Mounted]:
    if wire == Wire():  # The kernel's own: as fast as this machine.
        line = stack.enter_context(cable())
    else:
        line, _ = stack.enter_context(slow_cable(folder, wire))
    line.give(FIRST_ADDRESS)
    line.bring(server.port)
    line.bring(server.port, at=SERVER)
    pki = Pki(folder / "pki")
    front = stack.enter_context(
        quic_gateway(folder, server.port, [pki.leaf("server")], host=SERVER, inside=line.in_server)
    )
    account = f"credentials={server.credentials_file(ALICE)},ip={SERVER}"
    ways = {
        "tcp": f"transport=tcp,port={server.port}",
        "quic": f"transport=quic,quic_port={front.port},quic_ca={pki.ca}",
    }
    return {
        name: stack.enter_context(
            mount(
                "//bed.test/share",
                folder / name,
                "-o",
                f"{account},{way}",
                inside=line.in_client,
            )
        )
        for name, way in ways.items()
    }


def _algorithm() -> str:
    try:
        return _TCP_ALGORITHM.read_text().strip()
    except OSError:
        return "no congestion control that is told"


if __name__ == "__main__":
    sys.exit(main())
