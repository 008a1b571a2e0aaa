"""Where passwords are kept: the desktop's Secret Service, or any backend of the keyring library.

Everything here blocks, for ever if the keyring does: it runs in a process of its own
(:mod:`smbfs.auth.keyring_child`).

In the Secret Service each password has the attributes of libsecret's network passwords, by which
GNOME's own client and ``secret-tool`` find ours, and we find theirs. Other backends know only a
service and a user: there, one value holds what there is for a server.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from smbfs.auth.keyring_entries import STANDARD_PORT, KeyringEntry, parse_port
from smbfs.config.values import split_user
from smbfs.errors import SmbfsError

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend
    from keyring.backends.SecretService import Keyring as SecretService
    from secretstorage import Collection, Item

_PROTOCOL: Final = {"protocol": "smb"}
_SCHEMA: Final = {"xdg:schema": "org.gnome.keyring.NetworkPassword"}
_SERVICE: Final = "smbfs"
_DESKTOP_BACKENDS: Final = "keyring.backends."
_SECOND_NS: Final = 1_000_000_000


class Trouble(StrEnum):
    """Why a keyring can't be used."""

    ABSENT = "absent"
    LOCKED = "locked"
    SWITCHED_OFF = "switched off"
    PLAIN_TEXT = "plain text"
    NOT_LOADED = "not loaded"
    NO_TERMINAL = "no terminal"
    WRONG_PASSPHRASE = "wrong passphrase"  # noqa: S105 - no password
    SILENT = "silent"
    FAILED = "failed"


class KeyringTrouble(SmbfsError):
    """The keyring can't be used; ``about`` never quotes what is in it."""

    def __init__(self, kind: Trouble, about: str = "") -> None:
        super().__init__(f"{kind}: {about}")
        self.kind = kind
        self.about = about


class Store(Protocol):
    """Passwords by server. Every method may block, and raise what its backend does."""

    def make_ready(self, server: str) -> None:
        """Have the user unlock it, so that :meth:`put` will work. Raises: KeyringTrouble."""

    def entries(self, server: str, *, may_ask: bool) -> list[KeyringEntry]:
        """Return all of a server's. With ``may_ask`` the user may be asked to unlock them."""

    def put(self, entry: KeyringEntry) -> None:
        """Store a password in place of what was there for the same."""

    def remove(self, entries: Sequence[KeyringEntry]) -> None:
        """Remove passwords of one server."""


def open_store() -> Store:
    """Return the keyring that the user has chosen, else the desktop's.

    The choice is the keyring library's: ``PYTHON_KEYRING_BACKEND``, or ``keyringrc.cfg``.
    Raises: KeyringTrouble.
    """
    import keyring.core
    from keyring.backends import SecretService, chainer, fail, null

    try:
        # What is installed by the way is no choice: it may ask for passphrases, or hide nothing.
        keyring.core.init_backend(lambda backend: _module(backend).startswith(_DESKTOP_BACKENDS))
    except (ImportError, AttributeError, RuntimeError, ValueError) as error:
        name = os.environ.get("PYTHON_KEYRING_BACKEND", "of keyringrc.cfg")
        raise KeyringTrouble(
            Trouble.NOT_LOADED, f"the keyring {name}: {type(error).__name__}: {error}"
        ) from error
    backend = keyring.core.get_keyring()
    if isinstance(backend, chainer.ChainerBackend):
        backend = backend.backends[0]
    if isinstance(backend, fail.Keyring):
        raise KeyringTrouble(Trouble.ABSENT)
    name = f"{_module(backend)}.{type(backend).__name__}"
    if isinstance(backend, null.Keyring):
        raise KeyringTrouble(Trouble.SWITCHED_OFF, name)
    if any("plaintext" in kind.__name__.lower() for kind in type(backend).__mro__):
        raise KeyringTrouble(Trouble.PLAIN_TEXT, name)
    if isinstance(backend, SecretService.Keyring):
        return SecretServiceStore(backend)
    return BackendStore(backend)


def _module(backend: KeyringBackend) -> str:
    return type(backend).__module__


