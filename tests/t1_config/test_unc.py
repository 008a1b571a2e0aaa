"""Shares are named in three spellings, and anything else is a ConfigError."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smbfs.config.unc import Unc, parse_unc
from smbfs.errors import ConfigError

GOOD = {
    "//nas/media": Unc("nas", None, "media"),
    "//nas/media/": Unc("nas", None, "media"),
    r"\\nas\media": Unc("nas", None, "media"),
    r"\\nas\media\films\new": Unc("nas", None, "media", "films/new"),
    "//nas/media/films//new/": Unc("nas", None, "media", "films/new"),
    "//nas:4450/media": Unc("nas", 4450, "media"),
    "//192.168.1.2/media": Unc("192.168.1.2", None, "media"),
    "//[fe80::1]/media": Unc("fe80::1", None, "media"),
    "//[::1]:4450/c$": Unc("::1", 4450, "c$"),
    "smb://nas/media": Unc("nas", None, "media"),
    "SMB://nas/media": Unc("nas", None, "media"),
    "smb://alice@nas:4450/media/a%20b": Unc("nas", 4450, "media", "a b", "alice"),
    "smb://BED;alice@nas/media": Unc("nas", None, "media", "", "BED;alice"),
    "smb://alice@EXAMPLE.ORG@nas/media": Unc("nas", None, "media", "", "alice@EXAMPLE.ORG"),
    "//bücher.example/Märchen": Unc("xn--bcher-kva.example", None, "Märchen"),
    "//nas:445/media/10:30@noon": Unc("nas", 445, "media", "10:30@noon"),
    "//nas_1.local./share name": Unc("nas_1.local.", None, "share name"),
}

BAD = {
    "": "does not begin",
    "nas:/export": "does not begin",
    "/nas/media": "does not begin",
    "//": "names no server",
    "//nas": "no share",
    "//nas/": "no share",
    "///media": "names no server",
    "//nas:0/media": "not a port",
    "//nas:65536/media": "not a port",
    "//nas:٤٤٥/media": "not a port",
    "//nas:/media": "not a port",
    "//fe80::1/media": "needs brackets",
    "//[fe80::1/media": "not closed",
    "//[nas]/media": "not an IPv6 address",
    "//nas/media/../etc": "contains .",
    "//nas/..": "can't be a share's name",
    "//nas/a:b": "can't be a share's name",
    "//nas/" + "x" * 81: "at most 80",
    "//na s/media": "not a host name",
    "//-nas/media": "not a host name",
    "//" + "x" * 64 + ".local/media": "not a host name",
    "//alice@nas/media": "user name is written with",
    "//nas/me\0dia": "control character",
    "smb://nas/me%00dia": "control character",
    "smb://nas/%ff": "not UTF-8",
    "//nas/media/" + "x/" * 20000: "longer than",
    "//nas/media/\udcff": "not UTF-8",
    "smb://al%07ice@nas/media": "control character",
}


@pytest.mark.parametrize("text", GOOD)
def test_spellings(text: str) -> None:
    assert parse_unc(text) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_is_named(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_unc(text)
    assert BAD[text] in caught.value.why
    assert caught.value.do


@pytest.mark.parametrize(
    "text",
    [
        "smb://alice:hunter2@nas/media",
        "smb://a%3ahunter2@nas/media",
        "smb://alice%25hunter2@nas/media",
        "//alice:hunter2@nas/media",
        "//alice:hunter2@nas:445/media",
        r"\\alice:hunter2@nas\media",
        "smb:/alice:hunter2@nas/media",
        "https://alice:hunter2@nas/media",
        "alice:hunter2@nas/media",
    ],
)
def test_password_in_the_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_unc(text)
    assert "hunter2" not in f"{caught.value.what}{caught.value.why}{caught.value.do}"


def test_share_path_is_what_tree_connect_wants() -> None:
    assert parse_unc("//nas:4450/media/films").share_path == r"\\nas\media"


@pytest.mark.parametrize("unc", [unc for unc in GOOD.values() if unc.user is None])
def test_text_form_parses_to_the_same(unc: Unc) -> None:
    assert parse_unc(str(unc)) == unc


@given(
    st.one_of(
        st.text(max_size=80),
        st.tuples(
            st.sampled_from(["//", "\\\\", "smb://", "//[", "smb://u@"]),
            st.text(alphabet="nas:/\\[]@.%0aé;\0 $", max_size=40),
        ).map("".join),
    )
)
def test_any_text_is_a_share_or_a_config_error(text: str) -> None:
    try:
        unc = parse_unc(text)
    except ConfigError:
        return
    assert unc.server
    assert unc.share
    assert not {".", ".."} & set(unc.path.split("/"))
    assert "\0" not in unc.path
    assert parse_unc(str(unc)) == Unc(unc.server, unc.port, unc.share, unc.path)
