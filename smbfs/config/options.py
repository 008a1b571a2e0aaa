"""From option texts to :class:`~smbfs.config.model.MountOptions`.

Options come from several places (policy, user file, ``-o``, ``--name``), earlier ones
weaker. All are turned into :class:`GivenOption` and read by the same table, so that an
option means the same wherever it stands.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from smbfs.config import option_table as table
from smbfs.config.model import DIALECTS, MountOptions
from smbfs.errors import ConfigError, UserError

_BY_NAME: Final = {name: option for option in table.OPTIONS for name in option.names}


class GivenOption(NamedTuple):
    """One option as somebody wrote it."""

    name: str
    """The spelling used."""

    value: str | bool | None
    """Text after ``=``; None where there was none; a bool comes from a file."""

    origin: str
    """Where it stands, for messages: ``-o``, ``--seal``, ``/etc/…/policy.toml, line 3``."""

    shown: str = ""
    """How it is written there, if that is a file: ``require_signing = true``."""

    @property
    def written(self) -> str:
        """How it is written, for messages; only where its value may be shown."""
        return self.shown or (self.name if self.value is None else f"{self.name}={self.value}")

    def __str__(self) -> str:
        """What is written, and where."""
        return f"{self.written} ({self.origin})"


@dataclass(frozen=True, slots=True)
class ParsedOptions:
    """What the options mean together."""

    options: MountOptions
    """The mount to make."""

    decided: Mapping[str, GivenOption] = field(default_factory=dict)
    """Fields of ``options`` that somebody set, as opposed to defaults, each with who did."""

    ignored: tuple[str, ...] = ()
    """Options that change nothing and mislead nobody, for ``--verbose``."""

    warnings: tuple[str, ...] = ()
    """What should be shown: options that have no effect here."""

    notes: tuple[str, ...] = ()
    """What the administrator's policy has decided, for ``--verbose``."""

    @property
    def given(self) -> frozenset[str]:
        """Fields of ``options`` that somebody set."""
        return frozenset(self.decided)


class Contradiction(ConfigError):
    """Options that don't fit together; ``between`` are those that somebody has written."""

    def __init__(self, what: str, why: str, between: Sequence[GivenOption]) -> None:
        written = "".join(f"\n{each}" for each in between)
        super().__init__(what, why + written, "leave one of them out.")
        self.between = tuple(between)


def split_options(text: str, origin: str = "-o") -> list[GivenOption]:
    """Split ``a,b=c,d="e,f"``; a value in double quotes may contain commas.

    Raises: ConfigError when a quote is not closed.
    """
    given = []
    for item in _split_commas(text):
        name, equals, value = item.partition("=")
        name = name.strip()
        if len(value) >= 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
        if name:
            given.append(GivenOption(name, value if equals else None, origin))
        elif equals:
            raise ConfigError(
                f"{origin}: a value without an option", "nothing is before =.", "write name=value."
            )
    return given


def parse_options(given: Sequence[GivenOption]) -> ParsedOptions:
    """Merge options, the later ones stronger, and check that they fit together.

    Raises: ConfigError naming the option, where it stands, and what would be right.
    """
    return check_options(merge_options(given))


def merge_options(given: Sequence[GivenOption]) -> ParsedOptions:
    """Merge options, the later ones stronger; whether they fit together is not asked.

    Raises: ConfigError naming the option, where it stands, and what would be right.
    """
    state = _Merge(sloppy=any(option.name == "sloppy" for option in given))
    for option in given:
        state.add(option)
    return ParsedOptions(
        replace(MountOptions(), **state.fields, mount_flags=frozenset(state.kernel_flags)),
        state.decided,
        tuple(state.ignored),
        tuple(state.warnings),
    )


def check_options(merged: ParsedOptions) -> ParsedOptions:
    """See that options fit together, and add the warnings about those without effect.

    Raises: Contradiction.
    """
    _check_together(merged)
    more = _what_is_left_out(merged.options, merged.given)
    return replace(merged, warnings=(*merged.warnings, *more))


