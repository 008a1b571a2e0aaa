"""``smbfs shares``: what can be mounted from a server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from smbfs.auth.credentials import Credentials
from smbfs.cli.errors import CommandError, ExitCode, printable
from smbfs.cli.server_argument import IPC_SHARE, Server, parse_server
from smbfs.cli.visit import connected, visit_as_mount
from smbfs.client.shares import list_shares
from smbfs.config.model import MountOptions
from smbfs.config.options import GivenOption
from smbfs.errors import ServerStatusError
from smbfs.wire.ntstatus import status_name
from smbfs.wire.srvsvc import SharedResource, ShareKind

_HIDDEN: Final = "$"
"""How the names end that a network neighbourhood does not show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesRequest:
    """What the command line asks for."""

    server: str
    """The server, or a share of it, in any spelling."""

    given: Sequence[GivenOption] = ()
    """Options of a mount, in order: the server is reached as by a mount."""

    as_json: bool = False
    """For programs."""


def show_shares(request: SharesRequest) -> int:
    """Print the shares of a server that can be mounted; return the exit code. Raises: UserError."""
    server = parse_server(request.server)

    async def ask(options: MountOptions, credentials: Credentials) -> Sequence[SharedResource]:
        pipes = replace(server.unc, share=IPC_SHARE, path="")
        async with connected(pipes, options, credentials) as tree:
            try:
                return await list_shares(tree, server.unc.server)
            except ServerStatusError as error:
                raise CommandError(
                    f"{server.host} does not tell which shares it has",
                    f"it answers {status_name(error.status)} to {credentials.qualified_name}.",
                    "ask as a user who may (user=NAME), or mount a share whose name you know.",
                ) from error

    told = visit_as_mount(server.unc, request.given, ask, shown=server.shown)
    disks = [share for share in told if share.kind == ShareKind.DISK]
    disks.sort(key=lambda share: share.name.casefold())
    if request.as_json:
        print(json.dumps([_as_json(server, share) for share in disks], indent=2))
    elif not disks:
        print(f"{server.host} has nothing to mount for this user.")
    else:
        places = [printable(_place(server, share)) for share in disks]
        width = max(map(len, places))
        for place, share in zip(places, disks, strict=True):
            print(f"{place:{width}}  {printable(share.remark)}".rstrip())
    return ExitCode.FINE


def _place(server: Server, share: SharedResource) -> str:
    return f"{server.host}/{share.name}"


def _as_json(server: Server, share: SharedResource) -> dict[str, object]:
    return {
        "name": share.name,
        "unc": _place(server, share),
        "remark": share.remark,
        "hidden": share.name.endswith(_HIDDEN),
    }
