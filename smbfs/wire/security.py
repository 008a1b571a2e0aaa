"""Security identifiers, and the owner and group of a security descriptor."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Self

from smbfs.errors import WireError
from smbfs.wire.layout import Buffer, unpack_at

_SID = struct.Struct(">BBHI")
_DESCRIPTOR = struct.Struct("<BBHIIII")
_SELF_RELATIVE = 0x8000
_SUB_AUTHORITIES_MAX = 15
_DIGITS_MAX = 20
_SUB_AUTHORITIES = tuple(struct.Struct(f"<{n}I") for n in range(_SUB_AUTHORITIES_MAX + 1))


@dataclass(frozen=True, slots=True)
class Sid:
    """A security identifier, for example ``S-1-22-1-1000``: the Unix user 1000.

    Shape: revision (1), count, a 48-bit big-endian authority, and ``count`` 32-bit little-
    endian sub-authorities, at most 15.
    Raises: WireError on decode if short or of more sub-authorities.
    Spec: [MS-DTYP] 2.4.2.2.
    """

    authority: int
    sub_authorities: tuple[int, ...] = ()
    revision: int = 1

    @classmethod
    def unix_user_sid(cls, uid: int) -> Self:
        """Return S-1-22-1-uid, Samba's name for a Unix user."""
        return cls(22, (1, uid))

    @classmethod
    def unix_group_sid(cls, gid: int) -> Self:
        """Return S-1-22-2-gid, Samba's name for a Unix group."""
        return cls(22, (2, gid))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``S-1-5-21-...``. Raises: WireError if it isn't a SID's text."""
        head, *numbers = text.split("-")
        if head != "S" or len(numbers) < 2 or not all(map(_is_number, numbers)):
            raise WireError(f"SID {text!r}")
        revision, authority, *sub_authorities = (int(part) for part in numbers)
        in_range = (
            revision <= 0xFF
            and authority < 1 << 48
            and len(sub_authorities) <= _SUB_AUTHORITIES_MAX
            and all(number < 1 << 32 for number in sub_authorities)
        )
        if not in_range:
            raise WireError(f"SID {text!r}")
        return cls(authority, tuple(sub_authorities), revision)

    def __str__(self) -> str:
        numbers = (self.revision, self.authority, *self.sub_authorities)
        return "S-" + "-".join(str(number) for number in numbers)

    def encode(self) -> bytes:
        """Return the bytes."""
        count = len(self.sub_authorities)
        high, low = self.authority >> 32, self.authority & 0xFFFF_FFFF
        head = _SID.pack(self.revision, count, high, low)
        return head + struct.pack(f"<{count}I", *self.sub_authorities)

    @classmethod
    def decode(cls, data: Buffer, offset: int = 0) -> Self:
        """Read the SID at byte ``offset``. Raises: WireError."""
        revision, count, high, low = unpack_at(_SID, data, offset, "SID")
        if count > _SUB_AUTHORITIES_MAX:
            raise WireError("SID", offset + 1)
        numbers = unpack_at(_SUB_AUTHORITIES[count], data, offset + _SID.size, "SID")
        return cls(high << 32 | low, numbers, revision)

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        return _SID.size + 4 * len(self.sub_authorities)

    @property
    def unix_user(self) -> int | None:
        """The uid of S-1-22-1-uid (Samba) or S-1-5-88-1-uid (NFS), otherwise None."""
        return self._unix_number(1)

    @property
    def unix_group(self) -> int | None:
        """The gid of S-1-22-2-gid (Samba) or S-1-5-88-2-gid (NFS), otherwise None."""
        return self._unix_number(2)

    @property
    def unix_mode(self) -> int | None:
        """The mode of S-1-5-88-3-mode (NFS), otherwise None."""
        if self.authority == 5 and len(self.sub_authorities) == 3:
            first, kind, number = self.sub_authorities
            if first == 88 and kind == 3:
                return number
        return None

    def _unix_number(self, wanted: int) -> int | None:
        numbers = self.sub_authorities
        if self.authority == 22 and len(numbers) == 2 and numbers[0] == wanted:
            return numbers[1]
        if self.authority == 5 and len(numbers) == 3 and numbers[:2] == (88, wanted):
            return numbers[2]
        return None


def _is_number(part: str) -> bool:
    # Python refuses to read numbers of thousands of digits; 48 bits have 15.
    return part.isdecimal() and len(part) <= _DIGITS_MAX


@dataclass(frozen=True, slots=True)
class SecurityDescriptor:
    """The owner and group of a self-relative security descriptor; its ACLs are passed over.

    Raises: WireError on decode if short, of another revision, or a SID lies outside.
    Spec: [MS-DTYP] 2.4.6.
    """

    owner: Sid | None = None
    group: Sid | None = None

    def encode(self) -> bytes:
        """Return the descriptor with owner and group and without ACLs, as SET_INFO takes it."""
        sids = bytearray()
        offsets = []
        for sid in (self.owner, self.group):
            offsets.append(_DESCRIPTOR.size + len(sids) if sid is not None else 0)
            if sid is not None:
                sids += sid.encode()
        owner_offset, group_offset = offsets
        return _DESCRIPTOR.pack(1, 0, _SELF_RELATIVE, owner_offset, group_offset, 0, 0) + sids

    @classmethod
    def decode(cls, data: Buffer) -> Self:
        """Read the descriptor. Raises: WireError."""
        what = "security descriptor"
        revision, _, _, owner_offset, group_offset, _, _ = unpack_at(_DESCRIPTOR, data, 0, what)
        if revision != 1:
            raise WireError(what)
        owner = Sid.decode(data, owner_offset) if owner_offset else None
        group = Sid.decode(data, group_offset) if group_offset else None
        return cls(owner, group)
