"""``smbfs open``: a share is mounted where nobody has to choose, and shown by the desktop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from smbfs.cli.errors import ExitCode
from smbfs.cli.mount_table import find_mount, read_mount_table
from smbfs.cli.open import FOLDER
from smbfs.cli.runtime import runtime_directory
from tests.beds.guardian import is_mounted
from tests.beds.mounted import run_smbfs
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE, HOST
from tests.t5_cli.test_messages import THREE_PARTS

pytestmark = pytest.mark.usefixtures("fuse")


@dataclass
class Desktop:
    """What ``smbfs open`` finds: a display, and somebody who shows folders."""

    samba: SambaServer
    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        opener = self.folder / "xdg-open"
        opener.write_text(f'#!/bin/sh\necho "$1" >>{self.folder}/shown\nexit ${{SHOWN:-0}}\n')
        opener.chmod(0o755)
        path = f"{self.folder}:{os.environ['PATH']}"
        self.env = {"PATH": path, "DISPLAY": ":9", "XDG_RUNTIME_DIR": str(self.folder)}

    @property
    def place(self) -> Path:
        """Where the server's shares are mounted."""
        own = runtime_directory(self.env, os.geteuid())
        return own / FOLDER / f"{ALICE.name}@{HOST}:{self.samba.port}"

    @property
    def address(self) -> str:
        return f"smb://{ALICE.name}@{HOST}:{self.samba.port}"

    def open(self, what: str, *, code: int = 0, **env: str) -> str:
        """Open an address below the server's; return what is printed."""
        given = ("-o", f"credentials={self.samba.credentials_file()}")
        done = run_smbfs("open", f"{self.address}/{what}", *given, env=self.env | env)
        assert done.returncode == code, done.stderr
        self.said = done.stderr
        return done.stdout

    def shown(self) -> list[str]:
        """What the desktop was told to show."""
        path = self.folder / "shown"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def desktop(samba: SambaServer, tmp_path: Path) -> Iterator[Desktop]:
    desktop = Desktop(samba, tmp_path)
    yield desktop
    for share in ("share", "sealed"):
        if is_mounted(desktop.place / share):
            run_smbfs("umount", str(desktop.place / share), env=desktop.env)
        if (desktop.place / share).exists():
            (desktop.place / share).rmdir()


def test_an_address_is_mounted_and_shown(desktop: Desktop) -> None:
    folder = desktop.samba.share_path() / "with blanks"
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text("content")
    shown = desktop.open("share/with%20blanks").strip()
    assert shown == f"{desktop.place}/share/with blanks"
    assert (Path(shown) / "file").read_text() == "content"
    assert desktop.shown() == [shown]
    entry = find_mount(str(desktop.place / "share"))
    assert entry is not None
    assert entry.source == desktop.samba.unc()
    assert runtime_directory(desktop.env, os.geteuid()).stat().st_mode & 0o077 == 0


def test_a_share_is_mounted_once(desktop: Desktop) -> None:
    (desktop.samba.share_path() / "file").write_text("content")
    desktop.open("share")
    table = read_mount_table()
    desktop.open("share/file")
    desktop.open("share")
    assert read_mount_table() == table
    assert [Path(each).name for each in desktop.shown()] == ["share", "file", "share"]
    desktop.open("sealed")
    assert len(read_mount_table()) == len(table) + 1


def test_without_a_desktop_the_place_is_told(desktop: Desktop) -> None:
    assert desktop.open("share", DISPLAY="").strip() == str(desktop.place / "share")
    assert desktop.shown() == []


def test_a_desktop_that_can_not_show_it(desktop: Desktop) -> None:
    desktop.open("share", code=ExitCode.SYSTEM, SHOWN="3")
    assert "xdg-open does not show it" in desktop.said
    assert is_mounted(desktop.place / "share")


@pytest.mark.parametrize("what", ["nowhere", "..", ""])
def test_what_is_no_share_is_refused(desktop: Desktop, what: str) -> None:
    code = ExitCode.MOUNT if what == "nowhere" else ExitCode.USAGE
    assert desktop.open(what, code=code) == ""
    message = desktop.said[desktop.said.index("smbfs: ") :]
    assert THREE_PARTS.fullmatch(message), message
    assert desktop.shown() == []
    assert not any(entry.mountpoint.startswith(str(desktop.place)) for entry in read_mount_table())


def test_the_desktop_entry_names_the_command() -> None:
    entry = Path(__file__).parents[2] / "desktop" / "smbfs-open.desktop"
    lines = entry.read_text().splitlines()
    assert lines[0] == "[Desktop Entry]"
    assert {"Exec=smbfs open %u", "MimeType=x-scheme-handler/smb;"} <= set(lines)
