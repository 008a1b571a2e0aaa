"""What the audit says of connections that were refused, by the servers that bring it about."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from smbfs.wire.dialect import Dialect
from smbfs.wire.negotiate import SecurityMode
from tests.beds.machine import Machine
from tests.beds.mounted import SMBFS
from tests.beds.pki import Pki
from tests.beds.quic_gateway import quic_gateway
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import HOST
from tests.beds.scripted_listener import listen
from tests.beds.scripted_server import ScriptedServer
from tests.beds.secret_service import SecretService

Variants = Callable[[str], SambaServer]


class Audited:
    """Mounts in a machine without a journal, and tells what was recorded."""

    def __init__(self, here: Machine, samba: SambaServer) -> None:
        self._here = here
        self._credentials = samba.credentials_file()

    def mount(self, unc: str, options: str = "") -> None:
        """Try to mount, for a moment."""
        where = str(self._here.folder / "mnt")
        self._run("mount", unc, where, options=options)
        self._here.run("sh", "-c", f"! mountpoint -q {where} || umount {where}")

    def examine(self, unc: str, options: str = "") -> None:
        """Have `smbfs doctor` look."""
        self._run("doctor", unc, options=options)

    def _run(self, *command: str, options: str) -> None:
        if not {"guest", "credentials"} & {each.partition("=")[0] for each in options.split(",")}:
            options += f",credentials={self._credentials}"
        self._here.smbfs(*command, "-o", f"timeout=5,{options}")

    def events(self) -> list[tuple[str, str, int | None]]:
        """Share, event and Windows' id of all that happened, but for what goes without saying."""
        events = json.loads(self._here.smbfs("audit", "--json").stdout)
        return [
            (event["unc"], event["event"], event["windows_event"])
            for event in events
            if event["event"] not in {"credential-used", "disconnected"}
        ]


def test_refused_connections(
    make_machine: Callable[..., Machine], samba: SambaServer, samba_variant: Variants
) -> None:
    audited = Audited(make_machine(), samba)
    missing, unknown = samba.unc("none-such"), "//nas.invalid/share"
    smb_1, old = samba_variant("smb-1").unc(), samba_variant("smb-2.1").unc()
    audited.mount(missing)
    audited.examine(missing, "transport=tcp")
    audited.mount(unknown)
    with socket.socket() as bound:  # a port that is taken, and not listened on
        bound.bind((HOST, 0))
        closed = f"//{HOST}:{bound.getsockname()[1]}/share"
        audited.mount(closed, "transport=tcp")
    audited.mount(smb_1)
    audited.mount(old, "vers=3.0")
    audited.mount(old, "seal")
    with listen(lambda: ScriptedServer(Dialect.SMB_2_1, security_mode=SecurityMode(0))) as port:
        unsigned = f"//{HOST}:{port}/share"
        audited.mount(unsigned)
    assert audited.events() == [
        (missing, "share-refused", 31010),
        (missing, "share-refused", 31010),
        (unknown, "connection-failed", 30800),
        (closed, "connection-failed", 30803),
        (smb_1, "dialect-refused", 30816),  # It hangs up; Windows has 32000 for who answers.
        (old, "dialect-refused", 30816),
        (old, "encryption-not-offered", None),
        (unsigned, "signing-not-offered", None),
    ]


def test_guests(
    make_machine: Callable[..., Machine], samba: SambaServer, samba_variant: Variants
) -> None:
    here = make_machine()
    audited = Audited(here, samba)
    unc = samba_variant("guest").unc("public")
    stranger = here.folder / "stranger"
    stranger.write_text("username=stranger\npassword=secret\n")
    stranger.chmod(0o600)
    audited.mount(unc, f"credentials={stranger}")
    audited.mount(unc, "guest,allow_insecure_guest,signing=if-offered")
    assert audited.events() == [
        (unc, "guest-refused", 31017),
        (unc, "protection-lowered", None),
        (unc, "insecure-guest-allowed", 31018),
        (unc, "connected", None),
        (unc, "insecure-guest-used", 31022),
    ]


def test_who_only_asks_for_less_is_told_of_too(
    make_machine: Callable[..., Machine], samba: SambaServer, tmp_path: Path
) -> None:
    """Whatever signs on, or is kept from it by the policy: not mounts alone."""
    here = make_machine()
    audited = Audited(here, samba)
    unc, server, user = samba.unc(), f"//{HOST}:{samba.port}", "alice@TEST.LOCAL"
    less = ("-o", "signing=if-offered")
    audited.examine(unc, less[1])
    log_in = f'echo wrong | "$0" login {server} --user alice --password-stdin -o "$1"'
    said = ""
    with SecretService(tmp_path / "desktop") as desktop:
        for options in (less[1], "auth=kerberos"):
            done = here.run(
                "sh", "-c", log_in, str(SMBFS), options, environment=desktop.environment()
            )
            assert done.returncode == 32, done.stderr
            said += done.stderr
    assert "only Kerberos is to be used" in said
    assert "That is decided by auth=kerberos (-o)." in said
    policy = tmp_path / "policy" / "policy.toml"
    policy.parent.mkdir(mode=0o700)
    policy.write_text("require_signing = true")
    under = ["-m", "tests.beds.under_policy", str(policy), "smbfs"]
    for command in (
        ["mount", f"smb:{unc}", str(here.folder / "mnt")],
        ["login", "--kerberos", user],
    ):
        path = {"PYTHONPATH": str(Path(__file__).parents[2])}
        done = here.run(sys.executable, *under, *command, *less, environment=path)
        assert done.returncode == 1, done.stderr
    nobody = {"KRB5_CONFIG": str(tmp_path / "none"), "KRB5CCNAME": f"FILE:{tmp_path / 'none'}"}
    place = str(here.folder / "mnt")
    done = here.run(str(SMBFS), "mount", unc, place, "-o", "auth=kerberos", environment=nobody)
    assert "there is no Kerberos ticket" in done.stderr
    done = here.run(
        *("sh", "-c", f"echo wrong | {SMBFS} login --kerberos {user} --password-stdin"),
        environment=nobody,
    )
    assert done.returncode == 32, done.stderr
    assert audited.events() == [
        (unc, "protection-lowered", None),
        (server, "protection-lowered", None),
        (server, "logon-failed", 31001),
        (server, "logon-failed", 31001),
        (unc, "policy-override-refused", None),
        (user, "policy-override-refused", None),
        (unc, "logon-failed", 31001),
        (user, "logon-failed", 31001),
    ]


def test_certificates(
    make_machine: Callable[..., Machine], samba: SambaServer, pki: Pki, tmp_path: Path
) -> None:
    audited = Audited(make_machine(), samba)
    known = f"transport=quic,ip={HOST},quic_ca={pki.ca}"
    unc = "//bed.test/share"
    allow = ("--client-cert-sha256", pki.leaf("client").sha256)
    for kind, options in (("wrong_name", ()), ("server", allow)):
        folder = tmp_path / kind
        folder.mkdir()
        with quic_gateway(folder, samba.port, [pki.leaf(kind)], *options) as front:
            audited.mount(unc, f"{known},quic_port={front.port}")
    assert audited.events() == [
        (unc, "certificate-refused", None),
        (unc, "certificate-refused", 30831),
    ]
