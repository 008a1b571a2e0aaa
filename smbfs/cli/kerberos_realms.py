"""Where Kerberos looks for its KDCs while a command runs: KDC proxies, where there are any."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smbfs.auth.krb5_configuration import proxied_realms
from smbfs.auth.krb5_refusals import unreachable_realm
from smbfs.cli.kdc_proxy_check import check_kdc_proxy
from smbfs.cli.runtime import make_runtime_directory
from smbfs.config.kdc_proxy import ANY_REALM, Proxies, proxies_by_realm
from smbfs.config.model import MountOptions
from smbfs.errors import AuthenticationError, ConfigError, UserError


@contextmanager
def kerberos_realms(proxies: Proxies, ca: Path | None, name: str) -> Iterator[None]:
    """Have Kerberos reach these realms by their proxies alone, in this process, while this lasts.

    ``name`` is that of our file in the runtime directory. When a KDC can't be reached inside, what
    is raised says why, see :func:`told_why`.
    Raises: UserError.
    """
    if not proxies:
        yield
        return
    path = make_runtime_directory(os.environ, os.geteuid()) / f"{name}.krb5.conf"
    with proxied_realms(proxies, ca, path):
        try:
            yield
        except AuthenticationError as error:
            told = told_why(error, proxies, ca)
            if told is error:
                raise
            raise told from error


def told_why(error: BaseException, proxies: Proxies, ca: Path | None) -> BaseException:
    """Return the error, or what keeps us from the KDC if that is what it says. May take 20 s."""
    realm = unreachable_realm(error) or ""
    urls = {name.upper(): urls for name, urls in proxies.items()}.get(realm.upper(), ())
    try:
        for url in urls[:1]:
            check_kdc_proxy(realm, url, ca)
    except UserError as failed:
        return failed
    return error


def kdc_proxies(options: MountOptions, realm: str | None) -> Proxies:
    """Return the proxies of every realm that the options name, and of the user's.

    ``realm`` is the user's, for keys that stand for many; None: :func:`default_realm`.
    Raises: ConfigError when it must be Kerberos, and nobody says in which realm.
    """
    if options.guest or options.auth == "ntlm" or not options.kdc_proxies:
        return {}
    realm = realm or default_realm()
    if not realm and options.auth == "kerberos" and ANY_REALM in options.kdc_proxies:
        raise ConfigError(
            "kdc_proxy= is given, but nobody says for which realm",
            "the user's name has none, and Kerberos has no default realm here.",
            "name the user with the realm: user=NAME@REALM.",
        )
    return proxies_by_realm(options.kdc_proxies, *filter(None, [realm]))


def realm_of(user: str | None) -> str | None:
    """Return the realm of ``name@REALM``, None where there is none."""
    return (user or "").partition("@")[2] or None


def default_realm() -> str | None:
    """Return the realm of whoever has tickets in the default cache, else libkrb5's default one.

    None without either, or without Kerberos.
    """
    try:
        import krb5
    except ImportError:
        return None
    try:
        context = krb5.init_context()
        with suppress(krb5.Krb5Error):
            cache = krb5.cc_default(context)
            return krb5.cc_get_principal(context, cache).realm.decode()
        return krb5.get_default_realm(context).decode()
    except krb5.Krb5Error:
        return None
