"""``smbfs``: parse the command line, run one command, show what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from smbfs.cli.errors import ExitCode, explain, format_problem
from smbfs.errors import UserError

if TYPE_CHECKING:
    import argparse

    from smbfs.cli.arguments import Parser

_DESCRIPTION: Final = "Mount SMB shares without a kernel client, signed by default."
_CONFIG_HELP: Final = "show or change the configuration"
_GATEWAY_HELP: Final = "make an SMB server reachable over QUIC"
_WHEN_HELP: Final = "2026-11-23, '2026-11-23 14:05', today, yesterday, '2 hours ago', -2h"
_SERVER_HELP: Final = "a server's name, server:port or smb://[user@]server; or //server/share"
_UNC_HELP: Final = "//server[:port]/share[/path], \\\\server\\share or smb://[user@]server/share"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``smbfs`` and return its exit code; never raises for an error of the user's."""
    return run_command("smbfs", lambda: _run(sys.argv[1:] if arguments is None else arguments))


def run_command(program: str, command: Callable[[], int]) -> int:
    """Run a command; turn a refusal into its message on stderr and its exit code."""
    try:
        return command()
    except UserError as error:
        problem = explain(error)
        print(format_problem(problem, program), file=sys.stderr)
        return problem.exit_code
    except (KeyboardInterrupt, EOFError):
        print(file=sys.stderr)
        return int(ExitCode.USAGE)
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more at exit.
        sys.stderr.close()
        return int(ExitCode.USAGE)


def _run(arguments: Sequence[str]) -> int:
    namespace = _make_parser().parse_strictly(arguments)
    run: Callable[[argparse.Namespace], int] = namespace.run
    return run(namespace)


def _make_parser() -> Parser:
    from smbfs.cli.arguments import Parser, ShowVersion, add_mount_options

    parser = Parser(prog="smbfs", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action=ShowVersion, help="which one this is")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)

    mount = commands.add_parser("mount", help="mount a share", allow_abbrev=False)
    mount.add_argument("unc", metavar="UNC", help=_UNC_HELP)
    mount.add_argument("mountpoint", metavar="MOUNTPOINT", help="an empty directory")
    mount.add_argument("--foreground", action="store_true", help="stay until unmounted")
    mount.add_argument("-v", "--verbose", action="store_true", help="say and log more")
    add_mount_options(mount)
    mount.set_defaults(run=_mount)

    opened = commands.add_parser("open", help="mount and show an address", allow_abbrev=False)
    opened.add_argument("url", metavar="URL", help="smb://[user@]server[:port]/share[/path]")
    add_mount_options(opened)
    opened.set_defaults(run=_open)

    umount = commands.add_parser("umount", help="unmount", allow_abbrev=False)
    umount.add_argument("mountpoint", metavar="MOUNTPOINT")
    umount.add_argument(
        "--lazy", action="store_true", help="also while in use: it ends with its last user"
    )
    umount.set_defaults(run=_umount)

    status = commands.add_parser("status", help="how mounts are", allow_abbrev=False)
    status.add_argument("mountpoint", metavar="MOUNTPOINT", nargs="?")
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument("--watch", action="store_true", help="every two seconds, until Ctrl-C")
    status.set_defaults(run=_status)

    _add_login(
        commands.add_parser("login", help="keep a password, or get a ticket", allow_abbrev=False)
    )
    _add_logout(commands.add_parser("logout", help="forget passwords", allow_abbrev=False))

    _add_questions(commands)

    audit = commands.add_parser("audit", help="what happened, read back", allow_abbrev=False)
    audit.add_argument("unc", metavar="UNC", nargs="?", help="//server or //server/share")
    audit.add_argument("--json", action="store_true", help="for programs")
    audit.add_argument("--since", metavar="WHEN", help=_WHEN_HELP)
    audit.add_argument("--until", metavar="WHEN", help="in the same ways")
    audit.add_argument("--event", metavar="NAME", help="of one kind, as the list names it")
    audit.set_defaults(run=_audit)

    _add_config(commands.add_parser("config", help=_CONFIG_HELP, allow_abbrev=False))
    _add_gateway(commands.add_parser("gateway", help=_GATEWAY_HELP, allow_abbrev=False))
    return parser


