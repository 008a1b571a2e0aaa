"""What a QUIC server says and asks in the TLS handshake: its certificate, and the client's.

aioquic's server has one certificate and asks for none. This chooses one by the name that the
client asks for, and can demand one from the client, whose possession of the key TLS has proven
before anybody sees it.

Spec: RFC 8446 section 4.4; RFC 6066 section 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from smbfs.transport.quic_connection import BoundedConnection


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A certificate with its key, and those that lead to a CA."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes


ChooseCertificate = Callable[[str | None], ServerCertificate]
"""Returns the certificate for a server name, or for a client that names none."""


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """Who we are for whom, and whom we let in."""

    choose: ChooseCertificate
    client_sha256: Container[str] | None = None
    """Clients' certificates that may come in (SHA-256 over DER, as hex); None asks for none."""


class ServerConnection(BoundedConnection):
    """A server's side of one connection, with our TLS in it."""

    tls: ServerTls | tls.Context

    def __init__(
        self,
        policy: TlsPolicy,
        configuration: QuicConfiguration,
        *,
        original_destination_connection_id: bytes,
        retry_source_connection_id: bytes | None,
    ) -> None:
        # No session tickets: Samba's client does not survive one.
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
        )
        self._policy = policy

    @property
    def server_name(self) -> str | None:
        """The name that the client has asked for, if it has."""
        handshake = getattr(self, "tls", None)
        return handshake.asked_name if isinstance(handshake, ServerTls) else None

    @property
    def client_sha256(self) -> str | None:
        """Fingerprint of the client's certificate, if one was demanded."""
        handshake = getattr(self, "tls", None)
        return handshake.client_sha256 if isinstance(handshake, ServerTls) else None

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        plain = self.tls
        self.tls = ServerTls(self._policy, alpn_protocols=self._configuration.alpn_protocols)
        self.tls.handshake_extensions = plain.handshake_extensions
        self.tls.alpn_cb = plain.alpn_cb
        self.tls.update_traffic_key_cb = plain.update_traffic_key_cb


class ServerTls(tls.Context):
    """TLS of a server that chooses its certificate by name and may demand the client's."""

    def __init__(self, policy: TlsPolicy, *, alpn_protocols: list[str] | None) -> None:
        super().__init__(is_client=False, alpn_protocols=alpn_protocols)
        self.asked_name: str | None = None
        self.client_sha256: str | None = None
        self._policy = policy
        self._request_client_certificate = policy.client_sha256 is not None

    # Any: the buffers that the answers go to; their number differs between aioquic's releases.

    def _server_handle_hello(self, input_buf: Buffer, *output: Any) -> None:  # noqa: ANN401
        hello = tls.pull_client_hello(Buffer(data=_whole(input_buf)))
        self.asked_name = hello.server_name
        ours = self._policy.choose(hello.server_name)
        self.certificate = ours.certificate
        self.certificate_chain = list(ours.chain)
        # aioquic refuses the handshake when it can't sign with this kind of key.
        self.certificate_private_key = ours.key  # type: ignore[assignment]
        super()._server_handle_hello(input_buf, *output)

    def _server_handle_certificate(self, input_buf: Buffer, *output: Any) -> None:  # noqa: ANN401
        super()._server_handle_certificate(input_buf, *output)
        if self._peer_certificate is None:
            raise CertificateRequired("the client has shown no certificate")

    def _server_handle_certificate_verify(
        self,
        input_buf: Buffer,
        *output: Any,  # noqa: ANN401
    ) -> None:
        # First the proof that the client has the key: others may have the certificate, too.
        super()._server_handle_certificate_verify(input_buf, *output)
        assert self._peer_certificate is not None
        der = self._peer_certificate.public_bytes(Encoding.DER)
        self.client_sha256 = hashlib.sha256(der).hexdigest()
        allowed = self._policy.client_sha256
        if allowed is None or self.client_sha256 not in allowed:
            raise CertificateUnknown(f"client certificate {self.client_sha256} is not allowed")


class CertificateRequired(tls.Alert):
    """The client has to show a certificate and has not."""

    description = tls.AlertDescription.certificate_required


class CertificateUnknown(tls.Alert):
    """The client's certificate is none of those that may come in."""

    description = tls.AlertDescription.certificate_unknown


def _whole(buffer: Buffer) -> bytes:
    return buffer.data_slice(0, buffer.capacity)
