"""One file through several descriptors: what was written last is what counts."""

from __future__ import annotations

import mmap
import os

import pytest

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


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR], ids=["reader", "writer"])
def test_fsync_has_written_what_another_descriptor_took(place: Place, flags: int) -> None:
    """Who asks for a file to be safe means the file, as a database with two connections does."""
    file = place.path / "file"
    file.write_bytes(b"." * 10)
    writer, other = os.open(file, os.O_RDWR), os.open(file, flags)
    os.write(writer, b"NEW")
    os.fsync(other)
    assert (place.served / "file").read_bytes() == b"NEW......."
    os.close(other)
    os.close(writer)


@pytest.mark.parametrize("mapped", [0, 1])
def test_msync_has_written_what_the_kernel_wrote_by_another_descriptor(
    place: Place, mapped: int
) -> None:
    """The kernel writes pages by whichever descriptor it finds, and asks by the mapped one."""
    file = place.path / "file"
    file.write_bytes(b"." * 10_000)
    descriptors = [os.open(file, os.O_RDWR) for _ in range(2)]
    with mmap.mmap(descriptors[mapped], 0) as mapping:
        mapping[5000:5003] = b"NEW"
        mapping.flush()
        assert (place.served / "file").read_bytes()[4999:5004] == b".NEW."
    for descriptor in descriptors:
        os.close(descriptor)
