"""`inngest-serverless check-replay`: recorded runs, replayed with today's code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator, Mapping
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from inngest_sdk.steps import hash_id
from inngest_serverless import (
    Event,
    Inngest,
    Middleware,
    MiddlewareSync,
    ParallelMode,
    StepOptions,
    Topic,
    TriggerEvent,
)
from inngest_serverless.cli.replaying import Compared, Verdict, compare
from inngest_serverless.cli.traces import Trace, read_traces
from tests.captures.shop import shop
from tests.sdk.play import Body, Mode, app, both, define

from .conftest import APPS, Invoke
from .test_runs import run_of

Steps = Generator[Any, Any, Any]
MODES: tuple[Mode, ...] = ("sync", "async")
CAPTURES = Path(__file__).parent.parent / "captures"
EVENT = {"name": "a/b", "data": {"n": 1}, "id": "e", "ts": 1}


def record(
    handler: Callable[[Any], Any], order: tuple[str, ...] = (), client: Inngest | None = None
) -> dict[str, Any]:
    """A run of the function from its beginning to its end, as it is exported. Planned steps finish
    in `order`."""
    played = define(handler, client)
    output = played.finish(order=order)
    ops = [op for answer in played.answers if answer.status == 206 for op in answer.json()]
    found = {op["id"]: op for op in ops}
    steps = [{**line(found[hashed]), "memo": played.steps[hashed]} for hashed in played.stack]
    open_steps = [line(op) for op in found.values() if op["id"] not in played.steps]
    return {
        "run_id": "01RUN",
        "function_id": played.function.id,
        "status": "Completed",
        "event": EVENT,
        "events": [EVENT],
        "steps": steps,
        "open": open_steps,
        "output": output,
    }


def line(op: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": op["id"], "name": op["displayName"], "op": op["op"]}


def traced(run: Mapping[str, Any], tmp_path: Path) -> Trace:
    file = tmp_path / "trace.jsonl"
    file.write_text(json.dumps(run) + "\n", encoding="utf-8")
    [trace] = read_traces([file])
    return trace


def checked(handler: Callable[[Any], Any], trace: Trace, **options: Any) -> Compared:
    return compare(define(handler, **options).client, trace)


def runs(*names: str) -> Body:
    """A function of these steps, one after the other."""

    def body(ctx: Any) -> Steps:
        for name in names:
            yield ctx.step.run(name, str.upper, name)

    return body


def looped(ctx: Any) -> Steps:
    for _ in range(3):
        yield ctx.step.run("charge", lambda: 1)


def looped_with_ids(ctx: Any) -> Steps:
    for number in range(3):
        yield ctx.step.run(f"charge-{number}", lambda: 1)


def looped_twice(ctx: Any) -> Steps:
    for _ in range(2):
        yield ctx.step.run("charge", lambda: 1)


def in_parallel(ctx: Any) -> Steps:
    yield ctx.group.parallel(
        (lambda: ctx.step.run("a", str.upper, "a"), lambda: ctx.step.run("b", str.upper, "b"))
    )
    yield ctx.step.run("c", str.upper, "c")


def another_in_parallel(ctx: Any) -> Steps:
    yield ctx.group.parallel(
        (
            lambda: ctx.step.run("a", str.upper, "a"),
            lambda: ctx.step.run("z", str.upper, "z"),
            lambda: ctx.step.run("b", str.upper, "b"),
        )
    )
    yield ctx.step.run("c", str.upper, "c")


def shown_as_charge(step_id: str) -> Body:
    def body(ctx: Any) -> Steps:
        yield ctx.step.run(StepOptions(step_id, name="Charge the card"), lambda: 1)
        yield ctx.step.run("mail", lambda: 1)

    return body


def needing_the_new_one(ctx: Any) -> Steps:
    user = yield ctx.step.run("load-user", lambda: {"email": "a@b"})
    yield ctx.step.run("a", str.upper, user["email"])


def needing_the_new_one_in_a_loop(ctx: Any) -> Steps:
    user = yield ctx.step.run("load-user", lambda: {"email": "a@b"})
    for number in range(3):
        yield ctx.step.run(f"charge-{number}", str.upper, user["email"])


def polling(ctx: Any) -> Steps:
    while not (yield ctx.step.run("poll", lambda: 1)):
        pass
    yield ctx.step.run("a", str.upper, "a")


def failing(ctx: Any) -> Steps:
    a = yield ctx.step.run("a", str.upper, "a")
    raise ValueError(f"{a} is not what it was")


def sleeping(ctx: Any) -> Steps:
    yield ctx.step.sleep("a", timedelta(hours=1))


def invoking(ctx: Any) -> Steps:
    yield ctx.step.invoke_by_id("a", function_id="other")


def raising_at_first(ctx: Any) -> Steps:
    if ctx.attempt == 0:
        raise ValueError("once")
    yield ctx.step.run("a", str.upper, "a")


CHANGES: dict[str, tuple[Body, Body, Compared]] = {
    "none": (runs("a", "b"), runs("a", "b"), Compared()),
    "none, with a loop": (looped, looped, Compared()),
    "none, in parallel": (in_parallel, in_parallel, Compared()),
    "a step renamed": (
        runs("a", "b"),
        runs("a", "b2"),
        Compared(orphans=("b",), new=("b2",)),
    ),
    "a step renamed that others follow": (
        runs("a", "b", "c"),
        runs("a2", "b", "c"),
        Compared(orphans=("a",), new=("a2",)),
    ),
    "a step put before": (runs("a", "b"), runs("z", "a", "b"), Compared(new=("z",))),
    "a step put between": (runs("a", "b"), runs("a", "z", "b"), Compared(new=("z",))),
    "a step put behind": (runs("a", "b"), runs("a", "b", "z"), Compared(new=("z",))),
    "steps changed places": (runs("a", "b", "c"), runs("c", "b", "a"), Compared()),
    "a step removed": (runs("a", "b", "c"), runs("a", "c"), Compared(orphans=("b",))),
    "the last step removed": (runs("a", "b"), runs("a"), Compared(orphans=("b",))),
    "made parallel": (runs("a", "b", "c"), in_parallel, Compared()),
    "made sequential": (in_parallel, runs("a", "b", "c"), Compared()),
    "one more in parallel": (in_parallel, another_in_parallel, Compared(new=("z",))),
    "the ids of a loop": (
        looped,
        looped_with_ids,
        Compared(orphans=("charge",), new=("charge-0", "charge-1", "charge-2")),
    ),
    "a loop cut short": (looped, looped_twice, Compared(orphans=("charge",))),
    "another id, the same name": (
        shown_as_charge("charge"),
        shown_as_charge("charge-v2"),
        Compared(reruns=("Charge the card",)),
    ),
    "a step put before that others need": (
        runs("a"),
        needing_the_new_one,
        Compared(new=("load-user",), hidden=("a",)),
    ),
    "a step put before a loop that needs it": (
        looped_with_ids,
        needing_the_new_one_in_a_loop,
        Compared(new=("load-user",), hidden=("charge-0", "charge-1", "charge-2")),
    ),
    "a renamed step that others need": (
        runs("user", "a"),
        needing_the_new_one,
        Compared(orphans=("user",), new=("load-user",), hidden=("a",)),
    ),
    "a loop put before that never ends": (
        runs("a"),
        polling,
        Compared(new=("poll",), hidden=("a",)),
    ),
    "an error": (
        runs("a", "b"),
        failing,
        Compared(fails=("ValueError: A is not what it was",)),
    ),
    "an error in the first attempt only": (runs("a"), raising_at_first, Compared()),
    "another kind of step": (
        runs("a"),
        sleeping,
        Compared(fails=("step 'a' was a StepRun and is a Sleep now, which cannot read its value",)),
    ),
    "another kind with values of the same form": (runs("a"), invoking, Compared()),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_has_its_verdict(mode: Mode, change: str, tmp_path: Path) -> None:
    old, new, verdict = CHANGES[change]
    trace = traced(record(both(mode, old)), tmp_path)
    assert checked(both(mode, new), trace) == verdict


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("change", ["none", "none, in parallel", "made parallel"])
def test_a_run_that_was_cut_off_anywhere_is_as_safe_as_the_whole(
    mode: Mode, change: str, tmp_path: Path
) -> None:
    old, new, _ = CHANGES[change]
    whole = record(both(mode, old))
    for finished in range(len(whole["steps"])):
        run = {**whole, "status": "Running", "steps": whole["steps"][:finished]}
        assert checked(both(mode, new), traced(run, tmp_path)) == Compared()


@pytest.mark.parametrize("mode", MODES)
def test_what_a_run_had_not_come_to_yet_is_no_news(mode: Mode, tmp_path: Path) -> None:
    run = {**record(both(mode, runs("a"))), "status": "Running"}
    trace = traced(run, tmp_path)
    assert checked(both(mode, runs("a", "z")), trace) == Compared()
    assert checked(both(mode, runs("z", "a")), trace) == Compared(new=("z",))
    assert checked(both(mode, runs("z")), trace) == Compared(orphans=("a",), new=("z",))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("status", "open_steps", "fails"),
    [
        ("Failed", [], False),
        ("Running", [], False),
        ("Running", [{"id": hash_id("b"), "name": "b", "op": "StepRun"}], True),
        ("Completed", [], True),
    ],
)
def test_an_error_counts_where_the_run_went_on(
    mode: Mode, status: str, open_steps: list[Any], fails: bool, tmp_path: Path
) -> None:
    run = {**record(both(mode, runs("a"))), "status": status, "open": open_steps}
    found = checked(both(mode, failing), traced(run, tmp_path))
    assert found.verdict is (Verdict.FAILS if fails else Verdict.SAFE)


@pytest.mark.parametrize("mode", MODES)
def test_a_failed_run_that_would_fail_earlier_fails(mode: Mode, tmp_path: Path) -> None:
    run = {**record(both(mode, runs("a", "b"))), "status": "Failed"}
    assert checked(both(mode, failing), traced(run, tmp_path)).verdict is Verdict.FAILS


def test_a_function_with_another_id_is_gone(tmp_path: Path) -> None:
    trace = traced(record(both("sync", runs("a"))), tmp_path)
    found = checked(both("sync", runs("a")), trace, fn_id="f2")
    assert found == Compared(gone=True)
    assert found.verdict is Verdict.GONE


# ── races ────────────────────────────────────────────────────────────────────────────────────────


async def racing(ctx: Any) -> Any:
    async def long_way() -> Any:
        await ctx.step.run("b", str.upper, "b")
        return await ctx.step.run("b2", str.upper, "b2")

    tasks = [
        asyncio.ensure_future(ctx.step.run("a", str.upper, "a")),
        asyncio.ensure_future(long_way()),
    ]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return await ctx.step.run(f"after-{done.pop().result()}", lambda: 1)


async def racing_no_more(ctx: Any) -> Any:
    await ctx.step.run("a", str.upper, "a")
    return await ctx.step.run("after-A", lambda: 1)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_race_is_safe_whoever_won(order: tuple[str, ...], tmp_path: Path) -> None:
    trace = traced(record(racing, order), tmp_path)
    assert [step.name for step in trace.finished][:2] == list(order)
    assert checked(racing, trace) == Compared()


def test_a_race_without_one_of_its_runners_loses_that_ones_work(tmp_path: Path) -> None:
    trace = traced(record(racing, ("a", "b")), tmp_path)
    assert checked(racing_no_more, trace) == Compared(orphans=("b",))


def test_what_a_loser_would_have_come_to_is_not_new(tmp_path: Path) -> None:
    """After `b` alone the loser plans `b2`; that was never seen, as `a` finished meanwhile."""
    run = record(racing, ("a", "b"))
    a, b, after = run["steps"]
    trace = traced({**run, "steps": [b, a, after]}, tmp_path)
    assert checked(racing, trace) == Compared()


@pytest.mark.parametrize("mode", MODES)
def test_a_group_that_goes_on_after_each_step_is_safe_in_any_order(
    mode: Mode, tmp_path: Path
) -> None:
    def body(ctx: Any) -> Steps:
        yield ctx.group.parallel(
            (lambda: ctx.step.run("a", lambda: 1), lambda: ctx.step.run("b", lambda: 2)),
            parallel_mode=ParallelMode.RACE,
        )
        yield ctx.step.run("c", lambda: 1)

    run = record(both(mode, body))
    a, b, c = run["steps"]
    for steps in ([a, b, c], [b, a, c]):
        assert checked(both(mode, body), traced({**run, "steps": steps}, tmp_path)) == Compared()


# ── what a replay does, and does not do ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
def test_no_step_runs_and_no_event_is_sent_though_the_code_between_steps_runs(
    mode: Mode, tmp_path: Path
) -> None:
    client = app(event_api_base_url="http://127.0.0.1:1", event_key="key")
    seen: list[str] = []

    def body(ctx: Any) -> Steps:
        yield ctx.step.run("a", lambda: seen.append("a step has run"))
        yield ctx.step.send_event("s", Event(name="a/c"))
        if mode == "sync":
            seen.append(str(len(client.send_sync([Event(name="x"), Event(name="y")]))))
        yield ctx.step.run("z", lambda: seen.append("a step has run"))

    steps = [{"id": hash_id(name), "name": name, "op": "StepRun"} for name in "as"]
    memos = [{"data": None}, {"data": {"ids": ["1"]}}]
    run = {
        "run_id": "01RUN",
        "function_id": "shop-f",
        "status": "Completed",
        "events": [EVENT],
        "steps": [{**step, "memo": memo} for step, memo in zip(steps, memos, strict=True)],
    }
    found = checked(both(mode, body), traced(run, tmp_path), client=client)
    assert found == Compared(new=("z",))
    assert seen == (["2"] if mode == "sync" else [])


def test_an_async_function_sends_no_event_between_steps_either(tmp_path: Path) -> None:
    client = app(event_api_base_url="http://127.0.0.1:1", event_key="key")

    async def sending(ctx: Any) -> list[str]:
        return await client.send(Event(name="x"))

    run = record(both("async", runs()))
    assert checked(sending, traced(run, tmp_path), client=client) == Compared()


def test_messages_are_not_published_and_nobody_is_asked(tmp_path: Path) -> None:
    client = app(api_base_url="http://127.0.0.1:1", signing_key="signkey-test-00")

    def publishing(ctx: Any) -> None:
        client.publish_sync(Topic("imports", "progress", int), 1)

    def asking(ctx: Any) -> None:
        client.subscription_token_sync("imports", ["progress"])

    trace = traced(record(both("sync", runs())), tmp_path)
    assert checked(publishing, trace, client=client) == Compared()
    client = app(api_base_url="http://127.0.0.1:1", signing_key="signkey-test-00")
    [failure] = checked(asking, trace, client=client).fails
    assert "nobody is asked while runs are replayed" in failure


class Sealed(MiddlewareSync):
    """Keeps values reversed, and counts what else it is told."""

    told = 0

    def transform_input(self, ctx: Any, function: Any, steps: Any) -> None:
        for memo in steps.values():
            memo.data = memo.data[::-1]

    def transform_output(self, result: Any) -> None:
        if result.step is not None:
            result.output = result.output[::-1]

    def before_response(self) -> None:
        type(self).told += 1


class SealedAsync(Middleware):
    async def transform_input(self, ctx: Any, function: Any, steps: Any) -> None:
        Sealed.transform_input(Sealed(self.client, None), ctx, function, steps)

    async def transform_output(self, result: Any) -> None:
        Sealed.transform_output(Sealed(self.client, None), result)


def depending_on_values(ctx: Any) -> Steps:
    value = yield ctx.step.run("one", lambda: "two")
    yield ctx.step.run(value, lambda: "three")


@pytest.mark.parametrize(
    ("mode", "middleware"), [("sync", Sealed), ("async", Sealed), ("async", SealedAsync)]
)
def test_middleware_reads_what_steps_came_to_and_is_told_nothing_else(
    mode: Mode, middleware: Any, tmp_path: Path
) -> None:
    handler = both(mode, depending_on_values)
    trace = traced(record(handler, client=app(middleware=[middleware])), tmp_path)
    assert trace.memos[hash_id("one")] == '{"data": "owt"}'
    told = Sealed.told
    assert checked(handler, trace, client=app(middleware=[middleware])) == Compared()
    assert checked(handler, trace, middleware=[middleware]) == Compared()
    assert Sealed.told == told


@pytest.mark.parametrize("mode", MODES)
def test_each_replay_sees_values_that_no_other_has_changed(mode: Mode, tmp_path: Path) -> None:
    def body(ctx: Any) -> Steps:
        names = yield ctx.step.run("names", lambda: ["a", "b"])
        while names:
            yield ctx.step.run(names.pop(), lambda: 1)

    trace = traced(record(both(mode, body)), tmp_path)
    assert checked(both(mode, body), trace) == Compared()


@pytest.mark.parametrize("name", ["py-dev", "py-signed"])
def test_what_a_real_server_recorded_is_safe_with_the_same_functions(name: str) -> None:
    client = shop(is_production=False)
    traces = list(read_traces([CAPTURES / f"{name}.jsonl"]))
    assert len(traces) > 10
    assert {trace.run_id: compare(client, trace) for trace in traces} == {
        trace.run_id: Compared() for trace in traces
    }


def test_an_app_in_cloud_mode_needs_no_keys(tmp_path: Path) -> None:
    client = Inngest(app_id="shop", is_production=True)

    @client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))
    def f(ctx: Any) -> None:
        ctx.step.run("a", str.upper, "a")

    trace = traced(record(both("sync", runs("a"))), tmp_path)
    assert compare(client, trace) == Compared()


# ── the command ──────────────────────────────────────────────────────────────────────────────────

APP = """
from inngest_serverless import Context, Inngest, TriggerEvent

