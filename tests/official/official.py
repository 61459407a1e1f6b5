"""The app, written with inngest.

Its twin is the same text but for that name; a test compares them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

from inngest import (
    Batch,
    Cancel,
    Concurrency,
    Context,
    ContextSync,
    Debounce,
    Event,
    Function,
    Inngest,
    NonRetriableError,
    ParallelMode,
    Priority,
    RateLimit,
    RetryAfterError,
    StepError,
    Throttle,
    Timeouts,
    TriggerCron,
    TriggerEvent,
)

T = TypeVar("T")


async def give(value: T) -> T:
    """A step that works."""
    return value


async def fail(message: str) -> str:
    """A step that does not."""
    raise ValueError(message)


def events(client: Inngest) -> list[Function[Any]]:
    """Functions about what starts them."""

    @client.create_function(fn_id="no-steps", trigger=TriggerEvent(event="shop/no-steps"))
    async def no_steps(ctx: Context) -> object:
        return {
            "name": ctx.event.name,
            "data": ctx.event.data,
            "events": len(ctx.events),
            "attempt": ctx.attempt,
        }

    @client.create_function(
        fn_id="multiple-triggers",
        trigger=[
            TriggerEvent(event="shop/first"),
            TriggerEvent(event="shop/second", expression="event.data.n > 1"),
        ],
    )
    async def multiple_triggers(ctx: Context) -> object:
        return [ctx.event.name, ctx.event.data]

    @client.create_function(fn_id="wildcard", trigger=TriggerEvent(event="wild/*"))
    async def wildcard(ctx: Context) -> str:
        return ctx.event.name

    @client.create_function(fn_id="cron", trigger=TriggerCron(cron="TZ=Europe/Paris 0 9 * * *"))
    async def cron(ctx: Context) -> object:
        return [ctx.event.name, ctx.event.data["cron"]]

    @client.create_function(fn_id="idempotent", trigger=TriggerEvent(event="shop/idempotent"))
    async def idempotent(ctx: Context) -> object:
        return ctx.event.data["n"]

    @client.create_function(fn_id="send", trigger=TriggerEvent(event="shop/send"))
    async def send(ctx: Context) -> int:
        one = await ctx.step.send_event("one", Event(name="shop/sent", data={"n": 1}))
        more = [Event(name="shop/sent", data={"n": n}) for n in (2, 3)]
        return len(one + await ctx.step.send_event("more", more))

    @client.create_function(fn_id="sent", trigger=TriggerEvent(event="shop/sent"))
    async def sent(ctx: Context) -> object:
        return ctx.event.data["n"]

    return [no_steps, multiple_triggers, wildcard, cron, idempotent, send, sent]


def steps(client: Inngest) -> list[Function[Any]]:
    """Functions about steps that work."""

    @client.create_function(fn_id="two-steps", trigger=TriggerEvent(event="shop/two-steps"))
    async def two_steps(ctx: Context) -> object:
        one = await ctx.step.run("one", give, 1)
        return {"one": one, "two": await ctx.step.run("two", give, [one, {"x": None}])}

    @client.create_function(fn_id="sync-steps", trigger=TriggerEvent(event="shop/sync-steps"))
    def sync_steps(ctx: ContextSync) -> object:
        one = ctx.step.run("one", lambda: 1)
        ctx.step.sleep("nap", timedelta(seconds=1))
        a, b = ctx.group.parallel(
            (lambda: ctx.step.run("a", lambda: "a"), lambda: ctx.step.run("b", lambda: "b"))
        )
        return [one, a, b]

    @client.create_function(fn_id="run-sleep-run", trigger=TriggerEvent(event="shop/run-sleep-run"))
    async def run_sleep_run(ctx: Context) -> object:
        before = await ctx.step.run("before", give, "before")
        await ctx.step.sleep("nap", timedelta(hours=1))
        return [before, await ctx.step.run("after", give, "after")]

    @client.create_function(fn_id="step-id-reuse", trigger=TriggerEvent(event="shop/step-id-reuse"))
    async def step_id_reuse(ctx: Context) -> object:
        return [await ctx.step.run("same", give, n) for n in range(3)]

    @client.create_function(fn_id="step-outputs", trigger=TriggerEvent(event="shop/step-outputs"))
    async def step_outputs(ctx: Context) -> object:
        values: dict[str, object] = {
            "object": {"a": {"b": [1]}},
            "list": [1, "zwei", None],
            "tuple": (1, 2),
            "text": "ü\u2028😀",
            "number": -1.5e-7,
            "truth": True,
            "nothing": None,
            "the keys of a stored step": {"data": 1, "error": None},
        }
        outputs = [await ctx.step.run(name, give, value) for name, value in values.items()]
        return [[type(output).__name__, output] for output in outputs]

    @client.create_function(fn_id="big-state", trigger=TriggerEvent(event="shop/big-state"))
    async def big_state(ctx: Context) -> int:
        return sum([len(await ctx.step.run(f"{n}", give, "x" * 1_000_000)) for n in range(10)])

    return [two_steps, sync_steps, run_sleep_run, step_id_reuse, step_outputs, big_state]


def errors(client: Inngest) -> list[Function[Any]]:
    """Functions about what fails."""

    @client.create_function(fn_id="retry-step", trigger=TriggerEvent(event="shop/retry-step"))
    async def retry_step(ctx: Context) -> object:
        async def attempt() -> int:
            if ctx.attempt == 0:
                raise ValueError("the first time")
            return ctx.attempt

        return [await ctx.step.run("flaky", attempt), await ctx.step.run("next", give, "next")]

    @client.create_function(
        fn_id="retry-function", trigger=TriggerEvent(event="shop/retry-function")
    )
    async def retry_function(ctx: Context) -> object:
        step = await ctx.step.run("once", give, ctx.attempt)
        if ctx.attempt == 0:
            raise RuntimeError("the first time")
        return {"step": step, "function": ctx.attempt}

    @client.create_function(fn_id="retry-after", trigger=TriggerEvent(event="shop/retry-after"))
    async def retry_after(ctx: Context) -> int:
        if ctx.attempt == 0:
            raise RetryAfterError("in an hour", timedelta(hours=1))
        return ctx.attempt

    @client.create_function(
        fn_id="max-retries", retries=2, trigger=TriggerEvent(event="shop/max-retries")
    )
    async def max_retries(ctx: Context) -> None:
        raise RuntimeError(f"attempt {ctx.attempt}")

    @client.create_function(fn_id="non-retriable", trigger=TriggerEvent(event="shop/non-retriable"))
    async def non_retriable(ctx: Context) -> None:
        raise NonRetriableError("never")

    @client.create_function(
        fn_id="non-retriable-step", trigger=TriggerEvent(event="shop/non-retriable-step")
    )
    async def non_retriable_step(ctx: Context) -> object:
        async def never() -> None:
            raise NonRetriableError("never")

        try:
            await ctx.step.run("never", never)
        except StepError as error:
            return {"name": error.name, "message": error.message}
        return None

    @client.create_function(
        fn_id="catch-step-error", retries=1, trigger=TriggerEvent(event="shop/catch-step-error")
    )
    async def catch_step_error(ctx: Context) -> object:
        try:
            await ctx.step.run("bad", fail, "boom")
        except StepError as error:
            return await ctx.step.run("say", give, {"name": error.name, "message": error.message})
        return None

    @client.create_function(
        fn_id="uncaught-step-error",
        retries=1,
        trigger=TriggerEvent(event="shop/uncaught-step-error"),
    )
    async def uncaught_step_error(ctx: Context) -> None:
        await ctx.step.run("bad", fail, "boom")
        await ctx.step.run("never", give, None)

    async def failed(ctx: Context) -> object:
        data: Any = ctx.event.data
        return [
            ctx.event.name,
            data["function_id"],
            data["error"]["message"],
            data["event"]["data"],
        ]

    @client.create_function(
        fn_id="on-failure",
        retries=0,
        on_failure=failed,
        trigger=TriggerEvent(event="shop/on-failure"),
    )
    async def on_failure(ctx: Context) -> None:
        raise RuntimeError("please handle")

    @client.create_function(
        fn_id="unserializable", retries=2, trigger=TriggerEvent(event="shop/unserializable")
    )
    async def unserializable(ctx: Context) -> object:
        return object()

    @client.create_function(
        fn_id="unserializable-step",
        retries=2,
        trigger=TriggerEvent(event="shop/unserializable-step"),
    )
    async def unserializable_step(ctx: Context) -> None:
        await ctx.step.run("bad", give, object())

    return [
        retry_step,
        retry_function,
        retry_after,
        max_retries,
        non_retriable,
        non_retriable_step,
        catch_step_error,
        uncaught_step_error,
        on_failure,
        unserializable,
        unserializable_step,
    ]


def parallel(client: Inngest) -> list[Function[Any]]:
    """Functions about steps side by side."""

    @client.create_function(fn_id="parallel", trigger=TriggerEvent(event="shop/parallel"))
    async def basic(ctx: Context) -> object:
        found = await ctx.group.parallel(
            (lambda: ctx.step.run("a", give, "a"), lambda: ctx.step.run("b", give, "b"))
        )
        return [*found, await ctx.step.run("c", give, "c")]

    async def chain(ctx: Context, name: str) -> str:
        first = await ctx.step.run(f"{name}1", give, name)
        return await ctx.step.run(f"{name}2", give, first * 2)

    @client.create_function(fn_id="parallel-wait", trigger=TriggerEvent(event="shop/parallel-wait"))
    async def wait(ctx: Context) -> object:
        return await ctx.group.parallel((lambda: chain(ctx, "a"), lambda: chain(ctx, "b")))

    @client.create_function(fn_id="parallel-race", trigger=TriggerEvent(event="shop/parallel-race"))
    async def race(ctx: Context) -> object:
        chains = (lambda: chain(ctx, "a"), lambda: chain(ctx, "b"))
        return await ctx.group.parallel(chains, parallel_mode=ParallelMode.RACE)

    @client.create_function(
        fn_id="parallel-kinds", trigger=TriggerEvent(event="shop/parallel-kinds")
    )
    async def kinds(ctx: Context) -> object:
        async def run() -> object:
            return await ctx.step.run("run", give, "ran")

        async def sleep() -> object:
            await ctx.step.sleep("sleep", timedelta(seconds=2))
            return "slept"

        async def wait() -> object:
            return await ctx.step.wait_for_event(
                "wait", event="shop/never", timeout=timedelta(seconds=3)
            )

        async def invoke() -> object:
            return await ctx.step.invoke("invoke", function=basic)

        found = await ctx.group.parallel((run, sleep, wait, invoke))
        await ctx.step.sleep("after", timedelta(seconds=1))
        return found

    @client.create_function(
        fn_id="parallel-error", retries=1, trigger=TriggerEvent(event="shop/parallel-error")
    )
    async def error(ctx: Context) -> object:
        async def good() -> object:
            return await ctx.step.run("good", give, "good")

        async def bad() -> object:
            return await ctx.step.run("bad", fail, "boom")

        try:
            return await ctx.group.parallel((bad, good))
        except StepError as error:
            return {"name": error.name, "message": error.message}

    return [basic, wait, race, kinds, error]


def waiting(client: Inngest) -> list[Function[Any]]:
    """Functions about other events and other functions."""

    @client.create_function(fn_id="wait", trigger=TriggerEvent(event="shop/wait"))
    async def wait(ctx: Context) -> object:
        event = await ctx.step.wait_for_event(
            "signal",
            event="shop/signal",
            if_exp="event.data.k == async.data.k",
            timeout=timedelta(minutes=1),
        )
        return event and [event.name, event.data]

    @client.create_function(fn_id="child", trigger=TriggerEvent(event="shop/child"))
    async def child(ctx: Context) -> object:
        return {"got": await ctx.step.run("got", give, ctx.event.data["n"])}

    @client.create_function(fn_id="invoke", trigger=TriggerEvent(event="shop/invoke"))
    async def invoke(ctx: Context) -> object:
        one = await ctx.step.invoke("one", function=child, data={"n": 1})
        return [one, await ctx.step.invoke_by_id("two", function_id="child", data={"n": 2})]

    @client.create_function(
        fn_id="failing-child", retries=1, trigger=TriggerEvent(event="shop/failing-child")
    )
    async def failing_child(ctx: Context) -> object:
        raise RuntimeError("child failed")

    @client.create_function(
        fn_id="invoke-child-error", trigger=TriggerEvent(event="shop/invoke-child-error")
    )
    async def invoke_child_error(ctx: Context) -> object:
        try:
            return await ctx.step.invoke("call", function=failing_child)
        except StepError as error:
            return {"name": error.name, "message": error.message}

    @client.create_function(
        fn_id="invoke-unknown", trigger=TriggerEvent(event="shop/invoke-unknown")
    )
    async def invoke_unknown(ctx: Context) -> object:
        try:
            return await ctx.step.invoke_by_id("call", function_id="nothing", data={})
        except StepError as error:
            return {"name": error.name, "message": error.message}

    @client.create_function(
        fn_id="cancel",
        cancel=[Cancel(event="shop/cancelled", if_exp="event.data.n == async.data.n")],
        trigger=TriggerEvent(event="shop/cancel"),
    )
    async def cancel(ctx: Context) -> object:
        await ctx.step.sleep("long", timedelta(hours=1))
        return ctx.event.data["n"]

    @client.create_function(
        fn_id="on-cancel", trigger=TriggerEvent(event="inngest/function.cancelled")
    )
    async def on_cancel(ctx: Context) -> object:
        return ctx.event.data["function_id"]

    return [
        wait,
        child,
        invoke,
        failing_child,
        invoke_child_error,
        invoke_unknown,
        cancel,
        on_cancel,
    ]


def flow(client: Inngest) -> list[Function[Any]]:
    """Functions about when they may run."""

    @client.create_function(
        fn_id="batch",
        batch_events=Batch(max_size=3, timeout=timedelta(seconds=5)),
        trigger=TriggerEvent(event="shop/batch"),
    )
    async def batch(ctx: Context) -> object:
        return [event.data["n"] for event in ctx.events]

    @client.create_function(
        fn_id="debounce",
        debounce=Debounce(period=timedelta(seconds=10)),
        trigger=TriggerEvent(event="shop/debounce"),
    )
    async def debounce(ctx: Context) -> object:
        return ctx.event.data["n"]

    @client.create_function(
        fn_id="rate-limit",
        rate_limit=RateLimit(limit=1, period=timedelta(minutes=1), key="event.data.user"),
        trigger=TriggerEvent(event="shop/rate-limit"),
    )
    async def rate_limit(ctx: Context) -> object:
        return ctx.event.data["n"]

    @client.create_function(
        fn_id="every-option",
        concurrency=[Concurrency(limit=1, key="event.data.user", scope="fn"), Concurrency(limit=2)],
        idempotency="event.data.n",
        priority=Priority(run="event.data.n"),
        throttle=Throttle(limit=1, period=timedelta(seconds=10), burst=2),
        timeouts=Timeouts(start=timedelta(minutes=1), finish=timedelta(minutes=2)),
        trigger=TriggerEvent(event="shop/every-option"),
    )
    async def every_option(ctx: Context) -> object:
        return await ctx.step.run("n", give, ctx.event.data["n"])

    return [batch, debounce, rate_limit, every_option]


def functions(client: Inngest) -> list[Function[Any]]:
    """All of them."""
    parts = (events, steps, errors, parallel, waiting, flow)
    return [function for part in parts for function in part(client)]
