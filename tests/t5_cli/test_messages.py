"""Every refusal says what failed, why, and what to do; exits as mount(8); leaves nothing.

Servers that refuse the share, the dialect or the protection are in ``t6_peers/test_messages``;
here are accounts, the network, files and mount points, and the tables that the texts are in.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smbfs.auth.kerberos_errors import ticket_missing
from smbfs.auth.krb5_refusals import krb5_refusal
from smbfs.cli.errors import ExitCode, explain, format_problem
from smbfs.cli.mount_table import find_mount
from smbfs.cli.refusals import explain_status
from smbfs.errors import InvalidName, ServerStatusError, UserError, WireError
from smbfs.wire.ntstatus import NtStatus
from tests.beds.machine import Machine
from tests.beds.mounted import run_smbfs
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE, BOB, Share, program

pytestmark = pytest.mark.usefixtures("fuse")

INSECURE_GUEST = "guest,allow_insecure_guest,signing=if-offered"
THREE_PARTS = re.compile(r"smbfs: \S.*\n  Why: \S.*\n(?:       .*\n)*  Do:  \S.*\n(?:       .*\n)*")

Variants = Callable[[str], SambaServer]


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Try to mount; returns the message after checking its form and that nothing is left."""
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()

    def attempt(unc: str, *options: str, code: int = ExitCode.MOUNT) -> str:
        done = run_smbfs("mount", unc, str(mountpoint), *options)
        assert THREE_PARTS.fullmatch(done.stderr), done.stderr
        assert done.returncode == code
        assert find_mount(str(mountpoint)) is None
        assert str(mountpoint) not in run_smbfs("status").stdout
        return done.stderr

    return attempt


def credentials(path: Path, user: str, password: str) -> tuple[str, str]:
    path.write_text(f"username={user}\npassword={password}\n")
    path.chmod(0o600)
    return ("-o", f"credentials={path}")


def alice(server: SambaServer) -> tuple[str, str]:
    return ("-o", f"credentials={server.credentials_file(ALICE)}")


