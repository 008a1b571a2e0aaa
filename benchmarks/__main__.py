"""`./dev bench`: mount the same share with each candidate in turn, and compare."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bench import Bench, Scale, drop_caches
from benchmarks.chart import draw_chart
from benchmarks.data import BLOCK
from benchmarks.floors import below_floors
from benchmarks.report import describe, format_table, to_json, write_json
from benchmarks.run import BASELINE, CANDIDATES, Candidate, Samples, named_workloads, run_all
from benchmarks.workloads import WORKLOADS
from tests.beds.guardian import BedError
from tests.beds.samba import SambaServer

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - the file system, not a file
_ROOM_FACTOR = 5
"""Times ``--size`` that must be free: two shares with a big file each, and what is written."""
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write what was asked for."""
    options = _parser().parse_args(arguments)
    present, missing = _sort_out(options.clients)
    for name, remedy in missing.items():
        print(f"{name} is missing: {remedy}")
    scale = Scale(options.size or 64 << 20, 200, 2000, 500, 200) if options.quick else None
    scale = scale or Scale(options.size or 1 << 30)
    repeat = options.repeat or (1 if options.quick else 3)
    try:
        with make_bench(scale, options.folder) as bench:
            circumstances = describe(bench, present, repeat, caches_dropped=drop_caches())
            samples = run_all(bench, present, options.only, repeat)
            document = to_json(circumstances, samples, missing)
    except BedError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    subtitle = (
        f"{circumstances['server']}; {circumstances['machine']}; "
        f"{scale.size >> 20} MiB; median of {repeat}"
    )
    _show(samples, subtitle, missing)
    if options.json:
        write_json(options.json, document)
    if options.plot:
        options.plot.write_text(draw_chart(samples, subtitle))
        if BASELINE not in samples.values:
            print(f"the chart is empty: it compares with {BASELINE}, which was not measured")
    complaints = below_floors(samples) if options.floors else []
    for complaint in complaints:
        print(f"below its floor: {complaint}")
    return 1 if complaints or samples.failures else 0


@contextmanager
def make_bench(scale: Scale, folder: Path | None = None) -> Iterator[Bench]:
    """A server with its files, in memory if there is room: it is the clients that are measured.

    Raises: BedError.
    """
    with tempfile.TemporaryDirectory(
        prefix="smbfs-bench-", dir=folder or _roomy(scale), ignore_cleanup_errors=True
    ) as name:
        home = Path(name)
        home.chmod(0o711)
        with SambaServer(home / "server") as server:
            bench = Bench(server, home, scale)
            bench.prepare()
            yield bench


def _roomy(scale: Scale) -> Path | None:
    needed = scale.size * _ROOM_FACTOR
    if _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free >= needed:
        return _IN_MEMORY
    return None


def _sort_out(names: Sequence[str]) -> tuple[list[Candidate], dict[str, str]]:
    """Who is here, and what to do about who is not."""
    chosen = [each for each in CANDIDATES if not names or each.name in names]
    missing = {each.name: remedy for each in chosen if (remedy := each.missing())}
    return [each for each in chosen if each.name not in missing], missing


def _show(samples: Samples, subtitle: str, missing: dict[str, str]) -> None:
    print(f"\n{subtitle}\n")
    print(format_table(samples))
    for name, remedy in missing.items():
        print(f"{name}: not measured, it is missing ({remedy})")
    for failure in samples.failures:
        print(f"failed: {failure}")


def _size(text: str) -> int:
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "M")
    if unit not in _UNITS or not number.isdigit():
        raise argparse.ArgumentTypeError("a size is a number with K, M or G")
    return max(BLOCK, int(number) * _UNITS[unit] // BLOCK * BLOCK)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    workloads = [workload.name for workload in WORKLOADS]
    clients = [candidate.name for candidate in CANDIDATES]
    parser.add_argument("--size", type=_size, help="of the big file (1G; 64M with --quick)")
    parser.add_argument("--repeat", type=int, help="runs of each, by turns (3; 1 with --quick)")
    parser.add_argument(
        "--only",
        type=lambda text: named_workloads(text.split(",")),
        default=WORKLOADS,
        metavar="NAME[,NAME…]",
        help=f"of {', '.join(workloads)}",
    )
    parser.add_argument(
        "--clients",
        type=lambda text: text.split(","),
        default=(),
        metavar="NAME[,NAME…]",
        help=f"of {', '.join(clients)}",
    )
    parser.add_argument("--quick", action="store_true", help="little of everything: a first look")
    parser.add_argument("--floors", action="store_true", help="exit 1 below the promised ratios")
    parser.add_argument("--folder", type=Path, help="where the server keeps its files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a chart (SVG)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
