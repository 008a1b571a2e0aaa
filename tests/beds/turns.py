"""Processes of several clients work on the same files in turns, and a model knows every byte.

A client's turn is a few operations of its processes, through whatever they have open: what one
process does the client's other ones see at once. At the end of the turn its processes have all of
it synchronised or closed; then it is on the server's disk, and the next client sees it, though news
of it may be late by ``GRACE_S`` (see ``coherence``).
"""

from __future__ import annotations

import os
import time

from tests.beds.turns_model import SIZES, Contents, File, Handle, Wrong

_HANDLES_MAX = 8


class Turns(Contents):
    """Clients, and what is in their folder."""

    def run(self, turns: int) -> None:
        """Have so many turns, and compare everything in the end."""
        try:
            for self._turn_number in range(turns):
                self._who = self._random.choice(self.clients)
                self._turn()
            self._compare_all()
        except (Wrong, OSError, EOFError) as error:
            story = "\n".join([f"{type(error).__name__} {error}", *self.log])
            raise Wrong(f"seed {self.seed}, {self._who.name}: {story}") from error

    def _compare_all(self) -> None:
        for client in self.clients:
            self._who = client
            for name in self.files:
                handle = self._open(name, os.O_RDONLY)
                self._check(handle)
                self._close(handle)

    def _turn(self) -> None:
        for _ in range(self._random.randint(1, 15)):
            self._operation()
        for handle in list(self._who.handles):
            if self._random.random() < 0.3 or not self._who.tells:
                self._close(handle)
            elif handle.writes:
                self._fsync(handle)
        self._compare_with_the_disk()

    def _operation(self) -> None:
        if not self._who.handles or self._random.random() < 0.2:
            self._open_any()
        elif self._random.random() < 0.04:
            self._rename()
        elif self._random.random() < 0.03:
            self._unlink()
        else:
            (verb,) = self._random.choices(list(self._verbs), list(self._verbs.values()))
            verb(self._random.choice(self._who.handles))

    def _compare_with_the_disk(self) -> None:
        names = {each.name for each in self.served.iterdir()}
        if names != self.files.keys():
            raise Wrong(f"on disk there are {names}, not {set(self.files)}")
        for name, file in self.files.items():
            self._same((self.served / name).read_bytes(), file.content, f"disk {name}")

    # -- names ------------------------------------------------------------------------------

    def _open_any(self) -> None:
        if len(self._who.handles) >= _HANDLES_MAX:
            return
        name = self._random.choice(list(SIZES))
        access = self._random.choice([os.O_RDONLY, os.O_RDWR, os.O_RDWR, os.O_RDWR, os.O_WRONLY])
        if access != os.O_RDONLY:
            access |= self._random.choice([0, 0, 0, os.O_APPEND])
            access |= self._random.choice([0] * 9 + [os.O_TRUNC])
        if self._who.direct:
            access |= self._random.choice([0] * 12 + [os.O_DIRECT])
        if name not in self.files:
            access = access & ~os.O_ACCMODE | os.O_RDWR | os.O_CREAT
        self._open(name, access)

    def _open(self, name: str, flags: int) -> Handle:
        worker = self._random.choice(self._who.workers)
        self._slot += 1
        slot = self._slot
        path = str(self._who.folder / name)
        self._note("open", name, f"{flags:#o} slot {slot} by {worker.pid}")
        is_new = name not in self.files
        if is_new:
            worker.ask("open", slot, path, flags)
            self.files[name] = File(bytearray(), SIZES[name], self._slot)
        else:
            self._find(name)
            worker.ask("open", slot, path, flags & ~os.O_TRUNC)
            if flags & os.O_TRUNC:
                worker.ask("close", slot)
                worker.ask("open", slot, path, flags)
        file = self.files[name]
        handle = Handle(worker, slot, file, flags)
        self._who.handles.append(handle)
        if flags & os.O_TRUNC and not is_new:
            file.content.clear()
        if is_new or flags & os.O_TRUNC:
            self._changed(file)
            self._do_write(handle, 0, self._length())  # So that no two look the same.
        if self._random.random() < 0.5:
            self._check(handle)
        return handle

    def _is_open_elsewhere(self, file: File) -> bool:
        others = [each for each in self.clients if each is not self._who]
        return any(handle.file is file for other in others for handle in other.handles)

    def _may_go(self, name: str) -> bool:
        return name in self.files and (
            self.replaces or not self._is_open_elsewhere(self.files[name])
        )

    def _rename(self) -> None:
        old, new = self._random.sample(list(SIZES), 2)
        if old not in self.files or not self._may_go(old):
            return
        if new in self.files and not self._may_go(new):
            return
        for name in (old, new):
            if name in self.files:
                self._find(name)
        self._note("rename", old, new)
        worker = self._random.choice(self._who.workers)
        worker.ask("rename", str(self._who.folder / old), str(self._who.folder / new))
        if new in self.files:
            self._changed(self.files[new])
            self.files[new].removed_by = self._who
        self.files[new] = self.files.pop(old)
        self._changed(self.files[new])
        self.files[new].limit = SIZES[new]

    def _unlink(self) -> None:
        name = self._random.choice(list(SIZES))
        if not self._may_go(name):
            return
        self._find(name)
        self._note("unlink", name)
        self._random.choice(self._who.workers).ask("unlink", str(self._who.folder / name))
        self._changed(self.files[name])
        self.files.pop(name).removed_by = self._who

    def _find(self, name: str) -> None:
        """Wait until the client knows which file has the name."""
        file, path, worker = self.files[name], str(self._who.folder / name), self._who.workers[0]
        others = [each for each in self.files.values() if each is not file]
        looks_alike = any(each.content == file.content for each in others)
        while looks_alike and not self._is_current(file):
            time.sleep(0.1)  # Its content does not tell.
        self._await(lambda: worker.ask("content", path), bytes(file.content), f"find {name}", file)
