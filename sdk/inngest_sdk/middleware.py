"""Middleware: user code around functions and sends, with the official SDK's hooks and order.

    transform_input        what the function is given, and the memos of its steps
    before_execution       user code is about to do what it has not done before
    after_execution        ... has done it
    transform_output       what a step, or the function, came to
    before_response        the answer is about to be made

Hooks that come before go through the client's middleware, then the function's; those that come
after go the other way round, and `before_response` as those before. There is one object of each
class for each call. What a hook raises is an error of the function, or of the step whose output it
was to transform.

An async function awaits the hooks of Middleware, and takes MiddlewareSync as well; a sync function
takes MiddlewareSync only.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from inngest_sdk.errors import ConfigError
from inngest_sdk.events import Event, SendEventsResult

T = TypeVar("T")


class Output:
    """The memo of one finished step. Setting `data` changes what user code gets."""

    def __init__(self, raw: MutableMapping[str, Any]) -> None:
        self._raw = raw

    @property
    def data(self) -> Any:
        """The step's value, None if it failed."""
        return self._raw.get("data")

    @data.setter
    def data(self, value: Any) -> None:
        self._raw["data"] = value

    @property
    def error(self) -> Any:
        """The step's error as JSON, None if it did not fail."""
        return self._raw.get("error")


class StepMemos:
    """The memos of a call's finished steps."""

    def __init__(self, memos: Mapping[str, Any]) -> None:
        self._memos = memos

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self._memos)

    def values(self) -> Iterator[Output]:
        """Those that hold a value or an error; a sleep's holds neither."""
        for raw in self._memos.values():
            if isinstance(raw, dict) and ("data" in raw or "error" in raw):
                yield Output(raw)


@dataclass
class TransformOutputStepInfo:
    """The step that an output belongs to: its id, its op ("StepRun", "Sleep"...), its options."""

    id: str
    op: str
    opts: Mapping[str, Any] | None


@dataclass
class TransformOutputResult:
    """What a step or, if `step` is None, the function came to. Setting `output` changes what the
    server is told."""

    error: Exception | None
    output: Any
    step: TransformOutputStepInfo | None


class Middleware:
    """Hooks around async functions. Override those that you need.

    `raw_request` is the request as the platform's entrypoint made it, None around a send.
    """

    def __init__(self, client: Any, raw_request: object) -> None:
        self.client = client
        self.raw_request = raw_request

    async def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
        """Before the function is called, at each call: change `ctx` or the memos."""

    async def before_execution(self) -> None:
        """Before the function does something new."""

    async def after_execution(self) -> None:
        """After the function has done something new."""

    async def transform_output(self, result: TransformOutputResult) -> None:
        """After a step or the function came to something: change `result.output`."""

    async def before_response(self) -> None:
        """Before the server is answered."""

    async def before_send_events(self, events: list[Event]) -> None:
        """Before events are sent: change them, or the list."""

    async def after_send_events(self, result: SendEventsResult) -> None:
        """After events were sent, or not: `result.error` says why."""


class MiddlewareSync:
    """Hooks around sync functions; see Middleware."""

    def __init__(self, client: Any, raw_request: object) -> None:
        self.client = client
        self.raw_request = raw_request

    def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
        """Before the function is called, at each call: change `ctx` or the memos."""

    def before_execution(self) -> None:
        """Before the function does something new."""

    def after_execution(self) -> None:
        """After the function has done something new."""

    def transform_output(self, result: TransformOutputResult) -> None:
        """After a step or the function came to something: change `result.output`."""

    def before_response(self) -> None:
        """Before the server is answered."""

    def before_send_events(self, events: list[Event]) -> None:
        """Before events are sent: change them, or the list."""

    def after_send_events(self, result: SendEventsResult) -> None:
        """After events were sent, or not: `result.error` says why."""


UninitializedMiddleware: TypeAlias = Callable[[Any, object], Middleware | MiddlewareSync]
Hooks: TypeAlias = Generator[Any, None, T]
"""Calls hooks: yields what each returned, which may have to be awaited."""


class Chain:
    """The middleware of one call, or of one send."""

    def __init__(
        self, made_by: Sequence[UninitializedMiddleware], client: Any, raw_request: object
    ) -> None:
        self._links = [make(client, raw_request) for make in made_by]

    def __bool__(self) -> bool:
        return bool(self._links)

    @property
    def transforms_output(self) -> bool:
        """Whether a value differs for the server and for the function: then no step's value may
        be handed on before the server has it."""
        plain = (Middleware.transform_output, MiddlewareSync.transform_output)
        return any(type(link).transform_output not in plain for link in self._links)

    def forward(self, hook: str, *arguments: Any) -> Hooks[None]:
        """The hook of each, the client's first."""
        for link in self._links:
            yield getattr(link, hook)(*arguments)

    def backward(self, hook: str, *arguments: Any) -> Hooks[None]:
        """The hook of each, the function's first."""
        for link in reversed(self._links):
            yield getattr(link, hook)(*arguments)


def call_hooks(hooks: Hooks[T]) -> T:
    """Call hooks from sync code. Raises ConfigError for one that has to be awaited."""
    try:
        while True:
            answer = next(hooks)
            if hasattr(answer, "__await__"):
                answer.close()
                raise ConfigError(
                    "a sync function, or send_sync, has async middleware: derive it from "
                    "MiddlewareSync, or make the function async"
                )
    except StopIteration as stop:
        result: T = stop.value
        return result


async def await_hooks(hooks: Hooks[T]) -> T:
    """Call hooks from async code, and await those that want it."""
    try:
        answer = next(hooks)
        while True:
            try:
                if hasattr(answer, "__await__"):
                    await answer
            except Exception as error:
                answer = hooks.throw(error)
            else:
                answer = next(hooks)
    except StopIteration as stop:
        result: T = stop.value
        return result
