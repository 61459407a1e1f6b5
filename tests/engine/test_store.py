"""The store: all or nothing, and the same after it was closed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from inngest_serverless.engine.changes import (
    Job,
    JobDone,
    JobQueued,
    JobRetried,
    Pause,
    PauseSet,
    RunEnded,
    RunScheduled,
    StepSaved,
)
from inngest_serverless.engine.model import (
    App,
    CancelOn,
    CronTrigger,
    Event,
    EventTrigger,
    FunctionConfig,
)
from inngest_serverless.engine.store import Store, StoreTrouble, queries

FUNCTION = FunctionConfig(
    "id",
    "app",
    "shop",
    "shop-f",
    "f",
    "http://x",
    triggers=(EventTrigger("a/b", "event.data.n == 1"), CronTrigger("* * * * *", 5000)),
    cancels=(CancelOn("a/c", None, 1000),),
    idempotency="event.data.id",
    config={"throttle": {"limit": 1}},
)
EVENT = Event("01A", "e1", "a/b", {"n": [1, None, "ü"]}, 5, 6, {"u": 1}, "v1", {"m": 1})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "new" / "engine.db")
    with made.transaction():
        made.put_app(App("app", "shop", "http://x"))
        made.put_function(FUNCTION)
        made.put_event(EVENT)
        made.apply(RunScheduled("01B", FUNCTION, (EVENT,), 7))
    return made


def reopened(store: Store, tmp_path: Path) -> Store:
    store.close()
    return Store(tmp_path / "new" / "engine.db")


def test_every_query_is_named_and_explained() -> None:
    text = (Path(__file__).parents[2] / "inngest_serverless/engine/queries.sql").read_text()
    assert len(queries()) == text.count("\n-- name: ")
    assert all(f"-- name: {name}\n-- " in text for name in queries())


def test_what_is_committed_is_there_after_it_was_closed(store: Store, tmp_path: Path) -> None:
    store = reopened(store, tmp_path)
    assert store.apps() == [App("app", "shop", "http://x")]
    assert store.functions() == [(FUNCTION, False)]
    assert store.event("01A") == EVENT
    run = store.run("01B")
    assert run is not None
    assert (run.status, run.event_ids, run.output) == ("Scheduled", ("01A",), None)
    store.close()


def test_a_transaction_that_breaks_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.transaction():
        store.apply(StepSaved("01B", "a", "1"))
        store.put_event(Event("01Z", "z", "z", {}, 1, 1))
        raise RuntimeError
    assert store.steps("01B") == {}
    assert store.event("01Z") is None
    store.close()


def test_a_savepoint_that_breaks_leaves_the_rest(store: Store) -> None:
    with store.transaction():
        store.apply(StepSaved("01B", "a", "1"))
        with pytest.raises(RuntimeError), store.savepoint():
            store.apply(StepSaved("01B", "b", "2"))
            raise RuntimeError
    assert store.steps("01B") == {"a": 1}
    store.close()


def test_a_full_disk_undoes_the_whole_transaction(store: Store) -> None:
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreTrouble, match="full"), store.transaction():
        store.apply(StepSaved("01B", "a", "1"))
        with store.savepoint():
            store.apply(StepSaved("01B", "b", '"' + "x" * 100_000 + '"'))
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert store.steps("01B") == {}
    with store.transaction():
        store.apply(StepSaved("01B", "a", "1"))
    assert store.steps("01B") == {"a": 1}
    store.close()


def test_steps_keep_the_order_of_completion_and_their_first_value(store: Store) -> None:
    with store.transaction():
        for step_id, text in (("z", "1"), ("a", "null"), ("m", '"ü"')):
            store.apply(StepSaved("01B", step_id, text))
    assert list(store.steps("01B").items()) == [("z", 1), ("a", None), ("m", "ü")]
    state = store.state("01B", {"id": FUNCTION}, ["a", "nothing"])
    assert state is not None
    assert (state.step_count, state.state_bytes) == (3, 9)
    assert state.stored == {"a"}
    store.close()


def test_a_job_is_queued_once_and_given_out_once(store: Store, tmp_path: Path) -> None:
    job = Job("j", "call", "01B", due_ms=10)
    with store.transaction():
        store.apply(JobQueued(job))
        store.apply(JobQueued(Job("j", "call", "01B", due_ms=99)))
    assert store.due(timers=False, now_ms=9, limit=5) == []
    assert store.due(timers=False, now_ms=10, limit=5) == [job]
    store.lease("j", "engine", 10)
    assert store.due(timers=False, now_ms=10, limit=5) == []
    store = reopened(store, tmp_path)
    assert store.next_due_ms(timers=False) is None, "a lease outlives its engine"
    store.release_all()
    assert store.due(timers=False, now_ms=10, limit=5) == [job]
    store.apply(JobRetried(Job("j", "call", "01B", due_ms=20, attempt=1, generation=2)))
    assert store.next_due_ms(timers=False) == 20
    store.apply(JobDone("j"))
    assert store.job("j") is None
    store.close()


def test_work_comes_by_time_then_first_come_first(store: Store) -> None:
    for job_id, due_ms in (("c", 2), ("a", 1), ("b", 1)):
        store.apply(JobQueued(Job(job_id, "call", "01B", due_ms)))
    due = store.due(timers=False, now_ms=5, limit=5)
    assert [job.job_id for job in due] == ["a", "b", "c"]
    store.close()


def test_the_end_of_a_run_takes_its_work_and_waits_along(store: Store) -> None:
    with store.transaction():
        store.apply(JobQueued(Job("j", "sleep", "01B", 99, step_id="s", name="nap")))
        store.apply(JobQueued(Job("p", "timeout", "01B", 99, step_id="w")))
        store.apply(PauseSet(Pause("p", "event", "01B", "a/c", 8, 99, "w", "wait")))
        store.apply(RunEnded("01B", "Cancelled", {}, 50))
    assert store.listeners("event", "a/c") == []
    assert not store.has_open_work("01B")
    rows = store.timeline("01B")
    assert [(row.name, row.status, row.ended_ms) for row in rows] == [
        ("nap", "Cancelled", 50),
        ("wait", "Cancelled", 50),
    ]
    store.close()


def test_a_call_under_way_bears_the_name_of_its_function(store: Store) -> None:
    with store.transaction():
        store.apply(JobQueued(Job("j", "call", "01B", 9, claimed_ms=9)))
        store.apply(RunEnded("01B", "Failed", {}, 50))
    (row,) = store.timeline("01B")
    assert (row.name, row.kind, row.status) == ("f", "Function", "Cancelled")
    store.close()


def test_a_step_that_broke_is_forgotten_when_the_call_saves_one(store: Store) -> None:
    broken = {"broken": {"step_id": "s", "name": "charge", "kind": "StepRun"}}
    store.apply(JobQueued(Job("j", "call", "01B", 9, attempt=1, claimed_ms=9, detail=broken)))
    assert [row.name for row in store.timeline("01B")] == ["charge"]
    store.reset_attempts("j")
    assert [row.name for row in store.timeline("01B")] == ["f"]
    store.close()


def test_a_key_is_claimed_once_until_it_runs_out(store: Store) -> None:
    claims = [store.claim_key("id", "k", now, now + 10) for now in (0, 5, 9, 10, 19)]
    assert claims == [True, False, False, True, False]
    assert store.claim_key("other", "k", 19, 29)
    store.drop_claims(20)
    assert store.claim_key("id", "k", 20, 30)
    store.close()


def test_listeners_are_found_by_what_they_listen_for(store: Store) -> None:
    for n in range(3):
        store.apply(PauseSet(Pause(f"p{n}", "event", "01B", f"e{n % 2}", n, 99)))
    assert [pause.pause_id for pause in store.event_listeners("e0")] == ["p0", "p2"]
    plan = store._db.execute(
        "EXPLAIN QUERY PLAN " + queries()["event_listeners"], {"key": "e0"}
    ).fetchall()
    assert "USING INDEX pauses_by_key" in plan[0]["detail"]
    store.close()


def test_a_file_that_is_no_database_is_refused_and_let_go(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be looked at" * 40)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        Store(path)
    path.unlink()
