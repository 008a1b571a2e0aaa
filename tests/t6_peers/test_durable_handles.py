"""Handles of SMB 2.1 that survive their connection: durable handles of the first version.

The server forgets the session and keeps the file open; who comes back asks for it by its FileId.
Spec: [MS-SMB2] 2.2.13.2.3 (asking), 2.2.13.2.4 (taking it back).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from smbfs.wire.create import AccessMask
from smbfs.wire.create_contexts import DurableHandleReconnectV1, DurableHandleRequestV1
from tests.beds.copier import Copying
from tests.beds.holder import Holding
from tests.beds.mounted import Mounted, mount
from tests.beds.proxy import Proxy
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import HOST
from tests.conftest import require_fuse
from tests.t4_fuse.conftest import wait_until

RETURNS = 3
CUTS = 6
SIZE = 48 * 1024 * 1024
COPY_S = 60.0
DURABLE = DurableHandleRequestV1 | DurableHandleReconnectV1


class Bed(NamedTuple):
    """A mount whose connection can be cut. The server speaks SMB 2.1 at most."""

    served: Path
    """Where the server has its files."""
    proxy: Proxy
    mounted: Mounted

    def cut(self) -> None:
        """Cut the connection, and wait until the server has been asked for another one."""
        before = self.proxy.connections
        self.proxy.cut()
        wait_until(lambda: self.proxy.connections > before)

    def returned(self, times: int) -> None:
        """Wait until the mount has come back so often."""
        wait_until(lambda: bool(self.mounted.status()["reconnects"] == times))

    def asked_for(self, name: str) -> list[type | None]:
        """List the CREATEs that asked to write to a file, each by its context for durability."""
        creates = [each for each in self.proxy.creates if each.name == name]
        writing = [each for each in creates if each.desired_access & AccessMask.WRITE_DATA]
        return [
            next((type(each) for each in create.contexts if isinstance(each, DURABLE)), None)
            for create in writing
        ]


@pytest.fixture
def bed(samba_variant: Callable[[str], SambaServer], tmp_path: Path) -> Iterator[Bed]:
    require_fuse()
    server = samba_variant("smb-2.1")
    options = f"credentials={server.credentials_file()},cache_size=16M"
    with Proxy(HOST, server.port) as proxy:
        unc = f"//{HOST}:{proxy.port}/share"
        with mount(unc, tmp_path / "mount", "-o", options) as mounted:
            assert mounted.status()["dialect"] == "2.1"
            yield Bed(server.share_path(), proxy, mounted)


def test_a_handle_goes_on_where_it_was(bed: Bed) -> None:
    """With what is on the disk, what nobody has heard of yet, and the place where it reads."""
    content = random.Random(1).randbytes(1_000_000)
    served = bed.served / "open"
    served.write_bytes(content)
    served.chmod(0o666)
    expected, at = bytearray(content), 0

    def write(data: bytes) -> None:
        nonlocal at
        file.write(data)
        expected[at : at + len(data)] = data
        at += len(data)

    with Holding(bed.mounted.path / "open") as file:
        for number in range(1, RETURNS + 1):
            write(b"on the disk")
            file.sync()
            known = bytes(expected)
            assert served.read_bytes() == known
            write(b"nowhere yet")
            assert served.read_bytes() == known
            bed.proxy.cut()
            bed.returned(number)
            assert file.read(100_000) == expected[at : at + 100_000]
            at += 100_000
        write(b"the end")
        file.sync()
        assert served.read_bytes() == expected
        status = bed.mounted.status()
        assert (status["state"], status["handles"]["durable"]) == ("connected", 1)
        file.close()
    assert bed.asked_for("open") == [DurableHandleRequestV1, *[DurableHandleReconnectV1] * RETURNS]


def test_a_copy_goes_on(bed: Bed, tmp_path: Path) -> None:
    """What was on its way is sent again, to the same handle."""
    content = random.Random(2).randbytes(SIZE)
    (tmp_path / "near").write_bytes(content)
    chance = random.Random(3)
    with Copying(tmp_path / "near", bed.mounted.path / "copied") as copying:
        copying.wait_half()
        copying.go_on()
        for _ in range(CUTS):
            bed.cut()
            time.sleep(chance.uniform(0.0, 0.1))  # A moment by chance: nobody waits for anything.
        assert copying.report(COPY_S).failed == ""
    assert (bed.served / "copied").read_bytes() == content
    first, *others = bed.asked_for("copied")
    assert first is DurableHandleRequestV1
    assert set(others) == {DurableHandleReconnectV1}


def test_what_is_set_while_a_handle_comes_back_is_done_and_told(
    samba: SambaServer, tmp_path: Path
) -> None:
    """It comes back without POSIX extensions, which nobody knew when that was sent."""
    require_fuse()
    options = f"credentials={samba.credentials_file()},cache_size=16M"
    with (
        Proxy(HOST, samba.port) as proxy,
        mount(f"//{HOST}:{proxy.port}/share", tmp_path / "mount", "-o", options) as mounted,
        (mounted.path / "taken over").open("wb", buffering=0) as file,
    ):
        served = samba.share_path() / "taken over"
        file.write(bytes(100_000))
        os.fsync(file.fileno())

        def returns() -> int:
            times: int = mounted.status()["reconnects"]
            return times

        for times in range(1, RETURNS + 1):
            before = returns()
            proxy.cut()
            os.utime(file.fileno(), (10**9, 10**9 + times))
            assert os.fstat(file.fileno()).st_mtime == served.stat().st_mtime == 10**9 + times
            assert returns() > before
