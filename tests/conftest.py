"""Fixtures for every layer, and the order of the layers.

Layers run from the lowest up. When one fails, those above it don't run: their failures
would only repeat the news. Tests marked ``long`` run with ``--long``. What a test needs and
this machine lacks is a failure that says what to install, never a skip.
"""

from __future__ import annotations

import gc
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.beds.kdc import Kdc
from tests.beds.machine import Machine, machine
from tests.beds.mounted import Mounted, mount
from tests.beds.pki import Pki
from tests.beds.quic_gateway import quic_gateway
from tests.beds.samba import SambaServer
from tests.beds.samba_folder import ALICE, HOST, User
from tests.beds.variants import VARIANTS
from tests.t1_fuzz.contract import BOOKS

TIDY = -1
"""Rank of ``tests/tidy``: first, and nothing builds on it."""
_SERVERS = pytest.StashKey[list[SambaServer]]()
_LOG_SIZES = pytest.StashKey[dict[SambaServer, int]]()
_FAILED_LAYER = pytest.StashKey[int]()
_SEEDS = pytest.StashKey[int]()
_LOG_TAIL = 6000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests that take minutes")
    parser.addoption("--seed", type=int, help="run this seed of the simulation, and no other one")
    parser.addoption("--quic", action="store_true", help="make the mounts of tests over QUIC")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SERVERS] = []


def count_seeds(config: pytest.Config, count: int) -> None:
    """Have the end of the run tell how many seeds the simulation has run."""
    config.stash[_SEEDS] = config.stash.get(_SEEDS, 0) + count


def layer_of(item: pytest.Item) -> int:
    """The number in the name of the folder (``t3_vfs`` is 3), or ``TIDY``."""
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return TIDY if folder == "tidy" else int(folder[1])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=layer_of)
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


