"""The search for the size of datagrams, against paths that carry so much and no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smbfs.transport.path_mtu import BASE, SEARCH_AGAIN_S, PathMtu

sizes = st.integers(BASE, 65_507)


def search(path: PathMtu, width: int, now_s: float = 0.0) -> list[int]:
    """Answer probes as a path of this width does; return their sizes."""
    probes = []
    while (size := path.next_probe(now_s)) is not None:
        probes.append(size)
        if size <= width:
            path.probe_arrived()
        else:
            path.probe_lost()
    return probes


@given(ceiling=sizes, width=sizes)
def test_it_finds_what_the_path_carries(ceiling: int, width: int) -> None:
    path = PathMtu(ceiling)
    probes = search(path, width)
    assert path.size <= width
    assert path.size >= min(ceiling, width) - 16
    assert all(BASE < size <= ceiling for size in probes)
    assert len(probes) < 50


def test_what_our_own_link_carries_is_tried_first() -> None:
    assert search(PathMtu(65_507), 65_507) == [65_507]
    assert search(PathMtu(BASE), 65_507) == []


def test_ethernet_is_tried_next() -> None:
    probes = search(PathMtu(8972), 1472)
    assert probes[:4] == [8972, 8972, 8972, 1452]


def test_one_probe_is_on_its_way_at_a_time() -> None:
    path = PathMtu(1472)
    assert path.next_probe(0) == 1472
    assert path.next_probe(0) is None
    assert path.size == BASE


def test_bad_luck_is_no_proof() -> None:
    path = PathMtu(1472)
    for _ in range(2):
        assert path.next_probe(0) == 1472
        path.probe_lost()
    assert path.next_probe(0) == 1472
    path.probe_arrived()
    assert path.size == 1472


def test_a_path_may_become_wider_later() -> None:
    path = PathMtu(8972)
    search(path, 1472)
    found = path.size
    assert search(path, 8972, SEARCH_AGAIN_S - 1) == []
    assert path.size == found
    assert search(path, 8972, SEARCH_AGAIN_S) == [8972]
    assert path.size == 8972


def test_large_ones_that_are_lost_in_a_row_tell_of_a_narrower_path() -> None:
    path = PathMtu(1472)
    search(path, 1472)
    lose(path, 1430, 5)
    path.data_arrived(1430)
    lose(path, 1430, 5)
    path.data_arrived(100)
    lose(path, 100, 5)
    assert path.next_probe(0) is None
    lose(path, 1430, 1)
    assert search(path, 1300)[:3] == [1472, 1472, 1472]
    assert 1284 <= path.size <= 1300


def test_a_doubt_may_be_wrong() -> None:
    path = PathMtu(1472)
    search(path, 1472)
    lose(path, 1430, 10)
    assert search(path, 1472) == [1472]
    assert path.size == 1472


def lose(path: PathMtu, size: int, times: int) -> None:
    for _ in range(times):
        path.data_lost(size)
