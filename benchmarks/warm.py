"""`./dev bench --warm`: what is asked a second time, beside a folder of this machine's own disk.

A tree of 100 directories with 100 files each is listed (`find -ls`) and a file is read, again and
again, on a mount and on the disk in turn, with all caches kept. The server is asked nothing.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import drop_caches, seconds_of
from tests.beds.guardian import BedError
from tests.beds.mounted import Mounted, mount
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE

DIRECTORIES, FILES = 100, 100

FLOORS = {"find": 0.5, "read again": 0.8}
"""Times the disk's speed, the kernel's caches kept, that a mount has at least."""

Rates = dict[str, dict[str, float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a floor is missed, or a request was sent that was not needed."""
    parser = argparse.ArgumentParser(prog="./dev bench --warm", description=__doc__)
    parser.add_argument("--repeat", type=int, default=7, help="rounds (7)")
    parser.add_argument("--size", type=int, default=512, help="MiB of the file (512)")
    parser.add_argument("--folder", type=Path, help="where the disk is that is compared with")
    options = parser.parse_args(arguments)
    try:
        rates, requests = measure(options.repeat, options.size << 20, options.folder)
    except BedError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    missed = below_floors(rates)
    for what, here in rates.items():
        said = "".join(f"{where} {rate:8.2f}/s  " for where, rate in here.items())
        verdict = "  BELOW ITS FLOOR" if what in missed else ""
        print(f"{what:12} {said} {here['mount'] / here['disk']:5.2f} x{verdict}")
    print(f"requests that the rounds sent: {requests}")
    return int(bool(missed) or requests > 0)


def below_floors(rates: Rates) -> list[str]:
    """Return what a mount does too slowly."""
    return [what for what, here in rates.items() if here["mount"] < FLOORS[what] * here["disk"]]


def measure(repeat: int, size: int, folder: Path | None = None) -> tuple[Rates, int]:
    """Return runs a second by what is done and where, and how many requests warm runs sent."""
    with tempfile.TemporaryDirectory(prefix="smbfs-bench-", dir=folder) as name:
        home = Path(name)
        home.chmod(0o711)  # Samba's users have to get through.
        with SambaServer(home / "samba") as server:
            _fill(home / "disk", size)
            served = server.share_path() / "tree"
            _fill(served, size)
            with mount(
                server.unc(),
                home / "mount",
                *("-o", f"credentials={server.credentials_file(ALICE)}"),
            ) as mounted:
                return _measure(mounted, home / "disk", repeat)


def _fill(folder: Path, size: int) -> None:
    block = os.urandom(1 << 20)
    for number in range(DIRECTORIES):
        directory = folder / f"directory-{number:03d}"
        directory.mkdir(parents=True)
        for file in range(FILES):
            (directory / f"file-{file:03d}").touch()
    with (folder / "large").open("wb") as large:
        for _ in range(size >> 20):
            large.write(block)
        os.fsync(large.fileno())


def _measure(mounted: Mounted, disk: Path, repeat: int) -> tuple[Rates, int]:
    places = {"mount": mounted.path / "tree", "disk": disk}
    seconds: dict[str, dict[str, list[float]]] = {}
    drop_caches()
    for place in places.values():
        _find(place)
        _read(place)
    before = _requests(mounted)
    for _ in range(repeat):
        for where, place in places.items():
            for what, do in (("find", _find), ("read again", _read)):
                taken = seconds_of(lambda do=do, place=place: do(place))  # type: ignore[misc]
                seconds.setdefault(what, {}).setdefault(where, []).append(taken)
    requests = _requests(mounted) - before
    rates = {
        what: {where: 1 / statistics.median(each) for where, each in of.items()}
        for what, of in seconds.items()
    }
    return rates, requests


def _find(place: Path) -> None:
    done = subprocess.run(
        ["find", str(place), "-ls"], stdout=subprocess.PIPE, check=True, text=True
    )
    if (lines := done.stdout.count("\n")) != DIRECTORIES * (FILES + 1) + 2:
        raise BedError(f"find shows {lines} names")


def _read(place: Path) -> None:
    buffer = bytearray(1 << 20)
    with (place / "large").open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _requests(mounted: Mounted) -> int:
    return sum(mounted.status()["io"]["round_trips"].values())


if __name__ == "__main__":
    sys.exit(main())
