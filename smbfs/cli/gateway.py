"""``smbfs gateway``: check what was asked for, then relay until a signal ends it."""

from __future__ import annotations

import ipaddress
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from smbfs.audit.writer import open_audit
from smbfs.cli.errors import CommandError, ExitCode
from smbfs.cli.privileges import (
    Capability,
    forget_caller,
    give_up_privileges,
    keep_secrets,
)
from smbfs.errors import TransportError
from smbfs.gateway.certificates import CertificateFiles, Certificates
from smbfs.gateway.gateway import Gateway, GatewaySettings
from smbfs.transport.dial import TCP_PORT
from smbfs.transport.quic_server import Limits
from smbfs.transport.quic_settings import QUIC_PORT

_LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_SHA256_DIGITS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRequest:
    """The command line."""

    listen: str
    to: str
    certificates: Sequence[str]
    keys: Sequence[str]
    client_sha256: Sequence[str]
    max_connections: int
    idle_timeout_s: float
    verbose: bool


def run_gateway(request: GatewayRequest) -> int:
    """Serve until SIGTERM or SIGINT.

    Raises: ConfigError and CommandError when something that was given can't be used.
    """
    keep_secrets()
    forget_caller()
    settings = _settings(request)
    logging.basicConfig(
        stream=sys.stderr,
        format=_LOG_FORMAT,
        level=logging.DEBUG if request.verbose else logging.INFO,
    )
    # aioquic writes a line for every handshake; the audit has it already.
    logging.getLogger("quic").setLevel(logging.INFO if request.verbose else logging.ERROR)
    # The port is bound, and renewed keys are read, later.
    give_up_privileges(keep={Capability.NET_BIND_SERVICE, Capability.DAC_READ_SEARCH})
    audit = open_audit()
    try:
        trio.run(Gateway(settings, audit).run, _say_listening, strict_exception_groups=True)
    except BaseExceptionGroup as group:
        failures, others = group.split(TransportError)
        if failures is None or others is not None:
            raise
        raise _cant_listen(request.listen, failures) from group
    finally:
        audit.close()
    return int(ExitCode.FINE)


def _say_listening(address: str) -> None:
    print(f"listening on {address}", flush=True)


def _settings(request: GatewayRequest) -> GatewaySettings:
    if len(request.certificates) != len(request.keys):
        raise _usage(
            "every --cert needs its --key",
            f"there are {len(request.certificates)} of one and {len(request.keys)} of the other.",
            "give them in pairs, in the same order.",
        )
    if request.max_connections < 1:
        raise _usage(
            "--max-connections must be at least 1", "nobody would get in.", "leave it out for 256."
        )
    if not 1 <= request.idle_timeout_s <= 86400:
        raise _usage(
            "--idle-timeout must be 1 to 86400 seconds",
            "clients that only rest would be gone, or those that are gone would stay.",
            "leave it out for 60.",
        )
    pairs = zip(request.certificates, request.keys, strict=True)
    fingerprints = frozenset(map(_fingerprint, request.client_sha256))
    return GatewaySettings(
        listen=_listen_address(request.listen),
        server=_server_address(request.to),
        certificates=Certificates([CertificateFiles(Path(cert), Path(key)) for cert, key in pairs]),
        client_sha256=fingerprints or None,
        limits=Limits(connections=request.max_connections, idle_timeout_s=request.idle_timeout_s),
    )


def _listen_address(text: str) -> tuple[str, int]:
    host, port = _split(text, QUIC_PORT, "--listen")
    if host:
        try:
            ipaddress.ip_address(host)
        except ValueError as error:
            raise _usage(
                f"--listen {text} is not an address to listen on",
                f"{host!r} is not an IP address of this machine's.",
                "give ADDRESS:PORT, [ADDRESS]:PORT for IPv6, or :PORT for all addresses.",
            ) from error
    return host, port


def _server_address(text: str) -> tuple[str, int]:
    host, port = _split(text, TCP_PORT, "--to")
    try:
        is_name = bool(host.encode("idna"))
    except UnicodeError:  # Nobody could look it up.
        is_name = False
    if not is_name or port == 0:
        raise _usage(
            f"--to {text} is not a server",
            "it names no host that could be looked up, or the port 0.",
            "give HOST or HOST:PORT; the port is 445 if not given.",
        )
    return host, port


def _split(text: str, default_port: int, option: str) -> tuple[str, int]:
    """Split HOST, HOST:PORT, :PORT, [IPV6], [IPV6]:PORT or a bare IPv6 address."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        is_whole = bool(bracket) and rest[:1] in {"", ":"}
        port = rest[1:]
    elif text.count(":") > 1:
        host, port, is_whole = text, "", True
    else:
        host, _, port = text.partition(":")
        is_whole = True
    if not is_whole or (port and not (port.isascii() and port.isdigit() and int(port) <= 65535)):
        raise _usage(
            f"{option} {text} is not an address",
            f"the port {port!r} is not a number up to 65535." if is_whole else "",
            "give HOST:PORT, or [HOST]:PORT for an IPv6 address.",
        )
    return host, int(port) if port else default_port


def _fingerprint(text: str) -> str:
    """SHA-256 as openssl and certutil print it: with or without colons, in any case."""
    digits = text.replace(":", "").lower()
    if len(digits) != _SHA256_DIGITS or not set(digits) <= set("0123456789abcdef"):
        raise _usage(
            f"--client-cert-sha256 {text} is not a SHA-256",
            "it has 64 hexadecimal digits.",
            "`openssl x509 -in CLIENT.pem -noout -fingerprint -sha256` prints it.",
        )
    return digits


def _cant_listen(listen: str, group: BaseExceptionGroup[TransportError]) -> CommandError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return CommandError(
        f"can't listen on {listen}",
        f"{error}.",
        "see who uses the port (`ss -ulpn`), that the address is this machine's, and that this "
        "user may use it: a port below 1024 takes root, or AmbientCapabilities="
        "CAP_NET_BIND_SERVICE in a systemd unit.",
        exit_code=ExitCode.SYSTEM,
    )


def _usage(what: str, why: str, do: str) -> CommandError:
    return CommandError(what, why, do, exit_code=ExitCode.USAGE)
