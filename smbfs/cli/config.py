"""``smbfs config list`` and ``get``: what is in force, and which file and line says so."""

from __future__ import annotations

import os
from collections.abc import Iterator

from smbfs.cli.errors import CommandError, ExitCode
from smbfs.config.files import (
    TOP_KEYS,
    ConfigFile,
    format_value,
    read_policy,
    read_user_config,
    server_key,
)
from smbfs.config.kdc_proxy import merge_proxies, proxies_of
from smbfs.config.options import GivenOption, ParsedOptions, merge_options, nearest
from smbfs.config.policy import Refusal, refusals
from smbfs.config.rules import NTLM_EXCEPTIONS, RULES

Key = tuple[str, ...]

_FORMS = (
    f"{', '.join(TOP_KEYS)}, kdc_proxy.REALM or server.NAME.OPTION."
)  # fmt: skip


def list_config() -> int:
    """Print every rule in force and everything else that is set. Raises: ConfigError."""
    user, policy = read_user_config(os.environ), read_policy()
    for lines in (
        _rule_lines(user, policy),
        _exception_lines(user, policy),
        _proxy_lines(user, policy),
        _server_lines(user, policy),
    ):
        for line in lines:
            print(line)
    return int(ExitCode.FINE)


def get_config(key: str) -> int:
    """Print what one key comes to.

    Raises: CommandError for a key that does not exist, or is not set; ConfigError for a file
    that is wrong.
    """
    parts = split_key(key)
    user, policy = read_user_config(os.environ), read_policy()
    value = _value_of(parts, user, policy)
    if value is None:
        raise CommandError(
            f"{key} is not set",
            "neither your file nor the policy has it.",
            "`smbfs config list` shows all that is.",
            exit_code=ExitCode.USAGE,
        )
    print(value)
    return int(ExitCode.FINE)


def split_key(key: str) -> Key:
    """Return the parts of ``require_signing``, ``kdc_proxy.REALM`` or ``server.NAME.OPTION``.

    Names of servers and realms have dots of their own. Raises: CommandError for anything else.
    """
    first, _, rest = key.partition(".")
    name, _, option = rest.rpartition(".")
    if key in TOP_KEYS:
        return (key,)
    if first == "kdc_proxy" and rest:
        return (first, rest)
    if first == "server" and name and option:
        return (first, name.strip('"'), option)
    guess = nearest(key, TOP_KEYS)
    raise CommandError(
        f"there is no {key} in the configuration",
        "nothing would look at it.",
        f"did you mean {guess}?" if guess else f"known are {_FORMS}",
        exit_code=ExitCode.USAGE,
    )


class InForce:
    """What both files come to, for one server or (None) for those that have no section."""

    def __init__(self, user: ConfigFile, policy: ConfigFile, server: str | None = None) -> None:
        theirs = [] if server is None else user.special(server)
        ours = [*policy.general, *([] if server is None else policy.special(server))]
        self.bounds: ParsedOptions = merge_options(ours)
        self.merged: ParsedOptions = merge_options([*ours, *user.general, *theirs])
        self.refused: dict[GivenOption, Refusal] = {
            refusal.asked: refusal for refusal in refusals(self.merged, self.bounds)
        }

    def rule(self, name: str) -> tuple[str, str]:
        """Return a rule's value as a file has it, and where it comes from."""
        rule = RULES[name]
        given = self.merged.decided.get(rule.field)
        if given is None:
            return format_value(rule.read(self.merged.options)), "default"
        if given not in self.refused:
            return format_value(rule.read(self.merged.options)), given.origin
        bound = self.refused[given].bound
        value = format_value(rule.read(self.bounds.options))
        return value, f"{bound.origin}; {given.origin}, asks for less: mounts are refused"


def _rule_lines(user: ConfigFile, policy: ConfigFile) -> Iterator[str]:
    in_force = InForce(user, policy)
    for name in RULES:
        value, origin = in_force.rule(name)
        yield f"{name} = {value}  # {origin}"


def _exception_lines(user: ConfigFile, policy: ConfigFile) -> Iterator[str]:
    if not (user.ntlm_exceptions or policy.ntlm_exceptions):
        yield f"{NTLM_EXCEPTIONS} = []  # default"
    for file in (policy, user):
        for given in dict.fromkeys(file.ntlm_exceptions.values()):
            names = (name for name, each in file.ntlm_exceptions.items() if each is given)
            refused = (given in InForce(user, policy, name).refused for name in names)
            note = "; asks for less than the policy: mounts are refused" if any(refused) else ""
            yield f"{given.shown}  # {given.origin}{note}"


def _proxy_lines(user: ConfigFile, policy: ConfigFile) -> Iterator[str]:
    both = merge_proxies(
        {key: each.urls for key, each in user.kdc_proxies.items()},
        {key: each.urls for key, each in policy.kdc_proxies.items()},
    )
    for file in (policy, user):
        for key, proxy in file.kdc_proxies.items():
            overridden = file is user and (key not in both or key in policy.kdc_proxies)
            note = f"; overridden by {policy.path}" if overridden else ""
            yield f"kdc_proxy.{key} = {format_value(' '.join(proxy.urls))}  # {proxy.origin}{note}"


def _server_lines(user: ConfigFile, policy: ConfigFile) -> Iterator[str]:
    for name in dict.fromkeys([*policy.servers, *user.servers]):
        in_force = InForce(user, policy, name)
        for file in (policy, user):
            for given in file.servers.get(name, ()):
                refusal = in_force.refused.get(given)
                note = f"; {refusal.bound.origin}, asks for more: mounts are refused" \
                    if refusal else ""  # fmt: skip
                yield f"server.{name}.{given.shown}  # {given.origin}{note}"


def _value_of(key: Key, user: ConfigFile, policy: ConfigFile) -> str | None:
    match key:
        case ("kdc_proxy", realm):
            ours = {key: each.urls for key, each in policy.kdc_proxies.items()}
            theirs = {key: each.urls for key, each in user.kdc_proxies.items()}
            return " ".join(proxies_of(realm, merge_proxies(theirs, ours))) or None
        case ("server", name, option) if option in RULES:
            return InForce(user, policy, name).rule(option)[0]
        case ("server", name, option):
            sections = (file.servers.get(server_key(name), ()) for file in (user, policy))
            found = (given for section in sections for given in section if given.name == option)
            given = next(found, None)
            return given.shown.partition(" = ")[2] if given else None
        case (name,) if name in RULES:
            return InForce(user, policy).rule(name)[0]
        case _:
            names = [*policy.ntlm_exceptions, *user.ntlm_exceptions]
            return format_value(list(dict.fromkeys(names)))
