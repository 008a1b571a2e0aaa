"""The rest of a mount, as `smbfs doctor` takes it: NEGOTIATE, sign-on, share and root, log-off.

It is the mount's own way: what differs is only that somebody listens.
"""

from __future__ import annotations

from typing import Final

import trio

from smbfs.audit.events import CredentialUsed
from smbfs.audit.writer import open_audit
from smbfs.auth.credentials import Credentials
from smbfs.auth.spnego import make_authenticator
from smbfs.cli.doctor.local import Subject
from smbfs.cli.doctor.steps import Facts, Report
from smbfs.cli.errors import first_leaf
from smbfs.cli.failure_events import failure_event
from smbfs.cli.kerberos_realms import told_why
from smbfs.cli.policy_events import protection_lowered
from smbfs.client.connect import connect_share
from smbfs.client.progress import Progress
from smbfs.client.share_status import connection_status
from smbfs.client.status import Identity
from smbfs.client.tree_connect import TreeConnect
from smbfs.engine.negotiate import Negotiated
from smbfs.transport.base import MessageStream
from smbfs.vfs.filesystem import open_filesystem
from smbfs.wire.negotiate import SecurityMode

SMB_STEPS: Final = ("negotiate", "sign-on", "share", "root", "log-off")
DATAGRAMS: Final = "quic-datagrams"
"""How large they may be: known only after some have gone to and fro."""


async def examine_share(
    report: Report, subject: Subject, credentials: Credentials, stream: MessageStream
) -> None:
    """Report each step from a stream to the folder that would be mounted. Signs on once."""
    unc, options = subject.unc, subject.options
    user, audit = credentials.qualified_name, open_audit()
    for each in subject.lowered:
        audit.write(protection_lowered(str(unc), each))
    audit.write(CredentialUsed(str(unc), user, credentials.source))
    progress = _Reporter(report)
    try:
        async with connect_share(
            stream, unc, options, credentials, make_authenticator, progress=progress
        ) as tree:
            progress.passed(_share_found(tree))
            async with open_filesystem(tree, options, unc.path):
                progress.passed({"folder": f"/{unc.path}", "posix": tree.posix})
        progress.passed({})
    except Exception as error:  # noqa: BLE001 - as a mount: whoever waits is told, whatever it was
        audit.write(failure_event(error, str(unc), user))
        failed, *rest = progress.remaining
        ca = options.kdc_proxy_ca
        told = await trio.to_thread.run_sync(told_why, first_leaf(error), subject.kdc_proxies, ca)
        report.failed(failed, {}, told)
        report.skipped(f"{failed.replace('-', ' ')} failed", *rest)
    finally:
        audit.close()
    if stream.tunnel is not None:
        report.passed(DATAGRAMS, {"size_bytes": stream.tunnel.datagram_size})


class _Reporter(Progress):
    """Reports a step when it is done."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.remaining = list(SMB_STEPS)

    def passed(self, facts: Facts) -> None:
        """The next step is done."""
        self._report.passed(self.remaining.pop(0), facts)

    def negotiated(self, negotiated: Negotiated) -> None:
        """See :class:`Progress`."""
        self.passed(
            {
                "dialect": negotiated.dialect.label,
                "signing": negotiated.signing_algorithm.label,
                "signing_required": SecurityMode.SIGNING_REQUIRED in negotiated.security_mode,
                "cipher": negotiated.cipher.label if negotiated.cipher is not None else None,
                "transport_is_trusted": negotiated.trusts_transport,
                "server_guid": str(negotiated.server_guid),
                "max_read_bytes": negotiated.max_read_size,
                "max_write_bytes": negotiated.max_write_size,
            }
        )

    def signed_on(self, identity: Identity) -> None:
        """See :class:`Progress`."""
        self.passed({"mechanism": identity.auth, "user": identity.user or None})


def _share_found(tree: TreeConnect) -> Facts:
    status = connection_status(tree)
    return {
        "share": tree.share_name,
        "type": tree.share_type.name.lower(),
        "encryption": status.encryption,
        "maximal_access": f"0x{tree.maximal_access:08x}",
    }
