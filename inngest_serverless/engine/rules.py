"""What a run does next. Pure: state and happening in, changes out; time and ids are handed in.

Discovery. The app is called for the function itself (a *discovery*) and says what it found: steps
it ran, steps it plans, waits. Each saved step schedules the next discovery, whose `current` is the
place of that step in the stack. An answer of several ops, one of them not finished yet, opens a
*section*: its ids are `pending`, calls plan only (`planning`), and

    request version >= 2    one discovery when the last of the section has finished
    the same, racing        a discovery after each, for the code that awaits the first
    request version < 2     a discovery after each; the app answers [] to those that are too early

Nothing here waits for luck: whoever applies the changes asks `Stuck` when a reply left a run with
no job and no wait, and gets one more discovery, then a failed attempt that says so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Final, Literal
from urllib.parse import urlsplit

from inngest_serverless.engine import expressions, notices, ops
from inngest_serverless.engine.changes import (
    FUNCTION,
    UNKNOWN_VERSION,
    Cancelled,
    Change,
    Checkpointed,
    EventEmitted,
    Facts,
    Happening,
    Job,
    JobDone,
    JobQueued,
    JobRetried,
    Pause,
    PauseLifted,
    PauseMuted,
    PauseSet,
    Recorded,
    Replied,
    Resumed,
    RunEnded,
    RunProgressed,
    RunScheduled,
    RunState,
    StepSaved,
    Stuck,
    Woke,
)
from inngest_serverless.engine.durations import DAY_MS
from inngest_serverless.engine.ids import job_id
from inngest_serverless.engine.model import (
    JSON,
    Event,
    Failed,
    Fetched,
    Finished,
    FunctionConfig,
    GatewayRequest,
    Ops,
    Outcome,
    TimelineRow,
)
from inngest_serverless.engine.retry import retry_ms

JSON_TEXT: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
MAX_STEPS: Final = 1000
MAX_STATE_BYTES: Final = 32 * 1024 * 1024
COALESCING: Final = 2
"""The request version from which a section ends in one discovery."""
TOLERANCE_MS: Final = 5000
"""How long before a wait an event may have come (engine.md 2.6)."""
CANCEL_MS: Final = 365 * DAY_MS
INVOKE_TIMEOUT: Final = "Timed out waiting for invoked function to complete"
ENDED: Final = ("Completed", "Failed", "Cancelled")


def schedule(
    function: FunctionConfig,
    events: Sequence[Event],
    facts: Facts,
    *,
    cron: str | None = None,
    slots: tuple[tuple[str, int], ...] = (),
    due_ms: int = 0,
    start_timeout_ms: int | None = None,
) -> list[Change]:
    """A new run for these events: now, or when `due_ms` and the event's `ts` are reached."""
    run_id, first = facts.new_id(), events[0]
    due_ms = max(facts.now_ms, due_ms, first.ts if len(events) == 1 else 0)
    start = Job(job_id(run_id, "start"), "call", run_id, due_ms, created_ms=facts.now_ms)
    correlation = notices.correlation_id(first)
    run = RunScheduled(run_id, function, tuple(events), facts.now_ms, cron, correlation, slots)
    if len(events) > 1 or "batchEvents" in function.config:
        return [run, JobQueued(start)]
    patience = deadline(run_id, "start", start_timeout_ms, facts.now_ms)
    return [run, JobQueued(start), *patience, *_cancel_pauses(run, facts)]


def deadline(run_id: str, what: str, timeout_ms: int | None, now_ms: int) -> list[Change]:
    """The timer that cancels a run that does not start, or finish, in time."""
    if timeout_ms is None:
        return []
    id = job_id(run_id, "deadline", what)
    detail = {"what": what}
    job = Job(id, "deadline", run_id, now_ms + timeout_ms, created_ms=now_ms, detail=detail)
    return [JobQueued(job)]


