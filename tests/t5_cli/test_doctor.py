"""``smbfs doctor`` on real servers: what it finds, what it says, and what it does not do."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.beds.mounted import MountFailed, mount, run_smbfs
from tests.beds.pki import Pki
from tests.beds.quic_gateway import QuicGateway, quic_gateway
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE, BOB, HOST, Share, program

pytestmark = pytest.mark.usefixtures("fuse")

NAME = "bed.test"
FIELDS = {"step", "result", "facts", "cause", "remedy"}
RESULTS = {"ok", "failed", "warning", "skipped"}
LOCAL = ["machine", "options", "credentials", "name"]
CERTIFICATE = [
    "certificate",
    "certificate-validity",
    "certificate-name",
    "certificate-extended-key-usage",
    "certificate-key-usage",
    "certificate-strength",
    "certificate-authority",
    "certificate-chain",
]
SMB = ["negotiate", "sign-on", "share", "root", "log-off"]
MOUNT_FAILED = 32


@dataclass(frozen=True)
class Found:
    """What the doctor has said."""

    code: int
    steps: dict[str, dict[str, Any]]

    def having(self, result: str) -> list[str]:
        """Steps with that result, in their order."""
        return [name for name, step in self.steps.items() if step["result"] == result]

    def facts(self, step: str) -> dict[str, Any]:
        return dict(self.steps[step]["facts"])

    def cause(self, step: str) -> str:
        return str(self.steps[step]["cause"])


def doctor(unc: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it; no secret may be in what it prints, whatever else is."""
    done = run_smbfs("doctor", unc, *arguments)
    for user in (ALICE, BOB):
        assert user.password not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def examine(unc: str, *options: str) -> Found:
    """Examine a share and check the form of the answer."""
    done = doctor(unc, "--json", "-o", ",".join(options))
    steps = json.loads(done.stdout)
    for step in steps:
        assert set(step) == FIELDS
        assert step["result"] in RESULTS
        assert isinstance(step["facts"], dict)
        assert (step["cause"] is None) == (step["result"] == "ok"), step
        if step["result"] == "failed":
            assert step["remedy"], step
    found = Found(done.returncode, {step["step"]: step for step in steps})
    assert len(found.steps) == len(steps)
    assert (found.code == 0) == (found.having("failed") == [])
    return found


