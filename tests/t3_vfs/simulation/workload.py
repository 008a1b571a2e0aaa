"""What programs do in a run, as the kernel would ask for it."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import trio

from smbfs.errors import DeadlineExceeded, SmbfsError, TransportError
from smbfs.vfs.attribute_verbs import AttributeChanges
from smbfs.vfs.filesystem import FileSystem
from smbfs.vfs.namespace import Absent
from smbfs.vfs.refusals import Refused
from smbfs.vfs.removal import SILLY_PREFIX
from smbfs.vfs.shown import Entry
from smbfs.wire.message import Buffer
from tests.beds.simulated_files import Files
from tests.t3_vfs.simulation.oracle import Oracle, Written

ResultT = TypeVar("ResultT")

ROOT = 1
NAMES = (b"a", b"b", b"c")
SLOT = 8
"""Bytes of a file that one writer has for itself."""
RECORD = 4
SIZE = 48
FAILED = (SmbfsError, Refused)
"""How a verb may fail without breaking anything."""


@dataclass(eq=False)
class Programs:
    """Several programs on one mount."""

    filesystem: FileSystem
    oracle: Oracle
    files: Files
    chance: random.Random
    patience_s: float
    calm_s: float
    """From when on nothing goes wrong."""
    errors: dict[str, int] = field(default_factory=dict)
    """How often a verb has failed, and how."""
    readers: list[tuple[int, int]] = field(default_factory=list)
    """Handles that stay open until the end, and the numbers of their files."""

    async def verb(self, name: str, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Run one verb, which has to end in time. Raises: what it raises."""
        began_s = trio.current_time()
        limit_s = max(began_s, self.calm_s) + self.patience_s + 5.0
        try:
            with trio.fail_at(limit_s):
                return await call()
        except trio.TooSlowError:
            self.oracle.failures.append(
                f"{name} began at {began_s:.1f} and had not ended at {limit_s:.1f}"
            )
            raise
        except FAILED as error:
            what = f"{name}: {type(error).__name__} {error}"[:90]
            self.errors[what] = self.errors.get(what, 0) + 1
            raise
        finally:
            self.oracle.check()

    async def program(self, slot: int) -> None:
        """Do a few things, one after the other."""
        kinds = [self.write_file, self.write_file, self.read_file, self.change_names, self.list_all]
        for _ in range(self.chance.randrange(2, 5)):
            if self.oracle.is_full:
                return
            await trio.sleep(self.chance.choice((0.0, 0.01, 0.3)))
            try:
                await self.chance.choice(kinds)(slot)
            except FAILED:
                continue

    async def pause(self) -> None:
        """Let time pass, as programs do."""
        await trio.sleep(self.chance.choice((0.0, 0.0, 0.002, 0.1, 1.5)))

    # ------------------------------------------------------------- files

    async def look_up(self, name: bytes) -> Entry | None:
        """Return the entry of a name."""
        names = self.filesystem.names
        entry = await self.verb("look_up", lambda: names.look_up(ROOT, name))
        return None if isinstance(entry, Absent) else entry

    async def open(self, name: bytes, flags: int) -> int | None:
        """Open a file, making it if ``flags`` say so."""
        opening = self.filesystem.opening
        entry = await self.look_up(name)
        if entry is not None:
            number = entry.number
            opened = await self.verb("open", lambda: opening.open(number, flags & ~os.O_CREAT))
            return opened.handle
        if not flags & os.O_CREAT:
            return None
        made, _ = await self.verb("create", lambda: opening.create(ROOT, name, 0o644, flags))
        return made.handle

    def number_of(self, handle: int) -> int:
        """Return the server's number of an open file."""
        return self.filesystem.state.handles.get(handle).opened.inode.file_id

    async def write_file(self, slot: int) -> None:
        """Write records to a file's own slot, and have some of them made stable."""
        handle = await self.open(self.chance.choice(NAMES), os.O_RDWR | os.O_CREAT)
        if handle is None:
            return
        written = Written(self.number_of(handle))
        files = self.filesystem.files
        try:
            for _ in range(self.chance.randrange(1, 5)):
                await self._write_step(handle, written, slot)
                await self.pause()
        finally:
            await self._finish(written, lambda: files.flush(handle), "flush")
            await self._finish(written, lambda: files.release(handle), "release")

    async def _write_step(self, handle: int, written: Written, slot: int) -> None:
        files, oracle = self.filesystem.files, self.oracle
        if oracle.is_full:
            return
        kind = self.chance.random()
        if kind < 0.6:
            offset = slot * SLOT + self.chance.randrange(0, SLOT - RECORD + 1)
            data = oracle.write(written.node, offset, RECORD, is_ours=True)
            try:
                await self.verb("write", lambda: files.write(handle, offset, data))
            except FAILED:
                written.pending.clear()
                raise
            written.pending.update(dict.fromkeys(range(offset, offset + RECORD), data[0]))
        elif kind < 0.85:
            await self._finish(written, lambda: files.synchronise(handle), "fsync")
        else:
            await self._read(handle, written)

    async def _finish(
        self, written: Written, call: Callable[[], Awaitable[None]], name: str
    ) -> None:
        try:
            await self.verb(name, call)
        except FAILED:
            written.pending.clear()
        else:
            self.oracle.flushed(written, is_stable=name == "fsync")
            self.oracle.check()

    async def _read(self, handle: int, written: Written | None) -> None:
        files = self.filesystem.files
        number = self.number_of(handle)
        offset, length = self.chance.choice(((0, SIZE), (0, SIZE), (8, 8), (20, 16)))
        data = await self.verb("read", lambda: files.read(handle, offset, length))
        self.oracle.read(number, offset, bytes(data), written)
        self.oracle.check()

    async def read_file(self, _slot: int) -> None:
        """Read a file a few times; some stay open."""
        handle = await self.open(self.chance.choice(NAMES), os.O_RDONLY)
        if handle is None:
            return
        stays = self.chance.random() < 0.4
        try:
            for _ in range(self.chance.randrange(1, 4)):
                await self._read(handle, None)
                await self.pause()
        finally:
            if stays:
                self.readers.append((handle, self.number_of(handle)))
            else:
                await self.verb("release", lambda: self.filesystem.files.release(handle))

    # ------------------------------------------------------------- names

    async def change_names(self, slot: int) -> None:
        """Rename, remove or cut a file."""
        name, other = self.chance.sample(NAMES, 2)
        names, kind = self.filesystem.names, self.chance.random()
        entry = await self.look_up(name)
        if entry is None:
            return
        if kind < 0.4:
            renames = self.filesystem.renames
            await self.look_up(other)
            await self._change_name("rename", lambda: renames.rename(ROOT, name, ROOT, other, 0))
        elif kind < 0.7:
            await self._change_name("unlink", lambda: names.remove_file(ROOT, name))
        else:
            await self._cut(entry, SIZE // 2 + slot)

    async def _change_name(self, name: str, call: Callable[[], Awaitable[None]]) -> None:
        try:
            await self.verb(name, call)
        except (TransportError, DeadlineExceeded):
            self.oracle.names_unknown += 1
            raise
        self.oracle.names_done += 1

    async def _cut(self, entry: Entry, size: int) -> None:
        """Cut a file behind what anybody writes."""
        self.oracle.cut(size)
        attributes = self.filesystem.attributes
        changes = AttributeChanges(size=size)
        await self.verb("truncate", lambda: attributes.set(entry.number, changes, None))

    async def list_all(self, _slot: int) -> None:
        """List the directory."""
        await self.listed()

    async def listed(self) -> set[bytes]:
        """Return the names in the directory."""
        directories, found = self.filesystem.directories, set[bytes]()

        def emit(name: bytes, _entry: Entry, _position: int) -> bool:
            found.add(name)
            return True

        handle = (await self.verb("opendir", lambda: directories.open(ROOT))).handle
        try:
            before = -1
            while len(found) != before:
                before = len(found)
                read = partial(directories.read, handle, before, emit)
                await self.verb("readdir", read)
        finally:
            await self.verb("releasedir", lambda: directories.release(handle))
        return found - {b".", b".."}

    # ------------------------------------------------------------- the end

    async def see_the_truth(self) -> None:
        """All is well again: what is shown is what the server has."""
        fail = self.oracle.failures.append
        for handle, number in self.readers:
            await self._see_by_old_handle(handle, number)
        await trio.sleep(1.0)  # Closing them may have removed a file, which is told a moment later.
        going = {name.encode() for name, node in self.files.names.items() if node.is_going}
        there = {name.encode() for name in self.files.names} - going
        # Some servers list what is still open somewhere, and is to be removed then.
        listed = await self.listed() - going
        if _visible(listed) != _visible(there):
            fail(f"the listing says {sorted(listed)}, there are {sorted(there)}")
        for name in sorted(there):
            node = self.files.names[name.decode()]
            entry = await self.look_up(name)
            if entry is None or entry.attributes.size != len(node.data):
                fail(f"{name!r} has {len(node.data)} bytes and is shown as {entry}")
                continue
            data = await self._whole(name)
            if bytes(data) != bytes(node.data):
                fail(f"{name!r} is read as {bytes(data)!r} and is {bytes(node.data)!r}")
        self.oracle.end()
        self.oracle.check()

    async def _whole(self, name: bytes) -> Buffer:
        handle, files = await self.open(name, os.O_RDONLY), self.filesystem.files
        assert handle is not None
        data = await self.verb("read", lambda: files.read(handle, 0, 2 * SIZE))
        await self.verb("release", lambda: files.release(handle))
        return data

    async def _see_by_old_handle(self, handle: int, number: int) -> None:
        node = self.files.nodes[number]
        try:
            data = await self.verb(
                "read by an old handle", lambda: self.filesystem.files.read(handle, 0, 2 * SIZE)
            )
        except FAILED:
            return
        if bytes(data) != bytes(node.data):
            self.oracle.failures.append(
                f"an old handle of file {number} reads {bytes(data)!r}, it has {bytes(node.data)!r}"
            )
        await self.verb("release", lambda: self.filesystem.files.release(handle))


def _visible(names: set[bytes]) -> set[bytes]:
    return {name for name in names if not name.startswith(SILLY_PREFIX.encode())}
