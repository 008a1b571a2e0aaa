"""How `smbfs doctor` reaches a server: its name, TCP, QUIC, and the server's certificate.

A stream is handed on only if a mount would have got it. Nothing was sent on it yet. What mounts
remember of the server is left alone: its certificate is to be seen, which a resumed session hides.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import trio

from smbfs.cli.doctor.local import Subject
from smbfs.cli.doctor.steps import Facts, Report, Step, skipped
from smbfs.cli.errors import Problem, certificate_warning
from smbfs.client.route import Route, route_to
from smbfs.errors import DeadlineExceeded, SmbfsError
from smbfs.transport.base import MessageStream, TransportName
from smbfs.transport.dial import (
    EITHER_PATIENCE_S,
    TCP_PATIENCE_S,
    dial_quic,
    dial_tcp,
    tcp_patience_s,
)
from smbfs.transport.handshake import Handshake
from smbfs.transport.judgment import Requirement
from smbfs.transport.names import look_up

NAME: Final = "name"
CERTIFICATE: Final = str(Requirement.READABLE)
NETWORK_STEPS: Final = (NAME, "tcp", "quic", CERTIFICATE)

_NOT_ALLOWED: Final[Mapping[TransportName, str]] = {
    "tcp": "the options want QUIC",
    "quic": "the options want TCP, or a dialect that QUIC can't carry",
}


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What came of one transport."""

    transport: TransportName
    steps: tuple[Step, ...]
    stream: MessageStream | None = None
    took_s: float = 0.0


async def reach(report: Report, subject: Subject) -> MessageStream | None:
    """Report every way to the server; return the stream that a mount would use, if there is one."""
    route = route_to(subject.unc, subject.options)
    if not await _look_up(report, route):
        report.skipped("the server's address is not known", *NETWORK_STEPS[1:])
        return None
    attempts = await _try_transports(report, subject, route)
    patience_s = min(EITHER_PATIENCE_S, route.timeout_s)
    head_start_s = tcp_patience_s(route.quic, subject.unc.server, patience_s)
    chosen = _choose(attempts, head_start_s)
    for attempt in attempts:
        if attempt.stream is not None and attempt is not chosen:
            await attempt.stream.aclose()
        report.add(*_as_chosen(attempt, chosen))
    return chosen.stream if chosen is not None else None


async def _look_up(report: Report, route: Route) -> bool:
    facts: Facts = {"host": route.host}
    try:
        with trio.fail_after(route.timeout_s):
            found = await look_up(route.host, route.port, socket.SOCK_STREAM)
    except trio.TooSlowError:
        what = f"looking the name {route.host} up"
        report.failed(NAME, facts, DeadlineExceeded(what, route.timeout_s))
        return False
    except SmbfsError as error:
        report.failed(NAME, facts, error)
        return False
    facts["addresses"] = list(dict.fromkeys(str(address[0]) for address in found))
    report.passed(NAME, facts)
    return True


async def _try_transports(report: Report, subject: Subject, route: Route) -> list[_Attempt]:
    """Try each that may be used, so that it is known of each whether it works."""
    is_auto = len(route.transports) > 1
    patience_s = min(EITHER_PATIENCE_S, route.timeout_s) if is_auto else route.timeout_s
    tcp, quic = _not_tried("tcp", "tcp"), _not_tried("quic", "quic", CERTIFICATE)
    if "tcp" in route.transports:
        tcp = await _try_tcp(report, route, patience_s)
    if "quic" in route.transports:
        if tcp.stream is not None:
            patience_s = min(TCP_PATIENCE_S, patience_s)  # Nobody would wait for it.
        quic = await _try_quic(report, subject, route, patience_s)
    return [tcp, quic]


def _not_tried(transport: TransportName, *names: str) -> _Attempt:
    return _Attempt(transport, tuple(skipped(name, _NOT_ALLOWED[transport]) for name in names))


