"""How values that are not plain JSON become JSON and come back, when a user asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from pydantic import TypeAdapter


JSON: TypeAlias = "bool | int | float | str | Mapping[str, JSON] | Sequence[JSON] | None"
"""What travels."""


class NoOutputType:
    """Stands for "no output_type given": None is a type somebody may mean."""


class Serializer(Protocol):
    """Turns a value of a declared type into JSON and back."""

    def serialize(self, obj: object, typ: object) -> object:
        """A value made of dict, list, str, int, float, bool and None."""
        ...

    def deserialize(self, obj: object, typ: object) -> object:
        """The value of type `typ` that `obj` was made from."""
        ...


class PydanticSerializer:
    """Converts by pydantic's TypeAdapter: models, dataclasses, datetimes, UUIDs, enums..."""

    def serialize(self, obj: object, typ: object) -> object:
        """The JSON form of `obj`, checked against `typ`."""
        return _adapter(typ).dump_python(obj, mode="json")

    def deserialize(self, obj: object, typ: object) -> object:
        """`obj` as a `typ`; raises pydantic's ValidationError if it does not fit."""
        return _adapter(typ).validate_python(obj)


def _adapter(typ: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(typ)
