"""Whether to believe a server's certificate, and why not.

TLS has proved by then that the server owns the key. What is asked of the certificate is what
Windows asks of one for SMB over QUIC: a name of the server, a time in which it holds, the usages
``serverAuth`` and ``digitalSignature``, a key and signatures that nobody can forge, and an
authority that we trust. A pinned certificate is trusted for itself, without name or authority.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import service_identity
from aioquic import tls
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
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

Chain = Sequence[x509.Certificate]


def check_server_certificate(
    chain: Chain, server_name: str, trust: Trust, now: datetime
) -> ServerCertificate:
    """Return what the server's certificate says if it is to be believed.

    ``chain`` is what the server has shown, its own first. Raises: CertificateRefused.
    """
    leaf = chain[0]
    shown = described(leaf)
    if trust.pin is not None:
        _check_pin(shown, trust.pin)
    _check_time(leaf, now)
    if trust.pin is not None:
        return shown
    _check_name(leaf, shown, server_name)
    _check_usages(leaf)
    for certificate in chain:
        _check_strength(certificate)
    _check_authority(chain, trust)
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


def _check_strength(certificate: x509.Certificate) -> None:
    weakness = _weakness(certificate)
    if weakness:
        raise CertificateRefused(
            "the server's certificate can be forged.",
            f"{certificate.subject.rfc4514_string() or 'it'} has {weakness}; SHA-256, RSA of "
            f"{RSA_BITS_MIN} bits and ECDSA of {EC_BITS_MIN} are the least that is believed.",
            "have it replaced at the server.",
        )


def _weakness(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < RSA_BITS_MIN:
            return f"an RSA key of {key.key_size} bits"
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.key_size < EC_BITS_MIN:
            return f"an ECDSA key of {key.curve.key_size} bits"
    elif not isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return "a key of a kind that is not used any more"
    if certificate.subject == certificate.issuer:
        return ""  # Nobody relies on what a root says of itself.
    algorithm = certificate.signature_hash_algorithm
    if algorithm is not None and not isinstance(algorithm, _STRONG_HASHES):
        return f"a {algorithm.name.upper()} signature"
    return ""


def _check_authority(chain: Chain, trust: Trust) -> None:
    system = system_authorities() if trust.authorities is None else None
    # Not None: it would take a store of its own.
    given = _given_authorities(trust.authorities) if trust.authorities is not None else b""
    try:
        tls.verify_certificate(
            chain[0], list(chain[1:]), cadata=given, cafile=str(system) if system else None
        )
    except tls.AlertBadCertificate as error:
        where = trust.authorities or "the system's store"
        self_signed = chain[0].subject == chain[0].issuer
        raise CertificateRefused(
            "the server's certificate is signed by nobody whom we trust.",
            f"{'it signs itself' if self_signed else error} (looked in {where}).",
            "give its authority with quic_ca=FILE; for a self-signed certificate give "
            f"quic_pin={chain[0].fingerprint(hashes.SHA256()).hex()} after you have checked that "
            "this is the server's.",
        ) from error


def _given_authorities(path: Path) -> bytes:
    try:
        text = path.read_bytes()
        x509.load_pem_x509_certificates(text)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"quic_ca={path} can't be used.",
            f"{error}.",
            "give a PEM file with the certificates of the authorities to trust.",
        ) from error
    return text
