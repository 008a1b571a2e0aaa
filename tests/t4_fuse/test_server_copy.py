"""copy_file_range(2), which the server does."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path

import pytest

from tests.t4_fuse.conftest import MountShare, Place, only_posix, wait_until

MIB = 1 << 20


def some_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def copy(
    source: int, target: int, length: int, at: int | None = None, to: int | None = None
) -> int:
    """Copy like ``cp``: until everything is, or there is no more."""
    done = 0
    while done < length:
        count = os.copy_file_range(
            source,
            target,
            length - done,
            None if at is None else at + done,
            None if to is None else to + done,
        )
        if not count:
            break
        done += count
    return done


@pytest.mark.parametrize("size", [0, 1, 65_537, MIB, 40 * MIB + 3])
def test_a_copy_is_the_same(place: Place, size: int) -> None:
    content = some_bytes(size)
    (place.served / "from").write_bytes(content)
    with (place.path / "from").open("rb") as source, (place.path / "to").open("xb") as target:
        assert copy(source.fileno(), target.fileno(), size + 10) == size
        assert os.fstat(target.fileno()).st_size == size
        os.fsync(target.fileno())
        assert (place.served / "to").read_bytes() == content
    assert (place.path / "to").read_bytes() == content
    assert (place.path / "to").stat().st_size == size


def test_a_copy_has_what_was_written_just_before(place: Place) -> None:
    """Neither what the source still has to send nor what the target has may be missing after."""
    content = some_bytes(3 * MIB)
    with (
        (place.path / "from").open("x+b", 0) as source,
        (place.path / "to").open("x+b", 0) as target,
    ):
        source.write(content)
        target.write(b"x" * 4 * MIB)
        assert copy(source.fileno(), target.fileno(), 2 * MIB, MIB // 2, MIB) == 2 * MIB
        source.seek(0)
        source.write(b"later")
        target.seek(0)
        expected = b"x" * MIB + content[MIB // 2 : MIB // 2 + 2 * MIB] + b"x" * MIB
        assert target.read() == expected
    assert (place.served / "to").read_bytes() == expected
    assert (place.path / "to").read_bytes() == expected
    assert (place.path / "from").read_bytes() == b"later" + content[5:]


def test_what_was_read_before_is_read_anew(place: Place) -> None:
    (place.path / "from").write_bytes(b"n" * 2 * MIB)
    (place.path / "to").write_bytes(b"o" * 2 * MIB)
    reader = (place.path / "to").open("rb", 0)
    with (
        reader,
        (place.path / "from").open("rb") as source,
        (place.path / "to").open("r+b") as target,
    ):
        assert reader.read() == b"o" * 2 * MIB
        assert copy(source.fileno(), target.fileno(), MIB, 0, MIB) == MIB
        reader.seek(0)
        assert reader.read() == b"o" * MIB + b"n" * MIB
        assert copy(source.fileno(), target.fileno(), MIB, 0, 2 * MIB) == MIB
        assert reader.read() == b"n" * MIB


def test_who_has_it_open_sees_what_others_copy(mount_share: MountShare, place: Place) -> None:
    """Samba tells nobody: it breaks no lease, and tells those without POSIX extensions no time."""
    old, new = some_bytes(300_000), some_bytes(100_000)
    (place.path / "from").write_bytes(new)
    (place.path / "to").write_bytes(old)
    theirs = mount_share(posix=False).path / place.path.name / "to"
    with (
        theirs.open("rb", buffering=0) as reader,
        (place.path / "from").open("rb") as source,
        (place.path / "to").open("r+b") as target,
    ):
        assert reader.read(MIB) == old
        assert copy(source.fileno(), target.fileno(), len(new), to=1000) == len(new)
        content = old[:1000] + new + old[1000 + len(new) :]
        wait_until(lambda: os.pread(reader.fileno(), MIB, 0) == content)
        wait_until(lambda: theirs.read_bytes() == content)


def test_a_copy_within_one_file(place: Place) -> None:
    content = some_bytes(2 * MIB)
    with (place.path / "file").open("x+b", 0) as file:
        file.write(content)
        assert copy(file.fileno(), file.fileno(), MIB, 0, 5 * MIB) == MIB
        file.seek(0)
        assert file.read() == content + bytes(3 * MIB) + content[:MIB]


def test_a_source_that_has_become_shorter(place: Place) -> None:
    content = some_bytes(2 * MIB)
    (place.path / "from").write_bytes(content)
    with (place.path / "from").open("rb") as source, (place.path / "to").open("xb") as target:
        os.truncate(place.served / "from", MIB + 5)
        assert copy(source.fileno(), target.fileno(), 2 * MIB) <= 2 * MIB
    assert (place.path / "to").read_bytes().rstrip(b"\0") == content[: MIB + 5].rstrip(b"\0")


@only_posix
def test_nobody_runs_a_copy_as_somebody_else(place: Place) -> None:
    (place.path / "from").write_bytes(some_bytes(MIB))
    (place.path / "to").touch()
    (place.path / "to").chmod(0o4755)
    with (place.path / "from").open("rb") as source, (place.path / "to").open("r+b") as target:
        assert copy(source.fileno(), target.fileno(), MIB) == MIB
    assert stat.S_IMODE((place.path / "to").stat().st_mode) == 0o755


def test_a_small_file_that_is_only_known(place: Place) -> None:
    (place.path / "from").write_bytes(b"small")
    for number in range(3):
        target: Path = place.path / f"to{number}"
        with (place.path / "from").open("rb") as source, target.open("xb") as file:
            assert copy(source.fileno(), file.fileno(), 5) == 5
        assert target.read_bytes() == b"small"
