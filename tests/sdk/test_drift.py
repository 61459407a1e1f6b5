"""The warning that a function has changed while a run of it was open."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Generator
from functools import partial, wraps
from typing import Any

import pytest

from inngest_sdk.source import ids_of, source_of
from inngest_sdk.steps import hash_id
from inngest_serverless import MiddlewareSync

from .play import Body, Mode, Played, app, both, define

Steps = Generator[Any, Any, Any]
MODES: tuple[Mode, ...] = ("sync", "async")
ENABLED: list[str] = []
GONE = b"gone"  # bytes, so that no code of this module spells it


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[Played], list[str]]:
    """Make the next call of a function, and give what it was warned of."""

    def call(played: Played, **options: Any) -> list[str]:
        caplog.clear()
        played.call(**options)
        return [record.getMessage() for record in caplog.records]

    return call


Warned = Callable[..., list[str]]


def changed(mode: Mode, old: Body, new: Body, finished: int) -> Played:
    """The new function, in a run of which the old one has finished so many steps."""
    before, after = define(both(mode, old)), define(both(mode, new))
    for _ in range(finished):
        [op] = before.ops()
        before.memo(op, None if op["op"] == "Sleep" else {"data": op["data"]})
    after.steps, after.stack = before.steps, before.stack
    return after


def runs(*names: str) -> Body:
    """A function of these steps, one after the other."""

    def body(ctx: Any) -> Steps:
        for name in names:
            yield ctx.step.run(name, lambda: 1)

    return body


def a_then_b(ctx: Any) -> Steps:
    yield ctx.step.run("a", lambda: 1)
    yield ctx.step.run("b", lambda: 2)


def z_then_a(ctx: Any) -> Steps:
    yield ctx.step.run("z", lambda: 1)
    yield ctx.step.run("a", lambda: 1)


def a_if_enabled(ctx: Any) -> Steps:
    if ENABLED:
        yield ctx.step.run("a", lambda: 1)
    return 1


def nothing(ctx: Any) -> Steps:
    yield from ()


def twice(ctx: Any) -> Steps:
    for _ in range(2):
        yield ctx.step.run("same", lambda: 1)


def raising(ctx: Any) -> Steps:
    raise RuntimeError("too early")
    yield


CHANGES: dict[str, tuple[Body, Body, int, str]] = {
    "renamed": (
        runs("old", "b"),
        runs("new", "b"),
        1,
        f"1 finished step that this call has not reached: {hash_id('old')}; it came to 'new' ins",
    ),
    "removed": (runs("old"), nothing, 1, f"1 finished step that .*: {hash_id('old')}. Either"),
    "one put before it": (
        runs("a"),
        z_then_a,
        1,
        rf"has not reached: 'a' \({hash_id('a')}\); it came to 'z' instead",
    ),
    "made conditional": (runs("a"), a_if_enabled, 1, rf"'a' \({hash_id('a')}\). Either"),
    "a loop cut short": (
        runs("same", "same", "same"),
        twice,
        3,
        rf"1 finished step .* 'same:1' \({hash_id('same:1')}\)|'same:2' \({hash_id('same:2')}\)",
    ),
    "seven removed": (runs(*"abcdefg"), nothing, 7, "7 finished steps .* and 2 more. Either"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_under_an_open_run_is_warned_of_once_per_call(
    mode: Mode, change: str, warned: Warned
) -> None:
    old, new, finished, said = CHANGES[change]
    [message] = warned(changed(mode, old, new, finished))
    assert message.startswith("inngest: shop-f: run 01RUN has ")
    assert re.search(said, message), message


@pytest.mark.parametrize("mode", MODES)
def test_once_a_step_put_before_others_has_run_there_is_nothing_to_warn_of(
    mode: Mode, warned: Warned
) -> None:
    played = changed(mode, runs("a"), z_then_a, 1)
    assert len(warned(played)) == 1
    played.memo({"id": hash_id("z")}, {"data": 1})
    assert warned(played) == []


SAME: dict[str, tuple[Body, Body, int]] = {
    "nothing has changed": (a_then_b, a_then_b, 1),
    "nothing has changed, at the end": (a_then_b, a_then_b, 2),
    "a step was put behind": (runs("a"), a_then_b, 1),
    "steps changed places": (runs("b", "a"), a_then_b, 2),
    "it raises before its steps": (a_then_b, raising, 2),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", SAME)
def test_what_reaches_its_finished_steps_or_raises_is_not_warned_of(
    mode: Mode, case: str, warned: Warned
) -> None:
    old, new, finished = SAME[case]
    assert warned(changed(mode, old, new, finished)) == []


@pytest.mark.parametrize("mode", MODES)
def test_a_call_for_one_step_is_not_warned_of(mode: Mode, warned: Warned) -> None:
    played = changed(mode, runs("old"), a_then_b, 1)
    assert warned(played, step=hash_id("a")) == []


@pytest.mark.parametrize("mode", MODES)
def test_arguments_edited_for_a_step_that_is_gone_are_no_lost_work(
    mode: Mode, warned: Warned
) -> None:
    played = define(both(mode, nothing))
    played.steps[hash_id("old")] = {"input": [1]}
    assert warned(played) == []


@pytest.mark.parametrize("mode", MODES)
def test_middleware_that_changes_what_steps_came_to_changes_nothing(
    mode: Mode, warned: Warned
) -> None:
    class Doubling(MiddlewareSync):
        def transform_input(self, ctx: Any, function: Any, steps: Any) -> None:
            for memo in steps.values():
                memo.data *= 2

    played = define(both(mode, a_then_b), app(middleware=[Doubling]))
    played.steps = {hash_id("a"): {"data": 1}, hash_id("b"): {"data": 1}}
    played.stack = list(played.steps)
    assert warned(played) == []
    assert played.answers[0].status == 200


@pytest.mark.parametrize("mode", MODES)
def test_a_sync_or_async_function_without_tasks_needs_no_order_of_its_steps(
    mode: Mode, warned: Warned
) -> None:
    played = changed(mode, a_then_b, nothing, 2)
    played.stack = []  # as where the state was too large to send
    assert len(warned(played)) == 1


# ── async code that does several things at once ──────────────────────────────────────────────────


def finished(played: Played, *names: str) -> Played:
    for name in names:
        played.memo({"id": hash_id(name)}, {"data": name})
    return played


async def slow_then_x_beside_y_then_z(ctx: Any) -> None:
    async def slow_then_x() -> None:
        await asyncio.Event().wait()  # for something of its own, which was quicker last time
        await ctx.step.run("x", lambda: 1)

    async def y_then_z() -> None:
        await ctx.step.run("y", lambda: 1)
        await ctx.step.run("z", lambda: 1)

    await asyncio.gather(slow_then_x(), y_then_z())


def test_a_branch_that_still_waits_for_something_else_is_not_taken_for_gone(
    warned: Warned,
) -> None:
    played = finished(define(slow_then_x_beside_y_then_z), "x", "y")
    assert warned(played) == []
    assert b'"displayName":"z"' in played.answers[0].body


async def first_of_two(ctx: Any) -> Any:
    async def long_way() -> Any:
        await ctx.step.run("b", lambda: 1)
        return await ctx.step.run("b2", lambda: 1)

    tasks = [asyncio.ensure_future(ctx.step.run("a", lambda: 1)), asyncio.ensure_future(long_way())]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return done.pop().result()


@pytest.mark.parametrize("order", [("a", "b", "b2"), ("b", "a", "b2"), ("b", "b2", "a")])
@pytest.mark.parametrize("known", [True, False], ids=["in order", "in no known order"])
def test_the_losers_of_a_race_are_not_taken_for_gone(
    order: tuple[str, ...], known: bool, warned: Warned
) -> None:
    played = finished(define(first_of_two), *order)
    played.stack = played.stack if known else []
    assert warned(played) == []
    assert played.answers[0].status == 200


async def within_a_time(ctx: Any) -> None:
    async def slow_then_step() -> None:
        await asyncio.Event().wait()
        await ctx.step.run("x", lambda: 1)

    try:
        await asyncio.wait_for(slow_then_step(), 0)
    except asyncio.TimeoutError:
        await ctx.step.run("too-late", lambda: 1)


@pytest.mark.parametrize("names", [("x",), ("x", "too-late")])
def test_a_time_limit_that_ran_out_this_time_is_no_change(
    names: tuple[str, ...], warned: Warned
) -> None:
    assert warned(finished(define(within_a_time), *names)) == []


async def gathering(ctx: Any) -> None:
    await asyncio.gather(ctx.step.run("p", lambda: 1), ctx.step.run("q", lambda: 1))


def test_a_step_that_a_group_has_no_more_is_warned_of_when_the_function_returns(
    warned: Warned,
) -> None:
    played = finished(define(gathering), "p", GONE.decode())
    assert warned(played) == []
    finished(played, "q")
    [message] = warned(played)
    assert hash_id(GONE.decode()) in message


def test_a_step_that_a_group_has_no_more_may_have_lost_a_race_if_the_order_is_not_known(
    warned: Warned,
) -> None:
    played = finished(define(gathering), "p", GONE.decode(), "q")
    played.stack = []
    assert warned(played) == []


# ── where ids are looked for ─────────────────────────────────────────────────────────────────────

CONSTANT = "from-a-constant"
STAGES = {"from-a-key": ["from-a-list", ("from-a-tuple",)]}


class Untouchable:
    """As a web framework's request is, outside of a request."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"{name} was asked for")


