"""One step for each item: windows, completion, and the same result on every replay."""

from __future__ import annotations

import json
from collections.abc import Generator
from datetime import date
from typing import Any

import pytest

from inngest_sdk.mapping import Completion, Failed, MapResult, NotStarted, Succeeded
from inngest_sdk.steps import hash_id
from inngest_serverless import (
    FunctionConfigInvalidError,
    Inngest,
    StepError,
    StepOptions,
    TriggerEvent,
)
from inngest_serverless.engine.server import DevServer
from tests.engine.test_checkpoint import run_to_end, with_engine
from tests.sdk.play import Mode, Played, both, define

Steps = Generator[Any, Any, Any]


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


def double(n: int) -> int:
    if n < 0:
        raise ValueError(f"no {n}")
    return n * 2


def mapped(mode: Mode, items: list[Any], handler: Any = double, **options: Any) -> Played:
    """A run that maps, and then tells all of the result."""

    def f(ctx: Any) -> Steps:
        result = yield ctx.step.map("m", handler, items, **options)
        return told(result)

    run = define(both(mode, f))
    run.max_attempts = 1
    return run


def told(result: MapResult[Any]) -> list[Any]:
    shown: dict[type, Any] = {
        Succeeded: lambda item: item.value,
        Failed: lambda item: str(item.error),
        NotStarted: lambda item: None,
    }
    return [result.reason, *(shown[type(item)](item) for item in result.items)]


def found(run: Played) -> list[str]:
    return [op["displayName"] for op in run.ops(planning=True)]


def test_each_item_is_a_step_and_results_are_in_order(mode: Mode) -> None:
    run = mapped(mode, [1, 2, 3])
    assert run.finish(order=["m:2", "m:0", "m:1"]) == ["all", 2, 4, 6]
    assert run.stack == [hash_id(name) for name in ("m:2", "m:0", "m:1")]


def test_async_handlers_are_awaited() -> None:
    async def slow(n: int) -> int:
        return n + 1

    assert mapped("async", [1, 2], slow).finish() == ["all", 2, 3]


def test_values_come_back_as_annotated(mode: Mode) -> None:
    def day(n: int) -> date:
        return date(2026, 1, n)

    def f(ctx: Any) -> Steps:
        result = yield ctx.step.map("m", day, [1, 2])
        return [each.isoformat() for each in result.values()]

    assert define(both(mode, f)).finish() == ["2026-01-01", "2026-01-02"]


def test_no_items_are_no_steps(mode: Mode) -> None:
    assert mapped(mode, []).finish() == ["all"]


def test_a_key_names_the_steps(mode: Mode) -> None:
    run = mapped(mode, [{"id": "x"}, {"id": "y"}], lambda item: 1, key=lambda item: item["id"])
    assert found(run) == ["m:x", "m:y"]


