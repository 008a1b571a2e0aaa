"""The policy as a table: what system, user and command line say of each key, and what comes of it.

Where it is refused, who asked and who decided are named with file and line.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import pytest

from smbfs.config.files import TOP_KEYS, parse_config
from smbfs.config.model import CIPHERS, SIGNING_ALGORITHMS, MountOptions
from smbfs.config.options import ParsedOptions, split_options
from smbfs.config.policy import PolicyRefused, configure, lowered
from smbfs.config.unc import parse_unc
from smbfs.errors import ConfigError

USER = Path("/home/alice/.config/smbfs/config.toml")
POLICY = Path("/etc/smbfs/policy.toml")

Says = Literal["nothing", "strict", "lax"]


def configured(
    given: str = "", *, user: str = "", policy: str = "", server: str = "nas"
) -> ParsedOptions:
    return configure(
        server,
        split_options(given),
        user=parse_config(user, USER),
        policy=parse_config(policy, POLICY),
    )


def merged(
    given: str = "", *, user: str = "", policy: str = "", server: str = "nas"
) -> MountOptions:
    return configured(given, user=user, policy=policy, server=server).options


@dataclass(frozen=True)
class Row:
    """One key: a strict and a lax value in files and on the command line, and what they come to."""

    key: str
    field: str
    strict: str
    lax: str
    given_strict: str
    given_lax: str
    means_strict: object
    means_lax: object
    default: object


GCM256 = ("aes-256-gcm",)
GMAC = ("aes-128-gmac",)

TABLE = [
    Row("require_signing", "signing", "true", "false", "signing=required", "signing=if-offered",
        "required", "if-offered", "required"),
    Row("signing_algorithms", "signing_algorithms", '["aes-128-gmac"]',
        '["aes-128-gmac", "hmac-sha256"]', "signing_algorithms=aes-128-gmac",
        "signing_algorithms=aes-128-gmac:hmac-sha256", GMAC, (*GMAC, "hmac-sha256"),
        SIGNING_ALGORITHMS),
    Row("allow_insecure_guest", "allow_insecure_guest", "false", "true", "", "allow_insecure_guest",
        False, True, False),
    Row("require_encryption", "seal", "true", "false", "seal", "require_encryption=off",
        True, False, False),
    Row("require_encryption_over_quic", "seal_over_quic", "true", "false",
        "require_encryption_over_quic=on", "require_encryption_over_quic=off", True, False, False),
    Row("ciphers", "ciphers", '["aes-256-gcm"]', '["aes-128-gcm", "aes-256-gcm"]',
        "ciphers=aes-256-gcm", "ciphers=aes-128-gcm:aes-256-gcm", GCM256,
        ("aes-128-gcm", "aes-256-gcm"), CIPHERS),
    Row("block_ntlm", "block_ntlm", "true", "false", "block_ntlm", "", True, False, False),
    Row("minimum_dialect", "minimum_dialect", '"3.0"', '"2.0.2"', "vers=3.0", "vers=2.0.2-3.1.1",
        "3.0", "2.0.2", "2.1"),
    Row("maximum_dialect", "maximum_dialect", '"3.0"', '"3.1.1"', "maximum_dialect=3.0",
        "vers=3.1.1", "3.0", "3.1.1", "3.1.1"),
    Row("allowed_transports", "transport", '["tcp"]', '["quic", "tcp"]', "transport=tcp",
        "transport=auto", "tcp", "auto", "auto"),
]  # fmt: skip

CASES = [
    pytest.param(row, *says, id=f"{row.key}-{'-'.join(says)}")
    for row in TABLE
    for says in product(("nothing", "strict", "lax"), repeat=3)
]


@pytest.mark.parametrize(("row", "system", "user", "line"), CASES)
def test_every_key_system_by_user_by_command_line(
    row: Row, system: Says, user: Says, line: Says
) -> None:
    """The strongest who says something decides, unless the system is stricter: that is refused."""

    def file(says: Says) -> str:
        # Not in the first line, so that the number means something.
        return {"nothing": "", "strict": f"\n\n{row.key} = {row.strict}",
                "lax": f"\n{row.key} = {row.lax}"}[says]  # fmt: skip

    given = {"nothing": "", "strict": row.given_strict, "lax": row.given_lax}[line]
    asked = (line if given else "nothing", user, system)
    decides = next((says for says in asked if says != "nothing"), "nothing")
    if (system, decides) == ("strict", "lax"):
        with pytest.raises(PolicyRefused) as caught:
            configured(given, user=file(user), policy=file(system))
        who = f"-o: {given}" if given else f"{USER}, line 2: {row.key} = {row.lax}"
        assert caught.value.what == f"{who} is refused by the administrator's policy"
        assert caught.value.why == f"{POLICY}, line 3, says {row.key} = {row.strict}."
        assert caught.value.do
        return
    parsed = configured(given, user=file(user), policy=file(system))
    means = {"nothing": row.default, "strict": row.means_strict, "lax": row.means_lax}
    assert getattr(parsed.options, row.field) == means[decides]
    # What the policy alone has decided is told to who asks for it.
    told = [note for note in parsed.notes if note.startswith("decided by policy")]
    assert len(told) == (system != "nothing" and asked[:2] == ("nothing", "nothing"))


def test_the_table_has_every_key() -> None:
    assert {row.key for row in TABLE} == set(TOP_KEYS) - {"block_ntlm_exceptions"}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.key)
def test_the_policys_section_for_a_server_is_an_exception_in_both_directions(row: Row) -> None:
    laxer = f"{row.key} = {row.strict}\n[server.nas]\n{row.key} = {row.lax}"
    assert getattr(merged(policy=laxer), row.field) == row.means_lax
    assert getattr(merged(row.given_lax, policy=laxer), row.field) == row.means_lax
    assert getattr(merged(policy=laxer, server="other"), row.field) == row.means_strict
    stricter = f"{row.key} = {row.lax}\n[server.NAS]\n{row.key} = {row.strict}"
    assert getattr(merged(policy=stricter, server="Nas."), row.field) == row.means_strict
    user = f"[server.nas]\n{row.key} = {row.lax}"
    with pytest.raises(PolicyRefused) as caught:
        merged(user=user, policy=stricter)
    assert f"{USER}, line 2: {row.key} = " in caught.value.what
    assert f"{POLICY}, line 3, says {row.key} = " in caught.value.why
    elsewhere = merged(user=user, policy=stricter, server="other")
    assert getattr(elsewhere, row.field) == row.means_lax


OTHERS = [
    # policy, user's file, command line, who is refused, by what
    ("[server.nas]\nseal = true", "", "require_encryption=off", "-o: require_encryption=off",
     "line 2, says seal = true"),
    ('[server.nas]\nsigning = "required"', "require_signing = false", "",
     f"{USER}, line 1: require_signing = false", 'line 2, says signing = "required"'),
    ('[server.nas]\nvers = "3.1.1"', "", "vers=3.0", "-o: vers=3.0", 'line 2, says vers = "3.1.1"'),
    ('[server.nas]\ntransport = "quic"', "", "transport=tcp", "-o: transport=tcp",
     'line 2, says transport = "quic"'),
    ('[server.nas]\nquic_pin = "' + "0" * 64 + '"', "", "quic_ca=/mine", "-o: quic_ca=/mine",
     "line 2, says quic_pin"),
    ('[server.nas]\nquic_ca = "/ours"', "", "quic_pin=" + "0" * 64, "-o: quic_pin=000",
     'line 2, says quic_ca = "/ours"'),
    ("[server.nas]\nquic_0rtt = false", "", "quic_0rtt=on", "-o: quic_0rtt=on",
     "line 2, says quic_0rtt = false"),
    ("[server.nas]\ntrust_dns = false", "", "trust_dns", "-o: trust_dns",
     "line 2, says trust_dns = false"),
    ("[server.nas]\nguest = false", "", "guest", "-o: guest", "line 2, says guest = false"),
    ("allow_insecure_guest = false", "", "guest", "-o: guest",
     "line 1, says allow_insecure_guest = false"),
    ("require_signing = true", "", "guest", "-o: guest", "line 1, says require_signing = true"),
    ("require_encryption = true", "", "guest", "-o: guest", "line 1, says require_encryption"),
    ("block_ntlm = true", "", "guest", "-o: guest", "line 1, says block_ntlm = true"),
    ("block_ntlm = true", 'block_ntlm_exceptions = ["nas"]', "",
     f'{USER}, line 1: block_ntlm_exceptions = ["nas"]', "line 1, says block_ntlm = true"),
    ('minimum_dialect = "3.0"', "", "vers=2.1", "-o: vers=2.1", 'says minimum_dialect = "3.0"'),
    ('allowed_transports = ["quic"]', "", "transport=tcp", "-o: transport=tcp",
     'says allowed_transports = ["quic"]'),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "user", "given", "who", "why"), OTHERS)
def test_what_else_is_refused(policy: str, user: str, given: str, who: str, why: str) -> None:
    with pytest.raises(PolicyRefused) as caught:
        merged(given, user=user, policy=policy)
    assert caught.value.what.startswith(who)
    assert f"{POLICY}, {why}" in caught.value.why or why in caught.value.why


CONTRADICTIONS = [
    # policy, user's file, command line, the two lines that are named
    ("block_ntlm = true", "", "auth=ntlm", ["auth=ntlm (-o)", f"({POLICY}, line 1)"]),
    ('allowed_transports = ["quic"]', "", "maximum_dialect=3.0",
     ["maximum_dialect=3.0 (-o)", f"({POLICY}, line 1)"]),
    ('minimum_dialect = "3.0"', 'maximum_dialect = "2.1"', "",
     [f'maximum_dialect = "2.1" ({USER}, line 1)', f"({POLICY}, line 1)"]),
    ('ciphers = ["aes-256-gcm"]', "", "seal,vers=3.0",
     ["seal (-o)", "vers=3.0 (-o)", f'ciphers = ["aes-256-gcm"] ({POLICY}, line 1)']),
    ('signing_algorithms = ["aes-128-gmac"]', "", "vers=3.0",
     ["vers=3.0 (-o)", f"({POLICY}, line 1)"]),
    ("require_encryption = true", "", "maximum_dialect=2.1",
     ["maximum_dialect=2.1 (-o)", f"({POLICY}, line 1)"]),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "user", "given", "named"), CONTRADICTIONS)
def test_who_contradicts_the_policy_is_refused(
    policy: str, user: str, given: str, named: list[str]
) -> None:
    with pytest.raises(PolicyRefused) as caught:
        merged(given, user=user, policy=policy)
    assert all(each in caught.value.why for each in named)


def test_a_contradiction_of_the_policys_own_is_nobody_elses_fault() -> None:
    policy = 'require_encryption = true\nmaximum_dialect = "2.1"'
    with pytest.raises(ConfigError, match="contradict") as caught:
        merged(policy=policy)
    assert not isinstance(caught.value, PolicyRefused)
    assert f'maximum_dialect = "2.1" ({POLICY}, line 2)' in caught.value.why


@pytest.mark.parametrize(
    ("section", "server"),
    [("Bücher.example.", "xn--bcher-kva.example"), ("bücher.example", "BÜCHER.example"),
     ("[::1]", "0:0::1"), ("FE80::0:1", "fe80::1"), ("nas", "NAS."), ("10.0.0.7", "10.0.0.7")],
)  # fmt: skip
def test_a_section_is_for_every_spelling_of_its_server(section: str, server: str) -> None:
    host = f"[{server}]" if ":" in server else server
    server = parse_unc(f"//{host}/share").server
    assert merged(policy=f"[server.'{section}']\nseal = true", server=server).seal
    exception = f"block_ntlm = true\nblock_ntlm_exceptions = ['{section}']"
    assert not merged(policy=exception, server=server).block_ntlm


def test_exceptions_of_block_ntlm_hold_for_their_own_file() -> None:
    policy = 'block_ntlm = true\nblock_ntlm_exceptions = ["Old-NAS"]'
    assert merged(policy=policy).block_ntlm
    assert not merged(policy=policy, server="old-nas").block_ntlm
    # A user can be stricter, and has exceptions from that.
    assert merged(user="block_ntlm = true", policy=policy, server="old-nas").block_ntlm
    assert merged("block_ntlm", policy=policy, server="old-nas").block_ntlm
    user = 'block_ntlm = true\nblock_ntlm_exceptions = ["nas"]'
    assert not merged(user=user).block_ntlm
    assert merged(user=user, server="other").block_ntlm


def test_an_exception_is_not_for_any_machine_that_is_called_so() -> None:
    policy = "require_signing = true\n[server.nas]\nrequire_signing = false"
    assert merged(policy=policy).signing == "if-offered"
    with pytest.raises(PolicyRefused) as caught:
        merged("ip=192.0.2.1", policy=policy)
    assert caught.value.what.startswith("-o: ip=192.0.2.1 is refused")
    assert f"{POLICY}, line 3" in caught.value.why
    # Where nothing is laxer, or the administrator names the address, it is as anywhere.
    assert merged("ip=192.0.2.1", policy=policy, server="other").address
    assert merged("ip=192.0.2.1", policy="[server.nas]\nseal = true").address
    assert merged(policy=policy + '\nip = "192.0.2.1"').address == "192.0.2.1"


def test_a_guest_by_the_administrators_own_word() -> None:
    policy = """
