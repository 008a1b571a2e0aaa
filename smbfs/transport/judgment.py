"""What is asked of a server's certificate, and how it was judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from smbfs.errors import UserError

Facts = dict[str, object]
"""What was found in a certificate, by name, ready for JSON."""


class Requirement(StrEnum):
    """What is asked of a certificate, in the order in which it is judged."""

    READABLE = "certificate"
    PIN = "certificate-pin"
    VALIDITY = "certificate-validity"
    NAME = "certificate-name"
    EXTENDED_KEY_USAGE = "certificate-extended-key-usage"
    KEY_USAGE = "certificate-key-usage"
    STRENGTH = "certificate-strength"
    AUTHORITY = "certificate-authority"
    CHAIN = "certificate-chain"


@dataclass(frozen=True, slots=True)
class Judgment:
    """Whether a certificate meets one requirement."""

    requirement: Requirement
    facts: Facts = field(default_factory=dict)
    """What was found; as much of it as could be read."""
    refusal: UserError | None = None
    """Why it does not, if it does not."""
    why_not: str = ""
    """Why it was not asked for, if it was not: a pin, for example, stands for most."""
