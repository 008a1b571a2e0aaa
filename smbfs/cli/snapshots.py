"""``smbfs snapshots``: which past states of a share the option ``snapshot=`` can show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from smbfs.auth.credentials import Credentials
from smbfs.cli.errors import CommandError, ExitCode, printable
from smbfs.cli.visit import connected, visit_as_mount
from smbfs.client.snapshots import list_snapshots
from smbfs.config.model import MountOptions
from smbfs.config.options import GivenOption
from smbfs.config.unc import parse_unc
from smbfs.config.values import parse_snapshot
from smbfs.errors import ServerStatusError
from smbfs.wire.ntstatus import status_name


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotsRequest:
    """What the command line asks for."""

    unc: str
    """The share, or a folder of it, in any spelling."""

    given: Sequence[GivenOption] = ()
    """Options of a mount, in order: the server is reached as by a mount."""

    as_json: bool = False
    """For programs."""


def show_snapshots(request: SnapshotsRequest) -> int:
    """Print the snapshots of a share, the latest first; return the exit code. Raises: UserError."""
    unc = parse_unc(request.unc)

    async def ask(options: MountOptions, credentials: Credentials) -> Sequence[str]:
        async with connected(unc, options, credentials) as tree:
            try:
                return await list_snapshots(tree, unc.folder)
            except ServerStatusError as error:
                who = credentials.qualified_name
                raise CommandError(
                    f"{unc} does not tell which snapshots it has",
                    f"the server answers {status_name(error.status)} to {who}.",
                    "check how the folder is spelt, or ask as a user who may open it (user=NAME).",
                ) from error

    told = visit_as_mount(unc, request.given, ask, shown=str(unc))
    names = sorted(told, reverse=True)
    if request.as_json:
        print(json.dumps([{"snapshot": name, "time": _time(name)} for name in names], indent=2))
    elif not names:
        print(f"{unc} has no snapshots.")
    else:
        for name in names:
            print(printable(f"{name}  {_time(name) or ''}").rstrip())
    return ExitCode.FINE


def _time(name: str) -> str | None:
    """Return the time of a snapshot on this machine's clock (ISO 8601), if its name tells it."""
    try:
        return parse_snapshot(name).astimezone().isoformat()
    except ValueError:
        return None
