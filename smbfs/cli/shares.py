"""``smbfs shares``: what can be mounted from a server."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from smbfs.cli.errors import CommandError, ExitCode, printable
from smbfs.cli.kerberos_realms import kerberos_realms
from smbfs.cli.prepare import (
    resolve_credentials,
    resolve_kdc_proxies,
    warnings_of,
)
from smbfs.cli.privileges import keep_secrets
from smbfs.cli.server_argument import IPC_SHARE, Server, parse_server
from smbfs.cli.visit import resolve_recorded, visit
from smbfs.client.shares import list_shares
from smbfs.client.tree_connect import TreeConnect
from smbfs.config.options import GivenOption, ParsedOptions
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
    keep_secrets()
    server = parse_server(request.server)
    parsed = resolve_recorded(server, request.given)
    for warning in warnings_of(parsed):
        print(f"smbfs: {warning}", file=sys.stderr)
    found = sorted(_ask(server, parsed), key=lambda share: share.name.casefold())
    disks = [share for share in found if share.kind == ShareKind.DISK]
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


def _ask(server: Server, parsed: ParsedOptions) -> Sequence[SharedResource]:
    unc, options = server.unc, parsed.options
    proxies = resolve_kdc_proxies(unc, options, os.environ)
    with kerberos_realms(proxies, options.kdc_proxy_ca, f"shares-{os.getpid()}"):
        credentials = resolve_credentials(unc, options, os.environ)

        async def ask(tree: TreeConnect) -> Sequence[SharedResource]:
            try:
                return await list_shares(tree, unc.server)
            except ServerStatusError as error:
                who = credentials.qualified_name or "guests"
                raise CommandError(
                    f"{server.host} does not tell which shares it has",
                    f"it answers {status_name(error.status)} to {who}.",
                    "ask as a user who may (user=NAME), or mount a share whose name you know.",
                ) from error

        return visit(
            replace(unc, share=IPC_SHARE, path=""),
            parsed,
            replace(options, posix=False),  # There are no files in it.
            credentials,
            ask,
            shown=server.shown,
        )


def _place(server: Server, share: SharedResource) -> str:
    return f"{server.host}/{share.name}"


def _as_json(server: Server, share: SharedResource) -> dict[str, object]:
    return {
        "name": share.name,
        "unc": _place(server, share),
        "remark": share.remark,
        "hidden": share.name.endswith(_HIDDEN),
    }
