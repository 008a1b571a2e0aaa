"""The rules: keys that may stand at the top of a config file, and hold for every server.

Each is the spelling of an option that Windows' settings have a counterpart of
(``Set-SmbClientConfiguration``, ``NET USE /BLOCKNTLM``). What is laxer than what is said here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from smbfs.config.model import CIPHERS, DIALECTS, SIGNING_ALGORITHMS, MountOptions

Kind = Literal["flag", "dialect", "list"]

RuleValue = bool | str | tuple[str, ...]
"""What a rule is set to."""


class Rule(NamedTuple):
    """One rule."""

    kind: Kind
    """``flag``: true or false; ``dialect``: a label; ``list``: some of ``known``."""

    field: str
    """The field of MountOptions that it sets."""

    read: Callable[[MountOptions], RuleValue]
    """What it comes to in a mount with these options."""

    known: tuple[str, ...] = ()
    """What a value, or a part of it, may be."""


_TRANSPORTS: Final = ("tcp", "quic")

RULES: Final[Mapping[str, Rule]] = {
    "require_signing": Rule("flag", "signing", lambda o: o.signing == "required"),
    "signing_algorithms": Rule(
        "list", "signing_algorithms", lambda o: o.signing_algorithms, SIGNING_ALGORITHMS
    ),
    "allow_insecure_guest": Rule("flag", "allow_insecure_guest", lambda o: o.allow_insecure_guest),
    "require_encryption": Rule("flag", "seal", lambda o: o.seal),
    "require_encryption_over_quic": Rule("flag", "seal_over_quic", lambda o: o.seal_over_quic),
    "ciphers": Rule("list", "ciphers", lambda o: o.ciphers, CIPHERS),
    "block_ntlm": Rule("flag", "block_ntlm", lambda o: o.block_ntlm),
    "minimum_dialect": Rule("dialect", "minimum_dialect", lambda o: o.minimum_dialect, DIALECTS),
    "maximum_dialect": Rule("dialect", "maximum_dialect", lambda o: o.maximum_dialect, DIALECTS),
    "allowed_transports": Rule(
        "list",
        "transport",
        lambda o: _TRANSPORTS if o.transport == "auto" else (o.transport,),
        _TRANSPORTS,
    ),
}  # fmt: skip
"""By name."""

NTLM_EXCEPTIONS: Final = "block_ntlm_exceptions"
"""Servers for which the same file's ``block_ntlm`` does not hold."""


def _not_dropped(asked: bool, bound: bool) -> bool:
    return bound and not asked


def _not_added(asked: bool, bound: bool) -> bool:
    return asked and not bound


def _other(asked: object, bound: object) -> bool:
    return asked != bound


def _beyond(asked: tuple[str, ...], bound: tuple[str, ...]) -> bool:
    return not set(asked) <= set(bound)


# Any: each compares the values of its own field.
LAXER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "signing": lambda asked, bound: bound == "required" != asked,
    "signing_algorithms": _beyond,
    "allow_insecure_guest": _not_added,
    "guest": _not_added,
    "seal": _not_dropped,
    "seal_over_quic": _not_dropped,
    "ciphers": _beyond,
    "block_ntlm": _not_dropped,
    "auth": lambda asked, bound: bound == "kerberos" != asked,
    "minimum_dialect": lambda asked, bound: DIALECTS.index(asked) < DIALECTS.index(bound),
    "maximum_dialect": lambda asked, bound: DIALECTS.index(asked) > DIALECTS.index(bound),
    "transport": lambda asked, bound: bound not in ("auto", asked),
    "quic_ca": _other,
    "quic_pin": _other,
    "quic_0rtt": _not_added,
    "trust_dns": _not_added,
    "kdc_proxy_ca": _other,
}
"""By field of MountOptions: whether one value protects less than another one, or not in its way."""
