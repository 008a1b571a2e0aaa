"""Which options a mount really gets: command line, user's file, administrator's policy.

From weak to strong: defaults; the policy's rules, its exceptions for NTLM and its section for the
server; the same three of the user's file; the command line. So what nobody else speaks of is what
the policy says, and what it says of a server takes the place of what it says in general: an
exception, in either direction. What somebody has written that protects less than the policy's word
for this server is refused, and so is a contradiction with it.

KDC proxies are merged by realm, and the administrator's win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from smbfs.config.files import ConfigFile, KdcProxy
from smbfs.config.kdc_proxy import Proxies, merge_proxies
from smbfs.config.model import MountOptions
from smbfs.config.options import (
    Contradiction,
    GivenOption,
    ParsedOptions,
    check_options,
    merge_options,
)
from smbfs.config.rules import LAXER
from smbfs.errors import ConfigError

_ASK = "leave the option out, or ask the administrator."

_TRUST = ("quic_ca", "quic_pin")
"""They stand for each other: who sets one decides which certificates are believed."""

_NOT_LOWERED = (*_TRUST, "kdc_proxy_ca", "guest")
"""Other than by default, but no less: whom to trust, and what the rest has to allow first."""

_GUEST_NEEDS: Mapping[str, Callable[[MountOptions], bool]] = {
    "allow_insecure_guest": lambda o: o.allow_insecure_guest,
    "signing": lambda o: o.signing != "required",
    "seal": lambda o: not o.seal,
    "block_ntlm": lambda o: not o.block_ntlm,
}
"""What has to be so for there to be guests."""


class PolicyRefused(ConfigError):
    """Somebody asked for less protection than the administrator's policy demands."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that somebody asked for and the policy does not allow."""

    asked: GivenOption
    bound: GivenOption

    def error(self) -> PolicyRefused:
        """Return it as what is shown."""
        return PolicyRefused(
            f"{self.asked.origin}: {self.asked.written} is refused by the administrator's policy",
            f"{self.bound.origin}, says {self.bound.written}.",
            _ASK,
        )


def configure(
    server: str, given: Sequence[GivenOption], *, user: ConfigFile, policy: ConfigFile
) -> ParsedOptions:
    """Merge everything that was said about mounts of ``server``.

    Raises: PolicyRefused; ConfigError as :func:`smbfs.config.options.parse_options`.
    """
    general = merge_options(policy.general)
    bounds = merge_options([*policy.general, *policy.special(server)])
    merged = merge_options([*policy.general, *policy.special(server), *user.general,
                            *user.special(server), *given])  # fmt: skip
    _refuse_other_address(merged, general, bounds)
    for refusal in refusals(merged, bounds):
        raise refusal.error()
    merged, notes = _with_kdc_proxies(merged, bounds, user, policy)
    decided = [g for name, g in merged.decided.items() if g is bounds.decided.get(name)]
    notes = (*(f"decided by policy: {each}" for each in dict.fromkeys(decided)), *notes)
    try:
        return replace(check_options(merged), notes=notes)
    except Contradiction as error:
        if any(g in decided for g in error.between) and not all(
            g in decided for g in error.between
        ):
            raise PolicyRefused(error.what, error.why, _ASK) from error
        raise


def refusals(merged: ParsedOptions, bounds: ParsedOptions) -> Iterator[Refusal]:
    """Yield what somebody asked for that protects less than ``bounds``, the policy's word."""
    for name, is_laxer in LAXER.items():
        asked, bound = merged.decided.get(name), _bound_of(name, bounds)
        if asked is None or bound is None or asked is bounds.decided.get(name):
            continue
        if is_laxer(getattr(merged.options, name), getattr(bounds.options, name)):
            yield Refusal(asked, bound)
    guest = merged.decided.get("guest")
    if merged.options.guest and guest is not None and guest is not bounds.decided.get("guest"):
        for name, is_so in _GUEST_NEEDS.items():
            if name in bounds.decided and not is_so(bounds.options):
                yield Refusal(guest, bounds.decided[name])


def lowered(parsed: ParsedOptions) -> list[GivenOption]:
    """Return what was written, by whomever, that protects less than the defaults do."""
    defaults = MountOptions()
    return list(
        dict.fromkeys(
            parsed.decided[name]
            for name, is_laxer in LAXER.items()
            if name in parsed.decided
            and name not in _NOT_LOWERED
            and is_laxer(getattr(parsed.options, name), getattr(defaults, name))
        )
    )


def _bound_of(name: str, bounds: ParsedOptions) -> GivenOption | None:
    names = _TRUST if name in _TRUST else (name,)
    return next((bounds.decided[each] for each in names if each in bounds.decided), None)


def _refuse_other_address(
    merged: ParsedOptions, general: ParsedOptions, bounds: ParsedOptions
) -> None:
    """An exception is for the machine that has the name, not for any that somebody calls so."""
    address = merged.decided.get("address")
    if address is None or address is bounds.decided.get("address"):
        return
    for name, is_laxer in LAXER.items():
        if name in general.decided and is_laxer(
            getattr(bounds.options, name), getattr(general.options, name)
        ):
            raise PolicyRefused(
                f"{address.origin}: {address.written} is refused by the administrator's policy",
                f"{bounds.decided[name].origin}, makes an exception for the server of this name, "
                f"not for one that is called so here: {bounds.decided[name].written}.",
                _ASK,
            )


def _with_kdc_proxies(
    merged: ParsedOptions, bounds: ParsedOptions, user: ConfigFile, policy: ConfigFile
) -> tuple[ParsedOptions, tuple[str, ...]]:
    """Merge the proxies of both files and ``kdc_proxy=``; say what the policy has overridden."""
    ours = merge_proxies(_urls(policy.kdc_proxies), bounds.options.kdc_proxies)
    theirs: Proxies = _urls(user.kdc_proxies)
    if merged.decided.get("kdc_proxies") is not bounds.decided.get("kdc_proxies"):
        theirs = merged.options.kdc_proxies
    both = merge_proxies(theirs, ours)
    notes = tuple(f"KDC proxy for {key}: overridden by {policy.path}"
                  for key in theirs if both.get(key) != theirs[key])  # fmt: skip
    return replace(merged, options=replace(merged.options, kdc_proxies=both)), notes


def _urls(proxies: Mapping[str, KdcProxy]) -> Proxies:
    return {key: proxy.urls for key, proxy in proxies.items()}