def test_options_are_those_of_each_step(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.map(StepOptions("m", name="Double"), double, [1, 2])

    assert found(define(both(mode, f))) == ["Double 0", "Double 1"]


def test_two_maps_of_one_id_are_numbered(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        one = yield ctx.step.map("m", double, [1])
        two = yield ctx.step.map("m", double, [2])
        return [*one.values(), *two.values()]

    assert define(both(mode, f)).finish() == [2, 4]


def test_at_most_so_many_are_open() -> None:
    run = mapped("async", [1, 2, 3, 4], limit=2)
    first = run.ops()
    assert [op["displayName"] for op in first] == ["m:0", "m:1"]
    assert {op["opts"]["parallelMode"] for op in first} == {"race"}
    run.memo(first[1], {"data": 4})
    assert found(run) == ["m:0", "m:2"]  # the window moves with each that ends
    assert run.finish() == ["all", 2, 4, 6, 8]


def test_a_sync_function_goes_by_groups() -> None:
    run = mapped("sync", [1, 2, 3], limit=2)
    first = run.ops()
    assert [op["displayName"] for op in first] == ["m:0", "m:1"]
    run.memo(first[1], {"data": 4})
    assert found(run) == ["m:0"]
    run.memo(first[0], {"data": 2})
    assert found(run) == ["m:2"]
    assert run.finish() == ["all", 2, 4, 6]


def test_one_at_a_time_needs_no_plan(mode: Mode) -> None:
    run = mapped(mode, [1, 2], limit=1)
    assert [op["op"] for op in run.ops()] == ["StepRun"]
    assert run.finish() == ["all", 2, 4]
    assert all(step == "step" for step, _ in run.calls)


def test_failures_are_in_the_result(mode: Mode) -> None:
    assert mapped(mode, [1, -2, 3]).finish() == ["all", 2, "no -2", 6]


def test_the_values_of_a_map_that_failed_are_its_first_error(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        result = yield ctx.step.map("m", double, [1, -2, -3])
        try:
            result.values()
        except StepError as error:
            return [error.name, error.message, len(result.errors)]

    run = define(both(mode, f))
    run.max_attempts = 1
    assert run.finish(order=["m:2", "m:1", "m:0"]) == ["ValueError", "no -2", 2]


def test_enough_successes_stop_the_rest(mode: Mode) -> None:
    run = mapped(mode, [1, -2, 3, 4, 5], limit=2, completion=Completion(min_successful=2))
    ended = run.finish()
    assert ended == ["min_successful", 2, "no -2", 6, 8, None]


def test_too_many_failures_stop_the_rest(mode: Mode) -> None:
    run = mapped(mode, [-1, 2, 3, 4], limit=1, completion=Completion(tolerated_failures=0))
    assert run.finish() == ["failures", "no -1", None, None, None]


@pytest.mark.parametrize(
    ("order", "ended"),
    [
        (["m:0", "m:1"], ["failures", "no -1", 4, None, None]),
        (["m:1", "m:0"], ["failures", "no -1", 4, 6, None]),
    ],
)
def test_what_is_started_follows_the_order_of_the_stack(order: list[str], ended: list[Any]) -> None:
    """In both orders all is known by the last replay; what had been started is told by the order
    alone."""
    run = mapped("async", [-1, 2, 3, 4], limit=2, completion=Completion(tolerated_failures=0))
    planned = {op["displayName"]: op for op in run.ops()}
    for name in order:
        [op] = run.ops(planned[name]["id"], planning=True)
        run.memo(op, {"error": op["error"]} if "error" in op else {"data": op["data"]})
        if name == "m:1" and order[0] == "m:1":
            planned |= {op["displayName"]: op for op in run.ops(planning=True)}
    if "m:2" in planned:
        run.memo(planned["m:2"], {"data": 6})
    assert [json.loads(run.call().body) for _ in range(2)] == [ended, ended]


def test_the_values_of_a_map_that_is_complete_leave_out_what_failed(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        policy = Completion(tolerated_failure_percentage=50)
        result = yield ctx.step.map("m", double, [1, -2], completion=policy)
        kinds = [len(result.succeeded), len(result.failed), len(result.not_started)]
        try:
            result.raise_for_errors()
        except StepError as error:
            return [result.values(), kinds, error.message]

    run = define(both(mode, f))
    run.max_attempts = 1
    assert run.finish() == [[2], [1, 1, 0], "no -2"]


@pytest.mark.parametrize(
    ("policy", "counts", "reason"),
    [
        (Completion(), (9, 1), None),
        (Completion(min_successful=3), (2, 7), None),
        (Completion(min_successful=3), (3, 0), "min_successful"),
        (Completion(min_successful=3), (0, 8), "failures"),  # 3 of 10 cannot be reached
        (Completion(tolerated_failures=1), (0, 1), None),
        (Completion(tolerated_failures=1), (9, 2), "failures"),
        (Completion(tolerated_failure_percentage=25), (0, 2), None),
        (Completion(tolerated_failure_percentage=25), (0, 3), "failures"),
        (Completion(tolerated_failures=5, tolerated_failure_percentage=10), (0, 2), "failures"),
    ],
)
def test_when_a_map_is_complete(
    policy: Completion, counts: tuple[int, int], reason: str | None
) -> None:
    assert policy.reached(10, *counts) == reason


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"min_successful": 0}, "min_successful is 0; it takes a whole number from 1"),
        ({"min_successful": True}, "min_successful is True"),
        ({"tolerated_failures": -1}, "from 0"),
        ({"tolerated_failures": 0.5}, "a whole number"),
        ({"tolerated_failure_percentage": 101}, "0 to 100"),
    ],
)
def test_a_completion_out_of_bounds_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(FunctionConfigInvalidError, match=problem):
        Completion(**options)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"limit": 0}, "the limit of step.map 'm' is 0"),
        ({"completion": Completion(min_successful=3)}, "has 2 items, and its min_successful is 3"),
        ({"key": lambda item: "x"}, "items 0 and 1 have the same key, 'x'"),
    ],
)
def test_a_map_that_cannot_be_is_refused(mode: Mode, options: Any, problem: str) -> None:
    answer = mapped(mode, [1, 2], **options).call()
    assert answer.headers["x-inngest-no-retry"] == "true"
    assert problem in json.loads(answer.body)["message"]


def test_what_is_no_failure_of_an_item_is_not_kept_in_the_result(mode: Mode) -> None:
    def year(n: int) -> date:
        return date(n, 1, 1)

    run = mapped(mode, [2026], year)
    run.memo({"id": hash_id("m:0")}, {"data": "no date"})
    assert "does not fit" in json.loads(run.call().body)["message"]


@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_server_sees_the_same_map_with_checkpoints_and_without(
    mode: Mode, checkpointing: bool
) -> None:
    def f(ctx: Any) -> Steps:
        first = yield ctx.step.run("first", double, 1)
        policy = Completion(min_successful=3)
        mapped = yield ctx.step.map("m", double, [1, 2, 3, 4, 5, 6], limit=2, completion=policy)
        one = yield ctx.step.map("n", double, [1, 2, 3], limit=1)
        last = yield ctx.step.run("last", double, len(mapped.succeeded))
        # Both of a group have ended before a sync function goes on.
        return [first, mapped.reason, len(mapped.succeeded) in (3, 4), one.values(), last > 5]

    async def act(engine: DevServer) -> None:
        def define(client: Inngest) -> None:
            trigger = TriggerEvent(event="a/b")
            client.create_function(fn_id="f", trigger=trigger)(both(mode, f))

        run, _ = await run_to_end(engine, define, checkpointing=checkpointing)
        assert run.output == [2, "min_successful", True, [2, 4, 6], True]

    with_engine(act)
