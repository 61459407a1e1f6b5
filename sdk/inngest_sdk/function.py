"""Functions, what starts them, and how they are registered. Knows nothing of how they run.

A function with an `on_failure` handler is two functions to the server: the second one, whose id
ends in "-failure", listens for the failures of the first (wire.md A2).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, overload
from urllib.parse import urlsplit, urlunsplit

from inngest_sdk import duration
from inngest_sdk.checkpoint import Checkpointing
from inngest_sdk.duration import Duration
from inngest_sdk.errors import FunctionConfigInvalidError
from inngest_sdk.flow_control import (
    Batch,
    Cancel,
    Concurrency,
    Debounce,
    Priority,
    RateLimit,
    Singleton,
    Throttle,
    Timeouts,
    check_event_name,
    check_expression,
    check_whole,
)
from inngest_sdk.middleware import UninitializedMiddleware
from inngest_sdk.serializer import NoOutputType

T = TypeVar("T")

# The server's limits for one function (engine.md 1.3).
MAX_RETRIES = 20
MAX_TRIGGERS = 10
MAX_CANCELS = 5
MAX_CONCURRENCY = 2
MAX_CRON_CHARACTERS = 255
MAX_ID_CHARACTERS = 200  # ours: leaves room for what servers and URLs put around it

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)\s+")


@dataclass(frozen=True, kw_only=True)
class TriggerEvent:
    """Start a function when an event comes.

    `event` is its name, up to 255 characters; "shop/*" and "shop/order.*" match any ending. Only
    events for which `expression` is true count.

        TriggerEvent(event="shop/order.placed", expression="event.data.total > 100")

    Raises FunctionConfigInvalidError.
    """

    event: str
    expression: str | None = None

    def __post_init__(self) -> None:
        check_event_name("TriggerEvent.event", self.event)
        check_expression("TriggerEvent.expression", self.expression)

    def to_wire(self) -> dict[str, Any]:
        """Write the trigger as it is registered."""
        wire = {"event": self.event}
        return wire if self.expression is None else wire | {"expression": self.expression}


@dataclass(frozen=True, kw_only=True)
class TriggerCron:
    """Start a function by the clock.

    `cron` has five fields, optionally after a time zone. `jitter` (1 second to 5 minutes) delays
    each start by up to so much.

        TriggerCron(cron="TZ=Europe/Paris 0 9 * * MON-FRI", jitter="30s")

    Raises FunctionConfigInvalidError.
    """

    cron: str
    jitter: Duration | None = None

    def __post_init__(self) -> None:
        _check_cron(self.cron)
        self.to_wire()

    def to_wire(self) -> dict[str, Any]:
        """Write the trigger as it is registered."""
        wire = {"cron": self.cron}
        if self.jitter is None:
            return wire
        jitter = duration.to_wire(
            self.jitter,
            option="TriggerCron.jitter",
            minimum=timedelta(seconds=1),
            maximum=timedelta(minutes=5),
        )
        return wire | {"jitter": jitter}


Trigger: TypeAlias = "TriggerEvent | TriggerCron"


_KINDS: Mapping[str, type] = {
    "batch_events": Batch,
    "debounce": Debounce,
    "priority": Priority,
    "rate_limit": RateLimit,
    "singleton": Singleton,
    "throttle": Throttle,
    "timeouts": Timeouts,
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Everything that `create_function` may say of a function besides its id and triggers.

    Raises FunctionConfigInvalidError for values out of bounds and for options that exclude each
    other.
    """

    batch_events: Batch | None = None
    cancel: Sequence[Cancel] | None = None
    checkpointing: Checkpointing | bool | None = None
    concurrency: Sequence[Concurrency] | None = None
    debounce: Debounce | None = None
    idempotency: str | None = None
    priority: Priority | None = None
    rate_limit: RateLimit | None = None
    retries: int | None = None
    throttle: Throttle | None = None
    timeouts: Timeouts | None = None
    singleton: Singleton | None = None

    def __post_init__(self) -> None:
        if self.retries is not None:
            check_whole("retries", self.retries, least=0, most=MAX_RETRIES)
        check_expression("idempotency", self.idempotency)
        for option, kind in _KINDS.items():
            value = getattr(self, option)
            if value is not None:
                _check_kind(option, value, kind)
        _check_list("cancel", self.cancel, Cancel, MAX_CANCELS)
        _check_list("concurrency", self.concurrency, Concurrency, MAX_CONCURRENCY)
        if self.batch_events is not None:
            self._check_batching()

    def _check_batching(self) -> None:
        # The server refuses the first four beside a batch, and ignores the last two (engine.md
        # 1.3, 2.12): an option that silently does nothing is a bug that nobody sees.
        excluded: Mapping[str, object] = {
            "cancel": self.cancel,
            "debounce": self.debounce,
            "singleton": self.singleton,
            "priority": self.priority,
            "rate_limit": self.rate_limit,
            "idempotency": self.idempotency,
        }
        given = [name for name, value in excluded.items() if value]
        if given:
            raise FunctionConfigInvalidError(
                f"batch_events is combined with {', '.join(given)}; a function that takes batches "
                f"can have none of {', '.join(excluded)}"
            )

    def to_wire(self) -> dict[str, Any]:
        """Write the options as they are registered; `retries` belongs to the step instead, and
        `checkpointing` is our own affair."""
        wire: dict[str, Any] = {}
        single = {
            "batchEvents": self.batch_events,
            "debounce": self.debounce,
            "priority": self.priority,
            "rateLimit": self.rate_limit,
            "throttle": self.throttle,
            "timeouts": self.timeouts,
            "singleton": self.singleton,
        }
        for name, option in single.items():
            if option is not None:
                wire[name] = option.to_wire()
        if self.cancel:
            wire["cancel"] = [option.to_wire() for option in self.cancel]
        if self.concurrency:
            wire["concurrency"] = [option.to_wire() for option in self.concurrency]
        if self.idempotency is not None:
            wire["idempotency"] = self.idempotency
        return wire