def step(state: RunState, happening: Happening, facts: Facts) -> list[Change]:
    """What changes because of this. A run that has ended changes no more."""
    if state.status in ENDED:
        return []
    decision = Decision(state, facts)
    match happening:
        case Replied(job, reply):
            decision.job = job
            _replied(decision, job, reply)
        case Checkpointed():
            _checkpointed(decision, happening)
        case Woke(job):
            decision.woke(job)
        case Resumed():
            decision.resumed(happening)
        case Cancelled():
            decision.end("Cancelled", {})
        case Stuck(job):
            _stuck(decision, job)
    return decision.changes()


def may_resume(pause: Pause, event: Event, run_events: Sequence[str], now_ms: int) -> bool:
    """Whether this event ends this wait. A run's own trigger never does."""
    if event.received_ms < pause.created_ms - TOLERANCE_MS or event.internal_id in run_events:
        return False
    return pause.expires_ms > now_ms and _satisfied(pause, event, now_ms)


def may_cancel(pause: Pause, event: Event, now_ms: int) -> bool:
    """Whether this event cancels the run that listens for it. Only an event newer than it can."""
    if event.internal_id <= pause.run_id or pause.expires_ms <= now_ms:
        return False
    return _satisfied(pause, event, now_ms)


def _satisfied(pause: Pause, event: Event, now_ms: int) -> bool:
    if pause.expression is None:
        return True
    return expressions.satisfies(pause.expression, pause.bound, event.to_json(), now_ms)


