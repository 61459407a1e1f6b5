"""A small app whose functions wait for each other, and crash."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

from inngest_serverless import Context, ContextSync, Inngest, TriggerEvent

client = Inngest(app_id="shop")

PATIENCE = 60  # seconds until a test that cannot end fails
bell = threading.Event()


@client.create_function(fn_id="order", trigger=TriggerEvent(event="shop/order.placed"))
async def order(ctx: Context) -> Any:
    print(f"order {ctx.event.data['id']}")
    return {"paid": await ctx.step.run("pay", lambda: ctx.event.data["total"])}


@client.create_function(fn_id="plain", trigger=TriggerEvent(event="shop/plain"))
async def plain(ctx: Context) -> Any:
    return ctx.event.data


@client.create_function(fn_id="plain-sync", trigger=TriggerEvent(event="shop/plain-sync"))
def plain_sync(ctx: ContextSync) -> Any:
    return ctx.event.data


@client.create_function(fn_id="wait", trigger=TriggerEvent(event="shop/wait"))
def wait(ctx: ContextSync) -> bool:
    """Block until somebody rings."""
    return bell.wait(PATIENCE)


@client.create_function(fn_id="ring", trigger=TriggerEvent(event="shop/ring"))
async def ring(ctx: Context) -> int:
    bell.set()
    return id(asyncio.get_running_loop())


@client.create_function(fn_id="crash", trigger=TriggerEvent(event="shop/crash"))
async def crash(ctx: Context) -> None:
    os._exit(3)


@client.create_function(fn_id="hold", trigger=TriggerEvent(event="shop/hold"))
async def hold(ctx: Context) -> None:
    """Hold a named pipe open, and the worker's loop with it."""
    with Path(ctx.event.data["pipe"]).open("wb"):
        threading.Event().wait()
