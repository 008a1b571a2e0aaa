"""Which KDC proxies stand for which realm, in our spelling and in Windows'.

A key is a realm (``CORP.EXAMPLE.ORG``), all realms below a domain (``.EXAMPLE.ORG``), or ``*``, as
in Windows' policy "Specify KDC proxy servers for Kerberos clients". Case does not matter: realms
are kept in capitals, as Active Directory has them.

Spec: [MS-KKDCP] 2.1 (the path).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

ANY_REALM: Final = "*"
"""The key for realms that no other key is for, and of ``kdc_proxy=URL``."""

Proxies = Mapping[str, tuple[str, ...]]
"""Keys and their https URLs, in the order in which to try them."""

_PATH: Final = "KdcProxy"
_KEY: Final = re.compile(r"\*|\.?[\w-]+(?:\.[\w-]+)*", re.ASCII)
# What comes through goes into a krb5.conf: no blanks, quotes, braces or control characters.
_URL: Final = re.compile(r"https://[\w.~:/?#\[\]!$&()*+;=%-]+", re.ASCII | re.IGNORECASE)
_WINDOWS: Final = re.compile(r"<\s*https\s+([^<>]*?)\s*/\s*>", re.IGNORECASE)
_WINDOWS_SERVER: Final = re.compile(
    r"(?P<host>[\w.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5})(?::(?P<path>[\w./~-]+))?)?",
    re.ASCII | re.IGNORECASE,
)
_SEPARATORS: Final = re.compile(r"[\s,]+")


def parse_proxies(text: str) -> tuple[str, ...]:
    """Return the URLs of a value: ``https://proxy/KdcProxy``, ``<https proxy:443:KdcProxy />``.

    Several are separated by blanks or commas; Windows also writes several servers in one tag.
    Raises: ValueError, saying what would be right.
    """
    plain = _WINDOWS.sub(lambda tag: f" {' '.join(_windows_urls(tag[1]))} ", text)
    urls = tuple(dict.fromkeys(part for part in _SEPARATORS.split(plain) if part))
    if not urls or not all(_is_https(url) for url in urls):
        raise ValueError("it is neither an https:// address nor <https server:port:path />")
    return urls


def parse_key(text: str) -> str:
    """Return a realm, ``.domain`` or ``*`` in capitals. Raises: ValueError."""
    if not _KEY.fullmatch(text):
        raise ValueError("a realm is written like EXAMPLE.ORG, .EXAMPLE.ORG or *")
    return text.upper()


def proxies_of(realm: str, proxies: Proxies) -> tuple[str, ...]:
    """Return the URLs for a realm: its own, else those of the longest domain, else of ``*``."""
    covering = [key for key in proxies if _covers(key, realm.upper())]
    # A realm's own key is longer than those of the domains that it is in.
    best = max(covering, key=lambda key: (key != ANY_REALM, len(key)), default=None)
    return proxies[best] if best is not None else ()


def proxies_by_realm(proxies: Proxies, *realms: str) -> Proxies:
    """Return the URLs of every realm that is named, by a key or here: nobody can list the others.

    That is what a krb5.conf can say.
    """
    named = [key for key in proxies if key != ANY_REALM and not key.startswith(".")]
    found = {realm: proxies_of(realm, proxies) for realm in (*named, *map(str.upper, realms))}
    return {realm: urls for realm, urls in found.items() if urls}


def merge_proxies(weaker: Proxies, stronger: Proxies) -> Proxies:
    """Return both; of the weaker only keys for realms about which the stronger says nothing."""
    free = {
        key: urls
        for key, urls in weaker.items()
        if not any(_covers(other, key) for other in stronger)
    }
    return {**free, **stronger}


def _covers(key: str, realm: str) -> bool:
    return key in (ANY_REALM, realm) or (key.startswith(".") and realm.endswith(key))


def _windows_urls(servers: str) -> list[str]:
    urls = []
    for server in _SEPARATORS.split(servers):
        match = _WINDOWS_SERVER.fullmatch(server)
        if match is None:
            raise ValueError("in <https … /> a server is written server, server:port or "
                             "server:port:path")  # fmt: skip
        port = f":{match['port']}" if match["port"] else ""
        path = match["path"] or _PATH
        urls.append(f"https://{match['host']}{port}/{path.lstrip('/')}")
    return urls


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(_URL.fullmatch(url) and parts.hostname and parts.port != 0)
    except ValueError:
        return False
