"""`inngest-serverless runs`, `runs export` and `run`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from inngest_serverless.cli.runs import TraceApi, export_command
from inngest_serverless.cli.show import outcome

from .answering import Answer, answering
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


def test_runs_are_exported_one_a_line(invoke: Invoke, engine: str) -> None:
    ids = [run_of(invoke, engine, "test/greet", {"name": name}) for name in ("j\u00f6", "\u2028")]
    for run_id in ids:
        invoke("run", run_id, "--wait", "--timeout", "30")
    done = invoke("runs", "export", *ids, ids[0])
    assert done.exit_code == 0, done.output
    traces = [json.loads(line) for line in done.stdout.splitlines()]
    assert [trace["run_id"] for trace in traces] == ids
    assert traces[0]["function_id"] == "greeter-greet"
    assert traces[0]["event"]["data"] == {"name": "j\u00f6"}
    (step,) = traces[0]["steps"]
    assert (step["name"], step["op"], step["memo"]) == ("shout", "StepRun", {"data": "J\u00d6"})
    assert (traces[0]["open"], traces[0]["output"]) == ([], "J\u00d6")


def test_all_runs_of_a_function_are_exported_to_a_file_oldest_first(
    invoke: Invoke, engine: str, tmp_path: Path
) -> None:
    ids = [run_of(invoke, engine, "test/refuse", {}) for _ in range(3)]
    invoke("run", ids[-1], "--wait", "--timeout", "30")
    path = tmp_path / "traces.jsonl"
    words = ("--function", "greeter-refuse", "--output", str(path))
    done = invoke("runs", "export", *words)
    assert (done.exit_code, done.stdout) == (0, ""), done.output
    found = [json.loads(line)["run_id"] for line in path.read_text().splitlines()]
    assert done.stderr == f"wrote {len(found)} to {path}\n"
    assert found[-3:] == ids
    assert found == sorted(found)
    for page in (1, 2, 1000):
        assert asyncio.run(ids_of(engine, page)) == found


async def ids_of(engine: str, page: int) -> list[str]:
    api = TraceApi(engine)
    async with api:
        return await api.ids_of("greeter-refuse", page=page)


def test_an_export_without_a_choice_holds_all_runs(invoke: Invoke, engine: str) -> None:
    listed = json.loads(invoke("runs", "--json").output)
    exported = [json.loads(line) for line in invoke("runs", "export").output.splitlines()]
    assert len(listed) > 1
    assert [each["run_id"] for each in exported] == [each["run_id"] for each in listed][::-1]


def test_an_export_of_a_run_that_is_not_there_writes_nothing(
    invoke: Invoke, engine: str, tmp_path: Path
) -> None:
    run_id = run_of(invoke, engine, "test/greet", {"name": "ada"})
    path = tmp_path / "traces.jsonl"
    done = invoke("runs", "export", run_id, "01JD8Z5W3N6YQH8V2K4M7T9XAB", "--output", str(path))
    assert done.exit_code == 1
    assert "01JD8Z5W3N6YQH8V2K4M7T9XAB" in done.output
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_said_so(
    invoke: Invoke, engine: str, tmp_path: Path
) -> None:
    run_id = run_of(invoke, engine, "test/greet", {"name": "ada"})
    done = invoke("runs", "export", run_id, "--output", str(tmp_path / "none" / "traces.jsonl"))
    assert done.exit_code == 1, done.exception
    assert "cannot write" in done.output


@pytest.mark.parametrize("words", [("--json",), ("--function", "f"), ("--limit", "1")])
def test_options_of_the_list_before_export_are_refused(
    invoke: Invoke, engine: str, words: tuple[str, ...]
) -> None:
    done = invoke("runs", *words, "export", "x")
    assert done.exit_code == 2
    assert f"{words[0]} is for listing runs" in done.output


def test_every_option_of_export_is_in_the_reference() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference.md"
    section = page.read_text("utf-8").split("### runs export\n")[1].split("\n##")[0]
    names = [name for each in export_command.params for name in each.opts if name[:2] == "--"]
    assert [name for name in names if f"`{name}" not in section] == []


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


def test_an_app_is_not_taken_for_an_engine(invoke: Invoke, app_url: str) -> None:
    origin = str(httpx.URL(app_url).copy_with(path="/"))
    for words in (("runs",), ("run", "x"), ("send", "test/x")):
        done = invoke(*words, "--url", origin)
        assert done.exit_code == 1, done.exception
        assert "is it an Inngest engine?" in done.output


def test_json_that_is_no_answer_of_an_engine_is_called_that(invoke: Invoke) -> None:
    with answering(lambda request: Answer(200, {}, b'{"message": "hello"}')) as url:
        done = invoke("runs", "--url", url)
    assert done.exit_code == 1, done.exception
    assert "is it an Inngest engine?" in done.output


def test_an_engine_is_found_without_any_proxy(
    invoke: Invoke, engine: str, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", closed)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    done = invoke("runs")
    assert done.exit_code == 0, done.output


def test_a_url_without_a_host_is_a_wrong_command_line(invoke: Invoke) -> None:
    assert invoke("runs", "--url", "http://").exit_code == 2


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_terminal_without_unicode_shows_a_run_all_the_same(
    invoke: Invoke, engine: str, words: tuple[str, ...]
) -> None:
    run_id = run_of(invoke, engine, "test/greet", {"name": "\u00fc"})
    invoke("run", run_id, "--wait", "--timeout", "30")
    done = subprocess.run(
        [sys.executable, "-m", "inngest_serverless.cli", "run", run_id, *words],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    if words:
        assert json.loads(done.stdout)["run"]["output"] == "\u00dc"
    else:
        assert "\\xdc" in done.stdout


def test_an_error_in_the_engines_own_words_reads_like_any_other() -> None:
    error = {"error": "Error: too big", "name": "Overflow", "message": "too big"}
    assert outcome({"status": "Failed", "output": {"error": error}}) == "Overflow: too big"
    assert outcome({"status": "Failed", "output": error}) == "Overflow: too big"
    assert outcome({"status": "Failed", "output": {"error": "odd"}}) == '{"error": "odd"}'
    assert outcome({"status": "Completed", "output": {"message": "x"}}) == '{"message": "x"}'


def test_words_that_are_not_utf_8_name_nothing(invoke: Invoke, engine: str) -> None:
    for words in (("run", "\udcff"), ("runs", "--function", "\udcff")):
        done = invoke(*words)
        assert done.exit_code == 1, done.exception
        assert "Error: " in done.output
