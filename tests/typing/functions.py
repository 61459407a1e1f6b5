"""What type checkers make of functions, their context and their middleware. Never run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from inngest_serverless import (
    Context,
    ContextSync,
    Event,
    Function,
    Inngest,
    Middleware,
    MiddlewareSync,
    SendEventsResult,
    StepMemos,
    TransformOutputResult,
    TriggerCron,
    TriggerEvent,
)

if TYPE_CHECKING:
    from typing_extensions import assert_type


class Noting(Middleware):
    async def transform_input(self, ctx: Any, function: Any, steps: StepMemos) -> None:
        assert_type(steps.size, int)

    async def transform_output(self, result: TransformOutputResult) -> None:
        result.output = None

    async def before_send_events(self, events: list[Event]) -> None:
        assert_type(events[0].data, Mapping[str, Any])


class NotingSync(MiddlewareSync):
    def after_send_events(self, result: SendEventsResult) -> None:
        assert_type(result.ids, list[str])


client = Inngest(app_id="shop", is_production=False, middleware=[Noting, NotingSync])


def failed(ctx: ContextSync) -> None: ...


@client.create_function(
    fn_id="async", trigger=TriggerEvent(event="a/b"), middleware=[Noting], on_failure=failed
)
async def async_function(ctx: Context) -> dict[str, int]:
    assert_type(await ctx.now(), datetime)
    assert_type(ctx.run_id, str)
    return {}


@client.create_function(fn_id="sync", trigger=[TriggerCron(cron="* * * * *")])
def sync_function(ctx: ContextSync) -> str:
    assert_type(ctx.now(), datetime)
    return ""


@client.create_function(fn_id="nothing", trigger=TriggerEvent(event="a/b"))
async def nothing(ctx: Context) -> None: ...


async def invoked(ctx: Context) -> None:
    assert_type(await ctx.step.invoke("a", function=async_function), dict[str, int])
    assert_type(await ctx.step.invoke("b", function=sync_function, data={}), str)
    assert_type(await ctx.step.invoke("c", function=nothing), None)


def defined() -> None:
    assert_type(async_function, Function[dict[str, int]])
    assert_type(sync_function, Function[str])
    assert_type(nothing, Function[None])


def made_elsewhere() -> Function[int]:
    return client.create_function(fn_id="x", trigger=TriggerEvent(event="a/b"))(lambda ctx: 1)
