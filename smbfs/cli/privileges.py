"""What our processes are not allowed to do, so that nobody can make them do it.

``keep_secrets`` is for every process that will see a password or a key, before it does.
``give_up_privileges`` is for those that go on to read what the network sends. Both can't be undone.

Spec: prctl(2), capabilities(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections.abc import Collection
from enum import IntEnum
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3: Final = 0x2008_0522

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Capability(IntEnum):
    """The capabilities that some of our processes keep."""

    DAC_READ_SEARCH = 2
    """Read and pass what belongs to others: a certificate or a mount point in a user's home."""
    NET_BIND_SERVICE = 10
    """Listen on a port below 1024."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


# Effective, permitted and inheritable, capabilities 0 to 31; then the same for 32 to 63.
_Sets = ctypes.c_uint32 * 6


def keep_secrets() -> None:
    """Let no core dump be written of this process, and nobody look into it but root.

    Children that are forked are as shut; a program that they run is not, but dumps no core.
    """
    # Where cores are piped to a program, the kernel ignores a limit of 0: it takes the other, too,
    # which also keeps the user's own programs from reading our memory and our environment.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))


def forget_caller(keep: Collection[int] = ()) -> None:
    """Close what our caller had open but stdio and ``keep``, and make files for this user alone.

    What it had open may be a lock or a pipe that somebody waits on.
    """
    os.umask(0o077)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) > 2 and int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))


def give_up_privileges(keep: Collection[Capability] = ()) -> None:
    """Keep no capability but ``keep``, and gain none from any program run from now on.

    Threads inherit that, but those that run already don't: call it before there are any.
    What needs privileges later has to be a process of its own by now, as the mounter and the
    guard are: fusermount3 is nothing without its setuid bit.
    Raises: OSError; then the process must not go on.
    """
    wanted = sum(1 << capability for capability in keep)
    number = 0
    while _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) >= 0:  # until the last one
        if not wanted >> number & 1:
            # Only who has CAP_SETPCAP may; for others the bounds are moot without new privileges.
            _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
        number += 1
    header, sets = _Header(_CAPABILITY_VERSION_3, 0), _Sets()
    _check(_libc.capget(ctypes.byref(header), ctypes.byref(sets)))
    kept = sets[1] & wanted, sets[4] & wanted >> 32
    sets = _Sets(kept[0], kept[0], 0, kept[1], kept[1], 0)
    # What is not inheritable is not ambient any more, either.
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(sets)))
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"privileges can't be given up: {os.strerror(code)}")
