"""The way from a server's certificate to an authority that we trust."""

from __future__ import annotations

import ipaddress
import ssl
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from aioquic import tls
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification

from smbfs.errors import CertificateRefused, ConfigError
from smbfs.transport.quic_settings import Trust

Chain = Sequence[x509.Certificate]

MALFORMED_CERTIFICATE: Final = (
    ValueError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises while it reads a certificate. Most of them are no ValueError."""

_SYSTEM_AUTHORITIES: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/ca-bundle.pem"),
)
_END: Final = b"-----END CERTIFICATE-----"

_ANY: Final = verification.Criticality.AGNOSTIC
_ISSUER_POLICY: Final = verification.ExtensionPolicy.permit_all().require_present(
    x509.BasicConstraints, _ANY, None
)
"""Authorities of companies lack much that those of browsers must have."""

_LEAF_POLICY: Final = verification.ExtensionPolicy.permit_all().require_present(
    x509.SubjectAlternativeName, _ANY, None
)


def build_chain(
    chain: Chain, server_name: str, trust: Trust, at: datetime, *, is_current: bool
) -> Chain:
    """Return the way from the server's certificate to an authority that we trust, both included.

    ``chain`` is what the server has shown, its own first. Two have to agree that there is a way:
    OpenSSL, which knows every rule for authorities, and cryptography, which tells it. OpenSSL knows
    no time but now, so it is asked only of what ``is_current``: ``at`` is now.
    Raises: CertificateRefused if there is none; ConfigError if the file of authorities can't be
    used.
    """
    subject: verification.Subject = x509.DNSName(server_name)
    if is_address(server_name):
        subject = x509.IPAddress(ipaddress.ip_address(server_name))
    authorities = _authorities(trust.authorities)
    builder = (
        verification.PolicyBuilder()
        .time(at)
        .extension_policies(ca_policy=_ISSUER_POLICY, ee_policy=_LEAF_POLICY)
    )
    try:
        if not authorities:
            raise verification.VerificationError("there are no authorities to trust")
        verifier = builder.store(verification.Store(authorities)).build_server_verifier(subject)
        built = verifier.verify(chain[0], list(chain[1:]))
        if is_current:
            anchor = built[-1].public_bytes(Encoding.PEM)
            tls.verify_certificate(chain[0], list(built[1:-1]), cadata=anchor)
    except (verification.VerificationError, tls.Alert) as error:
        self_signed = chain[0].subject == chain[0].issuer
        raise CertificateRefused(
            "the server's certificate is signed by nobody whom we trust.",
            f"{'it signs itself' if self_signed else error} (looked in {store_of(trust)}).",
            "give its authority with quic_ca=FILE; for a self-signed certificate give "
            f"quic_pin={chain[0].fingerprint(hashes.SHA256()).hex()} after you have checked that "
            "this is the server's.",
        ) from error
    return built


def store_of(trust: Trust) -> str:
    """Return where authorities are looked for, in words."""
    return str(trust.authorities or "the system's store")


def _authorities(given: Path | None) -> list[x509.Certificate]:
    if given is None:
        path = system_authorities()
        return list(_readable(path.read_bytes())) if path is not None else []
    try:
        return x509.load_pem_x509_certificates(given.read_bytes())
    except (OSError, *MALFORMED_CERTIFICATE) as error:
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
            with suppress(*MALFORMED_CERTIFICATE):
                yield x509.load_pem_x509_certificate(block + _END)


def is_address(server_name: str) -> bool:
    """Whether a server is named by its address."""
    try:
        ipaddress.ip_address(server_name)
    except ValueError:
        return False
    return True


def system_authorities() -> Path | None:
    """Return the file of the authorities that this system trusts, if there is one."""
    preferred = ssl.get_default_verify_paths().cafile
    candidates = ((Path(preferred),) if preferred else ()) + _SYSTEM_AUTHORITIES
    return next((path for path in candidates if path.is_file()), None)
