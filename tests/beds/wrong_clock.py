"""Run a program whose clock is wrong: what it asks the C library for the time is put forward."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.beds.guardian import BedError
from tests.beds.samba_folder import program

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

int clock_gettime(clockid_t which, struct timespec *now)
{
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(which, now);
    if (!failed && which == CLOCK_REALTIME)
        now->tv_sec += AHEAD_S;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *told)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told)
        *told = now.tv_sec;
    return now.tv_sec;
}
"""


def clock_ahead(folder: Path, seconds: int) -> tuple[str, ...]:
    """The command that runs another one so many seconds in the future. Raises: BedError."""
    source, library = folder / "wrong_clock.c", folder / f"wrong_clock_{seconds}.so"
    source.write_text(_SOURCE)
    compiler = [program("gcc", "gcc"), "-shared", "-fPIC", "-O1", f"-DAHEAD_S={seconds}"]
    done = subprocess.run(
        [*compiler, "-o", str(library), str(source), "-ldl"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BedError(f"gcc: {done.stderr}")
    return ("env", f"LD_PRELOAD={library}")
