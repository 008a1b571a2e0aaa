"""The rule for guests: refused unless asked for, allowed, and unsigned by choice.

A guest proves nothing and shares no key with the server, so whoever sits on the network
can read and change everything. Three options must say that this is wanted.
"""

from __future__ import annotations

from typing import Final

from smbfs.config.model import MountOptions
from smbfs.errors import AuthenticationError

INSECURE_GUEST_OPTIONS: Final = "-o guest,allow_insecure_guest,signing=if-offered"


def guest_permitted(options: MountOptions) -> bool:
    """Whether these options accept a session that the server made a guest's or nobody's."""
    return (
        options.guest
        and options.allow_insecure_guest
        and options.signing == "if-offered"
        and not options.seal
    )


class GuestRefused(AuthenticationError):
    """A guest session, which the options don't permit."""


def guest_refused(share: str, *, asked: bool) -> GuestRefused:
    """Build the refusal of a guest session; ``asked``: guest access was asked for here.

    ``share`` is the UNC as messages show it.
    """
    what = (
        f"{share} refused: guest access was asked for, but not allowed"
        if asked
        else f"{share} refused: the server logged you on as a guest."
    )
    return GuestRefused(
        what,
        "a guest has no password, so the connection can't be signed, and signing is required "
        "(Windows reports 0x80070035 or \"organization's security policies block "
        'unauthenticated guest access").',
        "check the user's name, since many devices make guests of users they don't know; or give "
        "the device a user account with a password, and run `smbfs login SERVER --user NAME`. If "
        "the device has no accounts, replace it.\n"
        "Only if you accept that anyone on the network can read and change this traffic: "
        f"{INSECURE_GUEST_OPTIONS}",
        rule="signing",
    )
