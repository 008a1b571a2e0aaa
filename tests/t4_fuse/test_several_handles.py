"""One file through several descriptors: what was written last is what counts."""

from __future__ import annotations

import os

from tests.t4_fuse.conftest import Place

READ_WRITE = os.O_RDWR | os.O_CREAT


def test_overlapping_writes_of_two_descriptors_keep_their_order(place: Place) -> None:
    first = os.open(place.path / "file", READ_WRITE)
    second = os.open(place.path / "file", READ_WRITE)
    os.write(first, b"OLD.......")
    os.write(second, b"NEW")
    os.close(second)
    os.close(first)
    assert (place.served / "file").read_bytes() == b"NEW......."
