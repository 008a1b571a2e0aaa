"""``smbfs doctor``: every step to a mount, with what was found, and what to do where it fails."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import trio

from smbfs.cli.doctor.local import CREDENTIALS, OPTIONS, Subject, examine_locally
from smbfs.cli.doctor.network import NETWORK_STEPS, reach
from smbfs.cli.doctor.smb import SMB_STEPS, examine_share
from smbfs.cli.doctor.steps import Report, Step, as_json, as_text
from smbfs.cli.kerberos_realms import kerberos_realms
from smbfs.cli.privileges import Capability, give_up_privileges, keep_secrets
from smbfs.config.options import GivenOption


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorRequest:
    """What the command line asks for."""

    unc: str
    """The share, in any spelling."""

    given: Sequence[GivenOption] = ()
    """Options of the command line, in order."""

    as_json: bool = False
    """For programs."""


def examine(request: DoctorRequest) -> int:
    """Take every step to a mount but the last, and print how each went.

    Return 0 if the share could be mounted, else mount(8)'s exit code for what failed first.
    """
    keep_secrets()
    report = Report(_say_nothing if request.as_json else _print)
    subject = examine_locally(report, request.unc, request.given, os.environ)
    if subject is None:
        report.skipped(f"{OPTIONS} failed", CREDENTIALS, *NETWORK_STEPS, *SMB_STEPS)
    else:
        ca, name = subject.options.kdc_proxy_ca, f"doctor-{os.getpid()}"
        with subject.credentials.attended() if subject.credentials else nullcontext():
            give_up_privileges(keep={Capability.DAC_READ_SEARCH})
            with kerberos_realms(subject.kdc_proxies, ca, name):
                trio.run(_examine_server, report, subject)
    if request.as_json:
        print(json.dumps([as_json(step) for step in report.steps], indent=2))
    else:
        print(_summary(report))
    return report.exit_code


async def _examine_server(report: Report, subject: Subject) -> None:
    stream = await reach(report, subject)
    if stream is None:
        report.skipped("there is no connection", *SMB_STEPS)
    elif subject.credentials is None:
        await stream.aclose()
        report.skipped("there are no credentials", *SMB_STEPS)
    else:
        await examine_share(report, subject, subject.credentials, stream)


def _summary(report: Report) -> str:
    failed = report.failed_steps
    if not failed:
        return f"{report.unc} can be mounted."
    names = ", ".join(step.name.replace("-", " ") for step in failed)
    return f"{report.unc} can't be mounted: {names}."


def _print(step: Step) -> None:
    print(as_text(step), flush=True)


def _say_nothing(_step: Step) -> None:
    """JSON is one list, printed at the end."""
