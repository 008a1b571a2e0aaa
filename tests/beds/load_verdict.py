"""What a server's disk must have, and programs must have seen, by the journals of a load."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tests.beds.journal import Event, read_journal
from tests.beds.load_content import RECORD_SIZE, record, token
from tests.beds.mixed_load import moved_names

ALLOWED = frozenset({"EHOSTDOWN", "ETIMEDOUT", "EHOSTUNREACH", "ESTALE", "EIO"})
"""What an operation may end with when the server was lost meanwhile."""


@dataclass
class Verdict:
    """What was found."""

    problems: list[str] = field(default_factory=list)
    """Each is a promise that was broken. Empty when all is well."""
    promises: int = 0
    """Records that were promised."""
    read_bytes: int = 0
    renames: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """By operation and errno."""

    def __str__(self) -> str:
        errors = ", ".join(f"{name} {count}" for name, count in sorted(self.errors.items()))
        return (
            f"{self.promises} records promised, {self.renames} renames, "
            f"{self.read_bytes >> 20} MiB read; errors: {errors or 'none'}; "
            f"{len(self.problems)} problems"
        )


def judge(disk: Path, journals: Path) -> Verdict:
    """Hold the folder of a load on the server's disk against its journals."""
    verdict = Verdict()
    for path in sorted(journals.glob("*.journal")):
        events = read_journal(path)
        _judge_errors(path.stem, events, verdict)
        if path.stem.startswith("writer"):
            _judge_records(disk, events, verdict)
        elif path.stem.startswith("renamer"):
            _judge_names(disk, events, verdict)
    return verdict


def _judge_errors(name: str, events: list[Event], verdict: Verdict) -> None:
    for event in events:
        if event["kind"] == "wrong":
            verdict.problems.append(f"{name}: {event['file']}: {event['what']}")
        elif event["kind"] == "read":
            verdict.read_bytes += event["bytes"]
        elif event["kind"] == "error":
            verdict.errors[f"{event['operation']} {event['errno']}"] += 1
            if event["errno"] not in ALLOWED:
                verdict.problems.append(
                    f"{name}: {event['operation']} {event['file']}: {event['errno']}"
                )


# --- records ----------------------------------------------------------------------------------


@dataclass
class _Slot:
    """What may be in a slot: what was promised last, and whatever was tried since then."""

    promised: int | None = None
    tried: list[int] = field(default_factory=list)


def _judge_records(disk: Path, events: list[Event], verdict: Verdict) -> None:
    files: defaultdict[str, defaultdict[int, _Slot]] = defaultdict(lambda: defaultdict(_Slot))
    for event in events:
        if event["kind"] == "tried":
            files[event["file"]][event["slot"]].tried.append(event["sequence"])
        elif event["kind"] == "promised":
            for text, sequence in event["records"].items():
                slot = files[event["file"]][int(text)]
                slot.promised = sequence
                slot.tried = [each for each in slot.tried if each > sequence]
                verdict.promises += 1
    for name, slots in files.items():
        path = disk / name
        content = path.read_bytes() if path.exists() else None
        for number, slot in slots.items():
            if problem := _wrong_with(name, number, slot, content):
                verdict.problems.append(f"{name}, slot {number}: {problem}")


def _wrong_with(name: str, number: int, slot: _Slot, content: bytes | None) -> str | None:
    """What is wrong with a slot on disk, if anything."""
    if content is None:
        return None if slot.promised is None else "promised, and there is no such file"
    start = number * RECORD_SIZE
    found = content[start : start + RECORD_SIZE]
    if slot.promised is None:
        allowed = [bytes(RECORD_SIZE), *(record(name, number, each) for each in slot.tried)]
    else:
        known = (slot.promised, *slot.tried)
        allowed = [record(name, number, each) for each in known]
        if len(found) < RECORD_SIZE:
            return f"record {slot.promised} was promised, {len(found)} bytes of it are there"
    if any(each.startswith(found) for each in allowed):
        return None
    for at, byte in enumerate(found):
        if all(each[at] != byte for each in allowed):
            return f"byte {at} is none of record {slot.promised}, nor of {slot.tried} after it"
    return None


# --- names ------------------------------------------------------------------------------------


def _judge_names(disk: Path, events: list[Event], verdict: Verdict) -> None:
    sure: dict[str, bool] = {}
    """Whether a file must be there, or must not."""
    contents: dict[str, bytes] = {}
    for number, name in enumerate(moved_names()):
        sure[name], sure[f"there-{number}"] = True, False
        contents[name] = contents[f"there-{number}"] = token(number)
    for event in events:
        match event["kind"]:
            case "error" if event["operation"] == "rename":
                _, _, number = event["file"].rpartition("-")
                sure.pop(f"here-{number}", None)
                sure.pop(f"there-{number}", None)
            case "moved":
                verdict.renames += 1
                for place in ("here", "there"):
                    sure[f"{place}-{event['number']}"] = place == event["to"]
            case "making" | "removing":
                sure.pop(event["file"], None)
            case "made":
                sure[event["file"]] = True
                contents[event["file"]] = token(event["number"])
            case "removed":
                sure[event["file"]] = False
    _judge_disk(disk, sure, contents, verdict)


def _judge_disk(
    disk: Path, sure: dict[str, bool], contents: dict[str, bytes], verdict: Verdict
) -> None:
    for name, is_there in sure.items():
        if (disk / name).exists() != is_there:
            verdict.problems.append(f"{name} is {'gone' if is_there else 'there'}")
        elif is_there and (disk / name).read_bytes() != contents[name]:
            verdict.problems.append(f"{name} has another content")
    for number, name in enumerate(moved_names()):
        places = [each for each in (name, f"there-{number}") if (disk / each).exists()]
        if len(places) != 1:
            verdict.problems.append(f"the file {number} is at {places}")
        elif (disk / places[0]).read_bytes() != token(number):
            verdict.problems.append(f"{places[0]} has another content")
