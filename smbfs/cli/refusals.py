"""What each NTSTATUS of a server means to the person who mounts, and what to do about it.

Rows for one command come before rows for all: "access denied" is another thing at sign-on
than at a share. Numbers in parentheses are what Windows and mount.cifs show.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from smbfs.wire.ntstatus import NtStatus, status_name


class Refusal(NamedTuple):
    """One row."""

    what: str
    """What failed."""

    cause: str
    """What it means."""

    others: str
    """What others show for it."""

    do: str
    """The remedy."""


_ASK_ADMINISTRATOR: Final = "ask whoever manages the accounts of this server."
_CHECK_ACCOUNT: Final = (
    "check name, domain and password (--verbose says where they came from). Repeated attempts "
    "can lock the account."
)
_CHANGE_IT: Final = "change the password at a Windows machine or with `smbpasswd`, then mount."

_SIGN_ON: Final[dict[int, Refusal]] = {
    NtStatus.STATUS_LOGON_FAILURE: Refusal(
        "wrong user name or password.",
        "the server does not know the user, or not with this password; it may also accept "
        "no NTLM",
        "Windows 1326, mount.cifs error 13",
        _CHECK_ACCOUNT,
    ),
    NtStatus.STATUS_WRONG_PASSWORD: Refusal(
        "wrong password.", "the server knows the user", "Windows 86, mount.cifs error 13",
        _CHECK_ACCOUNT,
    ),
    NtStatus.STATUS_NO_SUCH_USER: Refusal(
        "the server does not know this user.", "no account has this name",
        "Windows 1317, mount.cifs error 13", _CHECK_ACCOUNT,
    ),
    NtStatus.STATUS_ACCOUNT_LOCKED_OUT: Refusal(
        "the account is locked.", "there were too many attempts with a wrong password",
        "Windows 1909, mount.cifs error 13",
        "wait until it unlocks by itself, or ask for it to be unlocked; remove old passwords "
        "that other devices keep trying.",
    ),
    NtStatus.STATUS_ACCOUNT_EXPIRED: Refusal(
        "the account has expired.", "its last day is over", "Windows 1793, mount.cifs error 13",
        _ASK_ADMINISTRATOR,
    ),
    NtStatus.STATUS_PASSWORD_EXPIRED: Refusal(
        "the password has expired.", "the server wants a new one",
        "Windows 1330, mount.cifs error 127", _CHANGE_IT,
    ),
    NtStatus.STATUS_PASSWORD_MUST_CHANGE: Refusal(
        "the password must be changed first.", "the account was made or reset with a password "
        "for one use", "Windows 1907, mount.cifs error 127", _CHANGE_IT,
    ),
    NtStatus.STATUS_ACCOUNT_DISABLED: Refusal(
        "the account is disabled.", "somebody switched it off",
        "Windows 1331, mount.cifs error 13", _ASK_ADMINISTRATOR,
    ),
    NtStatus.STATUS_INVALID_LOGON_HOURS: Refusal(
        "the account may not sign on at this time.", "it has logon hours",
        "Windows 1328, mount.cifs error 13", _ASK_ADMINISTRATOR,
    ),
    NtStatus.STATUS_INVALID_WORKSTATION: Refusal(
        "the account may not sign on from this machine.", "it is bound to others",
        "Windows 1329, mount.cifs error 13", _ASK_ADMINISTRATOR,
    ),
    NtStatus.STATUS_ACCOUNT_RESTRICTION: Refusal(
        "the account is restricted.", "an empty password or a rule of the account forbids "
        "signing on over the network", "Windows 1327, mount.cifs error 13",
        "give the account a password, or " + _ASK_ADMINISTRATOR,
    ),
    NtStatus.STATUS_LOGON_TYPE_NOT_GRANTED: Refusal(
        "the account may not sign on over the network.", "the server's policy denies it",
        "Windows 1385, mount.cifs error 13", _ASK_ADMINISTRATOR,
    ),
    NtStatus.STATUS_NO_LOGON_SERVERS: Refusal(
        "the server can't check the password.", "it reaches no domain controller",
        "Windows 1311, mount.cifs error 5", "try again later, or use an account of the server "
        "itself (user=SERVER\\name).",
    ),
    NtStatus.STATUS_ACCESS_DENIED: Refusal(
        "the server refuses to let us sign on.", "it wants encryption, other signing, or a "
        "real account in place of a guest", "Windows 5, 0x80070005; mount.cifs error 13",
        "try seal, and an account with a password.",
    ),
}  # fmt: skip

_KERBEROS_REFUSED: Final = Refusal(
    "the server does not accept the Kerberos ticket.",
    "the KDC has made it with a key that the server does not have (KRB_AP_ERR_MODIFIED), clocks "
    "differ, no account of the server belongs to the user, or it does not know Kerberos",
    "Windows 1396 or 1326, mount.cifs error 13",
    "the server's log says which; its keytab, or its machine account's password, may be older than "
    "the KDC's: have it join the domain again. A server without Kerberos: auth=ntlm",
)
_KERBEROS: Final[dict[int, Refusal]] = dict.fromkeys(
    (
        NtStatus.STATUS_LOGON_FAILURE,
        NtStatus.STATUS_INVALID_PARAMETER,
    ),
    _KERBEROS_REFUSED,
)

_TREE_CONNECT: Final[dict[int, Refusal]] = {
    NtStatus.STATUS_BAD_NETWORK_NAME: Refusal(
        "there is no such share.", "the server has no share of this name",
        "Windows 67, 0x80070043; mount.cifs error 2",
        "check how it is spelt; `smbfs shares SERVER` lists the shares.",
    ),
    NtStatus.STATUS_ACCESS_DENIED: Refusal(
        "access to the share is denied.", "this user may not use it, or it wants encryption",
        "Windows 5, 0x80070005; mount.cifs error 13",
        "mount as a user who may (user=NAME), ask the owner of the share, or try seal.",
    ),
    NtStatus.STATUS_NETWORK_ACCESS_DENIED: Refusal(
        "access to the share is denied.", "the server allows none over the network",
        "Windows 65, mount.cifs error 13", "ask whoever manages the server.",
    ),
    NtStatus.STATUS_BAD_DEVICE_TYPE: Refusal(
        "the share holds no files.", "it is a printer or a pipe", "Windows 66",
        "mount another share.",
    ),
}  # fmt: skip

_ANY: Final[dict[int, Refusal]] = {
    NtStatus.STATUS_OBJECT_NAME_NOT_FOUND: Refusal(
        "there is no such folder in the share.", "the path after the share's name does not "
        "exist", "Windows 2, mount.cifs error 2", "check how it is spelt.",
    ),
    NtStatus.STATUS_OBJECT_PATH_NOT_FOUND: Refusal(
        "there is no such folder in the share.", "the path after the share's name does not "
        "exist", "Windows 3, mount.cifs error 2", "check how it is spelt.",
    ),
    NtStatus.STATUS_NOT_A_DIRECTORY: Refusal(
        "that is no folder.", "the path after the share's name names a file",
        "Windows 267, mount.cifs error 20", "mount the folder that it is in.",
    ),
    NtStatus.STATUS_ACCESS_DENIED: Refusal(
        "access is denied.", "this user may not open the share's root",
        "Windows 5, 0x80070005; mount.cifs error 13", "mount as a user who may (user=NAME).",
    ),
    NtStatus.STATUS_PATH_NOT_COVERED: Refusal(
        "the share is kept on another server.", "this server has a DFS link in its place",
        "Windows 0xC0000257, mount.cifs error 66", "mount the link's target itself.",
    ),
    NtStatus.STATUS_REQUEST_NOT_ACCEPTED: Refusal(
        "the server takes no more users.", "its limit of connections is reached",
        "Windows 71", "disconnect others, or raise the limit.",
    ),
    NtStatus.STATUS_INSUFF_SERVER_RESOURCES: Refusal(
        "the server is out of resources.", "memory or handles ran out",
        "Windows 1130, mount.cifs error 12", "try again later; look at the server.",
    ),
    NtStatus.STATUS_NETWORK_NAME_DELETED: Refusal(
        "the share has gone.", "the server took it away just now", "Windows 64, 0x80070040",
        "mount again.",
    ),
}  # fmt: skip

_BY_COMMAND: Final = {"SESSION_SETUP": _SIGN_ON, "TREE_CONNECT": _TREE_CONNECT}


def explain_status(status: int, command: str, context: str = "") -> tuple[str, str, str]:
    """What failed, why, what to do, when ``command`` was answered with ``status``.

    ``context`` is what that was about: the way to sign on, for one.
    """
    rows = _BY_COMMAND.get(command.upper(), {})
    if rows is _SIGN_ON and context == "kerberos":
        rows = _SIGN_ON | _KERBEROS
    row = rows.get(status) or _ANY.get(status)
    code = f"{status_name(status)}, 0x{status:08X}"
    if row is None:
        return (
            f"the server answered {command} with {status_name(status)}.",
            f"that is NTSTATUS 0x{status:08X}; Windows looks it up with `certutil -error`.",
            "the server's log may say more.",
        )
    return row.what, f"{row.cause} ({code}; {row.others}).", row.do
