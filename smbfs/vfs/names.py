r"""File names: the kernel's bytes to and from what a server stores.

The kernel knows names as bytes without ``/`` and NUL. A server stores UTF-16, and one with
Windows rules refuses ``"*:<>?\|``, control characters, and a dot or a space at the end. Those
are stored as characters of Unicode's private area, by the table of Services for Macintosh
that macOS and cifs.ko use too, so all three see the same names. Under the SMB 3.1.1 POSIX
extensions names go as they are.

Both directions are injective: two names of the kernel never meet in one of the server, and
a name of the server is shown only if showing it, then asking for it, asks for that same name.
Whatever breaks this rule, and whatever a hostile server could use to escape from a directory,
has no name here and never reaches the kernel.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from smbfs.errors import InvalidName

NAME_SIZE_MAX: Final = 255
"""What the name of a file may have: bytes where Linux keeps it (NAME_MAX), and UTF-16 units where
Windows does, which are up to 765 bytes here. The kernel takes 1024 (FUSE_NAME_MAX)."""

_RESERVED: Final = {
    **{code: 0xF000 + code for code in range(0x01, 0x20)},
    ord('"'): 0xF020,
    ord("*"): 0xF021,
    ord(":"): 0xF022,
    ord("<"): 0xF023,
    ord(">"): 0xF024,
    ord("?"): 0xF025,
    ord("\\"): 0xF026,
    ord("|"): 0xF027,
}
_RESERVED_LAST: Final = {" ": "\uf028", ".": "\uf029"}

_RESTORED: Final = {stored: shown for shown, stored in _RESERVED.items()}
_RESTORED_LAST: Final = {stored: shown for shown, stored in _RESERVED_LAST.items()}

_NEEDS_MAPPING: Final = re.compile(r'["*:<>?\\|\x01-\x1f]|[. ]\Z')
_LOOKS_MAPPED: Final = re.compile("[\uf001-\uf027]|[\uf028\uf029]\\Z")
_NEVER_SHOWN: Final = frozenset({"", ".", ".."})


class NameTooLong(InvalidName):
    """A name longer than NAME_SIZE_MAX; any other InvalidName can't be held at all."""


class NameNotText(InvalidName):
    """A name that is not UTF-8, while servers store Unicode."""


class Names(Protocol):
    """How one mount writes names and paths for its server."""

    @property
    def separator(self) -> str:
        """What stands between the names of a path."""

    @property
    def case_sensitive(self) -> bool:
        """Whether the server tells names apart that differ only in case."""

    def to_server(self, name: bytes) -> str:
        """Return what the server stores for this name of the kernel. Raises: InvalidName."""

    def from_server(self, name: str) -> bytes | None:
        """Return the kernel's name, or None for a name that must not reach it."""


class PosixNames:
    """Names under the POSIX extensions: Unicode text, ``/`` between them, case matters."""

    separator: Final = "/"
    case_sensitive: Final = True

    def to_server(self, name: bytes) -> str:
        """Return the name as text. Raises: NameTooLong, NameNotText, InvalidName."""
        if len(name) > NAME_SIZE_MAX:
            raise NameTooLong(f"a name of {len(name)} bytes")
        return _decode(name)

    def from_server(self, name: str) -> bytes | None:
        """Return the name as bytes, or None for a name that must not reach the kernel."""
        encoded = _encode(name)
        return encoded if encoded is not None and len(encoded) <= NAME_SIZE_MAX else None


class WindowsNames:
    r"""Names under Windows rules: SFM mapping, ``\`` between them, case usually ignored."""

    separator: Final = "\\"

    def __init__(self, *, case_sensitive: bool = False) -> None:
        self.case_sensitive = case_sensitive

    def to_server(self, name: bytes) -> str:
        """Return the name with reserved characters moved to the private area.

        Raises: NameTooLong; NameNotText; InvalidName for a name that already has characters of
        that area, because it would come back as another one.
        """
        text = _decode(name)
        if _is_too_long(text):
            raise NameTooLong(f"a name of {len(text)} characters")
        if _LOOKS_MAPPED.search(text):
            raise InvalidName(f"{text!r} has characters that stand for reserved ones")
        if not _NEEDS_MAPPING.search(text):
            return text
        last = _RESERVED_LAST.get(text[-1])
        if last is not None:
            text = text[:-1] + last
        return text.translate(_RESERVED)

    def from_server(self, name: str) -> bytes | None:
        """Return the name with reserved characters restored, or None (see the module)."""
        if _is_too_long(name):
            return None
        if _NEEDS_MAPPING.search(name):
            return None  # Asking for it would ask for its mapped form.
        if _LOOKS_MAPPED.search(name):
            name = name.translate(_RESTORED)
            last = _RESTORED_LAST.get(name[-1])
            if last is not None:
                name = name[:-1] + last
        return _encode(name)


def folded(name: bytes) -> bytes:
    """Return what is the same for all spellings of a name where case does not count.

    Servers go character by character: to them ``ß`` is not ``ss``.
    """
    if name.isascii():
        return name.upper()
    text = name.decode(errors="surrogateescape")
    upper = "".join([u if len(u := c.upper()) == 1 else c for c in text])
    return upper.encode(errors="surrogateescape")


def _decode(name: bytes) -> str:
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise NameNotText(f"{name!r} is not UTF-8") from error
    if text in _NEVER_SHOWN or "/" in text or "\0" in text:
        raise InvalidName(f"{text!r} is not the name of a file")
    return text


def _encode(name: str) -> bytes | None:
    if name in _NEVER_SHOWN or "/" in name or "\0" in name:
        return None
    try:
        return name.encode()
    except UnicodeEncodeError:
        return None  # A lone surrogate.


def _is_too_long(name: str) -> bool:
    """Whether a name has more UTF-16 units than Windows stores: one or two a character."""
    return len(name) + sum(c > "\uffff" for c in name) > NAME_SIZE_MAX
