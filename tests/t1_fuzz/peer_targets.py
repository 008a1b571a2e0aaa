"""What reads foreign bytes above the wire and beside it: frames, tokens, certificates, the vfs."""

from __future__ import annotations

import datetime as dt
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final
from unittest import mock

import spnego
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import strategies as st

from smbfs.auth.credentials import Credentials
from smbfs.auth.spnego import AnonymousAuthenticator, make_authenticator
from smbfs.errors import (
    AuthenticationError,
    CertificateRefused,
    ConfigError,
    RemoteProtocolError,
    WireError,
)
from smbfs.fuse.operations import _entry
from smbfs.transport.certificate_path import MALFORMED_CERTIFICATE
from smbfs.transport.frame_assembler import FrameAssembler
from smbfs.transport.quic_settings import Trust
from smbfs.transport.server_certificate import check_server_certificate, judge_certificate
from smbfs.vfs.attributes import AttributeRules, present
from smbfs.vfs.disk_store import DiskStore, FileVersion, StoredBlock
from smbfs.vfs.names import Names, PosixNames, WindowsNames
from smbfs.vfs.shown import Entry
from smbfs.vfs.special_files import decode_mf_symlink, encode_mf_symlink, special_file
from smbfs.wire.file_stat import decode_file_all_information, decode_posix_information
from smbfs.wire.layout import decode_text, encode_text
from smbfs.wire.reparse import decode_reparse_point, encode_symbolic_link
from tests.beds.at_once import at_once
from tests.beds.pki import Pki
from tests.t0_wire.values import names
from tests.t1_fuzz.contract import Target

_FRAME_MAX: Final = 64 * 1024
_ALICE: Final = Credentials("alice", "BED", "Passw0rd!")
_NAMES: Final[tuple[Names, ...]] = (WindowsNames(), PosixNames())
_SUBJECT_ALTERNATIVE_NAME: Final = bytes.fromhex("0603551d11")
_EXTENDED_KEY_USAGE: Final = bytes.fromhex("0603551d25")


def peer_targets() -> Iterator[Target]:
    """Yield all of them."""
    frames = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4)
    yield Target(
        "frame_assembler",
        _assemble,
        frames.map(lambda each: b"\5" + b"".join(map(_framed, each))),
        announced_max=_FRAME_MAX,
    )
    tokens = st.sampled_from(("challenge", "hello")).map(_ntlm_token)
    yield Target("ntlm_token", _sign_on, tokens, is_slow=True)
    yield Target("anonymous_token", _sign_on_as_nobody, st.just(b"NTLMSSP\0\2\0\0\0" + bytes(40)))
    kinds = ("server", "expired", "self_signed", "sha1_signed", "doubled", "odd_version")
    yield Target("certificate", _judge, st.sampled_from(kinds).map(_certificate), is_slow=True)
    yield Target("shown_attributes", _show, st.binary(min_size=130, max_size=130))
    yield Target("reparse_meaning", _follow, names.map(_link))
    yield Target("mf_symlink", _follow_text, names.map(_text_link))
    yield Target("name", _name, names.map(encode_text))
    yield Target("disk_store", _store, st.binary(min_size=48, max_size=60))


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _assemble(data: bytes) -> None:
    """The first byte says how large the pieces are in which the rest arrives."""
    assembler = FrameAssembler()
    assembler.max_message_size = _FRAME_MAX
    size = data[0] or 1 if data else 1
    try:
        for at in range(1, len(data), size):
            assembler.feed(data[at : at + size])
    except RemoteProtocolError:
        return
    assert sum(map(len, assembler.frames)) + 4 * len(assembler.frames) <= len(data)


@cache
def _ntlm_token(kind: str) -> bytes:
    """What a server says to our first token; or, as it might, that token itself."""
    hello = at_once(make_authenticator(_ALICE, "nas").step(None))
    assert hello is not None
    if kind == "hello":
        return hello
    with tempfile.NamedTemporaryFile("w") as users:
        users.write("BED:alice:Passw0rd!\n")
        users.flush()
        with mock.patch.dict(os.environ, {"NTLM_USER_FILE": users.name}):
            server = spnego.server(options=spnego.NegotiateOptions.use_negotiate)
            challenge = server.step(hello)
    assert challenge is not None
    return challenge


