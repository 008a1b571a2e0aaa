"""NTLMv2 in SPNEGO agrees on a key with its peer; nothing weaker is ever sent."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import spnego
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smbfs.auth.base import Authenticator
from smbfs.auth.credentials import Credentials
from smbfs.auth.spnego import AnonymousAuthenticator, NtlmAuthenticator, make_authenticator
from smbfs.errors import AuthenticationError, LocalProtocolError
from tests.beds.at_once import at_once

ALICE = Credentials("alice", "BED", "Passw0rd!")


@pytest.fixture
def acceptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> spnego.ContextProxy:
    users = tmp_path / "users"
    users.write_text("BED:alice:Passw0rd!\n:Guest:\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(users))
    return spnego.server(options=spnego.NegotiateOptions.use_negotiate)


def converse(client: Authenticator, server: spnego.ContextProxy) -> list[bytes]:
    """Exchange tokens until both are done; returns the client's."""
    sent = []
    token = at_once(client.step(None))
    while token is not None:
        sent.append(token)
        answer = server.step(token)
        token = at_once(client.step(answer)) if answer is not None and not client.complete else None
    return sent


def test_both_sides_get_the_same_key(acceptor: spnego.ContextProxy) -> None:
    client = make_authenticator(ALICE, "nas")
    converse(client, acceptor)
    assert client.complete
    assert acceptor.complete
    assert client.session_key == acceptor.session_key
    assert len(client.session_key) == 16
    assert (client.mechanism, client.is_anonymous) == ("ntlm", False)


def test_wrong_password_is_for_the_server_to_notice(acceptor: spnego.ContextProxy) -> None:
    client = make_authenticator(Credentials("alice", "BED", "wrong"), "nas")
    with pytest.raises(spnego.exceptions.SpnegoError):
        converse(client, acceptor)


def test_only_ntlmv2_is_sent(acceptor: spnego.ContextProxy) -> None:
    sent = converse(make_authenticator(ALICE, "nas"), acceptor)
    message = sent[1][sent[1].index(b"NTLMSSP\0") :]

    def field(at: int) -> bytes:
        length = int.from_bytes(message[at : at + 2], "little")
        offset = int.from_bytes(message[at + 4 : at + 8], "little")
        return message[offset : offset + length]

    lm_response, nt_response = field(12), field(20)
    # [MS-NLMP] 2.2.2.8: NTLMv2 is 16 bytes of proof and a structure; NTLMv1 is 24 bytes.
    assert len(nt_response) > 24
    assert nt_response[16:18] == b"\x01\x01"
    assert lm_response in (b"", bytes(24))
    assert b"Passw0rd!" not in b"".join(sent)
    assert "Passw0rd!".encode("utf-16-le") not in b"".join(sent)


@pytest.mark.parametrize("level", ["0", "1", "2", "x"])
def test_environment_can_not_ask_for_less(monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("LM_COMPAT_LEVEL", level)
    with pytest.raises(AuthenticationError, match="NTLMv1"):
        make_authenticator(ALICE, "nas")


def test_key_before_the_end_is_our_mistake() -> None:
    client = NtlmAuthenticator(ALICE, "nas")
    at_once(client.step(None))
    with pytest.raises(LocalProtocolError):
        _ = client.session_key


def answer_to(answer: bytes) -> bytes | None:
    """What a client that has said hello replies to ``answer``."""
    client = make_authenticator(ALICE, "nas")
    at_once(client.step(None))
    return at_once(client.step(answer))


def test_challenge_cut_off_at_any_length(acceptor: spnego.ContextProxy) -> None:
    hello = at_once(make_authenticator(ALICE, "nas").step(None))
    challenge = acceptor.step(hello)
    assert challenge is not None
    assert answer_to(challenge) is not None
    # Behind this the attributes begin; pyspnego takes what there is of them.
    fixed = challenge.index(b"NTLMSSP\0") + 48
    for length in range(1, fixed):
        with pytest.raises(AuthenticationError):
            answer_to(challenge[:length])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=3), st.integers(0, 400))
def test_altered_challenge_is_answered_or_an_authentication_error(
    acceptor: spnego.ContextProxy, patch: bytes, place: int
) -> None:
    hello = at_once(make_authenticator(ALICE, "nas").step(None))
    challenge = acceptor.new_context().step(hello)
    assert challenge is not None
    try:
        answer = answer_to(challenge[:place] + patch + challenge[place + len(patch) :])
    except AuthenticationError:
        return
    assert answer


@pytest.mark.parametrize(
    "answer", [b"\xff" * 64, b"NTLMSSP\0\x02\0\0\0", b"NTLMSSP\0", b"\x60\x80"]
)
def test_garbage_is_an_authentication_error(answer: bytes) -> None:
    client = make_authenticator(ALICE, "nas")
    at_once(client.step(None))
    with pytest.raises(AuthenticationError):
        at_once(client.step(answer))


def test_nobody_signs_on_without_a_key() -> None:
    client = make_authenticator(Credentials.guest(), "nas")
    assert isinstance(client, AnonymousAuthenticator)
    first = at_once(client.step(None))
    assert first is not None
    assert first.startswith(b"NTLMSSP\0\x01\0\0\0")
    with pytest.raises(AuthenticationError):
        at_once(client.step(b"garbage"))
    second = at_once(client.step(b"NTLMSSP\0\x02\0\0\0" + bytes(40)))
    assert second is not None
    assert client.complete
    assert (client.is_anonymous, client.mechanism, client.session_key) == (True, "guest", b"")
    # Every field is empty but the LM response, a zero byte at the end of the fixed part.
    assert second[12:20] == b"\x01\0\x01\0\x40\0\0\0"
    assert len(second) == 65
    assert int.from_bytes(second[60:64], "little") & 0x800


def test_named_guest_is_a_guest() -> None:
    client = make_authenticator(Credentials.guest("Guest"), "nas")
    assert (client.mechanism, client.is_anonymous) == ("guest", False)


def test_no_kdc_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would block, and be one more attempt with the password."""
    with socket.create_server(("127.0.0.1", 0)) as kdc:
        kdc.setblocking(False)
        config = tmp_path / "krb5.conf"
        config.write_text(
            "[libdefaults]\ndefault_realm = TEST.LOCAL\nudp_preference_limit = 1\n"
            f"[realms]\nTEST.LOCAL = {{\nkdc = 127.0.0.1:{kdc.getsockname()[1]}\n}}\n"
        )
        monkeypatch.setenv("KRB5_CONFIG", str(config))
        for user in ("alice", "alice@TEST.LOCAL"):
            client = NtlmAuthenticator(Credentials(user, "", "Passw0rd!"), "server")
            token = at_once(client.step(None))
            assert token is not None
            assert b"NTLMSSP\0" in token
        with pytest.raises(BlockingIOError):
            kdc.accept()
