"""The negotiate contexts of SMB 3.1.1.

A list of algorithms may hold numbers that this package has no name for (a newer peer, a
value reserved for tests): they stay plain integers, so nothing offered is lost.

Spec: [MS-SMB2] 2.2.3.1 (requests), 2.2.4.1 (responses); one layout for both.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self, TypeVar

from smbprotocol.connection import (
    SMB2EncryptionCapabilities,
    SMB2PreauthIntegrityCapabilities,
    SMB2SigningCapabilities,
)

from smbfs.errors import WireError
from smbfs.wire.layout import (
    HEADER_SIZE,
    decode_text,
    encode_text,
    padding,
    slice_data,
    unpack_at,
)
from smbfs.wire.posix_extensions import POSIX_EXTENSIONS_GUID
from smbfs.wire.vocabulary import fill, pack

_CONTEXT = struct.Struct("<HHI")
_COUNT = struct.Struct("<H")
_PREAUTH = struct.Struct("<HH")
_TRANSPORT = struct.Struct("<I")
_COMPRESSION = struct.Struct("<HHI")


class HashAlgorithm(IntEnum):
    """Spec: [MS-SMB2] 2.2.3.1.1."""

    SHA_512 = 0x0001


class Cipher(IntEnum):
    """Spec: [MS-SMB2] 2.2.3.1.2."""

    AES_128_CCM = 0x0001
    AES_128_GCM = 0x0002
    AES_256_CCM = 0x0003
    AES_256_GCM = 0x0004

    @property
    def label(self) -> str:
        """The cipher as people write it: ``"aes-128-gcm"``."""
        return self.name.lower().replace("_", "-")


class SigningAlgorithm(IntEnum):
    """Spec: [MS-SMB2] 2.2.3.1.7."""

    HMAC_SHA256 = 0x0000
    AES_CMAC = 0x0001
    AES_GMAC = 0x0002

    @property
    def label(self) -> str:
        """The algorithm as people write it: ``"aes-128-gmac"``."""
        return _SIGNING_LABELS[self]


_SIGNING_LABELS = {
    SigningAlgorithm.HMAC_SHA256: "hmac-sha256",
    SigningAlgorithm.AES_CMAC: "aes-128-cmac",
    SigningAlgorithm.AES_GMAC: "aes-128-gmac",
}


class CompressionAlgorithm(IntEnum):
    """Spec: [MS-SMB2] 2.2.3.1.3."""

    NONE = 0x0000
    LZNT1 = 0x0001
    LZ77 = 0x0002
    LZ77_HUFFMAN = 0x0003
    PATTERN_V1 = 0x0004
    LZ4 = 0x0005


EnumT = TypeVar("EnumT", bound=IntEnum)


def _named(kind: type[EnumT], numbers: tuple[int, ...]) -> tuple[int, ...]:
    known = {int(member): member for member in kind}
    return tuple(known.get(number, number) for number in numbers)


def _numbers(data: memoryview, offset: int, count: int, what: str) -> tuple[int, ...]:
    found = slice_data(data, offset, 2 * count, what)
    return struct.unpack(f"<{count}H", found)


class KnownContext:
    """Base of every negotiate context that has a type here."""

    __slots__ = ()

    context_type: ClassVar[int]
    """ContextType on the wire."""

    def encode_data(self) -> bytes:
        """Return the context's data."""
        raise NotImplementedError

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PreauthIntegrityCapabilities(KnownContext):
    """Hash algorithms for pre-authentication integrity, and a salt.

    Raises: WireError on decode if short.  Spec: [MS-SMB2] 2.2.3.1.1.
    """

    context_type: ClassVar[int] = 0x0001

    hash_algorithms: tuple[int, ...]
    salt: bytes

    def encode_data(self) -> bytes:
        """Return the context's data."""
        algorithms = [int(algorithm) for algorithm in self.hash_algorithms]
        structure = SMB2PreauthIntegrityCapabilities()
        return pack(fill(structure, hash_algorithms=algorithms, salt=self.salt))

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        what = "PREAUTH_INTEGRITY_CAPABILITIES"
        count, salt_length = unpack_at(_PREAUTH, data, 0, what)
        algorithms = _named(HashAlgorithm, _numbers(data, 4, count, what))
        return cls(algorithms, bytes(slice_data(data, 4 + 2 * count, salt_length, what)))


@dataclass(frozen=True, slots=True)
class EncryptionCapabilities(KnownContext):
    """Ciphers in order of preference; in a response the one chosen, 0 for none.

    Raises: WireError on decode if short.  Spec: [MS-SMB2] 2.2.3.1.2.
    """

    context_type: ClassVar[int] = 0x0002

    ciphers: tuple[int, ...]

    def encode_data(self) -> bytes:
        """Return the context's data."""
        ciphers = [int(cipher) for cipher in self.ciphers]
        return pack(fill(SMB2EncryptionCapabilities(), ciphers=ciphers))

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        what = "ENCRYPTION_CAPABILITIES"
        (count,) = unpack_at(_COUNT, data, 0, what)
        return cls(_named(Cipher, _numbers(data, 2, count, what)))


