"""``smbfs shares``: what a server has, as a mount would reach it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from smbfs.cli.errors import ExitCode
from tests.beds.mounted import run_smbfs
from tests.beds.samba import SHARES, SambaServer
from tests.beds.samba_folder import ALICE, HOST, Share
from tests.t5_cli.test_messages import INSECURE_GUEST, THREE_PARTS, credentials

MANY = tuple(
    Share(f"archive-{n:03}", {"comment": f"Grüße aus {n}, und noch vieles mehr"})
    for n in range(120)
)


@pytest.fixture
def alice(tmp_path: Path) -> tuple[str, str]:
    return credentials(tmp_path / "credentials", ALICE.name, ALICE.password)


@pytest.fixture
def office(make_samba: Callable[..., SambaServer]) -> SambaServer:
    """A server with more shares than go into one answer, a hidden one among them."""
    return make_samba(shares=(*SHARES, Share("secret$", {"comment": "hidden"}), *MANY))


def test_shares_are_listed_with_what_mounts_them(
    office: SambaServer, alice: tuple[str, str]
) -> None:
    done = run_smbfs("shares", f"{HOST}:{office.port}", *alice)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == len(SHARES) + 1 + len(MANY)
    assert lines == sorted(lines, key=str.casefold)
    width = max(len(office.unc(share.name)) for share in MANY)
    assert f"{office.unc('archive-007'):{width}}  Grüße aus 7, und noch vieles mehr" in lines
    assert office.unc("readonly") in lines
    assert not any("IPC$" in line for line in lines)


def test_shares_for_programs(office: SambaServer, alice: tuple[str, str]) -> None:
    done = run_smbfs("shares", f"smb://{HOST}:{office.port}", "--json", *alice)
    assert (done.returncode, done.stderr) == (0, "")
    told = {each["name"]: each for each in json.loads(done.stdout)}
    assert set(told) == {share.name for share in (*SHARES, *MANY)} | {"secret$"}
    assert told["secret$"] == {
        "name": "secret$",
        "unc": office.unc("secret$"),
        "remark": "hidden",
        "hidden": True,
    }
    assert not told["share"]["hidden"]


def test_a_share_names_its_server(samba: SambaServer, alice: tuple[str, str]) -> None:
    done = run_smbfs("shares", samba.unc("share"), *alice)
    assert done.stdout.splitlines() == sorted(samba.unc(share.name) for share in SHARES)


def test_a_guest_is_shown_what_there_is(samba_variant: Callable[[str], SambaServer]) -> None:
    server = samba_variant("guest")
    refused = run_smbfs("shares", f"{HOST}:{server.port}", "-o", "guest")
    assert refused.returncode == ExitCode.MOUNT
    done = run_smbfs("shares", f"{HOST}:{server.port}", "-o", INSECURE_GUEST)
    assert done.returncode == 0
    assert "smbfs: " in done.stderr  # The warning of a mount.
    assert server.unc("public") in done.stdout.splitlines()


def test_a_wrong_password_is_refused_in_the_words_of_a_mount(
    samba: SambaServer, tmp_path: Path
) -> None:
    wrong = credentials(tmp_path / "credentials", ALICE.name, "wrong")
    done = run_smbfs("shares", f"{HOST}:{samba.port}", *wrong)
    assert done.returncode == ExitCode.MOUNT
    recorded, _, message = done.stderr.partition("smbfs: ")
    assert "logon-failed" in recorded
    assert THREE_PARTS.fullmatch(f"smbfs: {message}"), done.stderr
    assert "STATUS_LOGON_FAILURE" in message


def test_a_server_that_does_not_tell(
    make_samba: Callable[..., SambaServer], alice: tuple[str, str]
) -> None:
    server = make_samba(globals={"rpc start on demand helpers": "no"})
    done = run_smbfs("shares", f"{HOST}:{server.port}", *alice)
    assert done.returncode == ExitCode.MOUNT
    assert THREE_PARTS.fullmatch(done.stderr), done.stderr
    assert re.search(r"//127\.0\.0\.1:\d+ does not tell which shares it has", done.stderr)
