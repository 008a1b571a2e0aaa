"""The process that talks to the user's keyring: requests in, answers out, one JSON line each.

Its standard output and input are its parent's alone: a backend that prints, or asks on standard
input where there is no terminal, neither spoils an answer nor swallows a request.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from smbfs.auth.keyring_entries import (
    KeyringEntry,
    KeyringQuery,
    SeveralUsers,
    choose,
    meant_by,
)
from smbfs.auth.keyring_stores import KeyringTrouble, Store, Trouble, open_store

_STDERR: Final = 2


def serve() -> None:
    """Answer requests until there are no more. The verbs are those of ``KeyringProcess``."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(_STDERR, 1)
    store: Store | None = None
    for line in requests:
        request = json.loads(line)
        # Whoever has started us does not wait for longer, and may be gone.
        signal.alarm(request["within_s"])
        try:
            store = store or open_store()
            answer = _answer(store, request)
        except SeveralUsers as several:
            answer = {"users": several.users}
        except Exception as error:  # noqa: BLE001 - whatever a backend raises
            trouble = _trouble(error)
            answer = {"trouble": trouble.kind, "about": trouble.about}
        signal.alarm(0)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


# Any: it is what becomes JSON.
def _answer(store: Store, request: Mapping[str, Any]) -> Mapping[str, Any]:
    match request["verb"]:
        case "make-ready":
            store.make_ready(request["server"])
            return {}
        case "put":
            store.put(KeyringEntry.from_fields(request["entry"]))
            return {}
    query = KeyringQuery(**request["query"])
    entries = store.entries(query.server, may_ask=request["may_ask"])
    if request["verb"] == "find":
        found = choose(entries, query)
        return {"entry": found.as_fields() if found is not None else None}
    removed = meant_by(entries, query)
    if removed:
        store.remove(removed)
    return {"entries": [replace(entry, password="").as_fields() for entry in removed]}


def _trouble(error: Exception) -> KeyringTrouble:
    from keyring.errors import InitError, KeyringLocked, NoKeyringError
    from secretstorage.exceptions import (
        LockedException,
        PromptDismissedException,
        SecretServiceNotAvailableException,
    )

    match error:
        case KeyringTrouble():
            return error
        case KeyringLocked() | LockedException() | PromptDismissedException():
            return KeyringTrouble(Trouble.LOCKED)
        case NoKeyringError() | InitError() | SecretServiceNotAvailableException():
            return KeyringTrouble(Trouble.ABSENT)
        case EOFError():
            return KeyringTrouble(Trouble.NO_TERMINAL)
        case ValueError():  # how keyrings in files say it
            return KeyringTrouble(Trouble.WRONG_PASSPHRASE)
        case _:
            return KeyringTrouble(Trouble.FAILED, type(error).__name__)


if __name__ == "__main__":
    serve()
