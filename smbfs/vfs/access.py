"""What the server would let us do with a file, for who asks before trying: access(2), chdir(2).

Whether a program may do something is decided by the server when it does it, with the rights of the
mount's user. The same server is asked here, since a mode alone does not tell which of its three
parts is ours, and what lists of access rights add. Only what everybody may do by its mode is not
asked for; and a program that asks about file after file, as those do that show a folder, is told of
the rest what was found of the first ones that look the same.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass, replace
from stat import S_IFDIR, S_IFREG, S_IMODE
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

ALIKE_MIN: Final = 8
"""Files of a directory that look the same and have the same answer, before others get it, too."""

_EVERYBODY: Final = ((os.R_OK, 0o444), (os.W_OK, 0o222), (os.X_OK, 0o111))
"""What may be asked for, and the bits of a mode that allow it to everybody."""

_RIGHTS: Final = (
    (os.R_OK, AccessMask.READ_DATA),
    (os.W_OK, AccessMask.WRITE_DATA),
    (os.X_OK, AccessMask.EXECUTE),
)
"""Rights on a directory have the same bits, and other names."""

_EVERYTHING: Final = os.R_OK | os.W_OK | os.X_OK


class _Looks(NamedTuple):
    """What can be seen of a file without asking for our rights."""

    directory: int
    mode: int
    uid: int
    gid: int


class _Answer(NamedTuple):
    """What we may do with one file. Times are in seconds of trio's clock."""

    allowed: int
    looks: _Looks
    asked_s: float
    until_s: float


@dataclass(slots=True)
class _Alike:
    """What we may do with files that look the same."""

    allowed: int
    asked_s: float
    until_s: float
    count: int = 0


class Access:
    """The verb that asks what is allowed. May raise ServerStatusError, TransportError, Refused."""

    def __init__(self, state: MountState, attributes: AttributeVerbs) -> None:
        self._state = state
        self._attributes = attributes
        self._remembered: OrderedDict[int, _Answer] = OrderedDict()
        self._alike: OrderedDict[_Looks, _Alike] = OrderedDict()

    async def check(self, number: int, wanted: int) -> None:
        """Return if the server would allow what is wanted: R_OK, W_OK and X_OK, or nothing.

        Raises: Refused (NO_ACCESS).
        """
        state, inode = self._state, self._state.inodes.get(number)
        if inode.parent is None and inode is not state.inodes.root:
            return  # It was removed, and is open: what could be asked about its path?
        is_root = inode is state.inodes.root
        if is_root or (inode.file_type == S_IFDIR and not state.share.posix):
            # We have entered the one already, and Windows lets everybody pass through directories.
            wanted &= ~os.X_OK
        is_away = state.share.tree.line.ready is None
        if not wanted or (is_root and is_away):  # Who looks for mounts shall not wait.
            return
        attributes = (state.shown.known(inode) or await self._attributes.get(number)).attributes
        if wanted & os.X_OK and inode.file_type == S_IFREG and not attributes.mode & 0o111:
            raise Refused(Refusal.NO_ACCESS, f"inode {number} is no program")  # To the kernel.
        wanted &= ~self._allowed_to_everybody(inode, attributes)
        if wanted and wanted & ~await self._allowed(inode, attributes, wanted):
            raise Refused(Refusal.NO_ACCESS, f"inode {number}")

    def _allowed_to_everybody(self, inode: Inode, attributes: Attributes) -> int:
        rules, mode = self._state.rules, S_IMODE(attributes.mode)
        if not self._state.share.posix:
            return os.X_OK  # The mode is our own, and who can read a program can run it here.
        forced = rules.dir_mode if inode.file_type == S_IFDIR else rules.file_mode
        if forced is not None:
            return 0
        told = self._state.share.tree.maximal_access  # Of the whole share: it may be read-only.
        allowed = sum(wanted for wanted, right in _RIGHTS if told & right)
        return allowed & sum(wanted for wanted, bits in _EVERYBODY if mode & bits == bits)

    async def _allowed(self, inode: Inode, attributes: Attributes, wanted: int) -> int:
        state, now_s = self._state, trio.current_time()
        directory = inode.parent.number if inode.parent is not None else 0
        looks = _Looks(directory, attributes.mode, attributes.uid, attributes.gid)
        answer = self._remembered.get(inode.number)
        is_current = answer is not None and now_s < answer.until_s and answer.looks == looks
        if answer is not None and is_current and inode.changed_s < answer.asked_s:
            return answer.allowed
        alike = self._alike.get(looks)
        if alike is not None and alike.count >= ALIKE_MIN and now_s < alike.until_s:
            # Without POSIX extensions looks tell little, and who is refused does not try.
            tells = state.share.posix or not wanted & ~alike.allowed
            if tells and inode.changed_s < alike.asked_s:
                return alike.allowed
        allowed = await state.at(inode, lambda path: _ask(state.share, path))
        self._remember(inode, _Answer(allowed, looks, now_s, now_s + state.policy.timeout_s))
        return allowed

    def _remember(self, inode: Inode, answer: _Answer) -> None:
        self._remembered[inode.number] = answer
        self._remembered.move_to_end(inode.number)
        alike = self._alike.get(answer.looks)
        if alike is None or answer.asked_s >= alike.until_s or alike.allowed != answer.allowed:
            alike = self._alike[answer.looks] = _Alike(
                answer.allowed, answer.asked_s, answer.until_s
            )
        alike.count += 1
        for books in (self._remembered, self._alike):
            if len(books) > REMEMBERED_MAX:
                books.popitem(last=False)


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
        # That is no right of anybody, so not every server tells it with the rights. With POSIX
        # extensions it forbids nothing, and Samba takes it into account all the same.
        allowed = allowed | os.W_OK if share.posix else allowed & ~os.W_OK
    return allowed
