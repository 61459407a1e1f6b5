"""The local engine: how many runs a second, and how soon after its event a function is called.

The engine, with its file on disk and every commit synchronous, calls an app under uvicorn over
loopback HTTP: two processes, as with `inngest-serverless dev --platform asgi`.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from inngest_serverless.cli.api import EngineApi
from inngest_serverless.cli.local_app import Wanted, engine_and_app
from inngest_serverless.engine.engine import Engine
from inngest_serverless.engine.server import DevOptions

HERE = Path(__file__).parent
EVENTS = 300
CALLS = 50
ROUNDS = 3


async def throughput(api: EngineApi, engine: Engine) -> float:
    """Runs of three steps a second, from the first event sent to the last run ended."""
    before = len(engine.runs(limit=10_000, status="Completed"))
    started = time.perf_counter()
    await api.send([{"name": "bench/three"}] * EVENTS)
    while len(engine.runs(limit=10_000, status="Completed")) < before + EVENTS:
        await asyncio.sleep(0.02)
    return EVENTS / (time.perf_counter() - started)


async def latency(api: EngineApi) -> float:
    """Milliseconds from just before an event is sent to the first line of its function, idle."""
    sent = time.time()
    await api.send([{"name": "bench/clock"}])
    while (run := (await api.runs(limit=1, function="bench-clock"))[0])["status"] != "Completed":
        await asyncio.sleep(0.01)
    return (float(run["output"]) - sent) * 1000


async def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as folder:
        options = DevOptions(port=0, db=Path(folder, "bench.db"), discovery=False, poll_seconds=0)
        wanted = Wanted("asgi", "loopback:client", HERE)
        async with engine_and_app(options, wanted, print) as (server, url):
            assert await server.sync.sync(url or "") is None
            async with EngineApi(server.url) as api:
                await latency(api)  # warm both sides
                waits = sorted([await latency(api) for _ in range(CALLS)])
                rates = [await throughput(api, server.engine) for _ in range(ROUNDS)]
    print("| what | figure |")
    print("|---|---|")
    print(f"| event sent to function called, idle, p50 | {statistics.median(waits):.1f} ms |")
    print(f"| the same, p90 | {waits[int(CALLS * 0.9)]:.1f} ms |")
    print(f"| {EVENTS} events x 3 steps, best of {ROUNDS} | {max(rates):.0f} runs/s |")


if __name__ == "__main__":
    asyncio.run(main())
