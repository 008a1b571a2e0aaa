"""Kerberos agrees on a key with a server that proves itself, and with no other one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import spnego
import trio
from spnego.exceptions import NegotiateOptions

from smbfs.auth import kerberos_helper
from smbfs.auth.credential_sources import CredentialRequest, find_credentials
from smbfs.auth.credentials import Credentials
from smbfs.auth.kerberos import KerberosAuthenticator
from smbfs.auth.kerberos_cache import Ticket, Wanted, read_ticket
from smbfs.auth.kerberos_choice import kerberos_tickets
from smbfs.auth.kerberos_errors import ServerNotProved, TicketMissing, ticket_missing
from smbfs.auth.kerberos_tickets import Tickets
from smbfs.auth.kerberos_trial import try_tickets
from smbfs.auth.spnego import make_authenticator
from smbfs.config.model import MountOptions
from smbfs.errors import AuthenticationError, ConfigError, LocalProtocolError
from tests.beds.kdc import REALM, SERVER_NAME, Kdc
from tests.beds.samba_folder import ALICE, BOB, HOST, nss_wrapper

NO_KDC = """\
[libdefaults]
    default_realm = TEST.LOCAL
    dns_lookup_kdc = false
"""
ACCEPT_COMPLETE = bytes.fromhex("a1073005a0030a0100")
"""NegTokenResp: accept-completed, and nothing else."""
ACCEPT_NTLM = bytes.fromhex("a1153013a0030a0101a10c060a2b06010401823702020a")
"""NegTokenResp: accept-incomplete, supportedMech is NTLM."""


@pytest.fixture
def ccache(kdc: Kdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have this process live in the KDC's realm, with this ticket cache, which is not there yet."""
    path = tmp_path / "ccache"
    for name, value in kdc.environment(path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KRB5_KTNAME", str(kdc.service_keytab))
    monkeypatch.setenv("KRB5_CLIENT_KTNAME", str(tmp_path / "client.keytab"))
    monkeypatch.setenv("KRB5RCACHENAME", "none:")
    return path


@pytest.fixture
def signed_in(kdc: Kdc, ccache: Path) -> Path:
    kdc.sign_on(ccache=ccache)
    return ccache


def server() -> spnego.ContextProxy:
    return spnego.server(
        hostname=SERVER_NAME, service="cifs", options=NegotiateOptions.use_negotiate
    )


def client(name: str = SERVER_NAME) -> KerberosAuthenticator:
    return KerberosAuthenticator(Tickets(Wanted()), name)


async def test_both_sides_get_the_same_key(signed_in: Path) -> None:
    ours, theirs = client(), server()
    answer = theirs.step(await ours.step(None))
    with pytest.raises(LocalProtocolError):
        _ = ours.session_key
    await ours.step(answer)
    assert ours.complete
    assert theirs.complete
    assert ours.session_key == theirs.session_key
    assert len(ours.session_key) == 32  # of aes256-cts: ciphers of 256 bits take all of it
    assert (ours.mechanism, ours.is_anonymous) == ("kerberos", False)
    assert theirs.client_principal == f"{ALICE.name}@{REALM}"


async def test_no_ticket_is_forwarded_and_the_server_has_to_prove_itself(signed_in: Path) -> None:
    theirs = server()
    theirs.step(await client().step(None))
    assert theirs.context_attr & spnego.ContextReq.mutual_auth
    assert not theirs.context_attr & spnego.ContextReq.delegate


async def test_the_users_cache_is_only_read(signed_in: Path) -> None:
    before = await trio.Path(signed_in).read_bytes()
    await client().step(None)
    assert await trio.Path(signed_in).read_bytes() == before


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (ACCEPT_COMPLETE, "did not prove"),
        (ACCEPT_NTLM, "does not sign on with Kerberos"),
        (b"NTLMSSP\0\x02\0\0\0" + bytes(40), "does not sign on with Kerberos"),
        (b"", "did not prove"),
        (b"garbage", "did not prove"),
    ],
)
async def test_a_server_that_proves_nothing_is_refused(
    signed_in: Path, answer: bytes, what: str
) -> None:
    ours = client()
    await ours.step(None)
    with pytest.raises(ServerNotProved, match=what):
        await ours.step(answer)
    assert not ours.complete


