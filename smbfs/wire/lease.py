"""Leases: what a client may cache, and the create contexts that ask for it.

Spec: [MS-SMB2] 2.2.13.2.8, 2.2.13.2.10 (requests), 2.2.14.2.10, 2.2.14.2.11 (responses).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar, Self

from smbfs.wire.create_context import CreateContext
from smbfs.wire.layout import unpack_at

_V1 = struct.Struct("<16sIIQ")
_V2 = struct.Struct("<16sIIQ16sHH")

LEASE_V2_SIZE = _V2.size
NO_LEASE_KEY = bytes(16)


class LeaseState(IntFlag):
    """What a client may cache. Spec: [MS-SMB2] 2.2.13.2.8 (SMB2_LEASE_..._CACHING)."""

    NONE = 0x00
    READ_CACHING = 0x01
    HANDLE_CACHING = 0x02
    WRITE_CACHING = 0x04


class LeaseFlags(IntFlag):
    """Spec: [MS-SMB2] 2.2.13.2.10, 2.2.14.2.10 (SMB2_LEASE_FLAG_...)."""

    BREAK_IN_PROGRESS = 0x02
    PARENT_LEASE_KEY_SET = 0x04


_STATES = tuple(LeaseState(number) for number in range(8))


def lease_state(number: int) -> LeaseState:
    """Return the three bits that exist; reserved ones are dropped, so their number is bounded."""
    return _STATES[number & 0x07]


@dataclass(frozen=True, slots=True)
class _LeaseV1(CreateContext):
    name: ClassVar[bytes] = b"RqLs"

    lease_key: bytes
    lease_state: LeaseState
    flags: int = 0

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return _V1.pack(self.lease_key, self.lease_state, self.flags, 0)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        key, state, flags, _ = unpack_at(_V1, data, 0, "lease context")
        return cls(key, lease_state(state), flags)


class LeaseRequestV1(_LeaseV1):
    """Ask for a lease (SMB 2.1, or a file in SMB 3). ``lease_key`` is 16 bytes.

    Shape: 32 bytes.  Spec: [MS-SMB2] 2.2.13.2.8.
    """

    __slots__ = ()


class LeaseResponseV1(_LeaseV1):
    """The lease that was granted; its state may be less than what was asked for.

    Shape: 32 bytes.  Spec: [MS-SMB2] 2.2.14.2.10.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _LeaseV2(CreateContext):
    name: ClassVar[bytes] = b"RqLs"

    lease_key: bytes
    lease_state: LeaseState
    parent_lease_key: bytes | None = None
    epoch: int = 0
    flags: int = 0

    def encode_data(self) -> bytes:
        """Return the context's data; PARENT_LEASE_KEY_SET follows from ``parent_lease_key``."""
        flags = self.flags & ~_PARENT_SET
        if self.parent_lease_key is not None:
            flags |= _PARENT_SET
        parent = self.parent_lease_key or NO_LEASE_KEY
        return _V2.pack(self.lease_key, self.lease_state, flags, 0, parent, self.epoch, 0)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        key, state, flags, _, parent, epoch, _ = unpack_at(_V2, data, 0, "lease context")
        parent_key = parent if flags & _PARENT_SET else None
        return cls(key, lease_state(state), parent_key, epoch, flags & ~_PARENT_SET)


_PARENT_SET = int(LeaseFlags.PARENT_LEASE_KEY_SET)


class LeaseRequestV2(_LeaseV2):
    """Ask for a lease on a file or a directory (SMB 3).

    ``parent_lease_key`` is the lease of the directory we know, so that our own change does
    not break it.
    Shape: 52 bytes.  Spec: [MS-SMB2] 2.2.13.2.10.
    """

    __slots__ = ()


class LeaseResponseV2(_LeaseV2):
    """The lease that was granted, with the epoch that orders its changes.

    Shape: 52 bytes.  Spec: [MS-SMB2] 2.2.14.2.11.
    """

    __slots__ = ()