@pytest.fixture(scope="module")
def gateway(
    samba: SambaServer, pki: Pki, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QuicGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with quic_gateway(folder, samba.port, [pki.leaf("lasting")]) as running:
        yield running


@pytest.fixture
def alice(samba: SambaServer) -> str:
    return f"credentials={samba.credentials_file(ALICE)}"


@pytest.fixture
def by_name(alice: str, pki: Pki) -> tuple[str, ...]:
    """Options that lead to this machine by its name in certificates."""
    return (alice, f"ip={HOST}", f"quic_ca={pki.ca}")


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of TCP that is taken, and not listened on."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        yield bound.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of UDP where everything is heard and nothing answered."""
    with socket.socket(type=socket.SOCK_DGRAM) as bound:
        bound.bind((HOST, 0))
        yield bound.getsockname()[1]


# --- what works -------------------------------------------------------------------------------


def test_all_is_well_over_tcp(samba: SambaServer, alice: str) -> None:
    found = examine(samba.unc(), alice, "transport=tcp")
    assert found.code == 0
    assert list(found.steps) == [*LOCAL, "tcp", "quic", "certificate", *SMB]
    assert found.having("ok") == [*LOCAL, "tcp", *SMB]
    assert found.having("skipped") == ["quic", "certificate"]
    assert found.facts("name")["addresses"] == [HOST]
    assert found.facts("tcp")["port"] == samba.port
    assert 0 < found.facts("tcp")["round_trip_ms"] < 1000
    negotiated = found.facts("negotiate")
    assert (negotiated["dialect"], negotiated["signing"]) == ("3.1.1", "aes-128-gmac")
    assert negotiated["cipher"] == "aes-128-gcm"
    assert len(negotiated["server_guid"]) == 36
    assert found.facts("credentials") == {"user": "alice", "source": alice.replace("=", " file ")}
    assert found.facts("sign-on") == {"mechanism": "ntlm", "user": "alice"}
    assert (found.facts("share")["type"], found.facts("share")["encryption"]) == ("disk", None)


def test_all_is_well_over_quic(by_name: tuple[str, ...], gateway: QuicGateway, pki: Pki) -> None:
    found = examine(f"//{NAME}/share", *by_name, "transport=quic", f"quic_port={gateway.port}")
    assert found.code == 0
    assert found.having("skipped") == ["tcp"]
    assert found.having("ok") == [*LOCAL, "quic", *CERTIFICATE, *SMB, "quic-datagrams"]
    quic = found.facts("quic")
    assert (quic["tls"], quic["alpn"], quic["chosen"]) == ("1.3", "smb", True)
    assert quic["cipher"].startswith("AES_")
    assert 0 < quic["round_trip_ms"] < 1000
    assert found.facts("certificate")["sha256"] == pki.leaf("lasting").sha256
    assert found.facts("certificate-validity")["days_left"] == 49
    assert NAME in found.facts("certificate-name")["san"]
    assert found.facts("certificate-strength")["key_bits"] == 256
    # Loopback carries more than what every path does.
    assert found.facts("quic-datagrams")["size_bytes"] > 1200


def test_auto_chooses_as_a_mount_does(
    samba: SambaServer, by_name: tuple[str, ...], gateway: QuicGateway, closed_port: int
) -> None:
    """What fails on the way that is not taken keeps nobody from mounting."""
    quic_port = f"quic_port={gateway.port}"
    both = examine(f"//{NAME}:{samba.port}/share", *by_name, quic_port)
    assert (both.facts("tcp")["chosen"], both.facts("quic")["chosen"]) == (True, False)
    assert both.having("warning") == []
    gateway.wait_said(r"ended .*\(0 bytes to the server")  # Not as late as its patience ends.
    assert "quic-datagrams" not in both.steps
    quic = examine(f"//{NAME}:{closed_port}/share", *by_name, quic_port)
    assert (quic.facts("tcp")["chosen"], quic.facts("quic")["chosen"]) == (False, True)
    assert quic.having("warning") == ["tcp"]
    assert (both.code, quic.code) == (0, 0)


def test_a_sealed_share_is_told(samba: SambaServer, alice: str) -> None:
    found = examine(samba.unc("sealed"), alice, "transport=tcp")
    assert found.facts("share")["encryption"] == "aes-128-gcm"


# --- certificates -----------------------------------------------------------------------------


@contextmanager
def front(folder: Path, samba: SambaServer, pki: Pki, kind: str) -> Iterator[QuicGateway]:
    with quic_gateway(folder, samba.port, [pki.leaf(kind)]) as running:
        yield running


@pytest.mark.parametrize(
    ("kind", "refused", "words"),
    [
        ("wrong_name", ["name"], "is for another name"),
        ("expired", ["validity"], "has expired"),
        ("foreign", ["authority"], "nobody whom we trust"),
        ("client", ["name", "extended-key-usage"], "made for something else"),
    ],
)
def test_each_requirement_is_listed_and_nothing_of_smb_is_sent(
    samba: SambaServer,
    by_name: tuple[str, ...],
    pki: Pki,
    tmp_path: Path,
    kind: str,
    refused: list[str],
    words: str,
) -> None:
    with front(tmp_path, samba, pki, kind) as running:
        where = (*by_name, "transport=quic", f"quic_port={running.port}")
        found = examine(f"//{NAME}/share", *where)
        running.wait_said(r"refused .*closed by the client \(code 0x12a")
        assert "to the server" not in running.log()
        with (
            pytest.raises(MountFailed) as caught,
            mount(f"//{NAME}/share", tmp_path / "mnt", "-o", ",".join(where)),
        ):
            pass
    names = [f"certificate-{name}" for name in refused]
    assert found.having("failed") == names
    assert found.code == caught.value.code == MOUNT_FAILED
    assert set(CERTIFICATE) <= set(found.steps)
    unclear = ["certificate-chain"] if kind == "foreign" else []
    assert found.having("skipped") == ["tcp", *unclear, *SMB]
    assert words in found.cause(names[-1])
    for line in found.cause(names[0]).splitlines():
        assert line in caught.value.output, "a mount says it in other words"
    assert found.steps[names[0]]["remedy"] in caught.value.output


def test_an_end_that_is_near_is_a_warning(
    samba: SambaServer, by_name: tuple[str, ...], pki: Pki, tmp_path: Path
) -> None:
    with front(tmp_path, samba, pki, "server") as running:
        found = examine(f"//{NAME}/share", *by_name, "transport=quic", f"quic_port={running.port}")
    assert found.code == 0
    assert found.having("warning") == ["certificate-validity"]
    assert "certificate ends on" in found.cause("certificate-validity")


def test_a_server_that_wants_ours(
    samba: SambaServer, by_name: tuple[str, ...], pki: Pki, tmp_path: Path
) -> None:
    """It says so after the handshake, when we have believed it."""
    ours = pki.leaf("client")
    allow = ("--client-cert-sha256", ours.sha256)
    with quic_gateway(tmp_path, samba.port, [pki.leaf("lasting")], *allow) as running:
        where = (f"//{NAME}/share", *by_name, "transport=quic", f"quic_port={running.port}")
        without = examine(*where)
        having = examine(*where, f"quic_cert={ours.cert}", f"quic_key={ours.key}")
    assert without.having("failed") == ["negotiate"]
    assert "wants a certificate of ours" in without.cause("negotiate")
    assert having.code == 0


def test_a_pin_stands_for_the_rest(
    samba: SambaServer, alice: str, pki: Pki, tmp_path: Path
) -> None:
    pin = pki.leaf("self_signed").sha256
    with front(tmp_path, samba, pki, "self_signed") as running:
        where = (alice, f"ip={HOST}", "transport=quic", f"quic_port={running.port}")
        good = examine("//any.name/share", *where, f"quic_pin={pin}")
        bad = examine("//any.name/share", *where, f"quic_pin={'0' * 64}")
    assert (good.code, bad.code) == (0, MOUNT_FAILED)
    assert good.steps["certificate-pin"]["result"] == "ok"
    assert good.steps["certificate-name"]["cause"] == "the certificate is pinned"
    assert bad.having("failed") == ["certificate-pin"]
    assert pin in bad.cause("certificate-pin")


# --- the network ------------------------------------------------------------------------------


def test_nothing_listens(closed_port: int, alice: str) -> None:
    found = examine(f"//{HOST}:{closed_port}/share", alice, "transport=tcp")
    assert found.having("failed") == ["tcp"]
    assert "nothing listens there" in found.cause("tcp")
    assert found.having("skipped") == ["quic", "certificate", *SMB]
    assert found.code == MOUNT_FAILED


def test_silence_on_udp(by_name: tuple[str, ...], silent_port: int) -> None:
    found = examine(
        f"//{NAME}/share", *by_name, "transport=quic", f"quic_port={silent_port}", "timeout=1"
    )
    assert found.having("failed") == ["quic"]
    assert "does not answer" in found.cause("quic")
    assert str(silent_port) in found.cause("quic")
    assert found.having("skipped") == ["tcp", "certificate", *SMB]


def test_neither_way_works(by_name: tuple[str, ...], closed_port: int, silent_port: int) -> None:
    where = (f"//{NAME}:{closed_port}/share", *by_name, f"quic_port={silent_port}", "timeout=1")
    found = examine(*where)
    assert found.having("failed") == ["tcp", "quic"]


def test_a_name_that_nobody_knows(alice: str) -> None:
    found = examine("//nas.invalid/share", alice)
    assert found.having("failed") == ["name"]
    assert "name is not known" in found.cause("name")
    assert "tcp" in found.having("skipped")


# --- the server -------------------------------------------------------------------------------


def administer(server: SambaServer, *arguments: str) -> str:
    """Run Samba's tool for accounts."""
    folder = server._folder
    return subprocess.run(
        [
            program("pdbedit", "samba-common-bin"),
            "--configfile",
            str(folder.config_path),
            *arguments,
        ],
        env={**os.environ, **folder.nss_environment()},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_a_wrong_password_is_tried_once(
    make_samba: Callable[..., SambaServer], pki: Pki, tmp_path: Path
) -> None:
    """Both transports work, and the account counts what it was given."""
    server = make_samba()
    administer(server, "--account-policy=bad lockout attempt", "--value=9")
    path = tmp_path / "credentials"
    path.touch(mode=0o600)
    path.write_text(f"username={ALICE.name}\npassword=not the password\n")
    with front(tmp_path, server, pki, "lasting") as running:
        found = examine(
            f"//{NAME}:{server.port}/share",
            f"credentials={path},ip={HOST},quic_ca={pki.ca},quic_port={running.port}",
        )
    assert found.having("failed") == ["sign-on"]
    assert "wrong user name or password" in found.cause("sign-on")
    assert "not the password" not in str(found)
    assert found.having("skipped")[-3:] == ["share", "root", "log-off"]
    account = administer(server, "--list", "--verbose", f"--user={ALICE.name}")
    (count,) = re.findall(r"Bad password count\s*: (\d+)", account)
    assert count == "1"


def test_an_unknown_share(samba: SambaServer, alice: str) -> None:
    found = examine(samba.unc("none-such"), alice, "transport=tcp")
    assert found.having("failed") == ["share"]
    assert "there is no such share" in found.cause("share")
    assert found.code == MOUNT_FAILED


def test_a_folder_that_may_not_be_opened(
    make_samba: Callable[..., SambaServer], alice: str
) -> None:
    server = make_samba(shares=(Share("share"), Share("hers", {"valid users": BOB.name})))
    denied = examine(server.unc("hers"), alice, "transport=tcp")
    missing = examine(f"{server.unc()}/no/where", alice, "transport=tcp")
    assert (denied.having("failed"), missing.having("failed")) == (["share"], ["root"])
    assert "denied" in denied.cause("share")
    assert "no such folder" in missing.cause("root")


# --- options and credentials ------------------------------------------------------------------


def test_an_unknown_option(samba: SambaServer, alice: str) -> None:
    found = examine(samba.unc(), alice, "singing=required")
    assert (found.code, found.having("failed")) == (1, ["options"])
    assert "no option singing" in found.cause("options")
    assert "did you mean" in found.steps["options"]["remedy"]
    assert found.having("ok") == ["machine"]
    assert "tcp" in found.having("skipped")
    done = doctor(samba.unc(), "--singing", "required")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--signing" in done.stderr


def test_no_credentials_are_no_reason_not_to_look_at_the_network(samba: SambaServer) -> None:
    found = examine(samba.unc(), "user=alice,transport=tcp")
    assert found.having("failed") == ["credentials"]
    assert found.steps["tcp"]["result"] == "ok"
    assert found.having("skipped")[-5:] == SMB


def test_a_password_in_the_address_is_not_repeated() -> None:
    for arguments in ((), ("--json",)):
        done = doctor("smb://alice:hunter2@nas/share", *arguments)
        assert done.returncode == 1
        assert "hunter2" not in done.stdout + done.stderr


def test_what_people_read(samba: SambaServer, alice: str) -> None:
    good = doctor(samba.unc(), "-o", f"{alice},transport=tcp")
    assert good.returncode == 0
    assert good.stdout.splitlines()[-1] == f"{samba.unc()} can be mounted."
    assert re.search(r"^ok +negotiate +dialect 3\.1\.1; ", good.stdout, re.MULTILINE)
    assert re.search(r"round trip [0-9.]+ ms", good.stdout)
    bad = doctor(samba.unc("none-such"), "-o", f"{alice},transport=tcp")
    assert re.search(
        r"^FAILED +share\n {9}//.*no such share\.\n {9}Why: .*\n {9}Do:  ", bad.stdout, re.MULTILINE
    )
    assert bad.stdout.splitlines()[-1] == f"{samba.unc('none-such')} can't be mounted: share."


def test_a_machine_without_fuse(
    samba: SambaServer, alice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = examine(samba.unc(), alice, "transport=tcp")
    assert found.having("failed") == ["machine"]
    assert "fusermount3 is missing" in found.cause("machine")
    assert (found.code, found.steps["root"]["result"]) == (2, "ok")


def test_a_library_that_can_not_be_loaded(
    samba: SambaServer, alice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount says the same."""
    (tmp_path / "pyfuse3.py").write_text("raise ImportError('libfuse3.so.4: no such file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = examine(samba.unc(), alice, "transport=tcp")
    assert (found.code, found.having("failed")) == (2, ["machine"])
    assert "a library that smbfs needs" in found.cause("machine")
    with pytest.raises(MountFailed) as caught, mount(samba.unc(), tmp_path / "mnt", "-o", alice):
        pass
    assert caught.value.code == found.code
    for line in found.cause("machine").splitlines()[1:]:
        assert line in caught.value.output
    assert "libfuse3.so.4" in caught.value.output
