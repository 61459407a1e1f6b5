"""What user code holds: `ctx`, `ctx.step` and `ctx.group`, each for async and for sync functions.

The two façades differ only in their signatures. What a step *is* stands once, in `steps`; what it
asks for here, in the `_*_request` functions; what happens to it, in `execution` and `parallel`.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

from inngest_sdk import duration, steps
from inngest_sdk.client import Inngest
from inngest_sdk.duration import Duration
from inngest_sdk.errors import BodyInvalidError, FunctionConfigInvalidError, NonRetriableError
from inngest_sdk.events import Event
from inngest_sdk.execution import Body, SyncExecution, parallel_mode_of_steps
from inngest_sdk.failure import rfc3339
from inngest_sdk.function import Function
from inngest_sdk.middleware import Chain
from inngest_sdk.serializer import NoOutputType
from inngest_sdk.steps import Op

P = ParamSpec("P")
T = TypeVar("T")
Events: TypeAlias = Event | Sequence[Event]

MAX_WAIT = timedelta(days=366)  # of sleeps and waits (wire.md A9)


class ParallelMode(enum.Enum):
    """When a function goes on after steps of a group: when all have finished, or after each."""

    RACE = "race"
    WAIT = "wait"


class AsyncSteps(Protocol):
    """What `Step` needs of an execution (`parallel.AsyncExecution` is one)."""

    async def step(self, name: str, op: Op, body: Body | None = None) -> Any:
        """Reach a step."""
        ...


@dataclass(frozen=True)
class _Request:
    """A step as a façade asks for it: its op, its body if it runs here, how to read its memo."""

    op: Op
    body: Body | None = None
    read: Callable[[Any], Any] = lambda memo: memo


class Step:
    """The steps of an async function. A step runs once; its result is remembered for the run."""

    def __init__(self, client: Inngest, execution: AsyncSteps, middleware: Chain) -> None:
        self._client = client
        self._execution = execution
        self._middleware = middleware

    async def _reach(self, step_id: str, request: _Request) -> Any:
        return request.read(await self._execution.step(step_id, request.op, request.body))

    # An async handler is also a callable that returns its coroutine: the first overload wins.
    @overload
    async def run(
        self, step_id: str, handler: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def run(
        self, step_id: str, handler: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def run(
        self, step_id: str, handler: Callable[..., Any], *args: Any, output_type: type[T], **kw: Any
    ) -> T: ...
    async def run(
        self,
        step_id: str,
        handler: Callable[..., Any],
        *args: Any,
        output_type: object = NoOutputType,
        **kwargs: Any,
    ) -> Any:
        """Run `handler(*args, **kwargs)` once, retried on failure, and remember what it returns.

        The handler may be sync or async; a sync one blocks the event loop while it runs. Its
        result must be JSON, at most 4 MB, or the client needs a serializer and this step an
        `output_type`. Raises StepError when the step has used up its attempts.
        """
        request = _run_request(self._client, step_id, handler, args, kwargs, output_type)
        return await self._reach(step_id, request)

    async def sleep(self, step_id: str, duration: Duration) -> None:
        """Go on after `duration` (an int is milliseconds), at most 366 days. Costs nothing."""
        await self._reach(step_id, _Request(steps.sleep_op(_span(step_id, duration))))

    async def sleep_until(self, step_id: str, until: datetime) -> None:
        """Go on at `until`; a naive datetime is taken for UTC, one in the past does not wait."""
        await self._reach(step_id, _Request(steps.sleep_op(rfc3339(until))))

    async def wait_for_event(
        self, step_id: str, *, event: str, if_exp: str | None = None, timeout: Duration
    ) -> Event | None:
        """Wait for an event named `event`; None after `timeout`, at most 366 days.

        `if_exp` is a CEL expression over `event`, which started the run, and `async`, which came.
        """
        found = await self._reach(step_id, _wait_request(step_id, event, if_exp, timeout))
        return cast("Event | None", found)

    async def invoke(
        self,
        step_id: str,
        *,
        function: Function[T],
        data: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
        v: str | None = None,
    ) -> T:
        """Call another function of this client and wait for what it returns.

        Raises StepError if it fails, or does not end within `timeout` (at most 366 days).
        """
        read = _reader(self._client, function.output_type)
        request = _invoke_request(step_id, function.id, data, timeout, v, read)
        return cast(T, await self._reach(step_id, request))

    async def invoke_by_id(
        self,
        step_id: str,
        *,
        app_id: str | None = None,
        function_id: str,
        data: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
        v: str | None = None,
    ) -> object:
        """Call a function by its id, also one of another app, and wait for what it returns."""
        target = f"{app_id or self._client.app_id}-{function_id}"
        request = _invoke_request(step_id, target, data, timeout, v)
        return cast(object, await self._reach(step_id, request))

    async def send_event(self, step_id: str, events: Events) -> list[str]:
        """Send events once, as a step, and remember their ids."""

        async def send(_: object) -> dict[str, list[str]]:
            return {"ids": await self._client.send_through(self._middleware, events)}

        request = _Request(steps.run_op(step_id, kind="step.sendEvent"), send, _ids)
        return cast("list[str]", await self._reach(step_id, request))


class StepSync:
    """The steps of a sync function. A step runs once; its result is remembered for the run."""

    def __init__(self, client: Inngest, execution: SyncExecution, middleware: Chain) -> None:
        self._client = client
        self._execution = execution
        self._middleware = middleware

    def _reach(self, step_id: str, request: _Request) -> Any:
        return request.read(self._execution.step(step_id, request.op, request.body))

    @overload
    def run(
        self, step_id: str, handler: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def run(
        self, step_id: str, handler: Callable[..., Any], *args: Any, output_type: type[T], **kw: Any
    ) -> T: ...
    def run(
        self,
        step_id: str,
        handler: Callable[..., Any],
        *args: Any,
        output_type: object = NoOutputType,
        **kwargs: Any,
    ) -> Any:
        """Run `handler(*args, **kwargs)` once; see `Step.run`. The handler must be sync."""
        request = _run_request(self._client, step_id, handler, args, kwargs, output_type)
        return self._reach(step_id, request)

    def sleep(self, step_id: str, duration: Duration) -> None:
        """Go on after `duration`; see `Step.sleep`."""
        self._reach(step_id, _Request(steps.sleep_op(_span(step_id, duration))))

    def sleep_until(self, step_id: str, until: datetime) -> None:
        """Go on at `until`; see `Step.sleep_until`."""
        self._reach(step_id, _Request(steps.sleep_op(rfc3339(until))))

    def wait_for_event(
        self, step_id: str, *, event: str, if_exp: str | None = None, timeout: Duration
    ) -> Event | None:
        """Wait for an event; see `Step.wait_for_event`."""
        found = self._reach(step_id, _wait_request(step_id, event, if_exp, timeout))
        return cast("Event | None", found)

    def invoke(
        self,
        step_id: str,
        *,
        function: Function[T],
        data: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
        v: str | None = None,
    ) -> T:
        """Call another function of this client; see `Step.invoke`."""
        read = _reader(self._client, function.output_type)
        request = _invoke_request(step_id, function.id, data, timeout, v, read)
        return cast(T, self._reach(step_id, request))

    def invoke_by_id(
        self,
        step_id: str,
        *,
        app_id: str | None = None,
        function_id: str,
        data: Mapping[str, Any] | None = None,
        timeout: Duration | None = None,
        v: str | None = None,
    ) -> object:
        """Call a function by its id; see `Step.invoke_by_id`."""
        target = f"{app_id or self._client.app_id}-{function_id}"
        request = _invoke_request(step_id, target, data, timeout, v)
        return cast(object, self._reach(step_id, request))

    def send_event(self, step_id: str, events: Events) -> list[str]:
        """Send events once, as a step; see `Step.send_event`."""

        def send(_: object) -> dict[str, list[str]]:
            return {"ids": self._client.send_sync_through(self._middleware, events)}

        request = _Request(steps.run_op(step_id, kind="step.sendEvent"), send, _ids)
        return cast("list[str]", self._reach(step_id, request))


class Group:
    """Steps side by side in an async function; `asyncio.gather` and `TaskGroup` do as well."""

    async def parallel(
        self,
        callables: tuple[Callable[[], Awaitable[T]], ...],
        parallel_mode: ParallelMode = ParallelMode.WAIT,
    ) -> tuple[T, ...]:
        """Run the callables' steps in parallel and return their results in the same order.

        With ParallelMode.RACE the function goes on after each step that finishes, not after all.
        Raises the first error, once no step of the group is open.
        """
        import asyncio

        with parallel_mode_of_steps(_mode(parallel_mode)):
            waiting = asyncio.gather(*(each() for each in callables), return_exceptions=True)
        results = await waiting
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return tuple(cast("list[T]", results))


class GroupSync:
    """Steps side by side in a sync function."""

    def __init__(self, execution: SyncExecution) -> None:
        self._execution = execution

    def parallel(
        self,
        callables: tuple[Callable[[], T], ...],
        parallel_mode: ParallelMode = ParallelMode.WAIT,
    ) -> tuple[T, ...]:
        """Run the callables' steps in parallel; see `Group.parallel`.

        Each callable is run up to its first open step, one after the other, in this thread. Give
        the steps of different callables different ids: equal ones are numbered in the order in
        which they are reached, which here depends on what has finished.
        """
        with parallel_mode_of_steps(_mode(parallel_mode)):
            return self._execution.parallel(callables)


@dataclass
class Context:
    """What an async function is given. Middleware may change it.

    `attempt` counts from 0 and starts anew for each step. `events` has more than one event only
    in a batch. `logger` is the client's.
    """

    attempt: int
    event: Event
    events: list[Event]
    group: Group
    job_id: str | None
    logger: Any
    request_id: str | None
    run_id: str
    step: Step


@dataclass
class ContextSync:
    """What a sync function is given; see `Context`."""

    attempt: int
    event: Event
    events: list[Event]
    group: GroupSync
    job_id: str | None
    logger: Any
    request_id: str | None
    run_id: str
    step: StepSync


def _run_request(
    client: Inngest,
    step_id: str,
    handler: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output_type: object,
) -> _Request:
    def body(edited: list[Any] | None) -> Any:
        value = handler(*(args if edited is None else edited), **kwargs)
        return _written(client, value, output_type)

    op = steps.run_op(step_id, args)
    return _Request(op, body, _reader(client, output_type))


def _written(client: Inngest, value: Any, output_type: object) -> Any:
    """The value in JSON form, by the client's serializer if the step names a type."""
    serializer = client.serializer
    if serializer is None or output_type is NoOutputType:
        return value
    if not hasattr(value, "__await__"):
        return serializer.serialize(value, output_type)

    async def written() -> Any:
        return serializer.serialize(await value, output_type)

    return written()


