"""A machine of its own for logs: with systemd's journal, with a syslog, or with neither.

It is a namespace of mounts and processes with a /run, a /var/log and a /dev of its own, and shares
everything else, the network above all. When it ends so does everything that runs in it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.beds.guardian import BedError
from tests.beds.mounted import SMBFS

JOURNALD: Final = Path("/lib/systemd/systemd-journald")

# $1 is a folder for what follows; $2 the journal's program, or empty.
_SCRIPT: Final = """
set -e
mkdir "$1/dev" "$1/dev/shm"
mknod -m 666 "$1/dev/null" c 1 3
mknod -m 666 "$1/dev/urandom" c 1 9
mknod -m 666 "$1/dev/fuse" c 10 229
[ ! -e "$1/syslog" ] || ln -s "$1/syslog" "$1/dev/log"
mount --bind "$1/dev" /dev
mount -t tmpfs -o mode=755 bed /run
mount -t tmpfs -o mode=755 bed /var/log
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /var/log/journal
echo 0123456789abcdef0123456789abcdef >/run/machine-id
mount --bind /run/machine-id /etc/machine-id
printf '[Journal]\\nStorage=persistent\\nReadKMsg=no\\nAudit=no\\n' \\
    >/run/systemd/journald.conf.d/bed.conf
# As systemd would: from now on the journal is on disk, and each user's apart.
touch /run/systemd/journal/flushed
if [ -n "$2" ]; then
    "$2" &
    for try in $(seq 500); do
        [ ! -S /run/systemd/journal/socket ] || break
        sleep 0.02
    done
    [ -S /run/systemd/journal/socket ]
fi
echo ready
exec tail -f /dev/null
"""


@dataclass(frozen=True)
class Machine:
    """A machine that runs."""

    folder: Path
    """Its own; everybody may enter it."""
    _pid: int

    def run(
        self, *command: str, uid: int = 0, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in it to its end, as a user."""
        inside = ["nsenter", f"--target={self._pid}", "--mount", "--pid"]
        # The one capability lets the user run smbfs also where it lies below a closed directory.
        as_user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        as_user += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        return subprocess.run(
            [*inside, *(as_user if uid else ()), *command],
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def smbfs(
        self, *arguments: str, uid: int = 0, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``smbfs`` in it."""
        return self.run(str(SMBFS), *arguments, uid=uid, environment=environment)


@contextmanager
def machine(folder: Path, *, journal: bool = False) -> Iterator[Machine]:
    """Make a machine; ``folder`` is new. A socket ``syslog`` in it becomes /dev/log.

    Takes root. Raises: BedError.
    """
    if journal and not JOURNALD.exists():
        raise BedError(f"{JOURNALD} is missing: run `./dev setup` as root, or install systemd")
    folder.chmod(0o711)
    apart = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    script = ["sh", "-c", _SCRIPT, "sh", str(folder), str(JOURNALD) if journal else ""]
    with subprocess.Popen([*apart, *script], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise BedError("there is no machine: see above; it takes root")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii")
            yield Machine(folder, int(children))
        finally:
            process.kill()