class Decision:
    """Changes in the making. It keeps where the run stands while several ops are gone through."""

    def __init__(self, state: RunState, facts: Facts) -> None:
        self.state: RunState = state
        self.facts: Facts = facts
        self.made: list[Change] = []
        self.version: int = state.version
        self.planning: bool = state.planning
        self.racing: bool = state.racing
        self.pending: set[str] = set(state.pending)
        self.stored: set[str] = set(state.stored)
        self.signals: dict[str, str] = dict(state.signals)
        self.step_count: int = state.step_count
        self.state_bytes: int = state.state_bytes
        self.discover_after: str | None = None
        self.job: Job | None = None
        self.ended: bool = False

    def changes(self) -> list[Change]:
        """All of it, the next discovery included."""
        if self.ended:
            return self.made
        now = (self.version, self.planning, frozenset(self.pending), self.racing)
        before = self.state
        if now != (before.version, before.planning, before.pending, before.racing):
            self.made.append(RunProgressed(before.run_id, *now))
        if self.discover_after is not None:
            self.discover(self.discover_after)
        return self.made

    def open_section(self, step_ids: Sequence[str], racing: bool) -> None:
        """Several ops at once: their ids are pending until they finish."""
        self.pending |= set(step_ids) - self.stored
        self.racing = racing or (self.racing and bool(self.pending))

    def save(self, step_id: str, value: JSON) -> None:
        """A step has finished. One that had is left as it was."""
        if step_id in self.stored or self.ended:
            return
        text = JSON_TEXT(value)
        self.stored.add(step_id)
        self.step_count += 1
        self.state_bytes += len(text.encode())
        if self.step_count > MAX_STEPS:
            message = f"a run has at most {MAX_STEPS} steps"
            return self.fail("InngestErrFunctionOverflowed", message)
        if self.state_bytes > MAX_STATE_BYTES:
            message = f"the steps of a run hold at most {MAX_STATE_BYTES} bytes"
            return self.fail("InngestErrStateOverflowed", message)
        self.made.append(StepSaved(self.state.run_id, step_id, text))
        return self._finish(step_id)

    def _finish(self, step_id: str) -> None:
        """Whether this completion calls for a discovery, and whether its section is over."""
        in_section = step_id in self.pending
        self.pending.discard(step_id)
        if self.version < COALESCING or self.racing or not in_section or not self.pending:
            self.discover_after = step_id
        if self.version < COALESCING or self.pending:
            return
        # The discoveries of a race are all planning ones, the last too: several may be under way
        # with the same stack, and none may run the step after the section.
        self.planning = self.racing
        self.racing = False

    def discover(self, key: str, redrives: int = 0) -> None:
        """Call the function again, at once."""
        now_ms, run_id = self.facts.now_ms, self.state.run_id
        job = Job(
            job_id(run_id, "discovery", key),
            "call",
            run_id,
            now_ms,
            created_ms=now_ms,
            current=self.step_count,
            detail={"redrives": redrives} if redrives else {},
        )
        self.made.append(JobQueued(job))

    def end(
        self,
        status: Literal["Completed", "Failed", "Cancelled"],
        output: JSON,
        error: dict[str, JSON] | None = None,
    ) -> None:
        """The run is over, and whoever cares is told."""
        self.ended = True
        if self.job is not None:
            self.made.append(JobDone(self.job.job_id))
        end = RunEnded(self.state.run_id, status, output, self.facts.now_ms)
        told = notices.ended(self.state, end, error, self.facts)
        self.made += [end, *map(EventEmitted, told)]

    def fail(self, name: str, message: str) -> None:
        """The run fails by the engine's own judgement."""
        error = {"error": f"{name}: {message}", "name": name, "message": message}
        self.end("Failed", {"error": error}, error)

    def woke(self, job: Job) -> None:
        """A sleep is over."""
        self.made.append(JobDone(job.job_id))
        self._record_wait("Sleep", job.step_id, job.name, job.created_ms, None, job.detail)
        self.save(job.step_id, None)

    def fetched(self, job: Job, value: JSON) -> None:
        """A request that was made for the app has its answer."""
        self.made.append(JobDone(job.job_id))
        self.record(job, job.detail["op"], job.step_id, job.name, detail=job.detail["about"])
        self.save(job.step_id, value)

    def resumed(self, happening: Resumed) -> None:
        """A wait is over."""
        pause = happening.pause
        self.made += [PauseLifted(pause.pause_id), JobDone(pause.pause_id)]
        self._record_resumed(happening)
        self.save(pause.step_id, happening.value)

    def record(self, job: Job, kind: str, step_id: str, name: str, **result: JSON) -> None:
        """One attempt, done: with an `output`, or with an `error`."""
        row = TimelineRow(
            step_id=step_id,
            name=name,
            kind=kind,
            status="Failed" if result.get("error") is not None else "Completed",
            attempt=job.attempt,
            started_ms=job.claimed_ms or self.facts.now_ms,
            ended_ms=self.facts.now_ms,
            **result,
        )
        self.made.append(Recorded(self.state.run_id, row))

    def _record_resumed(self, happening: Resumed) -> None:
        pause, value = happening.pause, happening.value
        detail = {**pause.detail, **happening.detail}
        error = value.get("error") if pause.kind == "invoke" and isinstance(value, dict) else None
        status: Literal["Completed", "TimedOut", "Failed"] = "Completed"
        if happening.timed_out:
            status = "TimedOut"
        elif error is not None:
            status = "Failed"
        kind = PAUSE_OPS[pause.kind]
        self._record_wait(kind, pause.step_id, pause.name, pause.created_ms, error, detail, status)

    def _record_wait(
        self,
        kind: str,
        step_id: str,
        name: str,
        started_ms: int,
        error: JSON,
        detail: dict[str, JSON],
        status: Literal["Completed", "TimedOut", "Failed"] = "Completed",
    ) -> None:
        now_ms = self.facts.now_ms
        row = TimelineRow(step_id, name, kind, status, 0, started_ms, now_ms, None, error, detail)
        self.made.append(Recorded(self.state.run_id, row))


PAUSE_OPS: Final = {
    "event": "WaitForEvent",
    "invoke": "InvokeFunction",
    "signal": "WaitForSignal",
    "cancel": "CancelOn",
}


def timeout(pause: Pause) -> Resumed:
    """How a wait ends when nothing came."""
    if pause.kind != "invoke":
        return Resumed(pause, None, timed_out=True)
    name = "InngestInvokeTimeoutError"
    error = {"error": f"{name}: {INVOKE_TIMEOUT}", "name": name, "message": INVOKE_TIMEOUT}
    return Resumed(pause, {"error": error}, timed_out=True)