async def _try_tcp(report: Report, route: Route, patience_s: float) -> _Attempt:
    facts: Facts = {"port": route.port}
    began_s = trio.current_time()
    try:
        stream = await dial_tcp(route.host, route.port, timeout_s=patience_s)
    except SmbfsError as error:
        return _Attempt("tcp", (report.failure("tcp", facts, error),))
    facts["address"] = stream.peer[0]
    facts["round_trip_ms"] = _milliseconds(stream.round_trip_s)
    took_s = trio.current_time() - began_s
    return _Attempt("tcp", (Step("tcp", "ok", facts),), stream, took_s)


async def _try_quic(report: Report, subject: Subject, route: Route, patience_s: float) -> _Attempt:
    facts: Facts = {"port": route.quic.port}
    seen: list[Handshake] = []
    stream: MessageStream | None = None
    failure: SmbfsError | None = None
    began_s = trio.current_time()
    try:
        stream = await dial_quic(
            route.host,
            subject.unc.server,
            route.quic,
            timeout_s=patience_s,
            on_handshake=seen.append,
        )
    except SmbfsError as error:
        failure = error
    took_s = trio.current_time() - began_s
    if not seen:
        assert failure is not None
        why = "there was no handshake"
        steps = report.failure("quic", facts, failure), skipped(CERTIFICATE, why)
        return _Attempt("quic", steps)
    handshake = seen[-1]
    facts |= {
        "address": handshake.address,
        "round_trip_ms": _milliseconds(handshake.round_trip_s),
        "tls": "1.3",
        "cipher": handshake.cipher,
        "alpn": handshake.alpn,
    }
    certificate = tuple(_judged(report, handshake))
    is_refused = any(step.result == "failed" for step in certificate)
    if failure is not None and not is_refused:
        return _Attempt("quic", (report.failure("quic", facts, failure), *certificate))
    return _Attempt("quic", (Step("quic", "ok", facts), *certificate), stream, took_s)


def _judged(report: Report, handshake: Handshake) -> Iterator[Step]:
    for judgment in handshake.judgments:
        name, facts = str(judgment.requirement), judgment.facts
        if judgment.refusal is not None:
            yield report.failure(name, facts, judgment.refusal)
        elif judgment.why_not:
            yield skipped(name, judgment.why_not)
        elif judgment.requirement is Requirement.VALIDITY and _ends_soon(handshake):
            yield Step(name, "warning", facts, _ending(report.unc, handshake))
        else:
            yield Step(name, "ok", facts)


def _ends_soon(handshake: Handshake) -> bool:
    certificate = handshake.certificate
    return certificate is not None and certificate.ends_soon(datetime.now(UTC))


def _ending(unc: str, handshake: Handshake) -> Problem:
    assert handshake.certificate is not None
    return Problem(certificate_warning(unc, f"{handshake.certificate.not_after:%Y-%m-%d}"))


def _choose(attempts: list[_Attempt], head_start_s: float) -> _Attempt | None:
    """Return what `smbfs.transport.dial.dial_either` would have: TCP, unless it is late.

    ``head_start_s``: seconds that TCP has before QUIC is tried.
    """
    tcp, quic = attempts
    if quic.stream is None:
        return tcp if tcp.stream is not None else None
    if tcp.stream is None or tcp.took_s > head_start_s + quic.took_s:
        return quic
    return tcp


def _as_chosen(attempt: _Attempt, chosen: _Attempt | None) -> Iterator[Step]:
    """Tell whether a mount takes it. What fails on a way that is not taken is worth a warning."""
    first, *others = attempt.steps
    if first.result != "skipped":
        first = replace(first, facts={**first.facts, "chosen": attempt is chosen})
    for step in (first, *others):
        is_in_the_way = chosen is None or attempt is chosen
        if step.result == "failed" and not is_in_the_way:
            step = replace(step, result="warning")
        yield step


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
