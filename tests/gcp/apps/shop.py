"""A small app whose functions meet, wait and print."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

from inngest_serverless import Context, ContextSync, Inngest, TriggerEvent

client = Inngest(app_id="shop")

GUESTS = 4
PATIENCE = 60  # seconds until a test that cannot end fails
table = threading.Barrier(GUESTS)


@client.create_function(fn_id="order", trigger=TriggerEvent(event="shop/order.placed"))
async def order(ctx: Context) -> Any:
    print(f"order {ctx.event.data['id']}")
    return {"paid": await ctx.step.run("pay", lambda: ctx.event.data["total"])}


@client.create_function(fn_id="sync", trigger=TriggerEvent(event="shop/order.synced"))
def sync_order(ctx: ContextSync) -> Any:
    print(f"order {ctx.event.data['id']}")
    return {"paid": ctx.step.run("pay", lambda: ctx.event.data["total"])}


@client.create_function(fn_id="plain", trigger=TriggerEvent(event="shop/plain"))
def plain(ctx: ContextSync) -> Any:
    return ctx.event.data


@client.create_function(fn_id="gated", trigger=TriggerEvent(event="shop/gated"))
async def gated(ctx: Context) -> str:
    """Wait at a named pipe for somebody to write."""
    return await asyncio.to_thread(Path(ctx.event.data["gate"]).read_text)


@client.create_function(fn_id="gated-sync", trigger=TriggerEvent(event="shop/gated-sync"))
def gated_sync(ctx: ContextSync) -> str:
    return Path(ctx.event.data["gate"]).read_text()


@client.create_function(fn_id="meet", trigger=TriggerEvent(event="shop/meet"))
async def meet(ctx: Context) -> Any:
    """Return when GUESTS calls are here at once."""
    await asyncio.to_thread(table.wait, PATIENCE)
    return ctx.event.data


@client.create_function(fn_id="meet-sync", trigger=TriggerEvent(event="shop/meet-sync"))
def meet_sync(ctx: ContextSync) -> Any:
    table.wait(PATIENCE)
    return ctx.event.data


@client.create_function(fn_id="long", trigger=TriggerEvent(event="shop/long"), retries=0)
def long(ctx: ContextSync) -> str:
    print("called long")
    ctx.step.run("work", time.sleep, 1.2)
    return ctx.step.run("rest", lambda: "done")
