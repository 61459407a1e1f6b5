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

    def f(ctx: ContextSync) -> Any:
        def run(part: Program) -> Any:
            if isinstance(part, str):
                return ctx.step.run(part, body, part)
            if isinstance(part, Sequence):
                return [run(each) for each in part.parts]
            return list(ctx.group.parallel(tuple(partial(run, each) for each in part.parts)))

        return run(program)

    assert define(f).finish(order=order) == plain(program)
    assert len(ran) == size(program)
