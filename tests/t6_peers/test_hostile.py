"""A peer that lies: whatever arrives on the wire, a reader gets the right data or an error.

A proxy stands between a real mount and a real server and changes what the server sends.
"""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from smbfs.wire.create import FileId, OplockLevel
from smbfs.wire.header import (
    HEADER_SIZE,
    PROTOCOL_ID_SMB1,
    SIGNATURE_OFFSET,
    UNSOLICITED_MESSAGE_ID,
    Command,
    Header,
    HeaderFlags,
)
from smbfs.wire.lease import LeaseState
from smbfs.wire.message import Message
from smbfs.wire.oplock_break import LeaseBreakNotification, OplockBreakNotification
from smbfs.wire.read_write import ReadResponse
from tests.beds.mounted import Mounted, MountFailed, mount, run_smbfs
from tests.beds.proxy import Change, Proxy, Sent, Tampering, framed
from tests.beds.samba import SambaServer
from tests.conftest import require_fuse

TIMEOUT_S = 3
"""The mount's own: a lost answer is an error after that time."""
PATIENCE_S = 60
STATUS_OFFSET = 8
FLAGS_OFFSET = 16
CONTENTS = bytes(index * 7 % 251 for index in range(300_000))
NAMES = [f"name-{index:03d}" for index in range(40)]


# --- what a peer may do to a frame ------------------------------------------------------------


def flip(frame: bytes, offset: int) -> bytes:
    """Return ``frame`` with one bit changed; a negative offset counts from the end."""
    changed = bytearray(frame)
    changed[offset] ^= 0x10
    return bytes(changed)


def unsigned(frame: bytes) -> bytes:
    """Take the signature of the first element away, and the flag that promises one."""
    header = Header.decode(frame)
    flags = header.flags & ~HeaderFlags.SIGNED
    stripped = header._replace(flags=flags, signature=bytes(16)).encode()
    return stripped + frame[HEADER_SIZE:]


def unsigned_and_altered(frame: bytes) -> bytes:
    return flip(unsigned(frame), -1)


def refused(frame: bytes) -> bytes:
    """Make success a refusal, or a refusal success."""
    header = Header.decode(frame)
    status = 0 if header.status else 0xC000_0022
    return header._replace(status=status).encode() + frame[HEADER_SIZE:]


def as_sent(alter: Callable[[bytes], bytes]) -> Change:
    return lambda frame: Sent(framed(alter(frame)))


