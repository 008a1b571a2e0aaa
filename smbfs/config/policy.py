"""Which options a mount really gets: command line, user's file, administrator's policy.

From weak to strong: defaults, the policy's section for the server, the user's file, the
user's section, the command line. Then the policy's rules: what is laxer than they allow is
refused when somebody asked for it, and made stricter when nobody did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from smbfs.config.files import ConfigFile, Rules
from smbfs.config.model import DIALECTS, MountOptions
from smbfs.config.options import GivenOption, ParsedOptions, parse_options
from smbfs.errors import ConfigError


class PolicyRefused(ConfigError):
    """Somebody asked for less protection than the administrator's policy demands."""


def configure(
    server: str, given: Sequence[GivenOption], *, user: ConfigFile, policy: ConfigFile
) -> ParsedOptions:
    """Merge everything that was said about mounts of ``server``.

    Raises: PolicyRefused; ConfigError as :func:`parse_options`.
    """
    name = server.lower()
    parsed = parse_options(
        [
            *policy.servers.get(name, ()),
            *_as_options(user),
            *user.servers.get(name, ()),
            *given,
        ]
    )
    return replace(parsed, options=enforce(parsed, policy))


def enforce(parsed: ParsedOptions, policy: ConfigFile) -> MountOptions:
    """Hold the options against the policy's rules.

    Raises: PolicyRefused naming the rule and its file.
    """
    options = parsed.options
    options = _enforce_signing(options, policy)
    options = _enforce_dialect(options, policy)
    return _enforce_transport(options, policy)


def _enforce_signing(options: MountOptions, policy: ConfigFile) -> MountOptions:
    rules = policy.rules
    if rules.require_signing and options.signing != "required":
        raise _refused("signing=if-offered", "require_signing = true", policy)
    if rules.allow_insecure_guest is False and (options.guest or options.allow_insecure_guest):
        raise _refused("guest access", "allow_insecure_guest = false", policy)
    if rules.require_encryption and not options.seal:
        if options.guest:
            raise _refused("guest access", "require_encryption = true", policy)
        return replace(options, seal=True)
    return options


def _enforce_dialect(options: MountOptions, policy: ConfigFile) -> MountOptions:
    minimum = policy.rules.minimum_dialect
    if minimum is None:
        return options
    oldest, newest = (DIALECTS.index(label) for label in options.vers)
    if newest < DIALECTS.index(minimum):
        raise _refused(f"vers={options.vers[1]}", f'minimum_dialect = "{minimum}"', policy)
    return replace(options, vers=(DIALECTS[max(oldest, DIALECTS.index(minimum))], options.vers[1]))


def _enforce_transport(options: MountOptions, policy: ConfigFile) -> MountOptions:
    allowed = policy.rules.allowed_transports
    if allowed is None or options.transport in allowed:
        return options
    if options.transport == "auto" and allowed:
        if len(allowed) > 1:
            return options
        if "quic" in allowed and options.vers[1] != DIALECTS[-1]:
            raise _refused(f"vers={options.vers[1]}", "allowed_transports = ['quic']", policy)
        return replace(options, transport="quic" if "quic" in allowed else "tcp")
    rule = f"allowed_transports = [{', '.join(map(repr, allowed))}]"
    raise _refused(f"transport={options.transport}", rule, policy)


def _refused(what: str, rule: str, policy: ConfigFile) -> PolicyRefused:
    return PolicyRefused(
        f"{what} refused by the administrator's policy",
        f"{policy.path} says {rule}.",
        "leave the option out, or ask the administrator.",
    )


def _as_options(user: ConfigFile) -> list[GivenOption]:
    """The user's rules, as the options that they are defaults for."""
    rules: Rules = user.rules
    origin = str(user.path)
    options: list[GivenOption] = []
    if rules.require_signing is not None:
        signing = "required" if rules.require_signing else "if-offered"
        options.append(GivenOption("signing", signing, origin))
    if rules.allow_insecure_guest is not None:
        options.append(GivenOption("allow_insecure_guest", rules.allow_insecure_guest, origin))
    if rules.require_encryption is not None:
        options.append(GivenOption("seal", rules.require_encryption, origin))
    if rules.minimum_dialect is not None:
        options.append(GivenOption("vers", f"{rules.minimum_dialect}-{DIALECTS[-1]}", origin))
    if rules.allowed_transports is not None and len(rules.allowed_transports) == 1:
        options.append(GivenOption("transport", rules.allowed_transports[0], origin))
    return options