def _add_questions(commands: argparse._SubParsersAction[Parser]) -> None:
    """What is asked of a server, which is reached as by a mount."""
    from smbfs.cli.arguments import add_mount_options

    def question(
        name: str, text: str, operand: str, about: str, run: Callable[[argparse.Namespace], int]
    ) -> Parser:
        parser = commands.add_parser(name, help=text, allow_abbrev=False)
        parser.add_argument(operand, metavar=operand.upper(), help=about)
        parser.add_argument("--json", action="store_true", help="for programs")
        add_mount_options(parser)
        parser.set_defaults(run=run)
        return parser

    question("shares", "what can be mounted", "server", _SERVER_HELP, _shares)
    question("snapshots", "past states that can be mounted", "unc", _UNC_HELP, _snapshots)
    question("doctor", "why a mount fails", "unc", _UNC_HELP, _doctor)
    bench = question("bench", "how fast a share is", "unc", _UNC_HELP, _bench)
    bench.description = "Write and read a file of up to 512 MB there, which goes when that is done."
    bench.add_argument("--plot", metavar="FILE", type=Path, help="draw a chart, too (SVG)")


def _add_config(config: Parser) -> None:
    actions = config.add_subparsers(metavar="ACTION", required=True, parser_class=type(config))
    show = actions.add_parser("list", help="all that is in force, and why", allow_abbrev=False)
    show.set_defaults(run=_config_list)
    get = actions.add_parser("get", help="what a key comes to", allow_abbrev=False)
    get.set_defaults(run=_config_get)
    change = actions.add_parser("set", help="set a key of your file", allow_abbrev=False)
    remove = actions.add_parser("unset", help="take a key out of it", allow_abbrev=False)
    for action in (get, change, remove):
        action.add_argument(
            "key", metavar="KEY", help="a rule, kdc_proxy.REALM or server.NAME.OPTION"
        )
    change.add_argument("value", metavar="VALUE", help="lists with commas")
    for action in (change, remove):
        action.add_argument(
            "--system", action="store_true", help="of the policy for all users (root)"
        )
        action.set_defaults(run=_config_change, value=None)


def _add_login(login: Parser) -> None:
    from smbfs.cli.arguments import add_mount_options

    login.description = (
        "Check a password at a server, and keep it in the keyring, where mounts find it. With "
        "--kerberos, get a ticket as kinit does, by the KDC proxy if there is one."
    )
    login.add_argument("server", metavar="SERVER|USER@REALM", help=_SERVER_HELP)
    login.add_argument(
        "--password-stdin", action="store_true", help="read the password as a line, do not ask"
    )
    ways = login.add_mutually_exclusive_group()
    ways.add_argument("--kerberos", action="store_true", help="get a ticket for USER@REALM")
    ways.add_argument("--no-check", action="store_true", help="keep it without asking the server")
    add_mount_options(login)
    login.set_defaults(run=_login)


def _add_logout(logout: Parser) -> None:
    logout.description = "Remove passwords from the keyring."
    logout.add_argument("server", metavar="SERVER", help=_SERVER_HELP)
    logout.add_argument("--user", metavar="NAME", help="only this user's (DOMAIN\\NAME)")
    logout.set_defaults(run=_logout)


def _add_gateway(gateway: Parser) -> None:
    gateway.add_argument(
        "--listen", required=True, metavar="[HOST]:PORT", help="UDP address; SMB over QUIC has 443"
    )
    gateway.add_argument(
        "--to", required=True, metavar="HOST[:PORT]", help="the SMB server; TCP port 445 by default"
    )
    gateway.add_argument(
        "--cert",
        required=True,
        action="append",
        metavar="FILE",
        help="certificate and chain as PEM; again for another name, the first is the default",
    )
    gateway.add_argument(
        "--key", required=True, action="append", metavar="FILE", help="its key; one per --cert"
    )
    gateway.add_argument(
        "--client-cert-sha256",
        action="append",
        default=[],
        metavar="HEX",
        help="let only clients with this certificate in (SHA-256 over DER); again for more",
    )
    gateway.add_argument("--max-connections", type=int, default=256, metavar="N")
    gateway.add_argument("--idle-timeout", type=float, default=60.0, metavar="SECONDS")
    gateway.add_argument("-v", "--verbose", action="store_true", help="log more")
    gateway.set_defaults(run=_gateway)


