"""``./dev demo``: a private Samba server, a mount of its share, a short tour.

The mount stays until Ctrl-C, or with ``--once`` ends by itself.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.beds.guardian import BedError
from tests.beds.mounted import SMBFS, Mounted, mount
from tests.beds.samba import SambaServer

_REPOSITORY = Path(__file__).parents[1]


def main() -> int:
    """Run the demo of the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the tour")
    once: bool = parser.parse_args().once
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="smbfs-demo-") as folder:
            _demonstrate(Path(folder), once=once)
    except (BedError, subprocess.CalledProcessError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: nothing is left mounted")
        return 130
    return 0


def _demonstrate(folder: Path, *, once: bool) -> None:
    folder.chmod(0o711)
    with SambaServer(folder / "server") as server:
        _furnish(server.share_path())
        credentials = server.credentials_file()
        mountpoint = folder / "share"
        print(f"A private Samba server listens on {server.host}:{server.port}.\n")
        print(f"$ smbfs mount {server.unc()} {mountpoint} -o credentials={credentials}")
        with mount(server.unc(), mountpoint, "-o", f"credentials={credentials}") as mounted:
            print(mounted.output(), end="")
            _tour(mounted, server)
            if not once:
                _stay(mounted)
            print(f"\n$ smbfs umount {mountpoint}")
    print("Unmounted; the server has stopped.")


def _furnish(share: Path) -> None:
    """Something to look at on the server."""
    album = share / "album"
    album.mkdir()
    album.chmod(0o777)
    for name in ("first.txt", "second.txt"):
        (album / name).write_text(f"This is {name}, as the server has it.\n")
        (album / name).chmod(0o666)


def _tour(mounted: Mounted, server: SambaServer) -> None:
    here = str(mounted.path)
    _show("ls", "-l", f"{here}/album")
    _show("cat", f"{here}/album/first.txt")
    _show("cp", str(_REPOSITORY / "LICENSE"), f"{here}/album/third.txt")
    arrived = server.share_path() / "album" / "third.txt"
    if arrived.read_bytes() != (_REPOSITORY / "LICENSE").read_bytes():
        raise BedError("the copy did not arrive at the server as it was")
    print(f"(the server has {arrived.stat().st_size} bytes of it)")
    _show("mv", f"{here}/album/third.txt", f"{here}/licence of smbfs.txt")
    _show("ls", "-l", here)
    _show("df", "-h", here)
    _show(str(SMBFS), "status", here, shown="smbfs")


def _show(program: str, *arguments: str, shown: str | None = None) -> None:
    """Print a command as one would type it, and run it."""
    print(f"\n$ {shlex.join([shown or program, *arguments])}", flush=True)
    subprocess.run([program, *arguments], check=True)


def _stay(mounted: Mounted) -> None:
    print(f"\nThe share stays at {mounted.path}: use it from another terminal. Ctrl-C ends it.")
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
