"""KDC proxies: both spellings, which realm a key is for, and that the policy's win."""

from __future__ import annotations

from pathlib import Path

import pytest

from smbfs.config.files import parse_config
from smbfs.config.kdc_proxy import (
    merge_proxies,
    parse_key,
    parse_proxies,
    proxies_by_realm,
    proxies_of,
)
from smbfs.config.options import split_options
from smbfs.config.policy import configure

PROXIES = {
    "https://proxy.example/KdcProxy": ("https://proxy.example/KdcProxy",),
    "HTTPS://proxy.example:8443": ("HTTPS://proxy.example:8443",),
    "https://[fe80::1]:443/x": ("https://[fe80::1]:443/x",),
    "https://a.example/x, https://b.example/y": ("https://a.example/x", "https://b.example/y"),
    "<https fsedge1.contoso.com:443:kdcproxy />": ("https://fsedge1.contoso.com:443/kdcproxy",),
    "<https contoso.com:443:kdcproxy/>": ("https://contoso.com:443/kdcproxy",),
    "<https contoso.com />": ("https://contoso.com/KdcProxy",),
    "<https contoso.com:444 />": ("https://contoso.com:444/KdcProxy",),
    "<https a.example:8181:Kerberos/Proxy b.example,c.example />": (
        "https://a.example:8181/Kerberos/Proxy",
        "https://b.example/KdcProxy",
        "https://c.example/KdcProxy",
    ),
    "<https a.example /><HTTPS b.example:443:x />": (
        "https://a.example/KdcProxy",
        "https://b.example:443/x",
    ),
    "<https a.example /> https://a.example/KdcProxy": ("https://a.example/KdcProxy",),
}

WRONG = [
    "",
    "http://proxy.example/KdcProxy",
    "<http proxy.example />",
    "<https />",
    "<https a.example",
    "proxy.example",
    "https://",
    "https://a.example:99999/",
    "https://user@a.example/",
    "https://a.example/\nkdc = evil",
    "https://a.example/}",
    'https://a.example/"',
    "<https a.example:443:x;y />",
    "<https a.example:123456 />",
]


@pytest.mark.parametrize("text", PROXIES)
def test_every_spelling(text: str) -> None:
    assert parse_proxies(text) == PROXIES[text]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_proxy_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"https"):
        parse_proxies(text)


def test_realms_are_in_capitals_and_nothing_else_is_one() -> None:
    assert parse_key("corp.contoso.com") == "CORP.CONTOSO.COM"
    assert parse_key(".contoso.com") == ".CONTOSO.COM"
    assert parse_key("*") == "*"
    for text in ("", ".", "*.x", "A B", "A\n", "A..B", "A = {", "A]"):
        with pytest.raises(ValueError, match="a realm is written"):
            parse_key(text)


def test_the_nearest_key_is_for_a_realm() -> None:
    proxies = {"*": ("any",), ".B.C": ("wide",), ".A.B.C": ("narrow",), "X.A.B.C": ("own",)}
    assert proxies_of("x.a.b.c", proxies) == ("own",)
    assert proxies_of("Y.A.B.C", proxies) == ("narrow",)
    assert proxies_of("A.B.C", proxies) == ("wide",)
    assert proxies_of("B.C", proxies) == ("any",)
    assert proxies_of("Z", {"Z": ("own",), "*": ("any",)}) == ("own",)
    assert proxies_of("B.C", {"X": ("other",)}) == ()


def test_what_a_krb5_conf_can_say() -> None:
    proxies = {"*": ("any",), ".B": ("wide",), "OWN": ("own",)}
    assert proxies_by_realm(proxies) == {"OWN": ("own",)}
    assert proxies_by_realm(proxies, "a.b", "c") == {
        "OWN": ("own",),
        "A.B": ("wide",),
        "C": ("any",),
    }
    assert proxies_by_realm({}, "C") == {}


@pytest.mark.parametrize(
    ("ours", "theirs", "realm", "won"),
    [
        ({"A.B": ("policy",)}, {"A.B": ("user",)}, "A.B", "policy"),
        ({"A.B": ("policy",)}, {"*": ("user",)}, "A.B", "policy"),
        ({"A.B": ("policy",)}, {"*": ("user",)}, "C", "user"),
        ({".B": ("policy",)}, {"A.B": ("user",)}, "A.B", "policy"),
        ({".B": ("policy",)}, {".A.B": ("user",)}, "X.A.B", "policy"),
        ({".A.B": ("policy",)}, {".B": ("user",)}, "X.A.B", "policy"),
        ({".A.B": ("policy",)}, {".B": ("user",)}, "X.B", "user"),
        ({"*": ("policy",)}, {"A.B": ("user",)}, "A.B", "policy"),
    ],
)
def test_the_administrators_word_for_a_realm_wins(
    ours: dict[str, tuple[str, ...]], theirs: dict[str, tuple[str, ...]], realm: str, won: str
) -> None:
    assert proxies_of(realm, merge_proxies(theirs, ours)) == (won,)


def test_files_and_command_line_together() -> None:
    policy = parse_config('[kdc_proxy]\n"A.B" = "https://policy"', Path("/policy"))
    user = parse_config('[kdc_proxy]\n"a.b" = "https://user"\nC = "https://user"', Path("/user"))

    def found(given: str, server: str = "nas") -> tuple[dict[str, tuple[str, ...]], str]:
        parsed = configure(server, split_options(given), user=user, policy=policy)
        return dict(parsed.options.kdc_proxies), " ".join(parsed.notes)

    both, notes = found("")
    assert both == {"A.B": ("https://policy",), "C": ("https://user",)}
    assert "KDC proxy for A.B: overridden by /policy" in notes
    # On the command line it is for every realm, but not against the policy.
    both, notes = found("kdc_proxy=https://here")
    assert both == {"*": ("https://here",), "A.B": ("https://policy",)}
    assert "overridden" not in notes
