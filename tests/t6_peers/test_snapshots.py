"""Past states of a share, which Samba's shadow_copy2 makes of folders."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.beds.mounted import MountFailed, run_smbfs
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE, Share
from tests.t6_peers.conftest import MountShare

THEN, EARLIER, NEVER = (f"@GMT-2026.01.{day}-12.00.00" for day in ("31", "30", "29"))
OPTIONS = {
    "vfs objects": "shadow_copy2",
    "shadow:snapdir": ".snapshots",
    "shadow:snapdirseverywhere": "yes",
    "shadow:mountpoint": "%P",
}
LARGE = os.urandom(300_000)


@pytest.fixture(scope="module")
def archive(beds_folder: Path) -> Iterator[SambaServer]:
    with SambaServer(beds_folder / "archive", shares=(Share("share", OPTIONS),)) as server:
        root = server.share_path()
        for name, text in ((THEN, "then"), (EARLIER, "earlier")):
            snapshot = root / ".snapshots" / name
            (snapshot / "folder").mkdir(parents=True)
            (snapshot / "file").write_text(text)
            (snapshot / "folder" / "gone").write_bytes(LARGE)
            (snapshot / "link").symlink_to("file")
            (snapshot / "folder" / "a:b").write_text(text)  # Windows takes no such name.
        (root / "file").write_text("now")
        (root / "folder").mkdir()
        yield server


@pytest.fixture(params=["posix", "noposix"])
def mount_then(
    request: pytest.FixtureRequest, archive: SambaServer, mount_share: MountShare
) -> Callable[..., Path]:
    def mount(name: str, share: str = "share") -> Path:
        options = f"snapshot={name},{request.param}"
        return mount_share("-o", options, server=archive, share=share).path

    return mount


def test_what_was_there_is_there(
    mount_then: Callable[..., Path], mount_share: MountShare, archive: SambaServer
) -> None:
    then, earlier = mount_then(THEN), mount_then(EARLIER)
    now = mount_share(server=archive).path
    assert sorted(os.listdir(then)) == ["file", "folder", "link"]  # noqa: PTH208 - the kernel's
    for root, text in ((then, "then"), (earlier, "earlier"), (now, "now")):
        assert (root / "file").read_text() == text
        assert (root / "file").stat().st_size == len(text)
    assert (then / "link").read_text() == "then"
    assert (then / "folder" / "gone").read_bytes() == LARGE
    assert not (now / "folder" / "gone").exists()


def test_a_folder_of_then(mount_then: Callable[..., Path]) -> None:
    assert (mount_then(THEN, "share/folder") / "gone").read_bytes() == LARGE


def test_a_name_that_is_known_to_posix_alone(archive: SambaServer, mount_share: MountShare) -> None:
    then = mount_share("-o", f"snapshot={THEN}", server=archive).path / "folder"
    assert sorted(os.listdir(then)) == ["a:b", "gone"]  # noqa: PTH208 - the kernel's
    assert (then / "a:b").read_text() == "then"


def test_nobody_changes_the_past(mount_then: Callable[..., Path], archive: SambaServer) -> None:
    then = mount_then(THEN)
    for change in (
        lambda: (then / "file").write_text("new"),
        (then / "file").unlink,
        (then / "new").mkdir,
        lambda: (then / "file").chmod(0o777),
        lambda: os.utime(then / "file", (1, 1)),
    ):
        with pytest.raises(OSError, match=re.escape(f"[Errno {errno.EROFS}]")):
            change()
    assert (archive.share_path() / "file").read_text() == "now"


def test_a_time_of_which_nothing_was_kept(mount_then: Callable[..., Path]) -> None:
    with pytest.raises(MountFailed) as caught:
        mount_then(NEVER)
    assert "has no snapshot of that time" in caught.value.output
    assert "smbfs snapshots" in caught.value.output
    assert caught.value.code == 32


def test_snapshots_are_listed(archive: SambaServer, tmp_path: Path) -> None:
    given = ("-o", f"credentials={archive.credentials_file()}")
    done = run_smbfs("snapshots", archive.unc(), *given, env={"TZ": "UTC"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{THEN}  2026-01-31T12:00:00+00:00",
        f"{EARLIER}  2026-01-30T12:00:00+00:00",
    ]
    done = run_smbfs("snapshots", f"{archive.unc()}/folder", "--json", *given)
    told = json.loads(done.stdout)
    assert [each["snapshot"] for each in told] == [THEN, EARLIER]
    assert datetime.fromisoformat(told[0]["time"]) == datetime.fromisoformat("2026-01-31T12:00:00Z")


def test_shares_that_keep_nothing(samba: SambaServer) -> None:
    given = ("-o", f"credentials={samba.credentials_file()}")
    done = run_smbfs("snapshots", samba.unc(), *given)
    assert (done.returncode, done.stdout) == (0, f"{samba.unc()} has no snapshots.\n")
    done = run_smbfs("snapshots", f"{samba.unc()}/nowhere", *given)
    assert done.returncode == 32
    assert "does not tell which snapshots it has" in done.stderr
    assert ALICE.name in done.stderr