@dataclass(frozen=True, slots=True)
class CompressionCapabilities(KnownContext):
    """Compression algorithms; ``flags`` 1 offers chained compression.

    Raises: WireError on decode if short.  Spec: [MS-SMB2] 2.2.3.1.3.
    """

    context_type: ClassVar[int] = 0x0003

    algorithms: tuple[int, ...]
    flags: int = 0

    def encode_data(self) -> bytes:
        """Return the context's data."""
        count = len(self.algorithms)
        return _COMPRESSION.pack(count, 0, self.flags) + struct.pack(f"<{count}H", *self.algorithms)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        what = "COMPRESSION_CAPABILITIES"
        count, _, flags = unpack_at(_COMPRESSION, data, 0, what)
        return cls(_named(CompressionAlgorithm, _numbers(data, 8, count, what)), flags)


@dataclass(frozen=True, slots=True)
class NetnameContext(KnownContext):
    """The server's name as the client calls it. Requests only.

    Raises: WireError on decode if the number of bytes is odd.  Spec: [MS-SMB2] 2.2.3.1.4.
    """

    context_type: ClassVar[int] = 0x0005

    name: str

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return encode_text(self.name)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        return cls(decode_text(data, "NETNAME_NEGOTIATE_CONTEXT_ID"))


@dataclass(frozen=True, slots=True)
class TransportCapabilities(KnownContext):
    """Flags of the transport; 1 = accept transport-level security (QUIC's TLS).

    Raises: WireError on decode if short.  Spec: [MS-SMB2] 2.2.3.1.5.
    """

    context_type: ClassVar[int] = 0x0006
    ACCEPT_TRANSPORT_LEVEL_SECURITY: ClassVar[int] = 0x0000_0001

    flags: int = 0

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return _TRANSPORT.pack(self.flags)

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        (flags,) = unpack_at(_TRANSPORT, data, 0, "TRANSPORT_CAPABILITIES")
        return cls(flags)


@dataclass(frozen=True, slots=True)
class SigningCapabilities(KnownContext):
    """Signing algorithms in order of preference; in a response the one chosen.

    Raises: WireError on decode if short.  Spec: [MS-SMB2] 2.2.3.1.7.
    """

    context_type: ClassVar[int] = 0x0008

    algorithms: tuple[int, ...]

    def encode_data(self) -> bytes:
        """Return the context's data."""
        algorithms = [int(algorithm) for algorithm in self.algorithms]
        return pack(fill(SMB2SigningCapabilities(), signing_algorithms=algorithms))

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        what = "SIGNING_CAPABILITIES"
        (count,) = unpack_at(_COUNT, data, 0, what)
        return cls(_named(SigningAlgorithm, _numbers(data, 2, count, what)))


@dataclass(frozen=True, slots=True)
class PosixExtensions(KnownContext):
    """Both sides speak the POSIX extensions.

    Shape: the 16 bytes of the create context's name.
    Raises: WireError on decode if they aren't these 16 bytes first.
    Spec: SMB3 POSIX Extensions 2.2.3.1 (SMB2_POSIX_EXTENSIONS_AVAILABLE).
    """

    context_type: ClassVar[int] = 0x0100

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return POSIX_EXTENSIONS_GUID

    @classmethod
    def decode_data(cls, data: memoryview) -> Self:
        """Read the context's data. Raises: WireError."""
        if data[:16] != POSIX_EXTENSIONS_GUID:
            raise WireError("POSIX_EXTENSIONS_AVAILABLE")
        return cls()


@dataclass(frozen=True, slots=True)
class UnknownContext:
    """A context that this package has no type for, verbatim."""

    context_type: int
    data: bytes

    def encode_data(self) -> bytes:
        """Return the context's data."""
        return self.data


NegotiateContext = KnownContext | UnknownContext

_KNOWN: dict[int, type[KnownContext]] = {
    PreauthIntegrityCapabilities.context_type: PreauthIntegrityCapabilities,
    EncryptionCapabilities.context_type: EncryptionCapabilities,
    CompressionCapabilities.context_type: CompressionCapabilities,
    NetnameContext.context_type: NetnameContext,
    TransportCapabilities.context_type: TransportCapabilities,
    SigningCapabilities.context_type: SigningCapabilities,
    PosixExtensions.context_type: PosixExtensions,
}


def encode_negotiate_contexts(contexts: tuple[NegotiateContext, ...]) -> bytes:
    """Return the list of contexts; each but the last is padded to a multiple of 8.

    Spec: [MS-SMB2] 2.2.3.1.
    """
    encoded = bytearray()
    for context in contexts:
        data = context.encode_data()
        encoded += padding(len(encoded), 8)
        encoded += _CONTEXT.pack(context.context_type, len(data), 0) + data
    return bytes(encoded)


def decode_negotiate_contexts(
    body: memoryview, offset: int, count: int
) -> tuple[NegotiateContext, ...]:
    """Read ``count`` contexts at ``offset``, which counts from the header's start.

    Raises: WireError if one lies outside the body or its data is malformed.
    """
    what = "negotiate context"
    contexts: list[NegotiateContext] = []
    start = offset - HEADER_SIZE
    if count and start < 0:
        raise WireError(what, offset)
    for _ in range(count):
        context_type, length, _ = unpack_at(_CONTEXT, body, start, what)
        data = slice_data(body, start + _CONTEXT.size, length, what)
        known = _KNOWN.get(context_type)
        if known is None:
            contexts.append(UnknownContext(context_type, bytes(data)))
        else:
            contexts.append(known.decode_data(data))
        start = (start + _CONTEXT.size + length + 7) & ~7
    return tuple(contexts)
