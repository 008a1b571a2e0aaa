"""A server that is not what it was: elsewhere, without the share, with another password.

The mount says what is wrong while it is, does not try a refused password twice, and works again
when it can, without being mounted anew.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.beds.far_samba import NAME, Names, far_samba
from tests.beds.guardian import BedError
from tests.beds.mortal_samba import MortalSamba
from tests.beds.mounted import Mounted, mount, run_smbfs
from tests.beds.namespaces import SERVER, cable
from tests.beds.quic_across import FIRST_ADDRESS
from tests.beds.samba_folder import ALICE
from tests.conftest import require_fuse
from tests.t4_fuse.conftest import wait_until
from tests.t6_peers.recovery import assert_fails_in_time, assert_works_soon

ELSEWHERE = "10.77.0.3"
TIMEOUT_S = 3.0
USE_S = 4.0
"""Seconds for which programs go on using a mount that is refused."""

REFUSED_RECOVERY_S = 35.0
"""Seconds after which a mount works that a server has refused for other reasons than a password:
it is asked every now and then, and less often than one that does not answer."""

ANOTHER = "An0ther-passw0rd"
NOT_CONNECTED = {"reconnecting", "offline"}
UNREACHABLE = {"Host is down", "No route to host", "Connection timed out"}


def reason(mounted: Mounted) -> str:
    """Why it does not work, as ``smbfs status`` tells people; empty if that says nothing."""
    lines = run_smbfs("status", str(mounted.path)).stdout.splitlines()
    return "".join(line for line in lines if line.strip().startswith("reason "))


def test_a_server_at_another_address(beds_folder: Path, tmp_path: Path) -> None:
    require_fuse()
    names = Names(tmp_path, SERVER)
    with cable() as wire, far_samba(beds_folder / tmp_path.name, wire) as server:
        wire.give(FIRST_ADDRESS)
        options = f"credentials={server.credentials_file()},timeout={TIMEOUT_S:g},transport=tcp"
        with mount(
            *(f"//{NAME}:{server.port}/share", tmp_path / "mount", "-o", options),
            inside=(*wire.in_client, *names.inside),
        ) as mounted:
            assert mounted.status()["server"]["address"] == SERVER
            server.stop()
            assert assert_fails_in_time(mounted, TIMEOUT_S) in UNREACHABLE
            assert mounted.status()["state"] in NOT_CONNECTED
            assert reason(mounted)
            wire.move_server(SERVER, ELSEWHERE)
            names.lead_to(ELSEWHERE)
            server.start()
            assert_works_soon(mounted)
            assert mounted.status()["server"]["address"] == ELSEWHERE


# --- on loopback: what the server refuses -----------------------------------------------------


@pytest.fixture
def server(make_samba: Callable[..., MortalSamba]) -> MortalSamba:
    return make_samba(MortalSamba, globals={"log level": "1 auth_audit:3"})


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    path = tmp_path / "credentials"
    path.touch(mode=0o600)
    write_password(path, ALICE.password)
    return path


@pytest.fixture
def refusing(server: MortalSamba, credentials: Path, tmp_path: Path) -> Iterator[Mounted]:
    """A mount of a server that is going to refuse it."""
    require_fuse()
    options = f"credentials={credentials},timeout={TIMEOUT_S:g}"
    with mount(server.unc(), tmp_path / "mount", "-o", options) as mounted:
        yield mounted


def write_password(path: Path, password: str) -> None:
    path.write_text(f"username={ALICE.name}\npassword={password}\n")


def refusals(server: MortalSamba, status: str) -> int:
    """Return how often the server has refused to sign somebody on, with this status."""
    return sum("Auth:" in line and f"[{status}]" in line for line in server.log().splitlines())


def use(mounted: Mounted) -> None:
    """Have a program use the mount for ``USE_S``, and get nothing but errors."""
    until = time.monotonic() + USE_S
    while time.monotonic() < until:
        assert assert_fails_in_time(mounted, TIMEOUT_S)
        time.sleep(0.05)  # As a program does that tries again.


def test_a_share_that_is_gone_and_comes_back(server: MortalSamba, refusing: Mounted) -> None:
    (refusing.path / "kept").write_bytes(b"kept")
    server.configure("share", None)
    server.restart()
    assert_fails_in_time(refusing, TIMEOUT_S)
    wait_until(lambda: "no such share" in reason(refusing))
    assert refusing.status()["state"] in NOT_CONNECTED
    server.configure("share", {})
    server.reload()
    assert_works_soon(refusing, REFUSED_RECOVERY_S)
    assert (refusing.path / "kept").read_bytes() == b"kept"


def test_a_password_that_was_changed(
    server: MortalSamba, refusing: Mounted, credentials: Path
) -> None:
    """Each word that the file has had is tried once: more would lock the account."""
    server.set_password(ALICE, ANOTHER)
    server.kill_connection(refusing.pid)
    use(refusing)
    assert refusals(server, "NT_STATUS_WRONG_PASSWORD") == 1
    assert "wrong user name or password" in reason(refusing)
    assert refusing.status()["state"] == "offline"
    write_password(credentials, "a guess")
    use(refusing)
    assert refusals(server, "NT_STATUS_WRONG_PASSWORD") == 2
    write_password(credentials, ANOTHER)
    assert_works_soon(refusing)
    assert refusals(server, "NT_STATUS_WRONG_PASSWORD") == 2
    log = Path(refusing.status()["log"]).read_text()
    events = [line.rpartition(" [")[2] for line in log.splitlines() if line.endswith("]")]
    assert events[-5:] == [
        "disconnected, Windows 30804]",
        *("logon-failed, Windows 31001]", "offline, Windows 30809]"),
        "logon-failed, Windows 31001]",
        "reconnected, Windows 30808]",
    ]


def test_a_user_who_is_disabled(server: MortalSamba, refusing: Mounted, credentials: Path) -> None:
    server.enable(ALICE, allowed=False)
    server.kill_connection(refusing.pid)
    use(refusing)
    assert refusals(server, "NT_STATUS_ACCOUNT_DISABLED") == 1
    assert "disabled" in reason(refusing)
    assert refusing.status()["state"] == "offline"
    server.enable(ALICE, allowed=True)
    write_password(credentials, ALICE.password)  # That is how it is told to try again.
    assert_works_soon(refusing)


# --- the beds ---------------------------------------------------------------------------------


def test_a_name_leads_where_it_should(tmp_path: Path) -> None:
    """The program that was told of an address once is told of the next one."""
    names = Names(tmp_path, SERVER)
    ask = f"import socket; print(socket.getaddrinfo({NAME!r}, 1)[0][4][0], flush=True); input()\n"
    with subprocess.Popen(
        [*names.inside, "python3", "-c", ask * 2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as asking:
        assert asking.stdin is not None
        assert asking.stdout is not None
        assert asking.stdout.readline().strip() == SERVER
        names.lead_to(ELSEWHERE)
        asking.stdin.write("\n")
        asking.stdin.flush()
        assert asking.stdout.readline().strip() == ELSEWHERE
        asking.communicate("\n")


def test_refusals_are_counted(server: MortalSamba) -> None:
    server.set_password(ALICE, ANOTHER)
    for _ in range(2):
        with pytest.raises(BedError, match="LOGON_FAILURE"):
            server.smbclient("share", "-c", "ls")
    assert refusals(server, "NT_STATUS_WRONG_PASSWORD") == 2


def test_a_share_goes_and_comes(server: MortalSamba) -> None:
    def is_there() -> bool:
        try:
            server.smbclient("share", "-c", "ls")
        except BedError:
            return False
        return True

    server.configure("share", None)
    server.restart()
    assert not is_there()
    server.configure("share", {})
    server.reload()
    wait_until(is_there)
