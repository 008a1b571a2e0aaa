"""``smbfs login`` stores what the server has accepted, mounts find it, and ``logout`` removes it.

With gnome-keyring on a session of its own, an encrypted file where there is no desktop, and Samba.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from smbfs.auth import keyring_process
from smbfs.auth.keyring_entries import STANDARD_PORT, KeyringEntry, KeyringQuery
from smbfs.auth.keyring_process import FILE_BACKEND, KeyringProcess, KeyringUnusable
from smbfs.cli.errors import CommandError
from smbfs.cli.passwords import read_password
from smbfs.cli.prepare import resolve_credentials
from smbfs.cli.server_argument import parse_server
from smbfs.config.model import MountOptions
from smbfs.config.unc import parse_unc
from smbfs.errors import AuthenticationError, ConfigError
from tests.beds.guardian import is_mounted
from tests.beds.mortal_samba import MortalSamba
from tests.beds.mounted import SMBFS, MountFailed, mount, run_smbfs
from tests.beds.pki import Pki
from tests.beds.quic_gateway import quic_gateway
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE, BOB, HOST, User
from tests.beds.scripted_keyring import PASSPHRASE, keyring_that
from tests.beds.secret_service import SecretService
from tests.beds.terminal import typing
from tests.t4_fuse.conftest import wait_until
from tests.t5_cli.test_messages import administer
from tests.t6_peers.recovery import assert_fails_in_time, assert_works_soon
from tests.t6_peers.test_moved_server import refusals

pytestmark = pytest.mark.usefixtures("fuse")

ANOTHER = User(ALICE.name, "An0ther-passw0rd", ALICE.uid)
WRONG = User(ALICE.name, "not-the-right-one", ALICE.uid)


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[SecretService]:
    with SecretService(tmp_path / "desktop") as service:
        yield service


@pytest.fixture
def strict(make_samba: Callable[..., MortalSamba]) -> MortalSamba:
    """A server of this test's own that counts who is refused."""
    return make_samba(MortalSamba, globals={"log level": "1 auth_audit:3"})


def log_in(
    where: str, user: User, desktop: SecretService, *options: str
) -> subprocess.CompletedProcess[str]:
    command = ["login", where, "--user", user.name, "--password-stdin", *options]
    return run_smbfs(*command, env=desktop.environment(), said=f"{user.password}\n")


