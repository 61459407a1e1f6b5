"""A queue's messages through AWS's own runtime client, to the engine and back into the function."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from inngest_serverless.emulators.local_lambda import FunctionFailed, LambdaConfig, LocalLambda
from inngest_serverless.engine.server import DevOptions, DevServer
from tests.sources.shapes import records, sqs

APPS = Path(__file__).parent / "apps"
PATIENCE = 60.0


def test_a_message_starts_one_run_however_often_it_is_delivered() -> None:
    batch = records(sqs('{"prices": [1, 2]}', 1), sqs('{"prices": [3, 4]}', 2))

    async def main() -> tuple[list[Any], list[Any]]:
        options = DevOptions(port=0, discovery=False, poll_seconds=0)
        async with DevServer(options) as server, function(server.url) as called:
            assert await server.sync.sync(f"{called.url}/api/inngest") is None
            answers = [await called.invoke(batch) for _ in range(2)]
            while not (runs := server.engine.runs()) or any(run.ended_ms is None for run in runs):
                await asyncio.sleep(0.02)
            return answers, [run.output for run in runs]

    answers, outputs = asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert answers == [{"batchItemFailures": []}] * 2
    assert sorted(outputs) == [3, 7]


def test_messages_fail_for_lambda_when_there_is_no_server() -> None:
    async def main() -> None:
        async with function("http://127.0.0.1:1") as called:
            await called.invoke(records(sqs("{}", 1), {"eventSource": "aws:sqs"}))

    with pytest.raises(FunctionFailed, match="2 of 2 messages did not become events"):
        asyncio.run(asyncio.wait_for(main(), PATIENCE))


def function(server: str) -> LocalLambda:
    config = LambdaConfig(
        handler="orders_lambda.handler", directory=APPS, environment={"INNGEST_DEV": server}
    )
    return LocalLambda(config, on_log=lambda line: None)
