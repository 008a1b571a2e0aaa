"""Scripts run as a user who is not root, where /dev/fuse is open to all as on desktops."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.beds.mounted import SMBFS
from tests.beds.samba import SambaServer

# $1 is the user, $2 the home, $3 the user's script and $4 that of root afterwards.
_AS_PLAIN_USER: Final = """
mknod -m 666 "$2/fuse" c 10 229 && mount --bind "$2/fuse" /dev/fuse || exit 99
[ ! -e "$2/fuse.conf" ] || mount --bind "$2/fuse.conf" /etc/fuse.conf || exit 99
user=$1 script=$3 afterwards=$4
shift 4
# The one capability lets the user run smbfs also where it lies below a closed directory.
setpriv --reuid $user --regid 65534 --clear-groups \\
    --inh-caps +dac_read_search --ambient-caps +dac_read_search -- sh -c "$script" sh "$@"
code=$?
sh -c "$afterwards" sh "$@"
exit $code
"""


@dataclass(frozen=True)
class AsPlainUser:
    """Runs scripts in a mount namespace of their own."""

    samba: SambaServer
    folder: Path

    def __call__(
        self, user: str, script: str, *, fuse_conf: str | None = None, afterwards: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run ``script`` as ``user``, then ``afterwards`` as root in the same place.

        Its directory holds credentials and an empty ``mnt``; $1 is smbfs and $2 the share.
        ``fuse_conf`` is what /etc/fuse.conf says there.
        """
        home = Path(tempfile.mkdtemp(dir=self.folder))
        (home / "mnt").mkdir()
        (home / "credentials").write_text(
            f"username={self.samba.user}\npassword={self.samba.password}\n"
        )
        (home / "credentials").chmod(0o600)
        if fuse_conf is not None:
            (home / "fuse.conf").write_text(fuse_conf)
            (home / "fuse.conf").chmod(0o644)
        for path in (home, home / "mnt", home / "credentials"):
            shutil.chown(path, int(user) if user.isdigit() else user)
        command = ["unshare", "--mount", "sh", "-c", _AS_PLAIN_USER, "sh", user, str(home)]
        return subprocess.run(
            [*command, script, afterwards, str(SMBFS), self.samba.unc()],
            env={**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")},
            cwd=home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
