"""Messages written out by hand after the specification, offset by offset."""

from __future__ import annotations

from uuid import UUID

import pytest

from smbfs.wire.change_notify import ChangeNotifyRequest, CompletionFilter
from smbfs.wire.close_flush import CloseRequest, CloseResponse, FlushRequest
from smbfs.wire.create import (
    AccessMask,
    CreateAction,
    CreateDisposition,
    CreateOptions,
    CreateRequest,
    CreateResponse,
    FileAttributes,
    FileId,
    OplockLevel,
    ShareAccess,
)
from smbfs.wire.create_contexts import (
    LeaseRequestV2,
    LeaseState,
    MaximalAccessRequest,
    PosixCreateRequest,
)
from smbfs.wire.dialect import Dialect
from smbfs.wire.echo_cancel import CancelRequest, EchoRequest
from smbfs.wire.error_response import ErrorContext, ErrorResponse
from smbfs.wire.info import (
    FileInfoClass,
    InfoType,
    QueryInfoRequest,
    QueryInfoResponse,
    SetInfoRequest,
)
from smbfs.wire.ioctl import FsctlCode, IoctlRequest, IoctlResponse
from smbfs.wire.lock import LockElement, LockFlags, LockRequest
from smbfs.wire.message import Message
from smbfs.wire.negotiate import (
    Capabilities,
    Cipher,
    EncryptionCapabilities,
    HashAlgorithm,
    NegotiateRequest,
    NegotiateResponse,
    NetnameContext,
    PosixExtensions,
    PreauthIntegrityCapabilities,
    SecurityMode,
    SigningAlgorithm,
    SigningCapabilities,
)
from smbfs.wire.oplock_break import (
    LeaseBreakAcknowledgment,
    LeaseBreakNotification,
    OplockBreakNotification,
)
from smbfs.wire.query_directory import QueryDirectoryFlags, QueryDirectoryRequest
from smbfs.wire.read_write import ReadRequest, ReadResponse, WriteRequest, WriteResponse
from smbfs.wire.session_setup import SessionFlags, SessionSetupRequest, SessionSetupResponse
from smbfs.wire.tree_connect import (
    ShareCapabilities,
    ShareFlags,
    ShareType,
    TreeConnectRequest,
    TreeConnectResponse,
)

FILE_ID = FileId(0x0102030405060708, 0x1112131415161718)
FILE_ID_HEX = "0807060504030201 1817161514131211"
KEY = bytes(range(16))
KEY_HEX = "000102030405060708090a0b0c0d0e0f"
GUID = UUID("00112233-4455-6677-8899-aabbccddeeff")
GUID_HEX = "33221100 5544 7766 8899aabbccddeeff"

