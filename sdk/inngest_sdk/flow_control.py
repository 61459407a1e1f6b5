"""When and how often a function may run. Each option checks itself when it is made.

The bounds are those that the server checks when an app registers (engine.md 1.3), and those of its
numbers that no run could exceed anyway (engine.md 2.1): better told here than after a deployment.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from inngest_sdk import duration
from inngest_sdk.duration import Duration
from inngest_sdk.errors import FunctionConfigInvalidError

MAX_EVENT_NAME_CHARACTERS = 255

_MILLISECOND = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Call the function once for several events.

    It is called when `max_size` events (2 or more) have come, or `timeout` (1 second to 10
    minutes; the server's default is 60 seconds) after the first. Batches form by the value of the
    expression `key`. An event for which `if_exp` is false is not batched: it runs alone.

    Raises FunctionConfigInvalidError.
    """

    max_size: int
    timeout: Duration | None = None
    key: str | None = None
    if_exp: str | None = None

    def __post_init__(self) -> None:
        check_whole("Batch.max_size", self.max_size, least=2)
        check_expression("Batch.key", self.key)
        check_expression("Batch.if_exp", self.if_exp)
        self.to_wire()

    def to_wire(self) -> dict[str, Any]:
        """Write the option as it is registered."""
        longest = timedelta(minutes=10)
        return _without_none(
            maxSize=self.max_size,
            timeout=_span("Batch.timeout", self.timeout, _SECOND, longest),
            key=self.key,
            **{"if": self.if_exp},
        )


@dataclass(frozen=True, kw_only=True)
class Cancel:
    """Cancel a run when an event comes.

    `if_exp` compares the run's own `event` with the one that came, `async`. The run is open to
    this until `timeout` (at most 366 days) after it was scheduled; the default is 365 days.

        Cancel(event="shop/order.cancelled", if_exp="async.data.id == event.data.id")

    Raises FunctionConfigInvalidError.
    """

    event: str
    if_exp: str | None = None
    timeout: Duration | None = None

    def __post_init__(self) -> None:
        check_event_name("Cancel.event", self.event)
        check_expression("Cancel.if_exp", self.if_exp)
        self.to_wire()

    def to_wire(self) -> dict[str, Any]:
        """Write the option as it is registered."""
        return _without_none(
            event=self.event,
            timeout=_span("Cancel.timeout", self.timeout, _MILLISECOND, 366 * _DAY),
            **{"if": self.if_exp},
        )


@dataclass(frozen=True, kw_only=True)
class Concurrency:
    """Let at most `limit` steps execute at a time; a run that sleeps or waits holds no place.

    A limit of 0 is the account's own. With the expression `key`, each of its values has a limit of
    its own. `scope` says what shares the limit: this function ("fn", the default), the
    environment ("env") or the account ("account").

    Raises FunctionConfigInvalidError.
    """

    limit: int
    key: str | None = None
    scope: Literal["account", "env", "fn"] | None = None

    def __post_init__(self) -> None:
        check_whole("Concurrency.limit", self.limit, least=0)
        check_expression("Concurrency.key", self.key)
        _check_choice("Concurrency.scope", self.scope, ("account", "env", "fn", None))

    def to_wire(self) -> dict[str, Any]:
        """Write the option as it is registered."""
        # A null scope breaks the server's decoding of the whole registration (wire.md A2).
        return _without_none(limit=self.limit, key=self.key, scope=self.scope)


@dataclass(frozen=True, kw_only=True)
class Debounce:
    """Wait until no event has come for `period` (1 second to 7 days), then run for the last one.

    `timeout` bounds the whole wait. Each value of the expression `key` waits by itself.

    Raises FunctionConfigInvalidError.
    """

    period: Duration
    key: str | None = None
    timeout: Duration | None = None

    def __post_init__(self) -> None:
        check_expression("Debounce.key", self.key)
        self.to_wire()

    def to_wire(self) -> dict[str, Any]:
        """Write the option as it is registered."""
        return _without_none(
            period=_span("Debounce.period", self.period, _SECOND, 7 * _DAY),
            timeout=_span("Debounce.timeout", self.timeout, _MILLISECOND, None),
            key=self.key,
        )


