"""Tickets through a KDC proxy, where the KDC itself can't be reached, and every way to fail.

An MIT KDC in a network namespace of its own, PyPI's ``kdcproxy`` behind HTTPS in front of it, and
``smbfs login --kerberos`` outside. Spec: [MS-KKDCP].
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from smbfs.cli.runtime import file_stem, runtime_directory
from tests.beds.kdc import REALM, SERVER_NAME, Kdc
from tests.beds.kdc_proxy import KdcProxy, hidden_network, inside, kdc_proxy
from tests.beds.mounted import SMBFS, Mounted, MountFailed, mount
from tests.beds.pki import Pki
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE, BOB
from tests.beds.wrong_clock import clock_ahead
from tests.conftest import require_fuse

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces")

WRONG = "not-the-right-one"


@dataclass
class Place:
    """A KDC that nobody reaches from here, and its proxy."""

    folder: Path
    network: Path
    kdc: Kdc
    proxy: KdcProxy
    pki: Pki

    def run(
        self,
        *command: str,
        said: str = "",
        ccache: Path | str | None = None,
        config: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in this realm; ``config`` None is the KDC's own krb5.conf."""
        cache = ccache or self.folder / "ccache"
        environment = {
            "KRB5_CONFIG": str(config or self.kdc.config_path),
            "KRB5CCNAME": cache if isinstance(cache, str) else f"FILE:{cache}",
        }
        return subprocess.run(
            command,
            input=said,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def login(
        self,
        *options: str,
        user: str = ALICE.name,
        realm: str = REALM,
        password: str = ALICE.password,
        within: tuple[str, ...] = (),
        ccache: Path | str | None = None,
        config: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """``smbfs login --kerberos``; ``within`` is a command that runs another one."""
        command = [*within, str(SMBFS), "login", "--kerberos", f"{user}@{realm}"]
        command += ["--password-stdin", *options]
        return self.run(*command, said=f"{password}\n", ccache=ccache, config=config)

    def refusal(self, *options: str, **keywords: object) -> str:
        """Sign on in vain; return what was said."""
        done = self.login(*options, **keywords)  # type: ignore[arg-type]
        assert done.returncode == 32, done
        assert done.stdout == ""
        assert len(re.findall(r"^  (?:Why|Do): +\S", done.stderr, re.MULTILINE)) == 2
        assert "None" not in done.stderr
        return done.stderr

    def by(self, url: str | None = None, ca: Path | None = None) -> tuple[str, ...]:
        """Options for this proxy."""
        url = url or self.proxy.url()
        return "--kdc-proxy", url, "-o", f'kdc_proxy_ca="{ca or self.pki.ca}"'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("kdc_proxy")
    pki = Pki(folder / "pki")
    with (
        hidden_network() as network,
        Kdc(folder / "kdc", inside=inside(network)) as kdc,
        kdc_proxy(folder, kdc, pki.leaf("server"), namespace=network) as proxy,
    ):
        # Active Directory demands it of everybody; here it has to be said.
        kdc.administer("modprinc", "+requires_preauth", ALICE.name)
        yield Place(folder, network, kdc, proxy, pki)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A krb5.conf that says nothing of any realm."""
    path = tmp_path / "krb5.conf"
    path.write_text("[libdefaults]\n    dns_lookup_kdc = false\n    dns_lookup_realm = false\n")
    return path


def left_behind() -> list[Path]:
    """Configurations of ours that nobody has removed, mounts' aside."""
    return list(runtime_directory(os.environ, os.geteuid()).glob("login-*"))


def test_without_the_proxy_nobody_reaches_the_kdc(place: Place) -> None:
    kinit = place.run("kinit", ALICE.name, said=f"{ALICE.password}\n")
    assert "Cannot contact any KDC" in kinit.stderr
    said = place.refusal()
    assert f"no KDC of {REALM} answers" in said
    assert "kdc_proxy=https://" in said


@pytest.mark.parametrize("knows", ["the realm", "nothing", "no file"])
def test_a_ticket_by_the_proxy(place: Place, tmp_path: Path, empty: Path, knows: str) -> None:
    configs = {"the realm": place.kdc.config_path, "nothing": empty, "no file": tmp_path / "none"}
    before = {path: path.read_bytes() for path in configs.values() if path.exists()}
    done = place.login(*place.by(), ccache=tmp_path / "cc", config=configs[knows])
    assert done.returncode == 0, done.stderr
    until = r"20\d\d-\d\d-\d\d \d\d:\d\d"
    assert re.fullmatch(
        rf"{ALICE.name}@{REALM} is signed on until {until}, renewable until {until} "
        rf"\(FILE:{tmp_path}/cc\)\n",
        done.stdout,
    )
    listed = place.run("klist", "-f", ccache=tmp_path / "cc").stdout
    assert f"Default principal: {ALICE.name}@{REALM}" in listed
    assert f"krbtgt/{REALM}@{REALM}" in listed
    assert re.search(r"Flags: \w*R", listed)
    assert before == {path: path.read_bytes() for path in before}
    assert left_behind() == []


def test_a_realm_with_a_proxy_has_nothing_but_it(place: Place, tmp_path: Path) -> None:
    """At the KDC, where the proxy can't be reached: what krb5.conf says of the realm is out."""
    there = inside(place.network)
    assert place.login(within=there, ccache=tmp_path / "cc").returncode == 0
    asked = place.kdc.log().count("AS_REQ")
    assert "the KDC proxy can't be reached" in place.refusal(*place.by(), within=there)
    assert place.kdc.log().count("AS_REQ") == asked


def test_realms_without_a_proxy_are_as_before(place: Place, tmp_path: Path) -> None:
    options = ("-o", "kdc_proxy=https://localhost:1")
    config = tmp_path / "config" / "smbfs" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[kdc_proxy]\n"OTHER.TEST" = "https://localhost:1"\n')
    with_config = ("env", f"XDG_CONFIG_HOME={config.parents[1]}", *inside(place.network))
    assert place.login(within=with_config, ccache=tmp_path / "cc").returncode == 0
    assert "proxy" in place.refusal(*options, within=with_config)


def test_proxies_of_the_users_file(place: Place, tmp_path: Path) -> None:
    config = tmp_path / "smbfs" / "config.toml"
    config.parent.mkdir()
    config.write_text(f'[kdc_proxy]\n"{REALM}" = "{place.proxy.url()}"\n')
    within = ("env", f"XDG_CONFIG_HOME={tmp_path}")
    ca = ("--kdc-proxy-ca", str(place.pki.ca))
    assert place.login(*ca, within=within, ccache=tmp_path / "cc").returncode == 0


def test_a_ca_at_an_odd_place(place: Place, tmp_path: Path) -> None:
    ca = tmp_path / 'our "own", new ca.pem;#{'
    shutil.copy(place.pki.ca, ca)
    options = ("--kdc-proxy", place.proxy.url(), "--kdc-proxy-ca", str(ca))
    assert place.login(*options, ccache=tmp_path / "cc").returncode == 0


def test_each_user_has_a_cache_of_a_collection(place: Place, tmp_path: Path) -> None:
    caches = f"DIR:{tmp_path}/caches"
    for user in (ALICE, BOB, ALICE):
        options = {"user": user.name, "password": user.password, "ccache": caches}
        assert place.login(*place.by(), **options).returncode == 0  # type: ignore[arg-type]
    listed = place.run("klist", "-l", ccache=caches).stdout.splitlines()[2:]
    assert sorted(line.split()[0] for line in listed) == [f"alice@{REALM}", f"bob@{REALM}"]
    # The one who signed on last is the one that programs find.
    assert f"alice@{REALM}" in place.run("klist", ccache=caches).stdout


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/status/401", "the KDC proxy refuses us"),
        ("/status/403", "the KDC proxy refuses us"),
        ("/status/404", "there is no KDC proxy at this address"),
        ("/status/500", "the KDC proxy does not work"),
        ("/status/502", f"the KDC proxy reaches no KDC of {REALM}"),
        ("/words", "that is no KDC proxy"),
    ],
)
def test_a_proxy_that_refuses(place: Place, path: str, says: str) -> None:
    said = place.refusal(*place.by(place.proxy.url(path)))
    assert says in said
    status = path.removeprefix("/status/") if "status" in path else "200"
    assert f"answers with HTTP status {status} (kinit: Cannot contact any KDC)" in said


