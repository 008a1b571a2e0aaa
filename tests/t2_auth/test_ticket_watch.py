"""A ticket is renewed in time, or its user is warned once, by a clock that jumps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

import pytest
import trio
import trio.testing

from smbfs.auth.kerberos_cache import Ticket
from smbfs.auth.kerberos_errors import no_ticket
from smbfs.auth.kerberos_tickets import Tickets
from smbfs.auth.ticket_watch import TicketWatch

HOUR = 3600

_T = TypeVar("_T")


@dataclass
class Fakes:
    """Tickets that end as the test's clock says."""

    life_s: int
    renewable_s: int = 0
    kdc_is_there: bool = True
    of_keytab: bool = False
    since_s: float = field(default_factory=trio.current_time)
    renewals: int = 0
    looks: int = 0

    def look(self) -> Ticket:
        self.looks += 1
        ends_s = int(self.since_s) + self.life_s
        until_s = max(self.renewable_s, ends_s) if self.renewable_s else 0
        return Ticket("alice@TEST", "cache", int(self.since_s), ends_s, until_s, (),
                      of_keytab=self.of_keytab)  # fmt: skip

    def renew(self) -> Ticket:
        if not self.kdc_is_there:
            raise no_ticket("nobody answers")
        self.renewals += 1
        self.since_s = trio.current_time()
        return self.look()

    async def in_thread(self, call: Callable[[], _T]) -> _T:
        await trio.lowlevel.checkpoint()
        return call()


async def watch(fakes: Fakes, for_s: float) -> list[str]:
    """What was warned of within that time."""
    warned: list[str] = []
    watch = TicketWatch(cast(Tickets, fakes), lambda _ticket, reason: warned.append(reason))
    with trio.move_on_after(for_s):
        await watch.run()
    assert watch.latest is not None
    return warned


@pytest.fixture(autouse=True)
def by_the_tests_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ticket, "left_s", lambda self: self.ends_s - trio.current_time())


@pytest.mark.parametrize("life_s", [20, 600, 10 * HOUR])
async def test_renewed_in_time_for_as_long_as_that_is_allowed(
    autojump_clock: trio.testing.MockClock, life_s: int
) -> None:
    fakes = Fakes(life_s, renewable_s=20 * life_s)
    assert await watch(fakes, 10 * life_s) == []
    assert 10 <= fakes.renewals <= 14
    assert fakes.look().left_s() > 0


@pytest.mark.parametrize("life_s", [20, 600, 10 * HOUR])
async def test_warned_once_of_one_that_can_not_be_renewed(
    autojump_clock: trio.testing.MockClock, life_s: int
) -> None:
    fakes = Fakes(life_s)
    assert await watch(fakes, life_s * 0.7) == []
    fakes = Fakes(life_s)
    assert await watch(fakes, life_s + 100) == ["it can't be renewed"]
    assert fakes.looks < life_s / 60 + 130


async def test_warned_of_one_that_the_kdc_does_not_renew_which_is_tried_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    fakes = Fakes(HOUR, renewable_s=10 * HOUR, kdc_is_there=False)
    assert await watch(fakes, HOUR * 0.9) == [
        "it was not renewed: there is no Kerberos ticket. " + no_ticket("nobody answers").why
    ]
    fakes.kdc_is_there = True
    assert await watch(fakes, HOUR * 0.05) == []
    assert fakes.renewals == 1


async def test_a_keytab_is_left_alone(autojump_clock: trio.testing.MockClock) -> None:
    fakes = Fakes(20, of_keytab=True)
    assert await watch(fakes, HOUR) == []
    assert fakes.renewals == 0
