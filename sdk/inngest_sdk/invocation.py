"""One call of one user function, ready for a driver: the bridge from protocol to user code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from inngest_sdk import wire
from inngest_sdk.checkpoint import Checkpoints
from inngest_sdk.client import Inngest, RegisteredHandler
from inngest_sdk.effects import AsyncDriver, Driver, Outcome, Raised, Reported, Returned
from inngest_sdk.errors import OutputUnserializableError
from inngest_sdk.execution import SyncExecution
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
from inngest_sdk.serializer import NoOutputType
from inngest_sdk.tools import Context, ContextSync, Group, GroupSync, Step, StepSync


@dataclass(frozen=True)
class FunctionCall:
    """A call, its handler, and the step it is for (None: whatever comes next)."""

    client: Inngest
    handler: RegisteredHandler
    call: wire.Call
    target: str | None
    checkpoints: Checkpoints | None = None
    raw_request: object = None

    @property
    def is_async(self) -> bool:
        """Whether the user function is a coroutine function."""
        return self.handler.is_async

    def run(self, drive: Driver) -> Outcome:
        """Run a sync function to its outcome."""
        try:
            around = Around(self)
            execution = SyncExecution(self.call, self.target, drive, around.checkpoints)
            step = StepSync(self.client, execution, around.chain)
            context = ContextSync(**self._facts(), group=GroupSync(execution), step=step)
            execution.do_something_new = lambda: call_hooks(around.before())
            execution.check_result = self._result
            call_hooks(around.begin(context))
        except Exception as error:
            return Raised(error)
        outcome = execution.run(lambda: self.handler.callable(context))
        return call_hooks(around.end(outcome)) if around.chain else outcome

    async def run_async(self, drive: AsyncDriver) -> Outcome:
        """Run an async function to its outcome, on the running loop."""
        from inngest_sdk.parallel import AsyncExecution

        try:
            around = Around(self)
            execution = AsyncExecution(self.call, self.target, drive, around.checkpoints)
            step = Step(self.client, execution, around.chain)
            context = Context(**self._facts(), group=Group(), step=step)
            execution.do_something_new = lambda: await_hooks(around.before())
            execution.check_result = self._result
            execution.on_stray = self._warn_of
            await await_hooks(around.begin(context))
        except Exception as error:
            return Raised(error)
        outcome = await execution.run(lambda: self.handler.callable(context))
        return await await_hooks(around.end(outcome)) if around.chain else outcome

    def _result(self, value: object) -> object:
        return result_json(self.client, self.handler, value)

    def _warn_of(self, step: str) -> None:
        self.client.logger.warning(
            "inngest: function %s ended without waiting for step %r, which has not run: await it",
            self.handler.function.id,
            step,
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "attempt": self.call.attempt,
            "event": self.call.event,
            "events": list(self.call.events),
            "job_id": self.call.job_id,
            "logger": self.client.logger,
            "request_id": self.call.request_id,
            "run_id": self.call.run_id,
        }


def result_json(client: Inngest, handler: RegisteredHandler, value: object) -> object:
    """The function's result in JSON form, by the client's serializer if the function names a type.

    Raises OutputUnserializableError, and whatever a serializer of the user's raises.
    """
    if client.serializer is not None and handler.output_type is not NoOutputType:
        value = client.serializer.serialize(value, handler.output_type)
    try:
        dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise OutputUnserializableError(
            f"function {handler.function.id!r} returned a {type(value).__name__} that is not "
            f"JSON ({error}). Return dicts, lists, strings, numbers, booleans or None, or give the "
            "client a serializer and the function an output_type."
        ) from error
    return value


class Around:
    """The middleware around one call."""

    def __init__(self, call: FunctionCall) -> None:
        function = call.handler.function
        self.chain = Chain(
            [*call.client.middleware, *function.middleware], call.client, call.raw_request
        )
        self.checkpoints = None if self.chain.transforms_output else call.checkpoints
        self._call, self._function = call.call, function
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
            yield from self.chain.forward("before_response")
        except Exception as error:
            return self._failed(outcome, error)
        return outcome

    def _transformed(self, outcome: Outcome) -> Hooks[Outcome]:
        result = _result(outcome)
        if result is None:
            return outcome
        yield from self.chain.backward("transform_output", result)
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
