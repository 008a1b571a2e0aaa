"""The line to the server is cut, and comes back: below ``timeout=`` nobody notices but by waiting.

Above it programs get errors in time; in both cases the same mount works again soon after the line
does. Copies are processes of their own, so that one that hangs is seen from outside.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.beds.copier import Copying, Report
from tests.beds.far_samba import LINES, Line, far_samba, mount_far
from tests.beds.guardian import is_mounted
from tests.beds.hung_server import silent
from tests.beds.load_content import known_content
from tests.beds.mortal_samba import MortalSamba
from tests.beds.mounted import Mounted, run_smbfs
from tests.beds.pki import Pki
from tests.beds.samba import SambaServer
from tests.conftest import require_fuse
from tests.t4_fuse.conftest import wait_until
from tests.t6_peers.conftest import MountShare
from tests.t6_peers.recovery import GRACE_S, RECOVERY_S, assert_works_soon

SIZE = 48 * 1024 * 1024
UMOUNT_S = 2.0
COPY_S = 60.0
"""Seconds that half of a copy may take where nothing is cut."""

WAYS = [("unplugged", "tcp"), ("silent", "tcp"), ("silent", "quic")]
"""Kinds of cuts, and what they cut."""


class Bed:
    """A mount across a line, and a file of known content on either side."""

    def __init__(self, line: Line, server: MortalSamba, mounted: Mounted, local: Path) -> None:
        self.line, self.server, self.mounted = line, server, mounted
        self.content = known_content(1, 0, SIZE)
        self._local = local
        (server.share_path() / "far").write_bytes(self.content)
        (local / "near").write_bytes(self.content)

    def copy_over(self, cut: Callable[[], None], ends_in_s: float) -> tuple[Report, Report]:
        """Copy there and back; ``cut`` is called in the middle, and returns when it is mended."""
        with (
            Copying(self._local / "near", self.mounted.path / "copied") as there,
            Copying(self.mounted.path / "far", self._local / "copied") as back,
        ):
            for each in (there, back):
                each.wait_half()
            self.line.cut()
            for each in (there, back):
                each.go_on()
            cut()
            return there.report(ends_in_s), back.report(ends_in_s)

    def assert_copied(self) -> None:
        for path in (self.server.share_path() / "copied", self._local / "copied"):
            assert path.read_bytes() == self.content, path

    def assert_works_soon(self) -> None:
        assert_works_soon(self.mounted)


MakeBed = Callable[..., Bed]


@pytest.fixture
def make_bed(pki: Pki, beds_folder: Path, tmp_path: Path) -> Iterator[MakeBed]:
    """Make a bed: the kind of the line, the transport and the mount's timeout in seconds."""
    require_fuse()
    with ExitStack() as stack:

        def make(kind: str, transport: str, timeout_s: float) -> Bed:
            line = stack.enter_context(LINES[kind](tmp_path))
            server = stack.enter_context(far_samba(beds_folder / tmp_path.name, line.wire))
            mounted = stack.enter_context(
                mount_far(
                    line.wire,
                    server,
                    tmp_path,
                    f"timeout={timeout_s:g},cache_size=16M",
                    pki if transport == "quic" else None,
                )
            )
            return Bed(line, server, mounted, tmp_path)

        yield make


def goes_on(bed: Bed, cut_s: float) -> None:
    """A cut that is shorter than the timeout costs time and nothing else."""

    def cut() -> None:
        time.sleep(cut_s)  # The line is cut meanwhile: that is what is shown.
        bed.line.mend()
        bed.assert_works_soon()

    reports = bed.copy_over(cut, COPY_S)
    assert [each.failed for each in reports] == ["", ""]
    assert max(each.longest_s for each in reports) > cut_s / 2
    assert max(each.longest_s for each in reports) < cut_s + RECOVERY_S
    bed.assert_copied()


def fails_in_time(bed: Bed, timeout_s: float, cut_s: float) -> None:
    """A longer one costs errors in time, and afterwards nothing."""
    start = time.monotonic()
    reports = bed.copy_over(lambda: None, timeout_s + GRACE_S)
    assert time.monotonic() - start < timeout_s + GRACE_S + COPY_S
    allowed = {f"{what} {error}" for what in ("read", "write", "fsync", "close")
               for error in ("EHOSTDOWN", "ETIMEDOUT", "EHOSTUNREACH", "EIO")}  # fmt: skip
    for report in reports:
        assert report.failed in allowed
        assert report.longest_s < timeout_s + GRACE_S
    assert bed.mounted.status()["state"] in {"reconnecting", "offline"}
    time.sleep(max(0.0, start + cut_s - time.monotonic()))  # The line is cut meanwhile.
    bed.line.mend()
    bed.assert_works_soon()
    reports = bed.copy_over(bed.line.mend, COPY_S)
    assert [each.failed for each in reports] == ["", ""]
    for report in reports:  # Nothing of what was given up is in the way.
        assert report.longest_s < timeout_s + GRACE_S, report.longest
    bed.assert_copied()