BREAKING: dict[str, Change] = {
    "payload altered": as_sent(lambda frame: flip(frame, -1)),
    "header altered": as_sent(refused),
    "signature altered": as_sent(lambda frame: flip(frame, SIGNATURE_OFFSET)),
    "signature stripped": as_sent(unsigned),
    "signature stripped, payload altered": as_sent(unsigned_and_altered),
    "garbage": lambda frame: Sent(framed(os.urandom(len(frame)))),
    "garbage first": lambda frame: Sent(framed(os.urandom(200)) + framed(frame)),
    "nothing in a frame": lambda frame: Sent(framed(b"") + framed(frame)),
    "SMB1": lambda frame: Sent(framed(PROTOCOL_ID_SMB1 + bytes(60)) + framed(frame)),
    "16 MiB announced": lambda frame: Sent(b"\x00\xff\xff\xff" + frame),
    "a length of 2 GiB": lambda frame: Sent(b"\x80\x00\x00\x00" + frame),
    "cut in the frame": lambda frame: Sent(framed(frame)[: len(frame) // 2], cut=True),
    "cut before it": lambda _frame: Sent(b"", cut=True),
    "shortened": as_sent(lambda frame: frame[: HEADER_SIZE + 4]),
    "swallowed": lambda _frame: Sent(b""),
}
"""Everything after which a connection can't be believed any more."""


def unasked(body: Message) -> bytes:
    header = Header(
        credit_charge=0,
        status=0,
        command=Command.OPLOCK_BREAK,
        flags=HeaderFlags.SERVER_TO_REDIR,
        message_id=UNSOLICITED_MESSAGE_ID,
    )
    return framed(header.encode() + body.encode())


LEASE_BREAK = unasked(
    LeaseBreakNotification(
        lease_key=bytes(range(16)),
        current_lease_state=LeaseState.READ_CACHING,
        new_lease_state=LeaseState.NONE,
    )
)
OPLOCK_BREAK = unasked(OplockBreakNotification(FileId(1, 2), OplockLevel.NONE))

HARMLESS: dict[str, Change] = {
    "lease break that nobody asked for": lambda frame: Sent(LEASE_BREAK + framed(frame)),
    "oplock break that nobody asked for": lambda frame: Sent(OPLOCK_BREAK + framed(frame)),
    "every answer twice": lambda frame: Sent(framed(frame) * 2),
}
"""What the specification has us ignore."""


# --- the bed ----------------------------------------------------------------------------------


@dataclass
class Bed:
    """A mount with a proxy before its server."""

    server: SambaServer
    proxy: Proxy
    mounted: Mounted
    daemon: int
    """A descriptor of its process: readable when it has ended."""

    def survived(self) -> bool:
        """Whether the daemon lives and answers."""
        ended, _, _ = select.select([self.daemon], [], [], 0)
        return not ended and run_smbfs("status", str(self.mounted.path), "--json").returncode == 0

    def read(self) -> bytes | None:
        """Contents of the file; None for an error."""
        return output_of("cat", str(self.mounted.path / "hostile" / "file"))

    def list(self) -> bytes | None:
        """Names in the folder; None for an error."""
        return output_of("ls", str(self.mounted.path / "hostile" / "folder"))


def output_of(*command: str) -> bytes | None:
    """Output of a command in the mount; None when it failed. One that hangs is a failure."""
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
    return None if done.returncode else done.stdout


READERS: dict[Command, tuple[Callable[[Bed], bytes | None], bytes]] = {
    Command.CREATE: (Bed.read, CONTENTS),
    Command.READ: (Bed.read, CONTENTS),
    Command.QUERY_DIRECTORY: (Bed.list, "".join(f"{name}\n" for name in NAMES).encode()),
}
"""What makes the server answer a command, and the truth."""


@pytest.fixture(scope="module")
def hostile_files(samba: SambaServer) -> None:
    """What is read, on the plain and on the sealed share."""
    for share in ("share", "sealed"):
        folder = samba.share_path(share) / "hostile"
        (folder / "folder").mkdir(parents=True)
        (folder / "file").write_bytes(CONTENTS)
        for name in NAMES:
            (folder / "folder" / name).touch()


@pytest.fixture
def proxy(samba: SambaServer) -> Iterator[Proxy]:
    with Proxy(samba.host, samba.port) as running:
        yield running


@pytest.fixture
def make_bed(
    samba: SambaServer, proxy: Proxy, tmp_path: Path, hostile_files: None
) -> Callable[[str], AbstractContextManager[Bed]]:
    del hostile_files
    require_fuse()
    options = f"credentials={samba.credentials_file()},timeout={TIMEOUT_S}"

    @contextmanager
    def make(share: str) -> Iterator[Bed]:
        unc = f"//{samba.host}:{proxy.port}/{share}"
        with mount(unc, tmp_path / "mnt", "-o", options) as mounted:
            daemon = os.pidfd_open(mounted.pid)
            yield Bed(samba, proxy, mounted, daemon)
            os.close(daemon)

    return make


@pytest.fixture
def bed(make_bed: Callable[[str], AbstractContextManager[Bed]]) -> Iterator[Bed]:
    with make_bed("share") as made:
        yield made


@pytest.fixture
def sealed_bed(make_bed: Callable[[str], AbstractContextManager[Bed]]) -> Iterator[Bed]:
    with make_bed("sealed") as made:
        yield made


# --- tests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", READERS, ids=lambda command: command.name)
@pytest.mark.parametrize("attack", BREAKING)
def test_a_reader_gets_an_error_or_the_truth(bed: Bed, attack: str, command: Command) -> None:
    ask, truth = READERS[command]
    tampering = bed.proxy.tamper(Tampering(BREAKING[attack], command))
    assert ask(bed) in (None, truth)
    assert tampering.done == 1
    assert bed.survived()


@pytest.mark.parametrize("command", READERS, ids=lambda command: command.name)
@pytest.mark.parametrize("attack", HARMLESS)
def test_what_nobody_asked_for_is_ignored(bed: Bed, attack: str, command: Command) -> None:
    ask, truth = READERS[command]
    tampering = bed.proxy.tamper(Tampering(HARMLESS[attack], command, times=1000))
    assert ask(bed) == truth
    assert tampering.done >= 1
    assert bed.survived()
    assert bed.mounted.status()["state"] == "connected"
    assert bed.proxy.connections == 1


def test_breaks_between_answers_are_ignored(bed: Bed) -> None:
    for _ in range(100):
        bed.proxy.inject(LEASE_BREAK + OPLOCK_BREAK)
    assert bed.read() == CONTENTS
    assert bed.survived()
    assert bed.proxy.connections == 1


@pytest.mark.parametrize("offset", [0, 4, 20, 40, 60, -1])
def test_an_altered_sealed_answer_is_no_data(sealed_bed: Bed, offset: int) -> None:
    """Wherever the frame is altered: protocol id, signature, nonce, session, text, end."""
    alter = as_sent(lambda frame: flip(frame, offset))
    tampering = sealed_bed.proxy.tamper(Tampering(alter, sealed_size=len(CONTENTS) // 4))
    assert sealed_bed.read() in (None, CONTENTS)
    assert tampering.done == 1
    assert sealed_bed.survived()


def test_what_was_wrong_is_in_the_audit(sealed_bed: Bed) -> None:
    alter = as_sent(lambda frame: flip(frame, -1))
    sealed_bed.proxy.tamper(Tampering(alter, sealed_size=len(CONTENTS) // 4))
    assert sealed_bed.read() in (None, CONTENTS)
    log = Path(sealed_bed.mounted.status()["log"]).read_text("utf-8")
    assert "a sealed frame can't be decrypted [signature-failed, Windows 31015]" in log


def test_a_clear_answer_is_no_data_where_sealing_is_required(sealed_bed: Bed) -> None:
    """An answer that was never sealed, in place of one that was."""
    header = Header(
        credit_charge=1,
        status=0,
        command=Command.READ,
        credits=1,
        flags=HeaderFlags.SERVER_TO_REDIR,
    )
    body = ReadResponse(memoryview(bytes(len(CONTENTS)))).encode()

    def clear(frame: bytes) -> Sent:
        """Its message id is sealed, so try them all."""
        forged = (header._replace(message_id=number).encode() + body for number in range(150))
        return Sent(b"".join(map(framed, forged)) + framed(frame))

    tampering = sealed_bed.proxy.tamper(Tampering(clear, sealed_size=len(CONTENTS) // 4))
    assert sealed_bed.read() in (None, CONTENTS)
    assert tampering.done == 1
    assert sealed_bed.survived()


def test_an_old_answer_is_not_taken_for_a_new_one(bed: Bed) -> None:
    """The first answer to a READ comes again in place of the next, under the next's id."""
    other = bed.server.share_path() / "hostile" / "other"
    other.write_bytes(bytes(len(CONTENTS)))
    answers: list[bytes] = []

    def replay(frame: bytes) -> Sent:
        answers.append(frame)
        wanted = Header.decode(frame).message_id
        old = Header.decode(answers[0])._replace(message_id=wanted).encode()
        return Sent(framed(old + answers[0][HEADER_SIZE:]))

    bed.proxy.tamper(Tampering(replay, Command.READ, times=1000))
    assert output_of("cat", str(bed.mounted.path / "hostile" / "other")) == bytes(len(CONTENTS))
    assert bed.read() in (None, CONTENTS)
    assert len(answers) > 1
    assert bed.survived()


@pytest.mark.parametrize("offset", [66, 75, 88], ids=["security mode", "server", "capabilities"])
def test_an_altered_negotiation_mounts_nothing(
    proxy: Proxy, samba: SambaServer, tmp_path: Path, offset: int
) -> None:
    """The keys are made of what both sides have seen, so the server's next word is not believed."""
    require_fuse()
    alter = as_sent(lambda frame: flip(frame, offset))
    tampering = proxy.tamper(Tampering(alter, Command.NEGOTIATE))
    unc = f"//{samba.host}:{proxy.port}/share"
    credentials = f"credentials={samba.credentials_file()}"
    with pytest.raises(MountFailed) as caught, mount(unc, tmp_path / "m", "-o", credentials):
        pass
    assert tampering.done == 1
    assert "signature" in caught.value.output


def test_a_cut_connection_is_an_error_or_is_replaced(bed: Bed) -> None:
    bed.proxy.cut()
    assert bed.read() in (None, CONTENTS)
    assert bed.survived()


def test_the_proxy_alone_changes_nothing(bed: Bed, tmp_path: Path) -> None:
    assert bed.read() == CONTENTS
    assert bed.list() == READERS[Command.QUERY_DIRECTORY][1]
    copy = tmp_path / "copy"
    assert output_of("cp", str(bed.mounted.path / "hostile" / "file"), str(copy)) is not None
    assert copy.read_bytes() == CONTENTS