def test_a_realm_that_the_proxy_does_not_know(place: Place) -> None:
    said = place.refusal(*place.by(), realm="OTHER.TEST")
    assert "the KDC proxy reaches no KDC of OTHER.TEST" in said
    assert "HTTP status 503" in said


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("wrong_name", "its certificate is not for localhost"),
        ("expired", "its certificate has expired"),
        ("not_yet_valid", "its certificate is not valid yet"),
        ("foreign", "its certificate is from an issuer that this machine does not trust"),
        ("self_signed", "its certificate is from an issuer that this machine does not trust"),
    ],
)
def test_a_certificate_that_is_refused(place: Place, tmp_path: Path, kind: str, says: str) -> None:
    with kdc_proxy(tmp_path, place.kdc, place.pki.leaf(kind), namespace=place.network) as proxy:
        said = place.refusal(*place.by(proxy.url()))
        assert f"the KDC proxy is refused: {says}" in said
        assert "POST" not in proxy.log()


def test_an_unknown_ca_and_what_to_do(place: Place, tmp_path: Path) -> None:
    said = place.refusal("--kdc-proxy", place.proxy.url())
    assert "kdc_proxy_ca=FILE" in said
    for ca in (tmp_path / "none", Path("/etc/hostname")):
        assert "holds no certificates that could be trusted" in place.refusal(*place.by(ca=ca))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://localhost:1/KdcProxy", "Connection refused"),
        ("https://no-such-host.invalid/KdcProxy", "Name or service not known"),
        (f"https://{'long' * 20}.invalid/KdcProxy", "label"),
    ],
)
def test_a_proxy_that_is_not_there(place: Place, url: str, says: str) -> None:
    said = place.refusal(*place.by(url))
    assert "the KDC proxy can't be reached" in said
    assert says in said