@dataclass(frozen=True, kw_only=True)
class Priority:
    """Let some runs go before others: the expression `run` gives seconds, from -43200 to 43200,
    that a run is put ahead in the queue.

    Raises FunctionConfigInvalidError.
    """

    run: str

    def __post_init__(self) -> None:
        check_expression("Priority.run", self.run)

    def to_wire(self) -> dict[str, Any]:
        """Write the option as it is registered."""
        return {"run": self.run}


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """Start at most `limit` runs in a `period` (1 second to 24 hours); events beyond start none.

    Each value of the expression `key` has a limit of its own.

    Raises FunctionConfigInvalidError.
    """

    limit: int
    period: Duration
    key: str | None = None

    def __post_init__(self) -> None:
        check_whole("RateLimit.limit", self.limit, least=1)
        check_expression("RateLimit.key", self.key)
        self.to_wire()

    def to_wire(self) -> dict[str, Any]:
        """Write the option as it is registered."""
        return _without_none(
            limit=self.limit,
            period=_span("RateLimit.period", self.period, _SECOND, _DAY),
            key=self.key,
        )


@dataclass(frozen=True, kw_only=True)
class Singleton:
    """Have one run at a time, for each value of the expression `key`.

    While one runs, an event starts none ("skip"), or cancels it and starts anew ("cancel").

    Raises FunctionConfigInvalidError.
    """

    mode: Literal["skip", "cancel"]
    key: str | None = None

    def __post_init__(self) -> None:
        _check_choice("Singleton.mode", self.mode, ("skip", "cancel"))
        check_expression("Singleton.key", self.key)

    def to_wire(self) -> dict[str, Any]:
        """Write the option as it is registered."""
        return _without_none(mode=self.mode, key=self.key)


@dataclass(frozen=True, kw_only=True)
class Throttle:
    """Start about `limit` runs in a `period` (1 second or more); the others start later.

    Starts are spread evenly over the period; `burst` more may come at once after a quiet time. Each
    value of the expression `key` is throttled by itself.

    Raises FunctionConfigInvalidError.
    """

    limit: int
    period: Duration
    key: str | None = None
    burst: int | None = 1

    def __post_init__(self) -> None:
        check_whole("Throttle.limit", self.limit, least=1)
        check_expression("Throttle.key", self.key)
        if self.burst is not None:
            check_whole("Throttle.burst", self.burst, least=0)
        self.to_wire()

    def to_wire(self) -> dict[str, Any]:
        """Write the option as it is registered."""
        return _without_none(
            limit=self.limit,
            period=_span("Throttle.period", self.period, _SECOND, None),
            key=self.key,
            burst=self.burst,
        )


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Cancel a run that has not started within `start`, or not finished within `finish` after
    it started.

    Raises FunctionConfigInvalidError.
    """

    start: Duration | None = None
    finish: Duration | None = None

    def __post_init__(self) -> None:
        self.to_wire()

    def to_wire(self) -> dict[str, Any]:
        """Write the option as it is registered."""
        return _without_none(
            start=_span("Timeouts.start", self.start, _MILLISECOND, None),
            finish=_span("Timeouts.finish", self.finish, _MILLISECOND, None),
        )


def check_whole(option: str, value: Any, *, least: int, most: int | None = None) -> None:
    """Raise FunctionConfigInvalidError unless `value` is an int from `least` to `most`."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not least <= value <= (value if most is None else most):
        allowed = f"{least} or more" if most is None else f"{least} to {most}"
        raise FunctionConfigInvalidError(
            f"{option} is {value!r}; it takes a whole number, {allowed}"
        )


def check_expression(option: str, value: object) -> None:
    """Raise FunctionConfigInvalidError unless `value` is None or text that says something."""
    if value is not None and not (isinstance(value, str) and value.strip()):
        raise FunctionConfigInvalidError(
            f"{option} is {value!r}; it takes an expression such as 'event.data.user_id'"
        )


def check_event_name(option: str, value: object) -> None:
    """Raise FunctionConfigInvalidError unless `value` could name an event."""
    if not isinstance(value, str) or not value.strip():
        raise FunctionConfigInvalidError(
            f"{option} is {value!r}; it takes an event name such as 'shop/order.placed'"
        )
    if len(value) > MAX_EVENT_NAME_CHARACTERS:
        raise FunctionConfigInvalidError(
            f"{option} is {value[:40]!r}… with {len(value)} characters; "
            f"the most allowed is {MAX_EVENT_NAME_CHARACTERS}"
        )


def _check_choice(option: str, value: object, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices if choice is not None)
        raise FunctionConfigInvalidError(f"{option} is {value!r}; it takes one of {listed}")


def _span(
    option: str, value: Duration | None, least: timedelta, most: timedelta | None
) -> str | None:
    if value is None:
        return None
    return duration.to_wire(value, option=option, minimum=least, maximum=most)


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
