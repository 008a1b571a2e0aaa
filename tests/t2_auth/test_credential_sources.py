"""Credentials are looked for in the documented order, and the search never hangs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from smbfs.auth.credential_sources import CredentialRequest, find_credentials
from smbfs.auth.credentials import Credentials
from smbfs.auth.keyring_process import KeyringProcess
from smbfs.errors import AuthenticationError, ConfigError
from tests.t2_auth.conftest import KeyringThat, stored

Environment = dict[str, str]


@pytest.fixture
def keyring(keyring_that: KeyringThat) -> Environment:
    environment = keyring_that("answers")
    with KeyringProcess(environment) as process:
        process.put(stored("alice", "from-keyring"))
        process.put(stored("bob", "bobs", domain="BED"))
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


def test_order(tmp_path: Path, file: Path, keyring: Environment) -> None:
    systemd = write(tmp_path / "creds" / "smbfs", "username=alice\npassword=from-systemd\n")
    environment = keyring | {"CREDENTIALS_DIRECTORY": str(systemd.parent)}
    everything = request(file=file, environment=environment, ask=typed)
    assert find_credentials(everything) == Credentials(
        "alice", "BED", "from-file", f"credentials file {file}", file.stat().st_mtime_ns
    )
    without_file = request(environment=environment, ask=typed)
    assert find_credentials(without_file) == Credentials(
        "alice", "", "from-systemd", f"systemd ({systemd})", systemd.stat().st_mtime_ns
    )
    without_systemd = find_credentials(request(environment=keyring, ask=typed, user="alice"))
    assert replace(without_systemd, as_of_ns=0) == Credentials(
        "alice", "", "from-keyring", "keyring"
    )
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


def test_systemds_folder_may_be_one_that_can_not_be_looked_at() -> None:
    with pytest.raises(AuthenticationError, match="no password"):
        find_credentials(request(environment={"CREDENTIALS_DIRECTORY": "x" * 300}))


def test_keyring_finds_by_user_and_domain(keyring: Environment) -> None:
    found = find_credentials(request(user="bob", domain="BED", environment=keyring))
    assert (found.qualified_name, found.password) == ("BED\\bob", "bobs")
    found = find_credentials(request(user="bob", environment=keyring))
    assert (found.qualified_name, found.password) == ("BED\\bob", "bobs")
    with pytest.raises(AuthenticationError, match="no password for carol at nas"):
        find_credentials(request(user="carol", environment=keyring))


def test_keyring_with_several_users_has_one_named(keyring: Environment) -> None:
    """Also where somebody could type a password: who is meant is a question of its own."""
    with pytest.raises(AuthenticationError, match="whose password is meant") as caught:
        find_credentials(request(environment=keyring, ask=typed))
    assert "alice, BED\\bob" in caught.value.why
    assert "user=alice" in caught.value.do


def test_keyring_tells_when_a_password_was_stored(keyring: Environment) -> None:
    """Storing the same again is how people say that it is to be tried again."""
    before = find_credentials(request(user="alice", environment=keyring))
    assert before == find_credentials(request(user="alice", environment=keyring))
    with KeyringProcess(keyring) as process:
        process.put(stored("alice", "from-keyring"))
    assert before.as_of_ns < find_credentials(request(user="alice", environment=keyring)).as_of_ns


def test_who_is_asked_is_told_what_is_wrong_with_the_keyring(keyring_that: KeyringThat) -> None:
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return "x"

    for does in ("locked", "answers"):
        assert find_credentials(request(environment=keyring_that(does), ask=ask)).source == "prompt"
    question = "Password for me at nas: "
    assert prompts == [f"(the keyring is locked)\n{question}", question]


@pytest.mark.parametrize(
    ("does", "remedy"), [("locked", "unlock the keyring"), ("answers", "run `smbfs login nas`")]
)
def test_who_has_no_password_is_told_what_the_keyring_needs(
    keyring_that: KeyringThat, does: str, remedy: str
) -> None:
    with pytest.raises(AuthenticationError) as caught:
        find_credentials(request(environment=keyring_that(does)))
    assert caught.value.do.startswith(f"{remedy}, give credentials=FILE")


def test_secrets_stay_out_of_repr() -> None:
    assert "hunter2" not in repr(Credentials("alice", "BED", "hunter2"))
    assert "hunter2" not in repr(stored("alice", "hunter2"))
