"""``smbfs mount``: prepare, fork, and return when the mount answers."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from smbfs.audit.writer import open_audit, record_once
from smbfs.auth.kerberos_errors import TicketMissing
from smbfs.cli.daemon import Outcome, Report, start_daemon
from smbfs.cli.daemons import SOCKET_SUFFIX
from smbfs.cli.errors import ExitCode, Problem, explain, format_problem
from smbfs.cli.kerberos_realms import kerberos_realms
from smbfs.cli.policy_events import policy_refusal
from smbfs.cli.prepare import MountPlan, MountRequest, login_name, prepare_mount
from smbfs.cli.privileges import forget_caller, keep_secrets
from smbfs.cli.runtime import file_stem, make_runtime_directory
from smbfs.config.options import say_who_decided
from smbfs.config.policy import PolicyRefused
from smbfs.config.unc import parse_unc

_LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# At their debug level these write tokens and payloads.
_TALKATIVE: Final = ("spnego", "smbprotocol", "keyring", "trio")

_LOG_TAIL: Final = 4096
_INTERRUPTED: Final = Problem("interrupted before anything was mounted")

_log = logging.getLogger(__name__)


def mount(request: MountRequest) -> int:
    """Mount a share; return the exit code once the mount answers or has failed.

    With ``foreground`` it returns when the mount has ended.
    Raises: UserError for whatever can be found out without the server.
    """
    keep_secrets()
    plan = prepare_recorded(request)
    for line in plan.warnings + (plan.notes if request.verbose else ()):
        _say(request, line)
    directory = make_runtime_directory(os.environ, os.geteuid())
    stem = file_stem(plan.mountpoint)
    control = directory / f"{stem}{SOCKET_SUFFIX}"
    log = None if request.foreground else directory / f"{stem}.log"

    def run(report: Report) -> int:
        return _live(plan, control, log, report, verbose=request.verbose)

    if log is None:
        forget_caller()
        return run(lambda outcome: _show(request, outcome, None))
    outcome = start_daemon(run, log)
    _show(request, outcome, log)
    return outcome.problem.exit_code if outcome.problem is not None else int(ExitCode.FINE)


def prepare_recorded(request: MountRequest) -> MountPlan:
    """Prepare a mount; the audit hears of who wants less than the policy, or gets no ticket.

    Raises: UserError.
    """
    try:
        return prepare_mount(request, os.environ)
    except PolicyRefused as error:
        # As every event spells it: it was understood, or there would be no policy for it.
        record_once(policy_refusal(str(parse_unc(request.unc)), error))
        raise
    except TicketMissing as error:
        from smbfs.cli.failure_events import failure_event

        unc = parse_unc(request.unc)
        record_once(failure_event(error, str(unc), unc.user or login_name(os.environ)))
        raise


def _live(
    plan: MountPlan, control: Path, log: Path | None, report: Report, *, verbose: bool
) -> int:
    """Be the mount's daemon until it is unmounted; ``report`` once how it began."""
    try:
        # Loaded here: the parent needs none of it.
        from smbfs.cli.failure_events import failure_event
        from smbfs.cli.serve import DaemonPlace, serve_mount
    except ImportError as error:  # libfuse, above all, is not smbfs' to install.
        problem = explain(error, str(plan.unc))
        report(Outcome(problem))
        return problem.exit_code

    _set_up_logging(verbose=verbose)
    audit = open_audit(plan.mountpoint)
    answered = False

    def on_ready(warnings: tuple[str, ...]) -> None:
        nonlocal answered
        answered = True
        report(Outcome(warnings=warnings))

    try:
        with kerberos_realms(plan.kdc_proxies, plan.options.kdc_proxy_ca, control.stem):
            serve_mount(plan, DaemonPlace(control=control, log=log), audit, on_ready)
    except Exception as error:  # noqa: BLE001 (whoever waits must be told, whatever it was)
        say_who_decided(error, plan.decided)
        audit.write(failure_event(error, str(plan.unc), plan.credentials.qualified_name))
        problem = explain(error, str(plan.unc))
        if log is not None and isinstance(error, RuntimeError):
            problem = replace(problem, why=_own_words_of_fuse(log) or problem.why)
        _log.debug("ended by an error", exc_info=True)
        if log is not None:
            _log.error("%s", format_problem(problem))
    else:
        if answered:
            return int(ExitCode.FINE)
        problem = _INTERRUPTED
    finally:
        audit.close()
    if not answered:
        report(Outcome(problem))
    return problem.exit_code


def _own_words_of_fuse(log: Path) -> str:
    """Return the last thing that fusermount3 or libfuse has written, which nobody raises."""
    sys.stderr.flush()
    lines = log.read_text("utf-8", "replace")[-_LOG_TAIL:].splitlines()
    return next((line for line in reversed(lines) if line.startswith("fuse")), "")


def _set_up_logging(*, verbose: bool) -> None:
    logging.basicConfig(
        stream=sys.stderr, format=_LOG_FORMAT, level=logging.DEBUG if verbose else logging.INFO
    )
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def _show(request: MountRequest, outcome: Outcome, log: Path | None) -> None:
    for warning in outcome.warnings:
        _say(request, warning)
    if outcome.problem is not None:
        print(format_problem(outcome.problem, request.program), file=sys.stderr)
        if request.verbose and log is not None:
            _say(request, f"the log is {log}")


def _say(request: MountRequest, line: str) -> None:
    print(f"{request.program}: {line}", file=sys.stderr)
