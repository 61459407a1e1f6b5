"""Types of events: what the data of an event is, where it is sent and where it arrives.

Data crosses the border twice, and middleware stands between the border and user code: events are
made JSON before middleware sees them on their way out, and are read after it has seen them on their
way in. So middleware that encrypts or offloads data need not know of types.

The codec brings pydantic, which is imported when the first event of a type is made or read; until
then a type is a name and an annotation. The codec leaves plain JSON unlooked at; the data of an
event comes from elsewhere, so here it is always validated.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import FunctionType, SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    overload,
)

from inngest_sdk import codec
from inngest_sdk.errors import (
    EventInvalidError,
    FunctionConfigInvalidError,
    MemoMisfitError,
    OutputUnserializableError,
)
from inngest_sdk.events import Event
from inngest_sdk.flow_control import check_event_name
from inngest_sdk.function import Trigger, TriggerEvent

T = TypeVar("T")

INVOKED = "inngest/function.invoked"  # the event of a function that `step.invoke` calls
RESERVED_PREFIX = "inngest/"
_ENVELOPE = "_inngest"  # the server's own key in the data of some events (wire.md A12)

# Types whose JSON is never an object, as the data of an event has to be.
_NO_OBJECTS = (str, bytes, int, float, list, tuple, set, frozenset)


class DataclassLike(Protocol):
    """An instance of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class ModelLike(Protocol):
    """An instance of a pydantic model."""

    def model_dump(self) -> dict[str, Any]:
        """Write the model as a dict."""
        ...


Data: TypeAlias = Mapping[str, Any] | DataclassLike | ModelLike
"""What the data of an event, or of a call of a function, may be given as."""


@dataclass(frozen=True)
class EventType(Generic[T]):
    """An event's name and the type of its data; made by `event_type`.

    It is a trigger, by itself or with an expression (`when`); calling it makes an event to send;
    `step.wait_for_event` takes it for a name.
    """

    name: str
    data: Any

    def __post_init__(self) -> None:
        check_event_name("the name of an event_type", self.name)
        plain = typing.get_origin(self.data) or self.data
        if plain is None or (isinstance(plain, type) and issubclass(plain, _NO_OBJECTS)):
            raise FunctionConfigInvalidError(
                f"event_type({self.name!r}) has data of type {_shown(self.data)}; the data of an "
                "event is an object: it takes a model, a dataclass, a TypedDict or a dict"
            )

    def __repr__(self) -> str:
        return f"event_type({self.name!r}, {_shown(self.data)})"

    def __call__(self, data: T, *, id: str = "", ts: int = 0, v: str = "") -> Event[T]:
        """Make an event of this type, to be sent; `id`, `ts` and `v` are those of Event.

        Raises EventInvalidError, which names the fields, for data that is not of the type, and
        FunctionConfigInvalidError for a type that stands for events of more names than one
        ("shop/*") or for Inngest's own ("inngest/...").
        """
        self._check_sendable()
        self.encode(data)
        return Event(name=self.name, data=data, id=id, ts=ts, v=v, encode=self.encode)

    def when(self, expression: str | None = None) -> TriggerEvent:
        """Make a trigger that only events count for of which `expression` is true.

        OrderPlaced.when("event.data.total > 100")
        """
        return TypedTrigger(event=self.name, expression=expression, type=self)

    def encode(self, data: Any) -> Mapping[str, Any]:
        """The data in JSON form. Raises EventInvalidError if it is not of the type."""
        try:
            json = self._codec.encode(data)
        except OutputUnserializableError as error:
            self._check_readable()
            raise EventInvalidError(
                f"event {self.name!r} cannot be sent as {_shown(self.data)}: {_problem(error)}"
            ) from error
        self._check_readable()
        return _object(f"the data of event {self.name!r}", json)

    def read(self, event: Event[Any]) -> Event[T]:
        """The event as it arrived, with its data read as the type says.

        Raises EventInvalidError if it does not fit.
        """
        data = {key: value for key, value in event.data.items() if key != _ENVELOPE}
        try:
            decoded = self._codec.decode(data)
        except MemoMisfitError as error:
            named = f"{event.name!r} ({event.id})" if event.id else repr(event.name)
            raise EventInvalidError(
                f"event {named} does not fit {_shown(self.data)}: {_problem(error)}. Send what "
                "the type says, or let the type accept what comes (a new field needs a default)."
            ) from error
        self._check_readable()
        return replace(event, data=decoded, encode=self.encode)

    @cached_property
    def _validated(self) -> _Validated:
        return _Validated()

    @cached_property
    def _codec(self) -> codec.Codec:
        return codec.codec_for(Annotated[self.data, self._validated])

    def _check_readable(self) -> None:
        if self._validated.obstacle is not None:
            raise EventInvalidError(
                f"event_type({self.name!r}): pydantic cannot read {_shown(self.data)}: "
                f"{self._validated.obstacle}. Make it a model, a dataclass or a TypedDict."
            )

    def _check_sendable(self) -> None:
        if self.name.endswith("*"):
            raise FunctionConfigInvalidError(
                f"event_type({self.name!r}) stands for many names and cannot be sent; make an "
                "event_type of the one name"
            )
        # In any case of letters (engine.md 1.2).
        if self.name.lower().startswith(RESERVED_PREFIX):
            raise FunctionConfigInvalidError(
                f"event_type({self.name!r}) cannot be sent: names that begin with "
                f"'{RESERVED_PREFIX}' are Inngest's own"
            )


