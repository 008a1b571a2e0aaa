"""What is worth a line in the journal: one frozen value per kind of event.

No event has a field that could hold a password, a key or a ticket.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Protocol


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened between this machine and a server."""

    event: ClassVar[str] = ""
    """Our id, ``SMBFS_EVENT``."""

    windows_event: ClassVar[int | None] = None
    """The id under which Windows' SMB client logs it, ``WINDOWS_EVENT``; None without one."""

    priority: ClassVar[int] = 6
    """Syslog priority: 3 error, 4 warning, 6 information."""

    text: ClassVar[str] = ""
    """The line, with the fields' names in braces."""

    unc: str
    """The share, ``//server/share``; of a gateway the server behind it, ``//server:port``; of a
    change of settings the file."""

    @property
    def message(self) -> str:
        """The line that people read."""
        return self.text.format(**self.values())

    def values(self) -> dict[str, str]:
        """Fields by name, as texts."""
        return {each.name: str(getattr(self, each.name)) for each in fields(self)}


@dataclass(frozen=True, slots=True)
class Connected(Event):
    """A share was mounted."""

    event: ClassVar[str] = "connected"
    text: ClassVar[str] = "{unc} connected over {transport} as {user}: SMB {dialect}, {protection}"

    user: str
    transport: str
    dialect: str
    protection: str
    """What protects the connection: ``signed aes-128-gmac``, ``sealed aes-128-gcm``, …"""


@dataclass(frozen=True, slots=True)
class ConnectedByQuic(Connected):
    """A share was mounted over QUIC."""

    windows_event: ClassVar[int | None] = 30832


@dataclass(frozen=True, slots=True)
class Migrated(Event):
    """A connection goes on from another address of ours."""

    event: ClassVar[str] = "migrated"
    text: ClassVar[str] = "{unc} moved from {before} to {now}"

    before: str
    now: str


@dataclass(frozen=True, slots=True)
class CertificateRefused(Event):
    """A certificate was not good enough, the server's or ours; nothing of SMB was sent."""

    event: ClassVar[str] = "certificate-refused"
    priority: ClassVar[int] = 3
    text: ClassVar[str] = "{unc} refused: {reason}"

    reason: str


@dataclass(frozen=True, slots=True)
class ClientCertificateRefused(CertificateRefused):
    """The server wants a certificate of ours, or does not like the one that it got."""

    windows_event: ClassVar[int | None] = 30831


@dataclass(frozen=True, slots=True)
class CertificateExpires(Event):
    """The server's certificate ends soon: unless it is renewed, nobody will get in."""

    event: ClassVar[str] = "certificate-expires"
    priority: ClassVar[int] = 4
    text: ClassVar[str] = "{unc}: the server's certificate ends on {not_after}"

    not_after: str


@dataclass(frozen=True, slots=True)
class ConnectionFailed(Event):
    """The server could not be reached, or did not speak SMB with us to the end."""

    event: ClassVar[str] = "connection-failed"
    windows_event: ClassVar[int | None] = 30803
    priority: ClassVar[int] = 3
    text: ClassVar[str] = "{unc} could not be connected: {reason}"

    reason: str


@dataclass(frozen=True, slots=True)
class ServerNameUnknown(ConnectionFailed):
    """Nobody knows the server's address."""

    windows_event: ClassVar[int | None] = 30800


@dataclass(frozen=True, slots=True)
class MountFailed(Event):
    """A share could not be mounted for a reason on this machine."""

    event: ClassVar[str] = "mount-failed"
    priority: ClassVar[int] = 3
    text: ClassVar[str] = "{unc} could not be mounted: {reason}"

    reason: str


@dataclass(frozen=True, slots=True)
class DialectRefused(Event):
    """The server speaks no dialect that is new enough."""

    event: ClassVar[str] = "dialect-refused"
    windows_event: ClassVar[int | None] = 30816
    priority: ClassVar[int] = 3
    text: ClassVar[str] = "{unc} refused: {reason}"

    reason: str


@dataclass(frozen=True, slots=True)
class Smb1Refused(DialectRefused):
    """The server answered in SMB 1, which nobody should speak any more."""

    windows_event: ClassVar[int | None] = 32000


@dataclass(frozen=True, slots=True)
class SigningNotOffered(Event):
    """The server can't sign, and signing is required."""

    # Windows audits it as 31998 or 31999, and says nowhere which of them is signing.
    event: ClassVar[str] = "signing-not-offered"
    priority: ClassVar[int] = 3
    text: ClassVar[str] = "{unc} refused: the server does not offer signing"