PROXY: Any = Untouchable()


class Shop:
    def method(self) -> str:
        return "from-a-method"


def helper(name: str = "") -> str:
    return name or "from-a-helper"


durable = define(lambda ctx: "from-a-durable-function").function


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@decorated
def looked_through(ctx: Any) -> Any:
    def inner() -> str:
        return "from-an-inner-function"

    if PROXY:
        return PROXY
    for name in ("from-a-loop", "from-its-end"):
        helper(name)
    return inner(), CONSTANT, STAGES, Shop.method, durable, looked_through, asyncio.run


def test_texts_are_found_in_what_a_function_calls_and_names() -> None:
    found = source_of(looked_through)
    assert {text for text in found.texts if text.startswith("from-")} == {
        "from-a-constant",
        "from-a-durable-function",
        "from-a-helper",
        "from-a-key",
        "from-a-list",
        "from-a-loop",
        "from-a-method",
        "from-a-tuple",
        "from-an-inner-function",
        "from-its-end",
    }
    assert "renamed" not in found.texts
    assert "too-late" in found.nearby
    assert "helper" in found.names
    assert "gather" not in found.names


@pytest.mark.parametrize(
    "wrapped", [partial(helper), Shop().method, Shop.method], ids=["partial", "method", "function"]
)
def test_methods_and_partials_are_looked_into(wrapped: Callable[..., Any]) -> None:
    assert any(text.startswith("from-a-") for text in source_of(wrapped).texts)


def test_what_is_no_function_has_no_texts() -> None:
    assert source_of(PROXY).texts == frozenset()


def test_hashes_get_their_ids_back_with_their_repeats() -> None:
    hashes = [hash_id("a"), hash_id("b:12"), hash_id("unknown")]
    assert ids_of(hashes, {"a", "b", "c"}) == {hashes[0]: "a", hashes[1]: "b:12"}


def test_a_variable_that_has_no_value_yet_is_passed_over() -> None:
    def function() -> Any:
        return later, "text"

    assert "text" in source_of(function).texts
    later = 1
