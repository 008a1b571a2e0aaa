"""A Samba of a newer suite than this machine's, whose handles can survive it.

Its folder has the same path inside as outside, so that configuration, accounts and logs are read
and written as those of any other server of the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tests.beds.mortal_samba import MortalSamba
from tests.beds.newer_suite import NewerSuite
from tests.beds.samba import SHARES
from tests.beds.samba_folder import Share

PERSISTENT: Mapping[str, str] = MappingProxyType(
    {
        "persistent handles": "yes",
        "continuous availability": "yes",
        "kernel oplocks": "no",
        "kernel share modes": "no",
        "posix locking": "no",
    }
)
"""smb.conf parameters of ``[global]`` that make every share a continuously available one."""

_SMBD = "/usr/sbin/smbd"
_NSS_WRAPPER = "libnss_wrapper.so"


class NewerSamba(MortalSamba):
    """A server from the folder of a suite; the rest is :class:`SambaServer`'s."""

    def __init__(
        self,
        root: Path,
        suite: NewerSuite,
        *,
        globals: Mapping[str, str] | None = None,  # noqa: A002 - smb.conf's name for them
        shares: Sequence[Share] = SHARES,
    ) -> None:
        self._root, self._suite = root, suite
        super().__init__(root, globals=globals, shares=shares)

    def _smbd(self) -> list[str]:
        settings = self._folder.nss_environment(_NSS_WRAPPER).items()
        accounts = [f"{name}={value}" for name, value in settings]
        return self._suite.inside(self._root, "env", *accounts, _SMBD, at=self._root)