@dataclass(frozen=True, slots=True)
class EncryptionNotOffered(Event):
    """The server can't encrypt, and encryption is required."""

    event: ClassVar[str] = "encryption-not-offered"
    priority: ClassVar[int] = 3
    text: ClassVar[str] = "{unc} refused: the server does not offer encryption"


@dataclass(frozen=True, slots=True)
class LogonFailed(Event):
    """The server does not let a user sign on, or we could not prove who that is."""

    event: ClassVar[str] = "logon-failed"
    windows_event: ClassVar[int | None] = 31001
    priority: ClassVar[int] = 3
    text: ClassVar[str] = "{unc}: {user} could not sign on: {reason}"

    user: str
    reason: str
    """The server's NTSTATUS, or our own words."""


@dataclass(frozen=True, slots=True)
class ShareRefused(Event):
    """The server does not let a user connect to the share."""

    event: ClassVar[str] = "share-refused"
    windows_event: ClassVar[int | None] = 31010
    priority: ClassVar[int] = 3
    text: ClassVar[str] = "{unc}: {user} could not connect to the share: {reason}"

    user: str
    reason: str
    """The server's NTSTATUS."""


@dataclass(frozen=True, slots=True)
class Disconnected(Event):
    """The connection of a mount ended."""

    event: ClassVar[str] = "disconnected"
    windows_event: ClassVar[int | None] = 30804
    text: ClassVar[str] = "{unc} disconnected: {reason}"

    reason: str


@dataclass(frozen=True, slots=True)
class Reconnected(Event):
    """A mount's server is back."""

    event: ClassVar[str] = "reconnected"
    windows_event: ClassVar[int | None] = 30808
    text: ClassVar[str] = "{unc} reconnected by {transport} to {address}"

    transport: str
    address: str


@dataclass(frozen=True, slots=True)
class WentOffline(Event):
    """A mount's server has been away for longer than programs wait."""

    event: ClassVar[str] = "offline"
    windows_event: ClassVar[int | None] = 30809
    priority: ClassVar[int] = 3
    text: ClassVar[str] = "{unc} is offline: {reason}"

    reason: str


@dataclass(frozen=True, slots=True)
class WritesLost(Event):
    """Bytes that a program has written will never reach the server."""

    event: ClassVar[str] = "writes-lost"
    priority: ClassVar[int] = 3
    text: ClassVar[str] = "{unc} lost {length} bytes at {offset} of {path}: {reason}"

    path: str
    offset: int
    length: int
    reason: str


@dataclass(frozen=True, slots=True)
class GuestRefused(Event):
    """The server made us a guest, which nobody had allowed."""

    event: ClassVar[str] = "guest-refused"
    windows_event: ClassVar[int | None] = 31017
    priority: ClassVar[int] = 3
    text: ClassVar[str] = "{unc} refused: the server logs {user} on as a guest"

    user: str


@dataclass(frozen=True, slots=True)
class InsecureGuestUsed(Event):
    """A guest session is in use because three options say so."""

    event: ClassVar[str] = "insecure-guest-used"
    windows_event: ClassVar[int | None] = 31022
    priority: ClassVar[int] = 4
    text: ClassVar[str] = "{unc} is used as a guest: nothing is signed or encrypted"


@dataclass(frozen=True, slots=True)
class SignatureFailed(Event):
    """A message's signature or encryption was wrong; the connection was dropped."""

    event: ClassVar[str] = "signature-failed"
    windows_event: ClassVar[int | None] = 31013
    priority: ClassVar[int] = 3
    text: ClassVar[str] = "{unc}: connection dropped, {reason}"

    reason: str


@dataclass(frozen=True, slots=True)
class DecryptionFailed(SignatureFailed):
    """A sealed message could not be opened."""

    windows_event: ClassVar[int | None] = 31015


@dataclass(frozen=True, slots=True)
class NotEncrypted(SignatureFailed):
    """A message came in clear where it has to be sealed."""

    windows_event: ClassVar[int | None] = 31014


@dataclass(frozen=True, slots=True)
class NegotiationAltered(SignatureFailed):
    """The server says of NEGOTIATE, signed, something else than what we were told."""

    windows_event: ClassVar[int | None] = 31012


@dataclass(frozen=True, slots=True)
class CredentialUsed(Event):
    """Credentials were taken from a source."""

    event: ClassVar[str] = "credential-used"
    text: ClassVar[str] = "{unc}: credentials of {user} from {source}"

    user: str
    source: str
    """Where they came from: ``credentials file /root/nas``, ``keyring``, ``prompt``,
    ``ticket cache FILE:/tmp/krb5cc_0``, …"""


