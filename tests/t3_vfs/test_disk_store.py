"""The store on disk: bounded, private, and never of another version, whatever happens to it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random

import pytest

from smbfs.vfs.disk_store import DiskStore, FileVersion, StoredBlock

VERSION, OTHER = FileVersion(10, 20, 30, 40), FileVersion(10, 21, 30, 40)
OpenStore = Callable[[Path, int], DiskStore]
LARGE_ID = (1 << 64) - 5


def stored(file_id: int, position: int, data: bytes, version: FileVersion = VERSION) -> StoredBlock:
    return StoredBlock(file_id, version, position, memoryview(data))


@pytest.fixture
def open_store() -> Iterator[OpenStore]:
    """Open stores that are closed in the end, if they are not before."""
    with ExitStack() as stack:
        yield lambda path, limit: stack.enter_context(closing(DiskStore(path, limit)))


def test_what_was_put_is_there_after_reopening(open_store: OpenStore, tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = open_store(path, 1000)
    store.put([stored(1, 0, b"a"), stored(LARGE_ID, 7, b"bb")])
    store.close()
    store = open_store(path, 1000)
    assert store.get(1, VERSION, 0) == b"a"
    assert store.get(LARGE_ID, VERSION, 7) == b"bb"
    assert store.get(1, VERSION, 1) is None
    assert store.get(2, VERSION, 0) is None
    assert store.size == 3
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("field", FileVersion._fields)
def test_every_part_of_the_version_must_agree(
    open_store: OpenStore, tmp_path: Path, field: str
) -> None:
    store = open_store(tmp_path / "store", 1000)
    store.put([stored(1, 0, b"a")])
    assert store.get(1, VERSION._replace(**{field: 99}), 0) is None
    assert store.get(1, VERSION, 0) == b"a"


def test_a_new_version_drops_what_was_there_of_the_old_one(
    open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "store", 1000)
    store.put([stored(1, 0, b"a"), stored(1, 1, b"b")])
    store.put([stored(1, 1, b"n", OTHER)])
    assert store.get(1, OTHER, 0) is None
    assert store.get(1, VERSION, 0) is None
    assert store.get(1, OTHER, 1) == b"n"
    assert store.size == 1


def test_files_that_were_not_used_for_longest_make_room(
    open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "store", 30)
    for file_id in (1, 2, 3):
        store.put([stored(file_id, 0, bytes(10))])
    assert store.use(1, VERSION) == {0}
    assert store.use(1, OTHER) == store.use(9, VERSION) == set()
    store.put([stored(4, 0, bytes(10))])
    assert [store.get(file_id, VERSION, 0) is not None for file_id in (1, 2, 3, 4)] == [
        True, False, True, True,
    ]  # fmt: skip
    store.check_invariants()


def test_a_smaller_limit_is_kept_from_the_beginning(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", 100)
    store.put([stored(1, position, bytes(10)) for position in range(10)])
    store.close()
    store = open_store(tmp_path / "store", 50)
    assert store.size == 50
    store.check_invariants()


def test_blocks_of_no_file_make_room(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", 100)
    store.put([stored(1, 0, bytes(100))])
    store.close()
    with closing(sqlite3.connect(tmp_path / "store")) as database, database:
        database.execute("UPDATE blocks SET file = 2")
    store = open_store(tmp_path / "store", 50)
    assert store.size == 0
    store.check_invariants()


def test_two_mounts_do_not_share_a_store(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", 100)
    store.put([stored(1, 0, b"a")])
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        open_store(tmp_path / "store", 100)
    store.close()


def test_what_is_no_store_is_replaced(open_store: OpenStore, tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.write_bytes(b"something else entirely" * 1000)
    store = open_store(path, 100)
    store.put([stored(1, 0, b"a")])
    assert store.get(1, VERSION, 0) == b"a"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_followed(open_store: OpenStore, tmp_path: Path) -> None:
    (tmp_path / "store").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        open_store(tmp_path / "store", 100)
    assert not (tmp_path / "victim").exists()


def test_a_store_of_another_format_is_emptied(open_store: OpenStore, tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "store")
    database.execute("CREATE TABLE blocks (something INTEGER)")
    database.execute("PRAGMA user_version = 77")
    database.close()
    store = open_store(tmp_path / "store", 100)
    store.put([stored(1, 0, b"a")])
    store.check_invariants()


WRITER = """
import sys
from pathlib import Path
from smbfs.vfs.disk_store import DiskStore, FileVersion, StoredBlock
store = DiskStore(Path(sys.argv[1]), 1 << 22)
for number in range(1 << 30):
    data = memoryview(bytes([number % 251]) * 65536)
    store.put([StoredBlock(number % 90, FileVersion(number % 251, 0, 0, 0), 0, data)])
    print(number, flush=True)
"""


@pytest.mark.parametrize("seed", range(3))
def test_a_writer_that_is_killed_leaves_whole_blocks(
    open_store: OpenStore, tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "store"
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            for _line in range(Random(seed).randrange(20, 200)):
                writer.stdout.readline()
            os.kill(writer.pid, signal.SIGKILL)
        store = open_store(path, 1 << 22)
        store.check_invariants()
        found = 0
        for file_id in range(90):
            for number in range(251):
                data = store.get(file_id, FileVersion(number, 0, 0, 0), 0)
                if data is not None:
                    assert data == bytes([number]) * 65536
                    found += 1
        assert found >= 10
        store.close()
