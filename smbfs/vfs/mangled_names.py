"""Names that Samba before 4.23 hides from clients with POSIX extensions, too.

It lists a name that Windows would not take (``a:b``, ``CON``) as an 8.3 name with a hash, though
such clients can hold it and only the real name opens the file. Opens without POSIX extensions
know the made-up name, and tell the real one.
"""

from __future__ import annotations

import re
from typing import Final

from smbfs.errors import ServerStatusError
from smbfs.vfs.server_directories import list_piece, open_directory
from smbfs.vfs.share import SHARE_ALL, STAT_ACCESS, Share, path_of
from smbfs.wire.create import CreateOptions, CreateRequest
from smbfs.wire.fscc import DirectoryEntry, decode_file_all_information
from smbfs.wire.info import QueryInfoResponse

_ODD: Final = re.compile(r'["*:<>?\\|\x01-\x1f]|[. ]\Z')
_MANGLED: Final = re.compile(r"[0-9A-Z_~#$%&'()@^`{}!-]{1,6}~[0-9A-Z](\.[0-9A-Z_~-]{1,3})?")


def may_be_mangled(name: str) -> bool:
    """Whether a name looks like one that Samba made up."""
    return _MANGLED.fullmatch(name) is not None


async def real_name(share: Share, directory: str, hidden: str, entry: DirectoryEntry) -> str | None:
    """Return the name behind the one of a listing; None if the server does not tell.

    ``directory`` is the path of what was listed, and ``hidden`` the same as
    :func:`path_without_extensions` has it.
    """
    path = f"{hidden}\\{entry.name}" if hidden else entry.name
    create = CreateRequest(
        path,
        STAT_ACCESS,
        share_access=SHARE_ALL,
        # Of a link it is the link's own name that is wanted.
        create_options=CreateOptions.OPEN_REPARSE_POINT,
        contexts=share.always,
    )
    try:
        (answer,) = await share.compound(create, share.all_query())
    except ServerStatusError:
        return None
    data = QueryInfoResponse.decode(answer).data
    if decode_file_all_information(data).file_id != entry.stat.file_id:
        return None
    return path_of(data)[len(directory) + bool(directory) :] or None


async def path_without_extensions(share: Share, steps: list[tuple[str, int]]) -> str:
    """Return the path that opens a directory without POSIX extensions.

    ``steps`` are the paths of the directories that lead to it, with their file ids; what
    Windows would not take in the name of one is asked of the listing that it is in.
    Raises: ServerStatusError, TransportError.
    """
    names = []
    for path, file_id in steps:
        above, _, name = path.rpartition("/")
        if _ODD.search(name):
            name = await _listed_name(share, above, file_id) or name
        names.append(name)
    return "\\".join(names)


async def _listed_name(share: Share, directory: str, file_id: int) -> str | None:
    opened = await open_directory(share, directory)
    try:
        entries: list[DirectoryEntry] | None = opened.first
        while entries is not None:
            for entry in entries:
                if entry.stat.file_id == file_id and may_be_mangled(entry.name):
                    return entry.name
            entries = await list_piece(share, opened.open, restart=False)
    finally:
        await opened.open.close()
    return None
