"""What we offer in NEGOTIATE, what we accept as an answer, and the check for downgrades.

Spec: [MS-SMB2] 3.2.4.2.2.2 (the request), 3.2.5.2 (the response), 3.2.5.5 (validation).
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from smbfs.errors import (
    EncryptionNotOffered,
    NegotiateAltered,
    RemoteProtocolError,
    SecurityViolation,
    SigningNotOffered,
)
from smbfs.wire.dialect import Dialect
from smbfs.wire.ioctl import ValidateNegotiateInfoRequest, ValidateNegotiateInfoResponse
from smbfs.wire.negotiate import (
    Capabilities,
    Cipher,
    EncryptionCapabilities,
    HashAlgorithm,
    NegotiateContext,
    NegotiateRequest,
    NegotiateResponse,
    NetnameContext,
    PosixExtensions,
    PreauthIntegrityCapabilities,
    SecurityMode,
    SigningAlgorithm,
    SigningCapabilities,
    TransportCapabilities,
)

SINGLE_CREDIT_SIZE = 65536
"""Largest payload where the server can't count several credits a request (2.2.4)."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What this client can do and insists on."""

    client_guid: UUID
    salt: bytes
    """32 random bytes for the pre-authentication hash."""
    server_name: str
    dialects: tuple[Dialect, ...] = (
        Dialect.SMB_2_1,
        Dialect.SMB_3_0,
        Dialect.SMB_3_0_2,
        Dialect.SMB_3_1_1,
    )
    ciphers: tuple[Cipher, ...] = (
        Cipher.AES_128_GCM,
        Cipher.AES_256_GCM,
        Cipher.AES_128_CCM,
        Cipher.AES_256_CCM,
    )
    """In order of preference."""
    signing_algorithms: tuple[SigningAlgorithm, ...] = (
        SigningAlgorithm.AES_GMAC,
        SigningAlgorithm.AES_CMAC,
        SigningAlgorithm.HMAC_SHA256,
    )
    signing_required: bool = True
    encryption_required: bool = False
    posix: bool = True
    trusts_transport: bool = False
    """Whether the transport seals what it carries, so that doing so twice would be for nothing."""

    @property
    def security_mode(self) -> SecurityMode:
        """SecurityMode of NEGOTIATE and SESSION_SETUP."""
        if self.signing_required:
            return SecurityMode.SIGNING_ENABLED | SecurityMode.SIGNING_REQUIRED
        return SecurityMode.SIGNING_ENABLED

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities of NEGOTIATE: none before SMB 3 is offered, says 2.2.3."""
        if max(self.dialects) < Dialect.SMB_3_0:
            return Capabilities(0)
        return (
            Capabilities.LARGE_MTU
            | Capabilities.LEASING
            | Capabilities.DIRECTORY_LEASING
            | Capabilities.ENCRYPTION
            | Capabilities.MULTI_CHANNEL
            | Capabilities.PERSISTENT_HANDLES
        )

    def request(self) -> NegotiateRequest:
        """Return the NEGOTIATE request."""
        contexts: list[NegotiateContext] = []
        if Dialect.SMB_3_1_1 in self.dialects:
            contexts = [
                PreauthIntegrityCapabilities((HashAlgorithm.SHA_512,), self.salt),
                EncryptionCapabilities(self.ciphers),
                SigningCapabilities(self.signing_algorithms),
                NetnameContext(self.server_name),
            ]
            if self.posix:
                contexts.append(PosixExtensions())
            if self.trusts_transport:
                accepts = TransportCapabilities.ACCEPT_TRANSPORT_LEVEL_SECURITY
                contexts.append(TransportCapabilities(accepts))
        return NegotiateRequest(
            dialects=self.dialects,
            security_mode=self.security_mode,
            capabilities=self.capabilities,
            client_guid=self.client_guid,
            contexts=tuple(contexts),
        )

    def validation_request(self) -> ValidateNegotiateInfoRequest:
        """Return the payload of FSCTL_VALIDATE_NEGOTIATE_INFO: our offer, once more, signed."""
        return ValidateNegotiateInfoRequest(
            capabilities=self.capabilities,
            client_guid=self.client_guid,
            security_mode=self.security_mode,
            dialects=self.dialects,
        )


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What a connection speaks."""

    dialect: Dialect
    server_guid: UUID
    security_mode: SecurityMode
    capabilities: Capabilities
    max_transact_size: int
    max_read_size: int
    max_write_size: int
    signing_algorithm: SigningAlgorithm
    cipher: Cipher | None
    posix: bool
    trusts_transport: bool
    """Whether both sides leave the sealing to the transport (3.1.1.1)."""
    security_buffer: bytes
    """The server's first SPNEGO token; may be empty."""

    @property
    def supports_multi_credit(self) -> bool:
        """Whether one request may carry more than 64 KiB."""
        return self.dialect > Dialect.SMB_2_0_2 and Capabilities.LARGE_MTU in self.capabilities

    @property
    def grants_leases(self) -> bool:
        """Whether files may be leased, with epochs (SMB 3)."""
        return self.dialect >= Dialect.SMB_3_0 and Capabilities.LEASING in self.capabilities

    def may_bind(self, first: Negotiated) -> bool:
        """Whether a session that lives on a connection like ``first`` can come to this one, too.

        Spec: [MS-SMB2] 3.2.4.2.3.1, 3.3.5.5.2.
        """
        return (
            self.dialect >= Dialect.SMB_3_0
            and Capabilities.MULTI_CHANNEL in self.capabilities & first.capabilities
            and (self.dialect, self.server_guid) == (first.dialect, first.server_guid)
            and (self.signing_algorithm, self.cipher) == (first.signing_algorithm, first.cipher)
            # In SMB 3.0 nobody repeats, signed, what a further connection was told.
            and (self.capabilities, self.security_mode, self.posix)
            == (first.capabilities, first.security_mode, first.posix)
            # What travels in clear inside a tunnel must not do so outside.
            and self.trusts_transport == first.trusts_transport
        )

    @property
    def counts_channels(self) -> bool:
        """Whether requests tell how many channels were lost before them."""
        return self.dialect >= Dialect.SMB_3_0

    def check_validation(self, response: ValidateNegotiateInfoResponse) -> None:
        """Compare the signed repetition of the server's answer with the answer itself.

        Raises: NegotiateAltered when somebody changed NEGOTIATE on the way.
        Spec: [MS-SMB2] 3.2.5.5.
        """
        told = (response.capabilities, response.server_guid, response.security_mode)
        seen = (self.capabilities, self.server_guid, self.security_mode)
        if told != seen or response.dialect != self.dialect:
            raise NegotiateAltered("NEGOTIATE was altered on its way (validation failed)")


