"""One event of every kind, with the id that Windows has for it."""

from __future__ import annotations

from smbfs.audit import events
from smbfs.audit.events import Event

UNC = "//nas/media"
STATUS = "STATUS_ACCOUNT_LOCKED_OUT, 0xC0000234"
ALL: list[tuple[Event, int | None]] = [
    (events.Connected(UNC, "alice", "tcp", "3.1.1", "signed aes-128-gmac"), None),
    (events.ConnectedByQuic(UNC, "alice", "quic", "3.1.1", "signed aes-128-gmac"), 30832),
    (events.Migrated(UNC, "10.0.0.2", "10.0.0.3"), None),
    (events.CertificateRefused(UNC, "the server's certificate has expired"), None),
    (events.ClientCertificateRefused(UNC, "the server refuses our certificate"), 30831),
    (events.CertificateExpires(UNC, "2026-12-01"), None),
    (events.ConnectionFailed(UNC, "no route"), 30803),
    (events.ServerNameUnknown(UNC, "Name or service not known"), 30800),
    (events.MountFailed(UNC, "fuse_session_mount failed"), None),
    (events.DialectRefused(UNC, "the server speaks none of the dialects from SMB 3.0 on."), 30816),
    (events.Smb1Refused(UNC, "the server speaks none of the dialects from SMB 2.1 on."), 32000),
    (events.SigningNotOffered(UNC), None),
    (events.EncryptionNotOffered(UNC), None),
    (events.LogonFailed(UNC, "alice", STATUS), 31001),
    (events.ShareRefused(UNC, "alice", "STATUS_BAD_NETWORK_NAME, 0xC00000CC"), 31010),
    (events.Disconnected(UNC, "unmounted"), 30804),
    (events.Reconnected(UNC, "quic", "10.0.0.3"), 30808),
    (events.WentOffline(UNC, "no answer to our requests within 60 s"), 30809),
    (events.WritesLost(UNC, "a folder/a file", 4096, 12, "no answer"), None),
    (events.GuestRefused(UNC, "alice"), 31017),
    (events.InsecureGuestUsed(UNC), 31022),
    (events.SignatureFailed(UNC, "the signature of a message is wrong"), 31013),
    (events.DecryptionFailed(UNC, "a sealed frame can't be decrypted"), 31015),
    (events.NotEncrypted(UNC, "a response in clear where sealing is required"), 31014),
    (events.NegotiationAltered(UNC, "NEGOTIATE was altered on its way"), 31012),
    (events.CredentialUsed(UNC, "alice", "keyring"), None),
    (events.TicketEnds(UNC, "alice@TEST", "2026-12-01 12:00:00 CET", "it can't be renewed"), None),
    (events.PolicyOverrideRefused(UNC, "guest access refused by the policy"), None),
    (events.ProtectionLowered(UNC, "signing=if-offered", "-o"), None),
    (events.GuestAllowed(UNC, "allow_insecure_guest", "-o"), 31018),
    (events.GatewayListening(UNC, "127.0.0.1:443"), None),
    (events.GatewayAccepted(UNC, "192.0.2.7:5353", "nas.example.org", "-"), None),
    (events.GatewayRefused(UNC, "192.0.2.7:5353", "-", "no common ALPN protocols"), None),
    (events.GatewayEnded(UNC, "192.0.2.7:5353", "closed by the client", 12, 34), None),
    (events.GatewayMigrated(UNC, "192.0.2.7:5353", "192.0.2.8:5353"), None),
    (events.GatewayReloaded(UNC, 2), None),
    (events.GatewayReloadFailed(UNC, "no such file"), None),
]

EVIL = 'x\nWINDOWS_EVENT=1\nMESSAGE=\x1b[2J\u2028"}\n{"event": "connected"}\u202ey\ud800'
"""What a server may say to have a line, a field or the terminal for itself."""
