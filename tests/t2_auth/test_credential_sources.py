"""Credentials are looked for in the documented order, and the search never hangs."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from smbfs.auth import keyring_reader
from smbfs.auth.credential_sources import CredentialRequest, find_credentials
from smbfs.auth.credentials import Credentials
from smbfs.auth.keyring_reader import KeyringEntry, read_keyring
from smbfs.errors import AuthenticationError, ConfigError

# A keyring's backend of our own, since its faults can't be had on demand from a real one.
BACKEND = """
import os, time
from keyring import backend, credentials, errors

class Keyring(backend.KeyringBackend):
    priority = 9

    def get_credential(self, service, username):
        match os.environ["KEYRING_DOES"]:
            case "locked":
                raise errors.KeyringLocked("secret")
            case "hang":
                time.sleep(600)
            case "crash":
                os._exit(3)
            case "talk":
                print("noise")
            case "break":
                raise RuntimeError("D-Bus is gone")
        entries = {("smbfs:nas", "alice"): "from-keyring", ("smbfs:nas", "BED\\\\bob"): "bobs"}
        for (where, who), password in entries.items():
            if where == service and username in (None, who):
                return credentials.SimpleCredential(who, password)
        return None

    def get_password(self, service, username):
        raise NotImplementedError
    set_password = delete_password = get_password
"""

Environment = dict[str, str]


@pytest.fixture
def keyring(tmp_path: Path) -> Callable[[str], Environment]:
    (tmp_path / "backend_of_test.py").write_text(textwrap.dedent(BACKEND))

    def environment(does: str) -> Environment:
        return {
            "PYTHONPATH": str(tmp_path),
            "PYTHON_KEYRING_BACKEND": "backend_of_test.Keyring",
            "KEYRING_DOES": does,
            "HOME": str(tmp_path),
        }

    return environment


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "credentials", "username=alice\npassword=from-file\ndomain=BED\n")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def request(**fields: object) -> CredentialRequest:
    values: dict[str, object] = {"server": "nas", "login_name": "me", "environment": {}}
    return CredentialRequest(**{**values, **fields})  # type: ignore[arg-type]


def typed(_prompt: str) -> str:
    return "from-prompt"


def test_order(tmp_path: Path, file: Path, keyring: Callable[[str], Environment]) -> None:
    systemd = write(tmp_path / "creds" / "smbfs", "username=alice\npassword=from-systemd\n")
    environment = keyring("answer") | {"CREDENTIALS_DIRECTORY": str(systemd.parent)}
    everything = request(file=file, environment=environment, ask=typed)
    assert find_credentials(everything) == Credentials(
        "alice", "BED", "from-file", f"credentials file {file}", file.stat().st_mtime_ns
    )
    without_file = request(environment=environment, ask=typed)
    assert find_credentials(without_file) == Credentials(
        "alice", "", "from-systemd", f"systemd ({systemd})", systemd.stat().st_mtime_ns
    )
    without_systemd = request(environment=keyring("answer"), ask=typed, user="alice")
    assert find_credentials(without_systemd) == Credentials("alice", "", "from-keyring", "keyring")
    without_any = request(environment={}, ask=typed)
    assert find_credentials(without_any) == Credentials("me", "", "from-prompt", "prompt")


def test_user_and_domain_come_along(file: Path) -> None:
    assert find_credentials(request(file=file)).qualified_name == "BED\\alice"
    assert find_credentials(request(file=file, domain="X")).qualified_name == "X\\alice"
    assert find_credentials(request(user="alice@EXAMPLE.ORG", ask=typed)).qualified_name == (
        "alice@EXAMPLE.ORG"
    )


def test_file_without_password_names_the_user_for_the_prompt(tmp_path: Path) -> None:
    path = write(tmp_path / "c", "username=alice\ndomain=BED\n")
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return "x"

    assert find_credentials(request(file=path, ask=ask)).qualified_name == "BED\\alice"
    assert prompts == ["Password for alice at nas: "]


def test_two_users_are_an_error(file: Path) -> None:
    with pytest.raises(ConfigError, match="bob by option and alice in a file"):
        find_credentials(request(file=file, user="bob"))
    assert find_credentials(request(file=file, user="ALICE")).username == "alice"


def test_guests_have_no_password(file: Path) -> None:
    nobody = find_credentials(request(guest=True, file=file, ask=typed))
    assert (nobody.is_guest, nobody.is_anonymous, nobody.password) == (True, True, "")
    named = find_credentials(request(guest=True, user="Guest"))
    assert (named.is_guest, named.is_anonymous, named.username) == (True, False, "Guest")


def test_nothing_found_names_every_source(tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError) as caught:
        find_credentials(request(environment={"CREDENTIALS_DIRECTORY": str(tmp_path)}))
    why = caught.value.why
    assert "credentials=" in why
    assert str(tmp_path / "smbfs") in why
    assert "keyring" in why
    assert "terminal" in why
    assert "credentials=FILE" in caught.value.do


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("locked", "the keyring is locked"),
        ("crash", "could not be asked"),
        ("break", "RuntimeError"),
        ("talk", "could not be asked"),
    ],
)
def test_keyring_that_fails_says_how(
    keyring: Callable[[str], Environment], does: str, reason: str
) -> None:
    answer = read_keyring("nas", ["alice"], keyring(does))
    assert isinstance(answer, str)
    assert reason in answer


def test_keyring_that_hangs_is_given_up(
    keyring: Callable[[str], Environment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring_reader, "_HEADLESS_TIMEOUT_S", 0.3)
    answer = read_keyring("nas", [], keyring("hang"))
    assert isinstance(answer, str)
    assert "locked?" in answer


def test_keyring_finds_by_user_by_domain_and_anybody(
    keyring: Callable[[str], Environment],
) -> None:
    environment = keyring("answer")
    assert read_keyring("NAS", [], environment) == KeyringEntry("alice", "from-keyring")
    assert read_keyring("nas", ["BED\\bob", "bob"], environment) == KeyringEntry("BED\\bob", "bobs")
    assert read_keyring("nas", ["carol"], environment) == (
        "the keyring holds nothing for this server"
    )
    found = find_credentials(request(user="bob", domain="BED", environment=environment))
    assert found.qualified_name == "BED\\bob"


def test_machine_without_a_session_is_not_even_asked() -> None:
    assert read_keyring("nas", [], {}) == "there is no keyring in this session"


def test_secrets_stay_out_of_repr() -> None:
    assert "hunter2" not in repr(Credentials("alice", "BED", "hunter2"))
    assert "hunter2" not in repr(KeyringEntry("alice", "hunter2"))