def conclude(offer: Offer, response: NegotiateResponse) -> Negotiated:
    """Judge the server's answer.

    Raises: NegotiationRefused when the server can't do what we require; RemoteProtocolError
    or SecurityViolation when it chose what we did not offer.
    Spec: [MS-SMB2] 3.2.5.2.
    """
    if response.dialect not in offer.dialects:
        raise RemoteProtocolError(f"the server chose dialect {response.dialect!r}, not offered")
    dialect = Dialect(response.dialect)
    if offer.signing_required and SecurityMode.SIGNING_ENABLED not in response.security_mode:
        raise SigningNotOffered(
            "the server does not offer signing.",
            "signing is required, and the server's NEGOTIATE answer does not offer it "
            "(Windows reports 0xC000A000, STATUS_INVALID_SIGNATURE).",
            "switch signing on in the server's settings.\n"
            "Only if you accept that anyone on the network can change this traffic: "
            "-o signing=if-offered",
            rule="signing",
        )
    cipher = _choose_cipher(offer, dialect, response)
    if offer.encryption_required and cipher is None:
        raise EncryptionNotOffered(
            "the server does not offer encryption.",
            "encryption is required (seal), and the server offers none of "
            f"{', '.join(each.label for each in offer.ciphers)}.",
            "use a server with SMB 3, allow it one of its ciphers (ciphers=), or mount without "
            "seal.",
            rule="ciphers" if len(offer.ciphers) < len(Cipher) else "seal",
        )
    negotiated = Negotiated(
        dialect=dialect,
        server_guid=response.server_guid,
        security_mode=response.security_mode,
        capabilities=response.capabilities,
        max_transact_size=response.max_transact_size,
        max_read_size=response.max_read_size,
        max_write_size=response.max_write_size,
        signing_algorithm=_choose_signing_algorithm(offer, dialect, response),
        cipher=cipher,
        posix=offer.posix and response.context(PosixExtensions) is not None,
        trusts_transport=offer.trusts_transport and _trusts_transport(response),
        security_buffer=response.security_buffer,
    )
    smallest = min(
        negotiated.max_transact_size, negotiated.max_read_size, negotiated.max_write_size
    )
    if smallest < SINGLE_CREDIT_SIZE // 16:
        raise RemoteProtocolError(f"the server's size limits are senseless ({smallest} bytes)")
    return negotiated


