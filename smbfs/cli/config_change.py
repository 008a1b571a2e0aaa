"""``smbfs config set`` and ``unset``: change one key of a file, if the policy lets it be so."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from smbfs.audit.writer import record_once
from smbfs.cli.config import InForce, Key, split_key
from smbfs.cli.errors import CommandError, ExitCode
from smbfs.cli.policy_events import policy_refusal, protection_lowered
from smbfs.config import files
from smbfs.config.files import ConfigFile, parse_config, read_policy, read_text, user_config_path
from smbfs.config.kdc_proxy import merge_proxies
from smbfs.config.option_table import REFUSED, REFUSED_ALIASES
from smbfs.config.options import (
    GivenOption,
    check_options,
    merge_options,
    nearest,
    option_names,
    takes_bool,
)
from smbfs.config.policy import lowered
from smbfs.config.rules import NTLM_EXCEPTIONS, RULES
from smbfs.config.values import parse_switch
from smbfs.errors import ConfigError

_SEPARATORS: Final = re.compile(r"[\s,:]+")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)

Value = bool | int | str | list[str]


def change_config(key: str, value: str | None, *, system: bool) -> int:
    """Set a key of the user's file (``system``: of the policy), or with None take it out of it.

    Raises: CommandError, ConfigError; PolicyRefused for what is laxer than the policy.
    """
    # Only changing a file needs a library that knows comments.
    from smbfs.config.editing import with_key, write_config

    parts = split_key(key)
    _check_option(parts)
    path = files.POLICY_PATH if system else user_config_path(os.environ)
    if system and os.geteuid() != files.POLICY_OWNER:
        raise CommandError(
            f"{path} is the administrator's",
            "it is for all users of this machine.",
            "run this as root.",
            exit_code=ExitCode.USAGE,
        )
    owners = (files.POLICY_OWNER,) if system else (os.geteuid(), 0)
    text = read_text(path, owners=owners) or ""
    before = parse_config(text, path)
    try:
        typed = None if value is None else _typed(parts, value)
        text = with_key(text, _as_it_stands(parts, text), typed)
        after = parse_config(text, path)
        given = _given(parts, after)
        _check_together(parts, after)
    except (ValueError, ConfigError) as error:
        raise _can_not_be(key, value, error) from None
    policy = after if system else read_policy()
    if given is not None and not system:
        _refuse_what_is_laxer(parts, given, after, policy)
    try:
        write_config(path, text, for_all=system)
    except OSError as error:
        raise ConfigError(
            f"{path} can't be written",
            f"{error.strerror}.",
            "see whether its folder is yours, and the disk not full; the file is as it was.",
        ) from error
    _tell(key, given, path, notes=[] if system else _overridden(parts, given, after, policy))
    if given is not None and given != _given(parts, before):
        _audit(path, given, f"smbfs config set {key}")
    return int(ExitCode.FINE)


def _check_option(parts: Key) -> None:
    """Refuse a server's option that does not exist, before its line does."""
    option = parts[-1]
    if parts[0] != "server" or option in option_names():
        return
    if (known := REFUSED_ALIASES.get(option, option)) in REFUSED:
        raise ConfigError(f"{option} is refused", *REFUSED[known])
    guess = nearest(option, option_names())
    raise CommandError(
        f"there is no option {option}",
        "no mount would look at it.",
        f"did you mean {guess}?" if guess else "`smbfs mount --help` lists the options.",
        exit_code=ExitCode.USAGE,
    )


def _typed(parts: Key, text: str) -> Value:
    """Return a value in the type that the file wants. Raises: ValueError."""
    name = parts[-1]
    rule = RULES.get(name) if parts[0] != "kdc_proxy" else None
    if rule is not None and rule.kind == "list":
        return [part for part in _SEPARATORS.split(text) if part]
    if parts == (NTLM_EXCEPTIONS,):
        return [part for part in re.split(r"[\s,]+", text) if part]
    if parts[0] != "kdc_proxy" and takes_bool(name):
        return parse_switch(text)
    if parts[0] == "server" and rule is None and _NUMBER.fullmatch(text):
        return int(text)
    return text


