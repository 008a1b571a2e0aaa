"""``mount.smbfs``: what mount(8), fstab and systemd call, with their arguments and exit codes.

mount(8) looks for helpers in ``/sbin``; a link ``/sbin/mount.smbfs`` to this program makes
``mount -t smbfs //server/share /mnt -o credentials=…`` work.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from smbfs.cli.errors import CommandError, ExitCode
from smbfs.cli.main import run_command
from smbfs.config.options import GivenOption, split_options

_PROGRAM: Final = "mount.smbfs"
_USAGE: Final = "mount.smbfs UNC MOUNTPOINT [-sfnv] [-o OPT[,OPT=VALUE…]]"
_ORIGIN: Final = "-o"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the helper and return its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    return run_command(_PROGRAM, lambda: _mount(given))


def _mount(arguments: Sequence[str]) -> int:
    import getopt

    try:
        # mount(8) appends options to the two names; getopt takes both orders.
        flags, names = getopt.gnu_getopt(list(arguments), "sfnvo:t:N:hV", ["help", "version"])
    except getopt.GetoptError as error:
        raise CommandError(
            str(error), "mount(8) gives it no others.", _USAGE, exit_code=ExitCode.USAGE
        ) from None
    chosen = {flag for flag, _ in flags}
    if chosen & {"-h", "--help"}:
        print(f"usage: {_USAGE}")
        return int(ExitCode.FINE)
    if chosen & {"-V", "--version"}:
        from smbfs.cli.arguments import version_line

        print(version_line(_PROGRAM))
        return int(ExitCode.FINE)
    if len(names) != 2:
        raise CommandError(
            "a share and a mount point are needed",
            f"there are {len(names)} names.",
            _USAGE,
            exit_code=ExitCode.USAGE,
        )
    options = [each for flag, text in flags if flag == "-o" for each in split_options(text)]
    if "-s" in chosen:
        options.append(GivenOption("sloppy", None, "-s"))
    if os.geteuid() == 0 and not any(each.name == "allow_other" for each in options):
        # What root mounts is for everybody, as far as mode bits let them: mount(8)'s way.
        options.insert(0, GivenOption("allow_other", None, _ORIGIN))
    return _run(names[0], names[1], options, fake="-f" in chosen, verbose="-v" in chosen)


def _run(
    unc: str, mountpoint: str, options: list[GivenOption], *, fake: bool, verbose: bool
) -> int:
    from smbfs.cli.mount import mount, prepare_recorded
    from smbfs.cli.prepare import MountRequest

    request = MountRequest(
        unc=unc, mountpoint=mountpoint, given=options, verbose=verbose, program=_PROGRAM
    )
    if fake:
        prepare_recorded(request)
        return int(ExitCode.FINE)
    return mount(request)


if __name__ == "__main__":
    sys.exit(main())
