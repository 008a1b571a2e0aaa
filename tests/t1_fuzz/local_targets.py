"""What reads bytes that other processes and other people's files bring: cli, config, auth."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import pytest
import trio
from aioquic.tls import CipherSuite, SessionTicket
from cryptography import x509
from hypothesis import strategies as st

from smbfs.audit.reader import Wanted, journalctl, parse_entry
from smbfs.audit.record import Record, format_line, parse_line
from smbfs.audit.when import parse_when
from smbfs.auth.credential_file import read_credential_file
from smbfs.auth.keyring_entries import KeyringEntry, SeveralUsers
from smbfs.auth.keyring_process import KeyringUnusable, parse_answer, parse_entries
from smbfs.cli.audit import audit_line
from smbfs.cli.control import Peer, _receive_command
from smbfs.cli.daemons import Daemon
from smbfs.cli.daemons import parse_answer as parse_status
from smbfs.cli.mount_table import parse_mountinfo
from smbfs.cli.status import format_json, format_people
from smbfs.config.editing import with_key
from smbfs.config.files import parse_config, read_config_file, read_text
from smbfs.config.kdc_proxy import parse_proxies, proxies_of
from smbfs.config.options import parse_options, split_options
from smbfs.config.policy import configure
from smbfs.config.unc import parse_unc
from smbfs.errors import ConfigError, UserError
from smbfs.gateway.certificates import CertificateFiles, Certificates
from smbfs.transport.certificate_path import _readable
from smbfs.transport.dial import tcp_patience_s
from smbfs.transport.quic_client import ClientConnection
from smbfs.transport.quic_dial import client_configuration
from smbfs.transport.quic_settings import QuicSettings
from smbfs.transport.server_memory import ServerMemory
from smbfs.transport.session_tickets import TicketStore
from tests.beds.pki import Pki
from tests.t1_fuzz.contract import Target

_CONFIG: Final = b"""\
require_signing = true  # "always"
minimum_dialect = "3.0"
allowed_transports = ["tcp", "quic"]
ciphers = [
    "aes-256-gcm",
]
block_ntlm = true
block_ntlm_exceptions = ["old-nas"]
[kdc_proxy]
"EXAMPLE.ORG" = "https://proxy.example.org/KdcProxy"
".corp" = '''
<https a.example:443:kdcproxy b.example /> '''
[server."nas.example.org"]
seal = true
signing_algorithms = ["aes-128-gmac"]
cache_size = "256M"
actimeo = 5.5
port = 445
"""
_PROXIES: Final = (
    b"https://proxy.example.org/KdcProxy, https://[fe80::1]:443/x",
    b"<https fsedge1.contoso.com:443:kdcproxy b.example /><https c.example:1:a/b />",
)
_CREDENTIALS: Final = b"# alice\nusername=BED\\alice\npassword= secret \r\ndomain=BED\n"
_OPTIONS: Final = b'vers=3.0-3.1.1,seal,user="alice",uid=1000,gid=0,file_mode=0644,cache_size=64M'
_UNCS: Final = (
    b"//server:445/share/folder/more",
    b"\\\\server\\share",
    b"smb://DOM;user@[fe80::1]:445/sh%20are/x",
)
_MOUNTINFO: Final = (
    b"25 1 0:23 / /mnt\\040x rw,nosuid - fuse.smbfs //server/share rw,user_id=0\n"
    b"26 1 0:24 / /proc rw shared:5 - proc proc rw\n"
)
_STATUS: Final = {
    "unc": "//server/share",
    "mountpoint": "/mnt",
    "state": "connected",
    "since": "2026-01-01T00:00:00+00:00",
    "pid": 5,
    "server": {"name": "server", "address": "127.0.0.1", "port": 445},
    "transport": "quic",
    "dialect": "3.1.1",
    "encryption": None,
    "signing": {"required": True, "algorithm": "aes-128-gmac"},
    "quic": {
        "tls": "AES",
        "certificate": {"subject": "CN=x", "not_after": "2026-06-01T00:00:00+00:00"},
    },
    "user": "alice",
    "auth": "ntlm",
    "io": {"read_bytes": 5, "written_bytes": 5000, "requests": 7},
    "handles": {"open": 1},
    "cache": {"bytes": 1 << 20, "limit": 1 << 30, "hits": 5, "misses": 6},
    "rss_bytes": 1 << 25,
    "errors": {"STATUS_ACCESS_DENIED": 2},
    "log": "/tmp/log",  # noqa: S108 - a text
}
_EVENT: Final = {
    "time": "2026-11-23T02:57:12.099957+00:00",
    "host": "desk",
    "pid": 17,
    "uid": 0,
    "mountpoint": "/mnt",
    "event": "disconnected",
    "windows_event": 30804,
    "priority": 6,
    "message": "//nas/media disconnected: unmounted",
    "lost": 0,
    "unc": "//nas/media",
}
_ENTRY: Final = {
    "_SOURCE_REALTIME_TIMESTAMP": "1795401432100000",
    "_HOSTNAME": "desk",
    "_PID": "17",
    "_UID": "0",
    "PRIORITY": "6",
    "MESSAGE": "//nas/media disconnected: unmounted",
    "WINDOWS_EVENT": "30804",
    "SMBFS_EVENT": "disconnected",
    "SMBFS_MOUNTPOINT": "/mnt",
    "SMBFS_LOST": "0",
    "SMBFS_UNC": "//nas/media",
}
_TIMES: Final = (b"2026-11-23T02:57:12+01:00", b"today", b"2 hours ago", b"-90min", b"2026-11-23")
_ODD_VALUES: Final[tuple[object, ...]] = (
    *(None, True, -1, 10**400, float("inf"), float("nan"), 0.5, "", "\x1b[2J", "\ud800"),
    *([], [[]], {}, {"x": 1}, "2026-01-01", "9999-12-31T23:59:59-23:59"),
)
_PASSWORD: Final = "hunter2"  # noqa: S105 - a text
_KEYRING_ANSWER: Final = {
    "entry": KeyringEntry(server="nas", user="ann", password=_PASSWORD).as_fields(),
    "users": None,
}
_TEXT_FACTOR: Final = 128
"""Bytes of memory for one of text: a list in a list is two characters of JSON."""
_LISTS: Final = (b"[" * 2000, b'{"command":' * 2000)
"""Deeper than Python's own stack."""


