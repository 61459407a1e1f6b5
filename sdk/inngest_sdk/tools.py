"""What user code calls on `ctx.step` and `ctx.group`, for async and for sync functions.

The two façades differ only in their signatures. What a step asks for stands once, in `asks`; what
happens to it, in `execution` and `parallel`.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

from inngest_sdk import asks, wire
from inngest_sdk.approval_link import Links
from inngest_sdk.asks import Ask
from inngest_sdk.client import Inngest
from inngest_sdk.codec import codec_for, codec_of
from inngest_sdk.duration import Duration
from inngest_sdk.errors import FunctionConfigInvalidError
from inngest_sdk.event_types import Data, EventType, data_json
from inngest_sdk.events import D, Event
from inngest_sdk.execution import SyncExecution, parallel_mode_of_steps
from inngest_sdk.function import Function
from inngest_sdk.middleware import Chain
from inngest_sdk.naming import undecorated
from inngest_sdk.policy import StepName
from inngest_sdk.serializer import NoOutputType
from inngest_sdk.steps import StepIds

if TYPE_CHECKING:
    # Loaded when such a step is reached: a cold start pays for what it uses.
    from inngest_sdk.approval import Approval, ApprovalSync
    from inngest_sdk.fetching import FetchBody, FetchResponse
    from inngest_sdk.mapping import Completion, MapResult
    from inngest_sdk.saga import Saga, SagaSync
    from inngest_sdk.server_tools import AI, AISync, Realtime, RealtimeSync
    from inngest_sdk.signals import Conflict, Signal

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")
Events: TypeAlias = Event[Any] | Sequence[Event[Any]]


class ParallelMode(enum.Enum):
    """When a function goes on after steps of a group: when all have finished, or after each."""

    RACE = "race"
    WAIT = "wait"


class AsyncSteps(Protocol):
    """What `Step` needs of an execution (`parallel.AsyncExecution` is one)."""

    @property
    def call(self) -> wire.Call:
        """The call that it is of."""
        ...

    async def step(self, ask: Ask) -> Any:
        """Reach a step."""
        ...


class Step:
    """The steps of an async function. A step runs once; its result is remembered for the run."""

    def __init__(
        self, client: Inngest, execution: AsyncSteps, middleware: Chain, links: Links
    ) -> None:
        self._client = client
        self._execution = execution
        self._middleware = middleware
        self._links = links
        self._saga_ids = StepIds()

    async def reach(self, ask: Ask) -> Any:
        """Give what a step came to, or leave the call; what every tool does with its step."""
        ask = self._middleware.asked(ask)
        return ask.read(await self._execution.step(ask))

    # The order decides. A handler that takes any keyword would take `output_type` too; an async
    # one is also a callable that returns its coroutine.
    @overload
    async def run(
        self,
        step_id: StepName,
        handler: Callable[..., Any],
        *args: Any,
        output_type: type[T],
        **kw: Any,
    ) -> T: ...
    @overload
    async def run(
        self,
        step_id: StepName,
        handler: Callable[P, Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T: ...
    @overload
    async def run(
        self, step_id: StepName, handler: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def run(
        self,
        step_id: StepName,
        handler: Callable[..., Any],
        *args: Any,
        output_type: object,
        **kw: Any,
    ) -> Any: ...
    async def run(
        self,
        step_id: StepName,
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
        return await self.reach(_run(self._client, step_id, handler, args, kwargs, output_type))

    async def sleep(self, step_id: StepName, duration: Duration) -> None:
        """Go on after `duration` (an int is milliseconds), at most 366 days. Costs nothing."""
        await self.reach(asks.sleep(step_id, duration))

    async def sleep_until(self, step_id: StepName, until: datetime) -> None:
        """Go on at `until`; a naive datetime is taken for UTC, one in the past does not wait."""
        await self.reach(asks.sleep_until(step_id, until))

    @overload
    async def wait_for_event(
        self,
        step_id: StepName,
        *,
        event: EventType[D],
        if_exp: str | None = None,
        timeout: Duration,
    ) -> Event[D] | None: ...
    @overload
    async def wait_for_event(
        self, step_id: StepName, *, event: str, if_exp: str | None = None, timeout: Duration
    ) -> Event | None: ...
    async def wait_for_event(
        self,
        step_id: StepName,
        *,
        event: str | EventType[Any],
        if_exp: str | None = None,
        timeout: Duration,
    ) -> Event[Any] | None:
        """Wait for an event named `event`, or of that type; None after `timeout`, at most 366 days.

        `if_exp` is a CEL expression over `event`, which started the run, and `async`, which came.
        """
        found = await self.reach(_wait(step_id, event, if_exp, timeout))
        return cast("Event[Any] | None", found)

    async def invoke(
        self,
        step_id: StepName,
        *,
        function: Function[T],
        data: Data | None = None,
        timeout: Duration | None = None,
        v: str | None = None,
    ) -> T:
        """Call another function of this client and wait for what it returns.

        `data` is a dict, or an instance of a dataclass or model: the function gets it as the types
        of its triggers say.

        Raises StepError if it fails, or does not end within `timeout` (at most 366 days).
        """
        read = _result_reader(self._client, function)
        ask = asks.invoke(step_id, function.id, _payload(function.id, data), timeout, v, read)
        return cast(T, await self.reach(ask))

    async def invoke_by_id(
        self,
        step_id: StepName,
        *,
        app_id: str | None = None,
        function_id: str,
        data: Data | None = None,
        timeout: Duration | None = None,
        v: str | None = None,
    ) -> object:
        """Call a function by its id, also one of another app, and wait for what it returns."""
        target = f"{app_id or self._client.app_id}-{function_id}"
        ask = asks.invoke(step_id, target, _payload(target, data), timeout, v)
        return cast(object, await self.reach(ask))

    async def send_event(self, step_id: StepName, events: Events) -> list[str]:
        """Send events once, as a step, and remember their ids."""

        async def send() -> dict[str, list[str]]:
            return {"ids": await self._client.send_through(self._middleware, events)}

        ask = asks.run(step_id, send, kind="step.sendEvent", read=_ids)
        return cast("list[str]", await self.reach(ask))

    async def wait_for_signal(
        self,
        step_id: StepName,
        *,
        signal: str,
        timeout: Duration,
        on_conflict: Conflict = "fail",
    ) -> Signal | None:
        """Wait for the signal named `signal`; None after `timeout`, at most 366 days.

        One run waits for a signal at a time: a second one fails ("fail"), or takes the wait over
        and the first goes on as after its timeout ("replace").
        """
        from inngest_sdk import server_tools

        ask = server_tools.wait_for_signal(step_id, signal, timeout, on_conflict)
        return cast("Signal | None", await self.reach(ask))

    async def send_signal(self, step_id: StepName, *, signal: str, data: object = None) -> str:
        """Send a signal once, as a step, and remember the id of the run that waited for it.

        Fails for good, as a StepError, when none waits.
        """
        ask = asks.run(step_id, self._client.send_signal, (signal, data), kind="step.sendSignal")
        return cast(str, await self.reach(ask))

    async def fetch(
        self,
        step_id: StepName,
        url: str,
        *,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: FetchBody | None = None,
    ) -> FetchResponse:
        """Have the server make a request, and give its response, whatever its status.

        The function is not running, and costs nothing, until the response is there. The method is
        GET, or POST with a body; a dict or list is sent as JSON.

        Raises StepError when no response came.
        """
        from inngest_sdk import server_tools

        ask = server_tools.fetch(step_id, url, method, headers, body)
        return cast("FetchResponse", await self.reach(ask))

    @overload
    async def map(
        self,
        step_id: StepName,
        handler: Callable[[Item], Awaitable[T]],
        items: Iterable[Item],
        *,
        limit: int | None = None,
        completion: Completion | None = None,
        key: Callable[[Item], object] | None = None,
    ) -> MapResult[T]: ...
    @overload
    async def map(
        self,
        step_id: StepName,
        handler: Callable[[Item], T],
        items: Iterable[Item],
        *,
        limit: int | None = None,
        completion: Completion | None = None,
        key: Callable[[Item], object] | None = None,
    ) -> MapResult[T]: ...
    async def map(
        self,
        step_id: StepName,
        handler: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        limit: int | None = None,
        completion: Completion | None = None,
        key: Callable[[Any], object] | None = None,
    ) -> MapResult[Any]:
        """Run `handler(item)` as a step for each item, side by side, at most `limit` at a time.

        The steps are called "<id>:0", "<id>:1", …, or "<id>:<key>" where `key(item)` tells the
        items apart. Failures are in the result: `.values()` raises them. `completion` says when
        enough have succeeded, or too many failed, for more to be started.
        """
        from inngest_sdk.mapping import plan

        return await plan(step_id, handler, items, limit, completion, key).run(self.run_as)

    def saga(self, saga_id: str) -> Saga:
        """Make a block whose steps are undone, the last one first, when an error leaves it.

            async with ctx.step.saga("trip") as saga:
                flight = await saga.run("flight", book_flight, trip, undo=cancel_flight)
                await saga.run("hotel", book_hotel, trip, undo=cancel_hotel)

        The undos are steps; then the error goes on. Raises SagaError when an undo fails for good.
        """
        from inngest_sdk.saga import Saga, undos

        found = self._saga_ids.next(saga_id)
        return Saga(undos(found, self.run_as, self._execution.call.steps))

    async def approval(
        self, step_id: StepName, *, title: str, text: str = "", expires: Duration
    ) -> Approval:
        """Make links with which somebody approves or rejects, within `expires` (1 second to 366
        days). Nothing is sent: send `.url` in a step, then wait for `.decision()`.

        The page that a link leads to is served at the app's own URL. It shows `title` (at most 120
        bytes) and `text` (500), which travel in the link.
        """
        from inngest_sdk import approval

        call, links = self._execution.call, self._links
        draft = approval.draft(self._client, links, call.run_id, step_id, title, text, expires)
        memo = await self.reach(draft.ask_async())
        return approval.Approval(*approval.asked(step_id, memo, links, self.reach))

    @property
    def ai(self) -> AI:
        """Steps that ask a model."""
        from inngest_sdk.server_tools import AI

        return AI(self.reach, self.run_as)

    @property
    def realtime(self) -> Realtime:
        """Steps that send messages to browsers."""
        from inngest_sdk.server_tools import Realtime

        return Realtime(self._client, self.run_as)

    async def run_as(
        self,
        step_id: StepName,
        handler: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        kind: str = "step.run",
    ) -> Any:
        """Do what `run` does, as this kind of step; for tools that are made of such steps."""
        return await self.reach(
            _run(self._client, step_id, handler, args, kwargs, NoOutputType, kind)
        )


class StepSync:
    """The steps of a sync function. A step runs once; its result is remembered for the run."""

    def __init__(
        self, client: Inngest, execution: SyncExecution, middleware: Chain, links: Links
    ) -> None:
        self._client = client
        self._execution = execution
        self._middleware = middleware
        self._links = links
        self._saga_ids = StepIds()

    def reach(self, ask: Ask) -> Any:
        """Give what a step came to, or leave the call; what every tool does with its step."""
        ask = self._middleware.asked(ask)
        return ask.read(self._execution.step(ask))

    @overload
    def run(
        self,
        step_id: StepName,
        handler: Callable[..., Any],
        *args: Any,
        output_type: type[T],
        **kw: Any,
    ) -> T: ...
    @overload
    def run(
        self, step_id: StepName, handler: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def run(
        self,
        step_id: StepName,
        handler: Callable[..., Any],
        *args: Any,
        output_type: object,
        **kw: Any,
    ) -> Any: ...
    def run(
        self,
        step_id: StepName,
        handler: Callable[..., Any],
        *args: Any,
        output_type: object = NoOutputType,
        **kwargs: Any,
    ) -> Any:
        """Run `handler(*args, **kwargs)` once; see `Step.run`. The handler must be sync."""
        return self.reach(_run(self._client, step_id, handler, args, kwargs, output_type))

    def sleep(self, step_id: StepName, duration: Duration) -> None:
        """Go on after `duration`; see `Step.sleep`."""
        self.reach(asks.sleep(step_id, duration))

    def sleep_until(self, step_id: StepName, until: datetime) -> None:
        """Go on at `until`; see `Step.sleep_until`."""
        self.reach(asks.sleep_until(step_id, until))

    @overload
    def wait_for_event(
        self,
        step_id: StepName,
        *,
        event: EventType[D],
        if_exp: str | None = None,
        timeout: Duration,
    ) -> Event[D] | None: ...
    @overload
    def wait_for_event(
        self, step_id: StepName, *, event: str, if_exp: str | None = None, timeout: Duration
    ) -> Event | None: ...
    def wait_for_event(
        self,
        step_id: StepName,
        *,
        event: str | EventType[Any],
        if_exp: str | None = None,
        timeout: Duration,
    ) -> Event[Any] | None:
        """Wait for an event; see `Step.wait_for_event`."""
        found = self.reach(_wait(step_id, event, if_exp, timeout))
        return cast("Event[Any] | None", found)

    def invoke(
        self,
        step_id: StepName,
        *,
        function: Function[T],
        data: Data | None = None,
        timeout: Duration | None = None,
        v: str | None = None,
    ) -> T:
        """Call another function of this client; see `Step.invoke`."""
        read = _result_reader(self._client, function)
        ask = asks.invoke(step_id, function.id, _payload(function.id, data), timeout, v, read)
        return cast(T, self.reach(ask))

    def invoke_by_id(
        self,
        step_id: StepName,
        *,
        app_id: str | None = None,
        function_id: str,
        data: Data | None = None,
        timeout: Duration | None = None,
        v: str | None = None,
    ) -> object:
        """Call a function by its id; see `Step.invoke_by_id`."""
        target = f"{app_id or self._client.app_id}-{function_id}"
        ask = asks.invoke(step_id, target, _payload(target, data), timeout, v)
        return cast(object, self.reach(ask))

    def send_event(self, step_id: StepName, events: Events) -> list[str]:
        """Send events once, as a step; see `Step.send_event`."""

        def send() -> dict[str, list[str]]:
            return {"ids": self._client.send_sync_through(self._middleware, events)}

        ask = asks.run(step_id, send, kind="step.sendEvent", read=_ids)
        return cast("list[str]", self.reach(ask))

    def wait_for_signal(
        self,
        step_id: StepName,
        *,
        signal: str,
        timeout: Duration,
        on_conflict: Conflict = "fail",
    ) -> Signal | None:
        """Wait for a signal; see `Step.wait_for_signal`."""
        from inngest_sdk import server_tools

        ask = server_tools.wait_for_signal(step_id, signal, timeout, on_conflict)
        return cast("Signal | None", self.reach(ask))

    def send_signal(self, step_id: StepName, *, signal: str, data: object = None) -> str:
        """Send a signal once, as a step; see `Step.send_signal`."""
        ask = asks.run(
            step_id, self._client.send_signal_sync, (signal, data), kind="step.sendSignal"
        )
        return cast(str, self.reach(ask))

    def fetch(
        self,
        step_id: StepName,
        url: str,
        *,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: FetchBody | None = None,
    ) -> FetchResponse:
        """Have the server make a request; see `Step.fetch`."""
        from inngest_sdk import server_tools

        ask = server_tools.fetch(step_id, url, method, headers, body)
        return cast("FetchResponse", self.reach(ask))

    def map(
        self,
        step_id: StepName,
        handler: Callable[[Item], T],
        items: Iterable[Item],
        *,
        limit: int | None = None,
        completion: Completion | None = None,
        key: Callable[[Item], object] | None = None,
    ) -> MapResult[T]:
        """Run `handler(item)` as a step for each item; see `Step.map`.

        With a `limit` the items go in groups of that size: the next one starts when all steps of
        the one before have ended.
        """
        from inngest_sdk.mapping import plan

        planned = plan(step_id, handler, items, limit, completion, key)
        return planned.run_sync(self.run_as, self._execution.parallel)

    def saga(self, saga_id: str) -> SagaSync:
        """Make a block whose steps are undone when an error leaves it; see `Step.saga`."""
        from inngest_sdk.saga import SagaSync, undos

        found = self._saga_ids.next(saga_id)
        return SagaSync(undos(found, self.run_as, self._execution.call.steps))

    def approval(
        self, step_id: StepName, *, title: str, text: str = "", expires: Duration
    ) -> ApprovalSync:
        """Make links with which somebody approves or rejects; see `Step.approval`."""
        from inngest_sdk import approval

        call, links = self._execution.call, self._links
        draft = approval.draft(self._client, links, call.run_id, step_id, title, text, expires)
        memo = self.reach(draft.ask_sync())
        return approval.ApprovalSync(*approval.asked(step_id, memo, links, self.reach))

    @property
    def ai(self) -> AISync:
        """Steps that ask a model."""
        from inngest_sdk.server_tools import AISync

        return AISync(self.reach, self.run_as)

    @property
    def realtime(self) -> RealtimeSync:
        """Steps that send messages to browsers."""
        from inngest_sdk.server_tools import RealtimeSync

        return RealtimeSync(self._client, self.run_as)

    def run_as(
        self,
        step_id: StepName,
        handler: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        kind: str = "step.run",
    ) -> Any:
        """Do what `run` does, as this kind of step; for tools that are made of such steps."""
        return self.reach(_run(self._client, step_id, handler, args, kwargs, NoOutputType, kind))


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


def _wait(
    step_id: StepName, event: str | EventType[Any], if_exp: str | None, timeout: Duration
) -> Ask:
    if isinstance(event, EventType):
        return asks.wait_for_event(step_id, event.name, if_exp, timeout, event.read)
    return asks.wait_for_event(step_id, event, if_exp, timeout)


def _payload(target: str, data: Data | None) -> Mapping[str, Any] | None:
    return None if data is None else data_json(f"the data for function {target!r}", data)


def _run(
    client: Inngest,
    step_id: StepName,
    handler: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    output_type: object,
    kind: str = "step.run",
) -> Ask:
    serializer = client.serializer
    step_id, handler = undecorated(step_id, handler)
    if serializer is not None and output_type is not NoOutputType:
        return asks.run(
            step_id,
            handler,
            args,
            kwargs,
            kind=kind,
            write=lambda value: serializer.serialize(value, output_type),
            read=lambda memo: serializer.deserialize(memo, output_type),
        )
    codec = codec_of(handler) if output_type is NoOutputType else codec_for(output_type)
    return asks.run(
        step_id, handler, args, kwargs, kind=kind, write=codec.encode, read=codec.decode
    )


def _result_reader(client: Inngest, function: Function[Any]) -> Callable[[Any], Any]:
    """How the result of a function of this app is read: as its type says."""
    if not isinstance(function, Function):
        raise FunctionConfigInvalidError(
            f"step.invoke is given {function!r}; it takes a function of this app that "
            "create_function made. By its id, and of other apps: step.invoke_by_id"
        )
    serializer, output_type = client.serializer, function.output_type
    if serializer is not None and output_type is not NoOutputType:
        return lambda memo: serializer.deserialize(memo, output_type)
    codec = codec_of(function.handler) if output_type is NoOutputType else codec_for(output_type)
    return codec.decode


def _mode(parallel_mode: ParallelMode) -> str | None:
    # Waiting is what the server does when nothing is said.
    return None if parallel_mode is ParallelMode.WAIT else parallel_mode.value


def _ids(memo: Any) -> Any:
    # The official Python SDK stored the bare list; runs that began under it may end under us.
    return memo["ids"] if isinstance(memo, dict) else memo
