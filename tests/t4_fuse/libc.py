"""System calls that Python does not offer."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Self

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

_AT_FDCWD = -100
_D_NAME_OFFSET = 19  # of struct dirent on 64-bit Linux

_libc = ctypes.CDLL(None, use_errno=True)
_libc.opendir.restype = ctypes.c_void_p
_libc.opendir.argtypes = [ctypes.c_char_p]
_libc.readdir.restype = ctypes.c_void_p
_libc.readdir.argtypes = [ctypes.c_void_p]
_libc.telldir.restype = ctypes.c_long
_libc.telldir.argtypes = [ctypes.c_void_p]
_libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
_libc.rewinddir.argtypes = [ctypes.c_void_p]
_libc.closedir.argtypes = [ctypes.c_void_p]


def renameat2(old: Path, new: Path, flags: int) -> None:
    """Rename with flags. Raises: OSError."""
    done = _libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags)
    if done:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(old))


def leads_to(link: Path) -> str:
    """Where a link leads, exactly (``Path.readlink`` would tidy it up)."""
    return os.readlink(link)  # noqa: PTH115


class DirectoryReader:
    """An open directory with the calls of readdir(3)."""

    def __init__(self, path: Path) -> None:
        self._directory = _libc.opendir(os.fsencode(path))
        if not self._directory:
            raise OSError(ctypes.get_errno(), "opendir", str(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _libc.closedir(self._directory)

    def read(self) -> str | None:
        """The next name, or None at the end."""
        entry = _libc.readdir(self._directory)
        return os.fsdecode(ctypes.string_at(entry + _D_NAME_OFFSET)) if entry else None

    def read_all(self) -> list[str]:
        """All names from here to the end."""
        names = []
        while (name := self.read()) is not None:
            names.append(name)
        return names

    def tell(self) -> int:
        """Where the next name is."""
        position: int = _libc.telldir(self._directory)
        return position

    def seek(self, position: int) -> None:
        """Go where :meth:`tell` was."""
        _libc.seekdir(self._directory, position)

    def rewind(self) -> None:
        """Begin again."""
        _libc.rewinddir(self._directory)