def _sign_on(data: bytes) -> None:
    client = make_authenticator(_ALICE, "nas")
    at_once(client.step(None))
    with suppress(AuthenticationError):
        at_once(client.step(data))
        if not client.complete:
            at_once(client.step(data[-64:]))


def _sign_on_as_nobody(data: bytes) -> None:
    client = AnonymousAuthenticator()
    at_once(client.step(data))
    with suppress(AuthenticationError):
        at_once(client.step(data))


@cache
def _pki() -> Pki:
    return Pki(Path(tempfile.mkdtemp(prefix="smbfs-fuzz-")))


@cache
def _certificate(kind: str) -> bytes:
    """A certificate as DER, good or with what a library stumbles over."""
    made = _pki().leaf(kind if kind not in {"doubled", "odd_version"} else "server")
    der = x509.load_pem_x509_certificate(made.cert.read_bytes()).public_bytes(Encoding.DER)
    if kind == "doubled":  # Two extensions of one kind.
        return der.replace(_EXTENDED_KEY_USAGE, _SUBJECT_ALTERNATIVE_NAME)
    if kind == "odd_version":
        return der.replace(b"\xa0\3\2\1\2", b"\xa0\3\2\1\5")
    return der


def _judge(data: bytes) -> None:
    now = dt.datetime.now(dt.UTC)
    try:
        certificate = x509.load_der_x509_certificate(data)
    except MALFORMED_CERTIFICATE:
        return  # It is aioquic that reads them, and our link that catches what it raises.
    for trust in (Trust(_pki().ca), Trust(_pki().ca, pin="00" * 32)):
        for server_name in ("bed.test", "127.0.0.1"):
            assert len(list(judge_certificate([certificate], server_name, trust, now))) > 1
            with suppress(CertificateRefused, ConfigError):
                check_server_certificate([certificate], server_name, trust, now)


def _show(data: bytes) -> None:
    """What a file looks like for the kernel: FUSE's structures have limits of their own."""
    for decode in (decode_file_all_information, decode_posix_information):
        try:
            stat = decode(data)
        except WireError:
            continue
        shown = present(stat, AttributeRules(0, 0))
        _entry(Entry(2, shown, 1.0, 1.0))


def _follow(data: bytes) -> None:
    try:
        reparse = decode_reparse_point(data)
    except WireError:
        return
    for each in _NAMES:
        special_file(reparse, each)


def _link(target: str) -> bytes:
    return encode_symbolic_link(target, relative=len(target) % 2 == 0)


def _follow_text(data: bytes) -> None:
    decode_mf_symlink(data)


def _text_link(target: str) -> bytes:
    return encode_mf_symlink(target.encode(errors="replace")) or b"XSym\n"


def _name(data: bytes) -> None:
    """What is shown of a name leads back to it; what does not is not shown."""
    try:
        name = decode_text(data, "name")
    except WireError:
        return
    for each in _NAMES:
        shown = each.from_server(name)
        assert shown is None or each.to_server(shown) == name


@cache
def _disk_store() -> DiskStore:
    folder = Path(tempfile.mkdtemp(prefix="smbfs-fuzz-"))
    return DiskStore(folder / "cache", 1 << 20)


def _store(data: bytes) -> None:
    """Numbers that a server tells of a file reach the database."""
    file_id, *version, position = struct.unpack("<5QQ", data[:48].ljust(48, b"\0"))
    store, told = _disk_store(), FileVersion(*version)
    position >>= 12  # Blocks are of 4 KiB and more.
    store.put([StoredBlock(file_id, told, position, memoryview(data))])
    assert store.get(file_id, told, position) == data
    assert position in store.use(file_id, told)
