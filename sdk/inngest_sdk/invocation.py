"""One call of one user function, ready for a driver: the bridge from protocol to user code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from inngest_sdk import wire
from inngest_sdk.approval_link import Links
from inngest_sdk.attempt import Attempts, Within
from inngest_sdk.checkpoint import Checkpoints
from inngest_sdk.client import Inngest, RegisteredHandler
from inngest_sdk.codec import codec_for, codec_of
from inngest_sdk.context import Context, ContextSync, Inside, Streams, entered
from inngest_sdk.drift import drift
from inngest_sdk.effects import (
    AsyncDriver,
    Driver,
    Outcome,
    Raised,
    Reported,
    Returned,
    now,
    revealed,
)
from inngest_sdk.errors import Error, OutputUnserializableError
from inngest_sdk.execution import Execution, Found, SyncExecution
from inngest_sdk.failure import error_json, is_retriable
from inngest_sdk.http import dumps
from inngest_sdk.middleware import (
    Chain,
    Hooks,
    StepMemos,
    TransformOutputResult,
    TransformOutputStepInfo,
    await_hooks,
    call_hooks,
)
from inngest_sdk.replay_log import ReplayLogger
from inngest_sdk.serializer import NoOutputType
from inngest_sdk.tools import Group, GroupSync, Step, StepSync

_C = TypeVar("_C", Context[Any], ContextSync[Any])


def _no_url() -> str:
    raise Error("nobody called the app at a URL, so no link to it can be made")


@dataclass(frozen=True)
class FunctionCall:
    """A call, its handler, and the step it is for (None: whatever comes next). `deadline` is in
    Unix seconds. `app_url` is the public URL of the app, for links."""

    client: Inngest
    handler: RegisteredHandler
    call: wire.Call
    target: str | None
    checkpoints: Checkpoints | None = None
    raw_request: object = None
    deadline: float | None = None
    app_url: Callable[[], str] = _no_url

    @property
    def is_async(self) -> bool:
        """Whether the user function is a coroutine function."""
        return self.handler.is_async

    def run(self, drive: Driver) -> Outcome:
        """Run a sync function to its outcome."""
        try:
            around = Around(self)
        except Exception as error:
            return Raised(error)
        try:
            return self._run(drive, around)
        finally:
            if around.chain:
                call_hooks(around.close())

    async def run_async(self, drive: AsyncDriver) -> Outcome:
        """Run an async function to its outcome, on the running loop."""
        import asyncio

        try:
            around = Around(self, asyncio.to_thread)
        except Exception as error:
            return Raised(error)
        try:
            return await self._run_async(drive, around)
        finally:
            if around.chain:
                await await_hooks(around.close())

    def _run(self, drive: Driver, around: Around) -> Outcome:
        from inngest_sdk.drive import within

        try:
            streams: Streams = {}
            attempts = self._attempts(around, drive, within, streams)
            execution = SyncExecution(
                self.call, self.target, attempts.run, drive, around.checkpoints
            )
            links = self._links(drive)
            step = StepSync(self.client, execution, around.chain, links)
            inside = Inside(execution, lambda: drive(now()), streams)
            context: ContextSync[Any] = ContextSync(
                **self._facts(inside), group=GroupSync(execution), step=step
            )
            execution.check_result = self._result
            if around.chain:
                execution.do_something_new = lambda: call_hooks(around.before())
                call_hooks(around.begin(context))
        except Exception as error:
            return Raised(error)
        with entered(context):
            outcome = execution.run(lambda: self.handler.callable(self._read(context)))
        outcome = self._told(outcome, execution)
        return call_hooks(around.end(outcome)) if around.chain else outcome

    async def _run_async(self, drive: AsyncDriver, around: Around) -> Outcome:
        from inngest_sdk.drive import within_async
        from inngest_sdk.parallel import AsyncExecution

        try:
            streams: Streams = {}
            attempts = self._attempts(around, drive, within_async, streams)
            execution = AsyncExecution(
                self.call, self.target, attempts.run, drive, around.checkpoints
            )
            links = self._links(drive)
            step = Step(self.client, execution, around.chain, links)
            inside = Inside(execution, lambda: drive(now()), streams)
            context: Context[Any] = Context(**self._facts(inside), group=Group(), step=step)
            execution.check_result = self._result
            execution.on_stray = self._warn_of
            if around.chain:
                execution.do_something_new = lambda: await_hooks(around.before())
                await await_hooks(around.begin(context))
        except Exception as error:
            return Raised(error)
        with entered(context):
            outcome = await execution.run(lambda: self._awaited(context))
        outcome = self._told(outcome, execution)
        return await await_hooks(around.end(outcome)) if around.chain else outcome

    def _attempts(
        self, around: Around, drive: Driver | AsyncDriver, within: Within, streams: Streams
    ) -> Attempts:
        def begin(found: Found) -> None:
            streams.pop(found.step.hashed, None)  # each try draws the same

        return Attempts(self.call, around.chain, drive, within, self.deadline, begin)

    def _links(self, drive: Driver | AsyncDriver) -> Links:
        keys = self.client.config.signing_keys
        return Links(self.app_url, lambda: drive(now()), lambda: drive(revealed(keys)))

    async def _awaited(self, context: Context[Any]) -> Any:
        return await self.handler.callable(self._read(context))

    def _read(self, context: _C) -> _C:
        """The context with its events as their types say, after middleware has seen them."""
        reader = self.handler.reader
        if reader:
            same = context.events == [context.event]
            context.event = reader.read(context.event)
            context.events = (
                [context.event] if same else [reader.read(each) for each in context.events]
            )
        return context

    def _told(self, outcome: Outcome, execution: Execution) -> Outcome:
        """The outcome with the function's result in JSON form."""
        if not isinstance(outcome, Raised) and (
            text := drift(execution, outcome, self.handler.callable)
        ):
            self.client.logger.warning("inngest: %s: %s", self.handler.function.id, text)
        if not isinstance(outcome, Returned):
            return outcome
        try:
            return replace(outcome, value=written(self.client, self.handler, outcome.value))
        except Exception as error:
            return Raised(error)

    def _result(self, value: object) -> object:
        return checked(self.handler, written(self.client, self.handler, value))

    def _warn_of(self, step: str) -> None:
        self.client.logger.warning(
            "inngest: function %s ended without waiting for step %r, which has not run: await it",
            self.handler.function.id,
            step,
        )

    def _facts(self, inside: Inside) -> dict[str, Any]:
        return {
            "attempt": self.call.attempt,
            "event": self.call.event,
            "events": list(self.call.events),
            "function_id": self.handler.function.id,
            "inside": inside,
            "job_id": self.call.job_id,
            "logger": ReplayLogger(self.client.logger, lambda: inside.execution.replaying),
            "max_attempts": self.call.max_attempts,
            "request_id": self.call.request_id,
            "run_id": self.call.run_id,
        }


