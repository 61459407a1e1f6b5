"""Does the work that is due: calls apps, rings timers, and sleeps until there is more.

Lanes. Replies come in as they come, but what they change is decided one at a time, on the loop's
thread, so that a run's changes never interleave. The worker goes in *turns*, each one transaction:

    replies that have come ──► timers that are due ──► calls that are due, taken on (leased)

A request that the engine makes for an app (a gateway job) goes the way of a call: leased, made
outside any transaction, its answer taken in a later turn, its slots held meanwhile.

So a step's result and the next call of its run cost one commit together, and a hundred results
that come at once cost one too. Calls start only after the commit. A worker that is killed leaves
leases behind, which the next engine takes back: a call in flight is made again, nothing else is.

A call that finds no free slot (see flow.py) is *parked*: it is not due any more, so that a thousand
of them cost nothing, until a slot of that name is free.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, TypeAlias

from inngest_serverless.engine.changes import Job, JobRetried, RunState
from inngest_serverless.engine.clock import Clock
from inngest_serverless.engine.machine import Machine
from inngest_serverless.engine.model import Call, Failed, Fetched, GatewayRequest, Outcome, Reply
from inngest_serverless.engine.store import StoreTrouble

Caller: TypeAlias = Callable[[Call], Awaitable[Reply]]
Gateway: TypeAlias = Callable[[GatewayRequest], Awaitable[Fetched | Failed]]
Work: TypeAlias = Call | GatewayRequest

_log = logging.getLogger(__name__)

TIMERS_A_TURN: Final = 200
TROUBLE_S: Final = 1.0
BROKEN_TIMER_MS: Final = 60_000
SOON_MS: Final = 3_600_000
"""Nobody sleeps longer than this without another look: clocks may be set."""


class Worker:
    """One engine's hands. `wake()` it when there may be something new to do."""

    def __init__(
        self, machine: Machine, caller: Caller, gateway: Gateway, clock: Clock, concurrency: int
    ) -> None:
        self._machine, self._store = machine, machine.store
        self._caller, self._gateway, self._clock = caller, gateway, clock
        self._concurrency = concurrency
        self._lease = machine.ulids.new(clock.now_ms())
        self._in_flight: set[asyncio.Task[None]] = set()
        self._replies: deque[tuple[Job, Outcome]] = deque()
        self._slots: Counter[str] = Counter()
        self._held: dict[str, list[str]] = {}
        self._wanted: dict[str, int] = {}
        self._awake = asyncio.Event()
        self._idle = asyncio.Event()

    def wake(self) -> None:
        """Look again."""
        self._idle.clear()
        self._awake.set()

    async def idle(self) -> None:
        """Wait until nothing is due and no call is in flight."""
        self.wake()
        await self._idle.wait()

    async def run(self) -> None:
        """Work until cancelled. Calls in flight are then abandoned; their leases stay."""
        try:
            while True:
                self._awake.clear()
                try:
                    self._turn()
                    if not self._awake.is_set():
                        await self._rest()
                except Exception:  # the worker's edge: a full disk must not end it
                    _log.exception("the store took no turn of the worker; it is tried again")
                    await asyncio.sleep(TROUBLE_S)
                await asyncio.sleep(0)  # a turn may follow a turn; others want the loop too
        finally:
            for task in self._in_flight:
                task.cancel()
            await asyncio.gather(*self._in_flight, return_exceptions=True)
            self._keep_replies()

    def _keep_replies(self) -> None:
        """What was answered before the stop is not asked again."""
        if self._replies:
            with self._store.transaction():
                self._take_replies(list(self._replies))
            self._replies.clear()

    def _turn(self) -> None:
        now_ms, replies = self._clock.now_ms(), list(self._replies)
        if not replies and not self._is_due(now_ms) and not self._has_free_slot():
            return
        with self._slots_kept(), self._store.transaction():
            self._take_replies(replies)
            self._ring_timers(now_ms)
            taken = self._take_due(now_ms)
        for _ in replies:
            self._replies.popleft()
        for job, work in taken:
            self._start(job, work)

    def next_due_ms(self) -> int | None:
        """When the next work falls due, whoever has time for it."""
        due = [self._store.next_due_ms(timers=timers) for timers in (True, False)]
        return min((ms for ms in due if ms is not None), default=None)

    @contextmanager
    def _slots_kept(self) -> Iterator[None]:
        """Put the slots back as they were if the turn is undone."""
        before = self._slots.copy(), dict(self._held), dict(self._wanted)
        try:
            yield
        except BaseException:
            self._slots, self._held, self._wanted = before
            raise

    def _is_due(self, now_ms: int) -> bool:
        due = self._next_due_ms()
        return due is not None and due <= now_ms

    def _next_due_ms(self) -> int | None:
        """When there is something to do that can be done: calls wait for a free place."""
        free = len(self._in_flight) < self._concurrency
        due = [self._store.next_due_ms(timers=True)]
        due += [self._store.next_due_ms(timers=False)] if free else []
        return min((ms for ms in due if ms is not None), default=None)

    def _take_replies(self, replies: list[tuple[Job, Outcome]]) -> None:
        for job, reply in replies:
            self._free(job)
            try:
                with self._store.savepoint():
                    self._machine.replied(job.job_id, job.generation, reply)
            except StoreTrouble:
                raise
            except Exception as error:  # the worker's edge: one bad reply stops no other run
                _log.exception("the reply to job %s of run %s was refused", job.job_id, job.run_id)
                self._refuse(job, error)

    def _refuse(self, job: Job, error: Exception) -> None:
        try:
            with self._store.savepoint():
                self._machine.replied(job.job_id, job.generation, _mishap(error))
        except StoreTrouble:
            raise
        except Exception:  # the same edge: its lease stays, and the next start tries again
            _log.exception("job %s of run %s stays undone", job.job_id, job.run_id)

    def _ring_timers(self, now_ms: int) -> None:
        for job in self._store.due(timers=True, now_ms=now_ms, limit=TIMERS_A_TURN):
            # One timer may have ended the run, and so the other timers, of another.
            if self._store.job(job.job_id) is not None:
                self._ring(job)

    def _ring(self, job: Job) -> None:
        try:
            with self._store.savepoint():
                self._machine.ring(job)
        except StoreTrouble:
            raise
        except Exception:  # the worker's edge: one bad timer stops no other
            _log.exception("timer %s of %s broke; it is tried again", job.job_id, job.run_id)
            due_ms = self._clock.now_ms() + BROKEN_TIMER_MS
            self._store.apply(JobRetried(replace(job, due_ms=due_ms)))

    def _take_due(self, now_ms: int) -> list[tuple[Job, Work]]:
        limit = self._concurrency - len(self._in_flight)
        if limit <= 0:
            return []
        self._unpark()
        jobs = self._store.due(timers=False, now_ms=now_ms, limit=limit)
        taken = ((job, self._take(job, now_ms)) for job in jobs)
        return [(job, work) for job, work in taken if work is not None]

    def _take(self, job: Job, now_ms: int) -> Work | None:
        state = self._store.state(job.run_id, self._machine.registry.by_id)
        assert state is not None, f"job {job.job_id} of no run"
        for slot, limit in state.slots:
            if self._slots[slot] >= limit:
                self._store.park(job.job_id, slot)
                self._wanted[slot] = limit
                return None
        self._held[job.job_id] = [slot for slot, _ in state.slots]
        self._slots.update(self._held[job.job_id])
        self._store.lease(job.job_id, self._lease, now_ms)
        if job.kind == "gateway":
            return GatewayRequest(**job.detail["request"])
        return self._call(job, state, now_ms)

    def _free(self, job: Job) -> None:
        """A call is over, and its slots are free."""
        for slot in self._held.pop(job.job_id, ()):
            self._slots[slot] -= 1
            if not self._slots[slot]:
                del self._slots[slot]

    def _has_free_slot(self) -> bool:
        return any(self._slots[slot] < limit for slot, limit in self._wanted.items())

    def _unpark(self) -> None:
        """Who waits for a slot may try again once it is free."""
        for slot, limit in list(self._wanted.items()):
            free = limit - self._slots[slot]
            if free > 0 and not self._store.unpark(slot, free):
                del self._wanted[slot]

    def _call(self, job: Job, state: RunState, now_ms: int) -> Call:
        if state.status == "Scheduled":
            self._machine.begin(job.run_id, state.function.function_id)
        steps = self._store.steps(job.run_id) if state.step_count else {}
        return Call(
            url=state.function.url,
            function_id=state.function.function_id,
            run_id=job.run_id,
            job_id=job.job_id,
            request_id=self._machine.ulids.new(now_ms),
            step_id=job.step_id,
            attempt=job.attempt,
            max_attempts=state.function.retries + 1,
            generation=job.generation,
            stack=tuple(steps),
            current=job.current,
            request_version=state.version,
            disable_immediate_execution=state.planning,
            events=state.events,
            steps=steps,
        )

    def _start(self, job: Job, work: Work) -> None:
        task = asyncio.create_task(self._perform(job, work))
        self._in_flight.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self.wake()

    async def _perform(self, job: Job, work: Work) -> None:
        outcome: Outcome
        try:
            if isinstance(work, Call):
                outcome = await self._caller(work)
            else:
                outcome = await self._gateway(work)
        except Exception as error:  # the worker's edge: a caller that breaks is a failed attempt
            _log.exception("the call of job %s of run %s broke", job.job_id, job.run_id)
            outcome = _mishap(error)
        self._replies.append((job, outcome))

    async def _rest(self) -> None:
        """Sleep until woken, or until the next work is due."""
        now_ms, due_ms = self._clock.now_ms(), self._next_due_ms()
        if due_ms is not None and due_ms <= now_ms:
            return
        if not self._in_flight and not self._replies:
            self._idle.set()
        pause_ms = SOON_MS if due_ms is None else min(due_ms - now_ms, SOON_MS)
        # Half a millisecond more, so that the clock has surely reached the due time.
        timer = asyncio.get_running_loop().call_later(pause_ms / 1000 + 0.0005, self._awake.set)
        try:
            await self._awake.wait()
        finally:
            timer.cancel()


def _mishap(error: Exception) -> Failed:
    message = f"{type(error).__name__}: {error}"
    body = {"error": message, "name": "Error", "message": message}
    return Failed(body, {"error": body})
