"""A KDC proxy as companies run one: PyPI's ``kdcproxy`` behind HTTPS. Spec: [MS-KKDCP].

Its socket listens on our own loopback; the proxy itself lives where the KDC can be reached, in a
network namespace for example, so that it is the only way there.

Run as ``python -m tests.beds.kdc_proxy PORT CERTIFICATE KEY [NAMESPACE]``. ``/KdcProxy`` is the
proxy; ``/status/403`` answers anything with that status; ``/words`` answers with what is no
Kerberos. Each request is a line of its output.
"""

from __future__ import annotations

import ctypes
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from tests.beds.guardian import BedError, Guardian
from tests.beds.kdc import Kdc
from tests.beds.pki import Leaf
from tests.beds.samba_folder import HOST
from tests.beds.tcp_sockets import free_port

_CLONE_NEWNET = 0x4000_0000
_READY = "serving"
_READY_WITHIN_S = 20.0

_Answer = Callable[[str, list[tuple[str, str]]], object]


class KdcProxy:
    """A running proxy for one KDC."""

    def __init__(self, guardian: Guardian, port: int) -> None:
        self._guardian = guardian
        self.port = port

    def url(self, path: str = "/KdcProxy", *, host: str = "localhost") -> str:
        """Where it is, by a name that the certificates of the tests have."""
        return f"https://{host}:{self.port}{path}"

    def log(self) -> str:
        """What it has said: a line for each request."""
        return self._guardian.log()


@contextmanager
def kdc_proxy(
    folder: Path, kdc: Kdc, leaf: Leaf, *, namespace: Path | None = None
) -> Iterator[KdcProxy]:
    """Run one that reaches ``kdc`` from ``namespace`` (None: ours); its files are in ``folder``.

    Raises: BedError if it does not serve within 20 s.
    """
    port = free_port()
    log = folder / f"kdc_proxy-{port}.out"
    config = folder / f"kdc_proxy-{port}.conf"
    config.write_text(
        f"[global]\nuse_dns = false\nsilence_port_warn = true\n"
        f"[{kdc.realm}]\nkerberos = kerberos+tcp://{HOST}:{kdc.port}\n"
    )
    arguments = [str(port), str(leaf.cert), str(leaf.key), *([str(namespace)] if namespace else [])]
    guardian = Guardian.start(
        [sys.executable, "-m", "tests.beds.kdc_proxy", *arguments],
        log,
        env={"KDCPROXY_CONFIG": str(config)},
    )
    try:
        deadline = time.monotonic() + _READY_WITHIN_S
        while _READY not in guardian.log():
            ended = guardian.wait_exited(timeout_s=0.02)
            if ended is not None or time.monotonic() > deadline:
                raise BedError(f"the KDC proxy does not serve: {guardian.log()}")
        yield KdcProxy(guardian, port)
    finally:
        guardian.stop()


@contextmanager
def hidden_network() -> Iterator[Path]:
    """Make a network namespace with nothing but its loopback; return the file that names it."""
    name = f"smbfs-kdc-{os.getpid()}"
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        yield Path("/run/netns") / name
    finally:
        _ip("netns", "delete", name)


def inside(namespace: Path) -> tuple[str, ...]:
    """The command that runs another one there."""
    return ("nsenter", f"--net={namespace}")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


class _Server(WSGIServer):
    context: ssl.SSLContext

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        connection.settimeout(_READY_WITHIN_S)
        return self.context.wrap_socket(connection, server_side=True), address


def _application(proxy: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def answer(environment: dict[str, Any], start: _Answer) -> Iterable[bytes]:
        path = str(environment["PATH_INFO"])
        if path.startswith("/status/"):
            status = HTTPStatus(int(path.removeprefix("/status/")))
            start(f"{status.value} {status.phrase}", [("Content-Type", "text/html")])
            return [b"<html>no</html>"]
        if path == "/words":
            start("200 OK", [("Content-Type", "text/html")])
            return [b"<html>Welcome</html>"]
        return proxy(environment, start)

    return answer


def main() -> None:
    """Serve until ended."""
    # Loaded here: it reads its configuration.
    from kdcproxy import Application  # type: ignore[import-untyped]

    port, certificate, key, *namespaces = sys.argv[1:]
    with _Server((HOST, int(port)), WSGIRequestHandler) as server:
        # Sockets stay where they were made, so only those to the KDC are there.
        for namespace in namespaces:
            with Path(namespace).open() as there:
                if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(certificate, key)
        server.set_app(_application(Application()))
        sys.stderr.write(f"{_READY}\n")
        server.serve_forever()


if __name__ == "__main__":
    main()
