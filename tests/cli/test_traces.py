"""Recorded runs, read from files of runs and of exchanges."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from inngest_sdk.steps import hash_id
from inngest_serverless.cli.problems import WrongUse
from inngest_serverless.cli.traces import Trace, TracedStep, read_traces

CAPTURES = Path(__file__).parent.parent / "captures"
EVENT = {"name": "a/b", "data": {"n": 1}, "id": "e", "ts": 1}
RUN: dict[str, Any] = {
    "run_id": "01RUN",
    "function_id": "shop-f",
    "status": "Completed",
    "events": [EVENT],
    "steps": [],
}
STEP = {"id": hash_id("a"), "name": "a", "op": "StepRun", "memo": {"data": 1}}
CALL: dict[str, Any] = {
    "direction": "server-to-app",
    "request": {
        "method": "POST",
        "path": "/",
        "query": "fnId=shop-f&stepId=step",
        "body": {"ctx": {"run_id": "01RUN"}, "event": EVENT, "steps": {}},
    },
    "response": {"status": 206, "headers": {}, "body": []},
}


def called(**body: Any) -> dict[str, Any]:
    """A recorded call with these fields in its body."""
    request = {**CALL["request"], "body": {**CALL["request"]["body"], **body}}
    return {**CALL, "request": request}


def answered(call: Mapping[str, Any], **response: Any) -> dict[str, Any]:
    """The call with an answer that has these fields."""
    return {**call, "response": {**CALL["response"], **response}}


def traced(row: Mapping[str, Any], tmp_path: Path) -> Trace:
    """The one run of a file with this line."""
    file = tmp_path / "trace.jsonl"
    file.write_text(json.dumps(row), encoding="utf-8")
    [trace] = read_traces([file])
    return trace


# ── files of runs ────────────────────────────────────────────────────────────────────────────────


def test_an_exported_run_is_read(tmp_path: Path) -> None:
    planned = {"id": hash_id("b"), "name": "b", "op": "Sleep"}
    trace = traced({**RUN, "steps": [STEP], "open": [planned]}, tmp_path)
    assert (trace.run_id, trace.function_id, trace.status) == ("01RUN", "shop-f", "Completed")
    assert [event.name for event in trace.events] == ["a/b"]
    assert trace.finished == (TracedStep(hash_id("a"), "a", "StepRun"),)
    assert trace.memos == {hash_id("a"): '{"data": 1}'}
    assert trace.open == (TracedStep(hash_id("b"), "b", "Sleep"),)


def test_a_run_with_one_event_and_steps_without_names_will_do(tmp_path: Path) -> None:
    trace = traced(
        {**RUN, "events": None, "event": EVENT, "steps": [{"id": "h", "memo": 1}]}, tmp_path
    )
    assert trace.events[0].id == "e"
    assert trace.finished == (TracedStep("h", "h", ""),)


def test_a_step_whose_arguments_were_edited_has_not_finished(tmp_path: Path) -> None:
    trace = traced({**RUN, "steps": [{**STEP, "memo": {"input": ["x"]}}]}, tmp_path)
    assert trace.finished == ()
    assert trace.open == (TracedStep(hash_id("a"), "a", "StepRun"),)


def test_folders_are_read_in_the_order_of_their_files(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/z.jsonl", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({**RUN, "run_id": name}), encoding="utf-8")
    assert [trace.run_id for trace in read_traces([tmp_path])] == ["a/z.jsonl", "b.jsonl"]


def test_runs_are_read_one_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps(RUN) + "\nnot JSON", encoding="utf-8")
    traces = read_traces([file])
    assert next(traces).run_id == "01RUN"
    with pytest.raises(WrongUse, match="line 2"):
        next(traces)


# ── recorded exchanges ───────────────────────────────────────────────────────────────────────────


def test_a_run_is_put_together_from_its_calls_and_checkpoints() -> None:
    runs_of = {trace.function_id: trace for trace in read_traces([CAPTURES / "js-dev.jsonl"])}
    trace = runs_of["js-ckpt"]
    assert [step.name for step in trace.finished] == ["s0", "s1", "s2", "s3", "s4", "z", "t"]
    assert (trace.status, trace.open) == ("Completed", ())
    assert runs_of["js-fail"].status == "Failed"


def test_large_state_that_was_fetched_is_part_of_the_run() -> None:
    traces = {trace.function_id: trace for trace in read_traces([CAPTURES / "py-dev.jsonl"])}
    trace = traces["shop-big-state"]
    assert len(trace.finished) == len(trace.memos) == 6
    assert trace.events[0].name == "cap/big-state"


def test_exchanges_that_are_no_calls_of_functions_are_passed_over(tmp_path: Path) -> None:
    request = CALL["request"]
    others = [
        {**CALL, "request": {**request, "method": "GET", "body": None}},
        {**CALL, "request": {**request, "query": "probe=trust", "body": {}}},
        {**CALL, "direction": "app-to-server", "request": {"path": "/fn/register", "body": {}}},
        {**CALL, "direction": "app-to-server", "request": {"path": "/e/key", "body": []}},
    ]
    file = tmp_path / "calls.jsonl"
    file.write_text("\n".join(map(json.dumps, [*others, CALL])), encoding="utf-8")
    [trace] = read_traces([file])
    assert (trace.run_id, trace.status) == ("01RUN", "Running")


@pytest.mark.parametrize(
    ("ctx", "response", "status"),
    [
        ({}, {"status": 200, "body": 1}, "Completed"),
        ({}, {"status": 500, "headers": {"x-inngest-no-retry": "true"}}, "Failed"),
        ({"attempt": 3, "max_attempts": 4}, {"status": 500}, "Failed"),
        ({"attempt": 2, "max_attempts": 4}, {"status": 500}, "Running"),
        ({}, {"status": 206, "body": {"op": "RunComplete", "id": "x", "data": 1}}, "Completed"),
        ({}, {"status": 206, "body": [{"op": "None"}]}, "Running"),
    ],
)
def test_the_last_answer_tells_how_a_run_ended(
    ctx: dict[str, Any], response: dict[str, Any], status: str, tmp_path: Path
) -> None:
    exchange = answered(called(ctx={"run_id": "01RUN", **ctx}), **response)
    assert traced(exchange, tmp_path).status == status


def test_a_step_that_failed_comes_with_its_error(tmp_path: Path) -> None:
    error = {"name": "ValueError", "message": "no"}
    op = {"op": "StepFailed", "id": hash_id("a"), "displayName": "a", "error": error}
    trace = traced(answered(CALL, body=[op]), tmp_path)
    assert json.loads(trace.memos[hash_id("a")]) == {"error": error}


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────

WRONG: dict[str, tuple[Any, str]] = {
    "not JSON": ("{", "line 2: not JSON: Expecting"),
    "no object": ([1], "line 2: list, where an object belongs"),
    "neither kind": ({}, "line 2: neither a run, which has a run_id, nor an exchange"),
    "no text": ({**RUN, "run_id": 7}, "line 2: run_id must be a text that is not empty, not 7"),
    "no function": ({**RUN, "function_id": None}, "line 2: function_id must be a text"),
    "no status": ({**RUN, "status": ""}, "line 2: status must be a text"),
    "no event": ({**RUN, "events": []}, "line 2: events[0] must be an object, not null"),
    "no list": ({**RUN, "steps": "abc"}, "line 2: steps must be a list, not str"),
    "no step": ({**RUN, "steps": [1]}, "line 2: steps[0] must be an object, not int"),
    "no hash": ({**RUN, "open": [{}]}, "line 2: open[0].id must be a text"),
    "no memo": (
        {**RUN, "steps": [{"id": "h", "name": "a"}]},
        "line 2: step 'a' has no memo; is it one of `open`?",
    ),
    "no request": ({**CALL, "request": None}, "line 2: request must be an object"),
    "no response": ({**CALL, "response": 1}, "line 2: response must be an object, not int"),
    "no run": (called(ctx={}), "line 2: request.body.ctx.run_id must be a text"),
    "an op without a kind": (answered(CALL, body=[{}]), "line 2: op must be a text"),
    "a value that is missing": (
        called(ctx={"run_id": "01RUN", "stack": {"stack": ["h"]}}),
        "run 01RUN: what step h came to is not recorded",
    ),
    "a checkpoint without a call": (
        {
            "direction": "app-to-server",
            "request": {"path": "/v1/checkpoint/01RUN/async", "body": {"steps": []}},
            "response": {"status": 200},
        },
        "run 01RUN has checkpoints, but no call",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_line_that_is_wrong_is_named_with_what_is_wrong(case: str, tmp_path: Path) -> None:
    row, said = WRONG[case]
    text = row if isinstance(row, str) else json.dumps(row)
    file = tmp_path / "bad.jsonl"
    file.write_text(f"\n{text}\n", encoding="utf-8")
    with pytest.raises(WrongUse) as caught:
        list(read_traces([file]))
    assert caught.value.exit_code == 2
    place = f"{file}, " if said.startswith("line") else f"{file}: "
    assert caught.value.message.startswith(place + said)
