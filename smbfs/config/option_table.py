"""Every option a mount may be given, by every spelling: ours, mount.cifs', mount(8)'s.

Options that set something are rows of :data:`OPTIONS`. The other tables say what happens
to a spelling that sets nothing: it changes nothing and says nothing, it changes nothing
and says so, or it is refused because ignoring it would betray whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from smbfs.config import values
from smbfs.config.kdc_proxy import ANY_REALM, parse_proxies
from smbfs.errors import ConfigError

Fields = Mapping[str, Any]
"""Fields of :class:`~smbfs.config.model.MountOptions` and their new values."""


class Option(NamedTuple):
    """One option that sets fields."""

    names: tuple[str, ...]
    """Spellings; the first is ours."""

    parse: Callable[[str], Fields] | None
    """Value to fields; ValueError says what would be right. None: a flag."""

    flag: Fields
    """What the flag sets."""

    metavar: str
    """What stands for the value in ``--help``; empty for a flag."""

    help: str
    """One line for ``--help``; empty keeps the option out of it."""

    smallest: bool = False
    """Of several such values the smallest counts, not the last."""

    is_switch: bool = False
    """Its value is on or off; in a file true or false."""


def _value(
    names: str,
    field: str,
    parse: Callable[[str], object],
    metavar: str = "",
    text: str = "",
    *,
    smallest: bool = False,
) -> Option:
    def fields(value: str) -> Fields:
        return {field: parse(value)}

    return Option(tuple(names.split()), fields, {}, metavar or "VALUE", text, smallest)


def _flag(names: str, text: str = "", **fields: object) -> Option:
    return Option(tuple(names.split()), None, fields, "", text)


def _switch(
    name: str, fields: Callable[[bool], Fields], metavar: str = "on|off", text: str = ""
) -> Option:
    def parse(value: str) -> Fields:
        return fields(values.parse_switch(value))

    return Option((name,), parse, {}, metavar, text, is_switch=True)


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"it is one of {', '.join(allowed)}")
        return value

    return parse


def _user(value: str) -> Fields:
    if not value:
        return {}  # "username=" stands in many an fstab, beside guest
    user, domain = values.split_user(values.parse_text(value))
    if "%" in user:
        # Not echoed: mount.cifs takes user%password.
        raise ConfigError("a password in the user's name is refused", *REFUSED["password"])
    if not user:
        raise ValueError("it names no user")
    return {"user": user} if domain is None else {"user": user, "domain": domain}


def _security(value: str) -> Fields:
    auth, signing = values.parse_security(value)
    return {"auth": auth} if signing is None else {"auth": auth, "signing": signing}


def _vers(value: str) -> Fields:
    oldest, newest = values.parse_dialects(value)
    return {"minimum_dialect": oldest, "maximum_dialect": newest}


def _kdc_proxy(value: str) -> Fields:
    return {"kdc_proxies": {ANY_REALM: parse_proxies(value)}}


def _server_default(*allowed: str) -> Callable[[str], Fields]:
    def parse(value: str) -> Fields:
        if value not in allowed:
            raise ValueError(f"this version can only do {', '.join(allowed)}")
        return {}

    return parse


def _symlink(value: str) -> Fields:
    if value == "mfsymlinks":
        return {"mfsymlinks": True}
    return _server_default("default", "native", "unix")(value)


OPTIONS: Final[tuple[Option, ...]] = (
    _value("transport", "transport", _choice("auto", "tcp", "quic"), "auto|tcp|quic",
           "how to reach the server"),
    _value("port", "port", values.parse_port, "N", "TCP port (445)"),
    _value("quic_port", "quic_port", values.parse_port, "N", "UDP port of SMB over QUIC (443)"),
    _value("ip addr", "address", values.parse_address, "ADDRESS",
           "dial this address, whatever the server's name resolves to"),
    _value("timeout", "timeout_s", values.parse_timeout, "SECONDS",
           "how long a request waits for a silent server (60)"),
    _flag("hard", "wait for the server forever", hard=True),
    _flag("soft", "give up after the timeout (the default)", hard=False),
    _value("max_channels", "max_channels", values.parse_channels, "N",
           "connections of one session (1)"),
    _flag("multichannel", max_channels=2),
    _flag("nomultichannel", max_channels=1),
    _value("quic_ca", "quic_ca", values.parse_path, "FILE", "authorities trusted over QUIC"),
    _value("quic_pin", "quic_pin", values.parse_pin, "SHA256", "the only certificate trusted"),
    _value("quic_cert", "quic_cert", values.parse_path, "FILE", "our certificate over QUIC"),
    _value("quic_key", "quic_key", values.parse_path, "FILE", "the key of quic_cert"),
    _switch("quic_0rtt", lambda on: {"quic_0rtt": on},
            text="NEGOTIATE goes along with a resumed handshake (off)"),
    _value("allowed_transports", "transport", values.parse_transports),
    Option(("user", "username"), _user, {}, "NAME", r"user: name, DOMAIN\name or name@REALM"),
    _value("domain dom workgroup", "domain", values.parse_text, "NAME", "domain of the user"),
    _value("credentials cred", "credentials", values.parse_path, "FILE",
           "file with username=, password=, domain= lines, readable by its owner only"),
    _value("auth", "auth", _choice("auto", "ntlm", "kerberos"), "auto|ntlm|kerberos",
           "how to sign on"),
    Option(("sec",), _security, {}, "KIND", ""),
    _value("cruid", "cruid", values.parse_user_id, "USER", "whose Kerberos tickets to use"),
    _value("keytab", "keytab", values.parse_path, "FILE",
           "get Kerberos tickets with the key in this file"),
    _flag("trust_dns", "let DNS say what the server's name in Kerberos is", trust_dns=True),
    _flag("block_ntlm", "never sign on with NTLM", block_ntlm=True),
    Option(("kdc_proxy",), _kdc_proxy, {}, "URL", "reach the KDC through this proxy"),
    _value("kdc_proxy_ca", "kdc_proxy_ca", values.parse_path, "FILE",
           "authorities trusted for the KDC proxy"),
    _flag("guest", "sign on without a password", guest=True),
    _flag("allow_insecure_guest", "accept a guest session, which nobody can sign",
          allow_insecure_guest=True),
    Option(("vers",), _vers, {}, "DIALECT", "dialect, or oldest-newest"),
    _value("minimum_dialect", "minimum_dialect", values.parse_dialect),
    _value("maximum_dialect", "maximum_dialect", values.parse_dialect),
    _value("signing", "signing", _choice("required", "if-offered"), "required|if-offered",
           "whether a server that can't sign is refused (required)"),
    _flag("sign", signing="required"),
    _switch("require_signing", lambda on: {"signing": "required" if on else "if-offered"}),
    _value("signing_algorithms", "signing_algorithms", values.parse_signing_algorithms,
           "NAME[:NAME…]", "signing algorithms to offer, the preferred one first"),
    _flag("seal", "encrypt everything", seal=True),
    _switch("require_encryption", lambda on: {"seal": on}),
    _switch("require_encryption_over_quic", lambda on: {"seal_over_quic": on}),
    _value("ciphers", "ciphers", values.parse_ciphers, "NAME[:NAME…]",
           "ciphers to offer, the preferred one first"),
    _value("uid", "uid", values.parse_user_id, "USER", "owner shown for every file"),
    _value("gid", "gid", values.parse_group_id, "GROUP", "group shown for every file"),
    _value("file_mode", "file_mode", values.parse_mode, "MODE", "permission bits of files"),
    _value("dir_mode dirmode", "dir_mode", values.parse_mode, "MODE",
           "permission bits of directories"),
    _flag("ro", "nothing may be changed", ro=True),
    _flag("rw", "things may be changed (the default)", ro=False),
    _flag("allow_other", "let other users of this machine in", allow_other=True),
    _flag("nonempty", "mount over a directory that is not empty", nonempty=True),
    _flag("noperm", "leave permission checks to the server", noperm=True),
    _flag("perm", noperm=False),
    _flag("posix unix linux", "use SMB 3.1.1 POSIX extensions (the default)", posix=True),
    _flag("noposix nounix nolinux", "don't use SMB 3.1.1 POSIX extensions", posix=False),
    _flag("mfsymlinks", "symbolic links as small files", mfsymlinks=True),
    _flag("nomfsymlinks", mfsymlinks=False),
    Option(("symlink",), _symlink, {}, "KIND", ""),
    Option(("reparse",), _server_default("default", "nfs"), {}, "KIND", ""),
    Option(("iocharset",), _server_default("utf8", "utf-8"), {}, "CHARSET", ""),
    _flag("nocase ignorecase", "names that differ only in case are the same", nocase=True),
    _flag("user_xattr", user_xattr=True),
    _flag("nouser_xattr", "offer no user.* extended attributes", user_xattr=False),
    _value("snapshot", "snapshot", values.parse_snapshot, "@GMT-…", "a past state of the share"),
    _value("cache", "cache", values.parse_cache, "strict|loose|none", "what may be remembered"),
    _flag("strictcache", cache="strict"),
    _flag("forcedirectio directio", cache="none"),
    _value("actimeo", "actimeo_s", values.parse_seconds, "SECONDS",
           "how long attributes are believed (1)"),
    _value("acregmax acdirmax", "actimeo_s", values.parse_seconds, smallest=True),
    _flag("noac", actimeo_s=0.0),
    _value("cache_size", "cache_size", values.parse_size, "SIZE",
           "most bytes of file data kept in memory (an eighth of it, at most 1G)"),
    _value("cache_dir", "cache_dir", values.parse_path, "DIR",
           "keep what was read on disk here, for the next mount, too"),
    _value("disk_cache_size", "disk_cache_size", values.parse_size, "SIZE",
           "most bytes kept there (10G)"),
    _value("rsize", "rsize", values.parse_transfer_size, "SIZE", "most bytes per READ"),
    _value("wsize", "wsize", values.parse_transfer_size, "SIZE", "most bytes per WRITE"),
    _flag("nohandlecache", "close files on the server at once", handle_cache=False),
    _flag("handlecache", handle_cache=True),
    _flag("nolease", "ask for no leases", leases=False),
    _flag("compress", "ask for compressed answers", compress=True),
    _flag("nostrictsync", "let close return early where a lease allows it", strict_sync=False),
    _flag("strictsync", strict_sync=True),
)  # fmt: skip

KERNEL_FLAGS: Final = {
    "noexec": ("noexec", True),
    "exec": ("noexec", False),
    "sync": ("sync", True),
    "async": ("sync", False),
    "dirsync": ("dirsync", True),
    "noatime": ("noatime", True),
    "atime": ("noatime", False),
    "nodiratime": ("nodiratime", True),
    "diratime": ("nodiratime", False),
}
"""Options that the kernel obeys, each with the flag it adds (True) or takes away."""

_OF_MOUNT: Final = """
_netdev auto noauto comment defaults dev nodev fail nofail group nogroup owner noowner user nouser
users nousers suid nosuid mand nomand relatime norelatime strictatime nostrictatime lazytime
nolazytime iversion noiversion silent loud default_permissions fsname subtype
"""
_OF_MOUNT_CIFS: Final = """
acl noacl bsize rasize closetimeo handletimeout max_cached_dirs max_credits echo_interval retrans
min_enc_offload esize noautotune noblocksend nosparse forceuid forcegid mapposix serverino
noserverino nosharesock upcall_target nodfs dfs nobrl brl intr nointr nopersistenthandles
noresilienthandles domainauto netbiosname servern unicode setuids nosetuids posixpaths
noposixpaths nowitness nolocallease bluray
"""

IGNORED: Final = frozenset((_OF_MOUNT + _OF_MOUNT_CIFS).split())
"""Changes nothing, and nobody is misled by that."""

IGNORED_PREFIXES: Final = ("x-", "X-")
"""``x-systemd.automount`` and everything else for user-space programs."""

WITHOUT_EFFECT: Final = {
    "mapchars": "names are mapped as with mapposix",
    "nomapchars": "names are mapped as with mapposix",
    "noforceuid": "uid= is shown for every file",
    "noforcegid": "gid= is shown for every file",
    "fsc": "the cache on disk is cache_dir=",
    "locallease": "leases are always the server's",
    "srcaddr": "the system chooses the local address",
    "dynperm": "permission bits are never kept in memory only",
}
"""Accepted, and said to change nothing."""

NOT_YET: Final = {
    "compress": "nothing is compressed",
    "nocase": "names are compared as the server compares them (noposix lets Samba ignore case)",
}
"""Fields whose options are understood, but change nothing in this version, and why."""

_LEAVE_IT_OUT: Final = "leave it out."

REFUSED: Final = {
    "password": (
        "every user of this machine can read the command lines of running programs.",
        "write it into a file for credentials=FILE, or leave it out and type it.",
    ),
    "multiuser": ("one mount signs on as one user.", "mount once per user."),
    "rdma": ("SMB Direct is not implemented.", _LEAVE_IT_OUT),
    "signloosely": (
        "a signature that doesn't fit means that somebody changed the data.",
        _LEAVE_IT_OUT,
    ),
    "witness": ("the witness protocol is not implemented.", _LEAVE_IT_OUT),
    "resilienthandles": ("they are not implemented, and programs would rely on them.",
                         _LEAVE_IT_OUT),
    "persistenthandles": ("they are used where the share has them, but nobody can rely on them.",
                          _LEAVE_IT_OUT),
    "cifsacl": ("Windows ACLs are not shown as mode bits in this version.", "use file_mode="),
    "idsfromsid": ("owners are not taken from SIDs in this version.", "use uid= and gid="),
    "modefromsid": ("mode bits are not taken from SIDs in this version.", "use file_mode="),
    "symlinkroot": ("targets of symbolic links are not rewritten.", _LEAVE_IT_OUT),
    "sfu": ("Services for UNIX' special files are not implemented.", _LEAVE_IT_OUT),
    "backupuid": ("backup intent is not implemented.", _LEAVE_IT_OUT),
    "forcemand": ("locks are held on this machine only.", _LEAVE_IT_OUT),
    "nodelete": ("deleting alone can't be switched off.", "use ro to allow no changes at all."),
    "remount": ("a mount can't be changed while it is up.", "unmount and mount again."),
    "allow_root": ("root alone can't be let in.", "use allow_other."),
}  # fmt: skip
"""Refused, with the reason and the remedy."""

REFUSED_ALIASES: Final = {
    "pass": "password",
    "password2": "password",
    "pass2": "password",
    "ignore_signature": "signloosely",
    "backupgid": "backupuid",
    "forcemandatorylock": "forcemand",
}
"""Other spellings of refused options."""
