"""The engine's memory: one SQLite file, and the only place that knows SQL.

Every happening is one transaction: BEGIN IMMEDIATE, write-ahead log, synchronous=FULL. What is
committed survives a kill at any point. A lease says which engine works on a job; it is in the
database, and the next engine to open the file takes it back. So there is one engine a file at a
time: it holds a lock on a file beside it, which the system lets go however the engine ends.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import singledispatchmethod
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from inngest_serverless.engine.changes import (
    FUNCTION,
    TAKEN,
    Change,
    EventEmitted,
    Job,
    JobDone,
    JobQueued,
    JobRetried,
    Pause,
    PauseLifted,
    PauseMuted,
    PauseSet,
    Recorded,
    RunEnded,
    RunProgressed,
    RunScheduled,
    RunState,
    StepSaved,
)
from inngest_serverless.engine.model import (
    JSON,
    App,
    CancelOn,
    CronTrigger,
    Event,
    EventTrigger,
    FunctionConfig,
    RunRow,
    TimelineRow,
    TracedStep,
)

Row = sqlite3.Row

_QUERY: Final = re.compile(r"^-- name: (\w+)\n(?:--.*\n)+([^;]+);", re.MULTILINE)
_EVENTS_KEPT: Final = 1024
"""Parsed events in memory: a run's own is read at each of its happenings."""
_SMALL: Final = 65_536
"""Only events of fewer characters are kept so."""


def queries() -> dict[str, str]:
    """The named queries of queries.sql."""
    return dict(_QUERY.findall(_resource("queries.sql")))


class StoreInUse(Exception):
    """Another engine works on this database file."""


class StoreTrouble(Exception):
    """The file could not be read or written: the disk is full, or somebody else locks it."""


