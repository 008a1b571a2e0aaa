"""What every server of the tests does with bytes: compounds, headers, signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from smbfs.wire.header import HEADER_SIZE, SIGNATURE_OFFSET, Command, Header, HeaderFlags
from smbfs.wire.message import Message

Sign = Callable[[bytes, int], bytes]
"""Returns the signature of a message whose Signature field is zero, by its MessageId."""

ROLE_CLIENT = 0
ROLE_SERVER = 1
ROLE_CANCEL = 2

_SIGNATURE = slice(SIGNATURE_OFFSET, SIGNATURE_OFFSET + 16)
_ALIGNMENT = 8


def elements_of(message: bytes) -> Iterator[tuple[Header, memoryview]]:
    """Yield header and bytes of each request in a frame. Spec: [MS-SMB2] 3.3.5.2.7."""
    rest = memoryview(message)
    while True:
        header = Header.decode(rest)
        end = header.next_command or len(rest)
        yield header, rest[:end]
        if not header.next_command:
            return
        rest = rest[end:]


def response_to(
    request: Header, status: int, body: Message, *, credits_granted: int, **fields: int
) -> bytes:
    """Return an unsigned response; ``fields`` of its header may differ from the request's."""
    header = Header(
        credit_charge=request.credit_charge,
        status=status,
        command=request.command,
        credits=credits_granted,
        flags=HeaderFlags.SERVER_TO_REDIR,
        message_id=request.message_id,
        tree_id=request.tree_id,
        session_id=0 if request.command == Command.NEGOTIATE else request.session_id,
    )
    return header._replace(**fields).encode() + b"".join(body.buffers())  # type: ignore[arg-type]  # They are numbers.


def compound_of(elements: Iterable[bytes], sign: Sign | None) -> bytes:
    """Return one frame of all elements, each signed if there is a ``sign``."""
    pending = list(elements)
    frame = b""
    for index, element in enumerate(pending):
        if index < len(pending) - 1:
            element += bytes(-len(element) % _ALIGNMENT)
            header = Header.decode(element)._replace(next_command=len(element))
            element = header.encode() + element[HEADER_SIZE:]
        frame += element if sign is None else signed(element, sign)
    return frame


def signed(element: bytes, sign: Sign) -> bytes:
    """Return a message with its signature."""
    header = Header.decode(element)
    header = header._replace(flags=header.flags | HeaderFlags.SIGNED, signature=bytes(16))
    message = bytearray(header.encode() + element[HEADER_SIZE:])
    message[_SIGNATURE] = sign(bytes(message), header.message_id)
    return bytes(message)


def without_signature(element: memoryview) -> bytes:
    """Return what a received message's signature was computed over."""
    message = bytearray(element)
    message[_SIGNATURE] = bytes(16)
    return bytes(message)


def gmac(key: AESGCM, message: bytes, message_id: int, role: int) -> bytes:
    """Return an AES-GMAC signature. Spec: [MS-SMB2] 3.1.4.1."""
    nonce = message_id.to_bytes(8, "little") + role.to_bytes(4, "little")
    return key.encrypt(nonce, b"", message)