def local_targets() -> Iterator[Target]:
    """Yield all of them."""
    deep = st.sampled_from(_LISTS)
    requests = st.sampled_from((b'{"command": "status"}\n', b'{"command": "stop"}\n'))
    yield Target("control_request", _request, requests | deep, memory_factor=_TEXT_FACTOR)
    yield Target("daemon_answer", _answer, _retyped(_STATUS) | deep, memory_factor=_TEXT_FACTOR)
    yield Target(
        "keyring_answer",
        _keyring,
        _retyped(_KEYRING_ANSWER) | deep,
        memory_factor=_TEXT_FACTOR,
    )
    yield Target(
        "config_file",
        _in_file(_configure),
        st.sampled_from((_CONFIG, _LONG_NUMBER)),
        memory_factor=2 * _TEXT_FACTOR,  # It is tomllib's, and the file is one's own.
    )
    yield Target(
        "changed_config",
        _in_file(_changed_config),
        st.just(_CONFIG),
        memory_factor=8 * _TEXT_FACTOR,  # It is tomlkit's, which keeps blanks and comments.
        is_slow=True,
    )
    yield Target("kdc_proxy", _kdc_proxy, st.sampled_from(_PROXIES), memory_factor=_TEXT_FACTOR)
    yield Target("credential_file", _in_file(_credentials), st.just(_CREDENTIALS))
    yield Target(
        "mount_options",
        _options,
        st.just(_OPTIONS),
        memory_factor=_TEXT_FACTOR,
        is_slow=True,
    )
    yield Target("unc", _unc, st.sampled_from(_UNCS), memory_factor=_TEXT_FACTOR)
    yield Target("mount_table", _mount_table, st.just(_MOUNTINFO))
    yield Target(
        "ticket_file",
        _ticket,
        st.deferred(lambda: _retyped(_valid_ticket())),
        memory_factor=_TEXT_FACTOR,
    )
    yield Target(
        "route_file", _route, _retyped({"worked": "quic"}) | deep, memory_factor=_TEXT_FACTOR
    )
    yield Target("audit_line", _audit_line, _retyped(_EVENT) | deep, memory_factor=_TEXT_FACTOR)
    yield Target("journal_entry", _entry, _retyped(_ENTRY) | deep, memory_factor=_TEXT_FACTOR)
    yield Target("point_in_time", _when, st.sampled_from(_TIMES))
    yield Target("gateway_certificate", _in_file(_gateway), st.builds(_pem))
    yield Target("authorities_file", _authorities, st.builds(_pem))