MESSAGES: dict[str, tuple[Message, str]] = {
    "negotiate request": (
        NegotiateRequest(
            (Dialect.SMB_3_0, Dialect.SMB_3_1_1),
            SecurityMode.SIGNING_ENABLED | SecurityMode.SIGNING_REQUIRED,
            Capabilities.DFS | Capabilities.ENCRYPTION,
            GUID,
            (
                PreauthIntegrityCapabilities((HashAlgorithm.SHA_512,), b"salt"),
                EncryptionCapabilities((Cipher.AES_128_GCM, Cipher.AES_128_CCM)),
                SigningCapabilities((SigningAlgorithm.AES_GMAC,)),
                NetnameContext("nas"),
                PosixExtensions(),
            ),
        ),
        # Two dialects end at 64 + 36 + 4 = 104, which is a multiple of 8: no padding.
        (
            f"2400 0200 0300 0000 41000000 {GUID_HEX} 68000000 0500 0000 0003 1103"
            "0100 0a00 00000000 0100 0400 0100 73616c74 000000000000"
            "0200 0600 00000000 0200 0200 0100 0000"
            "0800 0400 00000000 0100 0200 00000000"
            "0500 0600 00000000 6e00 6100 7300 0000"
            "0001 1000 00000000 93ad25509cb411e7b42383de968bcd7c"
        ),
    ),
    "negotiate request of three dialects": (
        NegotiateRequest(
            (Dialect.SMB_2_1, Dialect.SMB_3_0, Dialect.SMB_3_1_1),
            SecurityMode.SIGNING_ENABLED,
            Capabilities(0),
            GUID,
            (NetnameContext("n"),),
        ),
        # They end at 106, so contexts start at 112.
        (
            f"2400 0300 0100 0000 00000000 {GUID_HEX} 70000000 0100"
            "0000 1002 0003 1103 000000000000"
            "0500 0200 00000000 6e00"
        ),
    ),
    "negotiate request before 3.1.1": (
        NegotiateRequest((Dialect.SMB_2_1,), SecurityMode(1), Capabilities(0), GUID),
        f"2400 0100 0100 0000 00000000 {GUID_HEX} 0000000000000000 1002",
    ),
    "negotiate response": (
        NegotiateResponse(
            SecurityMode.SIGNING_ENABLED,
            Dialect.SMB_3_1_1,
            GUID,
            Capabilities.LEASING | Capabilities.LARGE_MTU | Capabilities.NOTIFICATIONS,
            0x00800000,
            0x00800001,
            0x00800002,
            0x01DB0A1B2C3D4E5F,
            0,
            b"token",
            (SigningCapabilities((SigningAlgorithm.AES_CMAC,)),),
        ),
        (
            f"4100 0100 1103 0100 {GUID_HEX} 86000000 00008000 01008000 02008000"
            "5f4e3d2c1b0adb01 0000000000000000 8000 0500 88000000"
            "746f6b656e 000000"
            "0800 0400 00000000 0100 0100"
        ),
    ),
    "session setup request": (
        SessionSetupRequest(SecurityMode(3), Capabilities.DFS, b"abc", 0x0102030405060708, 1),
        "1900 01 03 01000000 00000000 5800 0300 0807060504030201 616263",
    ),
    "session setup response": (
        SessionSetupResponse(SessionFlags.ENCRYPT_DATA, b"abc"),
        "0900 0400 4800 0300 616263",
    ),
    "tree connect request": (
        TreeConnectRequest(r"\\s\d"),
        "0900 0000 4800 0a00 5c00 5c00 7300 5c00 6400",
    ),
    "tree connect response": (
        TreeConnectResponse(
            ShareType.DISK,
            ShareFlags.DFS | ShareFlags.ENCRYPT_DATA,
            ShareCapabilities.DFS,
            AccessMask(0x001F01FF),
        ),
        "1000 01 00 01800000 08000000 ff011f00",
    ),
    "create request": (
        CreateRequest(
            "a\\b",
            AccessMask.READ_DATA | AccessMask.READ_ATTRIBUTES,
            FileAttributes.NORMAL,
            ShareAccess.READ | ShareAccess.WRITE | ShareAccess.DELETE,
            CreateDisposition.OPEN_IF,
            CreateOptions.NON_DIRECTORY_FILE,
            oplock_level=OplockLevel.LEASE,
            contexts=(
                LeaseRequestV2(KEY, LeaseState(3), parent_lease_key=KEY, epoch=7),
                MaximalAccessRequest(),
                PosixCreateRequest(0o640),
            ),
        ),
        (
            "3900 00 ff 02000000 0000000000000000 0000000000000000 81000000 80000000 07000000"
            "03000000 40000000 7800 0600 80000000 8c000000"
            "6100 5c00 6200 0000"
            # RqLs: 16 + 4 + 4 bytes of padding + 52, next one at 80
            "50000000 1000 0400 0000 1800 34000000 52714c73 00000000"
            f"{KEY_HEX} 03000000 04000000 0000000000000000 {KEY_HEX} 0700 0000 00000000"
            # MxAc without data
            "18000000 1000 0400 0000 0000 00000000 4d784163 00000000"
            # the POSIX context: a name of 16 bytes, data at 32
            "00000000 1000 1000 0000 2000 04000000 93ad25509cb411e7b42383de968bcd7c a0010000"
        ),
    ),
    "create request for the share's root": (
        CreateRequest("", AccessMask.READ_ATTRIBUTES),
        (
            "3900 00 00 02000000 0000000000000000 0000000000000000 80000000 00000000 00000000"
            "01000000 00000000 7800 0000 00000000 00000000 0000000000000000"
        ),
    ),
    "create response": (
        CreateResponse(
            OplockLevel.NONE, 1, CreateAction.OPENED, 1, 2, 3, 4, 4096, 10, 0x420, FILE_ID
        ),
        (
            "5900 00 01 01000000 0100000000000000"
            "0200000000000000 0300000000000000 0400000000000000"
            f"0010000000000000 0a00000000000000 20040000 00000000 {FILE_ID_HEX}"
            "00000000 00000000 00"
        ),
    ),
    "close request": (CloseRequest(FILE_ID, 1), f"1800 0100 00000000 {FILE_ID_HEX}"),
    "close response": (
        CloseResponse(1, 1, 2, 3, 4, 4096, 10, 0x20),
        (
            "3c00 0100 00000000 0100000000000000 0200000000000000 0300000000000000 0400000000000000"
            "0010000000000000 0a00000000000000 20000000"
        ),
    ),
    "flush request": (FlushRequest(FILE_ID), f"1800 0000 00000000 {FILE_ID_HEX}"),
    "read request": (
        ReadRequest(FILE_ID, 0x100000000, 0x100000, minimum_count=1),
        (
            f"3100 50 00 00001000 0000000001000000 {FILE_ID_HEX} 01000000"
            "00000000 00000000 0000 0000"
            "00"
        ),
    ),
    "read response": (
        ReadResponse(memoryview(b"data")),
        "1100 50 00 04000000 00000000 00000000 64617461",
    ),
    "write request": (
        WriteRequest(FILE_ID, 16, b"data", 1),
        (
            f"3100 7000 04000000 1000000000000000 {FILE_ID_HEX} 00000000"
            "00000000 0000 0000 01000000"
            "64617461"
        ),
    ),
    "write response": (WriteResponse(4), "1100 0000 04000000 00000000 0000 0000 00"),
    "lock request": (
        LockRequest(FILE_ID, (LockElement(1, 2**63, LockFlags.SHARED_LOCK),), 0x21),
        f"3000 0100 21000000 {FILE_ID_HEX} 0100000000000000 0000000000000080 01000000 00000000",
    ),
    "ioctl request": (
        IoctlRequest(FsctlCode.GET_REPARSE_POINT, FILE_ID, b"in", 0x4000),
        (
            f"3900 0000 a8000900 {FILE_ID_HEX} 78000000 02000000"
            "00000000 00000000 00000000 00400000"
            "01000000 00000000 696e"
        ),
    ),
    "ioctl response": (
        IoctlResponse(FsctlCode.GET_REPARSE_POINT, FILE_ID, memoryview(b"out")),
        (
            f"3100 0000 a8000900 {FILE_ID_HEX} 70000000 00000000"
            "70000000 03000000 00000000 00000000"
            "6f7574"
        ),
    ),
    "echo request": (EchoRequest(), "0400 0000"),
    "cancel request": (CancelRequest(), "0400 0000"),
    "query directory request": (
        QueryDirectoryRequest(
            FILE_ID, FileInfoClass.POSIX, "*", 0x10000, QueryDirectoryFlags.RESTART_SCANS
        ),
        f"2100 64 01 00000000 {FILE_ID_HEX} 6000 0200 00000100 2a00",
    ),
    "change notify request": (
        ChangeNotifyRequest(FILE_ID, CompletionFilter.FILE_NAME | CompletionFilter.SIZE, 4096, 1),
        f"2000 0100 00100000 {FILE_ID_HEX} 09000000 00000000",
    ),
    "query info request": (
        QueryInfoRequest(FILE_ID, InfoType.SECURITY, 0, 1024, additional_information=3),
        f"2900 03 00 00040000 0000 0000 00000000 03000000 00000000 {FILE_ID_HEX} 00",
    ),
    "query info request with input": (
        QueryInfoRequest(FILE_ID, InfoType.FILE, FileInfoClass.FULL_EA, 1024, input_buffer=b"in"),
        f"2900 01 0f 00040000 6800 0000 02000000 00000000 00000000 {FILE_ID_HEX} 696e",
    ),
    "query info response": (QueryInfoResponse(memoryview(b"data")), "0900 4800 04000000 64617461"),
    "set info request": (
        SetInfoRequest(FILE_ID, InfoType.FILE, FileInfoClass.END_OF_FILE, memoryview(bytes(8))),
        f"2100 01 14 08000000 6000 0000 00000000 {FILE_ID_HEX} 0000000000000000",
    ),
    "oplock break notification": (
        OplockBreakNotification(FILE_ID, OplockLevel.LEVEL_II),
        f"1800 01 00 00000000 {FILE_ID_HEX}",
    ),
    "lease break notification": (
        LeaseBreakNotification(KEY, LeaseState(7), LeaseState(1), 9, 1),
        f"2c00 0900 01000000 {KEY_HEX} 07000000 01000000 00000000 00000000 00000000",
    ),
    "lease break acknowledgment": (
        LeaseBreakAcknowledgment(KEY, LeaseState(1)),
        f"2400 0000 00000000 {KEY_HEX} 01000000 0000000000000000",
    ),
    "error response": (ErrorResponse(), "0900 00 00 00000000 00"),
    "error response of 3.1.1": (
        ErrorResponse(error_contexts=(ErrorContext(0, b"abc"), ErrorContext(0x72645253, b"d"))),
        "0900 02 00 19000000 03000000 00000000 616263 0000000000 01000000 53526472 64",
    ),
}


@pytest.mark.parametrize(("message", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_known_bytes(message: Message, expected: str) -> None:
    body = bytes.fromhex(expected)
    assert message.encode().hex(" ", 4) == body.hex(" ", 4)
    assert type(message).decode(memoryview(body)) == message
