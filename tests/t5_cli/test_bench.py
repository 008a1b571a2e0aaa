"""``smbfs bench``: what a share is measured to be, and what it says where it can't."""

from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from smbfs.cli.bench import _ways
from smbfs.cli.bench_chart import draw_bars
from smbfs.cli.errors import ExitCode
from smbfs.config.model import MountOptions
from tests.beds.mounted import run_smbfs
from tests.beds.samba import SambaServer
from tests.t5_cli.test_messages import THREE_PARTS


def bench(samba: SambaServer, share: str, *given: str, code: int = 0) -> tuple[str, str]:
    """Run it; return what it prints, and what on stderr behind what the audit records."""
    login = ("-o", f"credentials={samba.credentials_file()}")
    done = run_smbfs("bench", samba.unc(share), *login, *given)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr[done.stderr.find("smbfs: ") :]


def test_a_share_is_measured(samba: SambaServer, tmp_path: Path) -> None:
    before = os.listdir(samba.share_path())  # noqa: PTH208 - names alone
    given = ("-o", "transport=tcp,seal", "--json", "--plot", str(tmp_path / "chart.svg"))
    told, _ = bench(samba, "share", *given)
    (way,) = json.loads(told)
    assert (way["transport"], way["protection"], way["trouble"]) == ("tcp", "sealed", None)
    assert way["write_bytes_per_s"] > 1_000_000
    assert way["read_bytes_per_s"] > 1_000_000
    assert 0 < way["round_trip_s"] < 1
    assert os.listdir(samba.share_path()) == before  # noqa: PTH208 - names alone
    chart = ET.parse(tmp_path / "chart.svg")  # noqa: S314 - our own
    texts = [text.text for text in chart.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == samba.unc()
    assert "tcp, sealed: read" in texts


def test_nobody_is_there(samba: SambaServer) -> None:
    told, _ = bench(samba, "share", "-o", "transport=quic,quic_port=9", code=ExitCode.MOUNT)
    first, *ways = told.splitlines()
    assert first.split() == [samba.unc(), "write", "read", "round", "trip"]
    assert [line.partition("  ")[0].strip() for line in ways] == ["quic, tls", "quic, sealed"]
    assert all("not reached: UDP port 9" in line for line in ways)


@pytest.mark.parametrize(
    ("share", "given", "code"),
    [
        ("readonly", ("-o", "transport=tcp"), ExitCode.MOUNT),
        ("share/nowhere", ("-o", "transport=tcp"), ExitCode.MOUNT),
        ("share", ("--plot", "chart.png"), ExitCode.USAGE),
        ("share", ("--plot", "/nowhere/chart.svg"), ExitCode.USAGE),
    ],
)
def test_what_can_not_be_measured(
    samba: SambaServer, share: str, given: tuple[str, ...], code: int
) -> None:
    told, message = bench(samba, share, *given, code=code)
    assert told == ""
    assert THREE_PARTS.fullmatch(message), message


@pytest.mark.parametrize(
    ("options", "ways"),
    [
        (MountOptions(), ["tcp signed", "tcp sealed", "quic tls", "quic sealed"]),
        (MountOptions(transport="tcp"), ["tcp signed", "tcp sealed"]),
        (MountOptions(seal=True), ["tcp sealed", "quic sealed"]),
    ],
)
def test_ways_that_the_options_allow(options: MountOptions, ways: list[str]) -> None:
    found = list(_ways(options))
    assert [f"{transport} {protection}" for transport, protection, _ in found] == ways
    for transport, protection, chosen in found:
        assert (chosen.transport, chosen.seal) == (transport, protection == "sealed")


def test_bars_have_one_scale_and_no_markup() -> None:
    chart = ET.fromstring(draw_bars("<nas>", [("a&b", 50.0), ("c", 100.0)], "MB/s"))  # noqa: S314
    bars = [float(bar.get("width", "")) for bar in chart[3::3]]
    assert bars[1] == 2 * bars[0]
    assert chart[1].text == "<nas>"
    ET.fromstring(draw_bars("nothing", [], "MB/s"))  # noqa: S314 - our own
