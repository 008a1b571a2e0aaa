"""Every option and spelling that users of mount.cifs bring along has a known effect."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs.config.model import MIB, MountOptions
from smbfs.config.option_table import IGNORED, KERNEL_FLAGS, OPTIONS, REFUSED, WITHOUT_EFFECT
from smbfs.config.options import GivenOption, ParsedOptions, parse_options, split_options
from smbfs.errors import ConfigError


def parse(text: str) -> ParsedOptions:
    return parse_options(split_options(text))


def changed(options: MountOptions) -> dict[str, object]:
    """Fields that differ from the defaults."""
    fields = MountOptions.__dataclass_fields__
    defaults = MountOptions()
    return {
        name: getattr(options, name)
        for name in fields
        if getattr(options, name) != getattr(defaults, name)
    }


SETTING: dict[str, dict[str, object]] = {
    "username=alice": {"user": "alice"},
    "user=alice": {"user": "alice"},
    r"user=BED\alice": {"user": "alice", "domain": "BED"},
    "username=BED/alice": {"user": "alice", "domain": "BED"},
    "user=alice@EXAMPLE.ORG": {"user": "alice@EXAMPLE.ORG"},
    "username=": {},
    "auth=kerberos": {"auth": "kerberos"},
    "sec=krb5": {"auth": "kerberos"},
    "sec=krb5i": {"auth": "kerberos"},
    "cruid=1000": {"cruid": 1000},
    "keytab=/etc/nas.keytab": {"keytab": Path("/etc/nas.keytab")},
    "trust_dns": {"trust_dns": True},
    "block_ntlm": {"block_ntlm": True},
    "domain=BED": {"domain": "BED"},
    "dom=BED": {"domain": "BED"},
    "workgroup=BED": {"domain": "BED"},
    "credentials=/root/nas": {"credentials": Path("/root/nas")},
    "cred=/root/nas": {"credentials": Path("/root/nas")},
    'credentials="/root/a,b"': {"credentials": Path("/root/a,b")},
    "uid=1000": {"uid": 1000},
    "uid=root": {"uid": 0},
    "gid=1000": {"gid": 1000},
    "gid=root": {"gid": 0},
    "forceuid,forcegid": {},
    "file_mode=0640": {"file_mode": 0o640},
    "dir_mode=750": {"dir_mode": 0o750},
    "dirmode=0o700": {"dir_mode": 0o700},
    "port=4450": {"port": 4450},
    "ip=192.168.1.2": {"address": "192.168.1.2"},
    "addr=fe80::1": {"address": "fe80::1"},
    "vers=default": {},
    "vers=2.0": {"minimum_dialect": "2.0.2", "maximum_dialect": "2.0.2"},
    "vers=2.1": {"maximum_dialect": "2.1"},
    "vers=3": {"minimum_dialect": "3.0"},
    "vers=3.0": {"minimum_dialect": "3.0", "maximum_dialect": "3.0"},
    "vers=3.02": {"minimum_dialect": "3.0.2", "maximum_dialect": "3.0.2"},
    "vers=3.0.2": {"minimum_dialect": "3.0.2", "maximum_dialect": "3.0.2"},
    "vers=3.1.1": {"minimum_dialect": "3.1.1"},
    "vers=3.11": {"minimum_dialect": "3.1.1"},
    "vers=2.0.2-3.0": {"minimum_dialect": "2.0.2", "maximum_dialect": "3.0"},
    "minimum_dialect=3.0": {"minimum_dialect": "3.0"},
    "maximum_dialect=3.0.2,vers=3.1.1": {"minimum_dialect": "3.1.1"},
    "snapshot=@GMT-2026.01.31-12.00.00": {"snapshot": datetime(2026, 1, 31, 12, tzinfo=UTC)},
    "snapshot=134143344000000000": {"snapshot": datetime(2026, 1, 31, 12, tzinfo=UTC)},
    "sec=ntlmssp": {"auth": "ntlm"},
    "sec=ntlmsspi": {"auth": "ntlm"},
    "sec=ntlmv2": {"auth": "ntlm"},
    "sec=ntlmv2i": {"auth": "ntlm"},
    "auth=ntlm": {"auth": "ntlm"},
    "seal": {"seal": True},
    "sign": {},
    "signing=required": {},
    "signing=if-offered": {"signing": "if-offered"},
    "signing=if-offered,sec=ntlmsspi": {"auth": "ntlm"},
    "require_signing=off": {"signing": "if-offered"},
    "require_signing=on": {},
    "signing_algorithms=aes-128-cmac:hmac-sha256": {
        "signing_algorithms": ("aes-128-cmac", "hmac-sha256")
    },
    "require_encryption=on": {"seal": True},
    "require_encryption_over_quic=on": {"seal_over_quic": True},
    "ciphers=AES-256-GCM:aes-128-gcm": {"ciphers": ("aes-256-gcm", "aes-128-gcm")},
    "allowed_transports=quic": {"transport": "quic"},
    "allowed_transports=tcp": {"transport": "tcp"},
    "allowed_transports=quic:tcp": {},
    "quic_0rtt=on": {"quic_0rtt": True},
    "guest": {"guest": True},
    "allow_insecure_guest": {"allow_insecure_guest": True},
    "ro": {"ro": True},
    "rw": {},
    "ro,rw": {},
    "allow_other": {"allow_other": True},
    "nonempty": {"nonempty": True},
    "cache=none": {"cache": "none"},
    "cache=strict": {},
    "cache=loose": {"cache": "loose"},
    "cache=ro": {"cache": "loose"},
    "cache=singleclient": {"cache": "loose"},
    "strictcache": {},
    "forcedirectio": {"cache": "none"},
    "actimeo=30": {"actimeo_s": 30.0},
    "actimeo=0.5": {"actimeo_s": 0.5},
    "acregmax=60": {"actimeo_s": 60.0},
    "acregmax=60,acdirmax=3": {"actimeo_s": 3.0},
    "acdirmax=3,acregmax=60": {"actimeo_s": 3.0},
    "noac": {"actimeo_s": 0.0},
    "cache_size=64M": {"cache_size": 64 * MIB},
    "cache_size=2GiB": {"cache_size": 2048 * MIB},
    "cache_dir=/var/cache/smbfs": {"cache_dir": Path("/var/cache/smbfs")},
    "disk_cache_size=20G": {"disk_cache_size": 20 * 1024 * MIB},
    "rsize=1048576": {"rsize": MIB},
    "wsize=64k": {"wsize": 65536},
    "nohandlecache": {"handle_cache": False},
    "handlecache": {},
    "nolease": {"leases": False},
    "timeout=5": {"timeout_s": 5.0},
    "soft": {},
    "hard": {"hard": True},
    "multichannel": {"max_channels": 2},
    "max_channels=4": {"max_channels": 4},
    "posix": {},
    "unix": {},
    "linux": {},
    "noposix": {"posix": False},
    "nounix": {"posix": False},
    "nolinux": {"posix": False},
    "mfsymlinks": {"mfsymlinks": True},
    "symlink=mfsymlinks": {"mfsymlinks": True},
    "symlink=default": {},
    "reparse=nfs": {},
    "iocharset=utf8": {},
    "kdc_proxy=https://kdc.example/KdcProxy": {
        "kdc_proxies": {"*": ("https://kdc.example/KdcProxy",)}
    },
    "kdc_proxy_ca=/etc/ca.pem": {"kdc_proxy_ca": Path("/etc/ca.pem")},
    "noperm": {"noperm": True},
    "perm": {},
    "nouser_xattr": {"user_xattr": False},
    "user_xattr": {},
    "nostrictsync": {"strict_sync": False},
    "transport=tcp": {"transport": "tcp"},
    "noexec": {"mount_flags": frozenset({"noexec"})},
    "noexec,exec": {},
    "sync,noatime": {"mount_flags": frozenset({"sync", "noatime"})},
}

QUIET = """
bsize=1048576 rasize=4194304 closetimeo=5 handletimeout=0 max_cached_dirs=16 max_credits=128
echo_interval=60 retrans=1 mapposix serverino noserverino nodfs nobrl nosharesock
upcall_target=app domainauto netbiosname=HERE servern=NAS noacl
_netdev relatime suid nosuid dev nodev mand nomand auto noauto nofail user users owner
x-systemd.automount x-systemd.requires=network-online.target X-mount.mkdir comment=nas defaults
"""

WARNED = [
    "nocase", "ignorecase", "compress", "fsc",
    "mapchars", "nomapchars",
    "noforceuid", "srcaddr=10.0.0.1",
]  # fmt: skip

REFUSED_TEXTS = {
    "password=hunter2": "command lines",
    "pass=hunter2": "command lines",
    "password2=hunter2": "command lines",
    "user=alice%hunter2": "command lines",
    r"username=BED\alice%hunter2": "command lines",
    "sec=none": "guest",
    "sec=krb5p": "seal",
    "sec=ntlm": "NTLMv1",
    "sec=lanman": "LANMAN",
    "signloosely": "changed",
    "ignore_signature": "changed",
    "multiuser": "one user",
    "rdma": "SMB Direct",
    "witness": "witness",
    "persistenthandles": "rely",
    "resilienthandles": "rely",
    "cifsacl": "ACL",
    "idsfromsid": "SID",
    "modefromsid": "SID",
    "symlinkroot=/x": "symbolic links",
    "reparse=wsl": "only",
    "iocharset=iso8859-1": "utf8",
    "vers=1.0": "SMB1",
    "vers=4": "one of",
    "vers=3.0-2.1": "oldest",
    "file_mode=rw": "octal",
    "file_mode=0888": "octal",
    "uid=nobody-has-this-name": "no such user",
    "port=0": "1 to 65535",
    "port": "needs a value",
    "seal=yes": "takes no value",
    "timeout=0": "more than 0",
    "timeout=-1": "seconds",
    "cache_size=-1": "written like",
    "cache_size=64Q": "written like",
    "rsize=1": "4K to 8M",
    "ip=nas": "IP address",
    "quic_pin=abc": "64 hex",
    "kdc_proxy=http://kdc": "https",
    "ciphers=aes-128-gcm:des": "one or more of",
    "ciphers=aes-128-gcm:aes-128-gcm": "twice",
    "ciphers=": "one or more of",
    "signing_algorithms=md5": "one or more of",
    "allowed_transports=udp": "one or more of",
    "minimum_dialect=1.0": "one of",
    "require_signing=maybe": "on or off",
    "require_signing": "needs a value",
    "quic_0rtt=maybe": "on or off",
    "snapshot=yesterday": "@GMT",
    "snapshot=@GMT-2026.02.30-12.00.00": "@GMT",
    "snapshot=99999999999999999999": "@GMT",
    'credentials="/x': "",
    "=value": "",
}

CONTRADICTING = [
    "guest,credentials=/root/nas",
    "guest,signing=required",
    "guest,sign",
    "guest,sec=ntlmsspi",
    "guest,seal",
    "seal,vers=2.1",
    "quic_key=/k",
    "guest,block_ntlm",
    "auth=ntlm,block_ntlm",
    "minimum_dialect=3.0.2,maximum_dialect=3.0",
    "seal,ciphers=aes-128-gcm,vers=3.0",
    "signing_algorithms=aes-128-gmac,vers=3.0.2",
    "signing_algorithms=aes-128-cmac,vers=2.1",
    "transport=quic,vers=3.0",
]


@pytest.mark.parametrize("text", SETTING)
def test_options_that_set_something(text: str) -> None:
    parsed = parse(text)
    assert changed(parsed.options) == SETTING[text]
    assert parsed.warnings == ()


@pytest.mark.parametrize("text", QUIET.split())
def test_options_that_change_nothing_and_mislead_nobody(text: str) -> None:
    parsed = parse(text)
    assert parsed.options == MountOptions()
    assert parsed.ignored == (text.partition("=")[0],)
    assert parsed.warnings == ()


@pytest.mark.parametrize("text", WARNED)
def test_options_without_effect_say_so(text: str) -> None:
    (warning,) = parse(text).warnings
    assert "no effect" in warning


@pytest.mark.parametrize("text", REFUSED_TEXTS)
def test_options_that_are_refused_say_why(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    error = caught.value
    assert REFUSED_TEXTS[text] in error.why
    assert error.what
    assert "hunter2" not in f"{error.what}{error.why}{error.do}"


@pytest.mark.parametrize("text", CONTRADICTING)
def test_contradictions_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"contradict|without") as caught:
        parse(text)
    # Each is named, and where it stands.
    assert all(f"{option} (-o)" in caught.value.why for option in text.split(","))


@pytest.mark.parametrize(
    ("typo", "meant"),
    [("sael", "seal"), ("usrname=x", "username"), ("cachesize=1", "cache_size"), ("Seal", "seal"),
     ("multi-user", "multiuser"), ("passwd=hunter2", "password")],
)  # fmt: skip
def test_unknown_option_names_the_nearest(typo: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(typo)
    assert caught.value.do == f"did you mean {meant}?"
    assert "hunter2" not in caught.value.what


def test_unknown_option_far_from_any_points_to_help() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("qqqqqq")
    assert "--help" in caught.value.do


def test_sloppy_tolerates_unknown_options_only() -> None:
    parsed = parse_options([*split_options("zzzz,seal"), GivenOption("sloppy", None, "-s")])
    assert parsed.options.seal
    assert "zzzz" in parsed.warnings[0]
    with pytest.raises(ConfigError):
        parse_options([*split_options("port=x"), GivenOption("sloppy", None, "-s")])


def test_required_signing_is_the_default_and_is_known_to_be_one() -> None:
    parsed = parse("signing=required")
    assert parsed.given == {"signing"}
    assert parse("").given == frozenset()
    assert MountOptions().signing == "required"


def test_no_spelling_has_two_meanings() -> None:
    tables = [[name for option in OPTIONS for name in option.names], KERNEL_FLAGS, WITHOUT_EFFECT]
    names = [name for table in tables for name in table]
    assert len(names) == len(set(names))
    # `user` alone is mount(8)'s, `user=` is ours.
    assert set(names) & (IGNORED | set(REFUSED)) <= {"user"}


def test_booleans_of_a_file() -> None:
    def one(name: str, value: str | bool) -> MountOptions:
        return parse_options([GivenOption(name, value, "file")]).options

    assert one("seal", True).seal
    assert not one("posix", False).posix
    assert not one("block_ntlm", False).block_ntlm
    assert one("quic_0rtt", True).quic_0rtt
    assert one("require_signing", False).signing == "if-offered"
    with pytest.raises(ConfigError, match=r"sign.* is wrong"):
        one("sign", False)


NAMES = [name for option in OPTIONS for name in option.names]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(NAMES), st.text(max_size=12)).map("=".join),
            st.sampled_from(NAMES),
            st.text(alphabet='abc=,"\\;x-.0', max_size=12),
        ),
        max_size=4,
    ).map(",".join)
)
def test_any_text_is_options_or_a_config_error(text: str) -> None:
    try:
        parsed = parse(text)
    except ConfigError:
        return
    assert parsed.given <= set(MountOptions.__dataclass_fields__)


def test_who_mounts_hard_waits_for_ever() -> None:
    assert MountOptions(timeout_s=5.0).patience_s == 5.0
    assert MountOptions(timeout_s=5.0, hard=True).patience_s == float("inf")
