"""The dialects of SMB 2 and 3."""

from __future__ import annotations

from enum import IntEnum


class Dialect(IntEnum):
    """A dialect revision; members compare by age.

    Spec: [MS-SMB2] 2.2.3 (Dialects), 2.2.4 (DialectRevision).
    """

    SMB_2_0_2 = 0x0202
    SMB_2_1 = 0x0210
    WILDCARD = 0x02FF
    """Answer to an SMB1 negotiate: the server speaks 2.1 or later, ask again."""
    SMB_3_0 = 0x0300
    SMB_3_0_2 = 0x0302
    SMB_3_1_1 = 0x0311

    @property
    def label(self) -> str:
        """The dialect as people write it: ``"3.1.1"``."""
        return _LABELS[self]


_LABELS = {
    Dialect.SMB_2_0_2: "2.0.2",
    Dialect.SMB_2_1: "2.1",
    Dialect.WILDCARD: "2.???",
    Dialect.SMB_3_0: "3.0",
    Dialect.SMB_3_0_2: "3.0.2",
    Dialect.SMB_3_1_1: "3.1.1",
}
