"""One attempt of a step: its tries, the middleware around them, the limits of what it returns.

A `Hooks` generator: one body for sync and async functions. What it yields may have to be awaited.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from inngest_sdk import wire
from inngest_sdk.asks import Ask
from inngest_sdk.effects import Flow, now, pause
from inngest_sdk.errors import (
    AtMostOnceError,
    NonRetriableError,
    OutputUnserializableError,
)
from inngest_sdk.execution import Found, Ran
from inngest_sdk.function import is_async
from inngest_sdk.http import dumps
from inngest_sdk.middleware import (
    Chain,
    Hooks,
    StepInfo,
    StepInput,
    TransformOutputResult,
    TransformOutputStepInfo,
)
from inngest_sdk.policy import Tries, may_retry, tries

Within: TypeAlias = Callable[[Callable[[], Any], bool, float], Any]
"""Calls something, which is async or not, for so many seconds at most. What it gives may have to
be awaited."""

FIRST_PAUSE = 1.0  # seconds between two tries in one call, doubled each time, if nothing is said
LONGEST_PAUSE = 30.0  # seconds that a call may wait between two tries
MARGIN = 1.0  # seconds before the deadline in which no other try begins


@dataclass(frozen=True)
class Attempts:
    """Runs the steps of one call. `perform` runs a flow, and may have to be awaited;
    `deadline` is in Unix seconds; `begin` is told of each try."""

    call: wire.Call
    chain: Chain
    perform: Callable[[Flow[Any]], Any]
    within: Within
    deadline: float | None = None
    begin: Callable[[Found], object] = lambda found: None

    def run(self, found: Found, edited: list[Any] | None) -> Hooks[Ran]:
        """Try the step as often as this call may, and give what it came to. Raises its error."""
        plan = tries(found.ask.options.retry, self.call.attempt, self.call.max_attempts)
        info = self._info(found, plan)
        if found.ask.options.at_most_once and self.call.attempt:
            raise AtMostOnceError(
                f"step {found.step.name!r} runs at most once, and an earlier attempt at it ended "
                "without word of how far it got: look what it has done, and catch this error if "
                "the run can go on"
            )
        for number in range(plan.here):
            try:
                return (yield from self._try(found, info, edited))
            except Exception as error:
                yield from self.chain.backward("on_step_error", info, error)
                again = number + 1 < plan.here and may_retry(error, found.ask.options.retry)
                if not again or not (yield from self._wait(found.ask, plan.before + number + 1)):
                    raise
                info = replace(info, attempt=info.attempt + 1)
        raise AssertionError("a step has at least one try")

    def _info(self, found: Found, plan: Tries) -> StepInfo:
        return StepInfo(
            id=found.step.name,
            index=found.step.index,
            name=found.ask.options.name or found.step.name,
            kind=str(found.ask.op.opts.get("type", "")),
            attempt=plan.before,
            hashed_id=found.step.hashed,
        )

    def _wait(self, ask: Ask, retry: int) -> Hooks[bool]:
        """Pause before another try in this call; False if there is no time for it."""
        policy = ask.options.retry
        seconds = None if policy is None else policy.pause(retry)
        if seconds is None:
            seconds = FIRST_PAUSE * 2.0 ** min(retry - 1, 10)
        seconds = min(seconds, LONGEST_PAUSE)
        if self.deadline is not None:
            at = yield self.perform(now())
            if at + seconds + MARGIN > self.deadline:
                return False
        yield self.perform(pause(seconds))
        return True

    def _try(self, found: Found, info: StepInfo, edited: list[Any] | None) -> Hooks[Ran]:
        ask = found.ask
        self.begin(found)
        given = StepInput(list(ask.args) if edited is None else list(edited), dict(ask.kwargs))
        yield from self.chain.forward("transform_step_input", info, given)
        yield from self.chain.forward("on_step_start", info)
        value = yield from self._called(ask, info, given)
        yield from self.chain.backward("on_step_complete", info, value)
        written = ask.write(value)
        text = _json(found, written)
        told = yield from self._transformed(found, written)
        _check_size(found, text if told is written else _json(found, told))
        return Ran(told, text)

    def _called(self, ask: Ask, info: StepInfo, given: StepInput) -> Hooks[Any]:
        assert ask.call is not None
        call, seconds = ask.call, ask.options.timeout_seconds

        def body() -> Any:
            return call(*given.arguments, **given.keywords)

        def bounded() -> Any:
            return body() if seconds is None else self.within(body, is_async(call), seconds)

        value = self.chain.wrapped(info, bounded)()
        if not hasattr(value, "__await__"):
            return value
        if not self.chain.is_async:
            if hasattr(value, "close"):
                value.close()  # or Python warns that it was never awaited
            raise NonRetriableError(
                f"step {info.id!r} of a sync function has an async callable; make the function "
                "async, or the callable sync"
            )
        return (yield value)

    def _transformed(self, found: Found, value: Any) -> Hooks[Any]:
        if not self.chain.reversible:
            return value
        step = TransformOutputStepInfo(found.step.name, "StepRun", found.ask.op.opts)
        result = TransformOutputResult(None, value, step)
        yield from self.chain.backward("transform_output", result, of=self.chain.reversible)
        return result.output


def _json(found: Found, value: Any) -> bytes:
    try:
        return dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise OutputUnserializableError(
            f"step {found.step.name!r} returned a {type(value).__name__} that is not JSON "
            f"({error}). Return dicts, lists, strings, numbers, booleans or None, annotate the "
            "function with the type that it returns, or give the client a serializer and the step "
            "an output_type."
        ) from error


def _check_size(found: Found, text: bytes) -> None:
    if len(text) > wire.MAX_STEP_OUTPUT:
        raise NonRetriableError(
            f"step {found.step.name!r} returned {len(text):,} bytes of JSON; the limit is "
            f"{wire.MAX_STEP_OUTPUT:,} (4 MB). Keep the value elsewhere and return a reference, or "
            "give the client an Offload (docs/offload.md)."
        )
