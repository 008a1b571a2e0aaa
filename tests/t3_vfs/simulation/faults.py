"""What goes wrong in a run: faults at message boundaries, drawn from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable

import trio

from tests.beds.simulated_neighbour import Neighbour
from tests.beds.simulated_network import Link, Network
from tests.beds.simulated_server import SimulatedServer
from tests.t3_vfs.simulation.attacker import Attacker

Hands = tuple[Callable[[], None], Callable[[], None]]
"""What happens before a request is executed, and after it."""

KINDS = (
    "dies before",
    "dies after",
    "half open before",
    "half open after",
    "silence",
    "deaf",
    "mute",
    "restart",
    "crash",
    "session deleted",
    "session expired",
    "tampered",
    "unsigned",
    "tampered data",
    "unsigned data",
    "late",
    "starved",
    "repeated break",
    "neighbour",
    "away",
)

BOUNDARIES = 40
"""Requests after which nothing new goes wrong."""


class Faults:
    """The faults of one run."""

    def __init__(
        self,
        chance: random.Random,
        network: Network,
        neighbour: Neighbour,
        *,
        count: int,
        until_s: float,
    ) -> None:
        """``count`` faults; at ``until_s`` all is well again."""
        self._chance = chance
        self._attacker = Attacker(chance)
        self._network = network
        self._neighbour = neighbour
        self._until_s = until_s
        self.plan: dict[int, str] = {}
        for _ in range(count):
            self.plan[chance.randrange(3, BOUNDARIES)] = chance.choice(KINDS)
        network.on_request = self._hands
        network.agenda.later(until_s, self.heal)

    @property
    def is_over(self) -> bool:
        """Whether nothing goes wrong any more."""
        return trio.current_time() >= self._until_s

    @property
    def _server(self) -> SimulatedServer:
        return self._network.server

    def heal(self) -> None:
        """Let all be well from now on."""
        self._network.on_request = lambda _link, _number: (_nothing, _nothing)
        self._server.settings.credits_max = 512
        self._network.heal()

    def _hands(self, link: Link, number: int) -> Hands:
        kind = self.plan.get(number)
        return (_nothing, _nothing) if kind is None else self._fault(kind, link)

    def _fault(self, kind: str, link: Link) -> Hands:
        before: dict[str, Callable[[], None]] = {
            "dies before": link.die,
            "half open before": lambda: link.die(server_knows=False),
            "silence": lambda: self._silence(link, 0, 1),
            "mute": lambda: self._silence(link, 1),
            "session deleted": self._end_sessions,
            "session expired": self._expire,
            "tampered": lambda: self._network.alterations.append(self._attacker.tampered),
            "unsigned": lambda: self._network.alterations.append(self._attacker.unsigned),
            "tampered data": lambda: self._network.alterations.append(self._attacker.tampered_data),
            "unsigned data": lambda: self._network.alterations.append(self._attacker.unsigned_data),
            "late": self._be_late,
            "starved": self._starve,
            "repeated break": self._repeat_breaks,
            "neighbour": self._let_neighbour_act,
            "away": lambda: self._be_away(link),
        }
        after: dict[str, Callable[[], None]] = {
            "dies after": link.die,
            "half open after": lambda: link.die(server_knows=False),
            "deaf": lambda: self._silence(link, 0),
        }
        if kind in {"restart", "crash"}:
            hands = [_nothing, lambda: self._restart(keeps_handles=kind == "restart")]
            self._chance.shuffle(hands)
            return hands[0], hands[1]
        return before.get(kind, _nothing), after.get(kind, _nothing)

    # ------------------------------------------------------------- one each

    def _silence(self, link: Link, *ways: int) -> None:
        link.silence(*ways)
        if self._chance.random() < 0.5:
            self._network.agenda.later(self._chance.choice((0.5, 3.0, 8.0)), link.heal)

    def _restart(self, *, keeps_handles: bool) -> None:
        network = self._network
        lost = self._server.restart(keeps_handles=keeps_handles)
        for link in network.links:
            if link.peer in lost:
                link.die()
        self._be_unreachable()

    def _be_unreachable(self) -> None:
        network, chance = self._network, self._chance
        network.away_until_s = trio.current_time() + chance.choice((0.0, 0.3, 2.0, 40.0))
        network.is_away_silent = chance.random() < 0.3

    def _be_away(self, link: Link) -> None:
        self._be_unreachable()
        link.die(server_knows=self._chance.random() < 0.5)

    def _end_sessions(self) -> None:
        for session in list(self._server.sessions.values()):
            self._server.end_session(session)

    def _expire(self) -> None:
        for session in self._server.sessions.values():
            session.is_expired = True
        self._network.agenda.later(1.0, self._forgive)

    def _forgive(self) -> None:
        for session in self._server.sessions.values():
            session.is_expired = False

    def _let_neighbour_act(self) -> None:
        self._network.agenda.later(self._chance.random(), self._neighbour.act)

    def _starve(self) -> None:
        self._server.settings.credits_max = self._chance.choice((4, 8))

    def _be_late(self) -> None:
        network = self._network
        network.lateness_s = self._chance.choice((0.2, 1.0, 4.0))

        def be_quick() -> None:
            network.lateness_s = 0.0

        network.agenda.later(0.05, be_quick)

    def _repeat_breaks(self) -> None:
        self._server.repeats_breaks = 3
        self._network.agenda.later(self._chance.random() / 10, self._neighbour.act)


def _nothing() -> None:
    pass
