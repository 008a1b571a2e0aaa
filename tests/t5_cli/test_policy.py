"""What rules come to on the wire, with real servers, and what their refusals and the audit say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.beds.mounted import Mounted, mount
from tests.beds.pki import Pki
from tests.beds.quic_gateway import quic_gateway
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import HOST

pytestmark = pytest.mark.usefixtures("fuse")

REPOSITORY = Path(__file__).parents[2]
ANYONES = "allow_insecure_guest = true\n"

Variants = Callable[[str], SambaServer]


@dataclass
class Ruled:
    """A user with a config file, on a machine with a policy."""

    folder: Path

    @property
    def user(self) -> Path:
        return self.folder / "smbfs" / "config.toml"

    @property
    def policy(self) -> Path:
        return self.folder / "etc" / "policy.toml"

    def write(self, path: Path, text: str) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(text)

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.beds.under_policy", str(self.policy)]

    @contextmanager
    def mounted(
        self, server: SambaServer, *options: str, share: str = "share"
    ) -> Iterator[Mounted]:
        if not any("guest" in option for option in options):
            options = ("-o", f"credentials={server.credentials_file()}", *options)
        with mount(server.unc(share), self.folder / "mnt", *options, inside=self.command) as made:
            yield made

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, "smbfs", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=REPOSITORY,
        )

    def refused(self, server: SambaServer, *options: str, code: int = 32) -> str:
        (self.folder / "mnt").mkdir(exist_ok=True)
        credentials = f"credentials={server.credentials_file()}"
        done = self.run(
            "mount", server.unc(), str(self.folder / "mnt"), "-o", credentials, *options
        )
        assert done.returncode == code, done.stderr
        return done.stderr


@pytest.fixture
def ruled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ruled:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return Ruled(tmp_path)


def log_of(mounted: Mounted) -> str:
    return Path(mounted.status()["log"]).read_text()


# --- three ways of switching required signing off ---------------------------------------------


@pytest.mark.parametrize("way", ["command line", "user's file", "policy"])
def test_required_signing_is_switched_off(ruled: Ruled, samba_variant: Variants, way: str) -> None:
    """A guest session is the one that no Samba signs: without the switch there is none."""
    server = samba_variant("guest")
    options = "guest,allow_insecure_guest"
    if way == "command line":
        options += ",signing=if-offered"
        said = "signing=if-offered (-o)"
    elif way == "user's file":
        assert ruled.run("config", "set", "require_signing", "false").returncode == 0
        said = f"require_signing = false ({ruled.user}, line 1)"
    else:
        ruled.write(ruled.policy, f"require_signing = true\n[server.'{HOST}']\nsigning = "
                                  '"if-offered"\n')  # fmt: skip
        said = f'signing = "if-offered" ({ruled.policy}, line 3)'
    with ruled.mounted(server, "-o", options, share="public") as mounted:
        (mounted.path / "by-a-guest").write_text("unsigned")
        status = mounted.status()
        assert (status["auth"], status["signing"]["required"]) == ("guest", False)
        log = log_of(mounted)
    assert f"{server.unc('public')}: less protected than by default: {said}" in log
    assert "[protection-lowered]" in log
    assert "allow_insecure_guest (-o) [insecure-guest-allowed, Windows 31018]" in log


def test_without_the_switch_there_is_no_guest(ruled: Ruled, samba_variant: Variants) -> None:
    server = samba_variant("guest")
    ruled.write(ruled.policy, "require_signing = true\n")
    (ruled.folder / "mnt").mkdir()
    arguments = ("mount", server.unc("public"), str(ruled.folder / "mnt"))
    done = ruled.run(*arguments, "-o", "guest,allow_insecure_guest,signing=if-offered")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-3:] == [
        "smbfs: -o: signing=if-offered is refused by the administrator's policy",
        f"  Why: {ruled.policy}, line 1, says require_signing = true.",
        "  Do:  leave the option out, or ask the administrator.",
    ]
    # Without a journal the audit's line is in the log, which here is stderr.
    ruled.write(ruled.user, "\nrequire_signing = false\n")
    done = ruled.run(*arguments, "-o", "guest,allow_insecure_guest")
    assert f"smbfs: {ruled.user}, line 2: require_signing = false is refused" in done.stderr


# --- every rule on the wire -------------------------------------------------------------------


def test_ciphers_and_their_order(ruled: Ruled, samba: SambaServer) -> None:
    ruled.write(ruled.policy, 'require_encryption = true\nciphers = ["aes-256-gcm", "aes-256-ccm"]')
    with ruled.mounted(samba, "--verbose") as mounted:
        assert mounted.status()["encryption"] == "aes-256-gcm"
        told = mounted.output()
        assert "smbfs: decided by policy: require_encryption = true " in told
        assert f"({ruled.policy}, line 2)" in told
        assert "[protection-lowered]" not in log_of(mounted)
    with ruled.mounted(samba, "-o", "ciphers=aes-256-ccm") as mounted:
        assert mounted.status()["encryption"] == "aes-256-ccm"


def test_signing_algorithms_and_transports(ruled: Ruled, samba: SambaServer) -> None:
    ruled.write(ruled.policy, 'signing_algorithms = ["aes-128-cmac"]\nallowed_transports = ["tcp"]')
    with ruled.mounted(samba) as mounted:
        assert mounted.status()["signing"] == {"required": True, "algorithm": "aes-128-cmac"}
        assert mounted.status()["transport"] == "tcp"


def test_newest_dialect(ruled: Ruled, samba: SambaServer) -> None:
    ruled.write(ruled.policy, 'maximum_dialect = "3.0.2"')
    with ruled.mounted(samba) as mounted:
        assert mounted.status()["dialect"] == "3.0.2"


def test_encryption_over_quic(ruled: Ruled, samba: SambaServer, pki: Pki) -> None:
    """The tunnel encrypts already: this is for who does not want to rely on that."""
    with quic_gateway(ruled.folder, samba.port, [pki.leaf("server")]) as gateway:
        options = f"transport=quic,quic_port={gateway.port},quic_ca={pki.ca}"
        ruled.write(ruled.policy, "require_encryption_over_quic = true")
        with ruled.mounted(samba, "-o", options) as mounted:
            assert mounted.status()["transport"] == "quic"
            assert mounted.status()["encryption"] == "aes-128-gcm"


# --- what can't be had, and who wanted it -----------------------------------------------------


def decided(rule: str, path: Path, line: int = 1) -> str:
    return f"       That is decided by {rule} ({path}, line {line})."


def test_oldest_dialect(ruled: Ruled, samba_variant: Variants) -> None:
    ruled.write(ruled.policy, 'minimum_dialect = "3.0"')
    message = ruled.refused(samba_variant("smb-2.1"))
    assert "none of the dialects from SMB 3.0 on" in message
    assert decided('minimum_dialect = "3.0"', ruled.policy) in message


def test_algorithms_that_an_old_server_lacks(ruled: Ruled, samba_variant: Variants) -> None:
    server = samba_variant("smb-2.1")
    ruled.write(ruled.user, '\nsigning_algorithms = ["aes-128-gmac"]')
    message = ruled.refused(server)
    assert "can sign with hmac-sha256 only" in message
    assert decided('signing_algorithms = ["aes-128-gmac"]', ruled.user, 2) in message
    ruled.write(ruled.user, "require_encryption = true")
    message = ruled.refused(server)
    assert "does not offer encryption" in message
    assert decided("require_encryption = true", ruled.user) in message


def test_quic_alone(ruled: Ruled, samba: SambaServer) -> None:
    ruled.write(ruled.policy, 'allowed_transports = ["quic"]')
    message = ruled.refused(samba, "-o", f"quic_port={samba.port}")
    assert f"UDP port {samba.port}" in message
    assert "TCP" not in message


def test_ntlm_is_blocked_but_for_an_exception(ruled: Ruled, samba: SambaServer) -> None:
    ruled.write(ruled.policy, "# Ours.\nblock_ntlm = true\n")
    message = ruled.refused(samba)
    assert "NTLM is blocked" in message
    assert "0xC0000418" in message
    assert decided("block_ntlm = true", ruled.policy, 2) in message
    ruled.write(ruled.policy, f'block_ntlm = true\nblock_ntlm_exceptions = ["{HOST}"]\n')
    with ruled.mounted(samba) as mounted:
        assert mounted.status()["auth"] == "ntlm"
    # Who blocks it for one mount is told so, too.
    assert "That is decided by block_ntlm (-o)." in ruled.refused(samba, "-o", "block_ntlm")


def test_doctor_says_who_decided(ruled: Ruled, samba: SambaServer) -> None:
    ruled.write(ruled.policy, "block_ntlm = true\n")
    credentials = f"credentials={samba.credentials_file()}"
    done = ruled.run("doctor", samba.unc(), "-o", credentials)
    assert done.returncode == 32
    assert f"That is decided by block_ntlm = true ({ruled.policy}, line 1)." in done.stdout
