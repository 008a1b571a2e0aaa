"""Mounting with Kerberos: a KDC of the tests' own, and a Samba that takes its tickets."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which

import pytest

from tests.beds.copier import Copying
from tests.beds.kdc import REALM, SERVER_NAME, Kdc
from tests.beds.mounted import Mounted, MountFailed, mount, run_smbfs
from tests.beds.pki import Pki
from tests.beds.quic_gateway import quic_gateway
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE, BOB, HOST
from tests.conftest import require_fuse
from tests.t6_peers.recovery import assert_works_soon

PRINCIPAL = f"{ALICE.name}@{REALM}"
SPN = f"for cifs/{SERVER_NAME}@"
WITHIN_S = 20.0
CONTENT = bytes(range(256)) * 40_000

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="being two users takes root")


@dataclass
class Bed:
    """A realm, a server in it, and one user's ticket cache, which is not there yet."""

    kdc: Kdc
    samba: SambaServer
    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.env = self.kdc.environment(self.ccache)
        self.env["KRB5_CLIENT_KTNAME"] = str(self.folder / "client.keytab")

    @property
    def ccache(self) -> Path:
        return self.folder / "ccache"

    def sign_on(self, life: str = "1h", renewable: str = "0s") -> None:
        """Get a ticket as the user does."""
        flags = ("-l", life, "-r", life if renewable == "0s" else renewable)
        self.kdc.sign_on(ALICE.name, ALICE.password, *flags, ccache=self.ccache)

    def mount(
        self,
        *options: str,
        share: str = "share",
        name: str = SERVER_NAME,
        env: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[Mounted]:
        given = ",".join((f"ip={HOST}", *options))
        unc = f"//{name}:{self.samba.port}/{share}"
        return mount(unc, self.folder / "mnt", "-v", "-o", given, env=self.env | dict(env or {}))

    def refusal(
        self,
        *options: str,
        name: str = SERVER_NAME,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """What is said when it does not mount."""
        with pytest.raises(MountFailed) as caught, self.mount(*options, name=name, env=env):
            pass
        assert "  Why: " in caught.value.output
        assert "  Do:  " in caught.value.output
        return caught.value.output

    def wait_expired(self) -> None:
        """Wait until the ticket has ended, and for servers too, which count whole seconds."""
        klist, env = ["klist", "-s"], os.environ | self.env
        wait(lambda: subprocess.run(klist, env=env, check=False).returncode != 0)
        ended_s = time.monotonic()
        wait(lambda: time.monotonic() > ended_s + 1)

    def tickets_given(self) -> int:
        """How many tickets for the server the KDC has given so far."""
        return self.kdc.log().count(SPN)


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not until():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def realm_samba(kdc: Kdc, beds_folder: Path) -> Iterator[SambaServer]:
    require_fuse()
    with SambaServer(
        beds_folder / "realm", globals=kdc.samba_globals(), env=kdc.environment()
    ) as server:
        yield server


@pytest.fixture
def bed(kdc: Kdc, realm_samba: SambaServer, tmp_path: Path) -> Bed:
    return Bed(kdc, realm_samba, tmp_path)


def assert_writes(bed: Bed, mounted: Mounted, share: str = "share") -> None:
    (mounted.path / "made").write_bytes(CONTENT)
    made = bed.samba.share_path(share) / "made"
    assert made.read_bytes() == CONTENT
    if os.geteuid() == 0:
        assert made.stat().st_uid == ALICE.uid
    (mounted.path / "made").unlink()


def assert_kerberos(mounted: Mounted) -> None:
    status = mounted.status()
    assert (status["auth"], status["user"]) == ("kerberos", PRINCIPAL)


@pytest.mark.parametrize("options", [(), ("sec=krb5i", "vers=2.1"), ("vers=3.0.2", "block_ntlm")])
def test_a_ticket_mounts(bed: Bed, options: tuple[str, ...]) -> None:
    bed.sign_on()
    with bed.mount(*options) as mounted:
        assert_kerberos(mounted)
        assert_writes(bed, mounted)
        status = mounted.status()
        assert status["ticket"]["source"] == f"ticket cache FILE:{bed.ccache}"
        log = Path(status["log"]).read_text()
        assert f"credentials of {PRINCIPAL} from ticket cache FILE:{bed.ccache}" in log
        assert f"credentials: ticket cache FILE:{bed.ccache}" in mounted.output()


@pytest.mark.parametrize(
    "cipher",
    [
        "AES-256-GCM",
        pytest.param("AES-256-CCM", marks=pytest.mark.long),
        pytest.param("AES-128-GCM", marks=pytest.mark.long),
    ],
)
def test_a_sealed_share(bed: Bed, make_samba: Callable[..., SambaServer], cipher: str) -> None:
    """Ciphers of 256 bits take the whole key of the ticket. See [MS-SMB2] 3.2.5.3.3."""
    ciphers = {"server smb3 encryption algorithms": cipher}
    bed.samba = make_samba(
        globals={**bed.kdc.samba_globals(), **ciphers}, env=bed.kdc.environment()
    )
    bed.sign_on()
    with bed.mount(share="sealed") as mounted:
        assert_kerberos(mounted)
        assert mounted.status()["encryption"] == cipher.lower()
        assert_writes(bed, mounted, "sealed")


def test_over_quic(bed: Bed, pki: Pki) -> None:
    bed.sign_on()
    with quic_gateway(bed.folder, bed.samba.port, [pki.leaf("server")]) as gateway:
        options = f"transport=quic,quic_port={gateway.port},quic_ca={pki.ca}"
        with bed.mount("auth=kerberos", options) as mounted:
            assert_kerberos(mounted)
            assert mounted.status()["transport"] == "quic"
            assert_writes(bed, mounted)


# ------------------------------------------------------------------------------ refusals


def test_a_ticket_lists_the_shares(bed: Bed) -> None:
    bed.sign_on()
    server = f"//{SERVER_NAME}:{bed.samba.port}"
    done = run_smbfs("shares", f"{SERVER_NAME}:{bed.samba.port}", "-o", f"ip={HOST}", env=bed.env)
    assert done.returncode == 0, done.stderr
    assert f"{server}/share" in done.stdout.splitlines()


def test_without_a_ticket(bed: Bed) -> None:
    said = bed.refusal("auth=kerberos")
    assert "there is no Kerberos ticket" in said
    assert "kinit" in said
    assert "error 126" in said


def test_with_a_ticket_that_has_expired(bed: Bed) -> None:
    bed.sign_on("1s")
    bed.wait_expired()
    said = bed.refusal("auth=kerberos")
    assert "the Kerberos ticket has expired" in said
    assert PRINCIPAL in said


def test_with_another_users_ticket(bed: Bed) -> None:
    bed.sign_on()
    assert f"is {PRINCIPAL}'s, not bob's" in bed.refusal("auth=kerberos", f"user={BOB.name}")


@pytest.mark.parametrize("name", ["other.test", HOST])
def test_a_name_that_the_kdc_does_not_know(bed: Bed, name: str) -> None:
    bed.sign_on()
    said = bed.refusal("auth=kerberos", name=name)
    assert f"the KDC does not know the server as cifs/{name}" in said


def test_a_kdc_that_can_not_be_reached(bed: Bed) -> None:
    bed.sign_on()
    bed.kdc.stop()
    try:
        said = bed.refusal("auth=kerberos")
    finally:
        bed.kdc.start()
    assert "no KDC answers" in said
    assert "kdc_proxy=" in said


def test_clocks_too_far_apart(bed: Bed) -> None:
    """The cache remembers how far the KDC's clock was ahead; this one remembers an hour too much.

    A real clock can't be set in a test; the KDC's answer is real.
    """
    bed.sign_on("10h")
    content = bytearray(bed.ccache.read_bytes())
    content[8:12] = (3600).to_bytes(4, "big")
    bed.ccache.write_bytes(content)
    assert "the clocks of this machine and the KDC are too far apart" in bed.refusal(
        "auth=kerberos"
    )


def test_a_server_without_the_key(bed: Bed) -> None:
    """Its account got another key, and its keytab is the old one: then it gets the new one."""
    bed.sign_on()
    bed.kdc.administer("cpw", "-randkey", f"cifs/{SERVER_NAME}")
    try:
        said = bed.refusal("auth=kerberos")
        # Nothing is tried in its place, as long as it is not said that it may.
        assert said == bed.refusal("auth=auto")
    finally:
        bed.kdc.write_keytab(f"cifs/{SERVER_NAME}", bed.kdc.service_keytab)
    assert "the server does not accept the Kerberos ticket" in said
    assert "KRB_AP_ERR_MODIFIED" in said
    with bed.mount("auth=kerberos") as mounted:
        assert_kerberos(mounted)


def test_a_server_that_does_not_know_kerberos(bed: Bed, samba: SambaServer) -> None:
    bed.samba = samba
    bed.sign_on()
    said = bed.refusal()
    assert "Kerberos" in said
    assert "auth=ntlm" in said


# -------------------------------------------------------------------- kerberos, or ntlm


def test_without_a_ticket_auto_is_ntlm(bed: Bed) -> None:
    with bed.mount(f"credentials={bed.samba.credentials_file()}") as mounted:
        assert mounted.status()["auth"] == "ntlm"


def test_a_password_that_is_given_goes_before_a_ticket(bed: Bed) -> None:
    bed.sign_on()
    password = f"credentials={bed.samba.credentials_file()}"
    with bed.mount(password) as mounted:
        assert mounted.status()["auth"] == "ntlm"
    with bed.mount(password, "auth=kerberos") as mounted:
        assert_kerberos(mounted)


def test_blocked_ntlm_is_not_tried(bed: Bed) -> None:
    password = f"credentials={bed.samba.credentials_file()}"
    said = bed.refusal("block_ntlm", password)
    assert "only NTLM is left" in said
    assert "no Kerberos ticket" in said


# --------------------------------------------------------------------------- the sources


@pytest.mark.parametrize("kind", ["option", "environment"])
def test_a_keytab_mounts_without_a_ticket(bed: Bed, kind: str) -> None:
    keytab = bed.folder / "client.keytab"
    machine = f"machine-{kind}"
    bed.kdc.add_principal(machine)
    bed.kdc.write_keytab(machine, keytab)
    options = (f"keytab={keytab}",) if kind == "option" else ()
    # The server has to have an account for whoever signs on.
    bed.kdc.administer("ktadd", "-k", str(keytab), "-norandkey", ALICE.name)
    with bed.mount("auth=kerberos", f"user={ALICE.name}", *options) as mounted:
        assert_kerberos(mounted)
        assert mounted.status()["ticket"]["source"] == f"keytab FILE:{keytab}"
        assert_writes(bed, mounted)
    assert not bed.ccache.exists()


def test_a_cache_in_a_folder(bed: Bed) -> None:
    folder = bed.folder / "caches"
    folder.mkdir(mode=0o700)
    bed.kdc.sign_on(BOB.name, BOB.password, ccache=folder / "tkt")
    bed.kdc.sign_on(ccache=folder / "tkt-alice")
    with bed.mount(f"user={ALICE.name}", env={"KRB5CCNAME": f"DIR:{folder}"}) as mounted:
        assert_kerberos(mounted)


def kinit(bed: Bed, uid: int, env: Mapping[str, str]) -> None:
    """Get a ticket as another user, in whatever cache is that user's."""
    assert which("setpriv")
    become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    subprocess.run(
        [*become, "kinit", ALICE.name],
        input=f"{ALICE.password}\n",
        text=True,
        check=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"], **env},
        cwd="/",
    )


@needs_root
@pytest.mark.parametrize("kind", ["FILE", pytest.param("DIR", marks=pytest.mark.long), "KEYRING"])
def test_root_mounts_with_a_users_tickets(bed: Bed, beds_folder: Path, kind: str) -> None:
    """Where libkrb5 keeps them for that user; they are read again when they have ended."""
    uid = 23450 + os.getpid() % 1000
    folder = beds_folder / f"caches-{kind}"
    folder.mkdir()
    folder.chmod(0o1777)
    private = folder / f"private-{uid}"
    private.mkdir(mode=0o700)
    os.chown(private, uid, uid)
    name = {
        "FILE": f"FILE:{folder}/krb5cc_%{{uid}}",
        "DIR": f"DIR:{folder}/private-%{{uid}}",
        "KEYRING": "KEYRING:persistent:%{uid}",
    }[kind]
    config = beds_folder / f"krb5.{kind}.conf"
    config.write_text(f"[libdefaults]\n default_ccache_name = {name}\n")
    env = {"KRB5_CONFIG": f"{config}:{bed.kdc.config_path}"}
    said = bed.refusal("auth=kerberos", f"cruid={uid}", env=env)
    assert "there is no Kerberos ticket" in said
    kinit(bed, uid, env)
    # KRB5CCNAME is that of root: it has nothing to do with it.
    with bed.mount("auth=kerberos", f"cruid={uid}", env=env) as mounted:
        assert_kerberos(mounted)
        source = mounted.status()["ticket"]["source"]
        assert source.startswith(f"ticket cache {kind}:")
        assert str(uid) in source
        if kind == "KEYRING":
            kinit(bed, uid, env)
            given = bed.tickets_given()
            bed.samba.restart()
            assert_works_soon(mounted)
            assert bed.tickets_given() == given + 1, "it was not read again"
    assert not [pid for pid in Path("/proc").glob("[0-9]*") if pid.stat().st_uid == uid]


# ------------------------------------------------------------------- when the ticket ends


def test_a_configuration_that_is_broken_meanwhile_ends_no_mount(bed: Bed) -> None:
    """Somebody may be writing it just when the ticket is looked at."""
    config = bed.folder / "more.krb5.conf"
    config.write_text("[libdefaults]\n")
    env = {"KRB5_CONFIG": f"{config}:{bed.kdc.config_path}"}
    bed.sign_on("6s")
    with bed.mount("auth=kerberos", env=env) as mounted:
        config.write_text("[libdefaults\n")
        bed.wait_expired()
        assert mounted.status()["mountpoint"] == str(mounted.path)
        config.write_text("[libdefaults]\n")
        bed.sign_on()
        assert_works_soon(mounted)
    config.write_text("[libdefaults\n")
    assert "Improper format of Kerberos configuration file" in bed.refusal("auth=kerberos", env=env)


def test_a_copy_outlives_its_ticket(bed: Bed) -> None:
    """The user has got another one meanwhile. Samba ends the session with the ticket."""
    bed.sign_on("6s")
    source = bed.folder / "source"
    source.write_bytes(CONTENT)
    with bed.mount() as mounted:
        given = bed.tickets_given()
        with Copying(source, mounted.path / "copied") as copying:
            copying.wait_half()
            bed.wait_expired()
            bed.sign_on()
            copying.go_on()
            report = copying.report(WITHIN_S)
        assert report.failed == ""
        assert (bed.samba.share_path() / "copied").read_bytes() == CONTENT
        status = mounted.status()
        assert status["errors"]["STATUS_NETWORK_SESSION_EXPIRED"] >= 1
        assert status["reconnects"] == 0, "it went on in place"
        assert bed.tickets_given() == given + 1
        (mounted.path / "copied").unlink()


@pytest.mark.long
def test_all_channels_go_on_with_one_ticket(
    bed: Bed, make_samba: Callable[..., SambaServer]
) -> None:
    """The user has got it before the other one ended, and gets no third one."""
    bed.samba = make_samba(globals=bed.kdc.samba_globals(), env=bed.kdc.environment())
    bed.sign_on("6s")
    with bed.mount("max_channels=2", "cache=none") as mounted, ThreadPoolExecutor(4) as readers:
        wait(lambda: mounted.status()["channels"] == 2)
        bed.sign_on()
        path = mounted.path / "read"
        path.write_bytes(CONTENT)

        def read_until_it_has_expired() -> None:
            while "STATUS_NETWORK_SESSION_EXPIRED" not in mounted.status()["errors"]:
                assert path.read_bytes() == CONTENT

        for done in [readers.submit(read_until_it_has_expired) for _ in range(4)]:
            done.result(WITHIN_S)
        assert path.read_bytes() == CONTENT
        log = Path(mounted.status()["log"]).read_text()
        assert "has expired" not in log
        assert mounted.status()["state"] == "connected"


def test_a_ticket_is_renewed_before_it_ends(bed: Bed) -> None:
    bed.sign_on("8s", renewable="1h")
    with bed.mount() as mounted:
        first = mounted.status()["ticket"]["ends"]
        wait(lambda: mounted.status()["ticket"]["ends"] > first)
        log = Path(mounted.status()["log"])
        assert "the Kerberos ticket was renewed" in log.read_text()
        assert "ends at" not in log.read_text()
        assert_writes(bed, mounted)


def test_without_another_ticket_everybody_waits_and_is_told_why(bed: Bed) -> None:
    bed.sign_on("6s")
    with bed.mount() as mounted:
        log = Path(mounted.status()["log"])
        with (mounted.path / "open").open("wb", buffering=0) as file:
            file.write(b"before")
            wait(lambda: "the Kerberos ticket ends at" in log.read_text())
            assert "[ticket-ends]" in log.read_text()
            bed.wait_expired()
            with subprocess.Popen(["touch", str(mounted.path / "asked for")]) as touch:
                wait(lambda: mounted.status()["state"] != "connected")
                status = mounted.status()
                assert status["state"] == "reconnecting"
                assert "the Kerberos ticket has expired" in status["reason"]
                assert touch.poll() is None
                bed.sign_on()
                assert touch.wait(WITHIN_S) == 0
            assert_kerberos(mounted)
            file.write(b" and after")
            os.fsync(file.fileno())
        assert (bed.samba.share_path() / "open").read_bytes() == b"before and after"
        for name in ("open", "asked for"):
            (mounted.path / name).unlink()


@pytest.mark.long
def test_a_server_that_was_restarted_meanwhile_waits_for_a_ticket_too(bed: Bed) -> None:
    bed.sign_on("4s")
    with bed.mount("timeout=3") as mounted:
        bed.wait_expired()
        bed.samba.restart()
        wait(lambda: mounted.status()["state"] == "offline")
        assert "the Kerberos ticket has expired" in mounted.status()["reason"]
        bed.sign_on()
        assert_works_soon(mounted)


@pytest.mark.long
def test_a_keytab_gets_another_ticket(bed: Bed) -> None:
    keytab = bed.folder / "keytab"
    bed.kdc.administer("ktadd", "-k", str(keytab), "-norandkey", ALICE.name)
    config = bed.folder / "short.conf"
    config.write_text("[libdefaults]\n ticket_lifetime = 4s\n")
    env = {"KRB5_CONFIG": f"{config}:{bed.kdc.config_path}"}
    with bed.mount("auth=kerberos", f"keytab={keytab}", env=env) as mounted:
        (mounted.path / "first").touch()

        def has_expired() -> bool:
            (mounted.path / "first").touch()
            return "STATUS_NETWORK_SESSION_EXPIRED" in mounted.status()["errors"]

        wait(has_expired)
        assert_writes(bed, mounted)
        assert mounted.status()["reconnects"] == 0
        (mounted.path / "first").unlink()


def test_a_file_that_is_read_outlives_its_session_and_its_server(bed: Bed) -> None:
    """The ticket is renewed, the session ends with the first one, and the server is restarted."""
    bed.sign_on("6s", renewable="1h")
    (bed.samba.share_path() / "read").write_bytes(CONTENT)
    half = len(CONTENT) // 2
    with (
        bed.mount("cache=none") as mounted,
        (mounted.path / "read").open("rb", buffering=0) as file,
    ):
        before = file.read(half)

        def has_expired() -> bool:
            os.pread(file.fileno(), 1, 0)
            return "STATUS_NETWORK_SESSION_EXPIRED" in mounted.status()["errors"]

        wait(has_expired)
        bed.samba.restart()
        assert before + file.read() == CONTENT
        assert mounted.status()["reconnects"] >= 1
        assert_kerberos(mounted)
        assert_writes(bed, mounted)
    (bed.samba.share_path() / "read").unlink()