@pytest.mark.parametrize(("kind", "transport"), WAYS)
def test_a_short_cut_costs_nothing(make_bed: MakeBed, kind: str, transport: str) -> None:
    goes_on(make_bed(kind, transport, 20.0), cut_s=5.0)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "transport"), [*WAYS, ("unplugged", "quic")])
def test_half_a_minute_costs_nothing(make_bed: MakeBed, kind: str, transport: str) -> None:
    goes_on(make_bed(kind, transport, 60.0), cut_s=30.0)


@pytest.mark.parametrize(("kind", "transport"), WAYS)
def test_errors_come_in_time(make_bed: MakeBed, kind: str, transport: str) -> None:
    fails_in_time(make_bed(kind, transport, 3.0), 3.0, cut_s=8.0)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "transport"), [*WAYS, ("unplugged", "quic")])
def test_ten_minutes(make_bed: MakeBed, kind: str, transport: str) -> None:
    fails_in_time(make_bed(kind, transport, 60.0), 60.0, cut_s=600.0)


@pytest.mark.parametrize("kind", LINES)
def test_a_cut_lets_nothing_through(make_bed: MakeBed, kind: str) -> None:
    """The bed itself: neither a new connection nor the one that is there gets an answer."""
    bed = make_bed(kind, "tcp", 20.0)
    assert bed.line.reaches(bed.server.port)
    with bed.line.is_cut():
        assert not bed.line.reaches(bed.server.port)
        path = bed.mounted.path / "asked for"
        with subprocess.Popen(["touch", str(path)], stderr=subprocess.DEVNULL) as asking:
            with pytest.raises(subprocess.TimeoutExpired):
                asking.wait(1.0)
            assert not (bed.server.share_path() / path.name).exists()
            bed.line.mend()
            assert asking.wait(RECOVERY_S) == 0
    assert bed.line.reaches(bed.server.port)


# --- unmounting -------------------------------------------------------------------------------


def unmount_time(mounted: Mounted) -> float:
    start = time.monotonic()
    done = run_smbfs("umount", str(mounted.path))
    took_s = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    assert not is_mounted(mounted.path)
    return took_s


@pytest.mark.parametrize("state", ["connected", "reconnecting", "offline"])
def test_unmounting_takes_no_time(
    make_mortal: Callable[[str], MortalSamba], mount_share: MountShare, state: str
) -> None:
    server = make_mortal("stock")
    timeout_s = 2 if state == "offline" else 30
    mounted = mount_share("-o", f"timeout={timeout_s}", server=server)
    (mounted.path / "written").write_bytes(b"before")
    if state != "connected":
        server.kill()
    wait_until(lambda: bool(mounted.status()["state"] == state))
    assert unmount_time(mounted) < UMOUNT_S


@pytest.mark.parametrize("options", ["timeout=60", "hard"])
def test_unmounting_from_a_server_that_hangs_takes_no_time(
    make_samba: Callable[..., SambaServer], mount_share: MountShare, options: str
) -> None:
    """Its machine takes all that we say."""
    server = make_samba()
    mounted = mount_share("-o", options, server=server)
    with silent(server), subprocess.Popen(["stat", mounted.path / "never-seen"]) as asking:
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(1.0)
        asking.kill()
        asking.wait()
        assert unmount_time(mounted) < UMOUNT_S + 1.0


@pytest.mark.parametrize(("kind", "transport"), WAYS)
def test_unmounting_across_a_cut_line_takes_no_time(
    make_bed: MakeBed, kind: str, transport: str
) -> None:
    bed = make_bed(kind, transport, 30.0)
    (bed.mounted.path / "written").write_bytes(b"before")
    with bed.line.is_cut():
        assert unmount_time(bed.mounted) < UMOUNT_S


def test_unmounting_lazily_does_not_wait_for_who_waits(make_bed: MakeBed) -> None:
    """Suspect: a program waits for an answer that does not come."""
    bed = make_bed("silent", "tcp", 4.0)
    with (
        bed.line.is_cut(),
        subprocess.Popen(["ls", str(bed.mounted.path / "x")], stderr=subprocess.DEVNULL) as asking,
    ):
        with pytest.raises(subprocess.TimeoutExpired):
            asking.wait(1.0)
        start = time.monotonic()
        assert run_smbfs("umount", "--lazy", str(bed.mounted.path)).returncode == 0
        assert time.monotonic() - start < UMOUNT_S
        assert asking.wait(4.0 + GRACE_S) != 0
