"""Has one idle and one busy runtime process; prints their pids and waits to be killed."""

import asyncio
from pathlib import Path

from inngest_serverless.emulators.local_lambda import LambdaConfig, LocalLambda


async def main() -> None:
    hanging = asyncio.Event()
    config = LambdaConfig(handler="obedient.handler", directory=Path(__file__).parent)
    async with LocalLambda(config, on_log=lambda line: hanging.set()) as function:
        busy = asyncio.ensure_future(function.invoke({"do": "hang"}))
        await hanging.wait()
        await function.invoke({"do": "return", "value": None})
        print(*function.pids, flush=True)
        await busy


asyncio.run(main())
