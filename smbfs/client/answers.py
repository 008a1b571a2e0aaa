"""From a completed exchange to a body or an error."""

from __future__ import annotations

from collections.abc import Container

from smbfs.engine.exchange import Exchange, Response
from smbfs.errors import ServerStatusError
from smbfs.wire.ntstatus import NtStatus, nt_status

SUCCESS: Container[int] = frozenset({NtStatus.STATUS_SUCCESS})


def answer(
    exchange: Exchange, index: int = 0, *, accept: Container[int] = SUCCESS, context: str = ""
) -> Response:
    """Return the answer at ``index`` when its status is in ``accept``.

    Raises: ServerStatusError with the status as received.
    """
    response = exchange.response(index)
    if response.header.status not in accept:
        command = exchange.requests[index].message.command.name
        raise ServerStatusError(nt_status(response.header.status), command, context)
    return response
