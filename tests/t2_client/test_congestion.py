"""What congestion control makes of a path, in the path's own time."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from smbfs.transport.bbr import BBR, BbrCongestionControl, State
from smbfs.transport.congestion import CUBIC, congestion_control
from smbfs.transport.pacer import Pacer
from smbfs.transport.sized_connection import PROBE_PAUSE_MAX_S
from tests.beds.pki import Leaf, Pki
from tests.beds.simulated_path import Path, SimulatedPath

MB = 1_000_000
LONG_LINE = Path(rate=10 * MB, delay_s=0.02, queue_s=0.05)
LOSSY_LINE = Path(rate=10 * MB, delay_s=0.02, queue_s=0.05, loss=0.02)
ROUND_TRIP_S = 0.04


@pytest.fixture(scope="module")
def leaf(tmp_path_factory: pytest.TempPathFactory) -> Leaf:
    return Pki(FilePath(tmp_path_factory.mktemp("pki"))).leaf("server")


def controller(path: SimulatedPath) -> BbrCongestionControl:
    found = path.server._loss._cc
    assert isinstance(found, BbrCongestionControl)
    return found


@pytest.mark.parametrize("algorithm", [BBR, CUBIC])
def test_a_clean_line_is_used(leaf: Leaf, algorithm: str) -> None:
    outcome = SimulatedPath(LONG_LINE, algorithm, leaf).transfer(10 * MB)
    assert 10 * MB / outcome.seconds > 0.7 * LONG_LINE.rate


@pytest.mark.parametrize("rate", [MB, 10 * MB])
def test_bad_luck_is_not_taken_for_congestion(leaf: Leaf, rate: int) -> None:
    """CUBIC has less than a twentieth of the faster of these lines."""
    path = SimulatedPath(replace(LOSSY_LINE, rate=rate), BBR, leaf)
    path.transfer(rate)
    outcome = path.transfer(2 * rate)
    assert 2 * rate / outcome.seconds > 0.7 * rate


def test_the_queue_stays_short(leaf: Leaf) -> None:
    """A line with a queue of a second: who fills it waits that long for everything."""
    path = SimulatedPath(Path(rate=5 * MB, delay_s=0.02, queue_s=1.0), BBR, leaf)
    path.transfer(5 * MB)
    outcome = path.transfer(5 * MB)
    assert outcome.mean_queue_s < ROUND_TRIP_S
    assert outcome.dropped == 0


def test_a_shallow_queue_is_not_flooded(leaf: Leaf) -> None:
    path = SimulatedPath(Path(rate=10 * MB, delay_s=0.02, queue_s=0.02), BBR, leaf)
    path.transfer(10 * MB)
    assert path.transfer(10 * MB).dropped < 0.01


def test_a_tiny_buffer_is_not_overrun_for_ever(leaf: Leaf) -> None:
    """Such as a socket's, on a host that is near and busy."""
    near = Path(rate=100 * MB, delay_s=0.0002, queue_s=0.002)
    path = SimulatedPath(near, BBR, leaf)
    path.transfer(10 * MB)
    outcome = path.transfer(20 * MB)
    assert outcome.dropped < 0.06
    assert 20 * MB / outcome.seconds > 0.7 * near.rate


def test_after_a_bad_minute_it_is_as_before(leaf: Leaf) -> None:
    line = Path(rate=2 * MB, delay_s=0.03, queue_s=0.05)
    path = SimulatedPath(line, BBR, leaf)
    path.transfer(MB)
    path.becomes(replace(line, loss=0.25))
    until = path.now + 60
    while path.now < until:
        path.transfer(50_000)
    path.becomes(line)
    for _ in range(5):
        path.transfer(MB)
    assert path.transfer(MB).seconds < 1.0


def test_a_longer_path_is_learned_anew(leaf: Leaf) -> None:
    """From the LAN to a mobile network: what was near is far, and what was fast is slow."""
    path = SimulatedPath(Path(rate=100 * MB, delay_s=0.0003, queue_s=0.005), BBR, leaf)
    path.transfer(5 * MB)
    path.move(Path(rate=3 * MB, delay_s=0.04, queue_s=0.1))
    seconds = [path.transfer(500_000).seconds for _ in range(8)]
    assert sum(seconds) < 3.5
    assert max(seconds) < 0.7