class SecretServiceStore:
    """The desktop's own: GNOME's keyring, KDE's wallet, KeePassXC."""

    def __init__(self, service: SecretService) -> None:
        self._service = service

    def make_ready(self, server: str) -> None:  # noqa: ARG002 - all are in one collection
        """See :class:`Store`."""
        with closing(self._collection().connection):
            pass

    def entries(self, server: str, *, may_ask: bool) -> list[KeyringEntry]:
        """See :class:`Store`."""
        with self._items(server, may_ask=may_ask) as items:
            found = []
            for entry, item in items:
                with suppress(UnicodeDecodeError):  # not a password, then
                    password = item.get_secret().decode()
                    changed_ns = item.get_modified() * _SECOND_NS
                    found.append(replace(entry, password=password, changed_ns=changed_ns))
            return found

    def put(self, entry: KeyringEntry) -> None:
        """See :class:`Store`."""
        collection = self._collection()
        with closing(collection.connection), self._items(entry.server, may_ask=True) as items:
            # Not "replace": that takes the password of a share for the server's, whose attributes
            # it has. And a secret that is set to what it was gets no new time.
            collection.create_item(_label(entry), _attributes(entry), entry.password.encode())
            for before, item in items:
                if before.key == entry.key:
                    item.delete()

    def remove(self, entries: Sequence[KeyringEntry]) -> None:
        """See :class:`Store`."""
        keys = {entry.key for entry in entries}
        with self._items(entries[0].server, may_ask=True) as items:
            for entry, item in items:
                if entry.key in keys:
                    item.delete()

    def _collection(self) -> Collection:
        """Return where new passwords go, and unlock it; the connection is to be closed."""
        found: Collection = self._service.get_preferred_collection()  # type: ignore[no-untyped-call]
        return found

    @contextmanager
    def _items(self, server: str, *, may_ask: bool) -> Iterator[list[tuple[KeyringEntry, Item]]]:
        """Find a server's passwords in all collections, and unlock them."""
        import secretstorage

        with closing(secretstorage.dbus_init()) as connection:
            found = []
            # Attributes are compared as they are. Asking for all servers' would unlock for nothing.
            for name in dict.fromkeys((server.lower(), server)):
                wanted = {**_PROTOCOL, "server": name}
                for item in secretstorage.search_items(connection, wanted):
                    if item.is_locked():
                        _unlock(item, may_ask=may_ask)
                    entry = _entry(item.get_attributes())
                    if entry is not None:
                        found.append((entry, item))
            yield found


def _unlock(item: Item, *, may_ask: bool) -> None:
    if not may_ask or item.unlock() or item.is_locked():
        raise KeyringTrouble(Trouble.LOCKED)


def _attributes(entry: KeyringEntry) -> dict[str, str]:
    attributes = {**_SCHEMA, **_PROTOCOL, "server": entry.server, "user": entry.user}
    if entry.domain:
        attributes["domain"] = entry.domain
    if entry.share:
        attributes["object"] = entry.share
    if entry.port != STANDARD_PORT:
        attributes["port"] = str(entry.port)
    return attributes


def _entry(attributes: Mapping[str, str]) -> KeyringEntry | None:
    port = parse_port(attributes.get("port"))
    server = attributes.get("server")
    user, domain = split_user(attributes.get("user") or "")
    if port is None or not server or not user:
        return None
    return KeyringEntry(
        server=server.lower(),
        port=port,
        share=attributes.get("object") or None,
        user=user,
        domain=attributes.get("domain") or domain,
    )


def _label(entry: KeyringEntry) -> str:
    return f"{entry.qualified_name} at {entry.place} (SMB)"


class BackendStore:
    """Any other backend of the keyring library, which knows a password by two names."""

    def __init__(self, backend: KeyringBackend) -> None:
        self._backend = backend

    def make_ready(self, server: str) -> None:
        """See :class:`Store`."""
        self.entries(server, may_ask=True)

    def entries(self, server: str, *, may_ask: bool) -> list[KeyringEntry]:  # noqa: ARG002
        """See :class:`Store`. Who may not be asked has no terminal."""
        text = self._backend.get_password(_SERVICE, server.lower())
        if text is None:
            return []
        try:
            return [KeyringEntry.from_fields(fields) for fields in json.loads(text)]
        except (ValueError, TypeError, RecursionError):
            # The cause quotes passwords: it stays here.
            about = f"what it holds for {server} can't be read"
            raise KeyringTrouble(Trouble.FAILED, about) from None

    def put(self, entry: KeyringEntry) -> None:
        """See :class:`Store`."""
        entry = replace(entry, changed_ns=int(datetime.now(UTC).timestamp() * _SECOND_NS))
        others = self._others([entry])
        self._write(entry.server, [*others, entry])

    def remove(self, entries: Sequence[KeyringEntry]) -> None:
        """See :class:`Store`."""
        server, others = entries[0].server, self._others(entries)
        if others:
            self._write(server, others)
        else:
            self._backend.delete_password(_SERVICE, server)

    def _others(self, entries: Sequence[KeyringEntry]) -> list[KeyringEntry]:
        keys = {entry.key for entry in entries}
        known = self.entries(entries[0].server, may_ask=True)
        return [entry for entry in known if entry.key not in keys]

    def _write(self, server: str, entries: Sequence[KeyringEntry]) -> None:
        text = json.dumps([entry.as_fields() for entry in entries])
        self._backend.set_password(_SERVICE, server, text)
