"""A small SMB2 server for what no real one will do: bytes in, bytes out, no I/O.

It negotiates 3.1.1, signs everybody on with one shared key, and serves one share whose only file
has contents that follow from the offset. Every answer passes through ``mangle`` as a list of
frames, where a test drops, alters, repeats or adds what it likes. It keeps its own books of the
message ids that it has granted, and lists what broke them in ``violations``.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from smbfs.engine.key_derivation import SessionKeys, derive_session_keys
from smbfs.engine.preauth_hash import INITIAL_HASH, extend_hash
from smbfs.engine.signing import CmacSigner, HashSigner
from smbfs.wire.close_flush import CloseResponse, FlushResponse
from smbfs.wire.create import (
    AccessMask,
    CreateAction,
    CreateRequest,
    CreateResponse,
    FileAttributes,
    FileId,
    OplockLevel,
)
from smbfs.wire.dialect import Dialect
from smbfs.wire.echo_cancel import EchoResponse
from smbfs.wire.error_response import ErrorResponse
from smbfs.wire.header import (
    HEADER_SIZE,
    PROTOCOL_ID_TRANSFORM,
    Command,
    Header,
    HeaderFlags,
)
from smbfs.wire.message import Message
from smbfs.wire.negotiate import (
    Capabilities,
    Cipher,
    EncryptionCapabilities,
    HashAlgorithm,
    NegotiateContext,
    NegotiateResponse,
    PreauthIntegrityCapabilities,
    SecurityMode,
    SigningAlgorithm,
    SigningCapabilities,
    TransportCapabilities,
)
from smbfs.wire.ntstatus import NtStatus
from smbfs.wire.read_write import ReadRequest, ReadResponse, WriteRequest, WriteResponse
from smbfs.wire.session_setup import (
    LogoffResponse,
    SessionFlags,
    SessionSetupResponse,
)
from smbfs.wire.transform import TransformHeader
from smbfs.wire.tree_connect import (
    ShareCapabilities,
    ShareFlags,
    ShareType,
    TreeConnectResponse,
)
from tests.beds.framing import ROLE_SERVER, compound_of, elements_of, gmac, response_to, signed

AUTHENTICATION_KEY = bytes(range(16))
SESSION_ID = 0x5E55
TREE_ID = 7
FILE_ID = FileId(0x11, 0x22)
FILE_SIZE = 64 * 1024 * 1024

Reply = tuple[int, Message]
Handler = Callable[[Header, memoryview], Reply]


def file_contents(offset: int, length: int) -> bytes:
    """Return what the scripted file holds: each 8 bytes are their own number."""
    first, last = offset // 8, (offset + length + 7) // 8
    run = b"".join(index.to_bytes(8, "big") for index in range(first, last))
    start = offset - first * 8
    return run[start : start + length]


@dataclass
class ScriptedServer:
    """See the module. Change any field before the conversation begins."""

    dialect: Dialect = Dialect.SMB_3_1_1
    signing_algorithm: SigningAlgorithm = SigningAlgorithm.AES_GMAC
    cipher: Cipher | None = Cipher.AES_128_GCM
    security_mode: SecurityMode = SecurityMode.SIGNING_ENABLED | SecurityMode.SIGNING_REQUIRED
    session_flags: int = 0
    share_flags: int = 0
    transport_flags: int | None = None
    """What it says of the transport's own security, if it says something."""
    capabilities: Capabilities = Capabilities.LARGE_MTU | Capabilities.LEASING
    grant: Callable[[Header], int] = field(default=lambda header: header.credits)
    """Credits for the answer to a request."""
    sign: bool = True
    mangle: Callable[[list[bytes]], list[bytes]] = field(default=lambda frames: frames)
    """The last hand on what is sent in answer to one received frame."""
    handlers: dict[Command, Handler] = field(default_factory=dict)
    """Answers of the test's own, by command."""
    received: list[Header] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    keys: SessionKeys | None = None

    def __post_init__(self) -> None:
        self._preauth_hash = INITIAL_HASH
        self._setup_rounds = 0
        self._granted_end = 1
        self._used: set[int] = set()
        self._nonce = 0
        self._handlers: dict[Command, Handler] = {
            Command.NEGOTIATE: self._negotiate,
            Command.SESSION_SETUP: self._session_setup,
            Command.LOGOFF: lambda _h, _b: (0, LogoffResponse()),
            Command.TREE_CONNECT: self._tree_connect,
            Command.CREATE: self._create,
            Command.CLOSE: lambda _h, _b: (0, CloseResponse()),
            Command.FLUSH: lambda _h, _b: (0, FlushResponse()),
            Command.ECHO: lambda _h, _b: (0, EchoResponse()),
            Command.READ: self._read,
            Command.WRITE: self._write,
        }

    # ------------------------------------------------------------------ frames

    def receive(self, frame: bytes) -> list[bytes]:
        """Take one frame of the client, return the frames of the answer."""
        sealed = frame[:4] == PROTOCOL_ID_TRANSFORM
        message = self._unseal(frame) if sealed else frame
        answers = [self._answer(header, element) for header, element in elements_of(message)]
        elements = [element for element in answers if element]
        if not elements:
            return self.mangle([])
        joined = self._join(elements, sealed=sealed)
        return self.mangle([self.seal(joined) if sealed else joined])

    def _answer(self, header: Header, element: memoryview) -> bytes:
        self.received.append(header)
        if header.command == Command.CANCEL:
            return b""
        self._keep_books(header)
        if header.command in (Command.NEGOTIATE, Command.SESSION_SETUP):
            self._preauth_hash = extend_hash(self._preauth_hash, (element,))
        handler = self.handlers.get(header.command) or self._handlers[header.command]
        status, body = handler(header, element[HEADER_SIZE:])
        answer = self.response(header, status, body)
        hashed = header.command == Command.NEGOTIATE or (
            header.command == Command.SESSION_SETUP and status != NtStatus.STATUS_SUCCESS
        )
        if hashed:
            self._preauth_hash = extend_hash(self._preauth_hash, (answer,))
        return answer

    def _keep_books(self, header: Header) -> None:
        ids = range(header.message_id, header.message_id + max(1, header.credit_charge))
        if self._used.intersection(ids):
            self.violations.append(f"message id {header.message_id} used twice")
        if ids.stop > self._granted_end:
            self.violations.append(f"message id {ids.stop - 1} was never granted")
        self._used.update(ids)

    def response(
        self, request: Header, status: int, body: Message, *, flags: int | None = None
    ) -> bytes:
        """Return a response message, unsigned (``_join`` signs)."""
        granted = self.grant(request)
        self._granted_end += granted
        return response_to(
            request,
            status,
            body,
            credits_granted=granted,
            flags=HeaderFlags.SERVER_TO_REDIR if flags is None else flags,
            tree_id=TREE_ID if request.command == Command.TREE_CONNECT else request.tree_id,
            session_id=0 if request.command == Command.NEGOTIATE else SESSION_ID,
        )

    def _join(self, elements: list[bytes], *, sealed: bool) -> bytes:
        is_signed = self.sign and self.keys is not None and not sealed
        return compound_of(elements, self._signature if is_signed else None)

    def signed(self, element: bytes) -> bytes:
        """Return ``element`` with the server's signature, once there are keys."""
        if not self.sign or self.keys is None:
            return element
        return signed(element, self._signature)

    def _signature(self, element: bytes, message_id: int) -> bytes:
        assert self.keys is not None
        key = self.keys.signing_key
        if self.dialect < Dialect.SMB_3_0:
            return HashSigner(key).sign((element,), message_id, is_cancel=False)
        if self.dialect < Dialect.SMB_3_1_1 or self.signing_algorithm == SigningAlgorithm.AES_CMAC:
            return CmacSigner(key).sign((element,), message_id, is_cancel=False)
        if self.signing_algorithm == SigningAlgorithm.HMAC_SHA256:
            return HashSigner(key).sign((element,), message_id, is_cancel=False)
        return gmac(AESGCM(key), element, message_id, ROLE_SERVER)

    def seal(self, message: bytes) -> bytes:
        """Return ``message`` as a sealed frame (AES-GCM only)."""
        assert self.keys is not None
        self._nonce += 1
        nonce = self._nonce.to_bytes(12, "little")
        header = TransformHeader(bytes(16), nonce.ljust(16, b"\0"), len(message), SESSION_ID)
        sealed = AESGCM(self.keys.decryption_key).encrypt(nonce, message, header.associated_data)
        return header._replace(signature=sealed[-16:]).encode() + sealed[:-16]

    def _unseal(self, frame: bytes) -> bytes:
        assert self.keys is not None
        header = TransformHeader.decode(frame)
        return AESGCM(self.keys.encryption_key).decrypt(
            header.nonce[:12], frame[52:] + header.signature, header.associated_data
        )

    # ---------------------------------------------------------------- handlers

    def _negotiate(self, _header: Header, _body: memoryview) -> Reply:
        contexts: tuple[NegotiateContext, ...] = ()
        if self.dialect == Dialect.SMB_3_1_1:
            contexts = (
                PreauthIntegrityCapabilities((HashAlgorithm.SHA_512,), b"s" * 32),
                SigningCapabilities((self.signing_algorithm,)),
            )
            if self.cipher is not None:
                contexts += (EncryptionCapabilities((self.cipher,)),)
            if self.transport_flags is not None:
                contexts += (TransportCapabilities(self.transport_flags),)
        return NtStatus.STATUS_SUCCESS, NegotiateResponse(
            security_mode=self.security_mode,
            dialect=self.dialect,
            server_guid=uuid.UUID(int=1),
            capabilities=self.capabilities,
            max_transact_size=8 << 20,
            max_read_size=8 << 20,
            max_write_size=8 << 20,
            system_time=0,
            server_start_time=0,
            security_buffer=b"hint",
            contexts=contexts,
        )

    def _session_setup(self, _header: Header, _body: memoryview) -> Reply:
        self._setup_rounds += 1
        if self._setup_rounds == 1:
            status = NtStatus.STATUS_MORE_PROCESSING_REQUIRED
            return status, SessionSetupResponse(SessionFlags(0), b"challenge")
        if not self.session_flags & (SessionFlags.IS_GUEST | SessionFlags.IS_NULL):
            self.keys = derive_session_keys(
                self.dialect,
                AUTHENTICATION_KEY,
                preauth_hash=self._preauth_hash,
                cipher=self.cipher,
            )
        return NtStatus.STATUS_SUCCESS, SessionSetupResponse(
            SessionFlags(self.session_flags), b"accepted"
        )

    def _tree_connect(self, _header: Header, _body: memoryview) -> Reply:
        return NtStatus.STATUS_SUCCESS, TreeConnectResponse(
            ShareType.DISK,
            ShareFlags(self.share_flags),
            ShareCapabilities(0),
            AccessMask(0x001F01FF),
        )

    def _create(self, _header: Header, body: memoryview) -> Reply:
        if CreateRequest.decode(body).name == "missing":
            return NtStatus.STATUS_OBJECT_NAME_NOT_FOUND, ErrorResponse()
        return NtStatus.STATUS_SUCCESS, CreateResponse(
            oplock_level=OplockLevel.NONE,
            flags=0,
            create_action=CreateAction.OPENED,
            creation_time=0,
            last_access_time=0,
            last_write_time=0,
            change_time=0,
            allocation_size=FILE_SIZE,
            end_of_file=FILE_SIZE,
            file_attributes=FileAttributes.NORMAL,
            file_id=FILE_ID,
            contexts=(),
        )

    def _read(self, _header: Header, body: memoryview) -> Reply:
        request = ReadRequest.decode(body)
        length = min(request.length, FILE_SIZE - request.offset)
        if length <= 0:
            return NtStatus.STATUS_END_OF_FILE, ErrorResponse()
        contents = memoryview(file_contents(request.offset, length))
        return NtStatus.STATUS_SUCCESS, ReadResponse(contents)

    def _write(self, _header: Header, body: memoryview) -> Reply:
        return NtStatus.STATUS_SUCCESS, WriteResponse(len(WriteRequest.decode(body).data))