def test_the_tls_plugin_is_missing(place: Place, tmp_path: Path) -> None:
    (plugins,) = {path.resolve() for path in Path("/usr").glob("lib*/**/krb5/plugins/tls")}
    hidden = f'mount --bind {tmp_path} {plugins} && exec "$@"'
    without = ("unshare", "--mount", "sh", "-c", hidden, "sh")
    said = place.refusal(*place.by(), within=without)
    assert "k5tls is missing" in said
    assert "install the package krb5-k5tls" in said


def test_a_wrong_password_reaches_the_kdc_once(place: Place, tmp_path: Path, empty: Path) -> None:
    """Nor is the DNS asked for the realm's primary KDC, to try there once more."""
    empty.write_text("[libdefaults]\n    dns_lookup_kdc = true\n")
    before = place.kdc.log().count("PREAUTH_FAILED")
    traced = ("env", f"KRB5_TRACE={tmp_path}/trace")
    said = place.refusal(*place.by(), password=WRONG, config=empty, within=traced)
    assert f"wrong password for {ALICE.name}@{REALM}" in said
    assert "Kerberos error 24" in said
    assert WRONG not in said
    assert place.kdc.log().count("PREAUTH_FAILED") == before + 1
    trace = (tmp_path / "trace").read_text()
    assert "Sending HTTPS request" in trace
    assert "DNS" not in trace


