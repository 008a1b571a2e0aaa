"""A newer Debian in a folder: programs that the suite of this machine does not have.

It is made once, from where apt gets this machine's own packages, and kept below the user's cache.
What runs inside has mounts and process ids of its own, so that nothing of it is left behind.
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

SUITE = "trixie"
PACKAGES = ("golang-go", "golang-github-lucas-clemente-quic-go-dev", "smbclient")
"""From the suite's backports: a Samba whose client speaks QUIC, and quic-go."""

HOSTS = "127.0.0.1 localhost bed.test"
"""Names that are known inside: those of the tests' certificates."""

SHARED = Path("/mnt")
"""Where a folder of ours is found inside."""

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_MADE_WITHIN_S = 1800.0
_GO_ENVIRONMENT = ("GO111MODULE=off", "GOPATH=/usr/share/gocode", "GOCACHE=/var/cache/go")
_ENTER = """\
shared=$1 root=$2 there=$3
shift 3
mount --bind "$shared" "$root$there"
mount -t proc proc "$root/proc"
exec chroot "$root" env -i PATH="$PATH" HOME=/root "$@"
"""
_MAKE = """\
root=$1 suite=$2 mirror=$3 hosts=$4
shift 4
[ ! -e "$root" ] || exit 0 # Somebody has made it while we waited for the lock.
new=$root.partial
rm -rf "$new"
debootstrap --variant=minbase "$suite" "$new" "$mirror"
echo "deb $mirror $suite-backports main" >"$new/etc/apt/sources.list.d/backports.list"
mount -t proc proc "$new/proc"
unset TMPDIR # A folder of ours, which is not in there.
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
chroot "$new" apt-get update -q
chroot "$new" apt-get install -q -y --no-install-recommends -t "$suite-backports" "$@"
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

    def inside(self, shared: Path, *command: str) -> list[str]:
        """Return the command line that runs ``command`` inside; ``shared`` is ``SHARED`` there."""
        return _with_own_mounts(_ENTER, str(shared), str(self.root), str(SHARED), *command)

    def run(
        self, shared: Path, *command: str, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` inside to its end. Raises: subprocess.TimeoutExpired."""
        return subprocess.run(
            self.inside(shared, *command),
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


def newer_suite() -> NewerSuite:
    """Return the folder; it is made if it isn't there yet, which takes minutes.

    Raises: BedError that says what is missing.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smbfs-tests"
    cache.mkdir(parents=True, exist_ok=True)
    # Whoever wants other packages wants another folder.
    wanted = hashlib.sha256(repr((_MAKE, PACKAGES)).encode()).hexdigest()[:8]
    root = cache / f"{SUITE}-{wanted}"
    if not root.exists():
        _check_possible()
        _make(root)
    return NewerSuite(root)


def _check_possible() -> None:
    if os.geteuid() != 0:
        raise BedError(f"only root can make a Debian {SUITE} in a folder")
    if shutil.which("debootstrap", path=_PATH) is None:
        raise BedError("debootstrap is not installed: as root, apt-get install debootstrap")


def _make(root: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        guardian = Guardian.start(
            [
                # The lock is every process's below, so it ends with the last of them.
                *("flock", str(root.with_suffix(".lock"))),
                *_with_own_mounts(_MAKE, str(root), SUITE, _mirror(), HOSTS, *PACKAGES),
            ],
            Path(name) / "log",
        )
        try:
            code = guardian.wait_exited(_MADE_WITHIN_S)
        finally:
            guardian.stop()
        if code != 0:
            raise BedError(f"no Debian {SUITE} could be made ({code}):\n{guardian.log()[-4000:]}")


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
    """Return the command line of a shell script whose mounts and processes end with it."""
    return [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
        *("env", f"PATH={_PATH}", "sh", "-ec", script, "sh", *arguments),
    ]
