"""``smbfs config``: which rules are in force, and which file says so."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Final

from smbfs.cli.errors import CommandError, ExitCode
from smbfs.config.files import (
    POLICY_PATH,
    RULE_NAMES,
    ConfigFile,
    Rules,
    read_config_file,
    user_config_path,
)
from smbfs.config.options import nearest

_DEFAULTS: Final = Rules(
    require_signing=True,
    allow_insecure_guest=False,
    require_encryption=False,
    minimum_dialect="2.1",
    allowed_transports=("tcp",),
)


def show_config(key: str | None) -> int:
    """Print every rule in force, or the value of one.

    Raises: CommandError for an unknown key; ConfigError for a file that is wrong.
    """
    user = read_config_file(user_config_path(os.environ))
    policy = read_config_file(POLICY_PATH)
    if key is None:
        print("\n".join(_describe(name, user, policy) for name in RULE_NAMES))
        return int(ExitCode.FINE)
    if key not in RULE_NAMES:
        guess = nearest(key, RULE_NAMES)
        raise CommandError(
            f"there is no {key} in the configuration",
            "",
            f"did you mean {guess}?" if guess else "`smbfs config list` shows all.",
            exit_code=ExitCode.USAGE,
        )
    print(_format(_in_force(key, user, policy)[0]))
    return int(ExitCode.FINE)


def _describe(name: str, user: ConfigFile, policy: ConfigFile) -> str:
    value, origin = _in_force(name, user, policy)
    overridden = getattr(user.rules, name) not in {None, value}
    note = f"; overrides {user.path}" if overridden and origin == str(policy.path) else ""
    return f"{name} = {_format(value)}  # {origin}{note}"


def _in_force(name: str, user: ConfigFile, policy: ConfigFile) -> tuple[object, str]:
    """Return a rule's value and where it comes from: the stricter of both files."""
    assert name in {each.name for each in fields(Rules)}
    default = getattr(_DEFAULTS, name)
    said = [
        (getattr(file.rules, name), str(file.path))
        for file in (policy, user)
        if getattr(file.rules, name) is not None
    ]
    if not said:
        return default, "default"
    if len(said) == 1:
        return said[0]
    return min(said, key=lambda rule: _laxity(name, rule[0]))


def _laxity(name: str, value: object) -> tuple[int, str]:
    """Sort key: the strictest value first; equal ones count as the policy's, which is first."""
    match value:
        case bool():
            return (int(value == (name == "allow_insecure_guest")), "")
        case tuple():
            return (len(value), "")
        case _:
            return (0, "".join(chr(0x7F - ord(c)) for c in str(value)))


def _format(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case tuple():
            return "[" + ", ".join(f'"{each}"' for each in value) + "]"
        case _:
            return f'"{value}"'
