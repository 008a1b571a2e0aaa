"""A mount over QUIC at one end of a cable, and the gateway with its server at the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.beds.mounted import Mounted, mount
from tests.beds.namespaces import SERVER, Cable
from tests.beds.pki import Pki
from tests.beds.quic_gateway import QuicGateway, quic_gateway
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE

FIRST_ADDRESS = "10.77.0.10"
"""The client's, to begin with."""


@contextmanager
def mount_across(
    wire: Cable, samba: SambaServer, pki: Pki, folder: Path, *options: str
) -> Iterator[tuple[Mounted, QuicGateway]]:
    """Mount the default share across ``wire``, with more options if there are."""
    wire.give(FIRST_ADDRESS)
    wire.bring(samba.port)
    with quic_gateway(
        folder, samba.port, [pki.leaf("server")], host=SERVER, inside=wire.in_server
    ) as front:
        known = [
            f"credentials={samba.credentials_file(ALICE)}",
            f"ip={SERVER}",
            "transport=quic",
            f"quic_port={front.port}",
            f"quic_ca={pki.ca}",
        ]
        with mount(
            "//bed.test/share",
            folder / "mount",
            "-o",
            ",".join([*known, *options]),
            inside=wire.in_client,
        ) as mounted:
            yield mounted, front