def _replied(decision: Decision, job: Job, reply: Outcome) -> None:
    match reply:
        case Fetched(value):
            decision.fetched(job, value)
        case Failed() if job.kind == "gateway":
            _fetch_failed(decision, job, reply)
        case Finished(output):
            decision.record(job, "Function", FUNCTION, decision.state.function.name, output=output)
            decision.end("Completed", output)
        case Failed():
            _attempt_failed(decision, job, reply)
        case Ops():
            _reported(decision, job, reply)


def _attempt_failed(decision: Decision, job: Job, reply: Failed) -> None:
    """A call failed as a whole: again, or the run has failed (engine.md 2.2)."""
    targeted = job.step_id != FUNCTION
    kind = "StepRun" if targeted else "Function"
    name = job.name if targeted else decision.state.function.name
    decision.record(job, kind, job.step_id, name, error=reply.error)
    if reply.retriable and job.attempt < decision.state.function.retries:
        _retry(decision, job, reply.error, reply.retry_at_ms, broken=None)
    else:
        decision.end("Failed", reply.output, reply.error)


def _fetch_failed(decision: Decision, job: Job, reply: Failed) -> None:
    """A request failed: again, or its step has failed, for user code to catch (engine.md 3.4)."""
    op = job.detail["op"]
    error = ops.step_error({**reply.error, "name": f"{op}Error"})
    decision.record(job, op, job.step_id, job.name, error=error, detail=job.detail["about"])
    if reply.retriable and job.attempt < decision.state.function.retries:
        return _retry(decision, job, error, reply.retry_at_ms, broken=None)
    decision.made.append(JobDone(job.job_id))
    return decision.save(job.step_id, {"error": error})


def _retry(
    decision: Decision,
    job: Job,
    error: dict[str, JSON],
    retry_at_ms: int | None,
    *,
    broken: ops.StepBroke | None,
) -> None:
    """The same call again later; it remembers which step broke, for whoever looks at it."""
    facts = decision.facts
    detail = {key: value for key, value in job.detail.items() if key != "broken"}
    if broken is not None:
        step = {"step_id": broken.step_id, "name": broken.name, "kind": broken.kind}
        detail["broken"] = step
    due_ms = retry_ms(
        job.attempt,
        facts.now_ms,
        jitter=facts.jitter,
        at_ms=retry_at_ms,
        interval_ms=facts.retry_interval_ms,
    )
    again = replace(
        job,
        due_ms=due_ms,
        attempt=job.attempt + 1,
        generation=job.generation + 1,
        claimed_ms=None,
        error=error,
        detail=detail,
    )
    decision.made.append(JobRetried(again))


def _bad_reply(decision: Decision, job: Job, message: str) -> None:
    error = {"error": message, "name": "Error", "message": message}
    _attempt_failed(decision, job, Failed(error, {"error": error}))


def _reported(decision: Decision, job: Job, reply: Ops) -> None:
    """The app reported ops (engine.md 2.4)."""
    if len(reply.ops) > MAX_STEPS:
        return decision.fail(
            "InngestErrFunctionOverflowed", f"more than {MAX_STEPS} ops in one response"
        )
    try:
        found = ops.parse(reply.ops, decision.facts.now_ms)
    except ops.BadOp as error:
        return _bad_reply(decision, job, str(error))
    except ops.FatalOp as error:
        return decision.fail(error.name, str(error))
    if decision.version == UNKNOWN_VERSION:
        decision.version = reply.request_version
    if len(found) > 1:
        _open_section(decision, reply)
    return _apply(decision, job, reply, found)


def _checkpointed(decision: Decision, happening: Checkpointed) -> None:
    """Steps are saved while their call goes on; it, and not a new discovery, does what follows."""
    for op in ops.parse(happening.ops, decision.facts.now_ms):
        if isinstance(op, ops.StepDone):
            _apply_result(decision, happening.job, op)
        elif not isinstance(op, ops.Planned):
            raise ops.BadOp(f"a checkpoint takes steps that ran, not {type(op).__name__}")
    decision.discover_after = None


def _open_section(decision: Decision, reply: Ops) -> None:
    decision.planning = True
    if decision.version >= COALESCING and ops.is_parallel(reply.ops):
        decision.open_section(ops.step_ids(reply.ops), ops.is_race(reply.ops))