require_signing = true
allow_insecure_guest = false
[server.kiosk]
require_signing = false
allow_insecure_guest = true
"""
    assert merged("guest", policy=policy, server="kiosk").guest
    by_default = merged(policy=policy + "guest = true", server="kiosk")
    assert (by_default.guest, by_default.signing) == (True, "if-offered")


def test_what_protects_nobody_is_a_default_in_the_policy() -> None:
    user = "require_encryption = true\n[server.nas]\nactimeo = 5\nport = 4450"
    policy = "[server.NAS]\nactimeo = 9\nrsize = '64K'"
    options = merged("actimeo=1", user=user, policy=policy)
    assert (options.seal, options.actimeo_s, options.port) == (True, 1.0, 4450)
    assert options.rsize == 65536
    assert merged(user=user, policy=policy).actimeo_s == 5.0
    assert merged(user=user, server="other").port is None


def test_what_is_laxer_than_the_defaults_is_known_with_who_said_so() -> None:
    def said(given: str = "", user: str = "", policy: str = "") -> list[str]:
        return [str(each) for each in lowered(configured(given, user=user, policy=policy))]

    assert said("signing=if-offered,seal,ciphers=aes-128-gcm,transport=tcp,block_ntlm") == [
        "signing=if-offered (-o)"
    ]
    assert said(user="require_signing = false") == [f"require_signing = false ({USER}, line 1)"]
    assert said(policy="[server.nas]\nrequire_signing = false") == [
        f"require_signing = false ({POLICY}, line 2)"
    ]
    assert said("signing=required", user="require_signing = false") == []
    assert said("vers=2.0,quic_0rtt=on,guest,signing=if-offered,allow_insecure_guest") == [
        "signing=if-offered (-o)",
        "allow_insecure_guest (-o)",
        "vers=2.0 (-o)",
        "quic_0rtt=on (-o)",
    ]
    assert said("trust_dns,kdc_proxy_ca=/ca,quic_ca=/ca") == ["trust_dns (-o)"]