# Each command loads what it needs and no more: a daemon begins as `smbfs mount`.


def _mount(namespace: argparse.Namespace) -> int:
    from smbfs.cli.arguments import given_options
    from smbfs.cli.mount import mount
    from smbfs.cli.prepare import MountRequest

    return mount(
        MountRequest(
            unc=namespace.unc,
            mountpoint=namespace.mountpoint,
            given=given_options(namespace),
            foreground=namespace.foreground,
            verbose=namespace.verbose,
        )
    )


def _open(namespace: argparse.Namespace) -> int:
    from smbfs.cli.arguments import given_options
    from smbfs.cli.open import OpenRequest, open_address

    return open_address(OpenRequest(url=namespace.url, given=given_options(namespace)))


def _umount(namespace: argparse.Namespace) -> int:
    from smbfs.cli.unmount import unmount

    return unmount(namespace.mountpoint, lazy=namespace.lazy)


def _status(namespace: argparse.Namespace) -> int:
    from smbfs.cli.status import show_status

    return show_status(namespace.mountpoint, as_json=namespace.json, watch=namespace.watch)


def _shares(namespace: argparse.Namespace) -> int:
    from smbfs.cli.arguments import given_options
    from smbfs.cli.shares import SharesRequest, show_shares

    return show_shares(
        SharesRequest(
            server=namespace.server, given=given_options(namespace), as_json=namespace.json
        )
    )


def _snapshots(namespace: argparse.Namespace) -> int:
    from smbfs.cli.arguments import given_options
    from smbfs.cli.snapshots import SnapshotsRequest, show_snapshots

    return show_snapshots(
        SnapshotsRequest(unc=namespace.unc, given=given_options(namespace), as_json=namespace.json)
    )


def _login(namespace: argparse.Namespace) -> int:
    from smbfs.cli.arguments import given_options

    given = given_options(namespace)
    if namespace.kerberos:
        from smbfs.cli.ticket import TicketRequest, get_ticket

        return get_ticket(
            TicketRequest(
                principal=namespace.server, given=given, password_stdin=namespace.password_stdin
            )
        )
    from smbfs.cli.login import LoginRequest, login

    return login(
        LoginRequest(
            server=namespace.server,
            given=given,
            password_stdin=namespace.password_stdin,
            check=not namespace.no_check,
        )
    )


def _logout(namespace: argparse.Namespace) -> int:
    from smbfs.cli.login import logout

    return logout(namespace.server, namespace.user)


def _doctor(namespace: argparse.Namespace) -> int:
    from smbfs.cli.arguments import given_options
    from smbfs.cli.doctor.command import DoctorRequest, examine

    return examine(
        DoctorRequest(unc=namespace.unc, given=given_options(namespace), as_json=namespace.json)
    )


def _bench(namespace: argparse.Namespace) -> int:
    from smbfs.cli.arguments import given_options
    from smbfs.cli.bench import BenchRequest, bench

    return bench(
        BenchRequest(
            unc=namespace.unc,
            given=given_options(namespace),
            as_json=namespace.json,
            plot=namespace.plot,
        )
    )


def _audit(namespace: argparse.Namespace) -> int:
    from smbfs.cli.audit import AuditRequest, show_audit

    return show_audit(
        AuditRequest(
            unc=namespace.unc,
            since=namespace.since,
            until=namespace.until,
            event=namespace.event,
            as_json=namespace.json,
        )
    )


def _config_list(_namespace: argparse.Namespace) -> int:
    from smbfs.cli.config import list_config

    return list_config()


def _config_get(namespace: argparse.Namespace) -> int:
    from smbfs.cli.config import get_config

    return get_config(namespace.key)


def _config_change(namespace: argparse.Namespace) -> int:
    from smbfs.cli.config_change import change_config

    return change_config(namespace.key, namespace.value, system=namespace.system)


def _gateway(namespace: argparse.Namespace) -> int:
    from smbfs.cli.gateway import GatewayRequest, run_gateway

    return run_gateway(
        GatewayRequest(
            listen=namespace.listen,
            to=namespace.to,
            certificates=namespace.cert,
            keys=namespace.key,
            client_sha256=namespace.client_cert_sha256,
            max_connections=namespace.max_connections,
            idle_timeout_s=namespace.idle_timeout,
            verbose=namespace.verbose,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