def _trusts_transport(response: NegotiateResponse) -> bool:
    told = response.context(TransportCapabilities)
    return told is not None and bool(
        told.flags & TransportCapabilities.ACCEPT_TRANSPORT_LEVEL_SECURITY
    )


def _choose_cipher(offer: Offer, dialect: Dialect, response: NegotiateResponse) -> Cipher | None:
    if dialect == Dialect.SMB_3_1_1:
        preauth = response.context(PreauthIntegrityCapabilities)
        if preauth is None or preauth.hash_algorithms != (HashAlgorithm.SHA_512,):
            raise RemoteProtocolError("SMB 3.1.1 without pre-authentication integrity")
        chosen = response.context(EncryptionCapabilities)
        if chosen is None or chosen.ciphers in ((), (0,)):
            return None
        if len(chosen.ciphers) != 1 or chosen.ciphers[0] not in offer.ciphers:
            raise SecurityViolation("the server chose a cipher that was not offered")
        return Cipher(chosen.ciphers[0])
    if dialect >= Dialect.SMB_3_0 and Capabilities.ENCRYPTION in response.capabilities:
        return Cipher.AES_128_CCM if Cipher.AES_128_CCM in offer.ciphers else None
    return None


def _choose_signing_algorithm(
    offer: Offer, dialect: Dialect, response: NegotiateResponse
) -> SigningAlgorithm:
    chosen = response.context(SigningCapabilities)
    if dialect < Dialect.SMB_3_1_1 or chosen is None:
        return _only_signing_algorithm(offer, dialect)
    if len(chosen.algorithms) != 1 or chosen.algorithms[0] not in offer.signing_algorithms:
        raise SecurityViolation("the server chose a signing algorithm that was not offered")
    return SigningAlgorithm(chosen.algorithms[0])


def _only_signing_algorithm(offer: Offer, dialect: Dialect) -> SigningAlgorithm:
    """Return the one that there is where nothing is said of others (3.2.5.2)."""
    if dialect < Dialect.SMB_3_0:
        algorithm = SigningAlgorithm.HMAC_SHA256
    else:
        algorithm = SigningAlgorithm.AES_CMAC
    if algorithm not in offer.signing_algorithms:
        raise SigningNotOffered(
            f"the server can sign with {algorithm.label} only.",
            f"it speaks SMB {dialect.label}, and what may be used is "
            f"{', '.join(each.label for each in offer.signing_algorithms)}.",
            f"update the server, or allow {algorithm.label} (signing_algorithms=).",
            rule="signing_algorithms",
        )
    return algorithm
