"""Which certificates are believed, and what is said of the others."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from smbfs.errors import CertificateRefused, ConfigError
from smbfs.transport import certificate_path
from smbfs.transport.certificate_path import system_authorities
from smbfs.transport.judgment import Requirement
from smbfs.transport.quic_settings import Trust
from smbfs.transport.server_certificate import (
    check_server_certificate,
    judge_certificate,
)
from smbfs.transport.tunnel import ServerCertificate
from tests.beds.pki import Pki

NAME = "bed.test"


def chain(pki: Pki, kind: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pki.leaf(kind).cert.read_bytes())


def check(
    pki: Pki, kind: str, name: str = NAME, *, trust: Trust | None = None
) -> ServerCertificate:
    trust = trust or Trust(authorities=pki.ca)
    return check_server_certificate(chain(pki, kind), name, trust, datetime.now(UTC))


@pytest.mark.parametrize("name", [NAME, NAME.upper(), "localhost", "127.0.0.1"])
def test_a_good_one_is_believed_and_described(pki: Pki, name: str) -> None:
    shown = check(pki, "server", name)
    assert shown.sha256 == pki.leaf("server").sha256
    assert {NAME, "localhost", "127.0.0.1"} <= set(shown.names)
    assert shown.not_after > datetime.now(UTC)


@pytest.mark.parametrize(
    ("kind", "what", "why"),
    [
        ("wrong_name", "another name", "other.test"),
        ("expired", "has expired", "good until"),
        ("not_yet_valid", "not valid yet", "good from"),
        ("client_eku", "something else", "1.3.6.1.5.5.7.3.1"),
        ("foreign", "nobody whom we trust", "ca.pem"),
        ("self_signed", "nobody whom we trust", "signs itself"),
        ("rsa_1024", "forged", "1024"),
        ("sha1_signed", "forged", "SHA1"),
    ],
)
def test_each_fault_is_refused_with_its_own_words(pki: Pki, kind: str, what: str, why: str) -> None:
    with pytest.raises(CertificateRefused) as caught:
        check(pki, kind)
    assert what in caught.value.what
    assert why in caught.value.why
    assert caught.value.do


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        ("wrong_name", ["NAME"]),
        ("expired", ["VALIDITY"]),
        ("not_yet_valid", ["VALIDITY"]),
        ("client_eku", ["EXTENDED_KEY_USAGE"]),
        ("client", ["NAME", "EXTENDED_KEY_USAGE"]),
        ("foreign", ["AUTHORITY"]),
        ("rsa_1024", ["STRENGTH"]),
        ("sha1_signed", ["STRENGTH"]),
    ],
)
def test_a_fault_is_not_taken_for_another(pki: Pki, kind: str, faults: list[str]) -> None:
    trust = Trust(authorities=pki.ca)
    judged = list(judge_certificate(chain(pki, kind), NAME, trust, datetime.now(UTC)))
    assert [each.requirement.name for each in judged if each.refusal is not None] == faults
    first = next(each.refusal for each in judged if each.refusal is not None)
    with pytest.raises(CertificateRefused) as caught:
        check(pki, kind)
    assert (caught.value.what, caught.value.why, caught.value.do) == (
        first.what,
        first.why,
        first.do,
    )


def test_every_fault_is_found(pki: Pki, tmp_path: Path) -> None:
    trust = Trust(authorities=Pki(tmp_path).ca)
    late = datetime.now(UTC) + timedelta(days=99)
    judged = list(judge_certificate(chain(pki, "client"), "x.test", trust, late))
    refused = {each.requirement: each.refusal for each in judged if each.refusal is not None}
    assert list(refused) == [
        Requirement.VALIDITY,
        Requirement.NAME,
        Requirement.EXTENDED_KEY_USAGE,
        Requirement.AUTHORITY,
    ]


def test_what_a_pin_stands_for_is_not_asked(pki: Pki) -> None:
    trust = Trust(pin=pki.leaf("expired").sha256)
    judged = list(judge_certificate(chain(pki, "expired"), "x.test", trust, datetime.now(UTC)))
    asked = {each.requirement: each.refusal for each in judged if not each.why_not}
    assert list(asked) == [Requirement.READABLE, Requirement.PIN, Requirement.VALIDITY]
    assert [each for each, refusal in asked.items() if refusal] == [Requirement.VALIDITY]


def test_the_facts_of_a_good_one(pki: Pki) -> None:
    trust = Trust(authorities=pki.ca)
    judged = list(judge_certificate(chain(pki, "server"), NAME, trust, datetime.now(UTC)))
    assert {each.refusal for each in judged} == {None}
    facts = {each.requirement: each.facts for each in judged}
    assert set(facts) == {*Requirement} - {Requirement.PIN}
    assert facts[Requirement.READABLE]["sha256"] == pki.leaf("server").sha256
    assert facts[Requirement.VALIDITY]["days_left"] == 29
    assert NAME in str(facts[Requirement.NAME]["san"])
    assert facts[Requirement.EXTENDED_KEY_USAGE] == {"usages": ["serverAuth"]}
    assert facts[Requirement.KEY_USAGE] == {"usages": ["digital signature"]}
    key = {"key": "ECDSA", "key_bits": 256, "signature": "SHA256"}
    assert facts[Requirement.STRENGTH] == key
    assert facts[Requirement.AUTHORITY]["source"] == str(pki.ca)
    assert facts[Requirement.CHAIN] == {"authorities": ["CN=smbfs tests\\, ca (ECDSA 256)"]}


def test_the_name_that_was_asked_for_counts(pki: Pki) -> None:
    for name in ("other.test", "bed.test.example", "127.0.0.2"):
        with pytest.raises(CertificateRefused, match="another name"):
            check(pki, "server", name)


def test_a_pin_stands_for_authority_and_name(pki: Pki) -> None:
    pin = Trust(pin=pki.leaf("self_signed").sha256)
    assert check(pki, "self_signed", "any.name", trust=pin).sha256 == pin.pin


def test_a_pin_believes_nothing_else(pki: Pki) -> None:
    """Not even what an authority vouches for: both thumbprints are shown."""
    pin = pki.leaf("self_signed").sha256
    with pytest.raises(CertificateRefused, match="pinned") as caught:
        check(pki, "server", trust=Trust(authorities=pki.ca, pin=pin))
    assert pin in caught.value.why
    assert pki.leaf("server").sha256 in caught.value.why


def test_a_pinned_certificate_ends_like_any_other(pki: Pki) -> None:
    with pytest.raises(CertificateRefused, match="expired"):
        check(pki, "expired", trust=Trust(pin=pki.leaf("expired").sha256))


def test_without_a_file_the_systems_authorities_count(pki: Pki) -> None:
    assert system_authorities() is not None
    with pytest.raises(CertificateRefused, match="nobody whom we trust") as caught:
        check(pki, "server", trust=Trust())
    assert "system" in caught.value.why


def test_the_end_is_seen_coming() -> None:
    now = datetime.now(UTC)
    for days, is_soon in ((29, True), (31, False)):
        shown = ServerCertificate("", (), "", now + timedelta(days=days))
        assert shown.ends_soon(now) is is_soon


def test_an_unreadable_file_of_authorities_is_said(pki: Pki, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for path in (empty, tmp_path / "missing.pem", Path(os.devnull)):
        with pytest.raises(ConfigError, match="quic_ca="):
            check(pki, "server", trust=Trust(authorities=path))


def test_a_system_without_authorities_trusts_nobody(
    pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate_path, "system_authorities", lambda: None)
    with pytest.raises(CertificateRefused, match="nobody whom we trust"):
        check(pki, "server", trust=Trust())


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Authority:
    """Signs what it is given, whether that is wise or not."""

    def __init__(self, name: str, key: Key | None = None, above: Authority | None = None) -> None:
        self.name = name
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.certificate = (above or self).sign(name, self.key, is_authority=True)

    def sign(
        self, name: str, key: Key, *extensions: x509.ExtensionType, is_authority: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=90))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def server(self, name: str = NAME, key: Key | None = None) -> x509.Certificate:
        """A server's certificate, good but for what was asked for."""
        return self.sign(
            name,
            key or ec.generate_private_key(ec.SECP256R1()),
            x509.SubjectAlternativeName([x509.DNSName(NAME)]),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        )


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@pytest.fixture
def root() -> Authority:
    return Authority("root")


