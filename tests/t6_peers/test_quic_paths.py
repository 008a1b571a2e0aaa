"""Mounts over QUIC across paths that change, lose, and carry less than they did."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from tests.beds.mounted import Mounted
from tests.beds.namespaces import Cable, cable, slow_cable
from tests.beds.pki import Pki
from tests.beds.quic_across import mount_across
from tests.beds.samba import SambaServer
from tests.beds.slow_link import Wire
from tests.t6_peers.moving import Traveller

LARGE = 20_000_000
LONG_LINE = Wire(delay_s=0.02)
LOSSY_LINE = Wire(delay_s=0.02, loss=0.02)
LOSSY_LARGE = 6_000_000
ETHERNET = 1472
"""Bytes of a datagram: what an Ethernet frame has for it."""

NARROW = 1300
"""Bytes of the longest IP packet."""

STOP_S = 60.0
"""Seconds for which an application that reads stops."""

MIB = 1024 * 1024


def copy_while_moving(wire: Cable, mounted: Mounted, name: str, size: int) -> str:
    """Read a file of ``size`` bytes, moving three times meanwhile; return its SHA-256."""
    digest, client = hashlib.sha256(), Traveller(wire)
    with (mounted.path / name).open("rb", buffering=0) as file:
        for _ in range(3):
            for _ in range(size // 5 // MIB):
                digest.update(file.read(MIB))
            client.move(mounted)
        while data := file.read(MIB):
            digest.update(data)
    return digest.hexdigest()


def test_a_client_that_moves_loses_nothing(samba: SambaServer, pki: Pki, tmp_path: Path) -> None:
    content = os.urandom(LARGE)
    (samba.share_path() / "moving").write_bytes(content)
    with cable() as wire, mount_across(wire, samba, pki, tmp_path) as (mounted, _):
        digest = copy_while_moving(wire, mounted, "moving", LARGE)
        status = mounted.status()
        assert digest == hashlib.sha256(content).hexdigest()
        assert (status["state"], status["reconnects"]) == ("connected", 0)
        assert "moved from 10.77.0.12 to 10.77.0.13" in Path(status["log"]).read_text()


@pytest.mark.long
def test_a_gibibyte_is_copied_while_the_client_moves(
    samba: SambaServer, pki: Pki, tmp_path: Path
) -> None:
    source, digest = samba.share_path() / "gibibyte", hashlib.sha256()
    with source.open("wb") as file:
        for _ in range(1024):
            piece = os.urandom(MIB)
            file.write(piece)
            digest.update(piece)
    with cable() as wire, mount_across(wire, samba, pki, tmp_path) as (mounted, _):
        found = copy_while_moving(wire, mounted, "gibibyte", 1024 * MIB)
        status = mounted.status()
        assert found == digest.hexdigest()
        assert (status["reconnects"], status["quic"]["migrations"]) == (0, 3)


def test_a_line_that_loses_costs_no_byte(samba: SambaServer, pki: Pki, tmp_path: Path) -> None:
    content = os.urandom(LOSSY_LARGE)
    (samba.share_path() / "from-far").write_bytes(content)
    with (
        slow_cable(tmp_path, LOSSY_LINE) as (wire, _),
        mount_across(wire, samba, pki, tmp_path) as (mounted, _),
    ):
        assert (mounted.path / "from-far").read_bytes() == content
        (mounted.path / "to-far").write_bytes(content)
        assert (samba.share_path() / "to-far").read_bytes() == content
        assert mounted.status()["reconnects"] == 0


def test_a_path_that_becomes_narrower_is_gone_on_with(
    samba: SambaServer, pki: Pki, tmp_path: Path
) -> None:
    content = os.urandom(LOSSY_LARGE)
    (samba.share_path() / "narrow").write_bytes(content)
    with (
        slow_cable(tmp_path, LONG_LINE) as (wire, link),
        mount_across(wire, samba, pki, tmp_path) as (mounted, _),
    ):
        (mounted.path / "wide").write_bytes(content)
        assert mounted.status()["quic"]["datagram_size"] == ETHERNET
        link.becomes(Wire(delay_s=LONG_LINE.delay_s, widest=NARROW))
        (mounted.path / "narrower").write_bytes(content)
        assert (mounted.path / "narrow").read_bytes() == content
        status = mounted.status()
        assert status["quic"]["datagram_size"] <= NARROW - 28
        assert status["reconnects"] == 0
        for name in ("wide", "narrower"):
            assert (samba.share_path() / name).read_bytes() == content


@pytest.mark.long
def test_an_application_that_stops_costs_no_memory(
    samba: SambaServer, pki: Pki, tmp_path: Path
) -> None:
    size = 1024 * MIB
    with (samba.share_path() / "stopping").open("wb") as file:
        file.truncate(size)
    with (
        cable() as wire,
        mount_across(wire, samba, pki, tmp_path, "cache_size=64M") as (mounted, front),
    ):
        pids = (mounted.status()["pid"], front.pid)
        with (mounted.path / "stopping").open("rb", buffering=0) as file:
            read = sum(len(file.read(MIB)) for _ in range(256))
            before = [resident(pid) for pid in pids]
            most = before
            until = time.monotonic() + STOP_S
            while time.monotonic() < until:
                time.sleep(0.2)  # The application does nothing: that is what is measured.
                most = [max(pair) for pair in zip(most, map(resident, pids), strict=True)]
            while data := file.read(MIB):
                read += len(data)
        assert read == size
        assert all(now - then < 32 * MIB for then, now in zip(before, most, strict=True))


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