def administer(server: SambaServer, command: str, *arguments: str) -> None:
    """Run one of Samba's own tools on the server's accounts."""
    folder = server._folder
    subprocess.run(
        [program(command, "samba-common-bin"), "--configfile", folder.config_path, *arguments],
        env={**os.environ, **folder.nss_environment()},
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize(
    ("command", "said", "status"),
    [
        (
            ["pdbedit", "--modify", f"--user={ALICE.name}", "--account-control=[D]"],
            "the account is disabled",
            "STATUS_ACCOUNT_DISABLED, 0xC0000072; Windows 1331",
        ),
        (
            ["pdbedit", "--modify", f"--user={ALICE.name}", "--kickoff-time=1"],
            "the account has expired",
            "STATUS_ACCOUNT_EXPIRED, 0xC0000193; Windows 1793",
        ),
        (
            ["net", "sam", "set", "pwdmustchangenow", ALICE.name, "yes"],
            "the password must be changed first",
            "STATUS_PASSWORD_MUST_CHANGE, 0xC0000224; Windows 1907",
        ),
    ],
)
def test_account_that_may_not_sign_on(
    make_samba: Callable[..., SambaServer],
    refused: Callable[..., str],
    command: list[str],
    said: str,
    status: str,
) -> None:
    server = make_samba()
    administer(server, *command)
    message = refused(server.unc(), *alice(server))
    assert said in message
    assert status in message


def test_account_that_wrong_passwords_have_locked(
    make_samba: Callable[..., SambaServer], refused: Callable[..., str], tmp_path: Path
) -> None:
    server = make_samba()
    administer(server, "pdbedit", "--account-policy=bad lockout attempt", "--value=1")
    refused(server.unc(), *credentials(tmp_path / "wrong", ALICE.name, "wrong"))
    message = refused(server.unc(), *alice(server))
    assert "the account is locked" in message
    assert "STATUS_ACCOUNT_LOCKED_OUT, 0xC0000234; Windows 1909" in message


def alter_account(server: SambaServer, alter: Callable[[bytearray, int], None]) -> None:
    """Change what no tool of Samba's can set: ``alter`` gets the database, and where alice's is.

    It is called for the database's own copies of that, too.
    Spec: Samba's source3/passdb/passdb.c, init_buffer_from_samu_v4.
    """
    path = server._folder.root / "private" / "passdb.tdb"
    database, key = bytearray(path.read_bytes()), f"USER_{ALICE.name}\0".encode()
    place = database.index(key)
    while place >= 0:
        alter(database, place + len(key))
        place = database.find(key, place + 1)
    with path.open("r+b") as file:
        file.write(database)


def no_hour_is_allowed(database: bytearray, record: int) -> None:
    """168 hours are allowed by the bits of 21 bytes, which have room for 32."""
    start = (168).to_bytes(2, "little") + b"".join(n.to_bytes(4, "little") for n in (21, 32))
    hours = database.index(start + bytes([0xFF]) * 21, record) + len(start)
    database[hours : hours + 21] = bytes(21)


def password_is_of_1970(database: bytearray, record: int) -> None:
    """The fifth time of the record is when it was set."""
    database[record + 16 : record + 20] = (1000).to_bytes(4, "little")


def test_account_that_may_not_sign_on_at_this_hour(
    make_samba: Callable[..., SambaServer], refused: Callable[..., str]
) -> None:
    server = make_samba()
    alter_account(server, no_hour_is_allowed)
    message = refused(server.unc(), *alice(server))
    assert "the account may not sign on at this time" in message
    assert "STATUS_INVALID_LOGON_HOURS, 0xC000006F; Windows 1328" in message


def test_account_whose_password_is_too_old(
    make_samba: Callable[..., SambaServer], refused: Callable[..., str]
) -> None:
    server = make_samba()
    administer(server, "pdbedit", "--account-policy=maximum password age", "--value=86400")
    alter_account(server, password_is_of_1970)
    message = refused(server.unc(), *alice(server))
    assert "the password has expired" in message
    assert "STATUS_PASSWORD_EXPIRED, 0xC0000071; Windows 1330" in message


def test_share_that_this_user_may_not_use(
    make_samba: Callable[..., SambaServer], refused: Callable[..., str]
) -> None:
    server = make_samba(shares=(Share("share", {"valid users": BOB.name}),))
    said = refused(server.unc(), *alice(server))
    assert "access to the share is denied" in said
    assert "0x80070005" in said


def test_name_that_is_not_known(samba: SambaServer, refused: Callable[..., str]) -> None:
    said = refused("//nas.invalid/share", *alice(samba))
    assert "name is not known" in said
    assert "event 30800" in said


@contextmanager
def tcp_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve every connection on a port of its own by ``talk``; yields the UNC."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"//127.0.0.1:{listener.getsockname()[1]}/share"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_port_that_speaks_something_else(samba: SambaServer, refused: Callable[..., str]) -> None:
    def http(connection: socket.socket) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
        connection.recv(1024)

    with tcp_server(http) as unc:
        assert "does not speak SMB" in refused(unc, *alice(samba))


@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_open_credentials_file(
    samba: SambaServer, refused: Callable[..., str], tmp_path: Path, mode: int
) -> None:
    option = credentials(tmp_path / "open", ALICE.name, "hunter2")
    (tmp_path / "open").chmod(mode)
    said = refused(samba.unc(), *option, code=ExitCode.USAGE)
    assert f"chmod 600 {tmp_path}/open" in said
    assert "hunter2" not in said


def test_no_password_anywhere(samba: SambaServer, refused: Callable[..., str]) -> None:
    said = refused(samba.unc(), "--user", "alice")
    assert "there is no password for alice at 127.0.0.1" in said
    assert "no terminal" in said


def test_mount_points_that_are_none(
    samba: SambaServer, refused: Callable[..., str], tmp_path: Path
) -> None:
    place = tmp_path / "mnt"
    (place / "something").touch()
    assert "is not empty" in refused(samba.unc(), *alice(samba))
    (place / "something").unlink()
    place.rmdir()
    assert f"mkdir -p {place}" in refused(samba.unc(), *alice(samba))
    place.touch()
    assert "is not a directory" in refused(samba.unc(), *alice(samba))


@pytest.mark.parametrize(
    ("spoil", "uid", "said"),
    [
        ("rm /dev/fuse", 0, "/dev/fuse is missing"),
        ("chmod 600 /dev/fuse", 12345, "/dev/fuse is closed to you"),
    ],
)
def test_a_machine_where_nobody_can_mount(
    make_machine: Callable[..., Machine], samba: SambaServer, spoil: str, uid: int, said: str
) -> None:
    here = make_machine()
    assert here.run("sh", "-c", spoil).returncode == 0
    done = here.smbfs("mount", samba.unc(), str(here.folder / "mnt"), "-o", "user=ann", uid=uid)
    assert done.returncode == ExitCode.SYSTEM
    assert THREE_PARTS.fullmatch(done.stderr), done.stderr
    assert said in done.stderr
    assert "--device /dev/fuse" in done.stderr


def test_every_status_of_an_account_is_explained() -> None:
    wanted = {
        "LOGON_FAILURE", "ACCOUNT_LOCKED_OUT", "ACCOUNT_EXPIRED", "PASSWORD_EXPIRED",
        "PASSWORD_MUST_CHANGE", "ACCOUNT_DISABLED", "INVALID_LOGON_HOURS", "WRONG_PASSWORD",
        "INVALID_WORKSTATION", "ACCOUNT_RESTRICTION", "LOGON_TYPE_NOT_GRANTED", "NO_SUCH_USER",
        "NO_LOGON_SERVERS", "ACCESS_DENIED",
    }  # fmt: skip
    texts = [explain_status(NtStatus[f"STATUS_{name}"], "SESSION_SETUP") for name in sorted(wanted)]
    assert len({what for what, _, _ in texts}) == len(wanted)
    for name, (_, why, do) in zip(sorted(wanted), texts, strict=True):
        assert f"STATUS_{name}" in why
        assert "Windows" in why
        assert do


@pytest.mark.parametrize("command", ["SESSION_SETUP", "TREE_CONNECT", "CREATE", "IOCTL"])
def test_any_status_makes_three_parts(command: str) -> None:
    for status in [*NtStatus, 0xC123_4567]:
        problem = explain(ServerStatusError(status, command), "//nas/media")
        assert THREE_PARTS.fullmatch(format_problem(problem) + "\n")
        assert problem.exit_code == ExitCode.MOUNT


def test_mistakes_of_our_own_ask_to_be_reported() -> None:
    problem = explain(ZeroDivisionError("oops"), "//nas/media")
    assert (problem.exit_code, "report" in problem.do) == (ExitCode.SYSTEM, True)
    assert explain(WireError("header"), "//nas/media").exit_code == ExitCode.MOUNT
    assert explain(InvalidName("a name"), "//nas/media").exit_code == ExitCode.MOUNT


def test_what_others_say_is_no_line_and_no_control_of_a_terminal() -> None:
    """A KDC's own words come with an error that is not signed."""
    said = "KDC returned error string: \x1b[2J\nsmbfs: all is well\r\x9b1A"
    for error in (
        krb5_refusal(-1765328324, said, "alice@TEST.LOCAL"),
        ticket_missing(-1765328324, said),
    ):
        text = format_problem(explain(error, "//nas/media"))
        assert "error string: ?[2J?smbfs: all is well??1A" in text
        assert all(line.isprintable() for line in text.split("\n"))
        assert len(text.split("\n")) == 3
    text = format_problem(explain(UserError("It\nfailed\x1b", "so\x07")))
    assert text == "smbfs: It?failed?\n  Why: so?"


def test_further_lines_stand_below_their_label() -> None:
    text = format_problem(explain(UserError("It failed", "one\ntwo", "three\nfour")))
    assert text.splitlines() == [
        "smbfs: It failed",
        "  Why: one",
        "       two",
        "  Do:  three",
        "       four",
    ]
