"""A backend of the keyring library of our own: the faults of a real one can't be had on demand."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

PASSPHRASE = ("And the passphrase?", "the right one")
"""What the keyring that ``asks`` wants to hear on the terminal."""

# It keeps what it is given in a file of its own, and does what $KEYRING_DOES says.
BACKEND = """
import getpass, json, os, pathlib, time
from keyring import backend, errors

FILE = pathlib.Path(os.environ["HOME"], "passwords")

class Keyring(backend.KeyringBackend):
    priority = 9
    is_open = False

    def get_password(self, service, username):
        match os.environ["KEYRING_DOES"]:
            case "locked":
                raise errors.KeyringLocked("secret")
            case "hangs":
                time.sleep(600)
            case "crashes":
                os._exit(3)
            case "talks":
                print("noise", flush=True)
            case "breaks":
                raise TypeError("secret")
            case "asks" if not self.is_open:
                if getpass.getpass("And the passphrase? ") != "the right one":
                    raise ValueError("secret")
                self.is_open = True
            case "is another's":
                return "[secret]"
        return self._all().get(f"{service} {username}")

    def set_password(self, service, username, password):
        FILE.write_text(json.dumps(self._all() | {f"{service} {username}": password}))

    def delete_password(self, service, username):
        others = self._all()
        del others[f"{service} {username}"]
        FILE.write_text(json.dumps(others))

    def _all(self):
        return json.loads(FILE.read_text()) if FILE.exists() else {}

class PlaintextKeyring(Keyring):
    pass
"""


def keyring_that(does: str, folder: Path) -> dict[str, str]:
    """Return the environment in which the keyring is one that does this; its home is ``folder``."""
    (folder / "backend_of_test.py").write_text(textwrap.dedent(BACKEND))
    return {
        "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}",
        "PYTHON_KEYRING_BACKEND": "backend_of_test.Keyring",
        "KEYRING_DOES": does,
        "HOME": str(folder),
    }
