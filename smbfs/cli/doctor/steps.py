"""The steps to a mount, as `smbfs doctor` reports them: what was found, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from smbfs.cli.errors import ExitCode, Problem, explain, first_leaf, printable
from smbfs.config.options import GivenOption, say_who_decided

Result = Literal["ok", "failed", "warning", "skipped"]

Facts = dict[str, object]
"""What was found, by name, ready for JSON; a name may end with its unit (``round_trip_ms``)."""

_SHOWN: Final[Mapping[Result, str]] = {"failed": "FAILED"}
_UNITS: Final = ("ms", "bytes", "bits")
_INDENT: Final = " " * 9


@dataclass(frozen=True, slots=True)
class Step:
    """One step, and how it went."""

    name: str
    result: Result
    facts: Facts = field(default_factory=dict)
    problem: Problem | None = None
    """What is wrong, unless it is ok; of a skipped step, why it was not tried."""


class Report:
    """Every step so far; each is shown as soon as it is there."""

    def __init__(self, show: Callable[[Step], None]) -> None:
        self.unc = "the share"
        """What messages are about. Not as it was written: a password may be in that."""
        self.decided: Mapping[str, GivenOption] = {}
        """Options that somebody set, and who did."""
        self.steps: list[Step] = []
        self._show = show

    @property
    def exit_code(self) -> int:
        """mount(8)'s exit code for what failed first; 0 if nothing has."""
        codes = (step.problem.exit_code for step in self.failed_steps if step.problem is not None)
        return int(next(codes, ExitCode.FINE))

    @property
    def failed_steps(self) -> list[Step]:
        """Those that keep the share from being mounted."""
        return [step for step in self.steps if step.result == "failed"]

    def add(self, *steps: Step) -> None:
        """Report steps that were taken."""
        for step in steps:
            self.steps.append(step)
            self._show(step)

    def passed(self, name: str, facts: Facts, *warnings: str) -> None:
        """Report a step that is ok, but for what is to be warned of."""
        if warnings:
            self.add(Step(name, "warning", facts, Problem("\n".join(warnings))))
        else:
            self.add(Step(name, "ok", facts))

    def failed(self, name: str, facts: Facts, error: BaseException) -> None:
        """Report a step that failed, in the words in which a mount would."""
        self.add(self.failure(name, facts, error))

    def failure(self, name: str, facts: Facts, error: BaseException) -> Step:
        """Return a step that failed."""
        leaf = first_leaf(error)
        say_who_decided(leaf, self.decided)
        return Step(name, "failed", facts, explain(leaf, self.unc))

    def skipped(self, why: str, *names: str) -> None:
        """Report steps that were not tried."""
        self.add(*(skipped(name, why) for name in names))


def skipped(name: str, why: str) -> Step:
    """Return a step that was not tried."""
    return Step(name, "skipped", {}, Problem(why))


# Any: it is what becomes JSON.
def as_json(step: Step) -> Mapping[str, Any]:
    """Lay a step out for programs; every field is always there."""
    problem = step.problem
    return {
        "step": step.name,
        "result": step.result,
        "facts": step.facts,
        "cause": "\n".join(filter(None, (problem.what, problem.why))) if problem else None,
        "remedy": (problem.do or None) if problem else None,
    }


def as_text(step: Step) -> str:
    """Lay a step out for people: one line, and below it what is wrong."""
    facts = "; ".join(_fact(name, value) for name, value in step.facts.items())
    head = f"{_SHOWN.get(step.result, step.result):<8} {step.name.replace('-', ' ')}"
    problem = step.problem
    if problem is not None and step.result == "skipped":
        facts = problem.what
    lines = [f"{head:<40} {facts}".rstrip()]
    if problem is not None and step.result != "skipped":
        lines += _labelled("", problem.what)
        lines += _labelled("Why: ", problem.why)
        lines += _labelled("Do:  ", problem.do)
    # Names come from servers: nothing may steer the terminal.
    return "\n".join(map(printable, lines))


def _labelled(label: str, text: str) -> Sequence[str]:
    lines = text.splitlines()
    return [
        _INDENT + (label if number == 0 else " " * len(label)) + line
        for number, line in enumerate(lines)
    ]


def _fact(name: str, value: object) -> str:
    label, _, unit = name.rpartition("_")
    if unit not in _UNITS or value is None:
        label, unit = name, ""
    return f"{label.replace('_', ' ')} {_value(value)} {unit}".rstrip()


def _value(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(_value, value)) or "none"
        case _:
            return str(value)
