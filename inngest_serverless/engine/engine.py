"""The local engine: what its HTTP API, its tests and its UI ask of it.

    async with Engine(caller) as engine:
        engine.register(app, functions)
        engine.ingest([engine.new_event(name="shop/order", data={"id": 1})])
        await engine.idle()

Use it on one event loop. All reads are of one committed state: a run's status, output, end and
timeline change together.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from inngest_serverless.engine.clock import Clock, SystemClock
from inngest_serverless.engine.flow import unapplied
from inngest_serverless.engine.gateway import HttpGateway
from inngest_serverless.engine.machine import Machine
from inngest_serverless.engine.model import (
    JSON,
    App,
    Event,
    FunctionConfig,
    RunRow,
    RunStatus,
    TimelineRow,
    Trace,
)
from inngest_serverless.engine.notices import INVOKED
from inngest_serverless.engine.store import Store
from inngest_serverless.engine.worker import Caller, Gateway, Worker

__all__ = ["Caller", "Engine", "EngineOptions", "Gateway"]


@dataclass(frozen=True)
class EngineOptions:
    """How the engine is set up. `retry_interval_ms` replaces the table of retry times."""

    db: str | Path = ":memory:"
    retry_interval_ms: int | None = None
    concurrency: int = 100
    """Calls in flight at once."""


class Engine:
    """A durable orchestrator in one process. It works while it is entered.

    `gateway` makes the requests that apps leave to the engine; over the network unless given.
    """

    def __init__(
        self,
        caller: Caller,
        options: EngineOptions | None = None,
        clock: Clock | None = None,
        gateway: Gateway | None = None,
    ) -> None:
        self._caller = caller
        self._options = options or EngineOptions()
        self._clock = clock or SystemClock()
        self._gateway = gateway or HttpGateway(self._clock)

    async def __aenter__(self) -> Engine:
        """Open the store, take back what a killed engine was doing, and start to work."""
        self._store = Store(self._options.db)
        try:
            self._start()
        except BaseException:
            self._store.close()
            raise
        return self

    def _start(self) -> None:
        self._store.own()
        self._machine = Machine(self._store, self._clock, self._options.retry_interval_ms)
        self._worker = Worker(
            self._machine, self._caller, self._gateway, self._clock, self._options.concurrency
        )
        with self._store.transaction():
            self._store.release_all()
            self._store.drop_claims(self._clock.now_ms())
        self._working = asyncio.create_task(self._worker.run())

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop. Calls in flight are abandoned, and made again at the next start."""
        self._working.cancel()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await self._working
        finally:
            self._store.close()

    # Events ----------------------------------------------------------------------------------

    def new_event(
        self,
        *,
        name: str,
        data: dict[str, JSON],
        id: str | None = None,
        ts: int | None = None,
        user: dict[str, JSON] | None = None,
        v: str | None = None,
        meta: dict[str, JSON] | None = None,
        internal_id: str | None = None,
    ) -> Event:
        """An event that comes in now. What is left out is filled in."""
        now_ms = self._clock.now_ms()
        internal_id = internal_id or self._machine.ulids.new(now_ms)
        return Event(
            internal_id=internal_id,
            id=id or internal_id,
            name=name,
            data=data,
            ts=now_ms if ts is None else ts,
            received_ms=now_ms,
            user=user or {},
            v=v,
            meta=meta,
        )

    def ingest(self, events: Sequence[Event]) -> None:
        """Take events in. They, and the runs they start, are on disk when this returns."""
        with self._store.transaction():
            for event in events:
                self._machine.arrive(event)
        self._worker.wake()

    def invoke(self, slug: str, event: Event) -> bool:
        """Start one function directly, whatever its triggers; False if there is none."""
        function = self._machine.registry.find(slug)
        if function is None:
            return False
        caller = {"fn_id": function.slug}
        self.ingest([replace(event, name=INVOKED, data={**event.data, "_inngest": caller})])
        return True

    def checkpoint(
        self, run_id: str, job_id: str, ops: Sequence[dict[str, JSON]], *, generation: int = 0
    ) -> bool:
        """Save steps that a call in flight reports; False if there is no such call.

        With a `generation` other than 0 the call has to be the last that was made of its job.
        Raises ValueError, and saves nothing, if one of the ops is not a step that ran.
        """
        with self._store.transaction():
            return self._machine.checkpoint(run_id, job_id, ops, generation)

    def signal(self, name: str, data: JSON) -> str | None:
        """Hand data to the run that waits for a signal; its id, or None if nobody waits."""
        with self._store.transaction():
            run_id = self._machine.signal(name, data)
        self._worker.wake()
        return run_id

    # Apps ------------------------------------------------------------------------------------

    def register(self, app: App, functions: Sequence[FunctionConfig]) -> bool:
        """Put an app's functions into service, and those it lists no more out of it.

        Returns whether anything changed.
        """
        now = replace(app, error=None, synced_ms=self._clock.now_ms())
        with self._store.transaction():
            self._store.put_app(now)
            modified = self._replace_functions(app, functions)
            self._machine.reload()
        self._worker.wake()
        return modified

    def _replace_functions(self, app: App, functions: Sequence[FunctionConfig]) -> bool:
        before = {
            function.function_id: function
            for function in self._machine.registry.live()
            if function.app_id == app.app_id
        }
        now = {function.function_id: function for function in functions}
        for function_id in before.keys() - now.keys():
            self._store.archive_function(function_id)
        for function_id, function in now.items():
            if before.get(function_id) != function:
                self._store.put_function(function)
                self._machine.schedule_crons(function)
        return before != now

    def note_sync_error(self, url: str, error: str | None) -> None:
        """Keep how the last sync of the app at this URL went, for whoever looks at it."""
        known = next((app for app in self.apps() if app.url == url), None)
        app = known or App(app_id=f"url:{url}", name=url, url=url)
        with self._store.transaction():
            if known is None and error is None:
                return
            self._store.put_app(replace(app, error=error))

    def remove_app(self, url: str) -> None:
        """Forget the app at this URL and take its functions out of service."""
        with self._store.transaction():
            for app in self.apps():
                if app.url == url:
                    self._replace_functions(app, [])
                    self._store.drop_app(app.app_id)
            self._machine.reload()

    def apps(self) -> list[App]:
        """All apps, by name."""
        return self._store.apps()

    def functions(self) -> list[FunctionConfig]:
        """The functions in service, by slug."""
        return self._machine.registry.live()

    def function(self, slug_or_id: str) -> FunctionConfig | None:
        """One function in service, or one that was, by its id."""
        registry = self._machine.registry
        return registry.find(slug_or_id) or registry.by_id.get(slug_or_id)

    def unsupported(self, function: FunctionConfig) -> list[str]:
        """The options of a function that this engine does not apply."""
        return unapplied(function)

    # Runs ------------------------------------------------------------------------------------

    def cancel(self, run_id: str) -> bool:
        """Stop a run. False: no such run. One that has ended stays as it is."""
        with self._store.transaction():
            found = self._machine.cancel(run_id)
        self._worker.wake()
        return found

    def run(self, run_id: str) -> RunRow | None:
        """One run."""
        return self._store.run(run_id)

    def runs(
        self,
        *,
        limit: int = 50,
        before: str | None = None,
        status: RunStatus | None = None,
        slug: str | None = None,
    ) -> list[RunRow]:
        """Runs, newest first. `before` is the id of the last one of the page before."""
        return self._store.runs(limit=limit, before=before, status=status, slug=slug)

    def run_events(self, run_id: str) -> list[Event]:
        """The events that started a run."""
        run = self.run(run_id)
        found = map(self.event, run.event_ids if run else ())
        return [event for event in found if event is not None]

    def run_steps(self, run_id: str) -> dict[str, JSON]:
        """A run's stored values (engine.md 2.3), in the order of completion."""
        return self._store.steps(run_id)

    def timeline(self, run_id: str) -> list[TimelineRow]:
        """Every attempt, wait and sleep of a run: what is over, then what is under way."""
        return self._store.timeline(run_id)

    def trace(self, run_id: str) -> Trace | None:
        """A run as it can be run again; None if there is none."""
        run = self.run(run_id)
        if run is None:
            return None
        steps, open = self._store.traced_steps(run_id)
        return Trace(run, tuple(self.run_events(run_id)), steps, open)

    def event(self, internal_id: str) -> Event | None:
        """One event."""
        return self._store.event(internal_id)

    def events(
        self,
        *,
        name: str | None = None,
        limit: int = 20,
        before: str | None = None,
        received_after_ms: int | None = None,
        received_before_ms: int | None = None,
        include_internal: bool = True,
    ) -> list[Event]:
        """Events, newest first. `before` is the internal id of the last of the page before."""
        return self._store.events(
            name=name,
            limit=limit,
            before=before,
            after_ms=received_after_ms,
            before_ms=received_before_ms,
            internal=include_internal,
        )

    def runs_of_event(self, internal_id: str) -> list[RunRow]:
        """The runs that an event started."""
        return self._store.runs_of_event(internal_id)

    # Time ------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Look whether something is due: for tests, after they moved the clock."""
        self._worker.wake()

    async def idle(self) -> None:
        """Wait until nothing is due and no call is in flight."""
        await self._worker.idle()

    def next_due_ms(self) -> int | None:
        """When the next retry, timer or schedule falls due."""
        return self._worker.next_due_ms()
