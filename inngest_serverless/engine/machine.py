"""Joins rules and store: what happens is read, decided and written, inside one transaction.

Every method here expects `store.transaction()` around it, and leaves nothing to do but what is in
the store: the events that a change emits are let arrive before it returns.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from inngest_serverless.engine import flow, notices, ops, rules, schedule
from inngest_serverless.engine.changes import (
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
    PauseSet,
    Replied,
    Resumed,
    RunEnded,
    Stuck,
    Woke,
)
from inngest_serverless.engine.clock import Clock
from inngest_serverless.engine.durations import DAY_MS
from inngest_serverless.engine.expressions import evaluate, matches
from inngest_serverless.engine.ids import Ulids, job_id
from inngest_serverless.engine.model import (
    JSON,
    CronTrigger,
    Event,
    FunctionConfig,
    Ops,
    Outcome,
)
from inngest_serverless.engine.registry import Registry
from inngest_serverless.engine.store import Store

_CARRIES_ON = (JobQueued, JobRetried, PauseSet, RunEnded)


class Machine:
    """Runs, moved by events, replies and timers."""

    def __init__(self, store: Store, clock: Clock, retry_interval_ms: int | None = None) -> None:
        self.store = store
        self.registry: Registry = Registry(store.functions())
        self.ulids: Ulids = Ulids()
        self._clock = clock
        self._retry_interval_ms = retry_interval_ms
        self._arriving: deque[Event] = deque()

    def reload(self) -> None:
        """Read the functions again, after they changed."""
        self.registry = Registry(self.store.functions())

    def facts(self) -> Facts:
        """The world as it is now, for one happening."""
        now_ms = self._clock.now_ms()
        return Facts(
            now_ms=now_ms,
            new_id=lambda: self.ulids.new(now_ms),
            jitter=random.random(),
            slug_of=self.registry.slug_of,
            retry_interval_ms=self._retry_interval_ms,
        )

    # What happens ----------------------------------------------------------------------------

    def arrive(self, event: Event) -> None:
        """An event is stored, ends waits, cancels runs and starts runs."""
        with self._settling():
            self._emit(event)

    def replied(self, job_id: str, generation: int, reply: Outcome) -> None:
        """A job has its answer. If it is gone, or was given out anew, nobody wants to know."""
        job = self.store.job(job_id)
        if job is None or job.generation != generation:
            return
        raw = reply.ops if isinstance(reply, Ops) else ()
        with self._settling():
            changes = self._step(job.run_id, Replied(job, reply), raw)
            if not any(isinstance(change, _CARRIES_ON) for change in changes):
                self._unstick(job)

    def checkpoint(
        self, run_id: str, job_id: str, raw: Sequence[dict[str, JSON]], generation: int
    ) -> bool:
        """Save steps in the middle of a call, whose attempts then start afresh; False if stale."""
        job = self.store.job(job_id)
        if job is None or job.run_id != run_id or generation not in (0, job.generation):
            return False
        with self._settling():
            self._step(run_id, Checkpointed(job, tuple(raw)), raw)
            self.store.reset_attempts(job_id)
        return True

    def begin(self, run_id: str, function_id: str) -> None:
        """The first call of a run is about to be made."""
        now_ms = self._clock.now_ms()
        self.store.start_run(run_id, now_ms)
        finish_ms = self.registry.flows[function_id].timeouts.finish_ms
        self._apply(rules.deadline(run_id, "finish", finish_ms, now_ms))

    def ring(self, job: Job) -> None:
        """A timer is due."""
        with self._settling():
            match job.kind:
                case "sleep":
                    self._step(job.run_id, Woke(job))
                case "timeout":
                    self._time_out(job)
                case "cron":
                    self._tick(job)
                case "batch":
                    self._start_batch(job)
                case "debounce":
                    self._end_debounce(job)
                case "deadline":
                    self._miss(job)

    def cancel(self, run_id: str) -> bool:
        """Stop a run; False if there is none."""
        if self.store.run(run_id) is None:
            return False
        with self._settling():
            self._step(run_id, Cancelled())
        return True

    def signal(self, name: str, data: JSON) -> str | None:
        """Hand data to the run that waits for a signal; its id, or None."""
        for pause in self.store.listeners("signal", name):
            value = {"data": {"signal": name, "data": data}}
            with self._settling():
                self._step(pause.run_id, Resumed(pause, value))
            return pause.run_id
        return None

    def schedule_crons(self, function: FunctionConfig) -> None:
        """Make a function's schedules what its configuration says; unchanged ones stay."""
        self.store.drop_crons(function.function_id)
        for trigger in function.triggers:
            if isinstance(trigger, CronTrigger):
                self._schedule_tick(function, trigger, self._clock.now_ms())

    # Events ----------------------------------------------------------------------------------

    @contextmanager
    def _settling(self) -> Iterator[None]:
        """Let everything that was emitted arrive, in order, before this is left."""
        try:
            yield
            while self._arriving:
                self._arrived(self._arriving.popleft())
        finally:
            self._arriving.clear()  # not empty only if the transaction is about to be undone

    def _arrived(self, event: Event) -> None:
        self._end_waits(event)
        if event.name == notices.FINISHED:
            self._end_invocation(event)
        if event.name == notices.INVOKED:
            return self._start_invoked(event)
        for function in self.registry.started_by(event, self._clock.now_ms()):
            self.start(function, event)
        return None

    def _end_waits(self, event: Event) -> None:
        for pause in self.store.event_listeners(event.name):
            now_ms = self._clock.now_ms()
            if pause.kind == "cancel":
                if rules.may_cancel(pause, event, now_ms):
                    self._step(pause.run_id, Cancelled())
                continue
            run = self.store.run(pause.run_id)
            if run and rules.may_resume(pause, event, run.event_ids, now_ms):
                found = {"found_event_id": event.internal_id}
                self._step(pause.run_id, Resumed(pause, event.to_json(), detail=found))

    def _end_invocation(self, event: Event) -> None:
        correlation = event.data.get("correlation_id")
        if not isinstance(correlation, str):
            return
        detail = {"return_event_id": event.internal_id, "run_id": event.data.get("run_id")}
        for pause in self.store.listeners("invoke", correlation):
            resumed = Resumed(pause, notices.outcome(event), detail=detail)
            self._step(pause.run_id, resumed)

    def _start_invoked(self, event: Event) -> None:
        caller = event.data.get("_inngest")
        function_id = caller.get("fn_id") if isinstance(caller, dict) else None
        function = self.registry.find(str(function_id))
        if function is not None:
            return self.start(function, event)
        if notices.correlation_id(event) is not None:
            self._emit(notices.unknown_function(event, self.facts()))
        return None

    def start(self, function: FunctionConfig, event: Event, cron: str | None = None) -> None:
        """What this event makes of this function: a run, now or later, or none."""
        asked = self.registry.flows[function.function_id]
        if asked.batch is not None:
            return self._buffer(function, asked.batch, event)
        if asked.rate is not None and not self._within(function, asked.rate, event):
            return self._refuse(event, f"{function.slug} is rate limited")
        if asked.debounce is not None:
            return self._debounce(function, asked.debounce, event)
        return self._start_once(function, event, cron)

    def _start_once(self, function: FunctionConfig, event: Event, cron: str | None) -> None:
        if self._is_first(function, event):
            self._create(function, [event], cron)
        else:
            self._refuse(event, f"{function.slug} has run for this event, or its key, before")

    def _create(
        self, function: FunctionConfig, events: Sequence[Event], cron: str | None = None
    ) -> None:
        facts, asked = self.facts(), self.registry.flows[function.function_id]
        changes = rules.schedule(
            function,
            events,
            facts,
            cron=cron,
            slots=flow.slots(asked.limits, function.function_id, events[0], facts.now_ms),
            due_ms=self._throttled_ms(function, asked.throttle, events[0]),
            start_timeout_ms=asked.timeouts.start_ms,
        )
        self._apply(changes)

    def _refuse(self, event: Event, message: str) -> None:
        """Tell a caller at once that there will be no run; nobody else asked."""
        if notices.correlation_id(event) is not None:
            error = {"name": "Error", "message": message}
            self._emit(notices.refused(event, error, self.facts()))

    def _is_first(self, function: FunctionConfig, event: Event) -> bool:
        """Whether there was no run for this event, or its key, for a day (engine.md 2.12)."""
        keys, now_ms = [f"event:{event.id}"], self._clock.now_ms()
        if function.idempotency is not None:
            value = evaluate(function.idempotency, event.to_json(), now_ms)
            keys += [] if value in (None, False) else [f"key:{value!r}"]
        return all(self._claim(function, key) for key in keys)

    def _claim(self, function: FunctionConfig, key: str) -> bool:
        now_ms = self._clock.now_ms()
        return self.store.claim_key(function.function_id, key, now_ms, now_ms + DAY_MS)

    # Flow control ----------------------------------------------------------------------------

    def _within(self, function: FunctionConfig, rate: flow.RateLimit, event: Event) -> bool:
        now_ms = self._clock.now_ms()
        key = flow.key_of(rate.key, event, now_ms)
        if key is None:
            return True
        claim = f"rate:{key}"
        used_ms = self.store.claimed_until(function.function_id, claim)
        allowance_ms = flow.next_allowance(rate, used_ms, now_ms)
        if allowance_ms is None:
            return False
        self.store.put_claim(function.function_id, claim, allowance_ms)
        return True

    def _throttled_ms(
        self, function: FunctionConfig, throttle: flow.Throttle | None, event: Event
    ) -> int:
        """When the throttle lets the next run start."""
        now_ms = self._clock.now_ms()
        key = flow.key_of(throttle.key, event, now_ms) if throttle else None
        if throttle is None or key is None:
            return now_ms
        claim = f"throttle:{key}"
        used_ms = self.store.claimed_until(function.function_id, claim)
        start_ms, allowance_ms = flow.next_start(throttle, used_ms, now_ms)
        self.store.put_claim(function.function_id, claim, allowance_ms)
        return start_ms

    def _debounce(self, function: FunctionConfig, debounce: flow.Debounce, event: Event) -> None:
        now_ms = self._clock.now_ms()
        key = flow.key_of(debounce.key, event, now_ms)
        if key is None:
            return self._start_once(function, event, None)
        id = job_id(function.function_id, "debounce", key)
        waiting = self.store.job(id)
        first_ms = waiting.created_ms if waiting else now_ms
        if waiting is not None:
            earlier = self.store.event(waiting.detail["event_id"])
            if earlier is not None and earlier.ts > event.ts:
                return self._refuse(event, "debounced: a later event took its place")
            if earlier is not None:
                self._refuse(earlier, "debounced: a later event took its place")
        due_ms = now_ms + debounce.period_ms
        if debounce.timeout_ms is not None:
            due_ms = min(due_ms, first_ms + debounce.timeout_ms)
        detail = {"event_id": event.internal_id}
        owner = function.function_id
        job = Job(id, "debounce", owner, due_ms, created_ms=first_ms, detail=detail)
        return self.store.apply(JobRetried(job))

    def _buffer(self, function: FunctionConfig, batch: flow.Batch, event: Event) -> None:
        """Keep an event for a run with others, once; the last that fits starts the run."""
        now_ms = self._clock.now_ms()
        alone = batch.condition and not matches(batch.condition, event.to_json(), now_ms)
        if alone:
            return self._start_once(function, event, None)
        if not self._claim(function, f"event:{event.id}"):
            return self._refuse(event, f"{function.slug} has run for this event before")
        key = flow.key_of(batch.key, event, now_ms)
        id = job_id(function.function_id, "batch", str(key))
        waiting = self.store.job(id)
        kept = [*(waiting.detail["event_ids"] if waiting else ()), event.internal_id]
        due_ms = waiting.due_ms if waiting else now_ms + batch.timeout_ms
        job = Job(id, "batch", function.function_id, due_ms, detail={"event_ids": kept})
        if len(kept) >= batch.size:
            return self._start_batch(job)
        return self.store.apply(JobRetried(job))

    def _start_batch(self, job: Job) -> None:
        self.store.apply(JobDone(job.job_id))
        function = self.registry.find(job.run_id)
        found = map(self.store.event, job.detail["event_ids"])
        if function is not None:
            self._create(function, [event for event in found if event is not None])

    def _end_debounce(self, job: Job) -> None:
        self.store.apply(JobDone(job.job_id))
        function, event = self.registry.find(job.run_id), self.store.event(job.detail["event_id"])
        if function is not None and event is not None:
            self._start_once(function, event, None)

    # Timers ----------------------------------------------------------------------------------

    def _time_out(self, job: Job) -> None:
        pause = self.store.pause(job.job_id)
        if pause is None:
            return self.store.apply(JobDone(job.job_id))
        self._step(job.run_id, rules.timeout(pause))
        return None

    def _miss(self, job: Job) -> None:
        """A run has not started, or not finished, in time."""
        self.store.apply(JobDone(job.job_id))
        run = self.store.run(job.run_id)
        if run is not None and (job.detail["what"] == "finish" or run.status == "Scheduled"):
            self._step(job.run_id, Cancelled())

    def _tick(self, job: Job) -> None:
        """A schedule is due. Ticks missed while nobody was there are one run, not many."""
        self.store.apply(JobDone(job.job_id))
        function = self.registry.find(job.run_id)
        if function is None:
            return
        trigger = CronTrigger(**job.detail["trigger"])
        scheduled_ms = job.detail["scheduled_ms"]
        event = notices.tick(trigger, scheduled_ms, job.due_ms, self.facts())
        self.store.put_event(event)
        self.start(function, event, cron=trigger.cron)
        self._schedule_tick(function, trigger, max(scheduled_ms, self._clock.now_ms()))

    def _schedule_tick(self, function: FunctionConfig, trigger: CronTrigger, after_ms: int) -> None:
        scheduled_ms = schedule.next_ms(trigger.cron, after_ms)
        due_ms = scheduled_ms
        if trigger.jitter_ms:
            due_ms += schedule.jitter_ms(function.function_id, scheduled_ms, trigger.jitter_ms)
        job = Job(
            job_id(function.function_id, "cron", f"{trigger.cron}\0{scheduled_ms}"),
            "cron",
            function.function_id,
            due_ms,
            detail={"trigger": vars(trigger), "scheduled_ms": scheduled_ms},
        )
        self.store.apply(JobQueued(job))

    # Rules and store -------------------------------------------------------------------------

    def _step(self, run_id: str, happening: Happening, raw: Sequence[JSON] = ()) -> list[Change]:
        state = self.store.state(run_id, self.registry.by_id, ops.step_ids(raw), ops.signals(raw))
        if state is None:
            return []
        changes = rules.step(state, happening, self.facts())
        self._apply(changes)
        return changes

    def _unstick(self, job: Job) -> None:
        if not self.store.has_open_work(job.run_id):
            self._step(job.run_id, Stuck(job))

    def _apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.store.apply(change)
            if isinstance(change, EventEmitted):
                self._arriving.append(change.event)

    def _emit(self, event: Event) -> None:
        self._apply([EventEmitted(event)])
