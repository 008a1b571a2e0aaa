"""Kinds of Samba servers that people really meet, each by what its smb.conf says.

A server that cannot sign at all is not among them: since SMB 2 every Samba can
(``server signing = disabled`` only stops it from offering to on its own account).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.beds.samba import SHARES
from tests.beds.samba_folder import Share

FULL_SHARE_SIZE = 1 << 20
"""Bytes on the file system of the share ``full``."""

QUOTA = 4 << 20
"""Bytes that the share ``quota`` may have."""

GUEST_SHARES = (
    Share("share"),
    Share("public", {"guest ok": "yes", "force user": "alice"}),
)


@dataclass(frozen=True)
class Variant:
    """What differs from the default server of ``tests.beds.samba``."""

    globals: Mapping[str, str] = field(default_factory=dict)
    shares: Sequence[Share] = SHARES


def _newest(dialect: str) -> Variant:
    """A server that speaks nothing newer than ``dialect``, as Samba spells it."""
    return Variant({"server max protocol": dialect, "smb3 unix extensions": "no"})


def _only_cipher(name: str) -> Variant:
    return Variant({"server smb3 encryption algorithms": name, "server smb encrypt": "required"})


def _only_signing(name: str) -> Variant:
    return Variant({"server smb3 signing algorithms": name})


VARIANTS: Mapping[str, Variant] = {
    "default": Variant(),
    "full": Variant(shares=(Share("full", size=FULL_SHARE_SIZE),)),
    "quota": Variant(
        {"map to guest": "Bad User", "server signing": "auto"},
        (Share("quota", {"guest ok": "yes", "force user": "alice"}, quota=QUOTA),),
    ),
    "sealed": Variant({"server smb encrypt": "required"}),
    "guest": Variant({"map to guest": "Bad User", "server signing": "auto"}, GUEST_SHARES),
    "signing-disabled": Variant({"server signing": "disabled"}),
    "no-leases": Variant({"smb2 leases": "no", "smb3 directory leases": "no", "oplocks": "no"}),
    "only-oplocks": Variant({"smb2 leases": "no", "smb3 directory leases": "no"}),
    "no-directory-leases": Variant({"smb3 directory leases": "no"}),
    "smb-1": Variant(
        {
            "server min protocol": "NT1",
            "server max protocol": "NT1",
            "server signing": "auto",
            "smb3 unix extensions": "no",
        }
    ),
    "smb-2.0.2": _newest("SMB2_02"),
    "smb-2.1": _newest("SMB2_10"),
    "smb-3.0": _newest("SMB3_00"),
    "smb-3.0.2": _newest("SMB3_02"),
    "smb-3.1.1": _newest("SMB3_11"),
    "aes-128-ccm": _only_cipher("AES-128-CCM"),
    "aes-128-gcm": _only_cipher("AES-128-GCM"),
    "aes-256-ccm": _only_cipher("AES-256-CCM"),
    "aes-256-gcm": _only_cipher("AES-256-GCM"),
    "hmac-sha256": _only_signing("HMAC-SHA256"),
    "aes-128-cmac": _only_signing("AES-128-CMAC"),
    "aes-128-gmac": _only_signing("AES-128-GMAC"),
}
"""By name: dialects are the newest that the server speaks (without POSIX extensions)."""