async def test_an_altered_proof_is_refused(signed_in: Path) -> None:
    answer = server().step(await client().step(None))
    assert answer is not None
    for at in range(len(answer) - 100, len(answer), 7):  # within what the server's key has sealed
        ours, theirs = client(), server()
        answer = theirs.step(await ours.step(None))
        assert answer is not None
        altered = bytearray(answer)
        altered[at] ^= 1
        with pytest.raises(ServerNotProved):
            await ours.step(bytes(altered))
        assert not ours.complete


async def test_another_servers_proof_is_refused(signed_in: Path) -> None:
    """The answer to somebody else's token, made with the right key."""
    other = server().step(await client().step(None))
    ours = client()
    await ours.step(None)
    with pytest.raises(ServerNotProved):
        await ours.step(other)


async def test_a_password_for_ntlm_is_not_tried_with_the_kdc(signed_in: Path, kdc: Kdc) -> None:
    """Neither offered nor asked for: krb5.conf may name any KDC."""
    said = len(kdc.log())
    name = f"{ALICE.name}@{REALM}"
    ours = make_authenticator(Credentials(name, password=ALICE.password), SERVER_NAME)
    hello = await ours.step(None)
    assert hello is not None
    assert b"NTLMSSP" in hello
    assert bytes.fromhex("2a864886f712010202") not in hello
    assert kdc.log()[said:] == ""


async def test_no_cache(ccache: Path) -> None:
    with pytest.raises(TicketMissing, match="there is no Kerberos ticket") as caught:
        await client().step(None)
    assert "kinit" in caught.value.do


async def test_server_unknown(signed_in: Path) -> None:
    with pytest.raises(TicketMissing, match=r"does not know the server as cifs/nowhere\.test"):
        await client("nowhere.test").step(None)


