"""Commands that sign on to a server as a mount does, ask it something, and sign off."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

import trio

from smbfs.audit.events import CredentialUsed
from smbfs.audit.writer import record_once
from smbfs.auth.credentials import Credentials
from smbfs.auth.spnego import make_authenticator
from smbfs.cli.errors import CommandError, ExitCode, explain, first_leaf
from smbfs.cli.failure_events import failure_event
from smbfs.cli.kerberos_realms import kerberos_realms
from smbfs.cli.policy_events import policy_refusal, protection_lowered
from smbfs.cli.prepare import (
    resolve_credentials,
    resolve_kdc_proxies,
    resolve_options,
    warnings_of,
)
from smbfs.cli.privileges import Capability, give_up_privileges, keep_secrets
from smbfs.client.connect import connect_share
from smbfs.client.route import dial_route, route_to
from smbfs.client.tree_connect import TreeConnect
from smbfs.config.model import MountOptions
from smbfs.config.options import GivenOption, ParsedOptions, say_who_decided
from smbfs.config.policy import PolicyRefused, lowered
from smbfs.config.unc import Unc
from smbfs.errors import SmbfsError

ResultT = TypeVar("ResultT")


def resolve_recorded(unc: Unc, given: Sequence[GivenOption], *, shown: str) -> ParsedOptions:
    """Return what a server is reached with; the audit hears of who wants less than the policy.

    Raises: ConfigError, of which PolicyRefused is one.
    """
    try:
        return resolve_options(unc, given, os.environ)
    except PolicyRefused as error:
        record_once(policy_refusal(shown, error))
        raise


def visit_as_mount(
    unc: Unc,
    given: Sequence[GivenOption],
    main: Callable[[MountOptions, Credentials], Awaitable[ResultT]],
    *,
    shown: str,
) -> ResultT:
    """Return what ``main`` makes of a mount's options and credentials; see :func:`visit`.

    Raises: UserError.
    """
    keep_secrets()
    parsed = resolve_recorded(unc, given, shown=shown)
    options = replace(parsed.options, posix=False)  # What is asked is none of it.
    for warning in warnings_of(parsed):
        print(f"smbfs: {warning}", file=sys.stderr)
    proxies = resolve_kdc_proxies(unc, options, os.environ)
    with kerberos_realms(proxies, options.kdc_proxy_ca, f"visit-{os.getpid()}"):
        credentials = resolve_credentials(unc, options, os.environ)
        return visit(parsed, credentials, partial(main, options, credentials), shown=shown)


def visit(
    parsed: ParsedOptions,
    credentials: Credentials,
    main: Callable[[], Awaitable[ResultT]],
    *,
    shown: str,
) -> ResultT:
    """Return what ``main`` makes of a server, with as few rights as a daemon has.

    ``parsed`` says who decided on the options. ``shown``: what the server is called in messages,
    and in the audit, which hears of everything.
    Raises: CommandError, in the words of a mount that fails.
    """
    for each in lowered(parsed):
        record_once(protection_lowered(shown, each))
    record_once(CredentialUsed(shown, credentials.qualified_name, credentials.source))
    try:
        with credentials.attended():
            give_up_privileges(keep={Capability.DAC_READ_SEARCH})
            return trio.run(main)
    except (SmbfsError, BaseExceptionGroup) as error:
        raise as_told(error, parsed, shown, credentials) from error


@asynccontextmanager
async def connected(
    unc: Unc, options: MountOptions, credentials: Credentials
) -> AsyncIterator[TreeConnect]:
    """Have a share connected for the length of the block. Raises: what `connect_share` does."""
    stream = await dial_route(route_to(unc, options), unc.server)
    async with connect_share(stream, unc, options, credentials, make_authenticator) as tree:
        yield tree


def as_told(
    error: BaseException, parsed: ParsedOptions, shown: str, credentials: Credentials
) -> CommandError:
    """Return what a command that was refused ends with; the audit hears of it.

    It does not of a CommandError: the server let us in. Raises: KeyboardInterrupt, if it was that.
    """
    leaf = first_leaf(error)
    if isinstance(leaf, KeyboardInterrupt):
        raise leaf from None
    if isinstance(leaf, CommandError):
        return leaf
    say_who_decided(leaf, parsed.decided)
    record_once(failure_event(leaf, shown, credentials.qualified_name))
    problem = explain(leaf, shown)
    return CommandError(
        problem.what, problem.why, problem.do, exit_code=ExitCode(problem.exit_code)
    )
