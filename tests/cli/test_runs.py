"""`inngest-serverless runs` and `inngest-serverless run`."""

from __future__ import annotations

import json
from typing import Any

import httpx

from .conftest import Invoke


def run_of(invoke: Invoke, engine: str, name: str, data: dict[str, Any]) -> str:
    """Send an event and return the id of the run that it starts."""
    sent = invoke("send", name, "--data", json.dumps(data), "--json")
    (event_id,) = json.loads(sent.output)["ids"]
    while not (rows := httpx.get(f"{engine}/v1/events/{event_id}/runs").json()["data"]):
        pass  # the engine makes the run a moment after it has taken the event
    run_id: str = rows[0]["run_id"]
    return run_id


def test_a_run_is_shown_with_its_steps_and_its_output(invoke: Invoke, engine: str) -> None:
    run_id = run_of(invoke, engine, "test/greet", {"name": "ada"})
    done = invoke("run", run_id, "--wait", "--timeout", "30")
    assert done.exit_code == 0, done.output
    for part in ("greeter-greet", run_id, "Completed", "shout", '"ADA"', "test/greet"):
        assert part in done.output


def test_waiting_for_a_run_that_fails_exits_1_and_shows_why(invoke: Invoke, engine: str) -> None:
    run_id = run_of(invoke, engine, "test/refuse", {})
    done = invoke("run", run_id, "--wait", "--timeout", "30")
    assert done.exit_code == 1
    assert "not today" in done.output


def test_with_json_a_run_comes_with_its_timeline(invoke: Invoke, engine: str) -> None:
    run_id = run_of(invoke, engine, "test/greet", {"name": "bob"})
    detail = json.loads(invoke("run", run_id, "--wait", "--timeout", "30", "--json").output)
    assert detail["run"]["output"] == "BOB"
    assert "shout" in [line["name"] for line in detail["timeline"]]


def test_runs_are_listed_by_status_and_function(invoke: Invoke, engine: str) -> None:
    run_id = run_of(invoke, engine, "test/refuse", {})
    invoke("run", run_id, "--wait", "--timeout", "30")
    assert run_id in invoke("runs").output
    failed = invoke("runs", "--status", "failed", "--function", "greeter-refuse", "--json")
    assert run_id in [row["run_id"] for row in json.loads(failed.output)]
    other = invoke("runs", "--function", "greeter-greet", "--json")
    assert run_id not in [row["run_id"] for row in json.loads(other.output)]


def test_no_runs_is_said_so(invoke: Invoke, engine: str) -> None:
    assert invoke("runs", "--status", "Cancelled").output == "no runs\n"


def test_an_unknown_function_is_answered_with_those_there_are(invoke: Invoke, engine: str) -> None:
    done = invoke("runs", "--function", "nobody")
    assert done.exit_code == 1
    assert "greeter-greet" in done.output


def test_an_unknown_run_is_not_found(invoke: Invoke, engine: str) -> None:
    done = invoke("run", "01JD8Z5W3N6YQH8V2K4M7T9XAB")
    assert done.exit_code == 1
    assert "01JD8Z5W3N6YQH8V2K4M7T9XAB" in done.output


def test_without_an_engine_a_command_says_how_to_start_one(invoke: Invoke, closed: str) -> None:
    for words in (("runs",), ("run", "x"), ("send", "test/x")):
        done = invoke(*words, "--url", closed)
        assert done.exit_code == 3
        assert closed in done.output
        assert "inngest-serverless dev" in done.output


def test_what_is_not_an_engine_is_called_that(invoke: Invoke, app_url: str) -> None:
    done = invoke("runs", "--url", app_url)
    assert done.exit_code == 1
