"""From option texts to :class:`~smbfs.config.model.MountOptions`.

Options come from several places (policy, user file, ``-o``, ``--name``), earlier ones
weaker. All are turned into :class:`GivenOption` and read by the same table, so that an
option means the same wherever it stands.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from smbfs.config import option_table as table
from smbfs.config.model import MountOptions
from smbfs.errors import ConfigError

_BY_NAME: Final = {name: option for option in table.OPTIONS for name in option.names}


class GivenOption(NamedTuple):
    """One option as somebody wrote it."""

    name: str
    """The spelling used."""

    value: str | bool | None
    """Text after ``=``; None where there was none; a bool comes from a file."""

    origin: str
    """Where it stands, for messages: ``-o``, ``--seal``, ``/etc/…/policy.toml, line 3``."""


@dataclass(frozen=True, slots=True)
class ParsedOptions:
    """What the options mean together."""

    options: MountOptions
    """The mount to make."""

    given: frozenset[str] = frozenset()
    """Fields of ``options`` that somebody set, as opposed to defaults."""

    ignored: tuple[str, ...] = ()
    """Options that change nothing and mislead nobody, for ``--verbose``."""

    warnings: tuple[str, ...] = ()
    """What should be shown: options that have no effect here."""


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
            raise ConfigError(f"{origin}: a value without an option", "nothing is before =.")
    return given


def parse_options(given: Sequence[GivenOption]) -> ParsedOptions:
    """Merge options, the later ones stronger, and check that they fit together.

    Raises: ConfigError naming the option, where it stands, and what would be right.
    """
    state = _Merge(sloppy=any(option.name == "sloppy" for option in given))
    for option in given:
        state.add(option)
    options = replace(MountOptions(), **state.fields, mount_flags=frozenset(state.kernel_flags))
    _check_together(options, frozenset(state.fields))
    return ParsedOptions(
        options,
        frozenset(state.fields),
        tuple(state.ignored),
        (*state.warnings, *_check_available(options, frozenset(state.fields))),
    )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, None where none is."""
    matches = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def option_names() -> list[str]:
    """Every spelling of every option that sets something."""
    return [*_BY_NAME, *table.KERNEL_FLAGS]


@dataclass(slots=True)
class _Merge:
    """Fields collected so far; ``sloppy`` (mount -s) tolerates unknown options."""

    sloppy: bool
    fields: dict[str, Any] = field(default_factory=dict)
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
            shown = given.name if given.value is None else f"{given.name}={given.value}"
            raise ConfigError(
                f"{given.origin}: {shown} is wrong", f"{error}.", "correct it or leave it out."
            ) from None
        for name, value in new.items():
            if option.smallest and name in self.fields:
                value = min(value, self.fields[name])
            self.fields[name] = value


def _fields_of(option: table.Option, value: str | bool | None) -> table.Fields:
    if option.parse is not None:
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
        raise ConfigError("-o: a double quote is not closed", "values may stand in quotes.")
    return [*items, text[start:]]


def _check_together(options: MountOptions, given: frozenset[str]) -> None:
    """Refuse options that contradict each other."""
    for breaks, what, why in _CONTRADICTIONS:
        if breaks(options, given):
            raise ConfigError(what, why, "leave one of them out.")


_Test = Callable[[MountOptions, frozenset[str]], bool]

_CONTRADICTIONS: Final[tuple[tuple[_Test, str, str], ...]] = (
    (
        lambda o, _: o.guest and o.credentials is not None,
        "guest and credentials= contradict each other",
        "a guest has no password.",
    ),
    (
        lambda o, _: o.guest and o.auth == "kerberos",
        "guest and Kerberos contradict each other",
        "a guest has no ticket.",
    ),
    (
        lambda o, given: o.guest and "signing" in given and o.signing == "required",
        "guest and signing=required contradict each other",
        "a guest has no password, so nothing can be signed.",
    ),
    (
        lambda o, _: o.guest and o.seal,
        "guest and seal contradict each other",
        "a guest has no password, so nothing can be encrypted.",
    ),
    (
        lambda o, _: o.seal and not o.vers[1].startswith("3"),
        "seal and an SMB2 dialect in vers= contradict each other",
        "encryption came with SMB 3.0.",
    ),
    (
        lambda o, _: o.transport == "quic" and o.vers[1] != "3.1.1",
        "transport=quic and vers= contradict each other",
        "only SMB 3.1.1 runs over QUIC.",
    ),
    (
        lambda o, _: (o.quic_key is not None) and o.quic_cert is None,
        "quic_key is given without quic_cert",
        "a key is of use only with its certificate.",
    ),
)


def _check_available(options: MountOptions, given: frozenset[str]) -> tuple[str, ...]:
    """Refuse what this version can't do; return warnings where it only does without."""
    for asked, what in _NOT_YET_REFUSED:
        if asked(options):
            raise ConfigError(
                f"{what} is not available in this version",
                "mounting without it would not be what was asked for.",
                "leave it out.",
            )
    defaults = MountOptions()
    return tuple(
        f"{name} has no effect in this version: {why}"
        for name, why in table.NOT_YET.items()
        if name in given and getattr(options, name) != getattr(defaults, name)
    )


_NOT_YET_REFUSED: Final[tuple[tuple[Callable[[MountOptions], bool], str], ...]] = (
    (lambda o: o.auth == "kerberos", "Kerberos (auth=kerberos, sec=krb5)"),
    (lambda o: o.snapshot is not None, "snapshot="),
)