def test_a_wrong_password_where_nobody_asks_for_proof_first(place: Place) -> None:
    said = place.refusal(*place.by(), user=BOB.name, password=WRONG)
    assert f"wrong password for {BOB.name}@{REALM}" in said


def test_an_unknown_user(place: Place) -> None:
    said = place.refusal(*place.by(), user="nobody")
    assert f"{REALM} does not know the user nobody@{REALM}" in said
    assert "Kerberos error 6" in said


def test_an_unknown_realm(place: Place) -> None:
    assert "nobody says where the KDC of OTHER.TEST is" in place.refusal(realm="OTHER.TEST")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("-pwexpire", "yesterday"), "has expired.\n  Why: the KDC wants a new one"),
        (("+needchange",), "has expired.\n  Why: the KDC wants a new one"),
        (("-allow_tix",), "is disabled or locked"),
        (("-expire", "yesterday"), "has expired.\n  Why: its last day is over"),
    ],
)
def test_an_account_that_may_not_sign_on(
    place: Place, request: pytest.FixtureRequest, flags: tuple[str, ...], says: str
) -> None:
    name = f"user{request.node.callspec.id}".replace("yesterday", "").replace("-", "")
    place.kdc.add_principal(name, ALICE.password, "+requires_preauth", *flags)
    assert says in place.refusal(*place.by(), user=name)


def test_a_cache_that_can_not_be_written(place: Place) -> None:
    said = place.refusal(*place.by(), ccache="FILE:/no-such-folder/cache")
    assert "there is no place for the ticket" in said
    assert "KRB5CCNAME" in said


def test_clocks_that_differ(place: Place, tmp_path: Path, empty: Path) -> None:
    """libkrb5 would put up with it, and go by the KDC's clock; some tell it not to."""
    options = "    dns_lookup_kdc = false\n    kdc_timesync = 0\n"
    empty.write_text(f"[libdefaults]\n{options}")
    ahead = clock_ahead(tmp_path, 3600)
    with (
        Kdc(tmp_path / "kdc", inside=(*inside(place.network), *ahead)) as kdc,
        kdc_proxy(tmp_path, kdc, place.pki.leaf("server"), namespace=place.network) as proxy,
    ):
        kdc.administer("modprinc", "+requires_preauth", ALICE.name)
        assert "the clocks of this machine" in place.refusal(*place.by(proxy.url()), config=empty)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("alice",), "names no realm"),
        (("@CORP.TEST",), "names no realm"),
        (("alice@CORP.TEST", "--kdc-proxy", "http://proxy.test"), "https"),
        (("alice@CORP.TEST", "-o", "kdc_prox=https://proxy.test"), "did you mean kdc_proxy?"),
        (("alice@CORP.TEST",), "no terminal"),
        (("alice@CORP.TEST", "--password-stdin"), "that is no password"),
    ],
)
def test_commands_that_are_wrong(place: Place, arguments: tuple[str, ...], says: str) -> None:
    done = place.run(str(SMBFS), "login", "--kerberos", *arguments)
    assert done.returncode == 1
    assert says in done.stderr


def test_the_password_is_asked_for(place: Place, tmp_path: Path) -> None:
    parent, terminal = os.openpty()
    starter = "import os,sys; os.setsid(); os.close(os.open(os.ttyname(0), os.O_RDWR)); "
    starter += "os.execv(sys.argv[1], sys.argv[1:])"
    command = [str(SMBFS), "login", "--kerberos", f"{ALICE.name}@{REALM}", *place.by()]
    with subprocess.Popen(
        [sys.executable, "-c", starter, *command],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, **place.kdc.environment(tmp_path / "cc")},
    ) as process:
        os.close(terminal)
        said = b""
        while not said.endswith(b": "):
            said += os.read(parent, 1024)
        assert said == f"Password for {ALICE.name}@{REALM}: ".encode()
        os.write(parent, f"{ALICE.password}\n".encode())
        assert process.wait(60) == 0
        said += os.read(parent, 1024)
    os.close(parent)
    assert b"is signed on until" in said
    assert ALICE.password.encode() not in said


