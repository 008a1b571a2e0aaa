"""Mounting by a process that still may, for one that has given up the right to.

A mount takes root, or fusermount3 and its setuid bit. The daemon has neither any more when it first
reads what the network sends, long before there is anything to mount. So a child is forked while it
has; it mounts when told to, hands over the open /dev/fuse, and ends. Unmounting is for others: the
mount is known to libfuse as a descriptor alone.

Spec: fuse(4), unix(7) (SCM_RIGHTS).
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
from contextlib import suppress
from typing import Final, NoReturn, Self

import pyfuse3

from smbfs.config.model import MountOptions

_MESSAGE_MAX: Final = 4096
_KILLED: Final = "fuse_session_mount: the process that mounts was killed"
_FUSE_DEVICE: Final = os.makedev(10, 229)


class _Option(str):
    """An option that pyfuse3, which knows ASCII alone, hands over in UTF-8."""

    __slots__ = ()

    def encode(self, _encoding: str = "utf-8", _errors: str = "strict") -> bytes:
        """Return what libfuse gets: shares and folders have names in any script."""
        return super().encode("utf-8", "surrogateescape")


class Mounter:
    """A mount that can be made once, from the fork of its process to that one's end."""

    def __init__(self, mountpoint: str, options: MountOptions, source: str) -> None:
        """Fork. ``source`` is what the mount table shows, such as ``//server/share``."""
        self.mountpoint = mountpoint
        """Where it will be."""
        self.options = mount_options(options, source)
        """Options of mount.fuse."""
        self._channel, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        """The process that will mount."""
        self._has_ended = False
        if self.pid == 0:
            self._channel.close()
            _mount_when_told(theirs, mountpoint, self.options)
        theirs.close()

    def mount(self) -> int:
        """Mount, and return the descriptor through which the kernel asks.

        Raises: RuntimeError if the kernel or fusermount3 refuses the mount.
        """
        refusal, descriptors = b"", list[int]()
        with suppress(ConnectionError):  # somebody has killed it
            self._channel.sendall(b"\n")
            refusal, descriptors, _, _ = socket.recv_fds(self._channel, _MESSAGE_MAX, 1)
        self._end()
        if not descriptors:
            raise RuntimeError(refusal.decode() or _KILLED)
        os.set_inheritable(descriptors[0], False)
        return descriptors[0]

    def _end(self) -> None:
        self._channel.close()
        if not self._has_ended:
            os.waitpid(self.pid, 0)
            self._has_ended = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._end()


def mount_options(options: MountOptions, source: str) -> set[str]:
    """Return the options of mount.fuse for these options of ours."""
    escaped = source.replace("\\", "\\\\").replace(",", "\\,")
    chosen = {f"fsname={escaped}", "subtype=smbfs", *options.mount_flags}
    if options.is_read_only:
        chosen.add("ro")
    if options.allow_other:
        chosen.add("allow_other")
        if not options.noperm:
            # Otherwise everybody would have the rights of who mounted.
            chosen.add("default_permissions")
    return chosen


def _mount_when_told(channel: socket.socket, mountpoint: str, options: set[str]) -> NoReturn:
    """The child's life. Never returns into the parent's code."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # It ends when the parent does.
        if channel.recv(1):
            try:
                # libfuse knows how, for root and for users; nobody will ask these operations.
                pyfuse3.init(pyfuse3.Operations(), mountpoint, set(map(_Option, options)))
            except RuntimeError as refusal:
                channel.sendall(str(refusal).encode()[:_MESSAGE_MAX])
            else:
                socket.send_fds(channel, [b"\n"], [_open_fuse_device()])
    finally:
        sys.stderr.flush()
        os._exit(0)


def _open_fuse_device() -> int:
    """Find the descriptor of the mount just made, which pyfuse3 does not tell."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with suppress(OSError):  # the listing's own
            found = os.fstat(int(name))
            if stat.S_ISCHR(found.st_mode) and found.st_rdev == _FUSE_DEVICE:
                return int(name)
    raise RuntimeError("libfuse mounts without /dev/fuse")
