"""Mount options on the command line: ``--name value`` for each row of the option table."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from smbfs.cli.errors import CommandError, ExitCode
from smbfs.config.option_table import NOT_YET, OPTIONS
from smbfs.config.options import GivenOption, nearest, split_options

_GIVEN: Final = "given"
_NEGATIVE: Final = re.compile(r"-\d")
_HELP: Final = "`smbfs COMMAND --help` lists the options."


class Parser(argparse.ArgumentParser):
    """argparse with errors of our form: usage errors exit 1 and name what was meant."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse has to say as a CommandError."""
        raise CommandError(
            message,
            "the command takes other arguments.",
            f"`{self.prog} --help` shows which.",
            exit_code=ExitCode.USAGE,
        )

    def parse_strictly(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse; an unknown option is an error that names the nearest known one.

        Raises: CommandError.
        """
        namespace, unknown = self.parse_known_args(_joined(arguments))
        if unknown:
            raise self._unknown(unknown)
        return namespace

    def _unknown(self, unknown: Sequence[str]) -> CommandError:
        name = next((each for each in unknown if each.startswith("-")), "").partition("=")[0]
        if not name:
            return CommandError(
                f"{unknown[0]!r} is one too many",
                "the command has all its arguments already.",
                _HELP,
                exit_code=ExitCode.USAGE,
            )
        known = [f"--{each.replace('_', '-')}" for row in OPTIONS for each in row.names]
        guess = nearest(name, [*known, "--foreground", "--verbose", "--json", "--lazy", "--watch"])
        return CommandError(
            f"there is no option {name}",
            "nothing was done: it might have mattered.",
            f"did you mean {guess}?" if guess else _HELP,
            exit_code=ExitCode.USAGE,
        )


class ShowVersion(argparse.Action):
    """Print which version this is, and do no more."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002 - argparse names it
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Raises: SystemExit."""
        print(version_line(parser.prog))
        parser.exit()


def version_line(program: str) -> str:
    """Return a program's name and version."""
    from importlib import metadata

    return f"{program} {metadata.version('smbfs')}"


def add_mount_options(parser: argparse.ArgumentParser) -> None:
    """Let ``parser`` take ``-o`` and every documented option, all into ``given`` in order."""
    parser.add_argument(
        "-o",
        action="extend",
        type=split_options,
        dest=_GIVEN,
        metavar="OPT[,OPT=VALUE…]",
        help="mount options, in mount.cifs' spelling as well",
    )
    group = parser.add_argument_group("mount options, each also as -o name=value")
    for row in OPTIONS:
        name = row.names[0]
        spellings = dict.fromkeys(
            f"--{spelling}" for each in row.names for spelling in (each.replace("_", "-"), each)
        )
        if not row.help:
            continue
        # What does nothing yet is understood, but not advertised.
        text = argparse.SUPPRESS if name in NOT_YET else row.help
        if row.metavar:
            group.add_argument(
                *spellings,
                action="append",
                type=_named(name),
                dest=_GIVEN,
                metavar=row.metavar,
                help=text,
            )
        else:
            group.add_argument(
                *spellings,
                action="append_const",
                const=GivenOption(name, None, f"--{name}"),
                dest=_GIVEN,
                help=text,
            )


def given_options(namespace: argparse.Namespace) -> list[GivenOption]:
    """Options of the command line, in its order."""
    return list(getattr(namespace, _GIVEN) or [])


def _joined(arguments: Sequence[str]) -> list[str]:
    """Write ``--since -2h`` as ``--since=-2h``: argparse takes the value for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1].startswith("--") and _NEGATIVE.match(argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _named(name: str) -> Callable[[str], GivenOption]:
    return lambda value: GivenOption(name, value, f"--{name}")
