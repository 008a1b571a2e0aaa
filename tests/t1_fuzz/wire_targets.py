"""Every reader of smbfs.wire. ``test_targets.py`` holds this against the package."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

from hypothesis import strategies as st

from smbfs.errors import WireError
from smbfs.wire import (
    change_notify,
    create_contexts,
    directory_listing,
    extended_attributes,
    file_stat,
    fs_information,
    ioctl_payloads,
    layout,
    negotiate_contexts,
    oplock_break,
    posix_extensions,
    reparse,
    rpc,
    srvsvc,
    stream_information,
)
from smbfs.wire.error_response import ErrorResponse
from smbfs.wire.fscc import DirectoryEntry, FileStat
from smbfs.wire.header import Command, Header, HeaderFlags
from smbfs.wire.info import FileInfoClass
from smbfs.wire.message import Buffer
from smbfs.wire.negotiate_contexts import encode_negotiate_contexts
from smbfs.wire.security import SecurityDescriptor, Sid
from smbfs.wire.transform import TransformHeader
from tests.t0_wire import payloads
from tests.t0_wire.contexts import (
    CREATE_REQUEST_CONTEXTS,
    CREATE_RESPONSE_CONTEXTS,
    NEGOTIATE_CONTEXTS,
    create_request_contexts,
    create_response_contexts,
    extended_attribute_lists,
)
from tests.t0_wire.contexts import (
    negotiate_contexts as negotiate_context_lists,
)
from tests.t0_wire.strategies import CASES
from tests.t0_wire.values import U32, names, sids
from tests.t1_fuzz.contract import Target

Read = Callable[[memoryview], object]

EXAMPLE_STAT = FileStat(
    *(7, 4096, 8192, 1, 2, 3, 4, 0x20, 1, 0, 0o100644, Sid.unix_user_sid(5), Sid.unix_group_sid(6)),
)
_DIRECTORY_CLASSES = (
    FileInfoClass.POSIX,
    FileInfoClass.ID_BOTH_DIRECTORY,
    FileInfoClass.ID_FULL_DIRECTORY,
    FileInfoClass.BOTH_DIRECTORY,
)
_HEADER_SIZE = layout.HEADER_SIZE


def reading(read: Read) -> Callable[[bytes], None]:
    """Return what gives ``read`` bytes and lets it refuse them."""

    def run(data: bytes) -> None:
        try:
            found = read(memoryview(data))
            if isinstance(found, Iterator):
                deque(found, maxlen=0)
            else:
                repr(found)  # For logs; names in it are the server's.
        except WireError as error:
            str(error)

    return run


_PDUS = st.builds(
    rpc.encode_pdu,
    st.sampled_from(rpc.PduType),
    st.integers(0, 3).map(rpc.PduFlags),
    st.just(2),
    st.binary(max_size=120),
)


def _rpc_targets() -> Iterator[Target]:
    def asked(read: Callable[[rpc.Pdu], object]) -> Read:
        return lambda data: read(rpc.Pdu.decode(data))

    yield _target("Pdu.decode", rpc.Pdu.decode, _PDUS)
    yield _target("decode_bind_ack", asked(rpc.decode_bind_ack), _PDUS)
    yield _target("decode_fault", asked(rpc.decode_fault), _PDUS)
    yield _target("decode_response", asked(rpc.decode_response), _PDUS)
    stubs = st.builds(
        lambda count, rest: struct.pack("<IIIIII", 1, 1, 1, count, 1, count) + rest,
        st.integers(0, 6),
        st.binary(max_size=200),
    )
    yield _target("decode_share_enum", srvsvc.decode_share_enum, stubs)


def wire_targets() -> Iterator[Target]:
    """Yield all of them."""
    parts = (_messages(), _contexts(), _headers(), _security(), _lists(), _payloads())
    return chain(*parts, _rpc_targets())


def _target(name: str, read: Read, valid: st.SearchStrategy[bytes], *more: str) -> Target:
    return Target(name, reading(read), valid, (name, *more))


def _messages() -> Iterator[Target]:
    for kind, case in CASES.items():
        yield _target(f"{kind.__name__}.decode", kind.decode, case.instances.map(_encoded))
    breaks = [
        CASES[kind].instances.map(_encoded)
        for kind in (oplock_break.OplockBreakNotification, oplock_break.LeaseBreakNotification)
    ]
    yield _target("decode_break", oplock_break.decode_break, st.one_of(breaks))
    answers = [
        CASES[kind].instances.map(_encoded)
        for kind in (oplock_break.OplockBreakResponse, oplock_break.LeaseBreakResponse)
    ]
    yield _target("decode_break_response", oplock_break.decode_break_response, st.one_of(answers))

    def link_error(data: memoryview) -> object:
        return reparse.decode_stopped_on_symlink(ErrorResponse.decode(data).symbolic_link_data())

    yield Target(
        "symbolic_link_error",
        reading(link_error),
        _STOPPED.map(lambda data: ErrorResponse(data).encode()),
    )


def _contexts() -> Iterator[Target]:
    for kind, contexts in chain(CREATE_REQUEST_CONTEXTS.items(), CREATE_RESPONSE_CONTEXTS.items()):
        yield _target(
            f"{kind.__name__}.decode_data",
            kind.decode_data,
            contexts.map(lambda context: context.encode_data()),
        )
    for known, instances in NEGOTIATE_CONTEXTS.items():
        yield _target(
            f"{known.__name__}.decode_data",
            known.decode_data,
            instances.map(lambda context: context.encode_data()),
        )
    requests = create_request_contexts().filter(bool).map(create_contexts.encode_create_contexts)
    yield _target(
        "decode_request_contexts",
        create_contexts.decode_request_contexts,
        requests,
        "iterate_create_contexts",
    )
    responses = create_response_contexts().filter(bool).map(create_contexts.encode_create_contexts)
    yield _target("decode_response_contexts", create_contexts.decode_response_contexts, responses)

    def counted(data: memoryview) -> object:
        """The count and the offset are the server's, too."""
        count, offset = layout.unpack_at(struct.Struct("<HI"), data, 0, "test")
        return negotiate_contexts.decode_negotiate_contexts(data, offset, count)

    lists = negotiate_context_lists().map(
        lambda each: (
            struct.pack("<HI2x", len(each), _HEADER_SIZE + 8) + encode_negotiate_contexts(each)
        )
    )
    yield _target("decode_negotiate_contexts", counted, lists)


