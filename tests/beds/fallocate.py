"""fallocate(2), which Python knows without its modes alone (``os.posix_fallocate``)."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def fallocate(file: int, mode: int, offset: int, length: int) -> None:
    """Make room, zeros or a hole in an open file. Raises: OSError."""
    if _libc.fallocate(file, mode, ctypes.c_long(offset), ctypes.c_long(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
