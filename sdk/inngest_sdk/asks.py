"""A step as user code asks for it: what it asks of the server, what runs, how values are read.

One constructor for each kind of step; the façades in `tools` only sign for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from inngest_sdk import duration, steps
from inngest_sdk.duration import Duration
from inngest_sdk.errors import BodyInvalidError, FunctionConfigInvalidError, NonRetriableError
from inngest_sdk.events import Event
from inngest_sdk.failure import rfc3339
from inngest_sdk.flow_control import check_event_name
from inngest_sdk.policy import StepName, StepOptions, options
from inngest_sdk.steps import Op

MAX_WAIT = timedelta(days=366)  # of sleeps and waits (wire.md A9)


def same(value: Any) -> Any:
    """The value itself."""
    return value


@dataclass(frozen=True)
class Ask:
    """A step that user code asks for.

    `call(*args, **kwargs)` is what runs here, None if the server does the work. `write` makes its
    value JSON, `read` makes the memo a value again.
    """

    options: StepOptions
    op: Op
    call: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    write: Callable[[Any], Any] = same
    read: Callable[[Any], Any] = same


def run(
    step_id: StepName,
    call: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    kind: str = "step.run",
    write: Callable[[Any], Any] = same,
    read: Callable[[Any], Any] = same,
) -> Ask:
    """A step that runs `call` here."""
    chosen = options(step_id)
    _check_callable(chosen.id, call)
    op = steps.run_op(chosen.id, args, kind)
    return Ask(chosen, op, call, args, kwargs or {}, write, read)


def _check_callable(step_id: str, call: object) -> None:
    if callable(call):
        return
    if hasattr(call, "__await__"):
        getattr(call, "close", lambda: None)()  # or Python warns that it was never awaited
        raise FunctionConfigInvalidError(
            f"step {step_id!r} is given what a function returned, an awaitable: give it the "
            "function itself, `f` and not `f()`, and the arguments behind it"
        )
    raise FunctionConfigInvalidError(f"step {step_id!r} is given {call!r}; it takes a function")


def sleep(step_id: StepName, length: Duration) -> Ask:
    """A pause."""
    chosen = _of_server(step_id)
    return Ask(chosen, steps.sleep_op(span(chosen.id, length)))


def sleep_until(step_id: StepName, until: datetime) -> Ask:
    """A pause until a moment."""
    chosen = _of_server(step_id)
    if not isinstance(until, datetime):
        raise FunctionConfigInvalidError(
            f"step {chosen.id!r} sleeps until {until!r}; it takes a datetime"
        )
    return Ask(chosen, steps.sleep_op(rfc3339(until)))


def wait_for_event(
    step_id: StepName,
    event: str,
    if_exp: str | None,
    timeout: Duration,
    read: Callable[[Event], Any] = same,
) -> Ask:
    """A wait for an event; `read` makes of it what user code gets."""
    chosen = _of_server(step_id)
    check_event_name(f"the event that step {chosen.id!r} waits for", event)
    op = steps.wait_op(chosen.id, event, if_exp, span(chosen.id, timeout))

    def read_memo(memo: Any) -> Any:
        found = _event_of(chosen.id, memo)
        return None if found is None else read(found)

    return Ask(chosen, op, read=read_memo)


def invoke(
    step_id: StepName,
    function_id: str,
    data: Mapping[str, Any] | None,
    timeout: Duration | None,
    v: str | None,
    read: Callable[[Any], Any] = same,
) -> Ask:
    """A call of another function."""
    chosen = _of_server(step_id)
    limit = None if timeout is None else span(chosen.id, timeout)
    return Ask(chosen, steps.invoke_op(chosen.id, function_id, data, limit, v), read=read)


def of_server(step_id: StepName, op: Op, read: Callable[[Any], Any] = same) -> Ask:
    """A step whose work the server does."""
    return Ask(_of_server(step_id), op, read=read)


def span(step_id: str, value: Duration) -> str:
    """The duration for the wire; what is negative is over already (wire.md T16)."""
    try:
        length = max(duration.length(value), timedelta(0))
    except ValueError as error:
        raise FunctionConfigInvalidError(f"step {step_id!r}: {error}") from None
    return duration.to_wire(length, option=f"the duration of step {step_id!r}", maximum=MAX_WAIT)


def _of_server(step_id: StepName) -> StepOptions:
    chosen = options(step_id)
    if chosen.runs_code:
        raise FunctionConfigInvalidError(
            f"step {chosen.id!r} has a retry, a timeout or at_most_once in its StepOptions; those "
            "are for steps that run code of the app"
        )
    return chosen


def _event_of(step_id: str, memo: Any) -> Event | None:
    try:
        return None if memo is None else Event.from_json(memo)
    except BodyInvalidError as error:
        raise NonRetriableError(
            f"step {step_id!r} waits for an event, but what it came to is none ({error}). Was it "
            "another kind of step when this run began? Give the new one another id."
        ) from None