def _apply(decision: Decision, job: Job, reply: Ops, found: Sequence[ops.Op]) -> None:
    retrying = [op for op in found if _is_retried(decision, job, reply, op)]
    if not retrying:
        decision.made.append(JobDone(job.job_id))
    for op in found:
        if not decision.ended and op not in retrying:
            _apply_op(decision, job, op)
    for op in retrying[:1]:
        if not decision.ended and isinstance(op, ops.StepBroke):
            decision.record(job, op.kind, op.step_id, op.name, error=op.error)
            _retry(decision, job, op.error, reply.retry_at_ms, broken=op)
            if job.step_id == FUNCTION:
                decision.discover_after = None  # the retry is one


def _is_retried(decision: Decision, job: Job, reply: Ops, op: ops.Op) -> bool:
    """Whether a step error leaves attempts; the last one is kept, for user code to catch."""
    if not isinstance(op, ops.StepBroke) or op.final or op.step_id in decision.stored:
        return False
    return reply.retriable and job.attempt < decision.state.function.retries


def _apply_op(decision: Decision, job: Job, op: ops.Op) -> None:
    match op:
        case ops.Complete(output):
            decision.record(job, "Function", FUNCTION, decision.state.function.name, output=output)
            decision.end("Completed", output)
        case ops.Discover():
            decision.discover(f"asked:{job.job_id}")
        case ops.StepDone() | ops.StepBroke():
            _apply_result(decision, job, op)
        case _ if op.step_id not in decision.stored and op.step_id not in decision.state.waiting:
            _apply_wait(decision, job, op)


def _apply_result(decision: Decision, job: Job, op: ops.StepDone | ops.StepBroke) -> None:
    if op.step_id in decision.stored:
        return
    if isinstance(op, ops.StepDone):
        decision.record(job, op.kind, op.step_id, op.name)
        decision.save(op.step_id, op.value)
    else:
        decision.record(job, op.kind, op.step_id, op.name, error=op.error)
        decision.save(op.step_id, {"error": op.error})


def _apply_wait(decision: Decision, job: Job, op: ops.Async) -> None:
    match op:
        case ops.Planned():
            decision.made.append(JobQueued(_planned_job(decision, job, op)))
        case ops.Sleep():
            decision.made.append(JobQueued(_sleep_job(decision, op)))
        case ops.WaitForEvent():
            _listen(decision, _event_pause(decision, op))
        case ops.Invoke():
            _invoke(decision, op)
        case ops.WaitForSignal():
            _wait_for_signal(decision, op)
        case ops.Gateway():
            decision.made.append(JobQueued(_gateway_job(decision, job, op)))


def _planned_job(decision: Decision, job: Job, op: ops.Planned) -> Job:
    run_id, now_ms = decision.state.run_id, decision.facts.now_ms
    return Job(
        job_id(run_id, "plan", op.step_id),
        "call",
        run_id,
        now_ms,
        step_id=op.step_id,
        name=op.name,
        created_ms=now_ms,
        current=job.current,
    )


def _sleep_job(decision: Decision, op: ops.Sleep) -> Job:
    run_id = decision.state.run_id
    return Job(
        job_id(run_id, "sleep", op.step_id),
        "sleep",
        run_id,
        op.until_ms,
        step_id=op.step_id,
        name=op.name,
        created_ms=decision.facts.now_ms,
        detail={"until": op.until_ms},
    )


def _gateway_job(decision: Decision, job: Job, op: ops.Gateway) -> Job:
    """The request, kept with its keys until it is done, so that it outlives the engine."""
    run_id, now_ms = decision.state.run_id, decision.facts.now_ms
    return Job(
        job_id(run_id, "gateway", op.step_id),
        "gateway",
        run_id,
        now_ms,
        step_id=op.step_id,
        name=op.name,
        created_ms=now_ms,
        current=job.current,
        detail={
            "op": op.request.op,
            "about": _about(op.request),
            "request": asdict(op.request),
        },
    )


