"""A function that needs longer than one call may take, on the local Lambda."""

from __future__ import annotations

import asyncio
from pathlib import Path

from inngest_serverless.emulators.local_lambda import LambdaConfig, LocalLambda
from inngest_serverless.engine.server import DevOptions, DevServer

HANDLERS = Path(__file__).parent / "emulators" / "handlers"
STEPS = 30


def test_a_function_longer_than_the_timeout_ends_and_no_call_is_killed() -> None:
    """Three seconds of work under a timeout of 1.5 s, without a retry to spare."""
    log: list[str] = []

    async def main() -> tuple[str, object, int]:
        options = DevOptions(port=0, discovery=False, poll_seconds=0)
        async with DevServer(options) as server:
            config = LambdaConfig(
                environment={"INNGEST_APP": "long:client", "INNGEST_DEV": server.url},
                directory=HANDLERS,
                timeout=1.5,
            )
            async with LocalLambda(config, on_log=log.append) as function:
                assert await server.sync.sync(f"{function.url}/api/inngest") is None
                event = server.engine.new_event(name="long/work", data={"steps": STEPS})
                server.engine.ingest([event])
                while (run := server.engine.runs_of_event(event.internal_id)[0]).ended_ms is None:
                    await asyncio.sleep(0.02)
                rows = server.engine.timeline(run.run_id)
                return run.status, run.output, len(rows)

    assert asyncio.run(main()) == ("Completed", STEPS, STEPS + 1)
    assert [line for line in log if "timed out" in line] == []
    assert sorted(line for line in log if "ran" in line) == sorted(f"ran {n}" for n in range(STEPS))
