"""Passwords, hashes, keys and tokens are in nothing that smbfs writes or shows, however verbose."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from smbfs.auth.credential_file import CredentialFile
from smbfs.auth.credentials import Credentials
from smbfs.auth.keyring_entries import KeyringEntry
from smbfs.auth.spnego import NtlmAuthenticator
from smbfs.engine.key_derivation import SessionKeys
from smbfs.engine.signing import signer_for
from smbfs.wire.negotiate import SigningAlgorithm
from tests.beds.kdc import SERVER_NAME, Kdc
from tests.beds.mounted import SMBFS, run_smbfs
from tests.beds.pki import Pki
from tests.beds.quic_gateway import quic_gateway
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import HOST
from tests.beds.secret_service import SecretService
from tests.t5_cli.waiting import children_of

pytestmark = pytest.mark.usefixtures("fuse")

REPOSITORY = Path(__file__).parents[2]


def forms(secret: bytes) -> Iterator[bytes]:
    """How bytes may stand in a text: as they are, as Python shows them, in hex and base64."""
    yield secret
    yield repr(secret)[2:-1].encode()
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for before in range(3):  # base64 of something that it is a part of, at any place
        whole = b64encode(bytes(before) + secret)
        yield whole[(4 if before else 0) : len(whole) // 4 * 4 - 4]


def forms_of_password(password: str) -> dict[bytes, str]:
    encoded = [password.encode("utf-8"), password.encode("utf-16-le")]
    return {form: "password" for secret in encoded for form in forms(secret)}


def assert_free_of(secrets: dict[bytes, str], texts: dict[str, bytes]) -> None:
    found = [
        f"{kind} in the {name}"
        for name, text in texts.items()
        for form, kind in secrets.items()
        if form in text
    ]
    assert found == []


def shown_of(pid: int) -> dict[str, bytes]:
    """What others can see of a process, and what only root can."""
    return {
        f"{name} of {pid}": Path(f"/proc/{pid}/{name}").read_bytes()
        for name in ("cmdline", "environ", "comm")
    }


def audited() -> bytes:
    """What has been recorded just now, where this machine lets us read it."""
    return run_smbfs("audit", "--json", "--since", "-5m").stdout.encode()


def mount_verbosely(
    folder: Path, unc: str, options: str, env: Mapping[str, str] | None = None
) -> tuple[dict[bytes, str], dict[str, bytes]]:
    """Mount with ``--verbose``, and unmount; return the secrets in all forms, and all texts."""
    mountpoint = folder / "mnt"
    mountpoint.mkdir()
    command = [sys.executable, "-m", "tests.t5_cli.telling_smbfs", "mount", "--foreground", "-v"]
    with subprocess.Popen(
        [*command, unc, str(mountpoint), "-o", options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**os.environ, **(env or {}), "SSLKEYLOGFILE": str(folder / "tls-keys")},
    ) as process:
        try:
            assert process.stderr is not None
            log = []
            for line in process.stderr:
                log.append(line)
                if b"connected over" in line:
                    break
            with pytest.raises(OSError, match="No data"):
                os.getxattr(mountpoint, "user.none")  # which the log tells
            texts = {"status": run_smbfs("status", "--json", str(mountpoint)).stdout.encode()}
            for pid in (process.pid, *children_of(process.pid)):
                texts |= shown_of(pid)
            process.send_signal(signal.SIGTERM)
            told, rest = process.communicate(timeout=30)
        finally:
            process.kill()
    texts["log"] = b"".join(log) + rest
    texts["audit"] = audited()
    pairs = [line.decode().split(" ") for line in told.splitlines()]
    return {
        form: kind for kind, digits in pairs if digits for form in forms(bytes.fromhex(digits))
    }, texts


@pytest.mark.parametrize("transport", ["tcp", "quic"])
def test_the_most_verbose_mount_shows_no_secret(
    samba: SambaServer, pki: Pki, tmp_path: Path, transport: str
) -> None:
    options = f"credentials={samba.credentials_file()},transport={transport}"
    with quic_gateway(tmp_path, samba.port, [pki.leaf("server")], "--verbose") as gateway:
        if transport == "quic":
            options += f",quic_port={gateway.port},quic_ca={pki.ca}"
        secrets, texts = mount_verbosely(tmp_path, samba.unc("sealed"), options)
        texts["gateway"] = gateway.log().encode()
    wanted = {
        "session-key",
        "signing-key",
        "encryption-key",
        "decryption-key",
        "ntlm-hash",
        "token",
    }
    assert set(secrets.values()) == wanted | ({"quic-secret"} if transport == "quic" else set())
    assert b"DEBUG" in texts["log"]
    assert_free_of(secrets | forms_of_password(samba.password), texts)
    assert not (tmp_path / "tls-keys").exists()


def test_a_mount_by_kerberos_shows_no_ticket(
    kdc: Kdc, make_samba: Callable[..., SambaServer], tmp_path: Path
) -> None:
    server = make_samba(globals=kdc.samba_globals(), env=kdc.environment())
    ccache = tmp_path / "ccache"
    kdc.sign_on(ccache=ccache)
    unc = f"//{SERVER_NAME}:{server.port}/sealed"
    secrets, texts = mount_verbosely(
        tmp_path, unc, f"ip={HOST},auth=kerberos", kdc.environment(ccache)
    )
    assert set(secrets.values()) == {
        "ticket", "token", "session-key", "signing-key", "encryption-key", "decryption-key"
    }  # fmt: skip
    assert b"DEBUG" in texts["log"]
    assert_free_of(secrets, texts)


def test_sign_on_that_fails_shows_no_password(samba: SambaServer, tmp_path: Path) -> None:
    wrong = "not-the-right-one"
    credentials = tmp_path / "credentials"
    credentials.write_text(f"username={samba.user}\npassword={wrong}\n")
    credentials.chmod(0o600)
    (tmp_path / "mnt").mkdir()
    options = ["-o", f"credentials={credentials}"]
    texts = {}
    for command in (
        ["mount", "-v", "--foreground"],
        ["mount", "-v"],
        ["doctor"],
        ["doctor", "--json"],
    ):
        where = [str(tmp_path / "mnt")] if command[0] == "mount" else []
        done = run_smbfs(*command, samba.unc(), *where, *options)
        assert done.returncode != 0
        texts[" ".join(command)] = (done.stdout + done.stderr).encode()
    log = next(line for line in texts["mount -v"].decode().splitlines() if "the log is" in line)
    texts["log"] = Path(log.rpartition("the log is ")[2]).read_bytes()
    texts["audit"] = audited()
    assert b"Traceback" in texts["log"]
    assert_free_of(forms_of_password(wrong), texts)


def test_a_login_shows_no_password(samba: SambaServer, tmp_path: Path) -> None:
    """What others see of it and of the process that talks to the keyring, and all that it says."""
    secret = samba.password
    with SecretService(tmp_path / "desktop") as desktop, socket.create_server((HOST, 0)) as silent:
        environment = {**os.environ, **desktop.environment()}
        texts = {}
        where = f"{HOST}:{samba.port}"
        for word in (secret, f"not {secret}"):
            command = ["login", where, "--user", samba.user, "--password-stdin"]
            done = run_smbfs(*command, env=environment, said=f"{word}\n")
            assert (done.returncode == 0) == (word == secret)
            texts[f"login with {word}"] = (done.stdout + done.stderr).encode()
        with subprocess.Popen(
            [SMBFS, "login", f"{HOST}:{silent.getsockname()[1]}", "--password-stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        ) as process:
            assert process.stdin is not None
            process.stdin.write(f"{secret}\n".encode())
            process.stdin.flush()
            connection, _ = silent.accept()  # By now it has the password, and is going to send it.
            children = children_of(process.pid)
            assert children
            for pid in (process.pid, *children):
                texts |= shown_of(pid)
            connection.close()
            told, complained = process.communicate(timeout=30)
        texts["login cut off"] = told + complained
        texts["logout"] = run_smbfs("logout", where, env=environment).stdout.encode()
        assert samba.user.encode() in texts["logout"]
    assert_free_of(forms_of_password(secret), texts)


def test_credentials_do_not_show_themselves(samba: SambaServer) -> None:
    secret = samba.password
    shown = [
        repr(Credentials("ann", password=secret)),
        repr(CredentialFile("ann", password=secret)),
        repr(KeyringEntry(server="nas", user="ann", password=secret)),
        repr(NtlmAuthenticator(Credentials("ann", password=secret), "server")),
        repr(SessionKeys(*[secret.encode()] * 3)),
        repr(signer_for(SigningAlgorithm.AES_GMAC, secret.encode().ljust(16))),
    ]
    assert not [text for text in shown if secret in text]
