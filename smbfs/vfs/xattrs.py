"""Extended attributes: ``user.*`` as the server's EAs, and nothing else.

Servers know one namespace of EAs. Programs and the kernel itself ask for other namespaces all the
time, so those are answered without a round trip, and as "not supported": ``ls -l``, which wants
``security.selinux`` of every file, then asks once for a mount, and not again for each file.
"""

from __future__ import annotations

from typing import Final

from smbfs.errors import ServerStatusError
from smbfs.vfs import changes
from smbfs.vfs.file_leases import FileLeases
from smbfs.vfs.inodes import Inode
from smbfs.vfs.known_bare import KnownBare
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.state import MountState, at_open
from smbfs.wire.fscc import ExtendedAttribute
from smbfs.wire.ntstatus import NtStatus

_USER: Final = b"user."
_NAME_SIZE_MAX: Final = 255
_VALUE_SIZE_MAX: Final = 65535

_NO_EAS: Final = frozenset(
    {
        NtStatus.STATUS_NO_EAS_ON_FILE,
        NtStatus.STATUS_EAS_NOT_SUPPORTED,
        NtStatus.STATUS_NO_MORE_EAS,
        NtStatus.STATUS_NONEXISTENT_EA_ENTRY,
    }
)


class ExtendedAttributes:
    """The verbs about extended attributes. May raise ServerStatusError, Refused."""

    def __init__(self, state: MountState, leases: FileLeases) -> None:
        self._state = state
        self._leases = leases
        self._bare = KnownBare(state)

    @property
    def are_offered(self) -> bool:
        """Whether the mount has extended attributes at all."""
        return self._state.options.user_xattr

    async def get(self, number: int, name: bytes) -> bytes:
        """Return a value. Raises: Refused (NO_ATTRIBUTE, NOT_SUPPORTED)."""
        inode, short = self._state.inodes.get(number), self._short_name(name)
        attributes = () if await self._bare.has(inode) else await self._read(inode)
        for attribute in attributes:
            if self._same(attribute.name, short):
                return attribute.value
        raise Refused(Refusal.NO_ATTRIBUTE, repr(name))

    async def is_there(self, number: int, name: bytes) -> bool:
        """Whether the server has an attribute now. Raises: Refused (NOT_SUPPORTED)."""
        inode, short = self._state.inodes.get(number), self._short_name(name)
        return any(self._same(each.name, short) for each in await self._read(inode))

    async def list(self, number: int) -> list[bytes]:
        """Return the names of all attributes."""
        inode = self._state.inodes.get(number)
        if await self._bare.has(inode):
            return []
        names = [_USER + attribute.name for attribute in await self._read(inode)]
        return [name for name in names if b"\0" not in name]

    async def set(self, number: int, name: bytes, value: bytes) -> None:
        """Set a value. Raises: Refused (NOT_SUPPORTED, TOO_LARGE)."""
        short = self._short_name(name)
        if not value:
            raise Refused(Refusal.NOT_SUPPORTED, "to a server, an empty value is no attribute")
        if len(short) > _NAME_SIZE_MAX or len(value) > _VALUE_SIZE_MAX:
            raise Refused(Refusal.TOO_LARGE, repr(name))
        await self._write(number, ExtendedAttribute(short, value))

    async def remove(self, number: int, name: bytes) -> None:
        """Remove an attribute. Raises: Refused (NO_ATTRIBUTE, NOT_SUPPORTED)."""
        short = self._short_name(name)
        if not await self.is_there(number, name):  # That is fine to a server.
            raise Refused(Refusal.NO_ATTRIBUTE, repr(name))
        await self._write(number, ExtendedAttribute(short, b""))

    def _short_name(self, name: bytes) -> bytes:
        """Return the server's name of an attribute. Raises: Refused (NOT_SUPPORTED)."""
        if not name.startswith(_USER) or len(name) == len(_USER):
            raise Refused(Refusal.NOT_SUPPORTED, repr(name))
        return name[len(_USER) :]

    def _same(self, name: bytes, wanted: bytes) -> bool:
        # Windows keeps EA names in capitals; Samba looks for an equal name in any case.
        return name == wanted or (
            not self._state.share.names.case_sensitive and name.lower() == wanted.lower()
        )

    async def _read(self, inode: Inode) -> tuple[ExtendedAttribute, ...]:
        state = self._state
        keys = self._leases.keys(inode.parent, inode)
        try:
            return await at_open(
                state,
                inode,
                lambda path: changes.read_extended_attributes(state.share, path, keys=keys),
            )
        except ServerStatusError as error:
            if error.status in _NO_EAS:
                return ()
            raise

    async def _write(self, number: int, attribute: ExtendedAttribute) -> None:
        state = self._state
        inode = state.inodes.get(number)
        await state.kept.let_go(inode)
        keys, file_id = self._leases.keys(inode.parent, inode), inode.file_id
        try:
            await at_open(
                state,
                inode,
                lambda path: changes.set_extended_attribute(
                    state.share, path, attribute, keys=keys
                ),
            )
        finally:
            self._bare.changed(file_id)
        state.changed(inode)
