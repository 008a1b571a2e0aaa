"""Samba's own client over QUIC: the one of a newer suite, for it is in no older one.

Samba 4.24 does not survive everything that a server may do. It gives up when it is offered a TLS
session ticket. It aborts when it may send no more in the middle of a datagram: so a server has to
leave it room for what it has under way, 16 MiB. And what it does for an upload grows with the
square of its size: 8 MiB take half a second, 64 MiB take half a minute.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.beds.guardian import BedError
from tests.beds.newer_suite import SHARED, NewerSuite

_NAME = "bed.test"
_ENDS_WITHIN_S = 60.0
_CONFIGURATION = """\
[global]
    client smb transports = quic:{port}
    tls cafile = {here}/ca.pem
    tls verify peer = ca_and_name
    private dir = {here}
    lock directory = {here}
    state directory = {here}
    cache directory = {here}
"""


class QuicSmbclient:
    """smbclient with a folder of its own, where the files are that it sends and gets."""

    def __init__(
        self, suite: NewerSuite, folder: Path, port: int, *, ca: Path, credentials: Path
    ) -> None:
        """It will speak to UDP port ``port`` of this machine; ``ca`` is whom it believes."""
        self.folder = folder
        self._suite = suite
        shutil.copy(ca, folder / "ca.pem")
        shutil.copy(credentials, folder / "credentials")
        (folder / "client.conf").write_text(_CONFIGURATION.format(port=port, here=SHARED))

    def run(self, share: str, commands: str) -> str:
        """Run smbclient's ``commands`` on a share, and return what it printed.

        Raises: BedError if it fails, with what it said; subprocess.TimeoutExpired.
        """
        done = self._suite.run(
            self.folder,
            *("smbclient", "--configfile", str(SHARED / "client.conf")),
            *("--authentication-file", str(SHARED / "credentials"), f"//{_NAME}/{share}"),
            *("--command", f"lcd {SHARED}; {commands}"),
            timeout_s=_ENDS_WITHIN_S,
        )
        if done.returncode:
            raise BedError(f"smbclient {commands!r}: {done.stdout}{done.stderr}")
        return done.stdout
