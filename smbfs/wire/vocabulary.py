"""smbprotocol's structures, made safe for bytes that a stranger sent.

smbprotocol knows the layouts of the messages that are not hot. What it leaves to its caller
is done here, so that no other module has to remember it:

* flags and enumerations: it refuses values it has no name for, but servers newer than the
  library set new bits; :func:`relaxed` lets them through and our own types decide;
* times: it turns a FILETIME into a ``datetime`` and loses the last digit; here they stay
  FILETIMEs;
* GUIDs: it keeps the bytes as they come; here a ``UUID`` reads as others print it;
* bounds: it takes a short buffer for a whole one and does not look at Offset fields;
  :func:`unpack_structure` checks the fixed part, and the callers slice what is variable by
  the offsets of the message (``layout.slice_body``);
* errors: its exceptions are of many kinds; :func:`wire_errors` makes them one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from smbprotocol.structure import (
    DateTimeField,
    EnumField,
    FlagField,
    IntField,
    ListField,
    Structure,
    UuidField,
)

from smbfs.errors import WireError
from smbfs.wire.layout import Buffer

StructureT = TypeVar("StructureT", bound=Structure)


@contextmanager
def wire_errors(what: str) -> Iterator[None]:
    """Turn any exception of the block into WireError, the original one chained."""
    try:
        yield
    except WireError:
        raise
    except Exception as error:
        # Whatever a structure raises means bad bytes: struct.error, ValueError, IndexError, ...
        raise WireError(what) from error


def relaxed(structure: StructureT) -> StructureT:
    """Return ``structure`` with its fields as described at the top of this module."""
    fields: dict[str, Any] = vars(structure)["fields"]
    for name, field in fields.items():
        if isinstance(field, FlagField):
            field.flag_strict = False
        elif isinstance(field, EnumField):
            field.enum_strict = False
        elif isinstance(field, UuidField):
            # smbprotocol's names are the other way around: its "big endian" is Windows' order.
            field.little_endian = False
        elif isinstance(field, DateTimeField):
            exact: Any = IntField(size=8)
            exact.name = name
            exact.set_value(0)
            fields[name] = exact
        elif isinstance(field, ListField) and isinstance(field.list_type, EnumField):
            field.list_type.enum_strict = False
    return structure


def fill(structure: StructureT, **values: object) -> StructureT:
    """Return ``structure``, relaxed, with these fields set; the others keep their defaults."""
    relaxed(structure)
    for name, value in values.items():
        structure[name] = value
    return structure


def pack(structure: Structure) -> bytes:
    """Return the bytes of a structure."""
    data: bytes = structure.pack()
    return data


def unpack_structure(
    structure: StructureT, data: Buffer, what: str, *, variable: tuple[str, ...] = ()
) -> StructureT:
    """Read the fixed fields of ``structure``; those named in ``variable`` are taken out of it.

    Raises: WireError if ``data`` is shorter than the fixed fields, if one of them can't be
    read, or if a StructureSize is not the structure's own.
    """
    with wire_errors(what):
        relaxed(structure)
        for name in variable:
            del structure[name]
        fields: dict[str, Any] = vars(structure)["fields"]
        size_field = fields.get("structure_size")
        expected = size_field.get_value() if size_field is not None else None
        fixed_size = sum(field.size for field in fields.values())
        if len(data) < fixed_size:
            raise WireError(what, len(data))
        structure.unpack(bytes(data[:fixed_size]))
        if size_field is not None and size_field.get_value() != expected:
            raise WireError(f"{what} (StructureSize {size_field.get_value()}, not {expected})")
    return structure


def value(structure: Structure, name: str) -> Any:  # noqa: ANN401  the callers give it a type
    """Return the value of a field."""
    return structure[name].get_value()