@dataclass(frozen=True, eq=False, kw_only=True)
class Function(Generic[T]):
    """A durable function that returns T. Made by `Inngest.create_function`.

    `output_type` is what was said of the result's type, NoOutputType if nothing was.

    Raises FunctionConfigInvalidError.
    """

    app_id: str
    local_id: str
    name: str
    handler: Callable[..., Any]
    triggers: Sequence[Trigger]
    options: Options = field(default_factory=Options)
    on_failure: Callable[..., Any] | None = None
    output_type: object = NoOutputType
    middleware: Sequence[UninitializedMiddleware] = ()

    def __post_init__(self) -> None:
        check_id("fn_id", self.local_id)
        if len(self.id) > MAX_ID_CHARACTERS:
            raise FunctionConfigInvalidError(
                f"app_id and fn_id make the id {self.id[:40]!r}… with {len(self.id)} characters; "
                f"the most allowed is {MAX_ID_CHARACTERS}"
            )
        _check_list("trigger", self.triggers, (TriggerEvent, TriggerCron), MAX_TRIGGERS)
        for index, trigger in enumerate(self.triggers):
            if trigger in self.triggers[:index]:
                raise FunctionConfigInvalidError(f"trigger lists {trigger!r} twice; once is enough")
        _check_handler("the decorated function", self.handler)
        if self.on_failure is not None:
            _check_handler("on_failure", self.on_failure)

    @property
    def id(self) -> str:
        """The id that the server knows: "<app>-<function>"."""
        return f"{self.app_id}-{self.local_id}"

    @property
    def on_failure_fn_id(self) -> str | None:
        """The id of the function that handles failures, None if there is none."""
        return None if self.on_failure is None else f"{self.id}-failure"

    @property
    def is_handler_async(self) -> bool:
        """Whether the function is an `async def`."""
        return is_async(self.handler)

    @property
    def is_on_failure_handler_async(self) -> bool | None:
        """Whether the failure handler is an `async def`, None if there is none."""
        return None if self.on_failure is None else is_async(self.on_failure)

    @property
    def retries(self) -> int | None:
        """How often a failed attempt is repeated; None leaves it to the server, which does 4."""
        return self.options.retries

    def get_id(self) -> str:
        """Return `id`, as in the official SDK."""
        return self.id

    def configs(self, url: str) -> list[dict[str, Any]]:
        """Write what is registered of the function served at `url`: itself and, if any, the
        function that handles its failures."""
        entries = [
            _entry(url, self.id, self.name, self.triggers, self.retries) | self.options.to_wire()
        ]
        if self.on_failure_fn_id is not None:
            trigger = TriggerEvent(
                event="inngest/function.failed",
                expression=f"event.data.function_id == '{self.id}'",
            )
            # No retries, as in the official SDK: a failure handler that fails is not a failure
            # of the run that it handles.
            name = f"{self.name} (failure)"
            entries.append(_entry(url, self.on_failure_fn_id, name, [trigger], 0))
        return entries


