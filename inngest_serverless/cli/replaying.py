"""Today's code, replayed against a recorded run: would it find its way through the same steps?

The steps of a run finished in some order. For each prefix of it the function is called as a server
would have called it at that time, with `disable_immediate_execution`, so that steps that have no
memo are told and not run. Code between steps does run. What can be concluded:

- After all memos, every finished step has to have been reached; what has not been is an orphan.
- A step that is planned and not in the record is new if the run could only have gone on with it:
  when nothing from the record is planned beside it. (Beside others it may be given up later, as
  the loser of a race is.) At the end of a run that was not over, what comes next is no news.
- A new step hides what lies behind it. So the replay goes on with null for what it might come to,
  for as long as finished steps are missing. What is missing still, but is spelt in the code, is
  taken for hidden, not for lost.
- A new step with the name of one that is missing is that one under another identity: its work
  would be done again.
- An error after all memos is one that the record does not have, unless the run failed there.

A call that raises is repeated as its later attempts, since what code does may depend on that.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from inngest_sdk import transport
from inngest_sdk.client import Inngest, RegisteredHandler
from inngest_sdk.drive import drive
from inngest_sdk.effects import Outcome, Raised, Reported, invoke
from inngest_sdk.execution import Execution
from inngest_sdk.http import Request, Response, dumps
from inngest_sdk.invocation import FunctionCall
from inngest_sdk.middleware import Middleware, MiddlewareSync, StepMemos, UninitializedMiddleware
from inngest_sdk.source import ids_of, source_of
from inngest_sdk.wire import Call
from inngest_serverless.cli.traces import Trace, TracedStep

DEFAULT_RETRIES = 4  # the server's, of a function that does not say
MADE_UP = 100  # steps that a replay goes through with null at most
NOT_SENT = "00000000000000000000000000"  # the id of an event that is not sent


class Verdict(Enum):
    """What today's code makes of runs; the later, the worse."""

    SAFE = "safe"
    NEW = "only new steps"
    ORPHANS = "orphans"
    RERUN = "would re-run"
    FAILS = "fails"
    GONE = "gone"


