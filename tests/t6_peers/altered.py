"""What a mount does with its connection, without the mount, under attack: what it came to.

Spec: [MS-SMB2] 3.2.5 has the client end a connection on which something is not right.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import trio

from smbfs.auth.credentials import Credentials
from smbfs.auth.spnego import make_authenticator
from smbfs.client.connect import connect_share
from smbfs.client.tree_connect import TreeConnect
from smbfs.config.model import MountOptions
from smbfs.config.unc import Unc
from smbfs.errors import SmbfsError
from smbfs.transport.dial import dial_tcp
from smbfs.wire.create import (
    AccessMask,
    CreateDisposition,
    CreateOptions,
    CreateRequest,
    FileId,
    ShareAccess,
)
from smbfs.wire.info import FileInfoClass, InfoType, QueryInfoRequest
from tests.beds.middle import Attack, Middle, in_the_middle
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import HOST

PATIENCE_S = 1.0
"""The mount's own timeout."""
CONTENTS = bytes(index * 7 % 251 for index in range(5000))
SOURCE = "source"
NAMES = "names"
AT_ONCE = 12
"""Attacks that run at the same time: some wait for nothing but the end of the patience."""

_EVERYBODY = ShareAccess.READ | ShareAccess.WRITE | ShareAccess.DELETE
_numbers = itertools.count()


class Properties(NamedTuple):
    """What protects a connection: an attack may not change any of it."""

    dialect: int
    signing_required: bool
    signing_algorithm: int
    cipher: int | None
    seals_session: bool
    seals_tree: bool
    posix: bool
    user: str
    auth: str


@dataclass(slots=True)
class Outcome:
    """What became of one attack."""

    error: SmbfsError | None = None
    properties: Properties | None = None
    """None when there was no connection."""
    facts: list[bytes] = field(default_factory=list)
    """What the share's user has got to know, step by step."""
    hung: bool = False
    """Whether it took so much longer than the mount's patience that we have given up."""

    def is_a_part_of(self, truth: Outcome, *, may_wait: bool = False) -> bool:
        """Whether everything was as without an attack, until there was an error.

        ``may_wait``: or until we did not want to wait any longer.
        """
        if self.hung:
            return may_wait and self.facts == truth.facts[: len(self.facts)]
        is_whole = self.error is not None or len(self.facts) == len(truth.facts)
        return (
            is_whole
            and self.properties in (None, truth.properties)
            and self.facts == truth.facts[: len(self.facts)]
        )


def properties_of(tree: TreeConnect) -> Properties:
    """Return what protects a share now."""
    negotiated, session = tree.negotiated, tree.channel.session
    return Properties(
        negotiated.dialect,
        session.signing_required and session.signer is not None,
        negotiated.signing_algorithm,
        negotiated.cipher,
        session.encrypt_data,
        tree.sender.encrypt_data,
        tree.posix,
        tree.identity.user,
        tree.identity.auth,
    )


def opening(
    name: str,
    access: AccessMask = AccessMask.READ_DATA | AccessMask.READ_ATTRIBUTES,
    disposition: CreateDisposition = CreateDisposition.OPEN,
    options: int = 0,
) -> CreateRequest:
    """Return the request that opens a file that exists, for reading."""
    return CreateRequest(
        name=name,
        desired_access=access,
        share_access=_EVERYBODY,
        create_disposition=disposition,
        create_options=CreateOptions(options),
    )


def making(name: str) -> CreateRequest:
    """Return the request that makes or empties a file, for writing and reading."""
    access = AccessMask.WRITE_DATA | AccessMask.READ_DATA
    return opening(name, access, CreateDisposition.OVERWRITE_IF)


def prepare(samba: SambaServer) -> None:
    """Put on the shares what :func:`outcome_of` looks at."""
    for share in ("share", "sealed"):
        folder = samba.share_path(share)
        (folder / SOURCE).write_bytes(CONTENTS)
        (folder / NAMES).mkdir(exist_ok=True)
        for number in range(8):
            (folder / NAMES / f"name-{number}").touch()


def destination(samba: SambaServer, middle: Middle, share: str) -> tuple[Unc, Credentials]:
    """Return which share to connect to, and as whom."""
    return Unc(HOST, middle.port, share), Credentials(samba.user, password=samba.password)


@asynccontextmanager
async def share_behind(
    middle: Middle, samba: SambaServer, options: MountOptions, share: str = "share"
) -> AsyncIterator[TreeConnect]:
    """Connect to a share through a man in the middle, once."""
    stream = await dial_tcp(HOST, middle.port, timeout_s=PATIENCE_S)
    unc, credentials = destination(samba, middle, share)
    async with connect_share(stream, unc, options, credentials, make_authenticator) as tree:
        yield tree


async def outcome_of(
    samba: SambaServer, options: MountOptions, attack: Attack, share: str = "share"
) -> Outcome:
    """Connect, ask, read, list and write; never raises what people are told by."""
    outcome = Outcome()
    async with in_the_middle(samba, attack) as middle:
        try:
            with trio.move_on_after(15 * PATIENCE_S) as scope:
                async with share_behind(middle, samba, options, share) as tree:
                    outcome.properties = properties_of(tree)
                    await _use(tree, samba, share, outcome.facts)
            outcome.hung = scope.cancelled_caught
        except SmbfsError as error:
            outcome.error = error
    return outcome


async def _use(tree: TreeConnect, samba: SambaServer, share: str, facts: list[bytes]) -> None:
    query = QueryInfoRequest(FileId.RELATED, InfoType.FILE, FileInfoClass.STANDARD, 4096)
    asked = await tree.compound(opening(SOURCE), query)
    facts.append(bytes(asked.responses[0]))
    source = await tree.create(opening(SOURCE))
    facts.append(bytes(await source.read(0, len(CONTENTS))))
    await source.close()
    folder = opening(NAMES, options=CreateOptions.DIRECTORY_FILE)
    file, pieces, _ = await tree.create_and_list(folder, FileInfoClass.NAMES, length=4096)
    if not pieces:  # What went wrong is told to who goes on with the listing.
        pieces = [await file.query_directory(FileInfoClass.NAMES, restart=True) or memoryview(b"")]
    facts.append(b"".join(pieces))
    await file.close()
    name = f"target-{next(_numbers):06}"
    target = await tree.create(making(name))
    count = await target.write(0, CONTENTS)
    await target.close()
    facts.append((samba.share_path(share) / name).read_bytes()[:count])


async def all_outcomes(
    samba: SambaServer, options: MountOptions, attacks: list[Attack], share: str = "share"
) -> list[Outcome]:
    """Return what became of each attack."""
    outcomes: dict[int, Outcome] = {}
    limit = trio.CapacityLimiter(AT_ONCE)

    async def run(number: int, attack: Attack) -> None:
        async with limit:
            outcomes[number] = await outcome_of(samba, options, attack, share)

    async with trio.open_nursery() as nursery:
        for number, attack in enumerate(attacks):
            nursery.start_soon(run, number, attack)
    return [outcomes[number] for number in range(len(attacks))]