@pytest.mark.parametrize("algorithm", [BBR, CUBIC])
def test_probes_of_the_path_do_not_count(leaf: Leaf, algorithm: str) -> None:
    """Neither lost ones nor others leave anything behind in the books."""
    path = SimulatedPath(replace(LOSSY_LINE, mtu=9000, widest=1400), algorithm, leaf)
    path.transfer(MB)
    path.pause(5)
    for end in (path.client, path.server):
        assert 1384 <= end.datagram_size <= 1400
        assert end._loss.bytes_in_flight == 0


def test_little_that_was_sent_is_no_measure_of_the_path(leaf: Leaf) -> None:
    path = SimulatedPath(LONG_LINE, BBR, leaf)
    for _ in range(20):
        path.transfer(200)
        path.pause(0.5)
    outcome = path.transfer(5 * MB)
    assert outcome.seconds < 5 * MB / LONG_LINE.rate + 12 * ROUND_TRIP_S


def test_the_shortest_round_trip_is_measured_again(leaf: Leaf) -> None:
    path = SimulatedPath(Path(rate=0.5 * MB, delay_s=0.02, queue_s=0.2), BBR, leaf)
    bbr = controller(path)
    seen = set()
    for _ in range(60):
        path.transfer(100_000)
        seen.add(bbr.state)
    assert seen >= {State.PROBE_BW, State.PROBE_RTT}
    assert path.transfer(MB).seconds < 2.5
    assert bbr.bytes_in_flight >= 0


def test_what_is_lost_for_long_is_sent_again_when_the_line_is_back(leaf: Leaf) -> None:
    path = SimulatedPath(LONG_LINE, BBR, leaf)
    path.transfer(MB)
    carry = path._links[1].carry
    path._links[1].carry = lambda now, size: None if now < silent_until else carry(now, size)  # type: ignore[method-assign]
    silent_until = path.now + 3
    assert path.transfer(MB).seconds < 3 + 4


@pytest.mark.parametrize("silence_s", [0.5, 2, 4, 5, 8, 20, 30])
def test_a_silent_line_is_used_again_as_soon_as_it_is_back(leaf: Leaf, silence_s: float) -> None:
    """Neither the pauses between probes nor what was lost meanwhile may cost more than a moment."""
    path = SimulatedPath(LONG_LINE, BBR, leaf)
    path.transfer(MB)
    until = path.now + silence_s
    for link in path._links:
        carry = link.carry
        link.carry = lambda now, size, carry=carry: None if now < until else carry(now, size)  # type: ignore[method-assign, misc]
    assert path.transfer(MB).seconds - silence_s < PROBE_PAUSE_MAX_S + 0.5


def test_it_is_the_one_that_tcp_has(tmp_path: FilePath) -> None:
    setting = tmp_path / "tcp_congestion_control"
    for said, meant in (("bbr\n", BBR), ("cubic\n", CUBIC), ("reno\n", CUBIC)):
        setting.write_text(said)
        assert congestion_control(setting) == meant
    assert congestion_control(tmp_path / "none") == CUBIC


def test_a_pacer_lets_out_what_its_rate_allows() -> None:
    pacer = Pacer(lambda: 1.0 * MB, 1000)
    now, sent = 0.0, 0
    while now < 2:
        due = pacer.next_send_time(now)
        if due is None:
            pacer.update_after_send(now)
            pacer.settle(1000)
            sent += 1000
        else:
            assert due > now
            now = due
    assert 1.98 * MB < sent < 2.01 * MB


def test_a_pacer_charges_what_was_sent_and_not_what_was_planned() -> None:
    """Acknowledgements are small, and cost nothing."""
    pacer = Pacer(lambda: 1.0 * MB, 1000)
    for _ in range(100):
        assert pacer.next_send_time(1.0) is None
        pacer.update_after_send(1.0)
        pacer.settle(0)


def test_a_pacer_that_knows_no_rate_waits_for_nothing() -> None:
    pacer = Pacer(lambda: math.inf, 1000)
    for _ in range(1000):
        assert pacer.next_send_time(0.0) is None
        pacer.update_after_send(0.0)
