"""What we may do with a file, by answers that Samba does not give."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from stat import S_IFDIR, S_IFREG
from types import SimpleNamespace
from typing import cast

import pytest
import trio
import trio.testing

from smbfs.client.tree_connect import TreeConnect
from smbfs.vfs.access import ALIKE_MIN, REMEMBERED_MAX, Access
from smbfs.vfs.attribute_verbs import AttributeVerbs
from smbfs.vfs.inodes import Inode
from smbfs.vfs.names import WindowsNames
from smbfs.vfs.refusals import Refused
from smbfs.vfs.share import Share
from smbfs.vfs.state import MountState
from smbfs.wire.create import AccessMask, CreateRequest, FileAttributes
from smbfs.wire.create_contexts import MaximalAccessRequest, MaximalAccessResponse
from smbfs.wire.ntstatus import NtStatus

READ_WRITE = AccessMask.READ_DATA | AccessMask.WRITE_DATA


class Server:
    """A server without POSIX extensions, and what it tells of each of its files."""

    def __init__(self, told: MaximalAccessResponse | None, attributes: int = 0) -> None:
        self.questions = 0
        self.attribute_questions = 0
        self._told = told
        self._attributes = attributes
        self.mode = S_IFREG | 0o644
        self.changed_s = -1.0
        self.line = SimpleNamespace(ready=object())
        self.root = SimpleNamespace(number=1, parent=None, file_type=S_IFDIR, changed_s=-1.0)
        tree = SimpleNamespace(
            posix=False, compound=self._compound, line=self.line, maximal_access=0x1FF
        )
        self._tree = tree
        state = SimpleNamespace(
            share=Share(cast(TreeConnect, tree), names=WindowsNames()),
            inodes=SimpleNamespace(get=self._inode, root=self.root),
            shown=SimpleNamespace(known=lambda _inode: None),
            rules=SimpleNamespace(file_mode=None, dir_mode=None),
            policy=SimpleNamespace(timeout_s=1.0),
            at=self._at,
        )
        verbs = SimpleNamespace(get=self._get)
        self.access = Access(cast(MountState, state), cast(AttributeVerbs, verbs))

    async def _compound(self, create: CreateRequest) -> SimpleNamespace:
        assert create.contexts[-1] == MaximalAccessRequest()
        self.questions += 1
        created = SimpleNamespace(context=lambda _: self._told, file_attributes=self._attributes)
        return SimpleNamespace(create=created)

    def share_posix(self, *, is_posix: bool) -> None:
        self._tree.posix = is_posix

    def tells(self, allowed: int) -> None:
        self._told = MaximalAccessResponse(NtStatus.STATUS_SUCCESS, allowed)

    def _inode(self, number: int) -> SimpleNamespace:
        if number == self.root.number:
            return self.root
        return SimpleNamespace(
            number=number, parent=self.root, file_type=S_IFREG, changed_s=self.changed_s
        )

    async def _get(self, _number: int) -> SimpleNamespace:
        self.attribute_questions += 1
        return SimpleNamespace(attributes=SimpleNamespace(mode=self.mode, uid=0, gid=0))

    async def _at(self, inode: Inode, ask: Callable[[str], Awaitable[int]]) -> int:
        return await ask(str(inode.number))

    async def allows(self, wanted: int, number: int = 7) -> bool:
        try:
            await self.access.check(number, wanted)
        except Refused:
            return False
        return True


@pytest.mark.parametrize(
    ("told", "attributes", "expected"),
    [
        (MaximalAccessResponse(NtStatus.STATUS_SUCCESS, READ_WRITE), 0, "rw"),
        (MaximalAccessResponse(NtStatus.STATUS_SUCCESS, AccessMask.READ_DATA), 0, "r"),
        (MaximalAccessResponse(NtStatus.STATUS_SUCCESS, 0), 0, ""),
        (MaximalAccessResponse(NtStatus.STATUS_ACCESS_DENIED, 0), 0, "rw"),
        (None, 0, "rw"),
        (MaximalAccessResponse(0, READ_WRITE), FileAttributes.READONLY, "r"),
        (MaximalAccessResponse(0, READ_WRITE), FileAttributes(0x11), "rw"),
    ],
    ids=["all", "reading", "nothing", "unknown", "untold", "read-only", "read-only directory"],
)
async def test_what_servers_tell(
    told: MaximalAccessResponse | None, attributes: int, expected: str
) -> None:
    server = Server(told, attributes)
    allowed = {"r": await server.allows(os.R_OK), "w": await server.allows(os.W_OK)}
    assert "".join(right for right, is_allowed in allowed.items() if is_allowed) == expected
    assert await server.allows(os.R_OK | os.W_OK) == (expected == "rw")
    assert server.questions == 1


async def test_whether_it_is_there_the_kernel_knows() -> None:
    server = Server(None)
    assert await server.allows(os.F_OK)
    assert server.attribute_questions == server.questions == 0


async def test_what_is_no_program_can_not_be_run() -> None:
    server = Server(MaximalAccessResponse(NtStatus.STATUS_SUCCESS, AccessMask.EXECUTE))
    assert not await server.allows(os.X_OK)
    server.mode |= 0o100
    assert await server.allows(os.X_OK)
    assert not server.questions


@pytest.mark.parametrize("allowed", [READ_WRITE, AccessMask.READ_DATA])
async def test_who_asks_about_file_after_file_is_told_of_the_rest_what_the_first_had(
    autojump_clock: trio.testing.MockClock, allowed: int
) -> None:
    server = Server(MaximalAccessResponse(NtStatus.STATUS_SUCCESS, allowed))
    server.share_posix(is_posix=True)
    server.mode = S_IFREG | 0o600
    for number in range(10, 1000):
        assert await server.allows(os.W_OK, number) == (allowed == READ_WRITE)
    assert server.questions == ALIKE_MIN
    server.mode ^= 0o011  # Looks different.
    await server.allows(os.W_OK, 1000)
    assert server.questions == ALIKE_MIN + 1
    await trio.sleep(1.0)
    server.mode ^= 0o011
    await server.allows(os.W_OK, 999)
    assert server.questions == ALIKE_MIN + 2


async def test_who_is_refused_is_asked_for_where_looks_tell_little() -> None:
    server = Server(MaximalAccessResponse(NtStatus.STATUS_SUCCESS, AccessMask.READ_DATA))
    for number in range(10, 30):
        assert not await server.allows(os.W_OK, number)
    assert server.questions == 20
    server.tells(READ_WRITE)
    assert await server.allows(os.W_OK, 30)


async def test_where_files_differ_each_is_asked_for() -> None:
    server = Server(None)
    for number in range(10, 50):
        server.tells(READ_WRITE if number % ALIKE_MIN else AccessMask.READ_DATA)
        assert await server.allows(os.W_OK, number) == bool(number % ALIKE_MIN)


async def test_what_we_have_changed_is_asked_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server(MaximalAccessResponse(NtStatus.STATUS_SUCCESS, AccessMask.READ_DATA))
    root = server.root.number
    server.mode = S_IFDIR | 0o755
    assert not await server.allows(os.W_OK, root)
    server.tells(READ_WRITE)
    assert not await server.allows(os.W_OK, root)
    await trio.sleep(0.1)
    server.root.changed_s = trio.current_time()
    await trio.sleep(0.1)
    assert await server.allows(os.W_OK, root)


async def test_what_we_have_changed_is_no_longer_like_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server(MaximalAccessResponse(NtStatus.STATUS_SUCCESS, READ_WRITE))
    for number in range(10, 30):
        assert await server.allows(os.W_OK, number)
    server.tells(AccessMask.READ_DATA)
    await trio.sleep(0.1)
    server.changed_s = trio.current_time()
    assert not await server.allows(os.W_OK, 40)


async def test_the_root_is_entered_and_found_while_the_server_is_away() -> None:
    server = Server(MaximalAccessResponse(NtStatus.STATUS_SUCCESS, 0))
    assert await server.allows(os.X_OK, server.root.number)
    server.line.ready = None
    assert await server.allows(os.R_OK | os.W_OK, server.root.number)
    assert server.attribute_questions == server.questions == 0


async def test_what_is_remembered_is_bounded() -> None:
    server = Server(None)
    for number in (*range(2, REMEMBERED_MAX + 2), 2, REMEMBERED_MAX + 2, 3, 2):
        server.mode = S_IFREG | number % 0o1000  # All of them look different.
        await server.allows(os.R_OK, number)
    assert server.questions == REMEMBERED_MAX + 2