async def test_no_kdc(signed_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "krb5.conf"
    config.write_text(NO_KDC)
    monkeypatch.setenv("KRB5_CONFIG", str(config))
    with pytest.raises(TicketMissing, match="no KDC answers"):
        await client().step(None)


def shift_clock(ccache: Path, seconds: int) -> None:
    """Have the cache say that the KDC's clock was so far ahead of ours (FILE format, version 4)."""
    content = bytearray(ccache.read_bytes())
    # 0504, length of the header 12, tag 1 (DeltaTime), its length 8, seconds, microseconds
    assert content[:8].hex() == "0504000c00010008"
    content[8:12] = seconds.to_bytes(4, "big", signed=True)
    ccache.write_bytes(content)


@pytest.mark.parametrize("seconds", [3600, -3600])
async def test_clocks_too_far_apart(signed_in: Path, seconds: int) -> None:
    shift_clock(signed_in, seconds)
    with pytest.raises(TicketMissing, match="clocks") as caught:
        await client().step(None)
    assert "timedatectl" in caught.value.do


async def test_a_wrong_clock_that_the_kdc_has_corrected_will_do(signed_in: Path, kdc: Kdc) -> None:
    """Within what Kerberos allows, but beyond our ticket's end by our clock alone."""
    kdc.sign_on(ALICE.name, ALICE.password, "-l", "60", ccache=signed_in)
    shift_clock(signed_in, -200)
    ticket = read_ticket(Wanted())
    assert 200 < ticket.left_s() <= 260
    await client().step(None)


def test_the_cache_of_another_user_is_not_used(signed_in: Path) -> None:
    assert read_ticket(Wanted("Alice")).principal == f"{ALICE.name}@{REALM}"
    assert read_ticket(Wanted(f"alice@{REALM.lower()}")).principal == f"{ALICE.name}@{REALM}"
    with pytest.raises(TicketMissing) as caught:
        read_ticket(Wanted(BOB.name))
    assert "alice@TEST.LOCAL's, not bob's" in caught.value.why
    with pytest.raises(TicketMissing):
        read_ticket(Wanted("alice@OTHER.REALM"))


def test_a_collection_has_the_cache_of_each_user(
    kdc: Kdc, ccache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "collection"
    folder.mkdir(mode=0o700)
    for user, name in ((BOB, "tkt-bob"), (ALICE, "tkt")):
        kdc.sign_on(user.name, user.password, ccache=folder / name)
    monkeypatch.setenv("KRB5CCNAME", f"DIR:{folder}")
    assert read_ticket(Wanted()).principal == f"{ALICE.name}@{REALM}"
    assert read_ticket(Wanted()).source.startswith("ticket cache DIR:")
    assert read_ticket(Wanted(BOB.name)).principal == f"{BOB.name}@{REALM}"


def test_a_keytab_gets_tickets(kdc: Kdc, ccache: Path, tmp_path: Path) -> None:
    kdc.add_principal("machine1")
    keytab = tmp_path / "named.keytab"
    kdc.write_keytab("machine1", keytab)
    ticket = read_ticket(Wanted(keytab=str(keytab)))
    assert (ticket.principal, ticket.of_keytab) == (f"machine1@{REALM}", True)
    assert ticket.source == f"keytab FILE:{keytab}"
    with pytest.raises(TicketMissing, match="keytab is of no use"):
        read_ticket(Wanted("alice", keytab=str(keytab)))
    with pytest.raises(TicketMissing, match="keytab is of no use") as caught:
        read_ticket(Wanted(keytab=str(tmp_path / "none")))
    assert "No such file" in caught.value.why
    assert not ccache.exists()


def test_the_clients_keytab_is_used_where_the_cache_has_nothing(
    kdc: Kdc, ccache: Path, tmp_path: Path
) -> None:
    kdc.add_principal("machine2")
    kdc.write_keytab("machine2", tmp_path / "client.keytab")
    assert read_ticket(Wanted()).principal == f"machine2@{REALM}"
    kdc.sign_on(ccache=ccache)
    assert read_ticket(Wanted()).principal == f"{ALICE.name}@{REALM}"


def test_a_keytab_whose_key_is_old(kdc: Kdc, ccache: Path, tmp_path: Path) -> None:
    kdc.add_principal("machine3", None, "+requires_preauth")
    kdc.write_keytab("machine3", tmp_path / "old")
    kdc.administer("cpw", "-randkey", "machine3")
    with pytest.raises(TicketMissing, match="does not accept the key"):
        read_ticket(Wanted(keytab=str(tmp_path / "old")))


def test_a_renewed_ticket_is_put_into_the_users_cache(kdc: Kdc, ccache: Path) -> None:
    kdc.sign_on(ALICE.name, ALICE.password, "-l", "20m", "-r", "2h", ccache=ccache)
    tickets = Tickets(Wanted())
    before = tickets.usable()
    assert before.renewable_until_s > before.ends_s
    after = tickets.renew()
    assert read_ticket(Wanted()).content == after.content != before.content
    assert ccache.stat().st_mode & 0o777 == 0o600


def test_a_session_that_is_over_takes_a_ticket_that_ends_later(kdc: Kdc, ccache: Path) -> None:
    kdc.sign_on(ALICE.name, ALICE.password, "-l", "10m", "-r", "10m", ccache=ccache)
    tickets = Tickets(Wanted())
    tickets.cache()
    tickets.signed_on("krbtgt/TEST.LOCAL")
    tickets.session_began()
    tickets.usable()
    tickets.session_is_over()
    with pytest.raises(TicketMissing, match="expired"):
        tickets.usable()
    kdc.sign_on(ALICE.name, ALICE.password, "-l", "11m", "-r", "11m", ccache=ccache)
    assert tickets.cache().startswith("MEMORY:")


async def test_a_newer_ticket_of_the_user_is_taken_up(kdc: Kdc, ccache: Path) -> None:
    kdc.sign_on(ALICE.name, ALICE.password, "-l", "10m", ccache=ccache)
    tickets = Tickets(Wanted())

    async def asked_for_server() -> int:
        before = len(kdc.log())
        await KerberosAuthenticator(tickets, SERVER_NAME).step(None)
        return kdc.log()[before:].count(f"for cifs/{SERVER_NAME}@")

    assert await asked_for_server() == 1
    assert await asked_for_server() == 0, "the server's ticket is the mount's until it ends"
    kdc.sign_on(ALICE.name, ALICE.password, "-l", "12m", ccache=ccache)
    assert await asked_for_server() == 1
    tickets.forget()
    assert await asked_for_server() == 1


def test_trial_tells_before_anybody_is_asked_for_a_password(kdc: Kdc, signed_in: Path) -> None:
    tickets = Tickets(Wanted())
    assert try_tickets(tickets, SERVER_NAME).principal == f"{ALICE.name}@{REALM}"
    with pytest.raises(TicketMissing, match="does not know the server"):
        try_tickets(tickets, "127.0.0.1")
    signed_in.unlink()
    with pytest.raises(TicketMissing, match="there is no Kerberos ticket"):
        try_tickets(tickets, SERVER_NAME)


def test_trial_tells_what_went_wrong_unexpectedly(
    signed_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tickets = Tickets(Wanted())
    monkeypatch.setattr(tickets, "cache", lambda: int("five"))
    with pytest.raises(TicketMissing, match="no Kerberos ticket for cifs") as caught:
        try_tickets(tickets, SERVER_NAME)
    assert "ValueError: invalid literal" in caught.value.why


def test_trial_does_not_wait_for_ever(signed_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = Tickets(Wanted())
    monkeypatch.setattr(tickets, "cache", lambda: os.read(os.pipe()[0], 1))
    with pytest.raises(TicketMissing, match="no KDC answers") as caught:
        try_tickets(tickets, SERVER_NAME, 1)
    assert "within 1 s" in caught.value.why


def request(name: str = SERVER_NAME, **fields: object) -> CredentialRequest:
    values: dict[str, object] = {
        "server": name,
        "login_name": "me",
        "environment": {},
        "tickets": lambda user: Tickets(Wanted(user)),
        "ask": lambda _prompt: "typed",
    }
    return CredentialRequest(**{**values, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("auth", ["auto", "kerberos"])
def test_a_ticket_goes_before_keyring_and_prompt(signed_in: Path, auth: str) -> None:
    found = find_credentials(request(auth=auth, user="alice"))
    assert found.tickets is not None
    assert (found.username, found.password) == (f"{ALICE.name}@{REALM}", "")
    assert found.source == f"ticket cache FILE:{signed_in}"
    assert isinstance(make_authenticator(found, SERVER_NAME), KerberosAuthenticator)


def test_a_password_is_asked_for_where_no_ticket_is_to_be_had(signed_in: Path) -> None:
    found = find_credentials(request("nas"))
    assert (found.tickets, found.password, found.source) == (None, "typed", "prompt")
    assert "does not know the server as cifs/nas" in found.remark
    signed_in.unlink()
    assert find_credentials(request("nas")).remark == ""


def test_a_password_is_no_second_choice_for_kerberos(ccache: Path, tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text("username=bob\npassword=secret\n")
    path.chmod(0o600)
    with pytest.raises(TicketMissing):
        find_credentials(request(auth="kerberos", file=path))
    with pytest.raises(AuthenticationError, match="only NTLM is left") as caught:
        find_credentials(request(block_ntlm=True, file=path))
    assert "there is no Kerberos ticket" in caught.value.why


@pytest.mark.parametrize(("field", "value"), [("guest", True), ("auth", "ntlm")])
def test_blocked_ntlm_is_not_to_be_had_by_another_name(field: str, value: object) -> None:
    with pytest.raises(AuthenticationError, match="only NTLM is left"):
        find_credentials(replace(request(block_ntlm=True), **{field: value}))  # type: ignore[arg-type]


def test_the_file_names_whose_tickets_are_wanted(kdc: Kdc, signed_in: Path, tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text("username=alice\npassword=secret\n")
    path.chmod(0o600)
    assert find_credentials(request(auth="kerberos", file=path)).tickets is not None
    path.write_text("username=bob\npassword=secret\n")
    with pytest.raises(TicketMissing):
        find_credentials(request(auth="kerberos", file=path))


def test_without_its_libraries_kerberos_is_refused_only_if_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("smbfs.auth.kerberos_choice.find_spec", lambda _name: None)
    assert kerberos_tickets(MountOptions()) is None
    with pytest.raises(AuthenticationError, match="not available") as caught:
        kerberos_tickets(MountOptions(auth="kerberos"))
    assert "smbfs[kerberos]" in caught.value.do


def test_only_root_uses_another_users_tickets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smbfs.auth.kerberos_choice.os.geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="cruid=1001"):
        kerberos_tickets(MountOptions(cruid=1001))


SIGN_ON = """\
import sys
from smbfs.auth.kerberos import KerberosAuthenticator
from smbfs.auth.kerberos_choice import kerberos_tickets
from smbfs.config.model import MountOptions
make = kerberos_tickets(MountOptions(trust_dns=sys.argv[1] == "True"))
KerberosAuthenticator(make(None), "alias.test").begin()
"""


@pytest.mark.parametrize("trust_dns", [False, True])
def test_names_are_as_typed_unless_dns_is_trusted(
    signed_in: Path, kdc: Kdc, tmp_path: Path, *, trust_dns: bool
) -> None:
    """The machine's configuration trusts it, as most do."""
    config, hosts = tmp_path / "trusting.conf", tmp_path / "hosts"
    config.write_text("[libdefaults]\n dns_canonicalize_hostname = true\n rdns = false\n")
    hosts.write_text(f"{HOST} {SERVER_NAME} alias.test\n")
    done = subprocess.run(
        [sys.executable, "-c", SIGN_ON, str(trust_dns)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "KRB5_CONFIG": f"{config}:{kdc.config_path}",
            "LD_PRELOAD": str(nss_wrapper()),
            "NSS_WRAPPER_HOSTS": str(hosts),
        },
    )
    assert (done.returncode == 0) is trust_dns, done.stderr
    assert ("does not know the server as cifs/alias.test" in done.stderr) is not trust_dns


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (-1765328377, "does not know the server"),
        ((1 << 32) - 1765328377, "does not know the server"),
        (-1765328352, "has expired"),
        (-1765328347, "clocks"),
        (-1765328228, "no KDC"),
        (-1765328243, "no Kerberos ticket"),
        (-1765328366, "locked, disabled or expired"),
        (-1, "no Kerberos ticket for cifs/nas"),
    ],
)
def test_every_refusal_says_what_why_and_what_to_do(code: int, what: str) -> None:
    error = ticket_missing(code, "words of the library", "cifs/nas")
    assert what in error.what
    assert "words of the library" in error.why
    assert error.do.endswith(".")


@pytest.mark.skipif(os.geteuid() != 0, reason="being another user takes root")
def test_a_reader_of_anothers_tickets_that_was_too_slow_once_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The answer that nobody has waited for is not taken for another one's."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)

    def ticket(name: str) -> Ticket:
        return Ticket(name, "cache", 0, 1, 0, (b"content",))

    def renew(_wanted: Wanted) -> Ticket:
        gate.read_bytes()
        return ticket("renewed")

    monkeypatch.setattr(kerberos_helper, "_PATIENCE_S", 1.0)
    monkeypatch.setattr(kerberos_helper, "renew_ticket", renew)
    monkeypatch.setattr(kerberos_helper, "read_ticket", lambda _wanted: ticket("read"))
    users = kerberos_helper.UsersTickets(os.getuid(), os.getgid(), Wanted())
    with users.attended():
        with pytest.raises(TicketMissing, match="no Kerberos ticket"):
            users.renew()
        gate.write_bytes(b"")
        assert users.read().principal == "read"