_LONG_NUMBER: Final = b'[server."x"]\nport = 0x' + b"7" * 5000
"""More digits than Python likes to write in decimal."""


def _retyped(document: Mapping[str, Any]) -> st.SearchStrategy[bytes]:
    """Return JSON in which a few values are of other kinds, or missing."""

    def change(changes: list[tuple[tuple[str, ...], object]]) -> bytes:
        changed = json.loads(json.dumps(document))
        for path, value in changes:
            place = changed
            for name in path[:-1]:
                place = place.get(name) if isinstance(place, dict) else None
            if isinstance(place, dict):
                place[path[-1]] = value
                if value == "":
                    del place[path[-1]]
        return json.dumps(changed).encode()

    paths = st.sampled_from([*_paths(document)])
    return st.lists(st.tuples(paths, st.sampled_from(_ODD_VALUES)), max_size=3).map(change)


def _paths(document: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in document.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from _paths(value, (*above, name))


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="smbfs-fuzz-"))


def _audit_line(data: bytes) -> None:
    _check_record(parse_line, data)


def _entry(data: bytes) -> None:
    _check_record(parse_entry, data)


def _check_record(parse: Callable[[str], Record], data: bytes) -> None:
    """Read a record, and use it as `smbfs audit` does."""
    try:
        record = parse(data.decode("utf-8", "replace"))
    except ValueError:
        return
    assert audit_line(record).isprintable()
    assert parse_line(format_line(record)) == record
    Wanted(since=datetime(2026, 1, 1, tzinfo=UTC), unc="//nas").takes(record)


def _when(data: bytes) -> None:
    try:
        when = parse_when(data.decode("utf-8", "replace"), datetime.now().astimezone())
    except ValueError:
        return
    journalctl(Wanted(since=when, until=when))


def _in_file(read: Callable[[Path], object]) -> Callable[[bytes], None]:
    """Return what has ``read`` read a file of these bytes, which people may get wrong."""

    def run(data: bytes) -> None:
        path = _folder() / "file"
        path.write_bytes(data)
        path.chmod(0o600)
        try:
            read(path)
        except UserError as error:
            str(error)

    return run


class _Stream:
    """The receiving half of a stream that has these bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def receive_some(self, limit: int) -> bytes:
        piece, self._data = self._data[:limit], self._data[limit:]
        return piece


def _request(data: bytes) -> None:
    stream = cast(trio.SocketStream, _Stream(data))
    steps: Coroutine[Any, Any, str | None] = _receive_command(stream)
    with pytest.raises(StopIteration) as stopped:
        steps.send(None)
    assert isinstance(stopped.value.value, str | None)


def _answer(data: bytes) -> None:
    """What a daemon says that may be another user's."""
    try:
        status = parse_status(data, _folder())
    except OSError:
        return
    daemons = [Daemon(Peer(5, 0), status, _folder())]
    assert format_people(daemons)
    assert json.loads(format_json(daemons)) is not None


