"""One session: who we are on a connection, and the keys that prove it.

Spec: [MS-SMB2] 3.2.1.3 (Session), 3.2.5.3 (SESSION_SETUP responses).
"""

from __future__ import annotations

from dataclasses import dataclass

from smbfs.engine.encryption import Sealer
from smbfs.engine.key_derivation import derive_session_keys
from smbfs.engine.negotiate import Negotiated
from smbfs.engine.preauth_hash import INITIAL_HASH
from smbfs.engine.signing import Signer, signer_for


@dataclass(slots=True, eq=False)
class Session:
    """State of a session, from its first SESSION_SETUP on."""

    session_id: int = 0
    """Chosen by the server in its first answer."""
    preauth_hash: bytes = INITIAL_HASH
    signer: Signer | None = None
    """None until sign-on succeeded, and for good in guest and null sessions."""
    sealer: Sealer | None = None
    binding_signer: Signer | None = None
    """What signs SESSION_SETUP while a session that lives elsewhere is bound to a connection."""
    signing_required: bool = False
    """Unsigned answers kill the connection: we or the server want it so, and there are keys."""
    encrypt_data: bool = False
    """Everything is sealed, and clear answers kill the connection."""

    def for_another_channel(self) -> Session:
        """Return this session as another connection shall know it, once it is bound there.

        Every channel has a key to sign with; those for sealing belong to the session.
        Spec: [MS-SMB2] 3.2.4.2.3.1 (binding), 3.2.5.3.3.
        """
        return Session(
            session_id=self.session_id,
            sealer=self.sealer,
            binding_signer=self.binding_signer or self.signer,
            signing_required=self.signing_required,
            encrypt_data=self.encrypt_data,
        )

    def install_keys(self, negotiated: Negotiated, authentication_key: bytes) -> None:
        """Derive the keys. Call it when the last SESSION_SETUP answer is in the hash or signed."""
        keys = derive_session_keys(
            negotiated.dialect,
            authentication_key,
            preauth_hash=self.preauth_hash,
            cipher=negotiated.cipher,
        )
        self.signer = signer_for(negotiated.signing_algorithm, keys.signing_key)
        if negotiated.cipher is not None and self.sealer is None:
            self.sealer = Sealer(negotiated.cipher, keys, self.session_id)