@pytest.fixture
def trust(root: Authority, tmp_path: Path) -> Trust:
    path = tmp_path / "root.pem"
    path.write_bytes(root.certificate.public_bytes(Encoding.PEM))
    return Trust(authorities=path)


def judge(trust: Trust, *sent: x509.Certificate) -> None:
    check_server_certificate(sent, NAME, trust, datetime.now(UTC))


def test_authorities_may_have_others_below_them(root: Authority, trust: Trust) -> None:
    below = Authority("below", above=root)
    judge(trust, below.server(), below.certificate)
    with pytest.raises(CertificateRefused, match="nobody whom we trust"):
        judge(trust, below.server())


def test_a_weak_leaf_under_its_issuers_name_is_refused(root: Authority, trust: Trust) -> None:
    """A certificate is no root because it says so."""
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505
    with pytest.raises(CertificateRefused, match="forged"):
        judge(trust, root.server(root.name, weak))


def test_an_authority_that_can_be_forged_is_refused(tmp_path: Path) -> None:
    weak = Authority("weak", rsa.generate_private_key(65537, 1024))  # noqa: S505
    path = tmp_path / "weak.pem"
    path.write_bytes(weak.certificate.public_bytes(Encoding.PEM))
    with pytest.raises(CertificateRefused):
        judge(Trust(authorities=path), weak.server())


def test_an_authority_for_mail_does_not_vouch_for_servers(root: Authority, trust: Trust) -> None:
    mail = Authority("mail", above=root)
    for_mail = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    certificate = root.sign(mail.name, mail.key, for_mail, is_authority=True)
    with pytest.raises(CertificateRefused, match="something else"):
        judge(trust, mail.server(), certificate)


def test_a_server_is_no_authority(root: Authority, trust: Trust) -> None:
    server = Authority("server", above=root)
    certificate = root.server(server.name, server.key)
    with pytest.raises(CertificateRefused, match="nobody whom we trust"):
        judge(trust, server.server(), certificate)


def test_what_can_not_be_read_is_refused(root: Authority, trust: Trust) -> None:
    broken = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x03\x82\x05x")
    signed = root.sign(NAME, ec.generate_private_key(ec.SECP256R1()), broken)
    sent = x509.load_der_x509_certificate(signed.public_bytes(Encoding.DER))
    for believed in (trust, Trust(pin=sent.fingerprint(hashes.SHA256()).hex())):
        with pytest.raises(CertificateRefused, match="can't be understood"):
            judge(believed, sent)


@pytest.mark.parametrize("end", [b"", b"\n\n", b"# the end\n"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_a_file_of_authorities_however_it_is_written(
    root: Authority, tmp_path: Path, end: bytes, newline: bytes
) -> None:
    both = (Authority("other").certificate, root.certificate)
    text = b"".join(each.public_bytes(Encoding.PEM) for each in both).rstrip() + end
    path = tmp_path / "both.pem"
    path.write_bytes(text.replace(b"\n", newline))
    judge(Trust(authorities=path), root.server())