def written(client: Inngest, handler: RegisteredHandler, value: object) -> object:
    """The function's result in JSON form: by the client's serializer if the function names a
    type, else by what the function is annotated with.

    Raises OutputUnserializableError, and whatever a serializer of the user's raises.
    """
    output_type = handler.output_type
    if client.serializer is not None and output_type is not NoOutputType:
        return client.serializer.serialize(value, output_type)
    codec = codec_of(handler.callable) if output_type is NoOutputType else codec_for(output_type)
    return codec.encode(value)


def checked(handler: RegisteredHandler, value: object) -> object:
    """The value, if it is JSON. Raises OutputUnserializableError."""
    try:
        dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise OutputUnserializableError(
            f"function {handler.function.id!r} returned a {type(value).__name__} that is not "
            f"JSON ({error}). Return dicts, lists, strings, numbers, booleans or None, annotate "
            "the function with the type that it returns, or give the client a serializer and the "
            "function an output_type."
        ) from error
    return value


class Around:
    """The middleware around one call."""

    def __init__(self, call: FunctionCall, in_thread: Callable[..., Any] | None = None) -> None:
        function = call.handler.function
        made_by = [*call.client.middleware, *function.middleware]
        self.chain: Chain = Chain(made_by, call.client, call.raw_request, in_thread)
        # A value that differs for the server and for the function, and cannot be changed back,
        # must not be handed on before the server has it.
        self.checkpoints: Checkpoints | None = None if self.chain.others else call.checkpoints
        self._call, self._function, self._client = call.call, function, call.client
        self._has_begun = not self.chain

    def begin(self, context: Context | ContextSync) -> Hooks[None]:
        """What comes before the function is called."""
        memos = StepMemos(self._call.steps)
        yield from self.chain.forward("transform_input", context, self._function, memos)
        if not memos.size:
            yield from self.before()

    def before(self) -> Hooks[None]:
        """What comes before the function does something new, once."""
        if not self._has_begun:
            self._has_begun = True
            yield from self.chain.forward("before_execution")

    def end(self, outcome: Outcome) -> Hooks[Outcome]:
        """What comes after, and what it makes of the outcome."""
        try:
            yield from self.before()
            yield from self.chain.backward("after_execution")
            outcome = yield from self._transformed(outcome)
            if isinstance(outcome, Returned):
                yield from self.chain.backward("on_run_complete", outcome.value)
            if isinstance(outcome, Raised):
                final = self._call.is_final_attempt or not is_retriable(outcome.error)
                yield from self.chain.backward("on_run_error", outcome.error, final)
            yield from self.chain.forward("before_response")
        except Exception as error:
            return self._failed(outcome, error)
        return outcome

    def close(self) -> Hooks[None]:
        """What comes at the very end. What it raises has nowhere to go but the log."""
        try:
            yield from self.chain.backward("after_call")
        except Exception:
            self._client.logger.exception("inngest: the after_call of a middleware has failed")

    def _transformed(self, outcome: Outcome) -> Hooks[Outcome]:
        result = _result(outcome)
        if result is None:
            return outcome
        # What is reversible has transformed the value of a step already, when the step had run.
        has_run = result.step is not None and result.step.op == "StepRun"
        links = self.chain.others if has_run else None
        yield from self.chain.backward("transform_output", result, of=links)
        if isinstance(outcome, Returned):
            return replace(outcome, value=result.output)
        if isinstance(outcome, Reported) and "error" not in outcome.ops[0]:
            return replace(outcome, ops=({**outcome.ops[0], "data": result.output},))
        return outcome

    def _failed(self, outcome: Outcome, error: Exception) -> Outcome:
        """A hook raised. The step that had run fails with that, so that it is not lost from
        sight; otherwise the function does."""
        if not isinstance(outcome, Reported) or [op["op"] for op in outcome.ops] != ["StepRun"]:
            return Raised(error)
        final = self._call.is_final_attempt or not is_retriable(error)
        op = {key: value for key, value in outcome.ops[0].items() if key != "data"}
        failed = {"op": "StepFailed" if final else "StepError", "error": error_json(error)}
        return Reported(({**op, **failed},))


def _result(outcome: Outcome) -> TransformOutputResult | None:
    """What middleware may transform: the function's result or error, or its one step's; not a
    plan of several."""
    match outcome:
        case Returned(value):
            return TransformOutputResult(None, value, None)
        case Raised(error):
            return TransformOutputResult(error, None, None)
        case Reported(ops, _, error) if len(ops) == 1 and ops[0]["op"] != "StepPlanned":
            op = ops[0]
            step = TransformOutputStepInfo(op["displayName"], op["op"], op.get("opts"))
            return TransformOutputResult(error, op.get("data"), step)
    return None