@overload
def event_type(name: str) -> EventType[Mapping[str, Any]]: ...
@overload
def event_type(name: str, data: type[T]) -> EventType[T]: ...
@overload
def event_type(name: str, data: object) -> EventType[Any]: ...
def event_type(name: str, data: object = Mapping[str, Any]) -> EventType[Any]:
    """Say what the data of an event is: a pydantic model, a dataclass, a TypedDict, or any other
    type whose JSON is an object.

        OrderPlaced = event_type("shop/order.placed", OrderData)

        @client.create_function(fn_id="mail", trigger=OrderPlaced)
        async def mail(ctx: Context[OrderData]) -> None:
            print(ctx.event.data.total)

        await client.send(OrderPlaced(OrderData(total=7)))

    Raises FunctionConfigInvalidError for a name that no event can have, and for a type whose JSON
    is no object.
    """
    return EventType(name, data)


@dataclass(frozen=True, kw_only=True)
class TypedTrigger(TriggerEvent):
    """A trigger for events of a type."""

    type: EventType[Any]


def triggers_of(
    given: Trigger | EventType[Any] | Iterable[Trigger | EventType[Any]],
) -> tuple[Trigger, ...]:
    """What `create_function` was given as triggers, each as the server knows it."""
    listed = given if isinstance(given, (list, tuple)) else (given,)
    return tuple(
        each.when() if isinstance(each, EventType) else cast(Trigger, each) for each in listed
    )


# ── out ──────────────────────────────────────────────────────────────────────────────────────────


def plain(event: Event[Any]) -> Event[Any]:
    """The event with its data in JSON form, for middleware and the server.

    Raises EventInvalidError for data that is not as its type says.
    """
    if not isinstance(event, Event):
        return event  # sending says what is wrong
    if event.encode is not None:
        return replace(event, data=event.encode(event.data), encode=None)
    if isinstance(event.data, Mapping):
        return event
    return replace(event, data=data_json(f"the data of event {event.name!r}", event.data))


def data_json(what: str, data: Any) -> Mapping[str, Any]:
    """The data in JSON form: a mapping as it is, what else there is by its type.

    Raises EventInvalidError for what is no object then.
    """
    if isinstance(data, Mapping):
        return data
    return _object(what, codec.codec_for(type(data)).encode(data))


def _object(what: str, json: object) -> Mapping[str, Any]:
    if isinstance(json, Mapping):
        return json
    raise EventInvalidError(
        f"{what} is {json!r:.80}, of type {type(json).__name__}; it has to be an object, such as "
        "a dict, a dataclass or a model"
    )


# ── in ───────────────────────────────────────────────────────────────────────────────────────────


