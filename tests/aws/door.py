"""A door to an app: a Function URL with AWS's own runtime client behind it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inngest_serverless.emulators.local_lambda import LambdaConfig, LocalLambda

APPS = Path(__file__).parent / "apps"


@contextmanager
def serving(
    app: str = "",
    *,
    directory: Path = APPS,
    environment: Mapping[str, str] | None = None,
    handler: str = "inngest_serverless.aws.handler",
    on_log: Callable[[str], None] = lambda line: None,
) -> Iterator[str]:
    """Serve an app (module:attribute) for as long as the block; gives the origin of its URL.

    Every process that it starts is the real runtime, on free ports of this machine, and ends with
    the block. `on_log` gets what the function prints, on another thread.
    """
    variables = {"INNGEST_APP": app, "INNGEST_DEV": "1", **(environment or {})}
    config = LambdaConfig(handler=handler, environment=variables, directory=directory)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="local-lambda")
    thread.start()
    function = LocalLambda(config, on_log=on_log)
    try:
        asyncio.run_coroutine_threadsafe(function.__aenter__(), loop).result()
        yield function.url
    finally:
        asyncio.run_coroutine_threadsafe(function.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def call(fn_id: str, **data: object) -> dict[str, Any]:
    """The arguments of an httpx post that calls a function of the app `shop`."""
    body = {
        "event": {"id": "01JCX4V1W7", "name": f"shop/{fn_id}", "data": data, "ts": 1763800000000},
        "events": [],
        "steps": {},
        "ctx": {"run_id": "01J", "attempt": 0, "stack": {"stack": [], "current": 0}},
    }
    return {
        "url": f"/api/inngest?fnId=shop-{fn_id}&stepId=step",
        "content": json.dumps(body),
        "headers": {"content-type": "application/json"},
    }
