"""Programs made at random of steps one after the other and side by side: whatever the order in
which the server runs what was planned, each body runs once and the result is that of plain code."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from inngest_serverless import Context, ContextSync
from tests.sdk.play import define


@dataclass(frozen=True)
class Sequence:
    parts: tuple[Program, ...]


@dataclass(frozen=True)
class Parallel:
    parts: tuple[Program, ...]


Program: TypeAlias = "str | Sequence | Parallel"

names = st.sampled_from("abcdef")
programs: st.SearchStrategy[Program] = st.recursive(
    names,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: Sequence(tuple(parts)))
        | st.lists(inner, max_size=3).map(lambda parts: Parallel(tuple(parts)))
    ),
    max_leaves=12,
)


def plain(program: Program) -> Any:
    """The result that the program would have if steps were plain calls."""
    if isinstance(program, str):
        return program
    return [plain(part) for part in program.parts]


def order_of_ops(program: Program, place: str = "") -> list[str]:
    """The ids of all steps of a program, told apart by their place."""
    if isinstance(program, str):
        return [program + place]
    parts = enumerate(program.parts)
    return [each for n, part in parts for each in order_of_ops(part, f"{place}.{n}")]


def size(program: Program) -> int:
    return 1 if isinstance(program, str) else sum(map(size, program.parts))


@settings(max_examples=150, deadline=None)
@given(programs, st.permutations("abcdef"))
def test_an_async_program_of_steps_is_the_plain_program(program: Program, order: list[str]) -> None:
    ran: list[str] = []

    async def body(name: str) -> str:
        ran.append(name)
        return name

    async def f(ctx: Context) -> Any:
        async def run(part: Program) -> Any:
            if isinstance(part, str):
                return await ctx.step.run(part, body, part)
            if isinstance(part, Sequence):
                return [await run(each) for each in part.parts]
            return await asyncio.gather(*(run(each) for each in part.parts))

        return await run(program)

    assert define(f).finish(order=order) == plain(program)
    assert len(ran) == size(program)


@settings(max_examples=150, deadline=None)
@given(programs, st.permutations("abcdef"))
def test_a_sync_program_of_steps_is_the_plain_program(program: Program, order: list[str]) -> None:
    ran: list[str] = []

    def body(name: str) -> str:
        ran.append(name)
        return name

    # Ids are told apart by their place: a sync function is not to repeat one in another branch.
    def f(ctx: ContextSync) -> Any:
        def run(part: Program, place: str) -> Any:
            if isinstance(part, str):
                return ctx.step.run(part + place, body, part)
            inner = [partial(run, each, f"{place}.{n}") for n, each in enumerate(part.parts)]
            if isinstance(part, Sequence):
                return [each() for each in inner]
            return list(ctx.group.parallel(tuple(inner)))

        return run(program, "")

    run = define(f)
    assert run.finish(order=sorted(order_of_ops(program), key=lambda id_: order.index(id_[0]))) == (
        plain(program)
    )
    assert len(ran) == size(program)