@dataclass(frozen=True)
class Compared:
    """What became of one run, or of several of a function. The texts are names of steps, those of
    `fails` are errors. `hidden` are steps behind new ones, which are probably still reached."""

    gone: bool = False
    fails: tuple[str, ...] = ()
    reruns: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of it."""
        found = {
            Verdict.GONE: self.gone,
            Verdict.FAILS: self.fails,
            Verdict.RERUN: self.reruns,
            Verdict.ORPHANS: self.orphans,
            Verdict.NEW: self.new,
        }
        return next((verdict for verdict, there in found.items() if there), Verdict.SAFE)

    def __or__(self, other: Compared) -> Compared:
        """What became of the runs of both."""
        return Compared(
            self.gone or other.gone,
            _merged(self.fails, other.fails),
            _merged(self.reruns, other.reruns),
            _merged(self.orphans, other.orphans),
            _merged(self.new, other.new),
            _merged(self.hidden, other.hidden),
        )


def _merged(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def compare(client: Inngest, trace: Trace) -> Compared:
    """Replay a run with today's code. Runs no step, sends no event, and asks nobody anything,
    as far as it is for us; what user code does between steps it does."""
    handler = client.handler_for(trace.function_id)
    if handler is None:
        return Compared(gone=True)
    with _quiet(client) as quiet:
        return _Replay(quiet, handler, trace).compare()


@dataclass(frozen=True)
class _Seen:
    """How far code came with some memos: the steps that it reached, those that it would have the
    server know of, and its error."""

    reached: frozenset[str]
    planned: tuple[TracedStep, ...]
    error: Exception | None


class _Replay:
    """The replays of one run, and what they have told so far."""

    def __init__(self, client: Inngest, handler: RegisteredHandler, trace: Trace) -> None:
        self._client = client
        self._handler = handler
        self._trace = trace
        self._recorded = {step.hashed: step for step in (*trace.finished, *trace.open)}
        self._ops: dict[str, str] = {}
        self._new: dict[str, TracedStep] = {}

    def compare(self) -> Compared:
        memos: dict[str, str] = {}
        for step in self._trace.finished:
            self._note(self._play(memos))
            memos[step.hashed] = self._trace.memos[step.hashed]
        last = self._play(memos)
        self._note(last, at_end=True)
        errors = self._changed_kinds()
        missing = self._missing(last)
        if last.error is not None:
            if self._is_new_error(missing):
                errors.append(f"{type(last.error).__name__}: {last.error}")
            return self._compared(errors, [], [])
        lost, hidden = self._look_behind(memos, last) if last.planned else (missing, [])
        return self._compared(errors, lost, hidden)

    def _play(self, memos: Mapping[str, str]) -> _Seen:
        seen = self._play_attempt(memos, 0)
        for attempt in range(1, self._attempts):
            if seen.error is None:
                break
            seen = self._play_attempt(memos, attempt)
        return seen

    def _play_attempt(self, memos: Mapping[str, str], attempt: int) -> _Seen:
        return _play(self._client, self._handler, self._trace, memos, attempt, self._attempts)

    @property
    def _attempts(self) -> int:
        retries = self._handler.function.options.retries
        return 1 + (DEFAULT_RETRIES if retries is None else retries)

    def _note(self, seen: _Seen, *, at_end: bool = False) -> None:
        self._ops |= {step.hashed: step.op for step in seen.planned}
        unknown = self._unknown(seen)
        alone = len(unknown) == len(seen.planned)
        if self._trace.status == "Completed" if at_end else alone:
            self._new |= {step.hashed: step for step in unknown}

    def _unknown(self, seen: _Seen) -> list[TracedStep]:
        return [step for step in seen.planned if step.hashed not in self._recorded]

    def _missing(self, seen: _Seen) -> list[TracedStep]:
        return [step for step in self._trace.finished if step.hashed not in seen.reached]

    def _changed_kinds(self) -> list[str]:
        pairs = ((step, self._ops.get(step.hashed, step.op)) for step in self._trace.finished)
        return [
            f"step {step.name!r} was a {step.op} and is a {op} now, which cannot read its value"
            for step, op in pairs
            if step.op and _memo_kind(op) != _memo_kind(step.op)
        ]

    def _is_new_error(self, missing: list[TracedStep]) -> bool:
        if self._trace.status == "Completed" or missing:
            return True
        # What it would have come to next is not recorded, but it was waiting, not failing.
        return bool(self._trace.open) and self._trace.status == "Running"

    def _look_behind(
        self, memos: Mapping[str, str], seen: _Seen
    ) -> tuple[list[TracedStep], list[TracedStep]]:
        """What is missing when new steps come to null: what is lost, and what stays hidden."""
        known, missing = dict(memos), self._missing(seen)
        while missing and seen.error is None and len(known) < len(memos) + MADE_UP:
            unknown = self._unknown(seen)
            if not unknown:
                return missing, []  # the function has ended, or waits for what is recorded
            self._new |= {step.hashed: step for step in unknown}
            known |= {step.hashed: _null(step.op) for step in unknown}
            seen = self._play(known)
            missing = [step for step in missing if step.hashed not in seen.reached]
        spelt = _spelt(self._handler, missing) if missing else set()
        return (
            [step for step in missing if step.hashed not in spelt],
            [step for step in missing if step.hashed in spelt],
        )

    def _compared(
        self, errors: list[str], lost: list[TracedStep], hidden: list[TracedStep]
    ) -> Compared:
        again = {step.name for step in lost} & {step.name for step in self._new.values()}
        return Compared(
            fails=tuple(errors),
            reruns=_names(step for step in lost if step.name in again),
            orphans=_names(step for step in lost if step.name not in again),
            new=_names(step for step in self._new.values() if step.name not in again),
            hidden=_names(hidden),
        )


def _names(steps: Iterable[TracedStep]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(step.name for step in steps))


def _spelt(handler: RegisteredHandler, steps: list[TracedStep]) -> set[str]:
    """The hashes of those steps whose id stands in the code, or begins as a text in it does that
    ends like the fixed part of an id: "charge-"."""
    texts = source_of(handler.callable).texts
    begun = tuple(text for text in texts if len(text) > 1 and text[-1] in "-_:/. ")
    whole = ids_of([step.hashed for step in steps], texts)
    return {*whole, *(step.hashed for step in steps if step.name.startswith(begun))}


def _memo_kind(op: str) -> str:
    """Ops whose memos have the same form (wire.md A10) have the same kind."""
    return op if op in ("Sleep", "WaitForEvent", "WaitForSignal") else "value"


def _null(op: str) -> str:
    return '{"data":null}' if _memo_kind(op) == "value" else "null"


# ── one call ─────────────────────────────────────────────────────────────────────────────────────


def _play(
    client: Inngest,
    handler: RegisteredHandler,
    trace: Trace,
    memos: Mapping[str, str],
    attempt: int,
    attempts: int,
) -> _Seen:
    call = Call(
        run_id=trace.run_id,
        attempt=attempt,
        max_attempts=attempts,
        event=trace.events[0],
        events=trace.events,
        # Made anew each time: middleware and user code may change what they are given.
        steps={hashed: json.loads(text) for hashed, text in memos.items()},
        stack=tuple(memos),
        planning=True,
    )
    executions: list[Execution] = []
    function = handler.function
    inputs_only = tuple(map(_only_input, function.middleware))
    watched = (*inputs_only, _watching(executions))
    handler = replace(handler, function=replace(function, middleware=watched))
    outcome = drive(invoke(FunctionCall(client, handler, call, None)))
    reached = frozenset(executions[0].reached) if executions else frozenset()
    return _Seen(reached, _planned(outcome), outcome.error if isinstance(outcome, Raised) else None)


def _planned(outcome: Outcome) -> tuple[TracedStep, ...]:
    if not isinstance(outcome, Reported):
        return ()
    return tuple(TracedStep(op["id"], op["displayName"], op["op"]) for op in outcome.ops)


def _watching(executions: list[Execution]) -> UninitializedMiddleware:
    """Middleware that gets hold of the execution of its call."""

    class Watching(MiddlewareSync):
        def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
            executions.append(ctx.inside.execution)

    return Watching


def _only_input(make: UninitializedMiddleware) -> UninitializedMiddleware:
    """Middleware of which only `transform_input` is left: it makes memos readable. The other hooks
    tell the world of what happens, and nothing does."""

    def made(client: Any, raw_request: object) -> Middleware | MiddlewareSync:
        inner = make(client, raw_request)
        is_async = isinstance(inner, Middleware)
        return _AsyncInput(inner) if is_async else _SyncInput(inner)

    return made


class _SyncInput(MiddlewareSync):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
        self._inner.transform_input(ctx, function, steps)


class _AsyncInput(Middleware):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
        await self._inner.transform_input(ctx, function, steps)


@contextmanager
def _quiet(client: Inngest) -> Iterator[Inngest]:
    """The client, without what its replays would log or tell its middleware. Within, requests of
    this package do not leave the process, whichever client of the app they come from."""
    quiet = copy.copy(client)
    quiet.middleware = list(map(_only_input, client.middleware))
    quiet.set_logger(_SILENT)
    kept = transport.send, transport.send_async
    # User code sends through its own client, between steps too: this is the one way out.
    transport.__dict__.update(send=_answer, send_async=_answer_async)
    try:
        yield quiet
    finally:
        transport.__dict__.update(send=kept[0], send_async=kept[1])


def _answer(request: Request, timeout: float) -> Response:
    """What a server would say to events and messages; it has no answer to anything else."""
    if "/e/" in request.url:
        return Response(200, {}, dumps({"ids": [NOT_SENT] * len(json.loads(request.body))}))
    if "/v1/realtime/publish" in request.url:
        return Response(200, {}, dumps({}))
    return Response(403, {}, dumps({"error": "nobody is asked while runs are replayed"}))


async def _answer_async(request: Request, timeout: float) -> Response:
    return _answer(request, timeout)


_SILENT = logging.Logger("inngest.check-replay", logging.CRITICAL + 1)
