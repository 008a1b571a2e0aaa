"""A Samba at the far end of a cable, a mount at the near end, and ways to cut what is between.

Unlike ``Cable.bring`` nothing of the tests passes bytes on: the server's own TCP is at the far end,
so a cut is what it would be between two machines.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from tests.beds.mortal_samba import MortalSamba
from tests.beds.mounted import Mounted, mount
from tests.beds.namespaces import SERVER, Cable, cable, slow_cable
from tests.beds.pki import Pki
from tests.beds.quic_across import FIRST_ADDRESS
from tests.beds.quic_gateway import quic_gateway
from tests.beds.samba_folder import nss_wrapper
from tests.beds.slow_link import SlowLink, Wire

NAME = "bed.test"
"""The server's."""

_SILENT = 1.0
_CONNECT_S = 1.0


class Line:
    """A cable that can be cut. ``kind`` says how.

    ``unplugged``: the client's own device is down, of which its kernel knows. ``silent``: every
    frame is lost on the way, of which nobody is told.
    """

    def __init__(self, wire: Cable, link: SlowLink | None) -> None:
        self.wire = wire
        self._link = link

    def cut(self) -> None:
        """Let nothing through in either direction."""
        if self._link is None:
            self._set_device("down")
        else:
            self._link.becomes(replace(self._link.wire, loss=_SILENT))

    def mend(self) -> None:
        """Let everything through again."""
        if self._link is None:
            self._set_device("up")
        else:
            self._link.becomes(replace(self._link.wire, loss=0.0))

    @contextmanager
    def is_cut(self) -> Iterator[None]:
        """Cut for the length of the block."""
        self.cut()
        try:
            yield
        finally:
            self.mend()

    def reaches(self, port: int) -> bool:
        """Whether a new connection from the client to a port of the server comes about."""
        connect = f"import socket; socket.create_connection(({SERVER!r}, {port}), {_CONNECT_S})"
        done = subprocess.run(
            [*self.wire.in_client, sys.executable, "-c", connect], capture_output=True, check=False
        )
        return done.returncode == 0

    def _set_device(self, state: str) -> None:
        _, namespace = self.wire.ends[0]
        command = ["ip", "-n", namespace, "link", "set", "c", state]
        subprocess.run(command, check=True, timeout=30)


@contextmanager
def unplugged(_folder: Path) -> Iterator[Line]:
    """Make a line whose cut the client's kernel sees."""
    with cable() as wire:
        wire.give(FIRST_ADDRESS)
        yield Line(wire, None)


@contextmanager
def silent(folder: Path) -> Iterator[Line]:
    """Make a line whose cut nobody sees. Its log is in ``folder``."""
    with slow_cable(folder, Wire()) as (wire, link):
        wire.give(FIRST_ADDRESS)
        yield Line(wire, link)


LINES: Mapping[str, Callable[[Path], AbstractContextManager[Line]]] = MappingProxyType(
    {
        "unplugged": unplugged,
        "silent": silent,
    }
)


class Names:
    """What one program is told when it looks ``NAME`` up; nobody else sees it."""

    def __init__(self, folder: Path, address: str) -> None:
        self._path = folder / "hosts"
        self._changes = 0
        self.lead_to(address)

    def lead_to(self, address: str) -> None:
        """Let the name mean an address from now on."""
        self._path.write_text(f"{address} {NAME}\n")
        self._changes += 1
        os.utime(self._path, (self._changes, self._changes))  # It is read again by the second.

    @property
    def inside(self) -> tuple[str, ...]:
        """The command that runs another one which is told so."""
        return ("env", f"LD_PRELOAD={nss_wrapper()}", f"NSS_WRAPPER_HOSTS={self._path}")


def far_samba(root: Path, wire: Cable, **keywords: Mapping[str, str]) -> MortalSamba:
    """Start a server at the far end, at all addresses of it; ``keywords`` are MortalSamba's."""
    given = keywords.pop("globals", {})
    everywhere = {"interfaces": "", "bind interfaces only": "no", **given}
    return MortalSamba(root, globals=everywhere, inside=wire.in_server)


@contextmanager
def mount_far(
    wire: Cable, server: MortalSamba, folder: Path, options: str, pki: Pki | None = None
) -> Iterator[Mounted]:
    """Mount the default share of a far server, with more options.

    With ``pki`` over QUIC, by a gateway that is at the far end as well.
    """
    known = f"credentials={server.credentials_file()},{options}"
    mountpoint, unc = folder / "mount", f"//{NAME}:{server.port}/share"
    if pki is None:
        chosen = f"{known},ip={SERVER},transport=tcp"
        with mount(unc, mountpoint, "-o", chosen, inside=wire.in_client) as mounted:
            yield mounted
        return
    leaf = pki.leaf("server")
    with quic_gateway(folder, server.port, [leaf], host=SERVER, inside=wire.in_server) as front:
        quic = f"transport=quic,quic_port={front.port},quic_ca={pki.ca},ip={SERVER}"
        with mount(
            f"//{NAME}/share", mountpoint, "-o", f"{known},{quic}", inside=wire.in_client
        ) as mounted:
            yield mounted
