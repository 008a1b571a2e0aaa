"""Sessions with several channels: twice as fast by two lines, and no worse off when one is cut."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from tests.beds.mounted import Mounted, mount
from tests.beds.pki import Pki
from tests.beds.quic_gateway import quic_gateway
from tests.beds.samba import SambaServer
from tests.beds.two_lines import TwoLines, two_lines
from tests.conftest import require_fuse

MIB = 1024 * 1024
LINE = 100_000_000
"""Bits per second of one line."""

SIZE = 48 * MIB
GAIN = 1.7
"""How much faster two lines are at least than one."""

GAP_S = 2.0
"""Seconds that the loss of a line may cost."""

PATIENCE_S = 20.0


@pytest.fixture
def lines() -> Iterator[TwoLines]:
    require_fuse()
    with two_lines(LINE) as made:
        yield made


@pytest.fixture
def server(lines: TwoLines, beds_folder: Path, tmp_path: Path) -> Iterator[SambaServer]:
    networks = " ".join(f"{address}/24" for address in lines.addresses)
    options = {"interfaces": f"lo {networks}", "bind interfaces only": "no"}
    with SambaServer(
        beds_folder / tmp_path.name, globals=options, inside=lines.in_server
    ) as running:
        yield running


@contextmanager
def mounted_by(
    lines: TwoLines, server: SambaServer, folder: Path, channels: int
) -> Iterator[Mounted]:
    """Mount by the first line's address, with so many channels, and wait until they are there."""
    folder.mkdir()
    options = f"credentials={server.credentials_file()},max_channels={channels},transport=tcp"
    unc = f"//{lines.addresses[0]}:{server.port}/share"
    with mount(unc, folder / "mount", "-o", options, inside=lines.in_client) as found:
        wait_for_channels(found, channels)
        yield found


def wait_for_channels(mounted: Mounted, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while mounted.status()["channels"] != count:
        assert time.monotonic() < deadline, mounted.status()
        time.sleep(0.05)  # Nobody tells that there is one more.


def read_time(mounted: Mounted, name: str) -> float:
    """Read a file that nobody has read here, and return the seconds."""
    start = time.monotonic()
    with (mounted.path / name).open("rb", buffering=0) as file:
        while file.read(MIB):
            pass
    return time.monotonic() - start


def write_time(mounted: Mounted, name: str) -> float:
    start, block = time.monotonic(), os.urandom(MIB)
    with (mounted.path / name).open("wb", buffering=0) as file:
        for _ in range(SIZE // MIB):
            file.write(block)
        os.fsync(file.fileno())
    return time.monotonic() - start


def test_two_lines_are_faster_than_one(
    lines: TwoLines, server: SambaServer, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (server.share_path() / name).write_bytes(os.urandom(SIZE))
    with mounted_by(lines, server, tmp_path / "1", 1) as single:
        slow = read_time(single, "one"), write_time(single, "written")
    with mounted_by(lines, server, tmp_path / "2", 2) as double:
        fast = read_time(double, "two"), write_time(double, "written")
    assert slow[0] / fast[0] > GAIN
    assert slow[1] / fast[1] > GAIN


@pytest.mark.parametrize("cut", [0, 1])
def test_a_line_that_is_cut_costs_a_moment(
    lines: TwoLines, server: SambaServer, tmp_path: Path, cut: int
) -> None:
    content = os.urandom(SIZE)
    (server.share_path() / "read").write_bytes(content)
    with mounted_by(lines, server, tmp_path / "2", 2) as mounted:
        gaps = [longest_gap_while_reading(mounted, content, lambda: lines.cut(cut))]
        assert mounted.status()["channels"] == 1
        lines.mend(cut)
        wait_for_channels(mounted, 2)
        gaps.append(longest_gap_while_writing(mounted, content, lambda: lines.cut(cut)))
        assert max(gaps) < GAP_S
        status = mounted.status()
        assert (status["state"], status["reconnects"], status["channels"]) == ("connected", 0, 1)
        assert (server.share_path() / "written").read_bytes() == content


def longest_gap_while_reading(mounted: Mounted, content: bytes, cut: Callable[[], None]) -> float:
    """Read with a cut in the middle, and return the longest time that one read took."""
    digest, longest = hashlib.sha256(), 0.0
    with (mounted.path / "read").open("rb", buffering=0) as file:
        Timer(0.7, cut).start()
        while True:
            start = time.monotonic()
            data = file.read(MIB // 4)
            longest = max(longest, time.monotonic() - start)
            if not data:
                break
            digest.update(data)
    assert digest.digest() == hashlib.sha256(content).digest()
    return longest


def longest_gap_while_writing(mounted: Mounted, content: bytes, cut: Callable[[], None]) -> float:
    """Write with a cut in the middle, and return the longest time that one write took."""
    longest = 0.0
    with (mounted.path / "written").open("wb", buffering=0) as file:
        Timer(0.7, cut).start()
        for offset in range(0, len(content), MIB // 4):
            start = time.monotonic()
            file.write(content[offset : offset + MIB // 4])
            longest = max(longest, time.monotonic() - start)
        os.fsync(file.fileno())
    return longest


def test_channels_run_over_quic_as_well(samba: SambaServer, pki: Pki, tmp_path: Path) -> None:
    require_fuse()
    content = os.urandom(SIZE // 4)
    with quic_gateway(tmp_path, samba.port, [pki.leaf("server")]) as front:
        options = (
            f"credentials={samba.credentials_file()},ip=127.0.0.1,transport=quic,max_channels=3,"
            f"quic_port={front.port},quic_ca={pki.ca}"
        )
        with mount("//bed.test/share", tmp_path / "mount", "-o", options) as mounted:
            wait_for_channels(mounted, 3)
            (mounted.path / "by quic").write_bytes(content)
            assert (samba.share_path() / "by quic").read_bytes() == content
            assert (mounted.path / "by quic").read_bytes() == content
