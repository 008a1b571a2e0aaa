"""What the server would let us do with a file, for who asks before trying: access(2), chdir(2).

Whether a program may do something is decided by the server when it does it, with the rights of the
mount's user. The same server is asked here, since a mode alone does not tell which of its three
parts is ours, and what lists of access rights add. Only what everybody may do by its mode is not
asked for.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import replace
from stat import S_IFDIR, S_IMODE
from typing import Final, NamedTuple

import trio

from smbfs.vfs.attribute_verbs import AttributeVerbs
from smbfs.vfs.attributes import Attributes
from smbfs.vfs.inodes import Inode
from smbfs.vfs.refusals import Refusal, Refused
from smbfs.vfs.share import STAT_ACCESS, Share
from smbfs.vfs.state import MountState
from smbfs.wire.create import AccessMask, FileAttributes
from smbfs.wire.create_contexts import MaximalAccessRequest, MaximalAccessResponse
from smbfs.wire.ntstatus import NtStatus

REMEMBERED_MAX: Final = 1024
"""Files of which it is remembered what we may do with them."""

_EVERYBODY: Final = ((os.R_OK, 0o444), (os.W_OK, 0o222), (os.X_OK, 0o111))
"""What may be asked for, and the bits of a mode that allow it to everybody."""

_RIGHTS: Final = (
    (os.R_OK, AccessMask.READ_DATA),
    (os.W_OK, AccessMask.WRITE_DATA),
    (os.X_OK, AccessMask.EXECUTE),
)
"""Rights on a directory have the same bits, and other names."""

_EVERYTHING: Final = os.R_OK | os.W_OK | os.X_OK


class _Answer(NamedTuple):
    allowed: int
    seen: tuple[int, int, int]
    """Mode, owner and group that the file had."""
    until_s: float


class Access:
    """The verb that asks what is allowed. May raise ServerStatusError, TransportError, Refused."""

    def __init__(self, state: MountState, attributes: AttributeVerbs) -> None:
        self._state = state
        self._attributes = attributes
        self._remembered: OrderedDict[int, _Answer] = OrderedDict()

    async def check(self, number: int, wanted: int) -> None:
        """Return if the server would allow what is wanted: R_OK, W_OK and X_OK, or nothing.

        Raises: Refused (NO_ACCESS).
        """
        inode = self._state.inodes.get(number)
        if inode.parent is None and inode is not self._state.inodes.root:
            return  # It was removed, and is open: what could be asked about its path?
        if not wanted:
            return
        attributes = (await self._attributes.get(number)).attributes
        wanted &= ~self._allowed_to_everybody(inode, attributes)
        if wanted and wanted & ~await self._allowed(inode, attributes):
            raise Refused(Refusal.NO_ACCESS, f"inode {number}")

    def _allowed_to_everybody(self, inode: Inode, attributes: Attributes) -> int:
        state, mode = self._state, S_IMODE(attributes.mode)
        is_directory = inode.file_type == S_IFDIR
        if not state.share.posix:
            # These modes are our own. Windows lets everybody pass through directories, and who can
            # read a program can run it here.
            return os.X_OK if is_directory or mode & 0o111 else 0
        if (state.rules.dir_mode if is_directory else state.rules.file_mode) is not None:
            return 0
        return sum(wanted for wanted, bits in _EVERYBODY if mode & bits == bits)

    async def _allowed(self, inode: Inode, attributes: Attributes) -> int:
        now_s = trio.current_time()
        seen = attributes.mode, attributes.uid, attributes.gid
        answer = self._remembered.get(inode.number)
        if answer is None or answer.seen != seen or now_s >= answer.until_s:
            share = self._state.share
            allowed = await self._state.at(inode, lambda path: _ask(share, path))
            answer = _Answer(allowed, seen, now_s + self._state.policy.timeout_s)
            self._remembered[inode.number] = answer
            self._remembered.move_to_end(inode.number)
            if len(self._remembered) > REMEMBERED_MAX:
                self._remembered.popitem(last=False)
        return answer.allowed


async def _ask(share: Share, path: str) -> int:
    """Return what we may do with a file; all of it if the server does not say.

    Spec: [MS-SMB2] 2.2.13.2.5, 3.3.5.9.5.
    """
    create = share.create_request(path, STAT_ACCESS)
    create = replace(create, contexts=(*create.contexts, MaximalAccessRequest()))
    created = (await share.tree.compound(create)).create
    told = created.context(MaximalAccessResponse)
    if told is None or told.query_status != NtStatus.STATUS_SUCCESS:
        return _EVERYTHING
    allowed = sum(wanted for wanted, right in _RIGHTS if told.maximal_access & right)
    attributes = created.file_attributes
    if attributes & FileAttributes.READONLY and not attributes & FileAttributes.DIRECTORY:
        allowed &= ~os.W_OK  # No right of anybody, and so not told.
    return allowed
