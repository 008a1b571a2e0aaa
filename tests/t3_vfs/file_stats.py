"""What servers tell of files, for tests that care about little of it."""

from __future__ import annotations

from smbfs.wire.create import FileAttributes
from smbfs.wire.filetime import ns_to_filetime
from smbfs.wire.fscc import FileStat

TIME_NS = 1_700_000_000_123_456_700


def told(**changes: object) -> FileStat:
    """What a server without POSIX extensions tells of a file, with changes."""
    time = ns_to_filetime(TIME_NS)
    base = FileStat(
        file_id=7,
        size=1234,
        allocation_size=4096,
        creation_time=time,
        access_time=time + 10,
        write_time=time,
        change_time=time + 20,
        attributes=FileAttributes.ARCHIVE,
        link_count=1,
        reparse_tag=0,
        mode=None,
        owner=None,
        group=None,
    )
    return base._replace(**changes)  # type: ignore[arg-type]