def accepted(where: str, user: User, desktop: SecretService, *options: str) -> str:
    done = log_in(where, user, desktop, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert user.password not in done.stdout
    return done.stdout


def refused(where: str, user: User, desktop: SecretService, *options: str) -> str:
    done = log_in(where, user, desktop, *options)
    assert done.returncode == 32
    assert "Nothing was stored" in done.stderr
    assert user.password not in done.stdout + done.stderr
    assert desktop.look_up(protocol="smb", user=user.name) is None
    return done.stderr


def log_out(*arguments: str, desktop: SecretService) -> str:
    done = run_smbfs("logout", *arguments, env=desktop.environment())
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def has(desktop: SecretService, *passwords: tuple[str, User]) -> None:
    """Have the keyring hold passwords that nobody has checked."""
    with KeyringProcess({**os.environ, **desktop.environment()}) as keyring:
        for where, user in passwords:
            server = parse_server(where)
            entry = KeyringEntry(
                server=server.unc.server,
                port=server.unc.port or STANDARD_PORT,
                share=server.share,
                user=user.name,
                password=user.password,
            )
            keyring.put(entry)


def asks_keyring(pid: int) -> bool:
    """Whether a process of ours asks the keyring just now."""
    with suppress(FileNotFoundError, ProcessLookupError):  # They come and go meanwhile.
        # A thread has started it, and the kernel lists children by thread.
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in path.read_text("ascii").split():
                if b"smbfs.auth.keyring_child" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return True
    return False


def host(server: SambaServer) -> str:
    return f"{HOST}:{server.port}"


def attributes(server: SambaServer, user: User, **more: str) -> dict[str, str]:
    """By which other programs know a password."""
    named = {"server": HOST, "port": str(server.port), "user": user.name, "protocol": "smb"}
    return named | more


def user_of(unc: str, desktop: SecretService, **options: str) -> str:
    """As whom a mount would sign on, which finds a password."""
    environment = {**os.environ, **desktop.environment()}
    found = resolve_credentials(parse_unc(unc), MountOptions(**options), environment)  # type: ignore[arg-type]
    assert found.source == "keyring"
    return found.qualified_name


# --- what is stored ---------------------------------------------------------------------------


def test_what_the_server_accepts_is_stored_and_mounts(
    samba: SambaServer, desktop: SecretService, tmp_path: Path
) -> None:
    said = accepted(host(samba), ALICE, desktop, "--domain", "BED")
    assert said == f"BED\\alice's password for //{host(samba)}: checked and stored in the keyring\n"
    known = attributes(samba, ALICE, domain="BED")
    assert desktop.look_up(**known) == ALICE.password
    schema = {"xdg:schema": "org.gnome.keyring.NetworkPassword"}
    assert desktop.look_up(**known, **schema) == ALICE.password
    with mount(samba.unc(), tmp_path / "mnt", "--verbose", env=desktop.environment()) as mounted:
        assert "signing on as BED\\alice, credentials: keyring" in mounted.output()
        (mounted.path / "from-the-keyring").write_bytes(b"x")
        assert mounted.status()["user"] == "alice"


def test_what_the_server_refuses_is_not_stored(strict: MortalSamba, desktop: SecretService) -> None:
    """And it is asked once: more would lock the account."""
    message = refused(host(strict), WRONG, desktop)
    assert "wrong user name or password" in message
    assert "STATUS_LOGON_FAILURE, 0xC000006D" in message
    assert refusals(strict, "NT_STATUS_WRONG_PASSWORD") == 1
    strict.enable(BOB, allowed=False)
    assert "the account is disabled" in refused(host(strict), BOB, desktop)
    has(desktop, (host(strict), ALICE))
    administer(strict, "pdbedit", "--account-policy=bad lockout attempt", "--value=1")
    assert log_in(host(strict), WRONG, desktop).returncode == 32
    assert "the account is locked" in log_in(host(strict), ANOTHER, desktop).stderr
    # What was good stays, when what shall replace it is not.
    assert desktop.look_up(**attributes(strict, ALICE)) == ALICE.password


def test_a_guests_password_was_not_checked(
    samba_variant: Callable[[str], SambaServer], desktop: SecretService
) -> None:
    """Also where a mount might be a guest's."""
    server = samba_variant("guest")
    stranger = User("stranger", "any-password", 0)
    lax = ("-o", "allow_insecure_guest,signing=if-offered")
    assert "logged you on as a guest" in refused(host(server), stranger, desktop, *lax)


def test_without_a_check_the_server_need_not_be_there(desktop: SecretService) -> None:
    said = accepted("nas", ALICE, desktop, "--no-check")
    assert said == "alice's password for //nas: stored in the keyring\n"
    assert desktop.look_up(server="nas", user="alice", protocol="smb") == ALICE.password


def test_the_check_goes_the_way_of_a_mount(
    samba: SambaServer, desktop: SecretService, pki: Pki, tmp_path: Path
) -> None:
    with quic_gateway(tmp_path, samba.port, [pki.leaf("server")]) as gateway:
        options = f"transport=quic,ip={HOST},quic_port={gateway.port},quic_ca="
        untrusted = f"{options}{pki.leaf('server').cert}"
        assert "certificate" in refused("bed.test", ALICE, desktop, "-o", untrusted)
        way = ("-o", f"{options}{pki.ca}")
        accepted("smb://alice@bed.test/share", ALICE, desktop, *way)
        assert user_of("//bed.test/share", desktop) == "alice"


def test_no_password_is_no_attempt(desktop: SecretService) -> None:
    command = ["login", "nas", "--user=alice", "--password-stdin"]
    done = run_smbfs(*command, env=desktop.environment(), said="\n")
    assert (done.returncode, "that is no password" in done.stderr) == (1, True)


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_what_is_no_text_is_no_password(monkeypatch: pytest.MonkeyPatch, errors: str) -> None:
    """What standard input does with it depends on the locale."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n"), "utf-8", errors))
    with pytest.raises(CommandError, match="that is no password"):
        read_password("", from_stdin=True)


def test_there_has_to_be_somebody_to_ask(desktop: SecretService) -> None:
    done = run_smbfs("login", "nas", env=desktop.environment(), said="password\n")
    assert (done.returncode, "--password-stdin" in done.stderr) == (1, True)


# --- several ----------------------------------------------------------------------------------


def test_several_users_and_a_share_of_its_own(
    samba: SambaServer, desktop: SecretService, tmp_path: Path
) -> None:
    has(desktop, (host(samba), ALICE))
    accepted(samba.unc("sealed"), BOB, desktop)
    assert desktop.look_up(**attributes(samba, BOB, object="sealed")) == BOB.password
    assert user_of(samba.unc(), desktop) == "alice"
    assert user_of(samba.unc("sealed"), desktop, user="alice") == "alice"
    with mount(samba.unc("SEALED"), tmp_path / "mnt", env=desktop.environment()) as mounted:
        assert mounted.status()["user"] == "bob"
    has(desktop, (host(samba), BOB))
    with pytest.raises(AuthenticationError) as caught:
        user_of(samba.unc(), desktop)
    assert "the keyring has several: alice, bob" in caught.value.why
    assert user_of(samba.unc(), desktop, user="BOB") == "BOB"


def test_logging_out(desktop: SecretService) -> None:
    has(desktop, ("//nas/media", BOB), ("nas:4455", ALICE), ("nas", ALICE), ("nas", BOB))
    gone = "removed from the keyring\n"
    assert log_out("//NAS/Media", desktop=desktop) == f"bob's password for //nas/media: {gone}"
    removed = log_out("nas:445", "--user", "alice", desktop=desktop)
    assert removed == f"alice's password for //nas: {gone}"
    assert set(log_out("nas", desktop=desktop).splitlines(keepends=True)) == {
        f"alice's password for //nas:4455: {gone}",
        f"bob's password for //nas: {gone}",
    }
    assert desktop.look_up(protocol="smb", server="nas") is None
    again = run_smbfs("logout", "nas", env=desktop.environment())
    assert (again.returncode, again.stdout) == (1, "")
    assert "there is no password for //nas in the keyring" in again.stderr


def test_what_other_programs_have_stored_is_used(
    samba: SambaServer, desktop: SecretService, tmp_path: Path
) -> None:
    """As GNOME's files do: the domain is a guess of its dialogue, the port only there if asked."""
    schema = {"xdg:schema": "org.gnome.keyring.NetworkPassword", "domain": "WORKGROUP"}
    desktop.store(ALICE.password, **attributes(samba, ALICE), **schema)
    with mount(samba.unc(), tmp_path / "mnt", "-v", env=desktop.environment()) as mounted:
        assert "signing on as WORKGROUP\\alice, credentials: keyring" in mounted.output()
    removed = log_out(host(samba), desktop=desktop)
    assert removed.startswith("WORKGROUP\\alice's password")
    assert desktop.look_up(**attributes(samba, ALICE)) is None


# --- keyrings that don't help -----------------------------------------------------------------


def test_a_locked_keyring(samba: SambaServer, desktop: SecretService, tmp_path: Path) -> None:
    has(desktop, (host(samba), ALICE))
    desktop.lock()
    for done in (
        log_in(host(samba), BOB, desktop),
        run_smbfs("logout", host(samba), env=desktop.environment()),
    ):
        assert done.returncode == 32
        assert "the keyring is locked" in done.stderr
        assert "unlock it" in done.stderr
    with pytest.raises(MountFailed) as caught:
        mount(samba.unc(), tmp_path / "mnt", env=desktop.environment()).__enter__()
    assert "the keyring is locked" in caught.value.output
    assert "Do:  unlock the keyring" in caught.value.output
    desktop.unlock()
    assert user_of(samba.unc(), desktop) == "alice"


def test_a_keyring_that_does_not_answer(
    desktop: SecretService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring_process, "_HEADLESS_TIMEOUT_S", 1)
    desktop.freeze()
    with (
        KeyringProcess({**os.environ, **desktop.environment()}) as keyring,
        pytest.raises(KeyringUnusable, match="can't be used") as caught,
    ):
        keyring.make_ready("nas")
    desktop.thaw()
    assert "did not answer within 1 s" in caught.value.why


def test_a_session_without_a_keyring(tmp_path: Path) -> None:
    with SecretService(tmp_path / "bare", keyring=False) as bare:
        done = log_in("nas", ALICE, bare)
    assert done.returncode == 32
    assert "there is no keyring in this session" in done.stderr
    assert "credentials=FILE" in done.stderr
    assert "smbfs[keyring-file]" in done.stderr


# --- without a desktop ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["scripted", pytest.param("encrypted file", marks=pytest.mark.long)]
)
def test_a_keyring_that_asks_on_the_terminal(samba: SambaServer, tmp_path: Path, kind: str) -> None:
    """The encrypted file takes its time over a passphrase, and it is not set before it is used."""
    environment = keyring_that("asks", tmp_path) | {"XDG_DATA_HOME": str(tmp_path / "data")}
    environment |= {"DBUS_SESSION_BUS_ADDRESS": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    asked = (f"Password for alice at //{host(samba)}:", ALICE.password)
    opens, to_log_in = PASSPHRASE, [PASSPHRASE, asked]
    if kind == "encrypted file":
        environment["PYTHON_KEYRING_BACKEND"] = FILE_BACKEND
        opens = ("enter password for encrypted keyring", "the passphrase")
        new = [("set a password for your new keyring", opens[1]), ("confirm", opens[1])]
        to_log_in = [asked, *new]

    def on_terminal(*command: str, answers: list[tuple[str, str]]) -> str:
        done = subprocess.run(
            [*typing(*answers), str(SMBFS), *command],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert ALICE.password not in done.stdout
        return done.stdout

    shown = on_terminal("login", host(samba), "--user", "alice", answers=to_log_in)
    assert "checked and stored in the keyring" in shown
    where, way = tmp_path / "mnt", typing(opens)
    with mount(samba.unc(), where, "-v", inside=way, env=environment) as mounted:
        assert "signing on as alice, credentials: keyring" in mounted.output()
    shown = on_terminal("logout", host(samba), answers=[opens])
    assert "alice's password" in shown
    if kind == "encrypted file":
        kept = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
        assert kept
        assert ALICE.password.encode() not in b"".join(kept)


# --- while mounted ----------------------------------------------------------------------------


def test_a_mount_takes_the_new_password(
    strict: MortalSamba, desktop: SecretService, tmp_path: Path
) -> None:
    """Each word that the keyring has had is tried once."""
    has(desktop, (host(strict), ALICE))
    environment = desktop.environment()
    with mount(strict.unc(), tmp_path / "mnt", "-o", "timeout=3", env=environment) as mounted:
        strict.set_password(ALICE, ANOTHER.password)
        strict.kill_connection(mounted.pid)
        assert_fails_in_time(mounted, 3.0)
        wait_until(partial(asks_keyring, mounted.pid))  # It has looked for another one.
        assert refusals(strict, "NT_STATUS_WRONG_PASSWORD") == 1
        accepted(host(strict), ANOTHER, desktop)
        assert_works_soon(mounted)
    assert refusals(strict, "NT_STATUS_WRONG_PASSWORD") == 1


def test_the_same_password_anew_is_another_one(desktop: SecretService) -> None:
    """That is how people say that it is to be tried again: the account may be another."""
    has(desktop, ("nas", ALICE))
    with KeyringProcess({**os.environ, **desktop.environment()}) as keyring:
        first = keyring.find(KeyringQuery(server="nas"))
        assert first is not None
        assert keyring.find(KeyringQuery(server="nas")) == first

        def is_newer() -> bool:  # The keyring's clock has seconds.
            keyring.put(first)
            found = keyring.find(KeyringQuery(server="nas"))
            return found is not None and found.changed_ns > first.changed_ns

        wait_until(is_newer)


@pytest.mark.long
def test_nobody_waits_for_a_keyring_to_unmount(
    strict: MortalSamba, desktop: SecretService, tmp_path: Path
) -> None:
    has(desktop, (host(strict), ALICE))
    with mount(
        strict.unc(), tmp_path / "mnt", "-o", "timeout=3", env=desktop.environment()
    ) as mounted:
        desktop.freeze()
        strict.set_password(ALICE, ANOTHER.password)
        strict.kill_connection(mounted.pid)
        assert_fails_in_time(mounted, 3.0)
        wait_until(partial(asks_keyring, mounted.pid))
        began = time.monotonic()
        assert run_smbfs("umount", str(mounted.path)).returncode == 0
        assert time.monotonic() - began < 3
        assert not is_mounted(mounted.path)
    desktop.thaw()


# --- SERVER -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown", "share"),
    [
        ("nas", "//nas", None),
        ("nas:4455", "//nas:4455", None),
        ("[fe80::1]:4455", "//[fe80::1]:4455", None),
        ("//nas", "//nas", None),
        ("//nas/", "//nas", None),
        ("\\\\nas", "//nas", None),
        ("smb://ann@nas", "//nas", None),
        ("SMB://nas:1/", "//nas:1", None),
        ("//nas/media", "//nas/media", "media"),
        ("\\\\nas\\media", "//nas/media", "media"),
        ("smb://nas/media/", "//nas/media", "media"),
        ("//nas/media/folder", "//nas/media/folder", "media"),
    ],
)
def test_ways_to_write_a_server(text: str, shown: str, share: str | None) -> None:
    server = parse_server(text)
    assert (server.shown, server.share) == (shown, share)


@pytest.mark.parametrize("text", ["", "na s", "nas/media", "nas:0", "[fe80::1", "/nas", "//", "-"])
def test_what_names_no_server(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_server(text)
    assert "server" in caught.value.what
    assert "IPC" not in f"{caught.value.what}{caught.value.why}{caught.value.do}"


@pytest.mark.parametrize("text", ["smb://ann:hunter2@nas", "ann:hunter2@nas"])
def test_a_password_in_the_name_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_server(text)
    assert "hunter2" not in f"{caught.value.what}{caught.value.why}{caught.value.do}"


def test_options_that_bring_another_password_are_refused() -> None:
    done = run_smbfs("login", "nas", "-o", "credentials=/etc/hosts")
    assert (done.returncode, "no meaning for a login" in done.stderr) == (1, True)


def test_a_silent_server_is_told_as_by_a_mount(desktop: SecretService) -> None:
    with socket.create_server((HOST, 0)) as silent:
        where = f"{HOST}:{silent.getsockname()[1]}"
        message = refused(where, ALICE, desktop, "-o", "timeout=1")
    assert f"{where}: the server does not answer" in message
