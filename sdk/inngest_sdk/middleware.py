"""Middleware: user code around functions, steps and sends, in the official SDK's order.

    transform_input        what the function is given, and the memos of its steps
    before_execution       user code is about to do what it has not done before
      transform_step_request what the server is told of a step
      transform_step_input   what a step is called with
      on_step_start          a step is about to be tried
      wrap_step              ... is tried
      on_step_complete       ... has returned
      on_step_error          ... has raised
    after_execution        user code has done what is new
    transform_output       what a step, or the function, came to
    on_run_complete        the function has returned
    on_run_error           the function has raised
    before_response        the answer is about to be made
    after_call             the call is over, whatever came of it

    on_refused             of the class: a request was refused, and there is no call

Hooks that come before go through the client's middleware, then the function's; those that come
after go the other way round, and `before_response` as those before. There is one object of each
class for each call. What a hook raises is an error of the function, or of the step whose output it
was to transform.

An async function awaits the hooks of Middleware, and takes MiddlewareSync as well; a sync function
takes MiddlewareSync only.
"""

from __future__ import annotations

from collections.abc import (
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeAlias, TypeVar

from inngest_sdk.asks import Ask
from inngest_sdk.errors import ConfigError, ProtocolError
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
    def memos(self) -> Mapping[str, Any]:
        """All of them by the hash of their step, as the server sent them (wire.md A10); what is in
        them may be changed."""
        return self._memos

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


@dataclass(frozen=True)
class StepInfo:
    """A step that runs here: its id and index among equal ids, the name that people read, its kind
    ("step.run", "step.sendEvent"…), which try of it this is (from 0), and its hash."""

    id: str
    index: int
    name: str
    kind: str
    attempt: int
    hashed_id: str


@dataclass
class StepInput:
    """What a step is called with. Changing it changes the call."""

    arguments: list[Any]
    keywords: dict[str, Any]


@dataclass
class TransformOutputResult:
    """What a step or, if `step` is None, the function came to. Setting `output` changes what the
    server is told."""

    error: Exception | None
    output: Any
    step: TransformOutputStepInfo | None

    def has_output(self) -> bool:
        """Whether there is a value: no error, and not a step that the server has yet to do."""
        return self.error is None and (self.step is None or self.step.op == "StepRun")


class Middleware:
    """Hooks around async functions. Override those that you need.

    `raw_request` is the request as the platform's entrypoint made it, None around a send.
    A class is `reversible` if its `transform_input` undoes what its `transform_output` did: then
    the function may go on with a step's value before the server has it (see `checkpoint`).
    """

    reversible: ClassVar[bool] = False

    def __init__(self, client: Any, raw_request: object) -> None:
        self.client = client
        self.raw_request = raw_request

    async def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
        """Before the function is called, at each call: change `ctx` or the memos."""

    async def before_execution(self) -> None:
        """Before the function does something new."""

    async def after_execution(self) -> None:
        """After the function has done something new."""

    async def transform_step_input(self, step: StepInfo, given: StepInput) -> None:
        """Before each try of a step that runs here: change what it is called with."""

    async def on_step_start(self, step: StepInfo) -> None:
        """Before each try of a step that runs here."""

    async def wrap_step(self, step: StepInfo, call: Callable[[], Awaitable[Any]]) -> Any:
        """Around each try of a step that runs here: return what `call` returns."""
        return await call()

    async def on_step_complete(self, step: StepInfo, output: Any) -> None:
        """After a try of a step, with what it returned."""

    async def on_step_error(self, step: StepInfo, error: Exception) -> None:
        """After a try of a step, with what it raised."""

    async def transform_output(self, result: TransformOutputResult) -> None:
        """After a step or the function came to something: change `result.output`."""

    async def on_run_complete(self, output: Any) -> None:
        """After the function has returned, and the run with it."""

    async def on_run_error(self, error: Exception, is_final: bool) -> None:
        """After the function has raised outside of its steps; `is_final` if no retry follows."""

    async def before_response(self) -> None:
        """Before the server is answered."""

    async def before_send_events(self, events: list[Event]) -> None:
        """Before events are sent: change them, or the list."""

    async def after_call(self) -> None:
        """At the very end of a call, whatever came before: also when another hook has raised."""

    async def after_send_events(self, result: SendEventsResult) -> None:
        """After events were sent, or not: `result.error` says why."""

    def transform_step_request(self, ask: Ask) -> Ask:
        """Each time that user code reaches a step, known or not: change what the server is told
        of it (`ask.op`). Not awaited, and to be the same on every replay."""
        return ask

    @staticmethod
    def on_register(client: Any, function: Any) -> None:
        """When the class is given to a client (then `function` is None) or to a function."""

    @staticmethod
    def on_refused(client: Any, error: ProtocolError) -> None:
        """When a request to the client's app is refused, and no function is called: a wrong
        signature, an unknown function. Only the client's middleware is told."""


class MiddlewareSync:
    """Hooks around sync functions; see Middleware. Async functions call them too: in a thread, if
    the class says that it `blocks` (it asks a network or a disk)."""

    reversible: ClassVar[bool] = False
    blocks: ClassVar[bool] = False

    def __init__(self, client: Any, raw_request: object) -> None:
        self.client = client
        self.raw_request = raw_request

    def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
        """Before the function is called, at each call: change `ctx` or the memos."""

    def before_execution(self) -> None:
        """Before the function does something new."""

    def after_execution(self) -> None:
        """After the function has done something new."""

    def transform_step_input(self, step: StepInfo, given: StepInput) -> None:
        """Before each try of a step that runs here: change what it is called with."""

    def on_step_start(self, step: StepInfo) -> None:
        """Before each try of a step that runs here."""

    def wrap_step(self, step: StepInfo, call: Callable[[], Any]) -> Any:
        """Around each try of a step that runs here: return what `call` returns."""
        return call()

    def on_step_complete(self, step: StepInfo, output: Any) -> None:
        """After a try of a step, with what it returned."""

    def on_step_error(self, step: StepInfo, error: Exception) -> None:
        """After a try of a step, with what it raised."""

    def transform_output(self, result: TransformOutputResult) -> None:
        """After a step or the function came to something: change `result.output`."""

    def on_run_complete(self, output: Any) -> None:
        """After the function has returned, and the run with it."""

    def on_run_error(self, error: Exception, is_final: bool) -> None:
        """After the function has raised outside of its steps; `is_final` if no retry follows."""

    def before_response(self) -> None:
        """Before the server is answered."""

    def before_send_events(self, events: list[Event]) -> None:
        """Before events are sent: change them, or the list."""

    def after_call(self) -> None:
        """At the very end of a call, whatever came before: also when another hook has raised."""

    def after_send_events(self, result: SendEventsResult) -> None:
        """After events were sent, or not: `result.error` says why."""

    def transform_step_request(self, ask: Ask) -> Ask:
        """Each time that user code reaches a step, known or not: change what the server is told
        of it (`ask.op`). Not awaited, and to be the same on every replay."""
        return ask

    @staticmethod
    def on_register(client: Any, function: Any) -> None:
        """When the class is given to a client (then `function` is None) or to a function."""

    @staticmethod
    def on_refused(client: Any, error: ProtocolError) -> None:
        """When a request to the client's app is refused, and no function is called: a wrong
        signature, an unknown function. Only the client's middleware is told."""


_ASYNC_IN_SYNC = (
    "a sync function, or send_sync, has async middleware: derive it from MiddlewareSync, or make "
    "the function async"
)

UninitializedMiddleware: TypeAlias = Callable[[Any, object], Middleware | MiddlewareSync]
Links: TypeAlias = list[Middleware | MiddlewareSync]
Hooks: TypeAlias = Generator[Any, Any, T]
"""Yields what may have to be awaited, a hook's result or a step's; is sent what came of it."""


class Chain:
    """The middleware of one call, or of one send. `in_thread(f, *args)` is how async code calls
    what blocks; without it all is called at once, for sync code, and what is async is refused with
    a ConfigError."""

    def __init__(
        self,
        made_by: Sequence[UninitializedMiddleware],
        client: Any,
        raw_request: object,
        in_thread: Callable[..., Any] | None = None,
    ) -> None:
        self._links: Links = [make(client, raw_request) for make in made_by]
        self._in_thread = in_thread
        self.is_async: bool = in_thread is not None
        if not self.is_async and any(isinstance(link, Middleware) for link in self._links):
            raise ConfigError(_ASYNC_IN_SYNC)
        self._asking = self._overriding("transform_step_request")
        transforming = self._overriding("transform_output")
        self.reversible: Links = [each for each in transforming if _is_reversible(each)]
        self.others: Links = [each for each in transforming if not _is_reversible(each)]

    def __bool__(self) -> bool:
        return bool(self._links)

    def forward(self, hook: str, *arguments: Any) -> Hooks[None]:
        """The hook of each, the client's first."""
        for link in self._overriding(hook):
            yield self._call(link, hook, arguments)

    def backward(self, hook: str, *arguments: Any, of: Links | None = None) -> Hooks[None]:
        """The hook of each, the function's first; only those `of` some, if any are named."""
        for link in reversed(self._overriding(hook)):
            if of is None or link in of:
                yield self._call(link, hook, arguments)

    def asked(self, ask: Ask) -> Ask:
        """The step as everybody's `transform_step_request` leaves it."""
        for link in self._asking:
            ask = link.transform_step_request(ask)
        return ask

    def wrapped(self, step: StepInfo, call: Callable[[], Any]) -> Callable[[], Any]:
        """The call of a step, inside everybody's `wrap_step`; the client's is the outermost.

        Raises ConfigError for a sync wrapper around the steps of an async function: it could
        only wait for them by blocking the loop that they run on.
        """
        wrapping = self._overriding("wrap_step")
        if wrapping and self.is_async:
            call = _awaiting(call)
        for link in reversed(wrapping):
            if self.is_async and isinstance(link, MiddlewareSync):
                raise ConfigError(
                    f"{type(link).__name__}.wrap_step is sync and cannot wrap the steps of an "
                    "async function: derive the class from Middleware"
                )
            call = partial(link.wrap_step, step, call)
        return call

    def _overriding(self, hook: str) -> Links:
        plain = (getattr(Middleware, hook), getattr(MiddlewareSync, hook))
        return [link for link in self._links if getattr(type(link), hook, plain[0]) not in plain]

    def _call(self, link: Middleware | MiddlewareSync, hook: str, arguments: Any) -> Any:
        method = getattr(link, hook)
        if self._in_thread is not None and getattr(link, "blocks", False):
            return self._in_thread(method, *arguments)
        return method(*arguments)


def _is_reversible(link: Middleware | MiddlewareSync) -> bool:
    return bool(getattr(link, "reversible", False))


def _awaiting(call: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
    async def awaited() -> Any:
        value = call()
        return await value if hasattr(value, "__await__") else value

    return awaited


def register(
    made_by: Sequence[UninitializedMiddleware], client: Any, function: Any = None
) -> list[UninitializedMiddleware]:
    """Tell each class that it belongs to a client, or to one of its functions, from now on."""
    for each in made_by:
        hook = getattr(each, "on_register", None)
        if callable(hook):
            hook(client, function)
    return list(made_by)


def tell_refused(
    made_by: Sequence[UninitializedMiddleware], client: Any, error: ProtocolError
) -> None:
    """Tell each class that a request was refused. What a hook raises is logged: the refusal is
    answered in any case."""
    for each in made_by:
        hook = getattr(each, "on_refused", None)
        if not callable(hook):
            continue
        try:
            hook(client, error)
        except Exception:
            client.logger.exception("inngest: an on_refused hook raised")


def call_hooks(hooks: Hooks[T]) -> T:
    """Call hooks from sync code. Raises ConfigError for one that has to be awaited."""
    try:
        answer = next(hooks)
        while True:
            if hasattr(answer, "__await__"):
                answer.close()
                raise ConfigError(_ASYNC_IN_SYNC)
            answer = hooks.send(answer)
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
                    answer = await answer
            except Exception as error:
                answer = hooks.throw(error)
            else:
                answer = hooks.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
