"""Steps whose work an Inngest server does over HTTP: signals, requests, models, messages.

What `ctx.step` signs for in `tools`; imported when the first such step is reached.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast, overload

from inngest_sdk import ai, asks, fetching, signals
from inngest_sdk.asks import Ask
from inngest_sdk.client import Inngest
from inngest_sdk.duration import Duration
from inngest_sdk.errors import FunctionConfigInvalidError
from inngest_sdk.policy import StepName, options
from inngest_sdk.realtime import Topic

P = ParamSpec("P")
T = TypeVar("T")
Run = Callable[[StepName, Callable[..., Any], tuple[Any, ...], Mapping[str, Any], str], Any]
"""Asks for a step that runs code here, of this kind; what it gives may have to be awaited."""


def wait_for_signal(
    step_id: StepName, signal: str, timeout: Duration, on_conflict: signals.Conflict
) -> Ask:
    """A wait for a signal."""
    name = options(step_id).id
    op = signals.signal_wait_op(name, signal, asks.span(name, timeout), on_conflict)
    return asks.of_server(step_id, op, partial(signals.signal_from, name))


def fetch(
    step_id: StepName,
    url: str,
    method: str | None,
    headers: Mapping[str, str] | None,
    body: fetching.FetchBody | None,
) -> Ask:
    """A request that the server makes."""
    name = options(step_id).id
    request = fetching.fetch_request(name, url, method=method, headers=headers, body=body)
    op = fetching.gateway_op(name, request)
    return asks.of_server(step_id, op, partial(fetching.response_from, name))


def infer(
    step_id: StepName,
    adapter: ai.Adapter,
    body: Mapping[str, Any],
    publish: Topic[Any] | None,
) -> Ask:
    """A request to a model, which the server makes."""
    name = options(step_id).id
    op = ai.ai_op(name, adapter, body, publish)
    return asks.of_server(step_id, op, partial(ai.inference_from, name))


class AI:
    """Models in an async function: `ctx.step.ai`."""

    def __init__(self, reach: Callable[[Ask], Awaitable[Any]], run: Run) -> None:
        self._reach = reach
        self._run = run

    async def infer(
        self,
        step_id: StepName,
        *,
        adapter: ai.Adapter,
        body: Mapping[str, Any],
        publish: Topic[Any] | None = None,
    ) -> dict[str, Any]:
        """Have the server ask a model, and give the provider's answer as it came.

        The function is not running, and costs nothing, while the model thinks. `adapter` says
        which one (`inngest_serverless.ai.openai(...)` and others), `body` is the provider's. The
        key goes to the server with the step. `ai.text_of(answer)` is the text in the answer. With
        `publish` those who watch that topic get it, too.

        Raises StepError when the provider refuses for good.
        """
        return cast(dict[str, Any], await self._reach(infer(step_id, adapter, body, publish)))

    @overload
    async def wrap(
        self,
        step_id: StepName,
        handler: Callable[P, Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T: ...
    @overload
    async def wrap(
        self, step_id: StepName, handler: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    async def wrap(
        self, step_id: StepName, handler: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Run `handler(*args, **kwargs)` here as a step that the server shows as a model's."""
        return await self._run(step_id, handler, args, kwargs, "step.ai.wrap")


class AISync:
    """Models in a sync function; see AI."""

    def __init__(self, reach: Callable[[Ask], Any], run: Run) -> None:
        self._reach = reach
        self._run = run

    def infer(
        self,
        step_id: StepName,
        *,
        adapter: ai.Adapter,
        body: Mapping[str, Any],
        publish: Topic[Any] | None = None,
    ) -> dict[str, Any]:
        """Have the server ask a model; see `AI.infer`."""
        return cast(dict[str, Any], self._reach(infer(step_id, adapter, body, publish)))

    def wrap(
        self, step_id: StepName, handler: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `handler(*args, **kwargs)` here as a step; see `AI.wrap`."""
        return cast(T, self._run(step_id, handler, args, kwargs, "step.ai.wrap"))


def _check_topic(step_id: StepName, topic: object) -> None:
    if not isinstance(topic, Topic):
        raise FunctionConfigInvalidError(
            f"step {options(step_id).id!r} publishes to {topic!r}; it takes a Topic, such as "
            "Topic('order:7', 'progress')"
        )


class Realtime:
    """Messages to browsers, as steps of an async function: `ctx.step.realtime`."""

    def __init__(self, client: Inngest, run: Run) -> None:
        self._client = client
        self._run = run

    async def publish(self, step_id: StepName, topic: Topic[T], message: T) -> None:
        """Send a message to those who watch a topic, once."""
        _check_topic(step_id, topic)
        await self._run(
            step_id, self._client.publish, (topic, message), {}, "step.realtime.publish"
        )


class RealtimeSync:
    """Messages to browsers, as steps of a sync function; see Realtime."""

    def __init__(self, client: Inngest, run: Run) -> None:
        self._client = client
        self._run = run

    def publish(self, step_id: StepName, topic: Topic[T], message: T) -> None:
        """Send a message to those who watch a topic, once."""
        _check_topic(step_id, topic)
        self._run(step_id, self._client.publish_sync, (topic, message), {}, "step.realtime.publish")
