"""Middleware around steps, and around what becomes of a run."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Generator
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from inngest_sdk.asks import Ask
from inngest_sdk.steps import hash_id
from inngest_serverless import (
    Middleware,
    MiddlewareSync,
    Retry,
    StepInfo,
    StepInput,
    StepMemos,
    StepOptions,
)
from tests.sdk.play import Mode, Played, app, both, define

Steps = Generator[Any, Any, Any]


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


def noting(log: list[str], name: str, mode: Mode) -> Any:
    """A middleware class that notes its hooks around steps."""

    class Sync(MiddlewareSync):
        def transform_step_input(self, step: StepInfo, given: StepInput) -> None:
            log.append(f"{name} input of {step.id} {given.arguments} {given.keywords}")

        def on_step_start(self, step: StepInfo) -> None:
            log.append(f"{name} start of {step.id}, try {step.attempt}")

        def wrap_step(self, step: StepInfo, call: Callable[[], Any]) -> Any:
            log.append(f"{name} before {step.id}")
            try:
                return call()
            finally:
                log.append(f"{name} behind {step.id}")

        def on_step_complete(self, step: StepInfo, output: Any) -> None:
            log.append(f"{name} complete {output!r}")

        def on_step_error(self, step: StepInfo, error: Exception) -> None:
            log.append(f"{name} error {error}")

        def on_run_complete(self, output: Any) -> None:
            log.append(f"{name} returned {output!r}")

        def on_run_error(self, error: Exception, is_final: bool) -> None:
            log.append(f"{name} raised {error}, {is_final}")

    class Async(Middleware):
        def __init__(self, client: Any, raw_request: object) -> None:
            super().__init__(client, raw_request)
            self._same = Sync(client, raw_request)

        async def transform_step_input(self, step: StepInfo, given: StepInput) -> None:
            self._same.transform_step_input(step, given)

        async def on_step_start(self, step: StepInfo) -> None:
            self._same.on_step_start(step)

        async def wrap_step(self, step: StepInfo, call: Callable[[], Awaitable[Any]]) -> Any:
            log.append(f"{name} before {step.id}")
            try:
                return await call()
            finally:
                log.append(f"{name} behind {step.id}")

        async def on_step_complete(self, step: StepInfo, output: Any) -> None:
            self._same.on_step_complete(step, output)

        async def on_step_error(self, step: StepInfo, error: Exception) -> None:
            self._same.on_step_error(step, error)

        async def on_run_complete(self, output: Any) -> None:
            self._same.on_run_complete(output)

        async def on_run_error(self, error: Exception, is_final: bool) -> None:
            self._same.on_run_error(error, is_final)

    return Sync if mode == "sync" else Async


def noted(log: list[str], mode: Mode, body: Any) -> Played:
    client = app(middleware=[noting(log, "c", mode)])
    return define(both(mode, body), client, middleware=[noting(log, "f", mode)])


def test_hooks_surround_a_step_the_clients_outermost(mode: Mode) -> None:
    log: list[str] = []

    def work(number: int, *, double: bool) -> int:
        log.append("work")
        return number * 2 if double else number

    def f(ctx: Any) -> Steps:
        return (yield ctx.step.run("a", work, 4, double=True))

    run = noted(log, mode, f)
    run.memo(run.ops()[0], {"data": 8})
    assert log == [
        *("c input of a [4] {'double': True}", "f input of a [4] {'double': True}"),
        *("c start of a, try 0", "f start of a, try 0"),
        *("c before a", "f before a", "work", "f behind a", "c behind a"),
        *("f complete 8", "c complete 8"),
    ]
    log.clear()
    run.call()
    assert log == ["f returned 8", "c returned 8"]


def test_hooks_hear_of_each_try_of_a_step(mode: Mode) -> None:
    log: list[str] = []

    def f(ctx: Any) -> Steps:
        yield ctx.step.run(StepOptions("a", retry=Retry(max=1, backoff=0)), lambda: 1 / 0)

    run = noted(log, mode, f)
    run.max_attempts = 1
    run.ops()
    assert [line for line in log if line[0] == "c" and "before" not in line] == [
        *("c input of a [] {}", "c start of a, try 0", "c behind a", "c error division by zero"),
        *("c input of a [] {}", "c start of a, try 1", "c behind a", "c error division by zero"),
    ]


@pytest.mark.parametrize(("attempt", "final"), [(0, False), (3, True)])
def test_hooks_hear_whether_a_functions_error_is_final(
    mode: Mode, attempt: int, final: bool
) -> None:
    log: list[str] = []

    def f(ctx: Any) -> Steps:
        yield from ()
        raise ValueError("bad")

    noted(log, mode, f).call(attempt=attempt)
    assert log == [f"f raised bad, {final}", f"c raised bad, {final}"]


def made(mode: Mode, **hooks: Any) -> Any:
    """A middleware class with these hooks, each a sync function, for functions of this mode."""
    if mode == "sync":
        return type("Made", (MiddlewareSync,), hooks)

    def awaited(hook: Any) -> Any:
        async def call(self: Any, *arguments: Any) -> Any:
            return hook(self, *arguments)

        return call

    return type("Made", (Middleware,), {name: awaited(hook) for name, hook in hooks.items()})


def test_the_arguments_of_a_step_can_be_changed(mode: Mode) -> None:
    def change(self: Any, step: StepInfo, given: StepInput) -> None:
        given.arguments[0] += 1
        given.keywords["name"] = "b"

    def f(ctx: Any) -> Steps:
        yield ctx.step.run("a", lambda number, name="a": [number, name], 1)

    run = define(both(mode, f), app(middleware=[made(mode, transform_step_input=change)]))
    assert run.ops()[0]["data"] == [2, "b"]


@pytest.mark.parametrize("hook", ["transform_step_input", "on_step_start", "on_step_complete"])
def test_a_hook_that_fails_is_a_failure_of_its_step(mode: Mode, hook: str) -> None:
    def fail(self: Any, *_: Any) -> None:
        raise ValueError(f"{hook} is broken")

    def f(ctx: Any) -> Steps:
        yield ctx.step.run("a", lambda: 1)

    [op] = define(both(mode, f), app(middleware=[made(mode, **{hook: fail})])).ops()
    assert op["op"] == "StepError"
    assert op["error"]["message"] == f"{hook} is broken"


def test_sync_middleware_cannot_wrap_the_steps_of_an_async_function() -> None:
    class Wrapping(MiddlewareSync):
        def wrap_step(self, step: StepInfo, call: Callable[[], Any]) -> Any:
            return call()

    async def f(ctx: Any) -> None:
        await ctx.step.run("a", lambda: 1)

    [op] = define(f, app(middleware=[Wrapping])).ops()
    assert op["op"] == "StepFailed"
    assert "Wrapping.wrap_step is sync" in op["error"]["message"]


def test_middleware_that_blocks_runs_in_a_thread_under_an_async_function() -> None:
    threads: set[int] = set()

    class Blocking(MiddlewareSync):
        blocks: ClassVar[bool] = True

        def on_step_start(self, step: StepInfo) -> None:
            threads.add(threading.get_ident())

    async def f(ctx: Any) -> None:
        await ctx.step.run("a", lambda: 1)

    define(f, app(middleware=[Blocking])).ops()
    assert threads and threading.get_ident() not in threads


def test_a_class_is_told_whom_it_belongs_to() -> None:
    told: list[Any] = []

    class Registered(MiddlewareSync):
        @staticmethod
        def on_register(client: Any, function: Any) -> None:
            told.append((client.app_id, function and function.id))

    client = app(middleware=[Registered])
    define(lambda ctx: 1, client, middleware=[Registered])
    client.add_middleware(Registered)
    assert told == [("shop", None), ("shop", "shop-f"), ("shop", None)]


@pytest.mark.parametrize("planning", [False, True])
def test_what_the_server_is_told_of_a_step_can_be_changed(mode: Mode, planning: bool) -> None:
    def hide(self: Any, ask: Ask) -> Ask:
        return replace(ask, op=replace(ask.op, arguments=("hidden",)))

    kind = MiddlewareSync if mode == "sync" else Middleware
    hiding = type("Hiding", (kind,), {"transform_step_request": hide})

    def f(ctx: Any) -> Steps:
        yield ctx.step.run("a", lambda secret: len(secret), "1234")

    [op] = define(both(mode, f), app(middleware=[hiding])).ops(planning=planning)
    assert op["opts"]["input"] == ["hidden"]
    assert op["data"] == (None if planning else 4)


@pytest.mark.parametrize("broken", [None, "transform_input", "before_response", "after_call"])
def test_the_end_of_a_call_is_told_whatever_came_before(
    mode: Mode, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []

    def fail(self: Any, *_: Any) -> None:
        raise ValueError(f"{broken} is broken")

    def end(self: Any) -> None:
        ended.append("told")

    def f(ctx: Any) -> Steps:
        yield from ()

    chain = [made(mode, **({broken: fail} if broken else {})), made(mode, after_call=end)]
    run = define(both(mode, f), app(middleware=chain))
    assert run.call().status == (500 if broken in ("transform_input", "before_response") else 200)
    assert ended == ["told"]
    assert ("after_call" in caplog.text) is (broken == "after_call")


def test_all_memos_can_be_read_by_the_hash_of_their_step(mode: Mode) -> None:
    seen: list[Any] = []

    def read(self: Any, ctx: Any, function: Any, steps: StepMemos) -> None:
        seen.append(dict(steps.memos))

    def f(ctx: Any) -> Steps:
        yield ctx.step.sleep("nap", "1s")

    run = define(both(mode, f), app(middleware=[made(mode, transform_input=read)]))
    run.memo({"id": hash_id("nap")}, None)
    run.call()
    assert seen == [{hash_id("nap"): None}]