SIGN_ON = f"""
import base64, sys
import spnego
context = spnego.client(hostname={SERVER_NAME!r}, service="cifs", protocol="negotiate",
                        options=spnego.NegotiateOptions.use_negotiate)
context.step()
print(context.negotiated_protocol, context.client_principal)
"""


def test_gssapi_asks_by_the_proxy(place: Place, tmp_path: Path) -> None:
    """What a mount does, in a process of its own: a ticket for the server, with ours in front."""
    assert place.login(*place.by(), ccache=tmp_path / "cc").returncode == 0
    program = f"""
from pathlib import Path
from smbfs.cli.kerberos_realms import kerberos_realms
with kerberos_realms({{{REALM!r}: ({place.proxy.url()!r},)}}, Path({str(place.pki.ca)!r}), "test"):
    {SIGN_ON.replace(chr(10), chr(10) + "    ")}
"""
    done = place.run(sys.executable, "-c", program, ccache=tmp_path / "cc")
    assert done.returncode == 0, done.stderr
    assert "kerberos" in done.stdout
    assert f"cifs/{SERVER_NAME}" in place.run("klist", ccache=tmp_path / "cc").stdout
    without = place.run(sys.executable, "-c", SIGN_ON, ccache=tmp_path / "cc2")
    assert without.returncode != 0


