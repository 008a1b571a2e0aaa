"""What the codes of libkrb5 mean to the person who signs on, and what to do about it.

Numbers are those of RFC 4120 7.5.9 above ``_BASE`` for what a KDC has answered, and libkrb5's own
for what happened on this side (krb5_err.et).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from smbfs.audit.record import harmless
from smbfs.errors import AuthenticationError, UserError

_BASE: Final = -1765328384
_ANSWERS_END: Final = 128

_KDC_UNREACHABLE: Final = -1765328228
"""KRB5_KDC_UNREACH: no KDC answers, or its proxy does not."""

_UNREACHABLE_WORDS: Final = re.compile("Cannot contact any KDC for realm '([^']+)'")
"""libkrb5's, which have the realm; the code does not, and gets lost on some ways."""

_REALM_UNKNOWN: Final = (-1765328230, -1765328164)
"""KRB5_REALM_UNKNOWN, KRB5_REALM_CANT_RESOLVE: nobody says where its KDC is."""

_BAD_PASSWORD: Final = (_BASE + 24, _BASE + 31, -1765328174)
"""KDC_ERR_PREAUTH_FAILED, KRB_AP_ERR_BAD_INTEGRITY (without preauthentication), and its own."""

_SKEWS: Final = (_BASE + 37, -1765328236)
"""KRB_AP_ERR_SKEW, KRB5_KDCREP_SKEW."""


_CACHES: Final = (*range(-1765328193, -1765328185), -1765328245, -1765328244, -1765328138)
"""KRB5_CC_TYPE_EXISTS to KRB5_CC_NOMEM, KRB5_CC_BADNAME, _UNKNOWN_TYPE and _READONLY."""


class _Refusal(NamedTuple):
    what: str
    cause: str
    do: str


_ASK: Final = "ask whoever manages the accounts of {realm}."
_CLOCK: Final = _Refusal(
    "the clocks of this machine and of the KDC differ too much.",
    "Kerberos allows five minutes",
    "set this machine's clock (`timedatectl set-ntp true`), or have the KDC's set.",
)
_WHERE: Final = _Refusal(
    "nobody says where the KDC of {realm} is.",
    "neither /etc/krb5.conf nor the DNS knows this realm",
    "check how the realm is spelt (mostly in upper case); outside the company's network give its "
    "KDC proxy, kdc_proxy=https://HOST/KdcProxy.",
)
_CACHE: Final = _Refusal(
    "there is no place for the ticket.",
    "the ticket cache can't be written to",
    "see what KRB5CCNAME says, or default_ccache_name in krb5.conf.",
)
_PASSWORD: Final = _Refusal(
    "wrong password for {principal}.",
    "the KDC knows the user, but not with this password",
    "check the password. Repeated attempts can lock the account.",
)
_UNREACHABLE: Final = _Refusal(
    "no KDC of {realm} answers.",
    "it is switched off, or port 88 is not open from here, as is usual outside the company's "
    "network",
    "use a VPN, or the realm's KDC proxy: kdc_proxy=https://HOST/KdcProxy.",
)

_REFUSALS: Final[dict[int, _Refusal]] = {
    _BASE + 1: _Refusal("the account {principal} has expired.", "its last day is over", _ASK),
    _BASE + 6: _Refusal(
        "{realm} does not know the user {principal}.",
        "no account has this name",
        "check how it is spelt; the realm is written in upper case.",
    ),
    _BASE + 7: _Refusal(
        "{realm} does not know the server by this name.",
        "no account has it as a service principal name (SPN)",
        "use the server's full name, or have `setspn -S cifs/SERVER ACCOUNT` run in the domain.",
    ),
    _BASE + 12: _Refusal(
        "{principal} may not sign on now, or not from here.",
        "a rule of the account, such as logon hours or workstations, forbids it",
        _ASK,
    ),
    _BASE + 14: _Refusal(
        "{realm} and this machine agree on no kind of encryption.",
        "the account has old keys alone, or krb5.conf allows too few",
        "have the account's password set anew, and see permitted_enctypes in krb5.conf.",
    ),
    _BASE + 18: _Refusal(
        "the account {principal} is disabled or locked.",
        "somebody switched it off, or there were too many attempts with a wrong password",
        "wait until it unlocks by itself, or " + _ASK,
    ),
    _BASE + 23: _Refusal(
        "the password of {principal} has expired.",
        "the KDC wants a new one first",
        "change it with `kpasswd {principal}` or at a Windows machine, then try again.",
    ),
    _BASE + 68: _Refusal(
        "{principal} belongs to another realm.",
        "the KDC of {realm} says so",
        "sign on as USER@REALM with the account's own realm.",
    ),
    **dict.fromkeys(_BAD_PASSWORD, _PASSWORD),
    **dict.fromkeys(_SKEWS, _CLOCK),
    **dict.fromkeys(_CACHES, _CACHE),
    **dict.fromkeys(_REALM_UNKNOWN, _WHERE),
    _KDC_UNREACHABLE: _UNREACHABLE,
}


def krb5_refusal(code: int, words: str, principal: str) -> AuthenticationError:
    """Return the error for a code of libkrb5; ``words`` are what it says itself, as kinit shows.

    ``principal`` is who signs on, ``user@REALM``.
    """
    realm = principal.rpartition("@")[2]
    words = harmless(words)  # There may be the KDC's among them, which nobody has signed.
    number = code - _BASE
    told = f"Kerberos error {number}: {words}" if 0 < number < _ANSWERS_END else words
    row = _REFUSALS.get(code)
    if row is None:
        return AuthenticationError(
            f"Kerberos sign-on of {principal} failed.",
            f"{told} (libkrb5's code {code}).",
            "the KDC's log may say more; KRB5_TRACE=/dev/stderr shows what `kinit` does.",
        )
    what, cause, do = (part.format(principal=principal, realm=realm) for part in row)
    return AuthenticationError(what, f"{cause} ({told}).", do)


def unreachable_realm(error: BaseException) -> str | None:
    """Return the realm of which no KDC answers, if that is what an error says."""
    found = _UNREACHABLE_WORDS.search(error.why) if isinstance(error, UserError) else None
    return found[1] if found is not None else None
