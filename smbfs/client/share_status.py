"""The picture of the connection that a share lives on, for ``smbfs status``."""

from __future__ import annotations

from smbfs.client.status import ConnectionStatus
from smbfs.client.tree_connect import TreeConnect


def connection_status(tree: TreeConnect) -> ConnectionStatus:
    """Return what ``status`` shows of a share's connection now."""
    connection, negotiated = tree.connection, tree.negotiated
    counters = connection.counters
    address, port = connection.stream.peer
    sealed = tree.session.encrypt_data or tree.encrypt_data
    return ConnectionStatus(
        state="connected" if connection.is_alive else "offline",
        transport=connection.stream.transport,
        tunnel=connection.stream.tunnel,
        server_name=tree.identity.server_name,
        address=address,
        port=port,
        server_guid=str(negotiated.server_guid),
        dialect=negotiated.dialect.label,
        signing_required=tree.session.signing_required,
        signing_algorithm=negotiated.signing_algorithm.label,
        encryption=negotiated.cipher.label if sealed and negotiated.cipher else None,
        user=tree.identity.user,
        auth=tree.identity.auth,
        credits=connection.engine.credits,
        requests=counters.requests,
        round_trips=dict(counters.round_trips),
        read_bytes=counters.read_bytes,
        written_bytes=counters.written_bytes,
        breaks=counters.breaks,
        reconnects=0,
        errors=dict(counters.errors),
    )