print("hello from the app")
client = Inngest(app_id="shop", is_production=False)


@client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))
async def f(ctx: Context) -> None:
    for name in NAMES:
        await ctx.step.run(name, str.upper, name)
"""
numbers = count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write an app whose one function has these steps; its name for --app comes back."""
    monkeypatch.chdir(tmp_path)

    def write(*names: str) -> str:
        name = f"replayed_app_{next(numbers)}"
        code = APP.replace("NAMES", repr(names))
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        return f"{name}:client"

    return write


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A folder with one run of the function with the steps a and b."""
    folder = tmp_path / "traces" / "nightly"
    folder.mkdir(parents=True)
    text = json.dumps(record(both("async", runs("a", "b"))))
    (folder / "one.jsonl").write_text(f"{text}\n\n", encoding="utf-8")
    return folder.parent


@pytest.mark.parametrize(
    ("names", "options", "code", "said"),
    [
        (("a", "b"), (), 0, "safe"),
        (("b", "a"), ("--strict",), 0, "safe"),
        (("a", "z", "b"), (), 0, "only new steps"),
        (("a", "z", "b"), ("--strict",), 1, "only new steps"),
        (("a",), (), 1, "orphans 'b'"),
        (("a", "b2"), (), 1, "orphans 'b'; new 'b2'"),
    ],
)
def test_the_exit_code_tells_whether_it_may_be_deployed(
    names: tuple[str, ...],
    options: tuple[str, ...],
    code: int,
    said: str,
    module: Callable[..., str],
    recorded: Path,
    invoke: Invoke,
) -> None:
    done = invoke("check-replay", str(recorded), "--app", module(*names), *options)
    assert done.exit_code == code, done.output
    assert said in done.stdout
    assert "shop-f" in done.stdout


def test_a_run_that_is_not_safe_is_named(
    module: Callable[..., str], recorded: Path, invoke: Invoke
) -> None:
    done = invoke("check-replay", str(recorded), "--app", module("a"))
    assert "See run 01RUN of shop-f." in done.stdout


def test_with_json_there_is_nothing_else_on_standard_output(
    module: Callable[..., str], recorded: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNGEST_APP", module("a", "b2"))
    words = ("check-replay", str(recorded / "nightly" / "one.jsonl"), str(recorded), "--json")
    done = invoke(*words)
    assert done.exit_code == 1
    assert "hello from the app" in done.stderr
    assert json.loads(done.stdout) == {
        "functions": [
            {
                "function_id": "shop-f",
                "verdict": "orphans",
                "runs": 2,
                "worst_runs": ["01RUN", "01RUN"],
                "fails": [],
                "would_rerun": [],
                "orphans": ["b"],
                "new": ["b2"],
                "unproven": [],
            }
        ]
    }
    assert invoke(*words).stdout == done.stdout


def test_of_several_runs_the_worst_counts(
    module: Callable[..., str], recorded: Path, invoke: Invoke
) -> None:
    run = record(both("async", runs("a")))
    other = {**run, "run_id": "01GONE", "function_id": "shop-g"}
    lines = [run, {**record(both("async", runs("a", "b"))), "run_id": "01WORSE"}, other, run]
    file = recorded / "more.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    done = invoke("check-replay", str(file), "--app", module("a"), "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)["functions"]
    assert [(each["function_id"], each["verdict"], each["runs"]) for each in found] == [
        ("shop-f", "orphans", 3),
        ("shop-g", "gone", 1),
    ]
    assert [each["worst_runs"] for each in found] == [["01WORSE"], ["01GONE"]]
    done = invoke("check-replay", str(file), "--app", module("a"))
    assert "the app has no function with this id" in done.stdout


def test_what_could_not_be_proven_is_said(
    tmp_path: Path, module: Callable[..., str], invoke: Invoke
) -> None:
    name = module("a")
    file = tmp_path / f"{name.partition(':')[0]}.py"
    new = '    await ctx.step.run((await ctx.step.run("load", dict))["email"], len, "")\n'
    file.write_text(file.read_text(encoding="utf-8") + new, encoding="utf-8")
    code = file.read_text(encoding="utf-8").replace("    for name", new + "    for name")
    file.write_text(code, encoding="utf-8")
    run = tmp_path / "run.jsonl"
    run.write_text(json.dumps(record(both("async", runs("a")))), encoding="utf-8")
    done = invoke("check-replay", str(run), "--app", name)
    assert done.exit_code == 0, done.output
    assert "new 'load'; unproven 'a'" in done.stdout
    assert "Unproven: " in done.stdout


def test_a_run_of_the_engine_is_exported_and_replayed(
    invoke: Invoke, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = run_of(invoke, engine, "test/greet", {"name": "ada"})
    invoke("run", run_id, "--wait", "--timeout", "30")
    file = tmp_path / "runs.jsonl"
    assert invoke("runs", "export", run_id, "--output", str(file)).exit_code == 0
    monkeypatch.chdir(APPS)
    done = invoke("check-replay", str(file), "--app", "greeter:client", "--strict", "--json")
    assert done.exit_code == 0, done.output
    [found] = json.loads(done.stdout)["functions"]
    assert (found["function_id"], found["verdict"]) == ("greeter-greet", "safe")
    assert [step.name for trace in read_traces([file]) for step in trace.finished] == ["shout"]


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (("missing.jsonl",), "cannot read missing.jsonl: No such file or directory"),
        (("empty",), "there is no .jsonl file in empty"),
        (("blank.jsonl",), "no runs in blank.jsonl"),
    ],
)
def test_files_without_runs_are_a_wrong_command_line(
    paths: tuple[str, ...],
    said: str,
    tmp_path: Path,
    module: Callable[..., str],
    invoke: Invoke,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.jsonl").write_text("\n", encoding="utf-8")
    done = invoke("check-replay", *paths, "--app", module("a"))
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_file_that_is_wrong_is_a_wrong_command_line(
    tmp_path: Path, module: Callable[..., str], invoke: Invoke
) -> None:
    (tmp_path / "bad.jsonl").write_text("{", encoding="utf-8")
    done = invoke("check-replay", "bad.jsonl", "--app", module("a"))
    assert done.exit_code == 2
    assert "bad.jsonl, line 1: not JSON" in done.stderr


def test_an_app_that_is_not_there_or_does_not_load_is_a_wrong_command_line(
    tmp_path: Path, recorded: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke("check-replay", str(recorded), "--app", "nowhere:client")
    assert (done.exit_code, "there is no module 'nowhere'" in done.stderr) == (2, True)
    (tmp_path / "replayed_broken.py").write_text("1 / 0\n", encoding="utf-8")
    done = invoke("check-replay", str(recorded), "--app", "replayed_broken:client")
    assert (done.exit_code, "ZeroDivisionError" in done.stderr) == (2, True)