@dataclass(frozen=True, slots=True)
class TicketEnds(Event):
    """A Kerberos ticket ends soon, and was not renewed: then the share has to wait for another."""

    event: ClassVar[str] = "ticket-ends"
    priority: ClassVar[int] = 4
    text: ClassVar[str] = "{unc}: the Kerberos ticket of {user} ends at {ends}; {reason}"

    user: str
    ends: str
    """When, as people write it."""
    reason: str


@dataclass(frozen=True, slots=True)
class PolicyOverrideRefused(Event):
    """Somebody asked for less protection than the administrator's policy demands."""

    event: ClassVar[str] = "policy-override-refused"
    priority: ClassVar[int] = 4
    text: ClassVar[str] = "{unc}: {reason}"

    reason: str


@dataclass(frozen=True, slots=True)
class ProtectionLowered(Event):
    """Something protects less than it does by default, because somebody has written so."""

    event: ClassVar[str] = "protection-lowered"
    priority: ClassVar[int] = 4
    text: ClassVar[str] = "{unc}: less protected than by default: {setting} ({origin})"

    setting: str
    """As it is written: ``signing=if-offered``, ``require_signing = false``."""
    origin: str
    """Where: ``-o``, a file and its line, or the command that wrote it there."""


@dataclass(frozen=True, slots=True)
class GuestAllowed(ProtectionLowered):
    """Somebody has allowed guest sessions, which nobody can sign."""

    event: ClassVar[str] = "insecure-guest-allowed"
    windows_event: ClassVar[int | None] = 31018


@dataclass(frozen=True, slots=True)
class GatewayListening(Event):
    """A gateway takes clients."""

    event: ClassVar[str] = "gateway-listening"
    text: ClassVar[str] = "{unc}: gateway listening on {address}"

    address: str


@dataclass(frozen=True, slots=True)
class GatewayAccepted(Event):
    """A gateway has let a client in."""

    event: ClassVar[str] = "gateway-accepted"
    text: ClassVar[str] = (
        "{unc}: accepted {client} (name {server_name}, certificate {client_sha256})"
    )

    client: str
    server_name: str
    """What the client calls us (SNI), or ``-``."""
    client_sha256: str
    """Fingerprint of the client's certificate, or ``-``."""


@dataclass(frozen=True, slots=True)
class GatewayRefused(Event):
    """A gateway has not let a client in."""

    event: ClassVar[str] = "gateway-refused"
    priority: ClassVar[int] = 4
    text: ClassVar[str] = "{unc}: refused {client} (name {server_name}): {reason}"

    client: str
    server_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class GatewayEnded(Event):
    """The connection of a client that a gateway had let in is over."""

    event: ClassVar[str] = "gateway-ended"
    text: ClassVar[str] = (
        "{unc}: ended {client}: {reason} ({to_server} bytes to the server, {to_client} back)"
    )

    client: str
    reason: str
    to_server: int
    to_client: int


@dataclass(frozen=True, slots=True)
class GatewayMigrated(Event):
    """A gateway's client goes on from another address."""

    event: ClassVar[str] = "gateway-migrated"
    text: ClassVar[str] = "{unc}: {client} moved to {address}"

    client: str
    """Its address before."""
    address: str
    """Its address from now on."""


@dataclass(frozen=True, slots=True)
class GatewayReloaded(Event):
    """A gateway has read its certificates again."""

    event: ClassVar[str] = "gateway-reloaded"
    text: ClassVar[str] = "{unc}: certificates reloaded, {count} in use"

    count: int


@dataclass(frozen=True, slots=True)
class GatewayReloadFailed(Event):
    """A gateway could not read its certificates again, and goes on with those it has."""

    event: ClassVar[str] = "gateway-reload-failed"
    priority: ClassVar[int] = 3
    text: ClassVar[str] = "{unc}: certificates not reloaded: {reason}"

    reason: str


def event_kinds() -> list[type[Event]]:
    """Every kind of event, those with a Windows id of their own as well."""
    kinds: list[type[Event]] = []
    pending: list[type[Event]] = [Event]
    while pending:
        # A slotted dataclass is made twice, and the first one has no slots.
        subclasses = [kind for kind in pending.pop(0).__subclasses__() if "__slots__" in vars(kind)]
        kinds += subclasses
        pending += subclasses
    return kinds


class AuditSink(Protocol):
    """Takes events."""

    def write(self, event: Event) -> None:
        """Record one event. Never raises and never waits."""

    def close(self) -> None:
        """Take no more events; what was recorded is kept, unless that takes seconds."""