def _as_it_stands(parts: Key, text: str) -> Key:
    """Return the key as the file spells it, which may have other capitals."""
    import tomllib

    if len(parts) == 1:
        return parts
    names = tomllib.loads(text).get(parts[0], {})
    return (parts[0], next((n for n in names if _same(n, parts[1])), parts[1]), *parts[2:])


def _same(name: str, other: str) -> bool:
    return files.server_key(name) == files.server_key(other)


def _given(parts: Key, file: ConfigFile) -> GivenOption | None:
    """Return what a file says under a key."""
    match parts:
        case ("kdc_proxy", realm):
            proxy = file.kdc_proxies.get(realm.upper())
            if proxy is None:
                return None
            urls = " ".join(proxy.urls)
            return GivenOption("kdc_proxy", urls, proxy.origin, files.shown("kdc_proxy", urls))
        case ("server", name, option):
            section = file.servers.get(files.server_key(name), ())
            return next((each for each in section if each.name == option), None)
        case (name,) if name in RULES:
            return file.rules.get(name)
        case _:
            return next(iter(file.ntlm_exceptions.values()), None)


def _check_together(parts: Key, file: ConfigFile) -> None:
    """See that the options of the file's own rules, and of the section, are right."""
    special = file.special(parts[1]) if parts[0] == "server" else []
    check_options(merge_options([*file.general, *special]))


def _can_not_be(key: str, value: str | None, error: Exception) -> ConfigError:
    what = f"{key} can't be " + ("taken out" if value is None else f"set to {value}")
    if isinstance(error, ConfigError):
        return ConfigError(what, error.why or error.what, error.do)
    return ConfigError(what, f"{error}.", "`smbfs config list` shows what there is, and how.")


def _refuse_what_is_laxer(
    parts: Key, given: GivenOption, file: ConfigFile, policy: ConfigFile
) -> None:
    for server in _servers_of(parts, file):
        refusal = InForce(file, policy, server).refused.get(given)
        if refusal is not None:
            error = refusal.error()
            # It was never written: what stands there is another line.
            error.what = f"{given.shown} is refused by the administrator's policy"
            error.args = (error.what,)
            error.do = "leave it as it is, or ask the administrator."
            record_once(policy_refusal(str(file.path), error))
            raise error


def _servers_of(parts: Key, file: ConfigFile) -> list[str | None]:
    """Return for which servers a key is judged; None stands for those without a section."""
    if parts == (NTLM_EXCEPTIONS,):
        return [*file.ntlm_exceptions]
    return [parts[1]] if parts[0] == "server" else [None]


def _overridden(
    parts: Key, given: GivenOption | None, file: ConfigFile, policy: ConfigFile
) -> Iterator[str]:
    """Say where the policy decides otherwise."""
    if given is None:
        return
    if parts[0] == "kdc_proxy":
        key = parts[1].upper()
        both = merge_proxies(
            {key: file.kdc_proxies[key].urls},
            {name: proxy.urls for name, proxy in policy.kdc_proxies.items()},
        )
        if both.get(key) != file.kdc_proxies[key].urls:
            yield f"but {policy.path} overrides it"
    for server in policy.servers if len(parts) == 1 else ():
        refusal = InForce(file, policy, server).refused.get(given)
        if refusal is not None:
            yield f"but mounts of {server} are refused: {refusal.bound}"


def _tell(
    key: str, given: GivenOption | None, path: Path, notes: Iterator[str] | list[str]
) -> None:
    if given is None:
        print(f"{key} is not set in {path}")
    else:
        print(f"{key} = {given.shown.partition(' = ')[2]}  # {given.origin}")
    for note in notes:
        print(note)


def _audit(path: Path, given: GivenOption, command: str) -> None:
    """A setting that protects less than the default is worth a line of its own."""
    for each in lowered(merge_options([given])):
        record_once(protection_lowered(str(path), each, f", by {command}"))
