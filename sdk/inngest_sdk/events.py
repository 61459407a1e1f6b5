"""Events, in and out. Knows no transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, cast

from inngest_sdk.errors import BodyInvalidError

if TYPE_CHECKING:
    # Type checkers know this module wherever it is not installed; it has the default of PEP 696,
    # so that a bare `Event` stays what it is in the official SDK.
    from typing_extensions import TypeVar

    D = TypeVar("D", default=Mapping[str, Any], covariant=True)
else:
    from typing import TypeVar

    D = TypeVar("D", covariant=True)


@dataclass(kw_only=True)
class Event(Generic[D]):
    """Something that happened. Sending it starts every function that listens for its name.

    `id` makes it unique: a second event with the same id, within 24 hours, starts nothing. `ts` is
    when it happened, in Unix milliseconds; 0 means when it is sent, and a time to come delays the
    functions until then. `v` is the version of the shape of `data`. Inngest deprecates `user`.
    `encode` makes JSON of data that is none; event types set it.

        Event(name="shop/order.placed", data={"order_id": 7})
    """

    name: str
    data: D = field(default_factory=lambda: cast(D, {}))
    id: str = ""
    ts: int = 0
    user: Mapping[str, Any] = field(default_factory=dict)
    v: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    encode: Callable[[Any], Any] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_json(cls, value: object) -> Event[Any]:
        """Read an event that the server sent; fields that we do not know are ignored.

        Raises BodyInvalidError for what is no object, has no name, or has data that is no object.
        """
        if not isinstance(value, Mapping):
            raise BodyInvalidError(f"an event is {type(value).__name__}, not an object")
        name = value.get("name")
        if not isinstance(name, str):
            raise BodyInvalidError("an event has no name")
        data = value.get("data") or {}
        if not isinstance(data, Mapping):
            raise BodyInvalidError(
                f"the data of event {name!r} is {type(data).__name__}, not an object"
            )
        ts = value.get("ts")
        return cls(
            name=name,
            data=cast(D, data),
            id=value.get("id") or "",
            ts=int(ts) if isinstance(ts, (int, float)) else 0,
            user=value.get("user") or {},
            v=value.get("v") or "",
            meta=value.get("meta") or {},
        )

    def to_json(self) -> dict[str, Any]:
        """Write the event as the server reads it; optional fields only where they are set."""
        optional = {
            "id": self.id,
            "ts": self.ts,
            "user": self.user,
            "v": self.v,
            "meta": self.meta,
        }
        written: dict[str, Any] = {"name": self.name, "data": self.data}
        return written | {key: value for key, value in optional.items() if value}


@dataclass(kw_only=True)
class SendEventsResult:
    """What became of some events: `ids` of those accepted, in order, and what went wrong, if
    anything did."""

    error: str | None = None
    ids: list[str]
