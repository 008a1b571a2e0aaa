"""A Kerberos configuration of our own, in front of the system's: realms reached by a KDC proxy.

libkrb5 reads the files of ``KRB5_CONFIG`` in their order and leaves out those that are missing.
Ours comes first and marks its realms as final: what the others say of these does not count, so
that nobody is asked but the proxy. Nothing else is in it. Before any file, libkrb5 asks locator
plugins (sssd's, winbind's), where there are some: what these know of a realm we can't change.

Spec: [MS-KKDCP] 3.1; krb5.conf(5), ``KRB5_CONFIG``, ``kdc``, ``http_anchors``.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from smbfs.errors import ConfigError

VARIABLE: Final = "KRB5_CONFIG"
_SYSTEM: Final = "/etc/krb5.conf"
_DEFAULT_PATH: Final = "KdcProxy"
"""Of the URL. Spec: [MS-KKDCP] 2.1."""
_REALM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
# What would end a value, or begin something else, in krb5.conf is not in an address, either.
_URL: Final = re.compile(r"[!#-\[\]^_`a-z|~]+", re.ASCII)


@contextmanager
def proxied_realms(
    proxies: Mapping[str, Sequence[str]],
    ca: Path | None,
    path: Path,
    environment: MutableMapping[str, str] = os.environ,
) -> Iterator[None]:
    """Have libkrb5 reach the KDCs of these realms by their proxies alone (https URLs, in order).

    ``ca`` is a PEM file of the authorities that may sign the proxies' certificates; None: those
    that the system trusts. ``path`` is where our file is while this lasts, in a private folder;
    ``environment`` is that of whoever uses libkrb5 meanwhile. Without proxies nothing happens.
    Raises: ConfigError for a realm or a URL that can't be written into such a file.
    """
    if not proxies:
        yield
        return
    _write(path, configuration(proxies, ca))
    before = environment.get(VARIABLE)
    environment[VARIABLE] = f"{path}:{before or _SYSTEM}"
    try:
        yield
    finally:
        # What others have put before it meanwhile stays.
        rest = ":".join(each for each in environment[VARIABLE].split(":") if each != str(path))
        if before is None and rest == _SYSTEM:
            del environment[VARIABLE]
        else:
            environment[VARIABLE] = rest
        path.unlink(missing_ok=True)


def configuration(proxies: Mapping[str, Sequence[str]], ca: Path | None) -> str:
    """Return the text of the file. Windows tells no upper from lower case in realms; we do both.

    Raises: ConfigError as above.
    """
    lines = ["[realms]"]
    for realm, urls in ({name.upper(): proxies[name] for name in proxies} | dict(proxies)).items():
        if not _REALM.fullmatch(realm):
            raise ConfigError(
                f"{realm!r} is no Kerberos realm",
                "a realm is written like CORP.EXAMPLE.ORG.",
                "correct it in [kdc_proxy] or in the user's name.",
            )
        lines.append(f"    {realm} = {{")
        # Who is told that a password is wrong asks the realm's primary KDC once more, and looks
        # for that in the DNS, unless it knows that it has just asked it.
        for url in urls:
            kdc = proxy_address(url)
            lines += [f"        kdc = {kdc}", f"        primary_kdc = {kdc}"]
        if ca is not None:
            lines.append(f"        http_anchors = FILE:{ca}")
        lines.append("    }*")
    return "\n".join(lines) + "\n"


def proxy_address(url: str) -> str:
    """Return a proxy's URL as libkrb5 understands it, its path ``/KdcProxy`` if it has none.

    Raises: ConfigError.
    """
    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname or "", parts.port, parts.username
    except ValueError:
        host, port, user = "", None, None
    address = f"https://{f'[{host}]' if ':' in host else host}" + (f":{port}" if port else "")
    path = url.partition("://")[2].partition("/")[2] or _DEFAULT_PATH
    address = f"{address}/{path}"
    if not host or user is not None or "#" in path or not _URL.fullmatch(address):
        raise ConfigError(
            f"{url} is no address of a KDC proxy",
            "it is written like https://proxy.example.org/KdcProxy.",
            "correct kdc_proxy.",
        )
    return address


def _write(path: Path, text: str) -> None:
    """Put the file there at once: who reads the one of a moment ago reads all of it."""
    file, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(file, "w") as out:
            out.write(text)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
