"""One call of a function: replay what is known, run what is new, leave early.

The server calls the same function again and again; each call knows the results of the steps that
have finished ("memos"). User code always runs from its top. A step with a memo returns it at once;
the first step without one is run, or planned, and then the call ends: its report goes to the
server, which calls again. User code is left through `Interrupt`, a BaseException that a plain
`except Exception` lets pass. It is raised by `interrupt()` and caught in `SyncExecution.run`, and
nowhere else; async functions are left by cancelling their task (see `parallel`).

What to do with a step is decided by one table, `decide`:

    memo         target       planning    verdict
    value        any          any         Replay(value)
    error        any          any         Fail(error)
    none/input   this step    any         Execute, or Report if the server does its work
    none/input   another      any         Hold: it is that step's call, not this one's
    none/input   none         yes         Report (as planned)
    none/input   none         no          Execute, or Report if the server does its work

`Execute` without a target holds only if the step is alone: two or more new steps are all reported
as planned, and the server then calls once for each (wire.md A15).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from threading import get_ident
from typing import Any, NoReturn, TypeAlias, TypeVar

from inngest_sdk import wire
from inngest_sdk.asks import Ask
from inngest_sdk.checkpoint import Checkpoints
from inngest_sdk.effects import Driver, Flow, Outcome, Raised, Reported, Returned
from inngest_sdk.errors import (
    FunctionConfigInvalidError,
    InterruptSwallowedError,
    NonRetriableError,
    StepElsewhereError,
    StepError,
    StepNestedError,
    StepNotFoundError,
)
from inngest_sdk.failure import error_from, error_json, retry_after, user_error, whole
from inngest_sdk.http import dumps
from inngest_sdk.middleware import Hooks, call_hooks
from inngest_sdk.policy import may_retry, tries
from inngest_sdk.steps import Op, StepId, StepIds, op_json

T = TypeVar("T")

MAX_STEPS = 1_000  # of one run (wire.md T12)

_step_running: ContextVar[Found | None] = ContextVar("inngest_step_running", default=None)
_parallel_mode: ContextVar[str | None] = ContextVar("inngest_parallel_mode", default=None)


class Interrupt(BaseException):
    """Ends this call of the function; not an error. The run goes on in the next call.

    If you see this in your code, let it pass: catch `Exception`, not `BaseException`, around steps.
    """

    def __init__(self) -> None:
        super().__init__((self.__doc__ or "").strip())


@dataclass(frozen=True)
class Replay:
    """The step has finished: give its value."""

    value: Any


@dataclass(frozen=True)
class Fail:
    """The step has failed for good: raise its error."""

    error: StepError


@dataclass(frozen=True)
class Execute:
    """Run the step now; `arguments` replace the code's when they were edited on the server."""

    arguments: list[Any] | None = None


@dataclass(frozen=True)
class Report:
    """Tell the server of the step."""


@dataclass(frozen=True)
class Hold:
    """The step is not this call's business."""


Verdict: TypeAlias = Replay | Fail | Execute | Report | Hold


def decide(
    op: Op, hashed: str, memos: Mapping[str, Any], *, target: str | None, planning: bool
) -> Verdict:
    """What to do with a step; the table at the head of this file. A step at_most_once is always
    `planning`: only in a call of its own does the number of the attempt tell whether it has begun
    before."""
    memo = memos.get(hashed)
    edited = _edited(memo)
    if hashed in memos and edited is None:
        return _replay(op, memo)
    if target is not None and target != hashed:
        return Hold()
    if not op.runs_here or (planning and target is None):
        return Report()
    return Execute(edited)


def _edited(memo: object) -> list[Any] | None:
    """The arguments that somebody edited on the server: not a result (wire.md A10)."""
    if isinstance(memo, dict) and memo.keys() == {"input"} and isinstance(memo["input"], list):
        return memo["input"]
    return None


def _replay(op: Op, memo: Any) -> Verdict:
    # A wait's memo is the event itself, whatever keys it has; a sleep's is null (wire.md A10).
    if op.kind in ("Sleep", "WaitForEvent") or not isinstance(memo, dict):
        return Replay(memo)
    if memo.get("error") is not None:
        return Fail(error_from(memo["error"]))
    return Replay(memo["data"]) if "data" in memo else Replay(memo)


