"""``smbfs bench``: how fast a share is, by TCP and by QUIC, signed and sealed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, NamedTuple

from smbfs.auth.credentials import Credentials
from smbfs.cli.bench_chart import draw_bars
from smbfs.cli.errors import CommandError, ExitCode, causes, first_leaf, printable
from smbfs.cli.visit import connected, visit_as_mount
from smbfs.client.speed import Speed, measure
from smbfs.client.tree_connect import TreeConnect
from smbfs.config.model import MountOptions
from smbfs.config.options import GivenOption
from smbfs.config.unc import Unc, parse_unc
from smbfs.errors import DeadlineExceeded, ServerStatusError, SmbfsError, TransportError
from smbfs.wire.ntstatus import status_name

_MB: Final = 1e6
_UNREACHED: Final = (TransportError, DeadlineExceeded)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """What the command line asks for."""

    unc: str
    """A share, or a folder of it, that may be written to."""

    given: Sequence[GivenOption] = ()
    """Options of a mount, in order: the server is reached as by a mount."""

    as_json: bool = False
    """For programs."""

    plot: Path | None = None
    """Where a chart is to be drawn (SVG)."""


class Way(NamedTuple):
    """How a server is reached, and how fast it is then."""

    transport: str
    protection: str
    speed: Speed | None
    trouble: str = ""
    """Why it is not reached this way."""

    @property
    def name(self) -> str:
        """``tcp, signed``."""
        return f"{self.transport}, {self.protection}"


def bench(request: BenchRequest) -> int:
    """Measure a share each way that the options allow; return the exit code. Raises: UserError."""
    if request.plot is not None:
        _check_plot(request.plot)
    unc = parse_unc(request.unc)

    async def measure_all(options: MountOptions, credentials: Credentials) -> Sequence[Way]:
        found: list[Way] = []
        for transport, protection, chosen in _ways(options):
            last = found[-1] if found else None
            if last is not None and last.transport == transport and last.trouble:
                found.append(last._replace(protection=protection))
                continue
            try:
                async with connected(unc, chosen, credentials) as tree:
                    found.append(Way(transport, protection, await _measure(tree, unc)))
            except (SmbfsError, BaseExceptionGroup) as error:
                why = _why_unreached(error)
                if not why:
                    raise
                found.append(Way(transport, protection, None, why))
        return found

    ways = visit_as_mount(unc, request.given, measure_all, shown=str(unc))
    if request.as_json:
        print(json.dumps([_as_json(way) for way in ways], indent=2))
    else:
        print("\n".join(map(printable, _table(str(unc), ways))))
    if request.plot is not None:
        _plot(request.plot, str(unc), ways)
    return ExitCode.FINE if any(way.speed for way in ways) else ExitCode.MOUNT


async def _measure(tree: TreeConnect, unc: Unc) -> Speed:
    try:
        return await measure(tree, unc.folder)
    except (ServerStatusError, ExceptionGroup) as error:
        refusal = first_leaf(error)
        if not isinstance(refusal, ServerStatusError):
            raise
        raise CommandError(
            f"{unc} can't be measured",
            f"the server answers {status_name(refusal.status)} where a file is written there.",
            "name a folder that you may write to.",
        ) from error


def _ways(options: MountOptions) -> Iterator[tuple[str, str, MountOptions]]:
    transports: tuple[Literal["tcp", "quic"], ...] = ("tcp", "quic")
    for transport in transports:
        if options.transport not in ("auto", transport):
            continue
        if not options.seal:  # Over QUIC, TLS does what signatures do, and encrypts.
            protection = "signed" if transport == "tcp" else "tls"
            yield transport, protection, replace(options, transport=transport)
        yield transport, "sealed", replace(options, transport=transport, seal=True)


def _why_unreached(error: BaseException) -> str:
    """Return why nobody answered there, "" if somebody did and refused."""
    found = next((cause for cause in causes(error) if isinstance(cause, SmbfsError)), None)
    return str(found) if isinstance(found, _UNREACHED) else ""


def _table(unc: str, ways: Sequence[Way]) -> Iterator[str]:
    width = max(len(unc), *(len(way.name) for way in ways))
    yield f"{unc:{width}}  {'write':>11}  {'read':>11}  {'round trip':>11}"
    for way in ways:
        if way.speed is None:
            yield f"{way.name:{width}}  not reached: {way.trouble}"
        else:
            written, read, round_trip = way.speed
            yield (
                f"{way.name:{width}}  {written / _MB:6.0f} MB/s  {read / _MB:6.0f} MB/s  "
                f"{round_trip * 1000:8.2f} ms"
            )


def _as_json(way: Way) -> dict[str, object]:
    speed = way.speed
    return {
        "transport": way.transport,
        "protection": way.protection,
        "write_bytes_per_s": speed and round(speed.written_per_s),
        "read_bytes_per_s": speed and round(speed.read_per_s),
        "round_trip_s": speed and speed.round_trip_s,
        "trouble": way.trouble or None,
    }


def _check_plot(path: Path) -> None:
    """Find out before anything is measured. Raises: CommandError."""
    if path.suffix.lower() != ".svg":
        raise CommandError(
            f"{path} is no name for a chart",
            "charts are drawn as SVG.",
            "give it a name that ends with .svg.",
            exit_code=ExitCode.USAGE,
        )
    if not path.parent.is_dir():
        raise CommandError(
            f"{path} can't be written",
            "its folder is not there.",
            "make the folder first, or choose another.",
            exit_code=ExitCode.USAGE,
        )


def _plot(path: Path, unc: str, ways: Sequence[Way]) -> None:
    bars = [
        (f"{way.name}: {what}", speed / _MB)
        for way in ways
        if way.speed is not None
        for what, speed in (("write", way.speed.written_per_s), ("read", way.speed.read_per_s))
    ]
    try:
        path.write_text(draw_bars(unc, bars, "MB/s"), "utf-8")
    except OSError as error:
        raise CommandError(
            f"{path} can't be written",
            f"{error.strerror}.",
            "choose another place; what was measured stands above.",
            exit_code=ExitCode.SYSTEM,
        ) from error