def say_who_decided(error: BaseException, decided: Mapping[str, GivenOption]) -> None:
    """Add to an error which file and line, or which option, demanded what was not to be had."""
    given = decided.get(error.rule) if isinstance(error, UserError) else None
    if isinstance(error, UserError) and given is not None:
        error.why += f"\nThat is decided by {given.written} ({given.origin})."
        error.rule = ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, None where none is."""
    matches = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def option_names() -> list[str]:
    """Every spelling of every option that sets something."""
    return [*_BY_NAME, *table.KERNEL_FLAGS]


def takes_bool(name: str) -> bool:
    """Whether an option is true or false in a file, as flags and switches are."""
    option = _BY_NAME.get(name)
    return name in table.KERNEL_FLAGS if option is None else not option.parse or option.is_switch


def takes_path(name: str) -> bool:
    """Whether an option's value is the path of a file or folder."""
    option = _BY_NAME.get(name)
    return option is not None and option.metavar in ("FILE", "DIR")


@dataclass(slots=True)
class _Merge:
    """Fields collected so far; ``sloppy`` (mount -s) tolerates unknown options."""

    sloppy: bool
    fields: dict[str, Any] = field(default_factory=dict)
    decided: dict[str, GivenOption] = field(default_factory=dict)
    kernel_flags: set[str] = field(default_factory=set)
    ignored: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, given: GivenOption) -> None:
        """Take one more option in."""
        name = given.name
        option = _BY_NAME.get(name)
        if option is not None and not (name == "user" and given.value is None):
            self._set(option, given)
        elif name in table.KERNEL_FLAGS:
            flag, wanted = table.KERNEL_FLAGS[name]
            (self.kernel_flags.add if wanted else self.kernel_flags.discard)(flag)
        elif name in table.WITHOUT_EFFECT:
            self.warnings.append(f"{name} has no effect: {table.WITHOUT_EFFECT[name]}")
        elif name in table.IGNORED or name.startswith(table.IGNORED_PREFIXES) or name == "sloppy":
            self.ignored.append(name)
        elif (known := table.REFUSED_ALIASES.get(name, name)) in table.REFUSED:
            raise ConfigError(f"{given.origin}: {name} is refused", *table.REFUSED[known])
        elif self.sloppy:
            self.warnings.append(f"{name} is unknown and ignored, as sloppy asks")
        else:
            raise _unknown(given)

    def _set(self, option: table.Option, given: GivenOption) -> None:
        try:
            new = dict(_fields_of(option, given.value))
        except ValueError as error:
            raise ConfigError(
                f"{given.origin}: {given.written} is wrong",
                f"{error}.",
                "correct it or leave it out.",
            ) from None
        for name, value in new.items():
            if option.smallest and name in self.fields:
                value = min(value, self.fields[name])
            self.fields[name] = value
            self.decided[name] = given


def _fields_of(option: table.Option, value: str | bool | None) -> table.Fields:
    if option.parse is not None:
        if option.is_switch and isinstance(value, bool):
            return option.parse("on" if value else "off")
        if value is None or isinstance(value, bool):
            raise ValueError(f"it needs a value: {option.names[0]}={option.metavar}")
        return option.parse(value)
    if isinstance(value, str):
        raise ValueError("it takes no value")
    if value is False:
        if not all(isinstance(setting, bool) for setting in option.flag.values()):
            raise ValueError("it can only be true")
        return {name: not setting for name, setting in option.flag.items()}
    return option.flag


def _unknown(given: GivenOption) -> ConfigError:
    known = [*_BY_NAME, *table.KERNEL_FLAGS, *table.IGNORED, *table.REFUSED]
    guess = nearest(given.name, known)
    return ConfigError(
        f"{given.origin}: there is no option {given.name}",
        "a misspelt option is an error: it could leave the connection unprotected.",
        f"did you mean {guess}?" if guess else "`smbfs mount --help` lists the options.",
    )


def _split_commas(text: str) -> list[str]:
    items, start, quoted = [], 0, False
    for index, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            items.append(text[start:index])
            start = index + 1
    if quoted:
        raise ConfigError(
            "-o: a double quote is not closed",
            "values may stand in quotes.",
            "close it, or leave it out.",
        )
    return [*items, text[start:]]


def _check_together(merged: ParsedOptions) -> None:
    """Refuse options that contradict each other."""
    for breaks, what, why, fields in _CONTRADICTIONS:
        if breaks(merged.options, merged.given):
            between = dict.fromkeys(merged.decided[name] for name in fields if name in merged.given)
            raise Contradiction(what, why, list(between))


