"""Names that Samba before 4.23 hides from clients with POSIX extensions, too.

It lists a name that Windows would not take (``a:b``, ``CON``) as an 8.3 name with a hash, though
such clients can hold it and only the real name opens the file. Opens without POSIX extensions
know the made-up name, and tell the real one.
"""

from __future__ import annotations

import re
from typing import Final

from smbfs.errors import ServerStatusError
from smbfs.vfs.share import SHARE_ALL, STAT_ACCESS, Share, path_of
from smbfs.wire.create import CreateRequest
from smbfs.wire.fscc import decode_file_all_information
from smbfs.wire.info import QueryInfoResponse

_MANGLED: Final = re.compile(r"[0-9A-Z_~#$%&'()@^`{}!-]{1,6}~[0-9A-Z](\.[0-9A-Z_~-]{1,3})?")


def may_be_mangled(name: str) -> bool:
    """Whether a name looks like one that Samba made up."""
    return _MANGLED.fullmatch(name) is not None


async def real_name(share: Share, path: str, file_id: int) -> str | None:
    """Return the name of a file that is listed at ``path``; None if the server does not tell."""
    create = CreateRequest(path.replace("/", "\\"), STAT_ACCESS, share_access=SHARE_ALL)
    try:
        (answer,) = await share.compound(create, share.all_query())
    except ServerStatusError:
        return None
    data = QueryInfoResponse.decode(answer).data
    if decode_file_all_information(data).file_id != file_id:
        return None
    above = path.rpartition("/")[0]
    return path_of(data)[len(above) + bool(above) :] or None
