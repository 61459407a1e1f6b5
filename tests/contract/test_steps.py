"""Steps: what a call reports of them (wire.md A8, A9, A15)."""

from __future__ import annotations

import pytest

from tests.contract.doors import Door, hashed

BOTH = pytest.mark.parametrize("fn_id", ["steps", "steps-sync"])
FAILURES = [
    ("retriable", "StepError", "false", None),
    ("final", "StepFailed", "true", None),
    ("later", "StepError", "false", "30"),
]
WAITS = [
    ("sleeps", "Sleep", "nap"),
    ("waits", "WaitForEvent", "paid"),
    ("invokes", "InvokeFunction", "ask"),
]


@BOTH
def test_a_call_runs_one_step_and_reports_it(door: Door, fn_id: str) -> None:
    (op,) = door.call(fn_id, "größer").ops
    assert (op["op"], op["id"], op["data"]) == ("StepRun", hashed("first"), "größer")
    assert op["displayName"] == "first"


@BOTH
def test_a_step_that_is_done_is_not_run_again(door: Door, fn_id: str) -> None:
    (op,) = door.call(fn_id, "größer", steps={hashed("first"): {"data": "kept"}}).ops
    assert (op["id"], op["data"]) == (hashed("second"), ["kept", "second"])


@BOTH
def test_a_function_whose_steps_are_done_returns(door: Door, fn_id: str) -> None:
    done = {hashed("first"): {"data": 1}, hashed("second"): {"data": 2}}
    reply = door.call(fn_id, "größer", steps=done)
    assert (reply.status, reply.json()) == (200, {"of": "größer", "second": 2})


@pytest.mark.parametrize(("kind", "op", "no_retry", "after"), FAILURES)
def test_a_failed_step_says_whether_to_try_again(
    door: Door, kind: str, op: str, no_retry: str, after: str | None
) -> None:
    reply = door.call("step-fails", kind)
    (found,) = reply.ops
    assert (found["op"], found["error"]["message"]) == (op, "größer als der Vorrat")
    assert reply.headers["x-inngest-no-retry"] == no_retry
    assert reply.headers.get("retry-after") == after


def test_a_step_that_fails_at_the_last_try_has_failed(door: Door) -> None:
    (op,) = door.call("step-fails", "retriable", attempt=3, max_attempts=4).ops
    assert op["op"] == "StepFailed"


def test_an_error_that_the_server_remembers_is_raised_again(door: Door) -> None:
    error = {"name": "ValueError", "message": "größer als der Vorrat"}
    reply = door.call("step-fails", "retriable", steps={hashed("fail"): {"error": error}})
    assert (reply.status, reply.json()["message"]) == (500, "größer als der Vorrat")
    assert reply.headers["x-inngest-no-retry"] == "true"


def test_several_steps_are_planned_in_one_answer(door: Door) -> None:
    found = [(op["op"], op["id"]) for op in door.call("parallel").ops]
    assert found == [("StepPlanned", hashed("left")), ("StepPlanned", hashed("right"))]


def test_a_step_that_the_server_names_runs_alone(door: Door) -> None:
    (op,) = door.call("parallel", step=hashed("right"), disable_immediate_execution=True).ops
    assert (op["op"], op["id"], op["data"]) == ("StepRun", hashed("right"), "r")


def test_a_step_that_the_server_names_and_that_is_not_there_is_no_success(door: Door) -> None:
    # A sync one: whether an async function still gets there is known only after seconds.
    reply = door.call("steps-sync", step=hashed("nowhere"), disable_immediate_execution=True)
    assert reply.status == 500
    assert reply.headers["x-inngest-no-retry"] == "false"


def test_a_step_is_only_planned_where_the_server_wants_no_more(door: Door) -> None:
    (op,) = door.call("steps", disable_immediate_execution=True).ops
    assert (op["op"], op["id"]) == ("StepPlanned", hashed("first"))


@pytest.mark.parametrize(("fn_id", "kind", "name"), WAITS)
def test_what_the_server_has_to_do_is_reported(
    door: Door, fn_id: str, kind: str, name: str
) -> None:
    (op,) = door.call(fn_id).ops
    assert (op["op"], op["id"]) == (kind, hashed(name))
    assert op["opts"]
