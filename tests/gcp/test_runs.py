"""Runs from the event to their end: the local engine, and the app in functions-framework."""

from __future__ import annotations

import asyncio

import pytest

from inngest_serverless.emulators.local_cloud_function import (
    CloudFunctionConfig,
    LocalCloudFunction,
)
from inngest_serverless.engine.server import DevOptions, DevServer

from .running import APPS, MODES


def run(target: str, name: str, environ: dict[str, str] | None = None) -> tuple[object, list[str]]:
    """Send an event to the app; return what its run came to, and what the app printed."""
    lines: list[str] = []

    async def main() -> object:
        async with DevServer(DevOptions(port=0, discovery=False, poll_seconds=0)) as server:
            app = {"INNGEST_APP": "shop:client", "INNGEST_DEV": server.url, **(environ or {})}
            config = CloudFunctionConfig(
                source=APPS / "main.py", target=target, environment=app, directory=APPS
            )
            async with LocalCloudFunction(config, on_log=lines.append) as function:
                assert await server.sync.sync(f"{function.url}/api/inngest") is None
                event = server.engine.new_event(name=name, data={"id": 7, "total": 9})
                server.engine.ingest([event])
                while not (runs := server.engine.runs_of_event(event.internal_id)):
                    await asyncio.sleep(0)
                while (ended := server.engine.runs_of_event(event.internal_id)[0]).ended_ms is None:
                    await asyncio.sleep(0.02)
                assert len(runs) == 1
                return ended.status, ended.output

    return asyncio.run(main()), lines


@pytest.mark.parametrize("target", MODES)
@pytest.mark.parametrize("name", ["shop/order.placed", "shop/order.synced"])
@pytest.mark.parametrize("streaming", ["disable", "force"])
def test_an_event_starts_a_run_that_completes(target: str, name: str, streaming: str) -> None:
    ended, lines = run(target, name, {"INNGEST_STREAMING": streaming})
    assert ended == ("Completed", {"paid": 9})
    assert "order 7" in lines


@pytest.mark.parametrize("target", MODES)
@pytest.mark.parametrize("timeout", ["", "3"])
def test_no_step_begins_that_the_platforms_timeout_may_cut_off(target: str, timeout: str) -> None:
    """Two steps, of which the first takes so long that two of it may not fit."""
    environ = {"CLOUD_RUN_TIMEOUT_SECONDS": timeout} if timeout else {}
    ended, lines = run(target, "shop/long", environ)
    assert ended == ("Completed", "done")
    assert (lines.count("called long") > 1) == bool(timeout)
