"""The rules as tables: state and happening in, changes out."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from inngest_serverless.engine import rules
from inngest_serverless.engine.changes import (
    Cancelled,
    Change,
    EventEmitted,
    Facts,
    Happening,
    Job,
    JobDone,
    JobQueued,
    JobRetried,
    Pause,
    PauseSet,
    Replied,
    RunEnded,
    RunProgressed,
    RunState,
    StepSaved,
    Stuck,
    Woke,
)
from inngest_serverless.engine.model import (
    Event,
    Failed,
    Finished,
    FunctionConfig,
    Ops,
    Reply,
)
from inngest_serverless.engine.retry import retry_ms

NOW = 1_000_000
FUNCTION = FunctionConfig("id", "app", "shop", "shop-f", "f", "http://x", retries=2)
EVENT = Event("01A", "e1", "a/b", {}, NOW, NOW)
STATE = RunState("01B", FUNCTION, "Running", (EVENT,))
JOB = Job("job", "call", "01B", NOW, claimed_ms=NOW)


def facts() -> Facts:
    ids = itertools.count()
    return Facts(NOW, lambda: f"id{next(ids)}", 0.5, lambda function_id: None)


def op(kind: str, id: str, **fields: Any) -> dict[str, Any]:
    return {"op": kind, "id": id, "name": id, **fields}


def told(happening: Happening, **state: Any) -> list[Change]:
    return rules.step(replace(STATE, **state), happening, facts())


def after(reply: Reply, job: Job = JOB, /, **state: Any) -> list[Change]:
    return told(Replied(job, reply), **state)


def queued(changes: list[Change]) -> list[Job]:
    return [change.job for change in changes if isinstance(change, JobQueued)]


def progress(changes: list[Change]) -> RunProgressed:
    (found,) = (change for change in changes if isinstance(change, RunProgressed))
    return found


def end(changes: list[Change]) -> RunEnded:
    (found,) = (change for change in changes if isinstance(change, RunEnded))
    return found


PLAN_A, PLAN_B = op("StepPlanned", "a"), op("StepPlanned", "b")
RUN_A, SLEEP = op("StepRun", "a", data=1), op("Sleep", "s", opts={"duration": "1s"})
RACE = {"opts": {"parallelMode": "race"}}


@pytest.mark.parametrize(
    ("ops", "version", "planning", "pending", "racing"),
    [
        ((RUN_A,), 2, False, set(), False),
        ((PLAN_A,), 2, False, set(), False),
        ((PLAN_A, PLAN_B), 2, True, {"a", "b"}, False),
        ((PLAN_A, PLAN_B), 1, True, set(), False),
        ((PLAN_A | RACE, PLAN_B | RACE), 2, True, {"a", "b"}, True),
        ((RUN_A, op("StepRun", "b", data=1)), 2, False, set(), False),
        ((RUN_A, SLEEP), 2, True, {"s"}, False),
        ((RUN_A, SLEEP), 1, True, set(), False),
        ((SLEEP, op("None", "n")), 2, False, set(), False),
    ],
)
def test_an_answer_opens_a_section(
    ops: Any, version: int, planning: bool, pending: set[str], racing: bool
) -> None:
    found = progress(after(Ops(ops, version)))
    assert (found.version, found.planning, found.racing) == (version, planning, racing)
    assert found.pending == pending


@pytest.mark.parametrize(
    ("version", "pending", "racing", "discovers", "planning"),
    [
        (2, {"a"}, False, True, False),
        (2, {"a", "b"}, False, False, True),
        (2, {"a", "b"}, True, True, True),
        (2, {"a"}, True, True, True),
        (2, {"b"}, False, True, True),
        (2, set[str](), False, True, False),
        (1, set[str](), False, True, True),
    ],
)
def test_a_completion_in_a_section_discovers_or_waits(
    version: int, pending: set[str], racing: bool, discovers: bool, planning: bool
) -> None:
    changes = after(
        Ops((RUN_A,), version),
        replace(JOB, step_id="a"),
        version=version,
        planning=True,
        pending=frozenset(pending),
        racing=racing,
        step_count=4,
    )
    assert [job.current for job in queued(changes)] == ([5] if discovers else [])
    kept = [change for change in changes if isinstance(change, RunProgressed)]
    assert (kept[0].planning if kept else True) is planning


@pytest.mark.parametrize(
    ("error", "attempt", "retriable", "again"),
    [
        (op("StepError", "a", error={"name": "E", "message": "m"}), 0, True, True),
        (op("StepError", "a", error={"name": "E", "message": "m"}), 1, True, True),
        (op("StepError", "a", error={"name": "E", "message": "m"}), 2, True, False),
        (op("StepError", "a", error={"name": "E", "message": "m"}), 0, False, False),
        (op("StepError", "a", error={"name": "E", "noRetry": True}), 0, True, False),
        (op("StepFailed", "a", error={"name": "E", "message": "m"}), 0, True, False),
    ],
)
def test_a_step_error_is_retried_or_stored(
    error: dict[str, Any], attempt: int, retriable: bool, again: bool
) -> None:
    changes = after(Ops((error,), 2, retriable=retriable), replace(JOB, attempt=attempt))
    retried = [change.job for change in changes if isinstance(change, JobRetried)]
    saved = [change for change in changes if isinstance(change, StepSaved)]
    assert bool(retried) is again
    assert bool(saved) is not again
    assert len(queued(changes)) == (0 if again else 1)
    for job in retried:
        assert (job.job_id, job.attempt, job.generation) == ("job", attempt + 1, 2)


def test_a_stored_error_keeps_what_the_protocol_names() -> None:
    raw = {"name": "E", "message": "m", "stack": "s", "cause": {"name": "C"}, "code": "x"}
    changes = after(Ops((op("StepFailed", "a", error=raw),), 2))
    (saved,) = (change for change in changes if isinstance(change, StepSaved))
    assert saved.text == '{"error":{"name":"E","message":"m","stack":"s","cause":{"name":"C"}}}'


@pytest.mark.parametrize(
    ("op_", "text"),
    [
        (op("StepRun", "a", data={"x": [1]}), '{"data":{"x":[1]}}'),
        (op("StepRun", "a"), '{"data":null}'),
        (op("Step", "a", data={"x": 1}), '{"x":1}'),
    ],
)
def test_values_are_stored_as_apps_get_them_back(op_: dict[str, Any], text: str) -> None:
    assert StepSaved("01B", "a", text) in after(Ops((op_,), 2))


@pytest.mark.parametrize(
    ("attempt", "retriable", "ends"), [(0, True, False), (2, True, True), (0, False, True)]
)
def test_a_failed_call_is_retried_or_ends_the_run(
    attempt: int, retriable: bool, ends: bool
) -> None:
    reply = Failed({"error": "e", "name": "E", "message": "m"}, "raw", retriable=retriable)
    changes = after(reply, replace(JOB, attempt=attempt, step_id="a"))
    assert any(isinstance(change, RunEnded) for change in changes) is ends
    if ends:
        assert (end(changes).status, end(changes).output) == ("Failed", "raw")


def test_waits_are_armed_before_what_the_same_answer_does() -> None:
    invoke = op("InvokeFunction", "i", opts={"function_id": "x", "payload": {}})
    wait = op("WaitForEvent", "w", opts={"event": "e", "timeout": "1s"})
    changes = after(Ops((invoke, wait), 2))
    pauses = [change.pause.kind for change in changes if isinstance(change, PauseSet)]
    assert pauses == ["event", "invoke"]


@pytest.mark.parametrize("known", ["stored", "waiting"])
@pytest.mark.parametrize("again", [PLAN_A, op("Sleep", "a", name="1s"), RUN_A])
def test_what_is_known_is_not_done_again(known: str, again: dict[str, Any]) -> None:
    if (known, again) == ("waiting", RUN_A):
        return  # that is how a planned step ends
    changes = after(Ops((again,), 2), version=2, **{known: frozenset({"a"})})
    assert changes == [JobDone("job")]


def test_a_run_that_ended_changes_no_more() -> None:
    for happening in (Replied(JOB, Finished(1)), Woke(JOB), Cancelled(), Stuck(JOB)):
        assert told(happening, status="Cancelled") == []


def test_nothing_follows_the_end_in_one_answer() -> None:
    complete = op("RunComplete", "c", data=5)
    changes = after(Ops((RUN_A, complete, SLEEP), 2))
    assert end(changes).output == 5
    assert queued(changes) == []


@pytest.mark.parametrize(
    ("trigger", "status", "names"),
    [
        ("a/b", "Completed", ["finished"]),
        ("a/b", "Failed", ["finished", "failed"]),
        ("a/b", "Cancelled", ["finished", "cancelled"]),
        ("inngest/function.failed", "Failed", []),
        ("inngest/function.finished", "Completed", []),
        ("inngest/function.cancelled", "Failed", ["finished", "failed"]),
    ],
)
def test_an_end_is_told_but_not_by_who_listens_for_ends(
    trigger: str, status: str, names: list[str]
) -> None:
    error = Failed({"error": "e", "name": "E", "message": "m"}, "raw", retriable=False)
    happenings: dict[str, Happening] = {
        "Completed": Replied(JOB, Finished(1)),
        "Failed": Replied(JOB, error),
        "Cancelled": Cancelled(),
    }
    changes = told(happenings[status], events=(replace(EVENT, name=trigger),))
    emitted = [change.event for change in changes if isinstance(change, EventEmitted)]
    assert [event.name.removeprefix("inngest/function.") for event in emitted] == names
    assert all(event.id == "01B" for event in emitted[1:])


@pytest.mark.parametrize(
    ("event", "resumes"),
    [
        ({}, True),
        ({"received_ms": NOW - 5000}, True),
        ({"received_ms": NOW - 5001}, False),
        ({"internal_id": "01A"}, False),
        ({"data": {"n": 2}}, False),
    ],
)
def test_a_wait_takes_a_matching_event_that_is_not_too_old(
    event: dict[str, Any], resumes: bool
) -> None:
    pause = Pause("p", "event", "01B", "a/b", NOW, NOW + 1000, expression="async.data.n == 1")
    arrived = replace(Event("01C", "e2", "a/b", {"n": 1}, NOW, NOW), **event)
    assert rules.may_resume(pause, arrived, ("01A",), NOW) is resumes


@pytest.mark.parametrize(
    ("internal_id", "now_ms", "cancels"),
    [("01C", NOW, True), ("01A", NOW, False), ("01C", NOW + 1000, False)],
)
def test_only_a_newer_event_cancels_and_only_in_time(
    internal_id: str, now_ms: int, cancels: bool
) -> None:
    pause = Pause("p", "cancel", "01B", "a/b", NOW, NOW + 1000)
    event = replace(EVENT, internal_id=internal_id)
    assert rules.may_cancel(pause, event, now_ms) is cancels


@pytest.mark.parametrize(
    ("attempt", "jitter", "seconds"),
    [(0, 0, 15), (0, 1, 45), (1, 0, 30), (2, 0.5, 75), (9, 0, 7200), (20, 0, 7200)],
)
def test_retries_wait_by_the_table(attempt: int, jitter: float, seconds: int) -> None:
    due = retry_ms(attempt, NOW, jitter=jitter, at_ms=None, interval_ms=None)
    assert due == NOW + seconds * 1000


def test_the_app_s_own_time_beats_an_interval_which_beats_the_table() -> None:
    assert retry_ms(0, NOW, jitter=1, at_ms=NOW + 7, interval_ms=5) == NOW + 7
    assert retry_ms(0, NOW, jitter=1, at_ms=NOW - 7, interval_ms=5) == NOW
    assert retry_ms(0, NOW, jitter=1, at_ms=None, interval_ms=5) == NOW + 5


def test_a_stuck_run_is_discovered_once_more_then_fails_the_attempt() -> None:
    (once,) = queued(told(Stuck(JOB), pending=frozenset({"gone"})))
    assert once.detail == {"redrives": 1}
    changes = told(Stuck(once))
    assert any(isinstance(change, JobRetried) for change in changes)