def pytest_collection_finish() -> None:
    """Leave what lives as long as the run out of each collection of garbage; some tests do many."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """End the run at the border of a layer that failed. Tidiness is no layer to build on."""
    before = item.session.testsfailed
    item.stash[_LOG_SIZES] = {
        server: server.log_path.stat().st_size for server in item.config.stash[_SERVERS]
    }
    result = yield
    layer = layer_of(item)
    if item.session.testsfailed > before and layer != TIDY:
        item.config.stash.setdefault(_FAILED_LAYER, layer)
    failed = item.config.stash.get(_FAILED_LAYER, None)
    if failed is not None and nextitem is not None and layer_of(nextitem) > failed:
        item.session.shouldfail = f"layer {failed} failed: those above it did not run"
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the servers said meanwhile beside a failure."""
    report = yield
    if report.failed:
        for server in item.config.stash[_SERVERS]:
            said = server.log_path.read_text(errors="replace")[item.stash[_LOG_SIZES].get(server) :]
            if said:
                report.sections.append((f"smbd on port {server.port}", said[-_LOG_TAIL:]))
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many inputs the fuzzers have tried, and how many seeds the simulation has run."""
    if BOOKS.inputs:
        terminalreporter.write_line(BOOKS.summary())
    if seeds := config.stash.get(_SEEDS, 0):
        terminalreporter.write_line(f"simulation: {seeds:,} seeds")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """A CA of a module's own, and whatever certificates it asks for."""
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def beds_folder() -> Iterator[Path]:
    """A folder that the users of the test servers may enter (pytest's own are closed)."""
    with tempfile.TemporaryDirectory(prefix="smbfs-beds-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.fixture(scope="session")
def samba_variant(
    request: pytest.FixtureRequest, beds_folder: Path
) -> Iterator[Callable[[str], SambaServer]]:
    """Servers by their name in ``VARIANTS``, each started when first asked for."""
    running: dict[str, SambaServer] = {}

    def server(name: str) -> SambaServer:
        if name not in running:
            variant = VARIANTS[name]
            running[name] = SambaServer(
                beds_folder / name, globals=variant.globals, shares=variant.shares
            )
            request.config.stash[_SERVERS].append(running[name])
        return running[name]

    yield server
    for started in running.values():
        started.stop()


@pytest.fixture(scope="session")
def samba(samba_variant: Callable[[str], SambaServer]) -> SambaServer:
    """The default server: signing mandatory, POSIX extensions, leases. Shared by all tests."""
    return samba_variant("default")


@pytest.fixture(scope="session")
def kdc(beds_folder: Path) -> Iterator[Kdc]:
    """The KDC of a realm of the tests' own. Who stops it, or changes keys, makes good for it."""
    with Kdc(beds_folder / "kdc") as running:
        yield running


@pytest.fixture
def make_samba(
    request: pytest.FixtureRequest, beds_folder: Path
) -> Iterator[Callable[..., SambaServer]]:
    """Make servers of this test's own, of a kind of :class:`SambaServer`, with its keywords."""
    folder = Path(tempfile.mkdtemp(dir=beds_folder))
    folder.chmod(0o711)
    running: list[SambaServer] = []

    def make(kind: type[SambaServer] = SambaServer, **keywords: object) -> SambaServer:
        server = kind(folder / str(len(running)), **keywords)  # type: ignore[arg-type]
        running.append(server)
        request.config.stash[_SERVERS].append(server)
        return server

    yield make
    for server in running:
        request.config.stash[_SERVERS].remove(server)
        server.stop()


def require_fuse() -> None:
    """Fail, and say what to do, where mounts don't work."""
    device = Path("/dev/fuse")
    if not device.is_char_device() or not os.access(device, os.R_OK | os.W_OK):
        pytest.fail("/dev/fuse is missing or closed to this user (in a container: --device)")
    if shutil.which("fusermount3") is None:
        pytest.fail("fusermount3 is not installed: run `./dev setup` as root (fuse3)")


def require_root() -> None:
    """Skip what only root can show."""
    if os.geteuid() != 0:
        pytest.skip("only root can do this")


@pytest.fixture
def make_machine(beds_folder: Path) -> Iterator[Callable[..., Machine]]:
    """Machines of this test's own, with a folder ``mnt``: ``make_machine(journal=, syslog=)``.

    ``syslog`` is a socket that is to be /dev/log there.
    """
    require_root()
    require_fuse()
    with ExitStack() as machines:

        def make(*, journal: bool = False, syslog: socket.socket | None = None) -> Machine:
            folder = Path(tempfile.mkdtemp(prefix="machine-", dir=beds_folder))
            (folder / "mnt").mkdir()
            if syslog is not None:
                syslog.bind(str(folder / "syslog"))
            return machines.enter_context(machine(folder, journal=journal))

        yield make


@pytest.fixture(scope="session")
def by_quic(request: pytest.FixtureRequest) -> Iterator[Callable[[SambaServer], tuple[str, str]]]:
    """With ``--quic``, put a gateway in front of a server; return its port, and more options."""
    running: dict[SambaServer, tuple[str, str]] = {}
    with ExitStack() as gateways:

        def front(server: SambaServer) -> tuple[str, str]:
            if not request.config.getoption("--quic"):
                return "", ""
            if server not in running:
                folder = Path(gateways.enter_context(tempfile.TemporaryDirectory()))
                pki = Pki(folder)
                made = quic_gateway(folder, server.port, [pki.leaf("server")])
                port = gateways.enter_context(made).port
                running[server] = (
                    "-o",
                    f"transport=quic,quic_port={port},quic_ca={pki.ca},ip={HOST}",
                )
            return running[server]

        yield front


@pytest.fixture
def mount_share(
    samba: SambaServer,
    by_quic: Callable[[SambaServer], tuple[str, str]],
    tmp_path: Path,
) -> Iterator[Callable[..., Mounted]]:
    """Mount a share: ``mount_share(*options, share="share", server=samba, user=ALICE)``.

    All are unmounted when the test ends.
    """
    require_fuse()
    with ExitStack() as mounts:

        def make(
            *options: str, share: str = "share", server: SambaServer = samba, user: User = ALICE
        ) -> Mounted:
            credentials = f"credentials={server.credentials_file(user)}"
            mountpoint = Path(tempfile.mkdtemp(prefix="mount-", dir=tmp_path))
            return mounts.enter_context(
                mount(
                    server.unc(share),
                    mountpoint,
                    "-o",
                    credentials,
                    *filter(None, by_quic(server)),
                    *options,
                )
            )

        yield make