class Store:
    """Runs, events, jobs and pauses in a database file. Use it on one thread."""

    def __init__(self, path: str | Path) -> None:
        if str(path) != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, cached_statements=256)
        self._db.row_factory = sqlite3.Row
        self._sql = queries()
        self._path = path
        self._lock: sqlite3.Connection | None = None
        self._events: dict[str, Event] = {}
        try:
            self._prepare()
        except sqlite3.Error:
            self._db.close()
            raise

    def _prepare(self) -> None:
        for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._db.execute(f"PRAGMA {setting}")
        self._db.executescript(_resource("schema.sql"))

    def own(self) -> None:
        """Be the only engine on this file; StoreInUse if another is."""
        if str(self._path) == ":memory:":
            return
        self._lock = sqlite3.connect(f"{self._path}-lock", timeout=0, isolation_level=None)
        try:
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            self.close()
            raise StoreInUse(f"another engine works on {self._path}; stop it first") from None

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. On disk when it is left; undone if it is left by an exception."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # SQLite undoes it by itself after some errors
                self._db.execute("ROLLBACK")
            self._events.clear()
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """All or nothing inside a transaction, which can go on whatever is wrong in here.

        Not with StoreTrouble: then it is the file, and all of the transaction is lost.
        """
        self._db.execute("SAVEPOINT happening")
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StoreTrouble(str(error)) from error
        except BaseException:
            self._db.execute("ROLLBACK TO happening")
            self._db.execute("RELEASE happening")
            self._events.clear()
            raise
        self._db.execute("RELEASE happening")

    # Changes ---------------------------------------------------------------------------------

    @singledispatchmethod
    def apply(self, change: Change) -> None:
        """Write one change."""
        raise TypeError(f"not a change: {change!r}")

    @apply.register
    def _(self, change: RunScheduled) -> None:
        event_ids = [event.internal_id for event in change.events]
        self._do(
            "put_run",
            run_id=change.run_id,
            function_id=change.function.function_id,
            slug=change.function.slug,
            event_ids=_text(event_ids),
            queued_ms=change.queued_ms,
            cron=change.cron,
            correlation_id=change.correlation_id,
            slots=_text(change.slots),
        )
        for internal_id in event_ids:
            self._do("put_run_event", internal_id=internal_id, run_id=change.run_id)

    @apply.register
    def _(self, change: RunProgressed) -> None:
        self._do(
            "progress_run",
            run_id=change.run_id,
            version=change.version,
            planning=change.planning,
            pending=_text(sorted(change.pending)),
            racing=change.racing,
        )

    @apply.register
    def _(self, change: StepSaved) -> None:
        self._do("put_step", run_id=change.run_id, step_id=change.step_id, value=change.text)
        self._do("grow_run", run_id=change.run_id, size=len(change.text.encode()))

    @apply.register
    def _(self, change: JobQueued) -> None:
        self._do("put_job", **_job_row(change.job))

    @apply.register
    def _(self, change: JobRetried) -> None:
        self._do("retry_job", **_job_row(change.job))

    @apply.register
    def _(self, change: JobDone) -> None:
        self._do("drop_job", job_id=change.job_id)

    @apply.register
    def _(self, change: PauseSet) -> None:
        pause = change.pause
        row = {**vars(pause), "bound": _text(pause.bound), "detail": _text(pause.detail)}
        self._do("put_pause", **row)

    @apply.register
    def _(self, change: PauseLifted) -> None:
        self._do("drop_pause", pause_id=change.pause_id)

    @apply.register
    def _(self, change: PauseMuted) -> None:
        self._do("mute_pause", pause_id=change.pause_id)

    @apply.register
    def _(self, change: RunEnded) -> None:
        for row in self._open_rows(change.run_id, planned=True):
            cut = replace(row, status="Cancelled", ended_ms=change.ended_ms)
            self.apply(Recorded(change.run_id, cut))
        self._do("drop_jobs", run_id=change.run_id)
        self._do("drop_pauses", run_id=change.run_id)
        self._do(
            "end_run",
            run_id=change.run_id,
            status=change.status,
            output=_text(change.output),
            ended_ms=change.ended_ms,
        )

    @apply.register
    def _(self, change: EventEmitted) -> None:
        self.put_event(change.event)

    @apply.register
    def _(self, change: Recorded) -> None:
        row = change.row
        self._do(
            "put_row",
            run_id=change.run_id,
            step_id=row.step_id,
            name=row.name,
            kind=row.kind,
            status=row.status,
            attempt=row.attempt,
            started_ms=row.started_ms,
            ended_ms=row.ended_ms,
            output=_text(row.output),
            error=None if row.error is None else _text(row.error),
            detail=_text(row.detail),
        )

    # Apps and functions ----------------------------------------------------------------------

    def put_app(self, app: App) -> None:
        """Store an app."""
        self._do("put_app", app_id=app.app_id, name=app.name, url=app.url, body=_text(asdict(app)))

    def apps(self) -> list[App]:
        """All apps, by name."""
        return [App(**json.loads(row["body"])) for row in self._ask("apps")]

    def drop_app(self, app_id: str) -> None:
        """Forget an app."""
        self._do("drop_app", app_id=app_id)

    def put_function(self, function: FunctionConfig) -> None:
        """Store a function that is in service."""
        self._do(
            "put_function",
            function_id=function.function_id,
            app_id=function.app_id,
            slug=function.slug,
            body=_text(asdict(function)),
        )

    def archive_function(self, function_id: str) -> None:
        """Take a function, and its schedules, out of service."""
        self._do("archive_function", function_id=function_id)
        self.drop_crons(function_id)

    def functions(self) -> list[tuple[FunctionConfig, bool]]:
        """All functions by slug, each with whether it is archived."""
        return [(_function(row["body"]), bool(row["archived"])) for row in self._ask("functions")]

    def drop_crons(self, function_id: str) -> None:
        """Forget a function's schedules."""
        self._do("drop_crons", function_id=function_id)

    # Events ----------------------------------------------------------------------------------

    def put_event(self, event: Event) -> None:
        """Store an event."""
        data = _text(event.data)
        self._do(
            "put_event",
            internal_id=event.internal_id,
            id=event.id,
            name=event.name,
            data=data,
            ts=event.ts,
            received_ms=event.received_ms,
            user=_text(event.user),
            v=event.v,
            meta=None if event.meta is None else _text(event.meta),
        )
        self._keep(event, len(data))

    def event(self, internal_id: str) -> Event | None:
        """One event."""
        kept = self._events.get(internal_id)
        if kept is not None:
            return kept
        row = self._one("event", internal_id=internal_id)
        return None if row is None else self._keep(_event(row), len(row["data"]))

    def events(self, **filters: Any) -> list[Event]:
        """Events, newest first; see the query for the filters."""
        query = "events" if filters.get("name") is None else "events_named"
        return [_event(row) for row in self._ask(query, **filters)]

    def _keep(self, event: Event, size: int) -> Event:
        if size > _SMALL:
            return event
        if len(self._events) >= _EVENTS_KEPT:
            for internal_id in list(self._events)[: _EVENTS_KEPT // 2]:
                del self._events[internal_id]
        self._events.setdefault(event.internal_id, event)
        return event

    def claim_key(self, function_id: str, key: str, now_ms: int, until_ms: int) -> bool:
        """Whether this is the first to make a run of the function with this key."""
        done = self._do(
            "claim_key", function_id=function_id, key=key, now_ms=now_ms, until_ms=until_ms
        )
        return done.rowcount == 1

    def claimed_until(self, function_id: str, key: str) -> int:
        """Until when a key is claimed; 0 if it is not."""
        row = self._one("claim", function_id=function_id, key=key)
        return 0 if row is None else row["until_ms"]

    def put_claim(self, function_id: str, key: str, until_ms: int) -> None:
        """Claim a key, whoever has it."""
        self._do("put_claim", function_id=function_id, key=key, until_ms=until_ms)

    def drop_claims(self, now_ms: int) -> None:
        """Forget claims that have run out."""
        self._do("drop_claims", now_ms=now_ms)

    # Runs ------------------------------------------------------------------------------------

    def state(
        self,
        run_id: str,
        function: Mapping[str, FunctionConfig],
        step_ids: Sequence[str] = (),
        signals: Sequence[str] = (),
    ) -> RunState | None:
        """What the rules need to know of a run, about these steps and signals."""
        row = self._one("run", run_id=run_id)
        if row is None:
            return None
        ids = _text(step_ids)
        return RunState(
            run_id=run_id,
            function=function[row["function_id"]],
            status=row["status"],
            events=self._events_of(row),
            version=row["version"],
            planning=bool(row["planning"]),
            pending=frozenset(json.loads(row["pending"])),
            racing=bool(row["racing"]),
            step_count=row["step_count"],
            state_bytes=row["state_bytes"],
            correlation_id=row["correlation_id"],
            slots=_slots(row["slots"]),
            stored=self._ids("stored_ids", run_id, ids) if step_ids else frozenset(),
            waiting=self._ids("waiting_ids", run_id, ids) if step_ids else frozenset(),
            signals=self._holders(signals),
        )

    def _events_of(self, row: Row) -> tuple[Event, ...]:
        found = map(self.event, json.loads(row["event_ids"]))
        return tuple(event for event in found if event is not None)

    def _ids(self, query: str, run_id: str, ids: str) -> frozenset[str]:
        return frozenset(row["step_id"] for row in self._ask(query, run_id=run_id, ids=ids))

    def _holders(self, signals: Sequence[str]) -> dict[str, str]:
        held = {signal: self.listeners("signal", signal) for signal in signals}
        return {signal: pauses[0].pause_id for signal, pauses in held.items() if pauses}

    def start_run(self, run_id: str, now_ms: int) -> None:
        """Mark a run that waited for its first call."""
        self._do("start_run", run_id=run_id, now_ms=now_ms)

    def run(self, run_id: str) -> RunRow | None:
        """One run."""
        row = self._one("run", run_id=run_id)
        return None if row is None else _run(row)

    def runs(self, **filters: Any) -> list[RunRow]:
        """Runs, newest first; see the query for the filters."""
        return [_run(row) for row in self._ask("runs", **filters)]

    def runs_of_event(self, internal_id: str) -> list[RunRow]:
        """The runs that an event started."""
        return [_run(row) for row in self._ask("runs_of_event", internal_id=internal_id)]

    def steps(self, run_id: str) -> dict[str, JSON]:
        """A run's stored values in the order of completion."""
        rows = self._db.execute(self._sql["steps"], {"run_id": run_id}).fetchall()
        return {row["step_id"]: json.loads(row["value"]) for row in rows}

    def has_open_work(self, run_id: str) -> bool:
        """Whether anything will carry this run on."""
        return any(row["open"] for row in self._ask("has_open_work", run_id=run_id))

    # Work ------------------------------------------------------------------------------------

    def job(self, job_id: str) -> Job | None:
        """One job, unless it is done."""
        row = self._one("job", job_id=job_id)
        return None if row is None else _job(row)

    def due(self, *, timers: bool, now_ms: int, limit: int) -> list[Job]:
        """Work that is due and nobody's, first come first."""
        return [_job(row) for row in self._ask("due", timer=timers, now_ms=now_ms, limit=limit)]

    def next_due_ms(self, *, timers: bool) -> int | None:
        """When the next work falls due."""
        row = self._one("next_due", timer=timers)
        return None if row is None else row["due_ms"]

    def lease(self, job_id: str, lease: str, now_ms: int) -> None:
        """Take work on."""
        self._do("lease_job", job_id=job_id, lease=lease, now_ms=now_ms)

    def park(self, job_id: str, slot: str) -> None:
        """Let work wait for a slot."""
        self._do("park_job", job_id=job_id, slot=f"slot:{slot}")

    def unpark(self, slot: str, limit: int) -> bool:
        """Let the next few that wait for this slot try; whether there were any."""
        return self._do("unpark_job", slot=f"slot:{slot}", limit=limit).rowcount > 0

    def release_all(self) -> None:
        """Take back what an engine that is gone was working on."""
        self._do("release_all")

    def reset_attempts(self, job_id: str) -> None:
        """Let what fails next in this job start its attempts afresh."""
        self._do("reset_attempts", job_id=job_id)

    def pause(self, pause_id: str) -> Pause | None:
        """One pause, unless it is lifted."""
        row = self._one("pause", pause_id=pause_id)
        return None if row is None else _pause(row)

    def listeners(self, kind: str, key: str) -> list[Pause]:
        """Who listens for this key."""
        return [_pause(row) for row in self._ask("listeners", kind=kind, key=key)]

    def event_listeners(self, name: str) -> list[Pause]:
        """Waits and cancellations that listen for an event of this name."""
        return [_pause(row) for row in self._ask("event_listeners", key=name)]

    # Timeline --------------------------------------------------------------------------------

    def timeline(self, run_id: str) -> list[TimelineRow]:
        """What is over, then what is under way."""
        past = [_timeline_row(row) for row in self._ask("timeline", run_id=run_id)]
        return [*past, *self._open_rows(run_id)]

    def traced_steps(self, run_id: str) -> tuple[tuple[TracedStep, ...], tuple[TracedStep, ...]]:
        """The steps that finished, in that order, and those that were found and did not."""
        lines = self._ask("step_lines", run_id=run_id)
        found = {row["step_id"]: (row["name"], row["kind"]) for row in lines}
        under_way = self._open_rows(run_id, planned=True)
        found |= {row.step_id: (row.name, row.kind) for row in under_way}
        found.pop(FUNCTION, None)
        memos = self.steps(run_id)
        steps = (TracedStep(id, *found[id], memo) for id, memo in memos.items())
        open = (TracedStep(id, *named) for id, named in found.items() if id not in memos)
        return tuple(steps), tuple(open)

    def _open_rows(self, run_id: str, *, planned: bool = False) -> list[TimelineRow]:
        """What is under way; with `planned` also the steps whose first call is still to come."""
        jobs = [_job(row) for row in self._ask("jobs_of_run", run_id=run_id)]
        shown = [job for job in jobs if _is_shown(job) or (planned and _is_planned(job))]
        called = self._function_name(run_id) if shown else ""
        rows = [_open_job_row(job, called) for job in shown]
        if any(job.kind == "timeout" for job in jobs):
            pauses = map(_pause, self._ask("pauses_of_run", run_id=run_id))
            rows += [self._waiting_row(pause) for pause in pauses]
        return sorted(rows, key=lambda row: row.started_ms)

    def _function_name(self, run_id: str) -> str:
        row = self._one("function_name", run_id=run_id)
        return "" if row is None else row["name"]

    def _waiting_row(self, pause: Pause) -> TimelineRow:
        detail = pause.detail
        child = pause.kind == "invoke" and self._one("run_of_caller", correlation_id=pause.key)
        if child:
            detail = {**detail, "run_id": child["run_id"]}
        kind = {"event": "WaitForEvent", "invoke": "InvokeFunction"}.get(
            pause.kind, "WaitForSignal"
        )
        return TimelineRow(
            pause.step_id, pause.name, kind, "Waiting", 0, pause.created_ms, detail=detail
        )

    # SQL -------------------------------------------------------------------------------------

    def _do(self, query: str, **values: Any) -> sqlite3.Cursor:
        return self._db.execute(self._sql[query], values)

    def _ask(self, query: str, **values: Any) -> list[Row]:
        return self._db.execute(self._sql[query], values).fetchall()

    def _one(self, query: str, **values: Any) -> Row | None:
        row: Row | None = self._db.execute(self._sql[query], values).fetchone()
        return row


def _resource(name: str) -> str:
    return (files("inngest_serverless.engine") / name).read_text("utf-8")


_text: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def _job_row(job: Job) -> dict[str, Any]:
    return {
        **vars(job),
        "timer": job.kind not in TAKEN,
        "error": None if job.error is None else _text(job.error),
        "detail": _text(job.detail) if job.detail else "{}",
    }


def _job(row: Row) -> Job:
    return Job(
        job_id=row["job_id"],
        kind=row["kind"],
        run_id=row["run_id"],
        due_ms=row["due_ms"],
        step_id=row["step_id"],
        name=row["name"],
        created_ms=row["created_ms"],
        attempt=row["attempt"],
        generation=row["generation"],
        current=row["current"],
        claimed_ms=row["claimed_ms"],
        error=None if row["error"] is None else json.loads(row["error"]),
        detail={} if row["detail"] == "{}" else json.loads(row["detail"]),
    )


def _pause(row: Row) -> Pause:
    values = dict(row)
    values["bound"] = json.loads(values["bound"])
    values["detail"] = json.loads(values["detail"])
    return Pause(**values)


def _event(row: Row) -> Event:
    return Event(
        internal_id=row["internal_id"],
        id=row["id"],
        name=row["name"],
        data=json.loads(row["data"]),
        ts=row["ts"],
        received_ms=row["received_ms"],
        user=json.loads(row["user"]),
        v=row["v"],
        meta=None if row["meta"] is None else json.loads(row["meta"]),
    )


def _run(row: Row) -> RunRow:
    return RunRow(
        run_id=row["run_id"],
        function_id=row["function_id"],
        slug=row["slug"],
        status=row["status"],
        event_ids=tuple(json.loads(row["event_ids"])),
        queued_ms=row["queued_ms"],
        started_ms=row["started_ms"],
        ended_ms=row["ended_ms"],
        output=None if row["output"] is None else json.loads(row["output"]),
        cron=row["cron"],
    )


def _function(body: str) -> FunctionConfig:
    raw = json.loads(body)
    triggers = [
        CronTrigger(**trigger) if "cron" in trigger else EventTrigger(**trigger)
        for trigger in raw.pop("triggers")
    ]
    cancels = [CancelOn(**cancel) for cancel in raw.pop("cancels")]
    return FunctionConfig(**raw, triggers=tuple(triggers), cancels=tuple(cancels))


def _slots(text: str) -> tuple[tuple[str, int], ...]:
    return () if text == "[]" else tuple((slot, limit) for slot, limit in json.loads(text))


def _is_shown(job: Job) -> bool:
    """A call or request under way, a retry to come, a sleep. A wait's row comes from its pause."""
    return job.kind == "sleep" or (job.kind in TAKEN and bool(job.claimed_ms or job.attempt))


def _is_planned(job: Job) -> bool:
    return job.kind in TAKEN and job.step_id != FUNCTION


def _open_job_row(job: Job, function: str) -> TimelineRow:
    if job.kind == "sleep":
        return TimelineRow(
            job.step_id, job.name, "Sleep", "Waiting", 0, job.created_ms, detail=job.detail
        )
    step_id, name, kind = _called(job, function)
    until = {} if job.claimed_ms else {"until": job.due_ms}
    return TimelineRow(
        step_id=step_id,
        name=name,
        kind=kind,
        status="Running" if job.claimed_ms else "Retrying",
        attempt=job.attempt,
        started_ms=job.claimed_ms or job.due_ms,
        error=None if job.claimed_ms else job.error,
        # Not all of the job's detail: that of a gateway holds keys.
        detail={**job.detail.get("about", {}), **until},
    )


def _called(job: Job, function: str) -> tuple[str, str, str]:
    """Id, name and kind of what a call is about: of a retry, the step that broke."""
    if job.step_id != FUNCTION:
        return job.step_id, job.name, job.detail.get("op", "StepRun")
    broken = job.detail.get("broken")
    if isinstance(broken, dict):
        return broken["step_id"], broken["name"], broken["kind"]
    return FUNCTION, function, "Function"


def _timeline_row(row: Row) -> TimelineRow:
    done = row["status"] == "Completed" and row["value"] is not None
    output = _unwrapped(json.loads(row["value"])) if done else json.loads(row["output"])
    return TimelineRow(
        step_id=row["step_id"],
        name=row["name"],
        kind=row["kind"],
        status=row["status"],
        attempt=row["attempt"],
        started_ms=row["started_ms"],
        ended_ms=row["ended_ms"],
        output=output,
        error=None if row["error"] is None else json.loads(row["error"]),
        detail=json.loads(row["detail"]),
    )


def _unwrapped(value: JSON) -> JSON:
    """What the user returned: stored values wrap it in `data` (engine.md 2.3)."""
    return value["data"] if isinstance(value, dict) and value.keys() == {"data"} else value
