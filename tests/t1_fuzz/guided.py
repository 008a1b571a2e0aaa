"""Coverage-guided fuzzing by atheris: ``./dev fuzz [SECONDS] [TARGET]``.

Each target has a process of its own, in turns. What it learned stays in ``.fuzz/TARGET``, where the
next run begins; an input that was too much is written to ``known_bad/TARGET``, where
``test_known_bad`` fails with it from then on, until the defect is mended.

This module alone imports atheris, which is in no other environment than that of ``./dev fuzz``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["smbfs"]):
    from tests.t1_fuzz.contract import KNOWN_BAD, Target
    from tests.t1_fuzz.seeds import examples
    from tests.t1_fuzz.targets import all_targets


_CORPUS: Final = Path(".fuzz")
_SECONDS: Final = 600
_INPUT_MAX: Final = 16384
_MEMORY_MAX_MIB: Final = 1024
_HANGS_S: Final = 10
_SEEDS: Final = 30
_ALONE: Final = "--alone"


def fuzz(target: Target, seconds: int) -> None:
    """Fuzz one target in this process, which ends with that."""
    corpus, bad = _CORPUS / target.name, KNOWN_BAD / target.name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(examples(target, _SEEDS)):
        (corpus / f"valid-{number}").write_bytes(data)
    bad.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-max_len={_INPUT_MAX}",
        f"-rss_limit_mb={_MEMORY_MAX_MIB}",
        f"-timeout={_HANGS_S}",
        f"-artifact_prefix={bad}/",
        "-print_final_stats=1",
        "-verbosity=0",
        str(corpus),
    ]
    atheris.Setup(arguments, target.run)
    atheris.Fuzz()


def run(seconds: int, names: list[str]) -> int:
    """Share the seconds among targets; return 1 if one of them was given too much."""
    each = max(1, seconds // len(names))
    failed = []
    for name in names:
        command = [sys.executable, "-m", "tests.t1_fuzz.guided", _ALONE, str(each), name]
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
        bad = KNOWN_BAD / name
        if ended.returncode:
            failed.append(name)
            print(ended.stdout + ended.stderr)
        elif not any(bad.iterdir()):
            bad.rmdir()
        print(
            f"{name}: {_inputs(ended.stderr):,} inputs, {'FAILED' if ended.returncode else 'fine'}"
        )
    print(f"{len(names)} targets, {len(failed)} failed", *failed)
    return min(1, len(failed))


def _inputs(told: str) -> int:
    """Read libFuzzer's own count."""
    for line in told.splitlines():
        if line.startswith("stat::number_of_executed_units:"):
            return int(line.split()[1])
    return 0


def main(arguments: list[str]) -> int:
    """Read the command line: seconds for all together, and one target or none."""
    if arguments[:1] == [_ALONE]:
        fuzz(all_targets()[arguments[2]], int(arguments[1]))
    seconds = int(arguments[0]) if arguments else _SECONDS
    names = arguments[1:] or [*all_targets()]
    unknown = [name for name in names if name not in all_targets()]
    if unknown:
        print(f"there is no target {unknown[0]}; there are:", *all_targets(), sep="\n  ")
        return 2
    return run(seconds, names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
