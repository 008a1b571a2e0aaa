"""Texts of option values to typed values, one small function per kind.

Each raises :class:`ValueError` saying what would be right; ``options`` adds which
option it was.
"""

from __future__ import annotations

import grp
import ipaddress
import pwd
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from smbfs.config.model import (
    CIPHERS,
    DEFAULT_DIALECTS,
    DIALECTS,
    MIB,
    SIGNING_ALGORITHMS,
    AuthChoice,
    SigningRule,
    TransportChoice,
)

_SIZE_UNITS: Final = {"": 1, "K": 1024, "M": MIB, "G": 1024 * MIB, "T": 1024 * 1024 * MIB}
_SIZE: Final = re.compile(r"([0-9]{1,15})([KMGT]?)(?:I?B)?", re.IGNORECASE | re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?", re.ASCII)
_FILETIME_0: Final = datetime(1601, 1, 1, tzinfo=UTC)
_SNAPSHOT: Final = "@GMT-%Y.%m.%d-%H.%M.%S"
_MAX_ID: Final = 2**32 - 2  # 2**32 - 1 means "nobody said"

_DIALECT_CHOICES: Final = {
    "default": DEFAULT_DIALECTS,
    "2": ("2.0.2", "2.1"),
    "2.0": ("2.0.2", "2.0.2"),
    "2.02": ("2.0.2", "2.0.2"),
    "2.0.2": ("2.0.2", "2.0.2"),
    "2.1": ("2.1", "2.1"),
    "3": ("3.0", "3.1.1"),
    "3.0": ("3.0", "3.0"),
    "3.02": ("3.0.2", "3.0.2"),
    "3.0.2": ("3.0.2", "3.0.2"),
    "3.11": ("3.1.1", "3.1.1"),
    "3.1.1": ("3.1.1", "3.1.1"),
}

_SEC_CHOICES: Final[dict[str, tuple[AuthChoice, SigningRule | None]]] = {
    "krb5": ("kerberos", None),
    "krb5i": ("kerberos", "required"),
    "ntlmssp": ("ntlm", None),
    "ntlmsspi": ("ntlm", "required"),
    "ntlmv2": ("ntlm", None),
    "ntlmv2i": ("ntlm", "required"),
}

_SEC_REFUSED: Final = {
    "none": "a session without a user can't be signed. Guest access is asked for with guest",
    "krb5p": "privacy is SMB3's own encryption, not Kerberos': use sec=krb5 with seal",
    "ntlm": "NTLMv1 gives the password away to whoever listens: use sec=ntlmssp",
    "ntlmi": "NTLMv1 gives the password away to whoever listens: use sec=ntlmsspi",
    "lanman": "LANMAN gives the password away to whoever listens: use sec=ntlmssp",
}


def parse_text(text: str) -> str:
    """Any text but none."""
    if not text:
        raise ValueError("it is empty")
    if not text.isprintable():
        raise ValueError("it contains a control character")
    return text


def split_user(text: str) -> tuple[str, str | None]:
    r"""Take the domain off a user name: ``DOM\user``, ``DOM/user`` and ``DOM;user``.

    ``user@REALM`` stays whole, since the realm need not be the domain's name.
    Returns the user and the domain, None where none was written.
    """
    for separator in "\\/;":
        domain, found, user = text.partition(separator)
        if found:
            return user, domain
    return text, None


def parse_size(text: str) -> int:
    """Bytes: ``65536``, ``64K``, ``64M``, ``2GiB``."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("a size is written like 65536, 64K, 64M or 2G")
    return int(match[1]) * _SIZE_UNITS[match[2].upper()]


def parse_transfer_size(text: str) -> int:
    """Bytes per READ or WRITE."""
    size = parse_size(text)
    if not 4096 <= size <= 8 * MIB:
        raise ValueError("a transfer has 4K to 8M")
    return size


def parse_seconds(text: str) -> float:
    """Seconds, with or without a fraction."""
    if not _SECONDS.fullmatch(text):
        raise ValueError("a time is written in seconds, like 30 or 0.5")
    return float(text)


def parse_timeout(text: str) -> float:
    """Seconds, more than none."""
    seconds = parse_seconds(text)
    if not seconds:
        raise ValueError("it must be more than 0 (hard waits forever)")
    return seconds


def parse_port(text: str) -> int:
    """1 to 65535."""
    return _parse_integer(text, 1, 65535)


def parse_channels(text: str) -> int:
    """1 to 16."""
    return _parse_integer(text, 1, 16)


def parse_mode(text: str) -> int:
    """Permission bits in octal: ``0644``, ``755``, ``0o700``."""
    try:
        mode = int(text.lower().removeprefix("0o"), 8) if text.isalnum() else -1
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise ValueError("permission bits are written in octal, like 0644")
    return mode


def parse_user_id(text: str) -> int:
    """User id as a number or a name of this machine."""
    if text.isascii() and text.isdigit():
        return _parse_integer(text, 0, _MAX_ID)
    try:
        return pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        raise ValueError("this machine knows no such user") from None


def parse_group_id(text: str) -> int:
    """Group id as a number or a name of this machine."""
    if text.isascii() and text.isdigit():
        return _parse_integer(text, 0, _MAX_ID)
    try:
        return grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        raise ValueError("this machine knows no such group") from None


def parse_path(text: str) -> Path:
    """Absolute path, ``~`` expanded."""
    path = Path(parse_text(text))
    try:
        path = path.expanduser()
    except RuntimeError:
        raise ValueError("this machine knows no such user") from None
    return Path.cwd() / path


def parse_address(text: str) -> str:
    """IPv4 or IPv6 address, with or without brackets."""
    address = text.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise ValueError("it is not an IP address") from None


def parse_pin(text: str) -> str:
    """SHA-256 in hex, with or without colons and ``sha256:``."""
    pin = text.lower().removeprefix("sha256:").replace(":", "")
    if not re.fullmatch("[0-9a-f]{64}", pin):
        raise ValueError("a pin is the SHA-256 of the certificate: 64 hex digits")
    return pin


def parse_snapshot(text: str) -> datetime:
    """``@GMT-YYYY.MM.DD-HH.MM.SS``, or the 100 ns since 1601: the time that it stands for."""
    try:
        if text.isdecimal():
            return _FILETIME_0 + timedelta(microseconds=int(text) // 10)
        return datetime.strptime(text, _SNAPSHOT).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "a snapshot is named like @GMT-2026.01.31-12.00.00 (`smbfs snapshots` lists them)"
        ) from None


def parse_dialects(text: str) -> tuple[str, str]:
    """``vers=``: one dialect, ``3`` for all of SMB3, ``default``, or a range ``2.1-3.1.1``."""
    if text in ("1", "1.0"):
        raise ValueError("SMB1 is not safe on any network, and not implemented")
    oldest, dash, newest = text.partition("-")
    if dash and oldest in DIALECTS and newest in DIALECTS:
        if DIALECTS.index(oldest) > DIALECTS.index(newest):
            raise ValueError("a range is written oldest-newest")
        return oldest, newest
    if text not in _DIALECT_CHOICES:
        raise ValueError(f"it is one of {', '.join(DIALECTS)}, 3 or default")
    return _DIALECT_CHOICES[text]


def parse_dialect(text: str) -> str:
    """One dialect's label."""
    if text not in DIALECTS:
        raise ValueError(f"it is one of {', '.join(DIALECTS)}")
    return text


def parse_transports(text: str) -> TransportChoice:
    """``tcp:quic`` in any order, or one of them."""
    match _parse_list(text, ("tcp", "quic")):
        case ("tcp",):
            return "tcp"
        case ("quic",):
            return "quic"
        case _:
            return "auto"


def parse_ciphers(text: str) -> tuple[str, ...]:
    """``aes-256-gcm:aes-128-gcm``, the preferred one first."""
    return _parse_list(text, CIPHERS)


def parse_signing_algorithms(text: str) -> tuple[str, ...]:
    """``aes-128-gmac:aes-128-cmac``, the preferred one first."""
    return _parse_list(text, SIGNING_ALGORITHMS)


def parse_security(text: str) -> tuple[AuthChoice, SigningRule | None]:
    """``sec=``: how to sign on, and whether that spelling also requires signing."""
    if text in _SEC_REFUSED:
        raise ValueError(_SEC_REFUSED[text])
    if text not in _SEC_CHOICES:
        raise ValueError(f"it is one of {', '.join(_SEC_CHOICES)}")
    return _SEC_CHOICES[text]


def parse_switch(text: str) -> bool:
    """Return whether something is ``on`` (or ``yes``, ``true``, ``1``) or not."""
    if text.lower() in {"on", "yes", "true", "1"}:
        return True
    if text.lower() in {"off", "no", "false", "0"}:
        return False
    raise ValueError("it is on or off")


def parse_cache(text: str) -> Literal["strict", "loose", "none"]:
    """``cache=``, where cifs.ko's ``ro`` and ``singleclient`` mean what ``loose`` means."""
    if text in ("loose", "ro", "singleclient"):
        return "loose"
    if text == "strict":
        return "strict"
    if text == "none":
        return "none"
    raise ValueError("it is one of strict, loose, none")


def _parse_list(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return parts that are separated by colons, since commas separate options."""
    parts = tuple(text.lower().split(":"))
    if not set(parts) <= set(known):
        raise ValueError(f"it is one or more of {', '.join(known)}, separated by colons")
    if len(set(parts)) != len(parts):
        raise ValueError("it names one of them twice")
    return parts


def _parse_integer(text: str, lowest: int, highest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise ValueError("it is not a whole number")
    if not lowest <= int(text) <= highest:
        raise ValueError(f"it must be {lowest} to {highest}")
    return int(text)
