"""Handles that the server keeps for us when the connection is lost, if it likes to.

Spec: [MS-SMB2] 3.2.4.3.5 to 3.2.4.3.7 (asking), 3.2.4.4 (taking one back).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from smbfs.wire.create import AccessMask, CreateDisposition, CreateRequest, CreateResponse
from smbfs.wire.create_contexts import (
    CreateContext,
    DurableHandleReconnectV1,
    DurableHandleReconnectV2,
    DurableHandleRequestV1,
    DurableHandleRequestV2,
    DurableHandleResponseV1,
    DurableHandleResponseV2,
)
from smbfs.wire.dialect import Dialect

if TYPE_CHECKING:
    from smbfs.client.open import Open
    from smbfs.client.tree_connect import TreeConnect

WRITES: Final = AccessMask.WRITE_DATA | AccessMask.APPEND_DATA
"""What only who writes asks for, one or both."""

DurableRequest = DurableHandleRequestV1 | DurableHandleRequestV2

KEEP_MAX_S: Final = 300.0
"""Seconds for which a server is asked to keep a handle; servers grant no more."""


def _durable_context(
    dialect: Dialect, patience_s: float, *, is_continuous: bool
) -> DurableRequest | None:
    """Return what asks for a durable handle, that lives for as long as anybody would wait.

    ``is_continuous``: the share is continuously available, so handles may survive the server, too.
    """
    if dialect < Dialect.SMB_2_1:
        return None
    if dialect < Dialect.SMB_3_0:
        return DurableHandleRequestV1()
    keep_s = KEEP_MAX_S if math.isinf(patience_s) else min(patience_s, KEEP_MAX_S)
    flags = DurableHandleRequestV2.PERSISTENT if is_continuous else 0
    return DurableHandleRequestV2(uuid4(), int(keep_s * 1000), flags)


def asking_for_durability(tree: TreeConnect, request: CreateRequest) -> CreateRequest:
    """Return a CREATE under a lease that, for who writes, also asks for a durable handle."""
    durable = _durable_context(
        tree.negotiated.dialect,
        tree.line.availability.patience_s,
        is_continuous=tree.is_continuous,
    )
    if durable is None or not request.desired_access & WRITES:
        return request
    return replace(request, contexts=(*request.contexts, durable))


def is_durable(request: CreateRequest, created: CreateResponse) -> DurableRequest | None:
    """Return what was asked for if the server has granted it."""
    for context in request.contexts:
        match context:
            case DurableHandleRequestV1() if created.context(DurableHandleResponseV1) is not None:
                return context
            case DurableHandleRequestV2():
                granted = created.context(DurableHandleResponseV2)
                return replace(context, flags=granted.flags) if granted is not None else None
    return None


def is_persistent(durable: DurableRequest | None) -> bool:
    """Whether what the server has granted survives the server, too. Spec: [MS-SMB2] 2.2.14.2.12."""
    flags = durable.flags if isinstance(durable, DurableHandleRequestV2) else 0
    return bool(flags & DurableHandleRequestV2.PERSISTENT)


def reconnect_request(file: Open, path: str) -> CreateRequest | None:
    """Return the CREATE that takes a durable handle back; None if it is none."""
    context: CreateContext
    match file.durable:
        case DurableHandleRequestV2(create_guid=guid, flags=flags):
            context = DurableHandleReconnectV2(file.file_id, guid, flags)
        case DurableHandleRequestV1():
            context = DurableHandleReconnectV1(file.file_id)
        case _:
            return None
    # Samba takes no other context beside it than the lease's, so the path is not a POSIX one.
    return CreateRequest(
        path.replace("/", "\\"),
        file.access,
        create_disposition=CreateDisposition.OPEN,
        contexts=(context,),
    )
