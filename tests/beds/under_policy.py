"""``smbfs`` under a policy of a test's own, which who runs the test owns in place of root.

Run as ``python -m tests.beds.under_policy POLICY COMMAND ARGUMENT…``: COMMAND is not run, since
``smbfs`` itself is, with these arguments. There is no option or variable for that: whoever could
set it would have no policy.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import smbfs.cli.main
from smbfs.config import files


def main() -> int:
    files.POLICY_PATH = Path(sys.argv[1])  # type: ignore[misc]
    files.POLICY_OWNER = os.geteuid()  # type: ignore[misc]
    return smbfs.cli.main.main(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
