"""Functions under `@step`: steps where a run calls them, plain functions elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from inngest_sdk.decorated import DecoratedStep, step
from inngest_sdk.steps import hash_id
from inngest_serverless import Context, ContextSync, FunctionConfigInvalidError, Retry
from tests.sdk.play import Mode, both, define

Steps = Generator[Any, Any, Any]


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


@dataclass
class Charge:
    cents: int


@step
async def charge(cents: int) -> Charge:
    return Charge(cents)


@step
def charge_sync(cents: int) -> Charge:
    return Charge(cents)


def charge_of(mode: Mode) -> Any:
    return charge if mode == "async" else charge_sync


class Shop:
    @step
    async def refund(self, cents: int) -> int:
        return -cents

    @step(id="pay")
    def refund_sync(self, cents: int) -> int:
        return -cents

    @classmethod
    @step
    async def open(cls) -> str:
        return cls.__name__


def names(ops: list[dict[str, Any]]) -> list[str]:
    return [op["userland"]["id"] for op in ops]


def test_a_call_in_a_run_is_a_step_with_the_functions_name(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        paid = yield charge_of(mode)(7)
        return [type(paid).__name__, paid.cents]

    run = define(both(mode, f))
    [op] = run.ops()
    name = "charge" if mode == "async" else "charge_sync"
    assert (op["op"], op["id"], op["data"]) == ("StepRun", hash_id(name), {"cents": 7})
    assert op["opts"]["input"] == [7]
    run.memo(op, {"data": {"cents": 8}})
    assert json.loads(run.call().body) == ["Charge", 8]


def test_outside_of_runs_it_is_the_plain_function() -> None:
    assert charge_sync(7) == Charge(7)
    assert asyncio.run(charge(7)) == Charge(7)
    assert charge_sync(7, key="x") == Charge(7)
    assert charge.__name__ == "charge"


def test_inside_another_step_it_is_the_plain_function(mode: Mode) -> None:
    def sync_checkout() -> int:
        return charge_sync(7).cents

    async def checkout() -> int:
        return (await charge(7)).cents + charge_sync(1).cents

    def f(ctx: Any) -> Steps:
        body = sync_checkout if mode == "sync" else checkout
        return (yield ctx.step.run("checkout", body))

    assert define(both(mode, f)).finish() == (7 if mode == "sync" else 8)


def test_it_may_be_what_ctx_step_run_calls(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        return (yield ctx.step.run("mine", charge_of(mode), 7)).cents

    run = define(both(mode, f))
    [op] = run.ops()
    assert (names([op]), op["data"]) == (["mine"], {"cents": 7})


def test_a_key_tells_the_calls_of_a_loop_apart(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        total = 0
        for cents in (5, 6):
            paid = yield charge_of(mode)(cents, key=f"order-{cents}")
            total += paid.cents
        return total

    run = define(both(mode, f))
    assert run.finish() == 11
    assert run.stack == [hash_id(f"{charge_of(mode).__name__}:order-{n}") for n in (5, 6)]


def test_calls_without_a_key_are_numbered(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        one = yield charge_of(mode)(5)
        two = yield charge_of(mode)(6)
        return one.cents + two.cents

    run = define(both(mode, f))
    assert run.finish() == 11
    name = charge_of(mode).__name__
    assert run.stack == [hash_id(name), hash_id(f"{name}:1")]


def test_gather_over_decorated_steps_plans_them_together() -> None:
    async def f(ctx: Context) -> int:
        paid = await asyncio.gather(*(charge(n, key=n) for n in (1, 2)))
        return sum(each.cents for each in paid)

    run = define(f)
    assert names(run.ops()) == ["charge:1", "charge:2"]
    assert run.finish() == 3


def test_methods_are_steps_named_after_their_class() -> None:
    async def f(ctx: Context) -> list[Any]:
        opened: Any = Shop.open  # a class method: type checkers do not bind its `cls`
        return [await Shop().refund(7), await opened()]

    run = define(f)
    assert run.finish() == [-7, "Shop"]
    assert run.stack == [hash_id("Shop.refund"), hash_id("Shop.open")]


def test_an_id_may_be_given() -> None:
    def f(ctx: ContextSync) -> int:
        return Shop().refund_sync(7)

    assert names(define(f).ops()) == ["pay"]


def test_where_a_function_is_defined_is_no_part_of_its_id(mode: Mode) -> None:
    @step
    async def local() -> int:
        return 1

    @step
    def local_sync() -> int:
        return 1

    def f(ctx: Any) -> Steps:
        return (yield local() if mode == "async" else local_sync())

    assert names(define(both(mode, f)).ops()) == ["local" if mode == "async" else "local_sync"]


def test_options_of_the_decorator_are_those_of_the_step(mode: Mode) -> None:
    tries = []

    @step(name="Fail!", retry=Retry(max=1, backoff=0))
    async def fail() -> None:
        tries.append(1)
        raise ValueError("no")

    @step(name="Fail!", retry=Retry(max=1, backoff=0))
    def fail_sync() -> None:
        tries.append(1)
        raise ValueError("no")

    def f(ctx: Any) -> Steps:
        yield fail(key="a") if mode == "async" else fail_sync(key="a")

    run = define(both(mode, f))
    run.max_attempts = 1
    [op] = run.ops()
    assert (op["op"], op["displayName"], len(tries)) == ("StepFailed", "Fail! a", 2)


def test_a_timeout_cuts_an_async_step_off() -> None:
    @step(timeout="10ms")
    async def hang() -> None:
        await asyncio.Event().wait()

    async def f(ctx: Context) -> None:
        await hang()

    [op] = define(f).ops()
    assert op["error"]["name"] == "StepTimeoutError"


def test_an_async_step_in_a_sync_function_says_what_to_do() -> None:
    def f(ctx: ContextSync) -> object:
        return charge(7)

    [op] = define(f).ops()
    assert op["op"] == "StepFailed"
    assert "make the function async, or the callable sync" in op["error"]["message"]


def test_a_sync_step_in_an_async_function_says_what_to_do() -> None:
    async def f(ctx: Context) -> None:
        charge_sync(7)

    answer = define(f).call()
    assert answer.headers["x-inngest-no-retry"] == "true"
    message = json.loads(answer.body)["message"]
    assert "await ctx.step.run('charge_sync', charge_sync, ...)" in message


def takes_key(key: str) -> str:
    return key


def generates() -> Generator[int, None, None]:
    yield 1


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (takes_key, "takes_key has a parameter `key`.*rename the parameter"),
        (generates, "the generator generates"),
        (partial(takes_key, "a"), "it takes a function or a method"),
        (Shop, "it takes a function or a method"),
        (staticmethod(takes_key), "above @staticmethod; put it below"),
    ],
)
def test_what_cannot_be_a_step_is_refused_where_it_is_defined(
    function: Callable[..., Any], problem: str
) -> None:
    with pytest.raises(FunctionConfigInvalidError, match=problem):
        step(function)


def test_bad_options_are_refused_where_the_step_is_defined() -> None:
    with pytest.raises(FunctionConfigInvalidError, match="at most once"):
        step(at_most_once=True, retry=Retry(max=1))(takes_nothing)


def takes_nothing() -> None: ...


def test_types_are_kept() -> None:
    kept: DecoratedStep[[int], Charge] = charge_sync
    assert kept(1, key=2) == Charge(1)