class Decorator(Protocol):
    """What `create_function` returns: put on an async or a sync function, it makes a Function."""

    @overload
    def __call__(self, handler: Callable[[Any], Coroutine[Any, Any, T]], /) -> Function[T]: ...

    @overload
    def __call__(self, handler: Callable[[Any], T], /) -> Function[T]: ...


def check_id(option: str, value: object) -> None:
    """Raise FunctionConfigInvalidError unless `value` can be part of a function's id."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise FunctionConfigInvalidError(
            f"{option} is {value!r}; it takes letters, digits, '-', '_', '.' and ':', "
            "a letter or digit first"
        )


def is_async(handler: Callable[..., Any]) -> bool:
    """Say whether calling this makes a coroutine: an `async def`, a partial of one, or an object
    whose `__call__` is one."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        type(handler).__call__
    )


def _entry(
    url: str, fn_id: str, name: str, triggers: Sequence[Trigger], retries: int | None
) -> dict[str, Any]:
    parts = urlsplit(url)
    query = f"{parts.query}&" if parts.query else ""
    call_url = urlunsplit(parts._replace(query=f"{query}fnId={fn_id}&stepId=step"))
    step: dict[str, Any] = {
        "id": "step",
        "name": "step",
        "runtime": {"type": "http", "url": call_url},
    }
    if retries is not None:
        step["retries"] = {"attempts": retries}
    return {
        "id": fn_id,
        "name": name,
        "triggers": [trigger.to_wire() for trigger in triggers],
        "steps": {"step": step},
    }


def _check_kind(option: str, value: object, kinds: type | tuple[type, ...]) -> None:
    if not isinstance(value, kinds):
        names = [kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,))]
        raise FunctionConfigInvalidError(f"{option} is {value!r}; it takes {' or '.join(names)}")


def _check_list(option: str, values: object, kinds: type | tuple[type, ...], most: int) -> None:
    if values is None:
        return
    if not isinstance(values, (list, tuple)):
        raise FunctionConfigInvalidError(f"{option} is {values!r}; it takes a list")
    if len(values) > most:
        raise FunctionConfigInvalidError(
            f"{option} lists {len(values)}; the most allowed is {most}"
        )
    for value in values:
        _check_kind(option, value, kinds)


def _check_handler(option: str, handler: object) -> None:
    if not callable(handler):
        raise FunctionConfigInvalidError(f"{option} is {handler!r}; it takes a function")
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise FunctionConfigInvalidError(
            f"{option} is a generator, {handler!r}; it takes a function that returns its result"
        )


def _check_cron(cron: object) -> None:
    if not isinstance(cron, str) or len(cron) > MAX_CRON_CHARACTERS:
        raise FunctionConfigInvalidError(
            f"TriggerCron.cron is {str(cron)[:40]!r}; it takes at most {MAX_CRON_CHARACTERS} "
            "characters of text"
        )
    zone = _ZONE.match(cron)
    fields = cron[zone.end() :].split() if zone else cron.split()
    if len(fields) != 5 or any("=" in field or field.startswith("@") for field in fields):
        raise FunctionConfigInvalidError(
            f"TriggerCron.cron is {cron!r}; it takes five fields (minute hour day month weekday), "
            "optionally after a zone: 'TZ=Europe/Paris 0 9 * * *'"
        )
    if zone:
        _check_zone(cron, zone.group(1))


def _check_zone(cron: str, name: str) -> None:
    if not _zone_exists(name) and _zone_exists("UTC"):
        raise FunctionConfigInvalidError(
            f"TriggerCron.cron is {cron!r}; there is no time zone {name!r}: it takes names such "
            "as 'Europe/Paris'"
        )


def _zone_exists(name: str) -> bool:
    # Without a zone database, as on bare Windows or a slim image, not even UTC exists, and the
    # server is left to judge.
    import zoneinfo  # only functions with a zone need it

    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
