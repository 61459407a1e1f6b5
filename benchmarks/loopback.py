"""The app that benchmarks/engine.py has called: three steps that do nothing, and a clock."""

from __future__ import annotations

import time

from inngest_serverless import Context, Inngest, TriggerEvent

client = Inngest(app_id="bench")


async def nothing(number: int) -> int:
    return number


@client.create_function(fn_id="three-steps", trigger=TriggerEvent(event="bench/three"))
async def three_steps(ctx: Context) -> int:
    return sum([await ctx.step.run(f"step-{n}", nothing, n) for n in range(3)])


@client.create_function(fn_id="clock", trigger=TriggerEvent(event="bench/clock"))
async def clock(ctx: Context) -> float:
    return time.time()