def test_a_proxy_that_fails_has_the_next_one_asked(place: Place, tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from smbfs.cli.kerberos_realms import kerberos_realms
from smbfs.cli.ticket import obtain_ticket
proxies = {{{REALM!r}: ("https://localhost:1", {place.proxy.url()!r})}}
with kerberos_realms(proxies, Path({str(place.pki.ca)!r}), "test"):
    obtain_ticket("{ALICE.name}@{REALM}", {ALICE.password!r})
"""
    done = place.run(sys.executable, "-c", program, ccache=tmp_path / "cc")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", ["/KdcProxy", "/status/403"])
def test_the_doctor_looks_at_the_proxy(place: Place, path: str) -> None:
    options = ["-o", f"kdc_proxy={place.proxy.url(path)},kdc_proxy_ca={place.pki.ca},timeout=5"]
    done = place.run(
        *(str(SMBFS), "doctor", "//127.0.0.1:1/share", "--json", "--user", f"alice@{REALM}"),
        *options,
    )
    (step,) = [step for step in json.loads(done.stdout) if step["step"] == "kdc-proxy"]
    assert step["facts"] == {"realm": REALM, "url": place.proxy.url(path)}
    assert step["result"] == ("ok" if path == "/KdcProxy" else "failed")
    assert (step["cause"] is None) == (path == "/KdcProxy")


def test_a_mount_has_its_configuration_while_it_lasts(
    place: Place, samba: SambaServer, tmp_path: Path
) -> None:
    require_fuse()
    options = (
        f"user={ALICE.name},credentials={samba.credentials_file()},kdc_proxy_ca={place.pki.ca}"
    )
    proxy = f"kdc_proxy={place.proxy.url()}"
    environment = tuple(f"{key}={value}" for key, value in place.kdc.environment().items())
    folder = runtime_directory(os.environ, os.geteuid())
    ours = folder / f"{file_stem(str(tmp_path / 'mnt'))}.krb5.conf"
    with mount(
        samba.unc(), tmp_path / "mnt", "-o", f"{options},{proxy}", inside=("env", *environment)
    ):
        assert f"{REALM} = {{" in ours.read_text()
        assert place.proxy.url() in ours.read_text()
        assert ours.stat().st_mode & 0o777 == 0o600
    assert not ours.exists()
    with (
        pytest.raises(MountFailed),
        mount(
            "//127.0.0.1:1/share",
            tmp_path / "mnt",
            "-o",
            f"{options},{proxy},transport=tcp",
            inside=("env", *environment),
        ),
    ):
        pass
    assert not ours.exists()


def by_kerberos(place: Place, server: SambaServer, url: str) -> AbstractContextManager[Mounted]:
    """Mount a server with a ticket that came by the proxy, and ``url`` for all further ones."""
    require_fuse()
    ccache = place.folder / "outside"
    assert place.login(*place.by(), ccache=ccache).returncode == 0
    options = f"auth=kerberos,ip=127.0.0.1,user={ALICE.name}@{REALM}"
    options += f",kdc_proxy={url},kdc_proxy_ca={place.pki.ca}"
    environment = (f"{key}={value}" for key, value in place.kdc.environment(ccache).items())
    unc = f"//{SERVER_NAME}:{server.port}/share"
    return mount(unc, place.folder / "mnt", "-o", options, inside=("env", *environment))


def test_a_mount_by_kerberos_from_outside(
    place: Place, make_samba: Callable[..., SambaServer]
) -> None:
    """Sign on, mount, work: nobody here reaches the KDC but by its proxy."""
    server = make_samba(globals=place.kdc.samba_globals(), env=place.kdc.environment())
    asked = place.proxy.log().count("POST")
    with by_kerberos(place, server, place.proxy.url()) as mounted:
        assert mounted.status()["auth"] == "kerberos"
        (mounted.path / "file").write_text("by Kerberos")
        assert (server.share_path() / "file").read_text() == "by Kerberos"
    # Two for the login, and at least one for the server's ticket.
    assert place.proxy.log().count("POST") >= asked + 3


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/status/403", "the KDC proxy refuses us"),
        ("/status/404", "there is no KDC proxy at this address"),
    ],
)
def test_a_mount_says_what_is_wrong_with_the_proxy(
    place: Place, samba: SambaServer, path: str, says: str
) -> None:
    with (
        pytest.raises(MountFailed, match=says),
        by_kerberos(place, samba, place.proxy.url(path)),
    ):
        pytest.fail("mounted")


@pytest.mark.long
def test_the_kdc_is_down_behind_its_proxy(place: Place) -> None:
    """The proxy tries for 17 seconds, and we ask twice."""
    place.kdc.stop()
    try:
        said = place.refusal(*place.by())
    finally:
        place.kdc.start()
    assert f"the KDC proxy reaches no KDC of {REALM}" in said


def test_another_users_ticket_is_renewed_by_the_proxy(
    place: Place, beds_folder: Path, empty: Path
) -> None:
    """Whose process can't enter the folder where root's configuration is."""
    uid = 23450 + os.getpid() % 1000
    home, ca = beds_folder / f"home-{uid}", beds_folder / "ca.pem"
    home.mkdir()
    cache = home / "ccache"
    assert place.login(*place.by(), ccache=cache, config=empty).returncode == 0
    for path in (home, cache):
        os.chown(path, uid, uid)
    shutil.copyfile(place.pki.ca, ca)
    config = beds_folder / "krb5.others.conf"
    config.write_text(
        f"[libdefaults]\n default_realm = {REALM}\n default_ccache_name = FILE:{cache}\n"
        " dns_lookup_kdc = false\n"
    )
    for path in (ca, config):
        path.chmod(0o644)
    program = f"""
from pathlib import Path
from smbfs.auth.kerberos_cache import Wanted
from smbfs.auth.kerberos_helper import UsersTickets
from smbfs.cli.kerberos_realms import kerberos_realms
with kerberos_realms({{{REALM!r}: ({place.proxy.url()!r},)}}, Path({str(ca)!r}), "login-other"):
    print("renewed", UsersTickets({uid}, {uid}, Wanted()).renew().principal)
"""
    done = place.run(sys.executable, "-c", program, config=config)
    assert done.stdout == f"renewed {ALICE.name}@{REALM}\n", done.stderr
