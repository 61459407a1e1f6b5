"""The app in functions-framework, as it is deployed: a real server on a free loopback port."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from anyio.from_thread import start_blocking_portal

from inngest_serverless.emulators.local_cloud_function import (
    CloudFunctionConfig,
    LocalCloudFunction,
)

APPS = Path(__file__).parent / "apps"
MODES = ("handler", "async_handler")
"""The entry points of main.py: Flask in threads, and Starlette on a loop."""


@dataclass
class Running:
    """A function that runs: where, as which process, and the lines that it has printed."""

    url: str
    pid: int
    lines: list[str]
    _printed: threading.Condition = field(default_factory=threading.Condition)

    def call(self, fn_id: str, data: object = None, *, path: str = "/api/inngest") -> Any:
        """Call a function as the Inngest server does, and return the answer."""
        url = f"{self.url}{path}?fnId=shop-{fn_id}&stepId=step"
        with web() as client:
            return client.post(url, content=call_body(data))

    def wait_for(self, line: str) -> None:
        """Wait until it has printed this line."""
        with self._printed:
            assert self._printed.wait_for(lambda: line in self.lines, timeout=60), self.lines

    def note(self, line: str) -> None:
        with self._printed:
            self.lines.append(line)
            self._printed.notify_all()


@contextmanager
def running(
    target: str = "handler",
    *,
    source: Path = APPS / "main.py",
    environ: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Run `target` of `source` in functions-framework; by default our handlers with shop.py's app.

    `environ` is added to what makes that app one in dev mode.
    """
    app = {"INNGEST_APP": "shop:client", "INNGEST_DEV": "1", **(environ or {})}
    config = CloudFunctionConfig(source=source, target=target, environment=app, directory=APPS)
    found = Running("", 0, [])
    function = LocalCloudFunction(config, on_log=found.note)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(function):
        found.url, found.pid = function.url, function.pid
        yield found


def web() -> httpx.Client:
    """A client that asks no proxy."""
    return httpx.Client(trust_env=False, timeout=60)


def call_body(data: object = None) -> bytes:
    """The body of a call for an event with this data."""
    event = {"id": "01J", "name": "shop/any", "data": data or {}, "ts": 1}
    stack: dict[str, object] = {"stack": [], "current": 0}
    ctx = {"run_id": "01JCX4V1W7Q3N5S8", "attempt": 0, "stack": stack}
    call = {"event": event, "events": [event], "steps": {}, "ctx": ctx}
    return json.dumps(call, ensure_ascii=False).encode()
