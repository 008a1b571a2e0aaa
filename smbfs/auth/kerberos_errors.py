"""What libkrb5's refusals mean to the person who mounts, and what to do about them.

Codes are the KDC's and the server's (RFC 4120 7.5.9), which libkrb5 counts from ``_BASE``, and its
own for what goes wrong on this machine. GSSAPI hands the same numbers on as "minor" codes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from smbfs.audit.record import harmless
from smbfs.errors import AuthenticationError

_BASE: Final = -1765328384
_WORD: Final = 1 << 32
_SIGN: Final = 1 << 31

KDC_ERR_S_PRINCIPAL_UNKNOWN: Final = _BASE + 7
KRB_AP_ERR_TKT_EXPIRED: Final = _BASE + 32
KRB5_KDC_UNREACH: Final = -1765328228
KRB5_CC_NOTFOUND: Final = -1765328243

_WINDOWS: Final = "Windows reports 0x8009030E, SEC_E_NO_CREDENTIALS; mount.cifs error 126, {}"


class TicketMissing(AuthenticationError):
    """There is no ticket for the server now; nothing was sent to it. There may be one later."""

    @property
    def is_absent(self) -> bool:
        """Nobody has signed on with Kerberos here: that is nothing to tell of unasked."""
        return self.what.startswith(_NO_TICKET.what)


class ServerNotProved(AuthenticationError):
    """The server did not prove that it has the key that the ticket was made for."""


class _Row(NamedTuple):
    what: str
    why: str
    do: str


_GET_ONE: Final = (
    "run `kinit`; a machine that mounts by itself takes a keytab (keytab=FILE). With a password "
    "in place of a ticket: auth=ntlm"
)
_NO_TICKET: Final = _Row(
    "there is no Kerberos ticket",
    "{words} (" + _WINDOWS.format("ENOKEY") + ")",
    _GET_ONE,
)
_EXPIRED: Final = _Row(
    "the Kerberos ticket has expired",
    "{words} (" + _WINDOWS.format("EKEYEXPIRED 127") + ")",
    "run `kinit`, or `kinit -r 7d` for one that is renewed by itself for a week",
)
_UNREACHABLE: Final = _Row(
    "no KDC answers",
    "{words}; the ticket for {spn} has to come from one (Windows reports 0x80090311, "
    "SEC_E_NO_AUTHENTICATING_AUTHORITY)",
    "check the network, and the VPN if the KDC is behind one; or reach it through a proxy: "
    "kdc_proxy=URL",
)
_SKEW: Final = _Row(
    "the clocks of this machine and the KDC are too far apart",
    "{words}; Kerberos allows five minutes (Windows reports 0x80090324, SEC_E_TIME_SKEW)",
    "set the clock of whichever is wrong (`timedatectl` shows ours), then run `kinit` again",
)
_UNKNOWN_SERVER: Final = _Row(
    "the KDC does not know the server as {spn}",
    "{words} (Windows reports 0x80090303, SEC_E_TARGET_UNKNOWN)",
    "mount by the name that the server has in the domain, mostly its full one; trust_dns has DNS "
    "say which that is; `setspn -L` shows them. A server outside the domain: auth=ntlm",
)
_KEYTAB: Final = _Row(
    "the keytab is of no use",
    "{words}",
    "check with `klist -k`; user=NAME says which of its principals to sign on as",
)
_UNKNOWN_USER: Final = _Row(
    "the KDC does not know this user",
    "{words}",
    "check how the principal is spelt: user=NAME@REALM",
)
_REVOKED: Final = _Row(
    "the account is locked, disabled or expired",
    "{words}",
    "ask whoever manages the accounts of this realm",
)
_WRONG_KEY: Final = _Row(
    "the KDC does not accept the key or password",
    "{words}",
    "make the keytab anew; the password of its account was changed since",
)
_OTHER: Final = _Row(
    "no Kerberos ticket for {spn} can be had",
    "{words}",
    "`kvno {spn}` tries the same; KRB5_TRACE=/dev/stderr shows how",
)

_ROWS: Final[dict[int, _Row]] = {
    KRB5_CC_NOTFOUND: _NO_TICKET,
    -1765328189: _NO_TICKET,  # KRB5_FCC_NOFILE
    -1765328245: _NO_TICKET,  # KRB5_CC_BADNAME
    -1765328191: _NO_TICKET,  # KRB5_FCC_PERM
    _BASE + 1: _REVOKED,
    _BASE + 6: _UNKNOWN_USER,
    KDC_ERR_S_PRINCIPAL_UNKNOWN: _UNKNOWN_SERVER,
    _BASE + 18: _REVOKED,
    _BASE + 23: _WRONG_KEY,
    _BASE + 24: _WRONG_KEY,
    _BASE + 31: _WRONG_KEY,
    KRB_AP_ERR_TKT_EXPIRED: _EXPIRED,
    _BASE + 33: _SKEW,
    _BASE + 37: _SKEW,
    -1765328236: _SKEW,  # KRB5_KDCREP_SKEW
    KRB5_KDC_UNREACH: _UNREACHABLE,
    -1765328230: _UNREACHABLE,  # KRB5_REALM_UNKNOWN
    -1765328164: _UNREACHABLE,  # KRB5_REALM_CANT_RESOLVE
    -1765328203: _KEYTAB,  # KRB5_KT_NOTFOUND
    -1765328202: _KEYTAB,  # KRB5_KT_END
    -1765328205: _KEYTAB,  # KRB5_KT_BADNAME
}


def ticket_missing(code: int, words: str, spn: str = "") -> TicketMissing:
    """Tell why there is no ticket: ``code`` and ``words`` are libkrb5's, ``spn`` the server's name.

    ``code`` may be GSSAPI's form of it, an unsigned word.
    """
    code = code - _WORD if code >= _SIGN else code
    row = _ROWS.get(code, _OTHER)
    spn = spn or "the server"
    # There may be the KDC's among them, which nobody has signed.
    words = harmless(words).rstrip(".") or f"libkrb5's error {code}"
    return TicketMissing(row.what.format(spn=spn) + ".", row.why.format(words=words, spn=spn) + ".",
                         row.do.format(spn=spn) + ".")  # fmt: skip


def expired(principal: str, where: str, ended: str) -> TicketMissing:
    """Tell that the ticket that is there has ended, and could not be renewed."""
    return ticket_missing(
        KRB_AP_ERR_TKT_EXPIRED, f"the ticket of {principal} in the {where} ended at {ended}"
    )


def kdc_is_silent(within_s: float) -> TicketMissing:
    """Tell that no KDC has answered for so many seconds; it may do yet."""
    return ticket_missing(KRB5_KDC_UNREACH, f"there was no answer within {within_s:g} s")


def no_ticket(words: str) -> TicketMissing:
    """Tell that there is none."""
    return ticket_missing(KRB5_CC_NOTFOUND, words)
