"""The bed: a private server, and everything on it that the workloads read."""

from __future__ import annotations

import mmap
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.data import Pattern, make_source_tree
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE

_TAKEN_AT_ONCE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything."""

    size: int
    """Bytes of the big file, whole MiB."""
    small_files: int = 1000
    entries: int = 10_000
    random_reads: int = 4000
    tree_files: int = 1500


@dataclass
class Bench:
    """One server with everything that the workloads find there."""

    server: SambaServer
    folder: Path
    scale: Scale
    pattern: Pattern = field(default_factory=Pattern)
    shares: tuple[str, ...] = ("share", "sealed")

    def prepare(self) -> None:
        """Put the files to be read on the server."""
        for share in self.shares:
            self.pattern.write(self.on_server(share) / "big", self.scale.size)
        listed = self.on_server("share") / "listed"
        listed.mkdir()
        for number in range(self.scale.entries):
            (listed / f"entry-{number:06d}.txt").touch()
        self.give(*(self.on_server(share) / "big" for share in self.shares), listed)
        make_source_tree(self.archive, self.scale.tree_files)
        tree = self.on_server("share") / "tree"
        tree.mkdir()
        subprocess.run(["tar", "xf", str(self.archive), "-C", str(tree)], check=True)
        self.give(tree, *tree.rglob("*"))

    def on_server(self, share: str) -> Path:
        """Folder of a share, as the server sees it."""
        return self.server.share_path(share)

    def give(self, *paths: Path) -> None:
        """Make the user who mounts their owner."""
        if os.geteuid() == 0:
            for path in paths:
                os.chown(path, ALICE.uid, ALICE.uid)

    @property
    def archive(self) -> Path:
        """The source tree as a local tar file."""
        return self.folder / "source.tar"


def seconds_of(do: Callable[[], object]) -> float:
    """Do something; return how long it took."""
    began = time.monotonic()
    do()
    return time.monotonic() - began


def drop_caches() -> bool:
    """Have the kernel forget file contents and names. Returns whether it did (root only)."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        return False
    return True


def touch_memory(size: int) -> None:
    """Take ``size`` bytes of memory, and give them back.

    A virtual machine returns what it does not use to its host. Who is the first to use it again
    waits for the host, and that is nobody's merit or fault.
    """
    with mmap.mmap(-1, size, flags=_TAKEN_AT_ONCE):
        pass