def _reader(client: Inngest, output_type: object) -> Callable[[Any], Any]:
    serializer = client.serializer
    if serializer is None or output_type is NoOutputType:
        return lambda memo: memo
    return lambda memo: serializer.deserialize(memo, output_type)


def _wait_request(step_id: str, event: str, if_exp: str | None, timeout: Duration) -> _Request:
    op = steps.wait_op(step_id, event, if_exp, _span(step_id, timeout))
    return _Request(op, read=lambda memo: _event_of(step_id, memo))


def _event_of(step_id: str, memo: Any) -> Event | None:
    try:
        return None if memo is None else Event.from_json(memo)
    except BodyInvalidError as error:
        raise NonRetriableError(
            f"step {step_id!r} waits for an event, but what it came to is none ({error}). Was it "
            "another kind of step when this run began? Give the new one another id."
        ) from None


def _invoke_request(
    step_id: str,
    function_id: str,
    data: Mapping[str, Any] | None,
    timeout: Duration | None,
    v: str | None,
    read: Callable[[Any], Any] = lambda memo: memo,
) -> _Request:
    span = None if timeout is None else _span(step_id, timeout)
    return _Request(steps.invoke_op(step_id, function_id, data, span, v), read=read)


def _span(step_id: str, value: Duration) -> str:
    """The duration for the wire; what is negative is over already (wire.md T16)."""
    try:
        length = max(duration.length(value), timedelta(0))
    except ValueError as error:
        raise FunctionConfigInvalidError(f"step {step_id!r}: {error}") from None
    return duration.to_wire(length, option=f"the duration of step {step_id!r}", maximum=MAX_WAIT)


def _mode(parallel_mode: ParallelMode) -> str | None:
    # Waiting is what the server does when nothing is said.
    return None if parallel_mode is ParallelMode.WAIT else parallel_mode.value


def _ids(memo: Any) -> Any:
    # The official Python SDK stored the bare list; runs that began under it may end under us.
    return memo["ids"] if isinstance(memo, dict) else memo
