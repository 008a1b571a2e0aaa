"""Whether to believe a server's certificate, and why not: requirement by requirement.

TLS has proved by then that the server owns the key. What is asked of the certificate is what
Windows asks of one for SMB over QUIC: a name of the server, a time in which it holds, the usages
``serverAuth`` and ``digitalSignature``, a key and signatures that nobody can forge, and an
authority that we trust. A pinned certificate is trusted for itself, without name or authority.

A mount stops at the first requirement that is not met; `smbfs doctor` wants to hear of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Final

import service_identity
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from smbfs.errors import CertificateRefused, ConfigError, UserError
from smbfs.transport.certificate_path import Chain, build_chain, is_address, store_of
from smbfs.transport.certificate_strength import (
    EC_BITS_MIN,
    RSA_BITS_MIN,
    key_of,
    signature_of,
    weakness_of,
)
from smbfs.transport.judgment import Facts, Judgment, Requirement
from smbfs.transport.quic_settings import Trust
from smbfs.transport.tunnel import ServerCertificate

_EXTENDED_USAGES: Final = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
}
"""Names for people. Spec: RFC 5280 section 4.2.1.12."""

_KEY_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)

_ISSUER_USAGES: Final = {
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}

_PINNED_FOR: Final = (
    Requirement.NAME,
    Requirement.EXTENDED_KEY_USAGE,
    Requirement.KEY_USAGE,
    Requirement.STRENGTH,
    Requirement.AUTHORITY,
    Requirement.CHAIN,
)
"""What is not asked of a pinned certificate."""


def check_server_certificate(
    chain: Chain, server_name: str, trust: Trust, now: datetime
) -> ServerCertificate:
    """Return what the server's certificate says if it is to be believed.

    ``chain`` is what the server has shown, its own first.
    Raises: CertificateRefused; ConfigError if the file of authorities can't be used.
    """
    if not chain:
        raise CertificateRefused(
            "the server has shown no certificate.",
            "nothing says who it is.",
            "have its QUIC set up with a certificate for its name.",
        )
    for judgment in judge_certificate(chain, server_name, trust, now):
        if judgment.refusal is not None:
            raise judgment.refusal
    return described(chain[0])


def judge_certificate(
    chain: Chain, server_name: str, trust: Trust, now: datetime
) -> Iterator[Judgment]:
    """Hold the server's certificate against each requirement.

    Whether it can be read at all comes first. It is to be believed if there is no refusal among all
    that comes: nobody may stop at the first requirement that is met.
    """
    refused: set[Requirement] = set()
    for judgment in _judge_leaf(chain[0], server_name, trust, now):
        if judgment.refusal is not None:
            refused.add(judgment.requirement)
        yield judgment
    if trust.pin is not None:
        yield from (Judgment(each, why_not="the certificate is pinned") for each in _PINNED_FOR)
    elif refused & {Requirement.READABLE, Requirement.STRENGTH}:
        for requirement in (Requirement.AUTHORITY, Requirement.CHAIN):
            yield Judgment(requirement, why_not="nobody can vouch for such a certificate")
    else:
        yield from _judge_issuers(chain, server_name, trust, now, refused=refused)


def _judge_leaf(
    leaf: x509.Certificate, server_name: str, trust: Trust, now: datetime
) -> Iterator[Judgment]:
    yield _judged(Requirement.READABLE, partial(_read, leaf))
    if trust.pin is not None:
        yield _judged(Requirement.PIN, partial(_check_pin, leaf, trust.pin))
    yield _judged(Requirement.VALIDITY, partial(_check_time, leaf, now))
    if trust.pin is None:
        yield _judged(Requirement.NAME, partial(_check_name, leaf, server_name))
        yield _judged(Requirement.EXTENDED_KEY_USAGE, partial(_check_extended_usage, leaf))
        yield _judged(Requirement.KEY_USAGE, partial(_check_key_usage, leaf))
        # The verifier would not say what is wrong with it.
        yield _judged(Requirement.STRENGTH, partial(_check_leaf_strength, leaf))


def _judge_issuers(
    chain: Chain, server_name: str, trust: Trust, now: datetime, *, refused: set[Requirement]
) -> Iterator[Judgment]:
    """Find the way to an authority, and judge those on it.

    A certificate with a wrong name or time was ``refused`` already. Who vouches for it is another
    question, so it is asked about a name and a time of its own.
    """
    leaf = chain[0]
    is_current = Requirement.VALIDITY not in refused
    at = now if is_current else max(leaf.not_valid_before_utc, min(now, leaf.not_valid_after_utc))
    if Requirement.NAME in refused:
        server_name = next(
            (name.replace("*", "any") for name in described(leaf).names), server_name
        )
    built: list[x509.Certificate] = []

    def find_authority(facts: Facts) -> None:
        built.extend(build_chain(chain, server_name, trust, at, is_current=is_current))
        facts["authority"] = built[-1].subject.rfc4514_string()
        facts["source"] = store_of(trust)

    yield _judged(Requirement.AUTHORITY, find_authority)
    if built:
        yield _judged(Requirement.CHAIN, partial(_check_authorities, built[1:]))
    else:
        yield Judgment(Requirement.CHAIN, why_not="it leads to no authority")


def _judged(requirement: Requirement, check: Callable[[Facts], None]) -> Judgment:
    """Have ``check`` note what it finds; its refusal becomes part of the judgment."""
    facts: Facts = {}
    refusal: UserError | None = None
    try:
        check(facts)
    except (CertificateRefused, ConfigError) as error:
        refusal = error
    except Exception as error:  # noqa: BLE001
        # Parts are read when they are needed, and what the libraries raise then is of many kinds:
        # ValueError, UnsupportedAlgorithm, DuplicateExtension, UnsupportedGeneralNameType, ...
        refusal = CertificateRefused(
            "the server's certificate can't be understood.",
            f"{error}.",
            "have it replaced at the server.",
        )
        refusal.__cause__ = error
    return Judgment(requirement, facts, refusal)


def described(certificate: x509.Certificate) -> ServerCertificate:
    """Return what a certificate says of itself."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        found: tuple[str, ...] = ()
    else:
        found = tuple(str(name.value) for name in names)
    return ServerCertificate(
        subject=certificate.subject.rfc4514_string(),
        names=found,
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        not_after=certificate.not_valid_after_utc,
    )


