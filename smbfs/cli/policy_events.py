"""What the audit says of settings: less protection than usual, or than the policy demands."""

from __future__ import annotations

from smbfs.audit.events import GuestAllowed, PolicyOverrideRefused, ProtectionLowered
from smbfs.config.options import GivenOption
from smbfs.config.policy import PolicyRefused


def policy_refusal(about: str, error: PolicyRefused) -> PolicyOverrideRefused:
    """Return the event; ``about`` is the share, or the file that was to be changed."""
    return PolicyOverrideRefused(about, " ".join(f"{error.what}; {error.why}".split()))


def protection_lowered(about: str, given: GivenOption, by: str = "") -> ProtectionLowered:
    """Return the event for an option that protects less than its default does."""
    kind = GuestAllowed if given.name == "allow_insecure_guest" else ProtectionLowered
    return kind(about, given.written, given.origin + by)
