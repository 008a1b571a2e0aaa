"""Whether to believe a server's certificate, and why not.

TLS has proved by then that the server owns the key. What is asked of the certificate is what
Windows asks of one for SMB over QUIC: a name of the server, a time in which it holds, the usages
``serverAuth`` and ``digitalSignature``, a key and signatures that nobody can forge, and an
authority that we trust. A pinned certificate is trusted for itself, without name or authority.
"""

from __future__ import annotations

import ipaddress
import ssl
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import service_identity
from aioquic import tls
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from smbfs.errors import CertificateRefused, ConfigError
from smbfs.transport.quic_settings import Trust
from smbfs.transport.tunnel import ServerCertificate

RSA_BITS_MIN: Final = 2048
EC_BITS_MIN: Final = 256

_SYSTEM_AUTHORITIES: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/ca-bundle.pem"),
)
_STRONG_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)

_ISSUER_USAGES: Final = {
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}

Chain = Sequence[x509.Certificate]

_END: Final = b"-----END CERTIFICATE-----"

_ANY: Final = verification.Criticality.AGNOSTIC
_ISSUER_POLICY: Final = verification.ExtensionPolicy.permit_all().require_present(
    x509.BasicConstraints, _ANY, None
)
"""Authorities of companies lack much that those of browsers must have."""

_LEAF_POLICY: Final = verification.ExtensionPolicy.permit_all().require_present(
    x509.SubjectAlternativeName, _ANY, None
)


def check_server_certificate(
    chain: Chain, server_name: str, trust: Trust, now: datetime
) -> ServerCertificate:
    """Return what the server's certificate says if it is to be believed.

    ``chain`` is what the server has shown, its own first. Raises: CertificateRefused.
    """
    try:
        return _judged(chain, server_name, trust, now)
    except (ValueError, UnsupportedAlgorithm) as error:  # Its parts are read when they are needed.
        raise CertificateRefused(
            "the server's certificate can't be understood.",
            f"{error}.",
            "have it replaced at the server.",
        ) from error


def _judged(chain: Chain, server_name: str, trust: Trust, now: datetime) -> ServerCertificate:
    leaf = chain[0]
    shown = described(leaf)
    if trust.pin is not None:
        _check_pin(shown, trust.pin)
    _check_time(leaf, now)
    if trust.pin is not None:
        return shown
    _check_name(leaf, shown, server_name)
    _check_usages(leaf)
    _check_strength(leaf, is_anchor=False)  # The verifier would not say what is wrong with it.
    *issuers, anchor = _built_chain(chain, server_name, trust, now)[1:]
    for issuer in issuers:
        _check_issuer(issuer)
        _check_strength(issuer, is_anchor=False)
    _check_strength(anchor, is_anchor=True)
    return shown


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


def system_authorities() -> Path | None:
    """Return the file of the authorities that this system trusts, if there is one."""
    preferred = ssl.get_default_verify_paths().cafile
    candidates = ((Path(preferred),) if preferred else ()) + _SYSTEM_AUTHORITIES
    return next((path for path in candidates if path.is_file()), None)


def _check_pin(shown: ServerCertificate, pin: str) -> None:
    if shown.sha256 != pin:
        raise CertificateRefused(
            "the server's certificate is not the pinned one.",
            f"it shows SHA-256 {shown.sha256}\nand quic_pin= says    {pin}.",
            "ask its administrator whether the certificate was renewed, by another way than this "
            "network; if it was, give the new one with quic_pin=.",
        )


def _check_time(leaf: x509.Certificate, now: datetime) -> None:
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


def _check_name(leaf: x509.Certificate, shown: ServerCertificate, server_name: str) -> None:
    is_address = _is_address(server_name)
    verify = verify_certificate_ip_address if is_address else verify_certificate_hostname
    try:
        verify(leaf, server_name)
    except (
        service_identity.VerificationError,
        service_identity.CertificateError,
        ValueError,
    ) as error:
        names = ", ".join(shown.names) or "none"
        raise CertificateRefused(
            "the server's certificate is for another name.",
            f"we asked for {server_name}, and its names are: {names}.",
            "mount by one of these names, or have this one added to the certificate (a SAN DNS "
            "name for every name that clients use).",
        ) from error


def _is_address(server_name: str) -> bool:
    try:
        ipaddress.ip_address(server_name)
    except ValueError:
        return False
    return True


