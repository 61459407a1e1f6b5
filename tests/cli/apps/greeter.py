"""A small app for the tests of the command line."""

import threading
from typing import Any

from inngest_serverless import Context, Inngest, NonRetriableError, TriggerEvent

client = Inngest(app_id="greeter")


@client.create_function(fn_id="greet", trigger=TriggerEvent(event="test/greet"))
async def greet(ctx: Context) -> str:
    name = str(ctx.event.data["name"])
    return await ctx.step.run("shout", name.upper)


@client.create_function(fn_id="refuse", trigger=TriggerEvent(event="test/refuse"), retries=0)
async def refuse(ctx: Context) -> Any:
    raise NonRetriableError("not today")


@client.create_function(fn_id="stumble", trigger=TriggerEvent(event="test/stumble"))
async def stumble(ctx: Context) -> str:
    def step() -> str:
        if ctx.attempt == 0:
            raise RuntimeError("the first time is hard")
        return "done"

    return await ctx.step.run("stumble", step)


@client.create_function(fn_id="dawdle", trigger=TriggerEvent(event="test/dawdle"), retries=0)
async def dawdle(ctx: Context) -> None:
    threading.Event().wait()
