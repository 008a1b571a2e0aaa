"""Two mounts and smbclient change the same files at random, and see what a model says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.beds.coherence import FOLDERS, Coherence, Incoherent, MountedFolder
from tests.beds.samba import SambaServer
from tests.t6_peers.conftest import MountShare

IN_CI = 400
AT_LENGTH = 10_000

_LISTED = re.compile(r"^  (\S+) +[A-Z]* +(\d+)  ", re.MULTILINE)


class Smbclient:
    """A client that starts anew for everything it does."""

    def __init__(self, samba: SambaServer, folder: str, scratch: Path) -> None:
        self._samba = samba
        self._folder = folder
        self._scratch = scratch

    def __repr__(self) -> str:
        return "smbclient"

    def _do(self, *commands: str) -> str:
        return self._samba.smbclient("share", "-c", ";".join((f"cd {self._folder}", *commands)))

    def _get(self, name: str) -> bytes:
        self._do(f"get {name} {self._scratch}")
        return self._scratch.read_bytes()

    def write(self, name: str, content: bytes) -> None:
        self._scratch.write_bytes(content)
        self._do(f"put {self._scratch} {name}")

    def append(self, name: str, content: bytes) -> None:
        self.write(name, self._get(name) + content)

    def truncate(self, name: str, size: int) -> None:
        self.write(name, self._get(name)[:size].ljust(size, b"\0"))

    def rename(self, name: str, new: str) -> None:
        self._do(f"rename {name} {new} -f")

    def remove(self, name: str) -> None:
        self._do(f"del {name}")

    def _listed(self, folder: str) -> dict[str, int]:
        story = self._do(*([f"cd {folder}"] if folder else []), "ls")
        found = {name: int(size) for name, size in _LISTED.findall(story)}
        return {name: size for name, size in found.items() if name.startswith("file-")}

    def names(self, folder: str) -> set[str]:
        return set(self._listed(folder))

    def size(self, name: str) -> int | None:
        folder, _, last = name.rpartition("/")
        return self._listed(folder).get(last)

    def read(self, name: str) -> bytes | None:
        return self._get(name) if self.size(name) is not None else None


@pytest.mark.parametrize("operations", [IN_CI, pytest.param(AT_LENGTH, marks=pytest.mark.long)])
def test_clients_see_what_others_did(
    mount_share: MountShare,
    samba: SambaServer,
    tmp_path: Path,
    operations: int,
) -> None:
    folder = f"coherence-{operations}"
    mounts = [MountedFolder(mount_share().path / folder) for _ in range(2)]
    for inner in FOLDERS:
        (mounts[0].path / inner).mkdir(exist_ok=True)
    for inner in FOLDERS:
        (samba.share_path() / folder / inner).chmod(0o777)
    smbclient = Smbclient(samba, folder, tmp_path / "scratch")
    coherence = Coherence(mounts, [smbclient], seed=operations)
    coherence.run(operations)
    story = "\n".join(str(each) for each in coherence.late)
    assert len(coherence.late) < coherence.looks / 20, story


def test_what_a_client_missed_is_noticed(tmp_path: Path) -> None:
    """On a local folder that somebody changes behind the model's back."""
    for inner in FOLDERS:
        (tmp_path / inner).mkdir(exist_ok=True)
    coherence = Coherence([MountedFolder(tmp_path)], [], seed=1)
    coherence.run(50)
    name = next(iter(coherence.model))
    with (tmp_path / name).open("ab") as file:
        file.write(b"!")
    with pytest.raises(Incoherent, match=name):
        coherence.run(0)
