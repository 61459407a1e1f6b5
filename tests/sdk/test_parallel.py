"""What asyncio offers for doing things side by side, over steps."""

from __future__ import annotations

import asyncio
import contextvars
import json
import sys
from typing import Any

import pytest

from inngest_sdk.steps import hash_id
from inngest_serverless import Context
from tests.sdk.play import define

ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


async def note(name: str) -> str:
    ran.append(name)
    return name


def test_gather_runs_each_body_once_and_keeps_the_declared_order() -> None:
    async def f(ctx: Context) -> list[str]:
        both = await asyncio.gather(ctx.step.run("a", note, "a"), ctx.step.run("b", note, "b"))
        return [*both, await ctx.step.run("c", note, "c")]

    run = define(f)
    assert run.finish(order=["b", "a"]) == ["a", "b", "c"]
    assert ran == ["b", "a", "c"]
    assert run.calls == [
        ("step", 206),
        (hash_id("b"), 206),
        (hash_id("a"), 206),
        ("step", 206),
        ("step", 200),
    ]


def test_gather_that_returns_exceptions_sees_errors_of_steps_not_our_interrupt() -> None:
    async def fail() -> None:
        raise ValueError("boom")

    async def f(ctx: Context) -> list[str]:
        found = await asyncio.gather(
            ctx.step.run("a", fail), ctx.step.run("b", note, "b"), return_exceptions=True
        )
        return [str(each) for each in found]

    run = define(f)
    run.max_attempts = 1
    assert run.finish() == ["boom", "b"]


def test_a_targeted_step_runs_though_another_has_failed_the_function() -> None:
    async def f(ctx: Context) -> None:
        await asyncio.gather(ctx.step.run("a", note, "a"), ctx.step.run("b", note, "b"))

    run = define(f)
    run.memo({"id": hash_id("a")}, {"error": {"name": "E", "message": "m"}})
    [op] = run.ops(hash_id("b"), planning=True)
    assert op["data"] == "b"


if sys.version_info >= (3, 11):  # TaskGroup

    def test_a_task_group_runs_each_body_once() -> None:
        async def f(ctx: Context) -> list[str]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(ctx.step.run(name, note, name)) for name in "abc"]
            return [task.result() for task in tasks]

        run = define(f)
        assert run.finish(order=["c", "b", "a"]) == ["a", "b", "c"]
        assert ran == ["c", "b", "a"]


def test_as_completed_gives_results_in_the_order_in_which_steps_finished() -> None:
    async def f(ctx: Context) -> list[str]:
        waiting = [ctx.step.run(name, note, name) for name in ("a", "b", "c")]
        return [await each for each in asyncio.as_completed(waiting)]

    run = define(f)
    assert run.finish(order=["c", "a", "b"]) == ["c", "a", "b"]
    assert sorted(ran) == ["a", "b", "c"]


def test_a_race_has_the_same_winner_on_every_replay() -> None:
    async def f(ctx: Context) -> list[str]:
        tasks = [asyncio.ensure_future(ctx.step.run(name, note, name)) for name in ("a", "b")]
        done, open_ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winners = [task.result() for task in done]
        for task in open_:
            task.cancel()
        return [*winners, await ctx.step.run("after", note, "after")]

    run = define(f)
    planned = {op["displayName"]: op for op in run.ops()}
    run.memo(planned["b"], {"data": "b"})
    run.memo(planned["a"], {"data": "a"})
    assert run.finish() == ["b", "after"]
    assert ran == ["after"]


def test_chains_side_by_side_move_on_their_own() -> None:
    async def f(ctx: Context) -> list[str]:
        async def chain(name: str) -> str:
            first = await ctx.step.run(f"{name}1", note, f"{name}1")
            return first + await ctx.step.run(f"{name}2", note, f"{name}2")

        return list(await asyncio.gather(chain("a"), chain("b")))

    run = define(f)
    planned = {op["displayName"]: op for op in run.ops()}
    run.memo(planned["a1"], {"data": "a1"})
    # a1 has finished, b1 is open: both chains are told, each at its place.
    assert [op["displayName"] for op in run.ops(planning=True)] == ["b1", "a2"]
    assert run.finish() == ["a1a2", "b1b2"]


def test_deeply_nested_groups_are_found_in_one_call() -> None:
    async def f(ctx: Context) -> Any:
        async def tree(name: str, depth: int) -> Any:
            if depth == 0:
                return await ctx.step.run(name, note, name)
            return await asyncio.gather(tree(name + "l", depth - 1), tree(name + "r", depth - 1))

        leaves = await tree("", 5)
        return [leaves, await ctx.step.run("after", note, "after")]

    run = define(f)
    ops = run.ops()
    assert len(ops) == 32
    for op in ops:
        run.memo(op, {"data": op["displayName"]})
    [after] = run.ops()
    assert (after["op"], after["displayName"]) == ("StepRun", "after")


