"""A newer Debian in a folder: programs that the suite of this machine does not have.

Each is made once, from where apt gets this machine's own packages, and kept below the user's cache.
What runs inside has mounts of its own, so that nothing of them is left behind.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.beds.guardian import BedError, Guardian


@dataclass(frozen=True)
class Suite:
    """A release of Debian, and what of it is wanted in a folder."""

    name: str
    packages: tuple[str, ...]
    takes_backports: bool = False
    """Whether the packages come from the release's backports, where they have them."""


QUIC = Suite(
    "trixie",
    ("golang-go", "golang-github-lucas-clemente-quic-go-dev", "smbclient"),
    takes_backports=True,
)
"""A Samba whose client speaks QUIC, and quic-go."""

PERSISTENT_HANDLES = Suite("sid", ("samba", "libnss-wrapper"))
"""A Samba whose handles can survive the server."""

HOSTS = "127.0.0.1 localhost bed.test"
"""Names that are known inside: those of the tests' certificates."""

SHARED = Path("/mnt")
"""Where a folder of ours is found inside, if nothing else is said."""

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_MADE_WITHIN_S = 1800.0
_GO_ENVIRONMENT = ("GO111MODULE=off", "GOPATH=/usr/share/gocode", "GOCACHE=/var/cache/go")
_ENDING_TOGETHER = ("unshare", "--pid", "--fork", "--kill-child")
"""The command that runs another one, whose processes end with it."""
_ENTER = """\
shared=$1 root=$2 there=$3
shift 3
mount --bind "$root" "$root"
cd "$root"
mount -t tmpfs -o mode=1777 bed tmp
mkdir -p "./$there" tmp/outside
mount --bind "$shared" "./$there"
mount -t proc proc proc
pivot_root . tmp/outside
umount --lazy /tmp/outside
exec env -i PATH="$PATH" HOME=/root "$@"
"""
"""Nothing of the outside stays mounted: what is unmounted there must not live on in here."""
_MAKE = """\
root=$1 suite=$2 from=$3 mirror=$4 hosts=$5
shift 5
[ ! -e "$root" ] || exit 0 # Somebody has made it while we waited for the lock.
new=$root.partial
rm -rf "$new"
debootstrap --variant=minbase "$suite" "$new" "$mirror"
mount -t proc proc "$new/proc"
unset TMPDIR # A folder of ours, which is not in there.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
if [ "$from" != "$suite" ]; then # Of the suite itself debootstrap has left the lists.
    echo "deb $mirror $from main" >"$new/etc/apt/sources.list.d/$from.list"
    chroot "$new" apt-get update -q
fi
chroot "$new" apt-get install -q -y --no-install-recommends -t "$from" "$@"
chroot "$new" apt-get clean
echo "$hosts" >"$new/etc/hosts"
umount "$new/proc"
mv "$new" "$root"
"""
"""Beside its place, so that it is never seen half made."""


@dataclass(frozen=True)
class NewerSuite:
    """The folder, ready for use."""

    root: Path

    def inside(self, shared: Path, *command: str, at: Path = SHARED) -> list[str]:
        """Return the command line that runs ``command`` inside; the folder ``shared`` is ``at``.

        It keeps its process id, and nothing of the environment: a Guardian can have it.
        """
        return _with_own_mounts(_ENTER, str(shared), str(self.root), str(at), *command)

    def run(
        self, shared: Path, *command: str, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` inside to its end, and that of all that it starts.

        Raises: subprocess.TimeoutExpired.
        """
        return subprocess.run(
            [*_ENDING_TOGETHER, *self.inside(shared, *command)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def build_go(self, source: Path, program: Path) -> None:
        """Compile ``source`` to ``program``, which needs no libraries and so runs outside, too.

        Raises: BedError with what the compiler says.
        """
        with tempfile.TemporaryDirectory() as name:
            shared = Path(name)
            shutil.copy(source, shared / "main.go")
            build = ("go", "build", "-o", str(SHARED / "built"), str(SHARED / "main.go"))
            settings = ("env", "CGO_ENABLED=0", *_GO_ENVIRONMENT)
            done = self.run(shared, *settings, *build, timeout_s=_MADE_WITHIN_S)
            if done.returncode:
                raise BedError(f"{source.name} can't be compiled:\n{done.stderr}")
            shutil.copy(shared / "built", program)


def newer_suite(suite: Suite) -> NewerSuite:
    """Return the folder of a suite; it is made if it isn't there yet, which takes minutes.

    Raises: BedError that says what is missing.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smbfs-tests"
    cache.mkdir(parents=True, exist_ok=True)
    # Whoever wants other packages wants another folder.
    wanted = hashlib.sha256(repr((_MAKE, suite)).encode()).hexdigest()[:8]
    root = cache / f"{suite.name}-{wanted}"
    if not root.exists():
        _check_possible(suite)
        _make(suite, root)
    return NewerSuite(root)


def _check_possible(suite: Suite) -> None:
    if os.geteuid() != 0:
        raise BedError(f"only root can make a Debian {suite.name} in a folder")
    if shutil.which("debootstrap", path=_PATH) is None:
        raise BedError("debootstrap is not installed: as root, apt-get install debootstrap")


def _make(suite: Suite, root: Path) -> None:
    source = f"{suite.name}-backports" if suite.takes_backports else suite.name
    wanted = (str(root), suite.name, source, _mirror(), HOSTS, *suite.packages)
    with tempfile.TemporaryDirectory() as name:
        guardian = Guardian.start(
            [
                # The lock is every process's below, so it ends with the last of them.
                *("flock", str(root.with_suffix(".lock"))),
                *_ENDING_TOGETHER,
                *_with_own_mounts(_MAKE, *wanted),
            ],
            Path(name) / "log",
        )
        try:
            code = guardian.wait_exited(_MADE_WITHIN_S)
        finally:
            guardian.stop()
        if code != 0:
            log = guardian.log()[-4000:]
            raise BedError(f"no Debian {suite.name} could be made ({code}):\n{log}")


def _mirror() -> str:
    """Return where apt gets Debian from on this machine."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)/$(LABEL)/$(COMPONENT) $(REPO_URI)"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        kind, _, address = line.partition(" ")
        if kind == "Debian/Debian/main":
            return address
    raise BedError("apt knows no Debian here: on another system there is nothing to make one from")


def _with_own_mounts(script: str, *arguments: str) -> list[str]:
    """Return the command line of a shell script whose mounts end with it."""
    return [
        *("unshare", "--mount", "env", f"PATH={_PATH}"),
        *("sh", "-ec", script, "sh", *arguments),
    ]
