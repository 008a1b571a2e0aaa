"""``smbfs open``: an ``smb://`` address as a folder, for who has no mount point in mind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from smbfs.cli.errors import ExitCode, printable
from smbfs.cli.mount import mount
from smbfs.cli.mount_table import FILE_SYSTEM_TYPE, find_mount
from smbfs.cli.prepare import MountRequest
from smbfs.cli.runtime import make_runtime_directory
from smbfs.config.options import GivenOption
from smbfs.config.unc import Unc, parse_unc

FOLDER: Final = "shares"
"""Where in the runtime directory the mounts are: ``[user@]server[:port]/share``."""

_SHOWS: Final = "xdg-open"
_DISPLAYS: Final = ("WAYLAND_DISPLAY", "DISPLAY")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """What the command line asks for."""

    url: str
    """A share, or a file or folder in it, in any spelling."""

    given: Sequence[GivenOption] = ()
    """Options of the mount, in order."""


def open_address(request: OpenRequest) -> int:
    """Mount a share, if it is not mounted here yet, and show what the address names.

    Prints where that is. Returns the exit code. Raises: UserError.
    """
    unc = parse_unc(request.url)
    place = _place(unc)
    mounted = find_mount(str(place))
    if mounted is None or mounted.file_system_type != FILE_SYSTEM_TYPE:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        share = MountRequest(unc=_url(unc), mountpoint=str(place), given=request.given)
        code = mount(share)
        if code != ExitCode.FINE:
            return code
    shown = place.joinpath(unc.path)
    print(printable(str(shown)), flush=True)
    return _show(shown, os.environ)


def _place(unc: Unc) -> Path:
    """Return where a share is mounted by this command. Raises: UserError."""
    server = str(replace(unc, path="")).removeprefix("//").removesuffix(f"/{unc.share}")
    user = f"{unc.user}@" if unc.user is not None else ""
    folder = make_runtime_directory(os.environ, os.geteuid()) / FOLDER
    return folder / f"{user}{server}".replace("/", "_") / unc.share


def _url(unc: Unc) -> str:
    """Return the address of the whole share."""
    user = f"{quote(unc.user, safe='')}@" if unc.user is not None else ""
    return f"smb://{user}{quote(str(replace(unc, path=''))[2:], safe='/:[]')}"


def _show(path: Path, environment: Mapping[str, str]) -> int:
    """Have the desktop show it, if there is one."""
    opener = shutil.which(_SHOWS)
    if opener is None or not any(environment.get(name) for name in _DISPLAYS):
        return ExitCode.FINE
    done = subprocess.run([opener, str(path)], stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        print(f"smbfs: {_SHOWS} does not show it; it is mounted all the same.", file=sys.stderr)
        return ExitCode.SYSTEM
    return ExitCode.FINE
