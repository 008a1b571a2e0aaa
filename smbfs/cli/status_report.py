"""A mount's entry of ``status --json``, made by its daemon.

Every documented field is always there; what this version can't have yet is 0 or null.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smbfs.cli.errors import explain
from smbfs.client.status import ConnectionStatus
from smbfs.transport.tunnel import Tunnel

if TYPE_CHECKING:
    from smbfs.auth.kerberos_cache import Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystemCounts:
    """What the file system holds and has saved."""

    open_handles: int = 0
    """Files open on the server because somebody has them open here."""

    cached_handles: int = 0
    """Files open on the server although nobody here has them open."""

    durable_handles: int = 0
    """Open files that the server keeps for us when the connection is lost."""

    persistent_handles: int = 0
    """Those of them that it keeps even if it ends itself."""

    file_leases: int = 0
    """Files whose contents we may believe without asking."""

    directory_leases: int = 0
    """Directories in which we know what is missing."""

    cache_bytes: int = 0
    """Bytes of file data in memory."""

    cache_hits: int = 0
    """Blocks that were served from memory."""

    cache_misses: int = 0
    """Blocks that had to be read."""

    disk_bytes: int = 0
    """Bytes of file data on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountFacts:
    """What does not change while a mount lives."""

    mountpoint: str
    unc: str
    since: str
    """When it was mounted, ISO 8601 with its offset."""
    cache_limit: int
    log: str
    """Where the daemon logs; empty for a mount in the foreground."""


def build_status(
    facts: MountFacts,
    connection: ConnectionStatus,
    counts: FileSystemCounts,
    ticket: Ticket | None = None,
) -> Mapping[str, Any]:
    """Put an entry together. Any: it is what becomes JSON."""
    return {
        "mountpoint": facts.mountpoint,
        "unc": facts.unc,
        "pid": os.getpid(),
        "since": facts.since,
        "state": connection.state,
        "reason": _reason(facts.unc, connection),
        "transport": connection.transport,
        "server": {
            "name": connection.server_name,
            "address": connection.address,
            "port": connection.port,
            "guid": connection.server_guid,
        },
        "dialect": connection.dialect,
        "signing": {
            "required": connection.signing_required,
            "algorithm": connection.signing_algorithm,
        },
        "encryption": connection.encryption,
        "user": connection.user,
        "auth": connection.auth,
        "ticket": _ticket(ticket),
        "channels": connection.channels,
        "credits": connection.credits,
        "leases": {
            "file": counts.file_leases,
            "directory": counts.directory_leases,
            "breaks": connection.breaks,
        },
        "handles": {
            "open": counts.open_handles,
            "cached": counts.cached_handles,
            "durable": counts.durable_handles,
            "persistent": counts.persistent_handles,
        },
        "cache": {
            "bytes": counts.cache_bytes,
            "limit": facts.cache_limit,
            "hits": counts.cache_hits,
            "misses": counts.cache_misses,
            "disk_bytes": counts.disk_bytes,
        },
        "io": {
            "read_bytes": connection.read_bytes,
            "written_bytes": connection.written_bytes,
            "requests": connection.requests,
            "round_trips": dict(connection.round_trips),
        },
        "reconnects": connection.reconnects,
        "errors": dict(connection.errors),
        "quic": _quic(connection.tunnel),
        "rss_bytes": _resident_bytes(),
        "log": facts.log,
    }


def _reason(unc: str, connection: ConnectionStatus) -> str:
    """Why it is not connected, for people; empty if it is."""
    if connection.failure is None:
        return ""
    problem = explain(connection.failure, unc)
    return " ".join(f"{problem.what} {problem.why}".split())


def _ticket(ticket: Ticket | None) -> Mapping[str, Any] | None:
    if ticket is None:
        return None
    return {
        "principal": ticket.principal,
        "source": ticket.source,
        "ends": _iso(ticket.ends_s),
        "renewable_until": _iso(ticket.renewable_until_s) if ticket.renewable_until_s else None,
    }


def _iso(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds")


def _quic(tunnel: Tunnel | None) -> Mapping[str, Any] | None:
    if tunnel is None:
        return None
    certificate = tunnel.certificate
    return {
        "tls": "1.3",
        "certificate": {
            "subject": certificate.subject,
            "san": list(certificate.names),
            "sha256": certificate.sha256,
            "not_after": certificate.not_after.isoformat(timespec="seconds"),
        },
        "zero_rtt": tunnel.zero_rtt,
        "migrations": tunnel.migrations,
        "datagram_size": tunnel.datagram_size,
    }


def describe_protection(connection: ConnectionStatus) -> str:
    """``sealed aes-128-gcm``, ``signed aes-128-gmac`` or ``not protected``."""
    if connection.encryption is not None:
        return f"sealed {connection.encryption}"
    if connection.auth != "guest":
        return f"signed {connection.signing_algorithm}"
    return "not protected"


def _resident_bytes() -> int:
    """Memory of this process that is in RAM. Spec: proc_pid_statm(5)."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
