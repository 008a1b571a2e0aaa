"""The picture of the connection that a share lives on, for ``smbfs status``."""

from __future__ import annotations

from typing import Final

from smbfs.client.status import ConnectionState, ConnectionStatus
from smbfs.client.tree_connect import TreeConnect
from smbfs.engine.availability import State

_STATES: Final[dict[State, ConnectionState]] = {
    State.CONNECTED: "connected",
    State.SUSPECT: "reconnecting",
    State.RECONNECTING: "reconnecting",
    State.OFFLINE: "offline",
}
"""A silent connection is being replaced while it may still answer."""


def connection_status(tree: TreeConnect) -> ConnectionStatus:
    """Return what ``status`` shows of a share's connection now."""
    line, negotiated = tree.line, tree.negotiated
    channel = line.ready or tree.channel
    connection, counters = channel.connection, line.counters
    address, port = connection.stream.peer
    sealed = channel.session.encrypt_data or tree.sender.encrypt_data
    return ConnectionStatus(
        state=_STATES[line.availability.state],
        failure=line.failure,
        transport=connection.stream.transport,
        tunnel=connection.stream.tunnel,
        server_name=tree.identity.server_name,
        address=address,
        port=port,
        server_guid=str(negotiated.server_guid),
        dialect=negotiated.dialect.label,
        signing_required=channel.session.signing_required,
        signing_algorithm=negotiated.signing_algorithm.label,
        encryption=negotiated.cipher.label if sealed and negotiated.cipher else None,
        user=tree.identity.user,
        auth=tree.identity.auth,
        credits=connection.engine.flow.credits,
        requests=counters.requests,
        round_trips=dict(counters.round_trips),
        read_bytes=counters.read_bytes,
        written_bytes=counters.written_bytes,
        breaks=counters.breaks,
        channels=len(line.channels),
        reconnects=line.availability.restorations,
        errors=dict(counters.errors),
    )