def _about(request: GatewayRequest) -> dict[str, JSON]:
    """What may be shown of a request: where to, without user, password and query."""
    try:
        parts = urlsplit(request.url)
    except ValueError:
        return {"method": request.method}
    host = parts.netloc.rpartition("@")[2]
    return {"method": request.method, "url": f"{parts.scheme}://{host}{parts.path}"}


def _listen(decision: Decision, pause: Pause) -> None:
    """Set a wait, and the timer that ends it."""
    timer = Job(
        pause.pause_id,
        "timeout",
        pause.run_id,
        pause.expires_ms,
        step_id=pause.step_id,
        created_ms=pause.created_ms,
    )
    decision.made += [PauseSet(pause), JobQueued(timer)]


def _event_pause(decision: Decision, op: ops.WaitForEvent) -> Pause:
    trigger = decision.state.events[0].to_json()
    return Pause(
        job_id(decision.state.run_id, "wait", op.step_id),
        "event",
        decision.state.run_id,
        op.event,
        decision.facts.now_ms,
        op.expires_ms,
        step_id=op.step_id,
        name=op.name,
        expression=op.expression,
        bound=expressions.bind(op.expression, trigger) if op.expression else {},
        detail={"event": op.event, "expression": op.expression, "until": op.expires_ms},
    )


def _invoke(decision: Decision, op: ops.Invoke) -> None:
    run_id, now_ms = decision.state.run_id, decision.facts.now_ms
    correlation = f"{run_id}.{op.step_id}"
    event = notices.invoked(decision.state, op, correlation, decision.facts)
    pause = Pause(
        job_id(run_id, "wait", op.step_id),
        "invoke",
        run_id,
        correlation,
        now_ms,
        op.expires_ms,
        step_id=op.step_id,
        name=op.name,
        detail={
            "function": event.data["_inngest"]["fn_id"],
            "event_id": event.internal_id,
            "until": op.expires_ms,
        },
    )
    _listen(decision, pause)
    decision.made.append(EventEmitted(event))


def _wait_for_signal(decision: Decision, op: ops.WaitForSignal) -> None:
    run_id, holder = decision.state.run_id, decision.signals.get(op.signal)
    if holder is not None and not op.replace:
        return decision.fail(
            "SignalConflictError", f"another step waits for signal {op.signal!r} already"
        )
    if holder is not None:
        decision.made.append(PauseMuted(holder))
    pause = Pause(
        job_id(run_id, "wait", op.step_id),
        "signal",
        run_id,
        op.signal,
        decision.facts.now_ms,
        op.expires_ms,
        step_id=op.step_id,
        name=op.name,
        detail={"signal": op.signal, "until": op.expires_ms},
    )
    decision.signals[op.signal] = pause.pause_id
    return _listen(decision, pause)


def _cancel_pauses(run: RunScheduled, facts: Facts) -> list[Change]:
    trigger = run.events[0].to_json()
    changes: list[Change] = []
    for place, cancel in enumerate(run.function.cancels):
        try:
            bound = expressions.bind(cancel.expression, trigger) if cancel.expression else {}
        except expressions.ExpressionError:
            continue  # refused at registration; an older one cancels nothing
        lasts_ms = CANCEL_MS if cancel.timeout_ms is None else cancel.timeout_ms
        pause = Pause(
            job_id(run.run_id, "cancel", str(place)),
            "cancel",
            run.run_id,
            cancel.event,
            facts.now_ms,
            facts.now_ms + lasts_ms,
            expression=cancel.expression,
            bound=bound,
        )
        changes.append(PauseSet(pause))
    return changes


def _stuck(decision: Decision, job: Job) -> None:
    """One more discovery (engine.md 2.4 rule 6). If that brings nothing either, say so."""
    redrives = int(job.detail.get("redrives", 0))
    decision.pending.clear()
    decision.planning = decision.racing = False
    if redrives:
        # Fails as an attempt of this job, which is over: it comes back as a retry.
        return _bad_reply(decision, job, "the app reports nothing new, and nothing is under way")
    return decision.discover(f"again:{job.job_id}", redrives + 1)