def _headers() -> Iterator[Target]:
    flags = (0, HeaderFlags.SERVER_TO_REDIR, HeaderFlags.ASYNC_COMMAND)
    headers = st.builds(
        lambda status, command, flag: Header(1, status, command, flags=flag),
        U32,
        st.sampled_from(Command),
        st.sampled_from(flags),
    )
    yield _target("Header.decode", Header.decode, headers.map(lambda header: header.encode()))
    sealed = st.builds(
        TransformHeader, st.binary(min_size=16, max_size=16), st.just(bytes(16)), U32, U32
    )
    yield _target("TransformHeader.decode", TransformHeader.decode, sealed.map(_encoded))


def _security() -> Iterator[Target]:
    def numbers(data: memoryview) -> object:
        sid = Sid.decode(data)
        return sid.unix_user, sid.unix_group, sid.unix_mode, str(sid)

    yield _target("Sid.decode", numbers, sids.map(_encoded))
    descriptors = st.builds(SecurityDescriptor, st.none() | sids, st.none() | sids)
    yield _target("SecurityDescriptor.decode", SecurityDescriptor.decode, descriptors.map(_encoded))

    def from_text(data: memoryview) -> object:
        return Sid.parse(str(data, "utf-8", "replace"))

    yield _target("Sid.parse", from_text, sids.map(lambda sid: str(sid).encode()))


