"""Blocks whose steps are undone when an error leaves them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from inngest_sdk.errors import SagaError
from inngest_sdk.steps import hash_id
from inngest_serverless import Context, ContextSync, Inngest, StepError, TriggerEvent
from inngest_serverless.engine.server import DevServer
from tests.engine.test_checkpoint import run_to_end, with_engine
from tests.sdk.play import Mode, Played, define

did: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_was_done() -> None:
    did.clear()


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


def book(what: str) -> str:
    did.append(f"book {what}")
    if what.startswith("full"):
        raise ValueError(f"{what} is full")
    return f"#{what}"


def cancel(booking: str) -> None:
    did.append(f"cancel {booking}")


def refuse(booking: str) -> None:
    did.append(f"refuse {booking}")
    raise ValueError(f"too late for {booking}")


def of(
    mode: Mode, sync: Callable[[ContextSync], Any], other: Callable[[Context], Awaitable[Any]]
) -> Played:
    """The function of this mode, whose steps fail at once. (A saga is a `with` block, which
    `both` could not write once for both.)"""
    handler: Any = sync if mode == "sync" else other
    run = define(handler)
    run.max_attempts = 1
    return run


def trip(mode: Mode, *stops: str, undo: Any = cancel, end: Callable[[], Any] = int) -> Played:
    """Book each stop, do something that is no step, and tell how it went."""

    def sync(ctx: ContextSync) -> list[Any]:
        try:
            with ctx.step.saga("trip") as saga:
                booked = [saga.run(stop, book, stop, undo=undo) for stop in stops]
                end()
        except Exception as error:
            return shown(error)
        return booked

    async def other(ctx: Context) -> list[Any]:
        try:
            async with ctx.step.saga("trip") as saga:
                booked = [await saga.run(stop, book, stop, undo=undo) for stop in stops]
                end()
        except Exception as error:
            return shown(error)
        return booked

    return of(mode, sync, other)


def shown(error: Exception) -> list[Any]:
    failed = error.failed if isinstance(error, SagaError) else {}
    details = {name: each.message for name, each in failed.items()}
    return [type(error).__name__, str(error), str(error.__cause__ or ""), details]


def names(run: Played, *known: str) -> list[str]:
    by_hash = {hash_id(name): name for name in known}
    return [by_hash.get(each, each) for each in run.stack]


def test_a_block_without_errors_undoes_nothing(mode: Mode) -> None:
    run = trip(mode, "flight", "hotel")
    assert run.finish() == ["#flight", "#hotel"]
    assert did == ["book flight", "book hotel"]
    assert len(run.stack) == 2


def test_an_error_undoes_what_was_done_the_last_first(mode: Mode) -> None:
    run = trip(mode, "flight", "hotel", "full car")
    assert run.finish() == ["StepError", "full car is full", "", {}]
    assert did == [
        *["book flight", "book hotel", "book full car"],
        *["cancel #hotel", "cancel #flight"],
    ]
    known = ["flight", "hotel", "full car", "trip:failed", "trip:undo:hotel", "trip:undo:flight"]
    assert names(run, *known) == known


def test_the_run_keeps_why_the_saga_failed(mode: Mode) -> None:
    run = trip(mode, "flight", "full car")
    run.finish()
    why = run.steps[hash_id("trip:failed")]["data"]
    assert why == {"name": "ValueError", "message": "full car is full"}


def test_a_saga_that_has_done_nothing_has_nothing_to_undo(mode: Mode) -> None:
    run = trip(mode, "full car")
    assert run.finish() == ["StepError", "full car is full", "", {}]
    assert len(run.stack) == 1


def test_an_undo_that_fails_does_not_keep_the_others_from_running(mode: Mode) -> None:
    def flaky(booking: str) -> None:
        (refuse if booking == "#hotel" else cancel)(booking)

    run = trip(mode, "flight", "hotel", "full car", undo=flaky)
    name, message, cause, failed = run.finish()
    assert name == "SagaError"
    assert did[3:] == ["refuse #hotel", "cancel #flight"]
    assert failed == {"trip:undo:hotel": "too late for #hotel"}
    assert cause == "full car is full"
    assert message == (
        "saga 'trip' failed (StepError: full car is full), and 1 of its 2 undos failed, too: "
        "undo that by hand (trip:undo:hotel: too late for #hotel)"
    )


def test_an_undo_is_tried_again_as_steps_are(mode: Mode) -> None:
    def fail() -> None:
        raise KeyError("gone")

    run = trip(mode, "flight", undo=refuse, end=fail)
    run.max_attempts = 2
    for _ in range(2):  # the booking, and the record of the failure
        [op] = run.ops()
        run.memo(op, {"data": op["data"]})
    assert [run.ops(attempt=n)[0]["op"] for n in range(2)] == ["StepError", "StepFailed"]
    assert did == ["book flight", "refuse #flight", "refuse #flight"]


def test_an_error_outside_of_steps_undoes_too(mode: Mode) -> None:
    def fail() -> None:
        raise KeyError("gone")

    assert trip(mode, "flight", end=fail).finish() == ["KeyError", "'gone'", "", {}]
    assert did == ["book flight", "cancel #flight"]


def test_a_saga_that_has_failed_stays_failed_though_the_error_has_gone(mode: Mode) -> None:
    weather = ["storm"]

    def fly() -> None:
        if weather:
            raise RuntimeError("storm")

    run = trip(mode, "flight", end=fly)
    for _ in range(2):  # the booking, and the record of the failure
        [op] = run.ops()
        run.memo(op, {"data": op["data"]})
    weather.clear()
    assert run.finish() == ["StepError", "storm", "", {}]
    assert did == ["book flight", "cancel #flight"]


def test_the_end_of_a_call_undoes_nothing(mode: Mode) -> None:
    def sync(ctx: ContextSync) -> str:
        with ctx.step.saga("trip") as saga:
            saga.undo(cancel, "flight")
            ctx.step.sleep("nap", "1h")
        return "woke"

    async def other(ctx: Context) -> str:
        async with ctx.step.saga("trip") as saga:
            saga.undo(cancel, "flight")
            await ctx.step.sleep("nap", "1h")
        return "woke"

    run = of(mode, sync, other)
    [op] = run.ops()
    assert (op["op"], did) == ("Sleep", [])
    assert run.finish() == "woke"
    assert did == []


def test_an_undo_may_be_registered_by_itself(mode: Mode) -> None:
    def sync(ctx: ContextSync) -> None:
        with ctx.step.saga("trip") as saga:
            for stop in ("a", "b"):
                saga.undo(cancel, booking=stop)
            ctx.step.run("fail", book, "full")

    async def other(ctx: Context) -> None:
        async with ctx.step.saga("trip") as saga:
            for stop in ("a", "b"):
                saga.undo(partial(cancel, booking=stop))
            await ctx.step.run("fail", book, "full")

    run = of(mode, sync, other)
    while run.call().status == 206:
        [op] = json.loads(run.answers[-1].body)
        run.memo(op, {"data": op["data"]} if "data" in op else {"error": op["error"]})
    assert did[0] == "book full"
    assert [each for each in did if each.startswith("cancel")][-1] == "cancel a"
    undos = names(run, "trip:undo:cancel", "trip:undo:cancel:1")[-2:]
    assert undos == ["trip:undo:cancel", "trip:undo:cancel:1"]
    assert run.answers[-1].status == 500
    assert run.answers[-1].headers["x-inngest-no-retry"] == "true"


def test_an_undo_may_have_parameters_of_any_name(mode: Mode) -> None:
    def note(handler: str, what: str, args: str) -> None:
        did.append(handler + what + args)

    def sync(ctx: ContextSync) -> None:
        with ctx.step.saga("trip") as saga:
            saga.undo(note, handler="a", what="b", args="c")
            raise ValueError("no")

    async def other(ctx: Context) -> None:
        async with ctx.step.saga("trip") as saga:
            saga.undo(note, handler="a", what="b", args="c")
            raise ValueError("no")

    run = of(mode, sync, other)
    [failed] = run.ops()
    run.memo(failed, {"data": failed["data"]})
    run.ops()
    assert did == ["abc"]


def test_sagas_of_one_id_are_told_apart(mode: Mode) -> None:
    def sync(ctx: ContextSync) -> list[str]:
        ended = []
        for stop in ("full a", "b"):
            try:
                with ctx.step.saga("trip") as saga:
                    saga.run("first", book, "flight", undo=cancel)
                    saga.run("stop", book, stop, undo=cancel)
                ended.append("ok")
            except StepError as error:
                ended.append(error.message)
        return ended

    async def other(ctx: Context) -> list[str]:
        ended = []
        for stop in ("full a", "b"):
            try:
                async with ctx.step.saga("trip") as saga:
                    await saga.run("first", book, "flight", undo=cancel)
                    await saga.run("stop", book, stop, undo=cancel)
                ended.append("ok")
            except StepError as error:
                ended.append(error.message)
        return ended

    run = of(mode, sync, other)
    assert run.finish() == ["full a is full", "ok"]
    assert did == ["book flight", "book full a", "cancel #flight", "book flight", "book b"]


def test_sagas_within_sagas_are_undone_from_the_inside(mode: Mode) -> None:
    def sync(ctx: ContextSync) -> None:
        with ctx.step.saga("out") as out:
            out.run("a", book, "a", undo=cancel)
            with ctx.step.saga("in") as inner:
                inner.run("b", book, "b", undo=cancel)
                ctx.step.run("fail", book, "full")

    async def other(ctx: Context) -> None:
        async with ctx.step.saga("out") as out:
            await out.run("a", book, "a", undo=cancel)
            async with ctx.step.saga("in") as inner:
                await inner.run("b", book, "b", undo=cancel)
                await ctx.step.run("fail", book, "full")

    run = of(mode, sync, other)
    while run.call().status == 206:
        [op] = json.loads(run.answers[-1].body)
        run.memo(op, {"data": op["data"]} if "data" in op else {"error": op["error"]})
    assert did == ["book a", "book b", "book full", "cancel #b", "cancel #a"]


def test_async_steps_and_undos_are_awaited() -> None:
    async def book_later(what: str) -> str:
        await asyncio.sleep(0)
        return book(what)

    async def cancel_later(booking: str) -> None:
        await asyncio.sleep(0)
        cancel(booking)

    async def f(ctx: Context) -> None:
        async with ctx.step.saga("trip") as saga:
            await saga.run("a", book_later, "a", undo=cancel_later)
            raise ValueError("no")

    run = define(f)
    for _ in range(3):
        [op] = run.ops()
        run.memo(op, {"data": op["data"]})
    assert did == ["book a", "cancel #a"]
    assert json.loads(run.call().body)["message"] == "no"


def test_steps_side_by_side_are_all_undone() -> None:
    async def f(ctx: Context) -> list[Any]:
        try:
            async with ctx.step.saga("trip") as saga:
                booked = [saga.run(each, book, each, undo=cancel) for each in ("a", "b", "full")]
                await asyncio.gather(*booked)
        except StepError as error:
            return shown(error)
        return []

    run = define(f)
    run.max_attempts = 1
    assert run.finish(order=["b", "full", "a"])[1] == "full is full"
    assert did == ["book b", "book full", "book a", "cancel #a", "cancel #b"]


@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_server_sees_the_same_saga_with_checkpoints_and_without(
    mode: Mode, checkpointing: bool
) -> None:
    async def act(engine: DevServer) -> None:
        def define(client: Inngest) -> None:
            made = trip(mode, "flight", "hotel", "full car").function.handler
            client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"), retries=0)(made)

        run, _ = await run_to_end(engine, define, checkpointing=checkpointing)
        assert run.output == ["StepError", "full car is full", "", {}]

    with_engine(act)
    assert did[3:] == ["cancel #hotel", "cancel #flight"]
