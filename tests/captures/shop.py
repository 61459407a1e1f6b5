"""The app of the captures, written with our SDK: same functions, same ids, same bodies."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from inngest_sdk.function import Decorator
from inngest_serverless import (
    Batch,
    Cancel,
    Concurrency,
    Context,
    Debounce,
    Event,
    Inngest,
    NonRetriableError,
    Priority,
    RateLimit,
    RetryAfterError,
    StepError,
    Throttle,
    Timeouts,
    TriggerCron,
    TriggerEvent,
)


def shop(**settings: Any) -> Inngest:
    """The client `shop` and its 25 functions."""
    client = Inngest(app_id="shop", **settings)

    def on(name: str, **options: Any) -> Decorator:
        options = {"retries": 1, "trigger": TriggerEvent(event=f"cap/{name}"), **options}
        return client.create_function(fn_id=name, **options)

    @on("no-steps")
    async def no_steps(ctx: Context) -> Any:
        return {"ok": True, "event": ctx.event.name}

    @on("two-steps")
    async def two_steps(ctx: Context) -> Any:
        async def one() -> Any:
            return {"n": 1}

        async def two() -> Any:
            return [1, 2, {"x": None}]

        return {"x": await ctx.step.run("one", one), "y": await ctx.step.run("two", two)}

    @on("loop-steps")
    async def loop_steps(ctx: Context) -> int:
        return sum([await ctx.step.run("same", lambda: 1) for _ in range(3)])

    @on("step-error")
    async def step_error(ctx: Context) -> Any:
        async def bad() -> None:
            raise ValueError("boom")

        try:
            await ctx.step.run("bad", bad)
        except StepError as error:
            return {"caught": error.message, "name": error.name}

    @on("fn-error")
    async def fn_error(ctx: Context) -> None:
        raise RuntimeError("fn boom")

    @on("non-retriable", retries=3)
    async def non_retriable(ctx: Context) -> None:
        raise NonRetriableError("never")

    @on("retry-after")
    async def retry_after(ctx: Context) -> str:
        if ctx.attempt == 0:
            raise RetryAfterError("later", 1000)
        return "done"

    async def handle(ctx: Context) -> Any:
        return {"failed_event": ctx.event.data}

    @on("with-on-failure", retries=0, on_failure=handle)
    async def with_on_failure(ctx: Context) -> None:
        raise RuntimeError("please handle")

    @on("sleep")
    async def sleep(ctx: Context) -> str:
        await ctx.step.sleep("nap", timedelta(seconds=1))
        return "woke"

    @on("wait-hit")
    async def wait_hit(ctx: Context) -> Any:
        event = await ctx.step.wait_for_event(
            "w",
            event="cap/signal",
            if_exp="event.data.k == async.data.k",
            timeout=timedelta(seconds=20),
        )
        return event.data if event else None

    @on("wait-timeout")
    async def wait_timeout(ctx: Context) -> bool:
        event = await ctx.step.wait_for_event("w", event="cap/never", timeout=timedelta(seconds=1))
        return event is None

    @on("invokee")
    async def invokee(ctx: Context) -> Any:
        return {"got": ctx.event.data}

    @on("invoker")
    async def invoker(ctx: Context) -> Any:
        return await ctx.step.invoke("call", function=invokee, data={"q": 1})

    @on("invokee-fails", retries=0)
    async def invokee_fails(ctx: Context) -> None:
        raise RuntimeError("callee failed")

    @on("invoker-fails", retries=0)
    async def invoker_fails(ctx: Context) -> Any:
        try:
            await ctx.step.invoke("call", function=invokee_fails, data={"q": 1})
        except StepError as error:
            return {"caught": error.message, "name": error.name}

    @on("send-event")
    async def send_event(ctx: Context) -> list[str]:
        events = [Event(name="cap/x", data={"i": 1}), Event(name="cap/y")]
        return await ctx.step.send_event("s", events)

    @on("parallel")
    async def parallel(ctx: Context) -> Any:
        async def named(name: str) -> str:
            return name

        p1, p2, _ = await asyncio.gather(
            ctx.step.run("p1", named, "p1"),
            ctx.step.run("p2", named, "p2"),
            ctx.step.sleep("ps", timedelta(milliseconds=500)),
        )
        return [p1, p2, await ctx.step.run("after", named, "after")]

    @on("batch", batch_events=Batch(max_size=3, timeout=timedelta(seconds=5)))
    async def batch(ctx: Context) -> Any:
        return [event.data for event in ctx.events]

    @on("cron", trigger=TriggerCron(cron="* * * * *"))
    async def cron(ctx: Context) -> Any:
        return {"event": ctx.event.name, "data": ctx.event.data}

    @on("cancel-me", cancel=[Cancel(event="cap/cancel")])
    async def cancel_me(ctx: Context) -> None:
        await ctx.step.sleep("long", timedelta(seconds=30))

    @on("on-cancel", trigger=TriggerEvent(event="inngest/function.cancelled"))
    async def on_cancel(ctx: Context) -> Any:
        return ctx.event.data

    @on(
        "concurrency",
        concurrency=[Concurrency(limit=1, key="event.data.user", scope="fn")],
        throttle=Throttle(limit=10, period=timedelta(seconds=1), burst=2),
        priority=Priority(run="event.data.p"),
        idempotency="event.data.id",
    )
    async def concurrency(ctx: Context) -> None: ...

    @on(
        "rate",
        rate_limit=RateLimit(limit=1, period=timedelta(seconds=10), key="event.data.u"),
        timeouts=Timeouts(start=timedelta(seconds=10), finish=timedelta(minutes=1)),
    )
    async def rate(ctx: Context) -> None: ...

    @on("debounce", debounce=Debounce(period=timedelta(seconds=1), timeout=timedelta(seconds=10)))
    async def debounce(ctx: Context) -> Any:
        return ctx.event.data

    @on("big-state")
    async def big_state(ctx: Context) -> int:
        return sum([len(await ctx.step.run(f"b{n}", lambda: "x" * 900_000)) for n in range(6)])

    return client