class EventReader:
    """Reads the events that start one function as its triggers say.

    An event is read as the type of the trigger with its name, else of those with a wildcard for
    it. Where several types are left, it may be any of them: so also for a call by `step.invoke`,
    whose event has another name.
    """

    def __init__(self, triggers: Iterable[Trigger]) -> None:
        triggers = tuple(triggers)
        self._types = tuple(each.type for each in triggers if isinstance(each, TypedTrigger))
        self._all_typed = not any(type(each) is TriggerEvent for each in triggers)
        self._unions: dict[tuple[int, ...], EventType[Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._types)

    def read(self, event: Event[Any]) -> Event[Any]:
        """The event with its data read; as it is, if no type is known for it.

        Raises EventInvalidError if it does not fit.
        """
        types = self._types if event.name == INVOKED else self._types_for(event.name)
        if not types:
            return event
        try:
            return self._one(types).read(event)
        except EventInvalidError:
            # A function with untyped triggers too may have been called as by one of those.
            if event.name == INVOKED and not self._all_typed:
                return event
            raise

    def _types_for(self, name: str) -> tuple[EventType[Any], ...]:
        exact = tuple(each for each in self._types if each.name == name)
        return exact or tuple(each for each in self._types if _covers(each.name, name))

    def _one(self, types: tuple[EventType[Any], ...]) -> EventType[Any]:
        if len(types) == 1:
            return types[0]
        # By identity: annotations need not be hashable.
        key = tuple(map(id, types))
        if key not in self._unions:
            annotations = tuple(each.data for each in types)
            self._unions[key] = EventType(types[0].name, Union[annotations])  # noqa: UP007 # made here
        return self._unions[key]


def _covers(pattern: str, name: str) -> bool:
    return pattern.endswith(("/*", ".*")) and name.startswith(pattern[:-1])


def _problem(error: OutputUnserializableError | MemoMisfitError) -> str:
    """What is wrong with the data, of all that the codec says, which speaks of steps."""
    return error.problem or error.message


class _Validated:
    """Asks the codec to let pydantic look at values of any type, and keeps why it cannot."""

    obstacle: str | None = None

    def __repr__(self) -> str:
        return "validated"

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(source)
        except Exception as error:  # of pydantic, which is not imported here
            self.obstacle = str(error).partition("\n")[0].rstrip(".")
            raise


# ── what a handler says of its event ─────────────────────────────────────────────────────────────


def check_annotation(fn_id: str, handler: Callable[..., Any], triggers: Iterable[Trigger]) -> None:
    """Raise FunctionConfigInvalidError if the handler says `Context[X]` and a trigger's data is
    surely something else. What cannot be told without importing anything is left to the call."""
    said = _said_of_data(handler)
    if said is None:
        return
    events = [each for each in triggers if isinstance(each, TriggerEvent)]
    for trigger in events:
        comes = _data_of(trigger)
        if any(all(_surely_differ(x, y) for x in _members(said)) for y in _members(comes)):
            raise FunctionConfigInvalidError(
                f"function {fn_id!r} is annotated with Context[{_shown(said)}], but its trigger "
                f"{trigger.event!r} gives {_advised(trigger, events, said)}"
            )


def _advised(trigger: TriggerEvent, events: Iterable[TriggerEvent], said: Any) -> str:
    if isinstance(trigger, TypedTrigger):
        needed = " | ".join(dict.fromkeys(_shown(_data_of(each)) for each in events))
        return f"{_shown(trigger.type.data)}: annotate it with Context[{needed}]"
    return (
        "a plain dict: make the trigger an event_type of that data"
        f" (event_type({trigger.event!r}, {_shown(said)})), or annotate it with Context"
    )


def _data_of(trigger: TriggerEvent) -> Any:
    return trigger.type.data if isinstance(trigger, TypedTrigger) else Mapping[str, Any]


def _members(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if _is_union(annotation) else (annotation,)


def _said_of_data(handler: Any) -> Any:
    """The X of a first parameter annotated `Context[X]`, None if there is none to be found."""
    if not isinstance(handler, FunctionType) or not handler.__code__.co_argcount:
        return None
    try:
        annotation = handler.__annotations__.get(handler.__code__.co_varnames[0])
        if isinstance(annotation, str):
            annotation = _evaluated(annotation, handler) if "[" in annotation else None
    except Exception:  # user code: the names may be known to type checkers only
        return None
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    # By name: the context's module stands above this one.
    is_context = getattr(origin, "__name__", None) in ("Context", "ContextSync")
    return args[0] if is_context and len(args) == 1 else None


def _evaluated(annotation: str, handler: FunctionType) -> Any:
    alone = SimpleNamespace(__annotations__={"ctx": annotation})
    return typing.get_type_hints(alone, handler.__globals__)["ctx"]


def _surely_differ(said: Any, comes: Any) -> bool:
    ours, theirs = _class_of(said), _class_of(comes)
    if ours is None or theirs is None:
        return False
    return not issubclass(theirs, ours)


def _class_of(annotation: Any) -> type | None:
    """The class that values of an annotation have, None where that is not sure."""
    cls = typing.get_origin(annotation) or annotation
    if not isinstance(cls, type) or cls is Any or getattr(cls, "_is_protocol", False):
        return None
    return dict if hasattr(cls, "__required_keys__") or _is_mapping(cls) else cls


def _is_mapping(cls: type) -> bool:
    return cls.__module__ == "collections.abc" and issubclass(dict, cls)


def _is_union(annotation: object) -> bool:
    return typing.get_origin(annotation) in (Union, UnionType)


def _shown(annotation: Any) -> str:
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__qualname__.rpartition("<locals>.")[2]
    if args := typing.get_args(annotation):
        shown = ", ".join(_shown(each) for each in args)
        if _is_union(annotation):
            return shown.replace(", ", " | ")
        origin: Any = typing.get_origin(annotation)
        return f"{_shown(origin)}[{shown}]"
    return str(annotation).replace("typing.", "")