def _lists() -> Iterator[Target]:
    def listing(data: memoryview) -> object:
        kind = _DIRECTORY_CLASSES[data[0] % len(_DIRECTORY_CLASSES)] if len(data) else 0
        return directory_listing.iterate_directory(data[1:], kind) if kind else None

    entries = st.lists(
        st.builds(DirectoryEntry, names, st.just(EXAMPLE_STAT), st.none()), min_size=1, max_size=4
    )
    listings = st.builds(
        lambda index, found: (
            bytes([index]) + payloads.encode_directory(found, _DIRECTORY_CLASSES[index])
        ),
        st.integers(0, len(_DIRECTORY_CLASSES) - 1),
        entries,
    )
    yield _target("iterate_directory", listing, listings)
    changes = st.lists(st.builds(change_notify.NotifyInformation, U32, names), max_size=4)
    yield _target(
        "iterate_notify_information",
        change_notify.iterate_notify_information,
        changes.map(payloads.encode_notify_information),
    )
    streams = st.lists(st.builds(stream_information.StreamInformation, names, U32, U32), max_size=4)
    yield _target(
        "decode_stream_information",
        stream_information.decode_stream_information,
        streams.map(payloads.encode_stream_information),
    )
    yield _target(
        "decode_full_ea_list",
        extended_attributes.decode_full_ea_list,
        extended_attribute_lists.map(extended_attributes.encode_full_ea_list),
    )


def _payloads() -> Iterator[Target]:
    reparse_points = st.one_of(
        st.builds(lambda t, r: reparse.encode_symbolic_link(t, relative=r), names, st.booleans()),
        names.map(reparse.encode_nfs_symlink),
        st.sampled_from(reparse.SpecialKind).map(reparse.encode_nfs_special),
        *(
            st.just(struct.pack("<IHH", tag, len(data), 0) + data)
            for tag, data in (
                (reparse.ReparseTag.LX_SYMLINK, b"\2\0\0\0/etc/passwd"),
                (reparse.ReparseTag.MOUNT_POINT, struct.pack("<4H", 0, 4, 4, 4) + b"a\0b\0c\0d\0"),
                (reparse.ReparseTag.LX_FIFO, b""),
                (0x8000_0017, b"something else"),
            )
        ),
    )
    yield _target("decode_reparse_point", reparse.decode_reparse_point, reparse_points)
    yield _target("decode_stopped_on_symlink", reparse.decode_stopped_on_symlink, _STOPPED)
    fixed: dict[Read, int] = {
        file_stat.decode_file_all_information: 104,
        file_stat.decode_network_open_information: 56,
        file_stat.decode_posix_information: 104,
        fs_information.decode_fs_full_size_information: 32,
        fs_information.decode_fs_object_id_information: 64,
        fs_information.decode_fs_attribute_information: 20,
        fs_information.decode_fs_volume_information: 26,
        fs_information.decode_posix_fs_information: 56,
        ioctl_payloads.decode_network_interfaces: 152 * 2,
        ioctl_payloads.decode_ranges: 32,
        ioctl_payloads.decode_resume_key: 24,
        ioctl_payloads.decode_snapshots: 62,
        ioctl_payloads.ValidateNegotiateInfoRequest.decode: 28,
        ioctl_payloads.ValidateNegotiateInfoResponse.decode: 24,
        ioctl_payloads.SrvCopychunkCopy.decode: 80,
        ioctl_payloads.SrvCopychunkResponse.decode: 12,
    }
    for read, size in fixed.items():
        name = getattr(read, "__qualname__")  # noqa: B009 - callables need not have one
        yield _target(name, read, st.binary(min_size=size, max_size=size + 40))
    yield _target("decode_text", lambda data: layout.decode_text(data, "test"), names.map(_text))

    def mode(data: memoryview) -> object:
        number = int.from_bytes(data[:4], "little")
        return posix_extensions.decode_posix_mode(number, is_directory=bool(number & 1))

    yield _target("decode_posix_mode", mode, st.binary(min_size=4, max_size=4))


def _stopped(target: str, tail: int) -> bytes:
    name = _text(target)
    fixed = struct.pack(
        "<IIIHHHHHHI",
        *(len(name) * 2 + 28, 0x4C4D_5953, reparse.ReparseTag.SYMLINK, len(name) * 2 + 12, tail),
        *(0, len(name), len(name), len(name), 1),
    )
    return fixed + name + name


_STOPPED = st.builds(_stopped, names, st.integers(0, 0xFFFF))


def _text(text: str) -> bytes:
    return layout.encode_text(text)


def _encoded(message: object) -> bytes:
    encode: Callable[[], Buffer] = getattr(message, "encode")  # noqa: B009 - whatever can do it
    return bytes(encode())
