"""Middleware, with the names and the order of the official SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from typing import Any

import pytest

from inngest_sdk.middleware import TransformOutputStepInfo
from inngest_sdk.steps import hash_id
from inngest_serverless import (
    Event,
    Inngest,
    Middleware,
    MiddlewareSync,
    SendEventsError,
    SendEventsResult,
    StepMemos,
    TransformOutputResult,
)
from tests.sdk.play import Mode, Played, app, both, define

Steps = Generator[Any, Any, Any]


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


def noting(log: list[str], name: str, mode: Mode) -> Any:
    """A middleware class that notes its hooks."""

    def note(hook: str, *_: Any) -> None:
        log.append(f"{name}.{hook}")

    class Sync(MiddlewareSync):
        def __init__(self, client: Any, raw_request: object) -> None:
            super().__init__(client, raw_request)
            note("made")

        def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
            note(f"transform_input of {steps.size} for {function.id}")

        def before_execution(self) -> None:
            note("before_execution")

        def after_execution(self) -> None:
            note("after_execution")

        def transform_output(self, result: TransformOutputResult) -> None:
            step = result.step and f"{result.step.id} {result.step.op}"
            note(f"transform_output of {step}: {result.output!r} {result.error!r}")

        def before_response(self) -> None:
            note("before_response")

    class Async(Middleware):
        def __init__(self, client: Any, raw_request: object) -> None:
            super().__init__(client, raw_request)
            self._same = Sync(client, raw_request)

        async def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
            await asyncio.sleep(0)
            self._same.transform_input(ctx, function, steps)

        async def before_execution(self) -> None:
            await asyncio.sleep(0)
            self._same.before_execution()

        async def after_execution(self) -> None:
            self._same.after_execution()

        async def transform_output(self, result: TransformOutputResult) -> None:
            await asyncio.sleep(0)
            self._same.transform_output(result)

        async def before_response(self) -> None:
            self._same.before_response()

    return Sync if mode == "sync" else Async


def one_step(log: list[str]) -> Any:
    def f(ctx: Any) -> Steps:
        log.append("function")
        found = yield ctx.step.run("one", lambda: log.append("step"))
        log.append("after")
        return found

    return f


def noted(log: list[str], mode: Mode, body: Any) -> Played:
    """The function with two middleware of the client and one of its own."""
    client = app(middleware=[noting(log, "c1", mode), noting(log, "c2", mode)])
    return define(both(mode, body), client, middleware=[noting(log, "f", mode)])


def test_hooks_are_called_in_the_official_order(mode: Mode) -> None:
    log: list[str] = []
    run = noted(log, mode, one_step(log))
    run.memo(run.ops()[0], {"data": 7})
    assert log == [
        *("c1.made", "c2.made", "f.made"),
        *(f"{each}.transform_input of 0 for shop-f" for each in ("c1", "c2", "f")),
        *("c1.before_execution", "c2.before_execution", "f.before_execution"),
        *("function", "step"),
        *("f.after_execution", "c2.after_execution", "c1.after_execution"),
        *(f"{each}.transform_output of one StepRun: None None" for each in ("f", "c2", "c1")),
        *("c1.before_response", "c2.before_response", "f.before_response"),
    ]
    log.clear()
    assert run.call().status == 200
    assert log == [
        *("c1.made", "c2.made", "f.made"),
        *(f"{each}.transform_input of 1 for shop-f" for each in ("c1", "c2", "f")),
        *("function", "after"),
        *("c1.before_execution", "c2.before_execution", "f.before_execution"),
        *("f.after_execution", "c2.after_execution", "c1.after_execution"),
        *(f"{each}.transform_output of None: 7 None" for each in ("f", "c2", "c1")),
        *("c1.before_response", "c2.before_response", "f.before_response"),
    ]


def test_before_execution_comes_when_the_known_steps_are_behind(mode: Mode) -> None:
    log: list[str] = []

    def f(ctx: Any) -> Steps:
        yield ctx.step.run("one", lambda: 1)
        log.append("between")
        yield ctx.step.run("two", lambda: log.append("two"))

    run = noted(log, mode, f)
    run.memo({"id": hash_id("one")}, {"data": 1})
    run.ops()
    at = log.index("c1.before_execution")
    assert log[at - 1] == "between"
    assert log.index("two") > at


def test_errors_are_shown_but_not_those_of_steps_that_nobody_ran(mode: Mode) -> None:
    log: list[str] = []

    def f(ctx: Any) -> Steps:
        yield ctx.step.run("bad", lambda: 1 / 0)

    noted(log, mode, f).ops()
    assert "f.transform_output of bad StepError: None ZeroDivisionError('division by zero')" in log
    log.clear()
    noted(log, mode, f).ops(planning=True)
    assert not [line for line in log if "transform_output" in line]


def changing(mode: Mode) -> Any:
    """Adds 1 to what goes out, and takes it away from what comes in."""

    def incoming(ctx: Any, steps: StepMemos) -> None:
        ctx.event = Event(name=ctx.event.name, data={"n": 41})
        for output in steps.values():
            if output.error is None:
                output.data -= 1

    def outgoing(result: TransformOutputResult) -> None:
        if isinstance(result.output, int):
            result.output += 1

    class Sync(MiddlewareSync):
        def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
            incoming(ctx, steps)

        def transform_output(self, result: TransformOutputResult) -> None:
            outgoing(result)

    class Async(Middleware):
        async def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
            incoming(ctx, steps)

        async def transform_output(self, result: TransformOutputResult) -> None:
            outgoing(result)

    return Sync if mode == "sync" else Async


def test_inputs_memos_and_outputs_may_be_changed(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        return (yield ctx.step.run("n", lambda: ctx.event.data["n"]))

    run = define(both(mode, f), app(middleware=[changing(mode)]))
    [op] = run.ops()
    assert op["data"] == 42
    run.memo(op, {"data": op["data"]})
    assert json.loads(run.call().body) == 42


def test_a_value_that_middleware_changes_is_not_handed_on_before_the_server_has_it(
    mode: Mode,
) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.run("a", lambda: 1)
        yield ctx.step.run("b", lambda: 2)

    run = define(both(mode, f), app(middleware=[changing(mode)]))
    # A call that would have checkpoints: there is no server to take them, and none is asked.
    [op] = run.ops(ctx={"fn_id": "f", "qi_id": "q"})
    assert (op["displayName"], op["data"]) == ("a", 2)


@pytest.mark.parametrize(
    ("hook", "answer"),
    [
        ("__init__", (500, None)),
        ("transform_input", (500, None)),
        ("before_execution", (500, None)),
        ("after_execution", (206, "StepError")),
        ("transform_output", (206, "StepError")),
        ("before_response", (206, "StepError")),
    ],
)
def test_what_a_hook_raises_is_an_error_of_the_function_or_of_its_step(
    mode: Mode, hook: str, answer: tuple[int, str | None]
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError(f"{hook} is broken")

    async def broken_async(*_: Any) -> None:
        broken()

    base = MiddlewareSync if mode == "sync" else Middleware
    method = broken_async if mode == "async" and hook != "__init__" else broken
    run = define(
        both(mode, one_step([])), app(middleware=[type("Broken", (base,), {hook: method})])
    )
    got = run.call()
    body = json.loads(got.body)
    op = body[0] if got.status == 206 else {}
    assert (got.status, op.get("op")) == answer
    assert (op.get("error") or body)["message"] == f"{hook} is broken"


def test_a_sync_function_says_that_it_cannot_await_middleware() -> None:
    class Async(Middleware): ...

    answer = define(lambda ctx: 1, app(middleware=[Async])).call()
    assert answer.status == 500
    assert "derive it from MiddlewareSync" in json.loads(answer.body)["message"]


def test_an_async_function_takes_sync_middleware_too() -> None:
    log: list[str] = []
    run = define(both("async", one_step(log)), app(middleware=[noting(log, "s", "sync")]))
    run.ops()
    assert "s.before_execution" in log


class Stamp(MiddlewareSync):
    """Puts a tenant into every event, and keeps what became of them."""

    seen: list[SendEventsResult]

    def before_send_events(self, events: list[Event]) -> None:
        events[:] = [Event(name=each.name, data={**each.data, "t": "acme"}) for each in events]

    def after_send_events(self, result: SendEventsResult) -> None:
        type(self).seen.append(result)


@pytest.mark.parametrize("skip", [False, True])
def test_middleware_is_around_what_is_sent(mode: Mode, skip: bool) -> None:
    Stamp.seen = []
    client = Inngest(
        app_id="shop",
        is_production=False,
        event_api_base_url="http://127.0.0.1:9",
        middleware=[Stamp],
    )
    event = Event(name="a/b", data={"n": 1})
    with pytest.raises(SendEventsError):
        if mode == "sync":
            client.send_sync(event, skip_middleware=skip)
        else:
            asyncio.run(client.send(event, skip_middleware=skip))
    assert [result.ids for result in Stamp.seen] == ([] if skip else [[]])
    assert event.data == {"n": 1}


@pytest.mark.parametrize(
    ("error", "op", "has_output"),
    [
        (None, None, True),
        (None, "StepRun", True),
        (None, "Sleep", False),
        (ValueError("no"), None, False),
        (ValueError("no"), "StepError", False),
    ],
)
def test_a_result_says_whether_it_has_an_output(
    error: Exception | None, op: str | None, has_output: bool
) -> None:
    step = None if op is None else TransformOutputStepInfo("a", op, None)
    assert TransformOutputResult(error, None, step).has_output() is has_output