def _keyring(data: bytes) -> None:
    """What the process says that asks the keyring, and what a keyring's file holds."""
    refusal: Exception | None = None
    entries = []
    try:
        entries = parse_entries([parse_answer(data).get("entry")])
    except (KeyringUnusable, SeveralUsers) as error:
        refusal = error
    assert _PASSWORD not in f"{refusal!r}"
    assert refusal is None or refusal.__cause__ is None
    for entry in entries:
        assert isinstance(entry, KeyringEntry)
        assert isinstance(entry.password, str)
        assert isinstance(entry.place + entry.qualified_name, str)


def _configure(path: Path) -> None:
    """As both files at once: what a user's says is the administrator's word, too."""
    file = read_config_file(path)
    for server in (*file.servers, *file.ntlm_exceptions, "other"):
        options = configure(server, [], user=file, policy=file).options
        assert proxies_of("EXAMPLE.ORG", options.kdc_proxies) is not None


def _kdc_proxy(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    try:
        urls = parse_proxies(text)
    except ValueError as error:
        str(error)
        return
    # They go into a krb5.conf, a line each.
    assert all(url.isascii() and url.isprintable() and "{" not in url for url in urls)


def _changed_config(path: Path) -> None:
    text = read_text(path) or ""
    parse_config(text, path)
    parse_config(with_key(text, ("server", "nas", "seal"), True), path)


def _credentials(path: Path) -> None:
    read_credential_file(path)


def _options(data: bytes) -> None:
    try:
        parse_options(split_options(data.decode(errors="surrogateescape")))
    except ConfigError as error:
        str(error)


def _unc(data: bytes) -> None:
    try:
        parsed = parse_unc(data.decode(errors="surrogateescape"))
    except ConfigError:
        return
    assert parsed.server
    assert parsed.share_path


def _mount_table(data: bytes) -> None:
    parse_mountinfo(data.decode(errors="surrogateescape"))


def _remembered(data: bytes, kind: str, name: str) -> ServerMemory:
    """A memory in whose file for a server these bytes are."""
    memory = ServerMemory(_folder() / "memory")
    memory.keep(kind, name, {})
    memory._path(kind, name).write_bytes(data)
    return memory


def _ticket(data: bytes) -> None:
    memory = _remembered(data, "ticket", "server:443:")
    found = TicketStore(memory, "server", 443, None).take()
    if found is not None:
        quic = ClientConnection(client_configuration("server", QuicSettings()))
        quic.resume(found, early_data=found.allows_early_data)
        quic.connect(("127.0.0.1", 443), now=0.0)
        quic.datagrams_to_send(0.0)


def _valid_ticket() -> Mapping[str, Any]:
    store_memory = ServerMemory(_folder() / "valid")
    ticket = SessionTicket(
        age_add=5,
        cipher_suite=CipherSuite.AES_128_GCM_SHA256,
        not_valid_after=datetime.now(UTC) + timedelta(days=1),
        not_valid_before=datetime.now(UTC) - timedelta(days=1),
        resumption_secret=bytes(32),
        server_name="server",
        ticket=b"ticket",
        max_early_data_size=0xFFFF_FFFF,
    )
    TicketStore(store_memory, "server", 443, None).keep(
        ticket, x509.load_pem_x509_certificates(_pem())
    )
    return store_memory.recall("ticket", "server:443:")


def _route(data: bytes) -> None:
    assert tcp_patience_s(
        QuicSettings(memory=_remembered(data, "transport", "server")), "server", 9.0
    )


@cache
def _pki() -> Pki:
    return Pki(_folder() / "pki")


def _pem() -> bytes:
    return _pki().leaf("server").cert.read_bytes()


def _gateway(path: Path) -> None:
    Certificates([CertificateFiles(path, _pki().leaf("server").key)]).choose("bed.test")


def _authorities(data: bytes) -> None:
    list(_readable(data))
