"""What a mount was asked to be: one frozen value with a field per option.

The defaults here are the documented ones; everything that parses, merges or checks
options ends in a :class:`MountOptions`, and everything else only reads one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

TransportChoice = Literal["auto", "tcp", "quic"]
SigningRule = Literal["required", "if-offered"]
AuthChoice = Literal["auto", "ntlm", "kerberos"]
CacheRule = Literal["strict", "loose", "none"]

DIALECTS: Final = ("2.0.2", "2.1", "3.0", "3.0.2", "3.1.1")
"""Dialect labels, oldest first."""

DEFAULT_DIALECTS: Final = ("2.1", "3.1.1")
"""Oldest and newest dialect offered unless ``vers=`` says otherwise."""

CIPHERS: Final = ("aes-128-gcm", "aes-256-gcm", "aes-128-ccm", "aes-256-ccm")
"""Labels of the ciphers that we know, in the order of our preference."""

SIGNING_ALGORITHMS: Final = ("aes-128-gmac", "aes-128-cmac", "hmac-sha256")
"""Labels of the signing algorithms that we know, in the order of our preference."""

MIB: Final = 1024 * 1024

CACHE_SIZE_MAX: Final = 1024 * MIB
"""Most bytes of ``cache_size`` unless the user wants more."""


def default_cache_size() -> int:
    """Return an eighth of this machine's memory, ``CACHE_SIZE_MAX`` at most."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(memory // 8, CACHE_SIZE_MAX)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions:
    """Every option of a mount, typed. Sizes in bytes, times in seconds."""

    # -- How to get there ----------------------------------------------------------------

    transport: TransportChoice = "auto"
    """``tcp``, ``quic``, or ``auto``: TCP first, then QUIC where it is available."""

    port: int | None = None
    """TCP port; None means the UNC's, else 445."""

    quic_port: int = 443
    """UDP port of SMB over QUIC."""

    address: str | None = None
    """Address to dial in place of looking the server's name up (``ip=``)."""

    timeout_s: float = 60.0
    """How long a request waits for a server that is silent or gone."""

    hard: bool = False
    """Wait for the server forever in place of ``timeout_s``."""

    @property
    def patience_s(self) -> float:
        """Seconds for which requests wait for a server that is away."""
        return math.inf if self.hard else self.timeout_s

    max_channels: int = 1
    """Connections that one session may use."""

    quic_ca: Path | None = None
    """PEM file of authorities that may sign the server's certificate; None: the system's."""

    quic_pin: str | None = None
    """SHA-256 of the server's certificate, 64 lower-case hex digits: nothing else is trusted."""

    quic_cert: Path | None = None
    """PEM file of our own certificate, for servers that ask for one."""

    quic_key: Path | None = None
    """PEM file of the key that belongs to ``quic_cert``."""

    quic_0rtt: bool = False
    """Whether NEGOTIATE may go along with a resumed handshake, where the server allows it."""

    # -- Who we are ----------------------------------------------------------------------

    user: str | None = None
    """User name without domain, or ``name@REALM``; None: from credentials, else who runs us."""

    domain: str | None = None
    """Domain or workgroup of the user."""

    credentials: Path | None = None
    """File with ``username=``, ``password=`` and ``domain=`` lines."""

    auth: AuthChoice = "auto"
    """How to prove who we are."""

    cruid: int | None = None
    """User id whose Kerberos tickets are used."""

    keytab: Path | None = None
    """Keytab that gets Kerberos tickets, in place of a ticket cache."""

    trust_dns: bool = False
    """Let DNS say what the server's name in Kerberos is."""

    block_ntlm: bool = False
    """Never sign on with NTLM, as Windows' ``/BLOCKNTLM``: Kerberos or nothing."""

    kdc_proxies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """https URLs through which Kerberos reaches the KDCs of realms, by realm, ``.domain`` or ``*``;
    :mod:`smbfs.config.kdc_proxy` has what reads that. The administrator's have won already."""

    kdc_proxy_ca: Path | None = None
    """PEM file of authorities that may sign the KDC proxy's certificate; None: the system's."""

    guest: bool = False
    """Sign on without a password."""

    allow_insecure_guest: bool = False
    """Accept a session that the server made a guest's, which nobody can sign."""

    # -- What protects the connection ----------------------------------------------------

    minimum_dialect: str = DEFAULT_DIALECTS[0]
    """Oldest dialect to offer, a label of :data:`DIALECTS`."""

    maximum_dialect: str = DEFAULT_DIALECTS[1]
    """Newest dialect to offer."""

    @property
    def vers(self) -> tuple[str, str]:
        """Oldest and newest dialect to offer."""
        return self.minimum_dialect, self.maximum_dialect

    signing: SigningRule = "required"
    """Whether a server that can't or won't sign is refused."""

    signing_algorithms: tuple[str, ...] = SIGNING_ALGORITHMS
    """Those that a server may choose from, the preferred one first."""

    seal: bool = False
    """Encrypt everything; a server that can't is refused."""

    seal_over_quic: bool = False
    """Encrypt everything over QUIC, too, which does so itself."""

    ciphers: tuple[str, ...] = CIPHERS
    """Those that a server may choose from, the preferred one first."""

    # -- How files look here -------------------------------------------------------------

    uid: int | None = None
    """Owner shown for every file; None: the server's where it tells, else who mounted."""

    gid: int | None = None
    """Group shown for every file; None as for ``uid``."""

    file_mode: int | None = None
    """Permission bits shown for files; None: the server's where it tells, else 0755."""

    dir_mode: int | None = None
    """Permission bits shown for directories; None as for ``file_mode``."""

    ro: bool = False
    """Nothing may be changed through this mount."""

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be changed, for whatever reason."""
        return self.ro or self.snapshot is not None

    allow_other: bool = False
    """Let users other than the one who mounted in, as far as mode bits let them."""

    noperm: bool = False
    """Leave every permission check to the server in place of checking mode bits here, too."""

    mount_flags: frozenset[str] = frozenset()
    """Flags of mount(8) for the kernel (``noexec``, ``nosuid``, ``nodev``, ``noatime``, …)."""

    nonempty: bool = False
    """Mount over a directory that has something in it."""

    posix: bool = True
    """Use the SMB 3.1.1 POSIX extensions where the server has them."""

    mfsymlinks: bool = False
    """Read and write symbolic links as small files, for servers that know no better."""

    nocase: bool = False
    """Treat names that differ only in case as the same."""

    user_xattr: bool = True
    """Offer ``user.*`` extended attributes."""

    snapshot: datetime | None = None
    """When the server has kept the state of the share that is shown, which nobody can change."""

    # -- What we may remember ------------------------------------------------------------

    cache: CacheRule = "strict"
    """``strict``: what leases and ``actimeo`` allow; ``loose``: more; ``none``: nothing."""

    actimeo_s: float = 1.0
    """How long attributes and names are believed without asking again."""

    cache_size: int = field(default_factory=default_cache_size)
    """Most bytes of file data kept in memory."""

    cache_dir: Path | None = None
    """Directory of a cache on disk that outlives the mount."""

    disk_cache_size: int = 10 * 1024 * MIB
    """Most bytes of file data kept there, for each share and user."""

    rsize: int | None = None
    """Most bytes per READ; None: what the server offers."""

    wsize: int | None = None
    """Most bytes per WRITE; None: what the server offers."""

    handle_cache: bool = True
    """Keep files open on the server for a while after their last close."""

    leases: bool = True
    """Ask the server for leases."""

    compress: bool = False
    """Ask the server to compress what it sends."""

    strict_sync: bool = True
    """A close returns only when the server has the data."""
