"""Which password of a keyring is meant, which keyrings are used, and that none of them hangs us."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from smbfs.auth import keyring_process
from smbfs.auth.keyring_entries import (
    KeyringEntry,
    KeyringQuery,
    SeveralUsers,
    choose,
    meant_by,
    parse_port,
)
from smbfs.auth.keyring_process import KeyringProcess, KeyringUnusable
from tests.t2_auth.conftest import Environment, KeyringThat, stored

ALICE = stored("alice", "a")
BOB = stored("bob", "b", domain="BED")
BOBS_MEDIA = stored("bob", "m", share="Media", domain="BED")
ELSEWHERE = stored("alice", "e", port=4455)
EVERYTHING = (ALICE, BOB, BOBS_MEDIA, ELSEWHERE)


def query(**fields: object) -> KeyringQuery:
    return KeyringQuery(**{"server": "nas", **fields})  # type: ignore[arg-type]


# --- which one --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "entry"),
    [
        ({"user": "alice"}, ALICE),
        ({"user": "ALICE", "server": "NAS"}, ALICE),
        ({"user": "alice", "share": "media"}, ALICE),
        ({"user": "bob"}, BOB),
        ({"user": "bob", "domain": "bed"}, BOB),
        ({"user": "bob", "domain": "OTHER"}, None),
        ({"share": "media"}, BOBS_MEDIA),
        ({"user": "bob", "share": "MEDIA"}, BOBS_MEDIA),
        ({"port": 4455}, ELSEWHERE),
        ({"port": 4456}, None),
        ({"user": "carol"}, None),
        ({"server": "other"}, None),
    ],
)
def test_the_password_that_a_mount_uses(
    fields: dict[str, object], entry: KeyringEntry | None
) -> None:
    assert choose(EVERYTHING, query(**fields)) == entry
    assert choose(reversed(EVERYTHING), query(**fields)) == entry


def test_several_users_are_not_guessed() -> None:
    with pytest.raises(SeveralUsers) as caught:
        choose(EVERYTHING, query())
    assert caught.value.users == ["alice", "BED\\bob"]
    in_two_domains = [BOB, stored("bob", domain="ELSE")]
    with pytest.raises(SeveralUsers):
        choose(in_two_domains, query(user="bob"))
    without_one = stored("bob")
    assert choose([*in_two_domains, without_one], query(user="bob")) == without_one


def test_of_two_for_the_same_the_newer_is_used() -> None:
    """Another program may have stored one, too."""
    older = stored("alice", "old", changed_ns=1)
    newer = stored("Alice", "new", changed_ns=2)
    assert choose([newer, older], query()) == newer
    assert choose([older, newer], query()) == newer


@pytest.mark.parametrize(
    ("fields", "entries"),
    [
        ({}, [ALICE, BOB, BOBS_MEDIA]),
        ({"port": None}, [ALICE, BOB, BOBS_MEDIA, ELSEWHERE]),
        ({"user": "Bob"}, [BOB, BOBS_MEDIA]),
        ({"user": "bob", "domain": "other"}, []),
        ({"share": "media"}, [BOBS_MEDIA]),
        ({"server": "NAS", "user": "alice"}, [ALICE]),
        ({"server": "other"}, []),
    ],
)
def test_what_a_logout_removes(fields: dict[str, object], entries: list[KeyringEntry]) -> None:
    assert meant_by(EVERYTHING, query(**fields)) == entries


def test_ports_as_others_write_them() -> None:
    assert [parse_port(text) for text in (None, "", "0", "445", "4455")] == [
        *(445, 445, 445, 445, 4455)
    ]
    assert [parse_port(text) for text in ("-1", "x", "44 5", "1" * 6, "\u0665")] == [None] * 5


# --- a backend that knows names only ----------------------------------------------------------


def test_passwords_of_a_server_come_and_go(keyring_that: KeyringThat) -> None:
    with KeyringProcess(keyring_that("answers")) as keyring:
        for entry in EVERYTHING:
            keyring.put(entry)
        keyring.put(stored("Alice", "another"))
        found = keyring.find(query(user="alice"))
        assert found is not None
        assert (found.user, found.password, found.changed_ns > 0) == ("Alice", "another", True)
        removed = keyring.remove(query(user="bob"))
        assert [(entry.share, entry.password) for entry in removed] == [(None, ""), ("Media", "")]
        assert keyring.remove(query(user="bob")) == []
        assert keyring.find(query(share="media")) == found
        assert len(keyring.remove(query(port=None))) == 2
        assert keyring.find(query()) is None


def test_every_character_comes_back(keyring_that: KeyringThat) -> None:
    password = "".join(map(chr, range(1, 0x250))) + "\u2028\U0001f511"
    entry = stored("\u00e4nn", password)
    with KeyringProcess(keyring_that("answers")) as keyring:
        keyring.put(entry)
        found = keyring.find(query())
    assert found is not None
    assert (found.user, found.password) == (entry.user, password)


# --- faults -----------------------------------------------------------------------------------


def why_not(environment: Environment, *, may_ask: bool = True) -> str:
    with (
        KeyringProcess(environment, may_ask=may_ask) as keyring,
        pytest.raises(KeyringUnusable) as caught,
    ):
        keyring.find(query())
    text = f"{caught.value!r}{caught.value.why}{caught.value.do}{caught.value.__cause__!r}"
    assert "secret" not in text
    return caught.value.reason


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("locked", "the keyring is locked"),
        ("crashes", "it has ended"),
        ("breaks", "TypeError"),
        ("asks", "there is no terminal"),
        ("is another's", "what it holds for nas can't be read"),
    ],
)
def test_a_keyring_that_fails_says_how(keyring_that: KeyringThat, does: str, reason: str) -> None:
    assert reason in why_not(keyring_that(does))


def test_what_a_keyring_prints_is_no_answer(keyring_that: KeyringThat) -> None:
    with KeyringProcess(keyring_that("talks")) as keyring:
        assert keyring.find(query()) is None


def test_a_keyring_that_hangs_is_given_up(
    keyring_that: KeyringThat, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("_HEADLESS_TIMEOUT_S", "_PATIENCE_S"):
        monkeypatch.setattr(keyring_process, limit, 1)
    began = time.monotonic()
    assert "locked?" in why_not(keyring_that("hangs"))
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("backend_of_test.PlaintextKeyring", "as plain text, and is not used"),
        ("keyring.backends.null.Keyring", "switched off"),
        ("keyring.backends.fail.Keyring", "there is no keyring in this session"),
        ("no_such_module.Keyring", "no_such_module"),
        ("backend_of_test.NoSuchKeyring", "NoSuchKeyring"),
        ("keyring.backends.SecretService.Keyring", "the keyring keyring.backends.SecretService"),
    ],
)
def test_a_keyring_that_is_none(keyring_that: KeyringThat, backend: str, reason: str) -> None:
    environment = keyring_that("answers") | {"PYTHON_KEYRING_BACKEND": backend}
    assert reason in why_not(environment)


def test_the_keyring_librarys_own_file_chooses(keyring_that: KeyringThat, tmp_path: Path) -> None:
    environment = keyring_that("locked")
    config = tmp_path / ".config" / "python_keyring" / "keyringrc.cfg"
    config.parent.mkdir(parents=True)
    config.write_text(f"[backend]\ndefault-keyring={environment.pop('PYTHON_KEYRING_BACKEND')}\n")
    assert why_not(environment) == "the keyring is locked"


def test_a_backend_that_nobody_chose_is_not_used(keyring_that: KeyringThat, tmp_path: Path) -> None:
    """Installing one is no choice: it may keep passwords anywhere."""
    environment = keyring_that("locked")
    del environment["PYTHON_KEYRING_BACKEND"]
    info = tmp_path / "backend_of_test-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: backend-of-test\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[keyring.backends]\ntest = backend_of_test\n")
    environment["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={tmp_path}/no-such-bus"
    assert why_not(environment).startswith("there is no keyring in this session")


def test_a_machine_without_a_session_is_not_even_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert why_not({}) == "there is no keyring in this session"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "sudo or fstab" in why_not({})


def test_whoever_has_no_keyring_hears_of_the_alternatives() -> None:
    with KeyringProcess({}) as keyring, pytest.raises(KeyringUnusable) as caught:
        keyring.make_ready("nas")
    for alternative in ("credentials=FILE", "$CREDENTIALS_DIRECTORY", "smbfs[keyring-file]"):
        assert alternative in caught.value.do