# Each notes in ``facts`` what it finds, and raises CertificateRefused if that is not enough.


def _read(leaf: x509.Certificate, facts: Facts) -> None:
    shown = described(leaf)
    facts["subject"] = shown.subject
    facts["sha256"] = shown.sha256


def _check_pin(leaf: x509.Certificate, pin: str, facts: Facts) -> None:
    facts["sha256"] = sha256 = leaf.fingerprint(hashes.SHA256()).hex()
    if sha256 != pin:
        raise CertificateRefused(
            "the server's certificate is not the pinned one.",
            f"it shows SHA-256 {sha256}\nand quic_pin= says    {pin}.",
            "ask its administrator whether the certificate was renewed, by another way than this "
            "network; if it was, give the new one with quic_pin=.",
        )


def _check_time(leaf: x509.Certificate, now: datetime, facts: Facts) -> None:
    facts["not_before"] = leaf.not_valid_before_utc.isoformat(timespec="seconds")
    facts["not_after"] = leaf.not_valid_after_utc.isoformat(timespec="seconds")
    facts["days_left"] = (leaf.not_valid_after_utc - now).days
    if now > leaf.not_valid_after_utc:
        raise CertificateRefused(
            "the server's certificate has expired.",
            f"it was good until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; "
            f"here it is {now:%Y-%m-%d %H:%M} UTC.",
            "have it renewed at the server; if this machine's clock is wrong, set it.",
        )
    if now < leaf.not_valid_before_utc:
        raise CertificateRefused(
            "the server's certificate is not valid yet.",
            f"it is good from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on; "
            f"here it is {now:%Y-%m-%d %H:%M} UTC.",
            "set this machine's clock if it is wrong; else have the certificate replaced.",
        )


def _check_name(leaf: x509.Certificate, server_name: str, facts: Facts) -> None:
    found = described(leaf).names
    facts["asked"] = server_name
    facts["san"] = list(found)
    verify = (
        verify_certificate_ip_address if is_address(server_name) else verify_certificate_hostname
    )
    try:
        verify(leaf, server_name)
    except (
        service_identity.VerificationError,
        service_identity.CertificateError,
        ValueError,
    ) as error:
        names = ", ".join(found) or "none"
        raise CertificateRefused(
            "the server's certificate is for another name.",
            f"we asked for {server_name}, and its names are: {names}.",
            "mount by one of these names, or have this one added to the certificate (a SAN DNS "
            "name for every name that clients use).",
        ) from error


def _check_extended_usage(leaf: x509.Certificate, facts: Facts) -> None:
    try:
        usages = [*leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value]
    except x509.ExtensionNotFound:
        usages = []
    facts["usages"] = [_EXTENDED_USAGES.get(usage, usage.dotted_string) for usage in usages]
    if ExtendedKeyUsageOID.SERVER_AUTH not in usages:
        raise _wrong_usage("extended key usage", "server authentication (1.3.6.1.5.5.7.3.1)")


def _check_key_usage(leaf: x509.Certificate, facts: Facts) -> None:
    try:
        key_usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        facts["usages"] = "not restricted"
        return
    facts["usages"] = [name.replace("_", " ") for name in _KEY_USAGES if getattr(key_usage, name)]
    if not key_usage.digital_signature:
        raise _wrong_usage("key usage", "digital signature")


def _wrong_usage(kind: str, lacking: str) -> CertificateRefused:
    return CertificateRefused(
        "the server's certificate was made for something else.",
        f"its {kind} lacks {lacking}.",
        "have a certificate made for servers, as for HTTPS.",
    )


def _check_authorities(above: Chain, facts: Facts) -> None:
    """Judge those between the server's certificate and the authority, and that itself."""
    facts["authorities"] = [
        f"{certificate.subject.rfc4514_string()} ({kind} {bits or ''}".rstrip() + ")"
        for certificate in above
        for kind, bits in (key_of(certificate),)
    ]
    *issuers, anchor = above
    for issuer in issuers:
        _check_issuer(issuer)
        _check_strength(issuer, is_anchor=False)
    _check_strength(anchor, is_anchor=True)


def _check_issuer(issuer: x509.Certificate) -> None:
    """An authority for something else, mail for example, does not vouch for servers."""
    try:
        usages = issuer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {*usages} & _ISSUER_USAGES:
        raise _wrong_usage("issuer's extended key usage", "server authentication")


def _check_leaf_strength(leaf: x509.Certificate, facts: Facts) -> None:
    facts["key"], facts["key_bits"] = key_of(leaf)
    facts["signature"] = signature_of(leaf)
    _check_strength(leaf, is_anchor=False)


def _check_strength(certificate: x509.Certificate, *, is_anchor: bool) -> None:
    weakness = weakness_of(certificate, is_anchor=is_anchor)
    if weakness:
        raise CertificateRefused(
            "the server's certificate can be forged.",
            f"{certificate.subject.rfc4514_string() or 'it'} has {weakness}; SHA-256, RSA of "
            f"{RSA_BITS_MIN} bits and ECDSA of {EC_BITS_MIN} are the least that is believed.",
            "have it replaced at the server.",
        )