_Test = Callable[[MountOptions, frozenset[str]], bool]


def _too_old_for(field_name: str, needed: Mapping[str, str]) -> _Test:
    """Whether none of the algorithms can be used, as older dialects know one only."""

    def test(options: MountOptions, _given: frozenset[str]) -> bool:
        only = needed.get(options.maximum_dialect)
        return only is not None and only not in getattr(options, field_name)

    return test


_NO_CIPHER: Final = _too_old_for("ciphers", {"3.0": "aes-128-ccm", "3.0.2": "aes-128-ccm"})
_NO_SIGNING: Final = _too_old_for(
    "signing_algorithms",
    {"2.0.2": "hmac-sha256", "2.1": "hmac-sha256", "3.0": "aes-128-cmac", "3.0.2": "aes-128-cmac"},
)
_DIALECTS: Final = ("minimum_dialect", "maximum_dialect")

_CONTRADICTIONS: Final[tuple[tuple[_Test, str, str, Sequence[str]], ...]] = (
    (
        lambda o, _: o.guest and o.credentials is not None,
        "guest and credentials= contradict each other",
        "a guest has no password.",
        ("guest", "credentials"),
    ),
    (
        lambda o, _: o.guest and o.auth == "kerberos",
        "guest and Kerberos contradict each other",
        "a guest has no ticket.",
        ("guest", "auth"),
    ),
    (
        lambda o, _: o.guest and o.block_ntlm,
        "guest and block_ntlm contradict each other",
        "a guest signs on with NTLM.",
        ("guest", "block_ntlm"),
    ),
    (
        lambda o, _: o.auth == "ntlm" and o.block_ntlm,
        "auth=ntlm and block_ntlm contradict each other",
        "one asks for what the other forbids.",
        ("auth", "block_ntlm"),
    ),
    (
        lambda o, given: o.guest and "signing" in given and o.signing == "required",
        "guest and signing=required contradict each other",
        "a guest has no password, so nothing can be signed.",
        ("guest", "signing"),
    ),
    (
        lambda o, _: o.guest and o.seal,
        "guest and seal contradict each other",
        "a guest has no password, so nothing can be encrypted.",
        ("guest", "seal"),
    ),
    (
        lambda o, _: DIALECTS.index(o.minimum_dialect) > DIALECTS.index(o.maximum_dialect),
        "minimum_dialect and maximum_dialect contradict each other",
        "no dialect is both as new and as old as that.",
        _DIALECTS,
    ),
    (
        lambda o, _: o.seal and not o.maximum_dialect.startswith("3"),
        "seal and an SMB2 dialect in vers= contradict each other",
        "encryption came with SMB 3.0.",
        ("seal", "maximum_dialect"),
    ),
    (
        lambda o, given: o.seal and _NO_CIPHER(o, given),
        "seal, ciphers and the newest dialect contradict each other",
        "before SMB 3.1.1 there is aes-128-ccm only.",
        ("seal", "ciphers", "maximum_dialect"),
    ),
    (
        _NO_SIGNING,
        "signing_algorithms and the newest dialect contradict each other",
        "SMB 3.0 knows aes-128-cmac only, SMB 2 hmac-sha256.",
        ("signing_algorithms", "maximum_dialect"),
    ),
    (
        lambda o, _: o.transport == "quic" and o.maximum_dialect != "3.1.1",
        "transport=quic and vers= contradict each other",
        "only SMB 3.1.1 runs over QUIC.",
        ("transport", "maximum_dialect"),
    ),
    (
        lambda o, _: (o.quic_key is not None) and o.quic_cert is None,
        "quic_key is given without quic_cert",
        "a key is of use only with its certificate.",
        ("quic_key",),
    ),
)


def _what_is_left_out(options: MountOptions, given: frozenset[str]) -> tuple[str, ...]:
    """Return warnings of options that change nothing in this version."""
    defaults = MountOptions()
    return tuple(
        f"{name} has no effect in this version: {why}"
        for name, why in table.NOT_YET.items()
        if name in given and getattr(options, name) != getattr(defaults, name)
    )
