"""The app that every front door serves. What its functions do, the events that call them say."""

from __future__ import annotations

from functools import partial
from typing import Any

from inngest_serverless import (
    Context,
    ContextSync,
    Event,
    Inngest,
    NonRetriableError,
    RetryAfterError,
    TriggerEvent,
)

client = Inngest(app_id="contract")

RETRY_AFTER = 30_000  # milliseconds


def failure(kind: str) -> Exception:
    """An error of one of the kinds that the server treats differently."""
    if kind == "final":
        return NonRetriableError("größer als der Vorrat")
    if kind == "later":
        return RetryAfterError("größer als der Vorrat", RETRY_AFTER)
    return ValueError("größer als der Vorrat")


def fail(kind: str) -> None:
    """A step's body that ends so."""
    raise failure(kind)


@client.create_function(fn_id="value", trigger=TriggerEvent(event="contract/value"))
async def value(ctx: Context) -> Any:
    """Return what the event holds."""
    return ctx.event.data["value"]


@client.create_function(fn_id="value-sync", trigger=TriggerEvent(event="contract/value-sync"))
def value_sync(ctx: ContextSync) -> Any:
    """Return what the event holds."""
    return ctx.event.data["value"]


@client.create_function(fn_id="measure", trigger=TriggerEvent(event="contract/measure"))
async def measure(ctx: Context) -> int:
    """Return how long the text in the event is."""
    return len(ctx.event.data["value"])


@client.create_function(fn_id="make", trigger=TriggerEvent(event="contract/make"))
async def make(ctx: Context) -> str:
    """Return a text as long as the event says."""
    return "x" * int(ctx.event.data["value"])


@client.create_function(fn_id="fails", trigger=TriggerEvent(event="contract/fails"))
async def fails(ctx: Context) -> None:
    """Raise."""
    raise failure(ctx.event.data["value"])


@client.create_function(fn_id="steps", trigger=TriggerEvent(event="contract/steps"))
async def steps(ctx: Context) -> Any:
    """Run two steps, one after the other."""
    first = await ctx.step.run("first", lambda: ctx.event.data["value"])
    second = await ctx.step.run("second", lambda: [first, "second"])
    return {"of": ctx.event.data["value"], "second": second}


@client.create_function(fn_id="steps-sync", trigger=TriggerEvent(event="contract/steps-sync"))
def steps_sync(ctx: ContextSync) -> Any:
    """Run two steps, one after the other."""
    first = ctx.step.run("first", lambda: ctx.event.data["value"])
    second = ctx.step.run("second", lambda: [first, "second"])
    return {"of": ctx.event.data["value"], "second": second}


@client.create_function(fn_id="step-fails", trigger=TriggerEvent(event="contract/step-fails"))
async def step_fails(ctx: Context) -> None:
    """Run a step that raises."""
    await ctx.step.run("fail", partial(fail, ctx.event.data["value"]))


@client.create_function(fn_id="parallel", trigger=TriggerEvent(event="contract/parallel"))
async def parallel(ctx: Context) -> Any:
    """Run two steps side by side."""
    tasks = (
        lambda: ctx.step.run("left", lambda: "l"),
        lambda: ctx.step.run("right", lambda: "r"),
    )
    return await ctx.group.parallel(tasks)


@client.create_function(fn_id="sleeps", trigger=TriggerEvent(event="contract/sleeps"))
async def sleeps(ctx: Context) -> None:
    """Sleep for a minute."""
    await ctx.step.sleep("nap", 60_000)


@client.create_function(fn_id="waits", trigger=TriggerEvent(event="contract/waits"))
async def waits(ctx: Context) -> None:
    """Wait a minute for an event."""
    await ctx.step.wait_for_event("paid", event="contract/paid", timeout=60_000)


@client.create_function(fn_id="invokes", trigger=TriggerEvent(event="contract/invokes"))
async def invokes(ctx: Context) -> None:
    """Have another function called."""
    await ctx.step.invoke("ask", function=value, data={"value": "größer"})


@client.create_function(fn_id="batch", trigger=TriggerEvent(event="contract/batch"))
async def batch(ctx: Context) -> Any:
    """Return what its events hold, and the value of a step."""
    first = await ctx.step.run("first", lambda: "not memoized")
    return [[event.data["value"] for event in ctx.events], first]


@client.create_function(fn_id="sends", trigger=TriggerEvent(event="contract/sends"))
async def sends(ctx: Context) -> Any:
    """Send an event as a step."""
    event = Event(name="contract/sent", data={"value": ctx.event.data["value"]})
    return await ctx.step.send_event("send", event)


@client.create_function(fn_id="approves", trigger=TriggerEvent(event="contract/approves"))
async def approves(ctx: Context) -> None:
    """Ask somebody."""
    title = ctx.event.data["value"]
    await ctx.step.approval("ask", title=title, expires=3_600_000)