def _check_usages(leaf: x509.Certificate) -> None:
    extensions = leaf.extensions
    try:
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usages = None
    if usages is None or ExtendedKeyUsageOID.SERVER_AUTH not in usages:
        raise _wrong_usage("extended key usage", "server authentication (1.3.6.1.5.5.7.3.1)")
    try:
        key_usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return  # Then it is not restricted.
    if not key_usage.digital_signature:
        raise _wrong_usage("key usage", "digital signature")


def _wrong_usage(kind: str, lacking: str) -> CertificateRefused:
    return CertificateRefused(
        "the server's certificate was made for something else.",
        f"its {kind} lacks {lacking}.",
        "have a certificate made for servers, as for HTTPS.",
    )


def _check_issuer(issuer: x509.Certificate) -> None:
    """An authority for something else, mail for example, does not vouch for servers."""
    try:
        usages = issuer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not {*usages} & _ISSUER_USAGES:
        raise _wrong_usage("issuer's extended key usage", "server authentication")


def _check_strength(certificate: x509.Certificate, *, is_anchor: bool) -> None:
    weakness = _weakness(certificate, is_anchor=is_anchor)
    if weakness:
        raise CertificateRefused(
            "the server's certificate can be forged.",
            f"{certificate.subject.rfc4514_string() or 'it'} has {weakness}; SHA-256, RSA of "
            f"{RSA_BITS_MIN} bits and ECDSA of {EC_BITS_MIN} are the least that is believed.",
            "have it replaced at the server.",
        )


def _weakness(certificate: x509.Certificate, *, is_anchor: bool) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < RSA_BITS_MIN:
            return f"an RSA key of {key.key_size} bits"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.key_size < EC_BITS_MIN:
            return f"an ECDSA key of {key.curve.key_size} bits"
    elif not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return "a key of a kind that is not used any more"
    if is_anchor:
        return ""  # Nobody relies on what it says of itself.
    algorithm = certificate.signature_hash_algorithm
    if algorithm is not None and not isinstance(algorithm, _STRONG_HASHES):
        return f"a {algorithm.name.upper()} signature"
    return ""


def _built_chain(chain: Chain, server_name: str, trust: Trust, now: datetime) -> Chain:
    """Return the way from the server's certificate to an authority that we trust, both included.

    Two have to agree that there is one: OpenSSL, which knows every rule for authorities, and
    cryptography, which tells the way.
    """
    subject: verification.Subject = x509.DNSName(server_name)
    if _is_address(server_name):
        subject = x509.IPAddress(ipaddress.ip_address(server_name))
    authorities = _authorities(trust.authorities)
    builder = (
        verification.PolicyBuilder()
        .time(now)
        .extension_policies(ca_policy=_ISSUER_POLICY, ee_policy=_LEAF_POLICY)
    )
    try:
        if not authorities:
            raise verification.VerificationError("there are no authorities to trust")
        verifier = builder.store(verification.Store(authorities)).build_server_verifier(subject)
        built = verifier.verify(chain[0], list(chain[1:]))
        anchor = built[-1].public_bytes(Encoding.PEM)
        tls.verify_certificate(chain[0], list(built[1:-1]), cadata=anchor)
    except (verification.VerificationError, tls.AlertBadCertificate) as error:
        where = trust.authorities or "the system's store"
        self_signed = chain[0].subject == chain[0].issuer
        raise CertificateRefused(
            "the server's certificate is signed by nobody whom we trust.",
            f"{'it signs itself' if self_signed else error} (looked in {where}).",
            "give its authority with quic_ca=FILE; for a self-signed certificate give "
            f"quic_pin={chain[0].fingerprint(hashes.SHA256()).hex()} after you have checked that "
            "this is the server's.",
        ) from error
    return built


def _authorities(given: Path | None) -> list[x509.Certificate]:
    if given is None:
        path = system_authorities()
        return list(_readable(path.read_bytes())) if path is not None else []
    try:
        return x509.load_pem_x509_certificates(given.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"quic_ca={given} can't be used.",
            f"{error}.",
            "give a PEM file with the certificates of the authorities to trust.",
        ) from error


def _readable(text: bytes) -> Iterator[x509.Certificate]:
    """Yield the certificates of a system's store; among so many some are odd."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for block in text.split(_END)[:-1]:
            with suppress(ValueError):
                yield x509.load_pem_x509_certificate(block + _END)