@dataclass(frozen=True)
class Found:
    """A step that user code has reached: who it is, what it asks, what becomes of it."""

    step: StepId
    ask: Ask
    verdict: Verdict = field(default_factory=Hold)

    def json(self, kind: str, **outcome: Any) -> dict[str, Any]:
        """The step as an op that travels."""
        return op_json(self.step, self.ask.op, kind, self.ask.options.name, **outcome)


@dataclass(frozen=True)
class Ran:
    """What a step that ran came to: its value as the server is told it, and as JSON text that the
    function goes on with."""

    told: Any
    text: bytes


@dataclass(frozen=True)
class Kept:
    """The value of a step that has run, where the function goes on in the same call."""

    value: Any


Attempt: TypeAlias = Callable[[Found, "list[Any] | None"], Hooks[Ran]]
"""Runs a step, with the arguments that were edited on the server, if they were."""


class Execution:
    """The state of one call, shared by sync and async functions."""

    def __init__(
        self,
        call: wire.Call,
        target: str | None,
        attempt: Attempt,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.call = call
        self.target = target
        self.checkpoints = checkpoints
        self.rank: dict[str, int] = {
            hashed: place for place, hashed in enumerate(self._replay_order(call))
        }
        self.interrupted = False
        self.reached: dict[str, str] = {}  # names by hash
        self.reports: list[dict[str, Any]] = []
        self.held: list[Found] = []
        self.retry_after: str | None = None
        self.error: Exception | None = None
        self.check_result: Callable[[object], object] = dumps
        self.attempt = attempt
        self.unreached: set[str] = {
            key for key, memo in call.steps.items() if _edited(memo) is None
        }
        self._unread = set(self.unreached)
        self._known_steps = len(call.steps)
        self._text = b""
        self._ids = StepIds()

    @staticmethod
    def _replay_order(call: wire.Call) -> list[str]:
        # The stack tells the order in which steps finished; of steps outside it (large state
        # fetched from the API) the order of the keys is all there is (wire.md T21).
        stacked = dict.fromkeys(hashed for hashed in call.stack if hashed in call.steps)
        return [*stacked, *(hashed for hashed in call.steps if hashed not in stacked)]

    @property
    def replaying(self) -> bool:
        """Whether user code is doing what an earlier call has done: it has finished steps before
        it, or is only on its way to the step that this call is for."""
        if _step_running.get() is not None:
            return False
        return bool(self._unread) or self.target is not None

    def find(self, ask: Ask) -> Found:
        """Note that user code has reached a step, and decide what becomes of it."""
        name = ask.options.id
        if self.interrupted:
            interrupt()
        if (outer := _step_running.get()) is not None:
            raise StepNestedError(
                f"step {name!r} was called inside step {outer.step.name!r}. A step cannot contain "
                "steps: call it after the outer one, or move the code between them out of the step."
            )
        if not isinstance(name, str) or not name:
            raise FunctionConfigInvalidError(
                f"the id of a step is {name!r}; it takes a text that is not empty"
            )
        step = self._ids.next(name)
        self.reached[step.hashed] = name
        self.unreached.discard(step.hashed)
        planning = self.call.planning or ask.options.at_most_once
        verdict = decide(
            ask.op, step.hashed, self.call.steps, target=self.target, planning=planning
        )
        if step.hashed not in self.call.steps:
            self._count(name)
        return Found(step, _with_mode(ask), verdict)

    def _count(self, name: str) -> None:
        self._known_steps += 1
        if self._known_steps > MAX_STEPS:
            raise NonRetriableError(
                f"step {name!r} would be number {self._known_steps:,} of this run; the limit is "
                f"{MAX_STEPS:,}. Do more in one step, or give parts of the work to other functions "
                "(step.invoke, step.send_event)."
            )

    def has_read(self, found: Found) -> None:
        """User code is about to get the value, or the error, of a finished step."""
        self._unread.discard(found.step.hashed)

    def succeed(self, found: Found, ran: Ran) -> None:
        """Report that the step has run."""
        self._text = ran.text
        self.reports.append(found.json("StepRun", data=ran.told))

    def fail(self, found: Found, error: Exception) -> None:
        """Report that the step has failed: for good on the last attempt, else to be retried."""
        self.error = error
        chosen = found.ask.options
        plan = tries(chosen.retry, self.call.attempt, self.call.max_attempts)
        final = plan.last or chosen.at_most_once or not may_retry(error, chosen.retry)
        if not final:
            pause = chosen.retry.pause(plan.before + plan.here) if chosen.retry else None
            self.retry_after = retry_after(error) or (None if pause is None else whole(pause))
        kind = "StepFailed" if final else "StepError"
        self.reports.append(found.json(kind, error=error_json(error)))

    def plan(self, found: list[Found]) -> None:
        """Report steps as found; their bodies run in calls of their own."""
        self.reports += [each.json(each.ask.op.kind) for each in found]

    def lone(self, found: list[Found]) -> Found | None:
        """The step to run in this call: the targeted one, or the only new one."""
        runnable = [each for each in found if isinstance(each.verdict, Execute)]
        if self.target is not None or len(found) == 1:
            return runnable[0] if runnable else None
        return None

    def missing(self, found: list[Found]) -> StepNotFoundError:
        """The error for a targeted step that user code does not reach any more."""
        names = ", ".join(map(repr, self.reached.values())) or "no step at all"
        return StepNotFoundError(
            f"the server asked for a step (its hash is {self.target}) that the function does not "
            f"reach; it reaches {names}. Was the function changed while runs of it "
            "were open?",
            self.target or "",
            [each.step.hashed for each in found],
        )

    def returned(self, value: object) -> Outcome:
        """The outcome when user code ran to its end. A call for one step must not end the run:
        the server would take its answer for the function's."""
        return Returned(value) if self.target is None else Raised(self.missing(self.held))

    def outcome(self) -> Outcome:
        """What this call has to tell, once user code has been left."""
        if self.reports or self.target is None:
            return Reported(tuple(self.reports), self.retry_after, self.error)
        return Raised(self.missing(self.held))

    def begin(self) -> Flow[bool]:
        """A step is to run; False if there is no time left for it."""
        return True if self.checkpoints is None else (yield from self.checkpoints.begin_step())

    def end(self) -> Flow[Kept | None]:
        """A step has run and is reported. Its value, if the function may go on with it."""
        if self.checkpoints is None or self.reports[-1]["op"] != "StepRun":
            return None
        may_go_on = yield from self.checkpoints.end_step(self.reports.pop(), len(self._text))
        # Through JSON, so that the value is what every replay will see.
        return Kept(json.loads(self._text)) if may_go_on else None

    def conclude(self, outcome: Outcome) -> Flow[Outcome]:
        """The call's outcome, and what the server has not heard of."""
        if self.checkpoints is None:
            return outcome
        if isinstance(outcome, Returned) and self.checkpoints.buffer:
            try:
                self.check_result(outcome.value)
            except Exception as error:  # a result that cannot travel must not take steps with it
                outcome = Raised(error)
        return (yield from self.checkpoints.conclude(outcome))

    def swallowed(self, how: str) -> Raised:
        """The outcome when user code kept our interrupt for itself."""
        return Raised(
            InterruptSwallowedError(
                f"the function {how} after a step had ended this call: something around a step "
                "catches BaseException, or `except:` without a class. Catch Exception instead; "
                "what happens there is thrown away, and would happen again on every call."
            )
        )


def interrupt() -> NoReturn:
    """Leave user code. The one place that raises Interrupt."""
    raise Interrupt


def step_running() -> Found | None:
    """The step whose code runs here, None outside of steps."""
    return _step_running.get()


def _with_mode(ask: Ask) -> Ask:
    mode = _parallel_mode.get()
    if mode is None:
        return ask
    op = replace(ask.op, opts={**ask.op.opts, "parallelMode": mode})
    return replace(ask, op=op)


@contextmanager
def inside_step(found: Found) -> Generator[None, None, None]:
    """Marks the code within as a step's body, where other steps are refused."""
    token = _step_running.set(found)
    try:
        yield
    finally:
        _step_running.reset(token)


@contextmanager
def parallel_mode_of_steps(mode: str | None) -> Generator[None, None, None]:
    """Marks the steps reached within as members of a group with this `parallelMode`."""
    token = _parallel_mode.set(mode)
    try:
        yield
    finally:
        _parallel_mode.reset(token)


class SyncExecution(Execution):
    """One call of a sync function: steps run one after the other, in the caller's frame."""

    def __init__(
        self,
        call: wire.Call,
        target: str | None,
        attempt: Attempt,
        drive: Driver,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        super().__init__(call, target, attempt, checkpoints)
        self.do_something_new: Callable[[], None] = lambda: None
        self._drive = drive
        self._thread = get_ident()
        self._depth = 0

    def run(self, handler: Callable[[], Any]) -> Outcome:
        """Run user code to its outcome."""
        return self._drive(self.conclude(self._run(handler)))

    def _run(self, handler: Callable[[], Any]) -> Outcome:
        # The one place, with `_branch`, that catches Interrupt.
        try:
            value = handler()
        except Interrupt:
            return self.outcome()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if self.interrupted:
                return self.swallowed(f"raised {type(error).__name__}")
            return Raised(user_error(error))
        return self.swallowed("went on") if self.interrupted else self.returned(value)

    def step(self, ask: Ask) -> Any:
        """Reach a step: give its value, raise its error, or end the call."""
        if get_ident() != self._thread:
            raise StepElsewhereError(
                f"step {ask.options.id!r} was called on another thread: call steps where the "
                "function itself runs (side by side: ctx.group.parallel), and do the work of the "
                "thread inside a step"
            )
        found = self.find(ask)
        if isinstance(found.verdict, Replay | Fail):
            self.has_read(found)
        else:
            self.do_something_new()
        match found.verdict:
            case Replay(value):
                return value
            case Fail(error):
                raise error
            case Execute() if self._depth == 0 or self.target is not None:
                return self._run_here(found)
            case _:
                self.held.append(found)
                if self._depth == 0:
                    self._settle()
                interrupt()

    def _run_here(self, found: Found) -> Any:
        if not self._drive(self.begin()):
            self.plan([found])
            self._leave()
        self._execute(found)
        kept = self._drive(self.end())
        if kept is None:
            self._leave()
        return kept.value

    def parallel(self, callables: tuple[Callable[[], T], ...]) -> tuple[T, ...]:
        """Reach several steps that do not wait for each other."""
        results: list[T] = []
        errors: list[Exception] = []
        held_before = len(self.held)
        self._depth += 1
        try:
            for each in callables:
                self._branch(each, results, errors)
        finally:
            self._depth -= 1
        if len(self.held) > held_before:
            # What was found goes first; an error is raised again once nothing is open.
            if self._depth == 0:
                self._settle()
            interrupt()
        if errors:
            raise errors[0]
        return tuple(results)

    def _branch(self, each: Callable[[], T], results: list[T], errors: list[Exception]) -> None:
        try:
            results.append(each())
        except Interrupt:
            if self.interrupted:
                raise
        except Exception as error:
            errors.append(error)

    def _settle(self) -> NoReturn:
        """Nothing more can move: run the lone new step, or report all that were found."""
        if (lone := self.lone(self.held)) is not None:
            self._execute(lone)
        elif self.target is None:
            self.plan(self.held)
        elif reports := [each for each in self.held if isinstance(each.verdict, Report)]:
            self.plan(reports)
        self._leave()

    def _leave(self) -> NoReturn:
        self.interrupted = True
        interrupt()

    def _execute(self, found: Found) -> None:
        assert isinstance(found.verdict, Execute)
        try:
            with inside_step(found):
                ran = call_hooks(self.attempt(found, found.verdict.arguments))
        except (Interrupt, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.fail(found, user_error(error))
        else:
            self.succeed(found, ran)
