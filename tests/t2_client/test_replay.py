"""What may be sent twice."""

from __future__ import annotations

import uuid

import pytest

from smbfs.client.replay import may_repeat
from smbfs.wire.change_notify import ChangeNotifyRequest
from smbfs.wire.close_flush import CloseRequest, FlushRequest
from smbfs.wire.create import CreateDisposition, CreateOptions, CreateRequest
from smbfs.wire.create_contexts import DurableHandleRequestV2
from smbfs.wire.file_id import FileId
from smbfs.wire.info import FileInfoClass, InfoType, QueryInfoRequest, SetInfoRequest
from smbfs.wire.ioctl import FsctlCode, IoctlRequest
from smbfs.wire.message import Message
from smbfs.wire.query_directory import QueryDirectoryFlags, QueryDirectoryRequest
from smbfs.wire.read_write import ReadRequest, WriteRequest

FILE = FileId(1, 2)
OPEN = CreateRequest("file", 1)
MAKE = CreateRequest("file", 1, create_disposition=CreateDisposition.CREATE)
MAKE_KNOWN = CreateRequest(
    "file",
    1,
    create_disposition=CreateDisposition.CREATE,
    contexts=(DurableHandleRequestV2(uuid.UUID(int=1)),),
)
QUERY = QueryInfoRequest(FileId.RELATED, InfoType.FILE, 1, 4096)
REMOVE = CreateRequest("file", 1, create_options=CreateOptions.DELETE_ON_CLOSE)


def setting(info_class: FileInfoClass) -> SetInfoRequest:
    return SetInfoRequest(FileId.RELATED, InfoType.FILE, info_class, b"")


def listing(flags: QueryDirectoryFlags, file_id: FileId = FILE) -> QueryDirectoryRequest:
    return QueryDirectoryRequest(file_id, 1, "*", output_buffer_length=4096, flags=flags)


@pytest.mark.parametrize(
    "messages",
    [
        (ReadRequest(FILE, 0, 1),),
        (WriteRequest(FILE, 0, b"x"),),
        (FlushRequest(FILE),),
        (CloseRequest(FILE),),
        (
            OPEN,
            QueryInfoRequest(FileId.RELATED, InfoType.FILE, 1, 4096),
            CloseRequest(FileId.RELATED),
        ),
        (OPEN, setting(FileInfoClass.BASIC), CloseRequest(FileId.RELATED)),
        (OPEN, setting(FileInfoClass.END_OF_FILE)),
        (OPEN, SetInfoRequest(FileId.RELATED, InfoType.SECURITY, 0, b"")),
        (OPEN, listing(QueryDirectoryFlags(0), FileId.RELATED)),
        (listing(QueryDirectoryFlags.RESTART_SCANS),),
        (IoctlRequest(FsctlCode.GET_REPARSE_POINT, FILE),),
    ],
)
@pytest.mark.parametrize("same_session", [True, False])
def test_what_comes_to_the_same_may_be_sent_twice(
    messages: tuple[Message, ...], *, same_session: bool
) -> None:
    assert may_repeat(messages, same_session=same_session)


@pytest.mark.parametrize(
    "messages",
    [
        (MAKE, CloseRequest(FileId.RELATED)),
        (REMOVE, CloseRequest(FileId.RELATED)),
        (OPEN, setting(FileInfoClass.RENAME), CloseRequest(FileId.RELATED)),
        (OPEN, setting(FileInfoClass.LINK)),
        (OPEN, setting(FileInfoClass.DISPOSITION)),
        (OPEN, setting(FileInfoClass.DISPOSITION_EX)),
        (listing(QueryDirectoryFlags(0)),),
        (ChangeNotifyRequest(FILE, 1),),
        (IoctlRequest(FsctlCode.SRV_COPYCHUNK_WRITE, FILE),),
    ],
)
@pytest.mark.parametrize("same_session", [True, False])
def test_what_does_not_is_not(messages: tuple[Message, ...], *, same_session: bool) -> None:
    assert not may_repeat(messages, same_session=same_session)


def test_a_file_is_made_twice_only_if_the_server_knows_that_it_was() -> None:
    assert may_repeat((MAKE_KNOWN,), same_session=True)
    assert not may_repeat((MAKE_KNOWN,), same_session=False)
