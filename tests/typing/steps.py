"""What type checkers make of steps: the exact type of what each gives. Never run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from inngest_serverless import Context, ContextSync, Retry, StepOptions

if TYPE_CHECKING:
    from typing_extensions import assert_type


@dataclass
class Order:
    n: int

    def total(self, factor: int = 1) -> float:
        return self.n * factor

    async def store(self) -> Order:
        return self


async def load(n: int, *, deep: bool = False) -> Order:
    return Order(n)


def count(text: str, *, start: int = 0) -> int:
    return start + len(text)


def parse(text: str) -> object:
    return text


async def run(ctx: Context) -> None:
    step = ctx.step
    assert_type(await step.run("a", load, 1), Order)
    assert_type(await step.run("b", load, 1, deep=True), Order)
    assert_type(await step.run("c", count, "x"), int)
    assert_type(await step.run("d", count, "x", start=1), int)
    assert_type(await step.run("e", lambda: "text"), str)
    assert_type(await step.run("f", lambda: load(1)), Order)
    assert_type(await step.run("g", partial(load, 1)), Order)
    assert_type(await step.run("h", partial(count, start=1), "x"), int)
    assert_type(await step.run("i", Order(1).total), float)
    assert_type(await step.run("j", Order(1).total, factor=2), float)
    assert_type(await step.run("k", Order(1).store), Order)
    assert_type(await step.run("l", Order, 1), Order)
    assert_type(await step.run(StepOptions("m", retry=Retry(max=2)), load, 1), Order)
    assert_type(await step.run("n", parse, "x", output_type=Order), Order)
    assert_type(await step.run("o", parse, "x", output_type=list[int]), list[int])
    await step.run("q", load, "one")  # type: ignore[call-overload] # as load itself would say
    await step.run("r", load, 1, wide=True)  # type: ignore[call-arg] # no such argument


def run_sync(ctx: ContextSync) -> None:
    step = ctx.step
    assert_type(step.run("a", count, "x"), int)
    assert_type(step.run("b", count, "x", start=1), int)
    assert_type(step.run("c", lambda: Order(1)), Order)
    assert_type(step.run("d", partial(count, "x")), int)
    assert_type(step.run("e", Order(1).total, 2), float)
    assert_type(step.run(StepOptions("f"), count, "x"), int)
    assert_type(step.run("g", parse, "x", output_type=Order), Order)
    step.run("i", count, 1)  # type: ignore[call-overload] # as count itself would say


async def side_by_side(ctx: Context) -> None:
    step = ctx.step
    gathered = await asyncio.gather(
        step.run("a", load, 1), step.run("b", count, "x"), step.sleep("c", "1s")
    )
    assert_type(gathered, tuple[Order, int, None])
    listed = await asyncio.gather(*(step.run(f"d-{n}", load, n) for n in range(3)))
    assert_type(listed, list[Order])
    grouped = await ctx.group.parallel(
        (lambda: step.run("e", load, 1), lambda: step.run("f", load, 2))
    )
    assert_type(grouped, tuple[Order, ...])


def side_by_side_sync(ctx: ContextSync) -> None:
    grouped = ctx.group.parallel(
        (lambda: ctx.step.run("a", count, "x"), lambda: ctx.step.run("b", count, "y"))
    )
    assert_type(grouped, tuple[int, ...])
