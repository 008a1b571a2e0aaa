"""More than one connection for a session: faster where there are several ways, and safer.

The server tells which addresses it has. Each further channel goes to the one that has the fewest
yet, the fastest first; when one is lost another is made. Which channel a request takes is for
``Lifeline`` to say.

Spec: [MS-SMB2] 3.2.4.20.10 (asking for interfaces), 3.2.4.2.3.1 (binding), 2.2.32.5.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import trio

from smbfs.auth.credentials import Credentials
from smbfs.client.answers import answer
from smbfs.client.attach import Destination, bind, candidate
from smbfs.client.lifeline import Lifeline
from smbfs.client.reconnect import LOGON_REFUSED
from smbfs.client.route import Route
from smbfs.client.tree_connect import TreeConnect, may_have_channels
from smbfs.engine.availability import State
from smbfs.errors import NegotiationRefused, ServerStatusError, SmbfsError
from smbfs.wire.file_id import FileId
from smbfs.wire.ioctl import FsctlCode, IoctlRequest, IoctlResponse
from smbfs.wire.ioctl_payloads import NetworkInterfaceInfo, decode_network_interfaces
from smbfs.wire.negotiate import Capabilities
from smbfs.wire.ntstatus import NtStatus

RETRY_S: Final = 5.0
"""Seconds after which a channel that could not be made is tried again."""

STEADY_S: Final = 0.5
"""Seconds between two channels that are made."""

JOIN_S: Final = 10.0
"""Seconds that a new channel may take from NEGOTIATE until it is bound."""

_NEVER: Final = frozenset({NtStatus.STATUS_NOT_SUPPORTED, NtStatus.STATUS_INVALID_DEVICE_REQUEST})

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Multichannel:
    """Gives a share's session as many channels as the options allow."""

    tree: TreeConnect
    destination: Callable[[], Destination]
    """What it is by now: the credentials may have become others."""
    route: Route
    background: trio.Nursery
    _failed: Counter[str] = field(default_factory=Counter)
    """How often each address could not be reached since one was: others go first."""
    _refused: Credentials | None = None
    """What the server does not like: asking again and again would lock the account."""

    @property
    def line(self) -> Lifeline:
        """What the channels are added to."""
        return self.tree.line

    @property
    def to(self) -> Destination:
        """Where the channels go, and as whom."""
        return self.destination()

    async def run(self) -> None:
        """Make channels while some are missing, until cancelled or the server knows only one."""
        while self._is_possible:
            if not self._is_wanted or self.to.credentials == self._refused:
                await self.line.wait_for_change()
                continue
            credentials = self.to.credentials
            try:
                await self._add_one()
                await trio.sleep(STEADY_S)  # One that does not last is no reason to hurry.
            except ServerStatusError as error:
                _log.info("no further channel: %s", error)
                if error.status in _NEVER:
                    return
                if error.status in LOGON_REFUSED and credentials.tickets is None:
                    self._refused = credentials
                    continue
                if credentials.tickets is not None:
                    credentials.tickets.forget()  # The server may have another key by now.
                await trio.sleep(RETRY_S)
            except SmbfsError as error:
                _log.info("no further channel now: %s", error)
                await trio.sleep(RETRY_S)

    @property
    def _is_possible(self) -> bool:
        is_told = Capabilities.MULTI_CHANNEL in self.tree.negotiated.capabilities
        return is_told and self.to.options.max_channels > 1 and may_have_channels(self.tree)

    @property
    def _is_wanted(self) -> bool:
        is_connected = self.line.availability.state is State.CONNECTED
        has_keys = self.tree.channel.session.signer is not None
        return (
            is_connected and has_keys and 0 < len(self.line.channels) < self.to.options.max_channels
        )

    async def _add_one(self) -> None:
        """Make one more channel. Raises: what dialling and signing on do."""
        first = self.line.channels[0]
        host = await self._next_address()
        route = replace(self.route, host=host, transports=(first.connection.stream.transport,))
        epoch = self.line.epoch
        self._failed[host] += 1
        async with candidate(self.to, route, self.line, self.background, within_s=JOIN_S) as found:
            if not found.negotiated.may_bind(self.tree.negotiated):
                raise NegotiationRefused(f"{host} is not like the first channel.")
            found.connection.on_break = self.tree.broken
            channel = await bind(found.connection, self.to, self.tree.channel.session)
            found.is_used = epoch == self.line.epoch and bool(self.line.channels)
            if found.is_used:
                self._failed.clear()
                self.line.add(channel)

    async def _next_address(self) -> str:
        """Return the server's address that the next channel goes to."""
        peers = [channel.connection.stream.peer[0] for channel in self.line.channels]
        speeds: dict[str, int] = dict.fromkeys(peers, 0)
        for interface in await self._interfaces():
            speeds[str(interface.address)] = interface.link_speed
        usable = [address for address in speeds if _is_reachable_kind(address, peers[0])]
        # Not two by one line while another one is cut: it may be there again in a moment.
        share = -(-self.to.options.max_channels // len(usable))
        return min(
            (address for address in usable if peers.count(address) < share),
            key=lambda each: (peers.count(each), self._failed[each], -speeds[each]),
        )

    async def _interfaces(self) -> tuple[NetworkInterfaceInfo, ...]:
        request = IoctlRequest(FsctlCode.QUERY_NETWORK_INTERFACE_INFO, FileId.RELATED)
        response = answer(await self.tree.perform(request))
        return decode_network_interfaces(IoctlResponse.decode(response.body).data)


def _is_reachable_kind(address: str, peer: str) -> bool:
    """Whether it makes sense to dial an address of a server that is reached by ``peer``."""
    if address == peer:
        return True
    parsed = _parsed(address)
    other = _parsed(peer)
    if parsed is None or other is None or parsed.is_link_local or parsed.is_multicast:
        return False
    return parsed.is_loopback == other.is_loopback


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return IPv6Address(address) if ":" in address else IPv4Address(address)
    except ValueError:
        return None