def test_work_that_is_no_step_may_go_on_beside_steps() -> None:
    async def f(ctx: Context) -> list[str]:
        async def fetch() -> str:
            await asyncio.sleep(0.01)
            return "fetched"

        step, fetched = await asyncio.gather(ctx.step.run("a", note, "a"), fetch())
        return [step, fetched]

    assert define(f).finish() == ["a", "fetched"]


def test_a_step_behind_other_waiting_is_found() -> None:
    async def f(ctx: Context) -> str:
        await asyncio.sleep(0.01)
        return await ctx.step.run("a", note, "a")

    assert define(f).finish() == "a"


def test_context_variables_of_the_function_are_seen_in_its_steps() -> None:
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant")

    async def f(ctx: Context) -> str:
        tenant.set("acme")
        return await ctx.step.run("a", lambda: tenant.get())

    assert define(f).finish() == "acme"


if sys.version_info >= (3, 11):  # asyncio.timeout

    def test_a_timeout_around_a_step_fails_its_attempt() -> None:
        async def hang() -> None:
            await asyncio.Event().wait()

        async def f(ctx: Context) -> None:
            async with asyncio.timeout(0.01):
                await ctx.step.run("slow", hang)

        [op] = define(f).ops()
        assert op["op"] == "StepError"
        assert op["error"]["name"] == "TimeoutError"
        assert "'slow'" in op["error"]["message"]


if sys.version_info >= (3, 11):  # asyncio.timeout

    def test_a_timeout_around_waiting_steps_gives_them_up() -> None:
        async def f(ctx: Context) -> Any:
            slow = asyncio.Event()
            try:
                async with asyncio.timeout(0.01):
                    await slow.wait()
            except TimeoutError:
                return await ctx.step.run("plan b", note, "b")

        assert define(f).finish() == "b"


def test_a_fast_step_in_the_functions_own_task_does_not_overtake_the_stack() -> None:
    async def f(ctx: Context) -> list[str]:
        side = asyncio.ensure_future(ctx.step.run("side", note, "side"))
        own = await ctx.step.run("own", note, "own")
        return [own, await side]

    run = define(f)
    run.memo({"id": hash_id("side")}, {"data": "side"})
    run.memo({"id": hash_id("own")}, {"data": "own"})
    assert run.finish() == ["own", "side"]
    assert ran == []


def test_memos_of_steps_that_are_gone_hold_nothing_up() -> None:
    async def f(ctx: Context) -> list[str]:
        first = await ctx.step.run("a", note, "a")
        rest = await asyncio.gather(ctx.step.run("b", note, "b"), ctx.step.run("c", note, "c"))
        return [first, *rest]

    run = define(f)
    for name in ("gone", "c", "a", "b"):
        run.memo({"id": hash_id(name)}, {"data": name})
    assert run.finish() == ["a", "b", "c"]


@pytest.mark.parametrize("started", [True, False])
def test_a_step_nobody_waits_for_does_not_outlive_the_call_and_is_warned_of(
    started: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = []

    async def f(ctx: Context) -> str:
        tasks.append(asyncio.ensure_future(ctx.step.run("stray", note, "stray")))
        if started:
            await asyncio.sleep(0)
        return "done"

    with caplog.at_level("WARNING", "inngest"):
        assert json.loads(define(f).call().body) == "done"
        assert json.loads(define(f).call().body) == "done"
    assert tasks[0].done() and not ran
    assert "shop-f ended without waiting for step 'stray'" in caplog.text
    assert "never retrieved" not in caplog.text


def test_user_code_that_raises_cancelled_error_fails_like_any_other() -> None:
    async def f(ctx: Context) -> None:
        raise asyncio.CancelledError

    answer = define(f).call()
    assert (answer.status, answer.headers["x-inngest-no-retry"]) == (500, "false")


def test_a_thousand_memoized_steps_side_by_side_are_replayed_in_order() -> None:
    async def f(ctx: Context) -> list[Any]:
        seen: list[Any] = []

        async def one(n: int) -> None:
            seen.append(await ctx.step.run(f"s{n}", note, "x"))

        await asyncio.gather(*(one(n) for n in range(1000)))
        return seen

    run = define(f)
    for n in reversed(range(1000)):
        run.memo({"id": hash_id(f"s{n}")}, {"data": n})
    assert run.finish() == list(reversed(range(1000)))
