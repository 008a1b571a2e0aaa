"""How far a connection to a share has come, for who wants to tell."""

from __future__ import annotations

from smbfs.client.status import Identity
from smbfs.engine.negotiate import Negotiated


class Progress:
    """Told of each step when it is done; nothing here may raise. This one tells nobody."""

    def negotiated(self, negotiated: Negotiated) -> None:
        """Both sides have agreed on what to speak."""

    def signed_on(self, identity: Identity) -> None:
        """The server knows us, and what it makes of us is accepted."""
