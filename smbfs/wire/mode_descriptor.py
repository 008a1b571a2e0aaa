"""A mode as a security descriptor: how the POSIX extensions carry chmod.

The descriptor has a DACL with one entry, whose trustee is S-1-5-88-3-mode, the SID in which
Windows' NFS server keeps a mode. SET_INFO of it on a POSIX open is a chmod.

Spec: SMB3 POSIX Extensions; [MS-DTYP] 2.4.4.2, 2.4.5, 2.4.6; [MS-FSSO] for the SID.
"""

from __future__ import annotations

import struct

from smbfs.wire.posix_extensions import PERMISSION_MASK
from smbfs.wire.security import Sid

_DESCRIPTOR = struct.Struct("<BBHIIII")
_ACL = struct.Struct("<BBHHH")
_ACE = struct.Struct("<BBHI")
_SELF_RELATIVE_WITH_DACL = 0x8004
_ACL_REVISION = 2
_NFS = 88
_NFS_MODE = 3


def encode_mode_descriptor(mode: int) -> bytes:
    """Return the self-relative security descriptor that stands for permission bits.

    Spec: SMB3 POSIX Extensions.
    """
    trustee = Sid(5, (_NFS, _NFS_MODE, mode & PERMISSION_MASK)).encode()
    entry = _ACE.pack(0, 0, _ACE.size + len(trustee), 0) + trustee
    acl = _ACL.pack(_ACL_REVISION, 0, _ACL.size + len(entry), 1, 0) + entry
    header = _DESCRIPTOR.pack(1, 0, _SELF_RELATIVE_WITH_DACL, 0, 0, 0, _DESCRIPTOR.size)
    return header + acl
