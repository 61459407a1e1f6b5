"""Function apps in Microsoft's runtime, each on a free loopback port."""

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

from inngest_serverless.emulators.local_function_app import FunctionAppConfig, LocalFunctionApp

APPS = Path(__file__).parent / "apps"
FUNCTION_APP = APPS / "function_app.py"
STREAMING_APP = APPS / "streaming_app.py"


@dataclass
class Running:
    """A function app that runs: where, and the lines that it has printed."""

    local: LocalFunctionApp
    lines: list[str]
    _printed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return self.local.url

    def ask(self, method: str, target: str = "/api/inngest", **more: Any) -> httpx.Response:
        """Send a request, past any proxy."""
        with httpx.Client(trust_env=False, timeout=60) as client:
            return client.request(method, self.url + target, **more)

    def call(self, fn_id: str, data: object = None) -> httpx.Response:
        """Call a function of apps/shop.py as the Inngest server does."""
        return self.ask("POST", target_of(fn_id), content=call_body(data))

    def wait_for(self, line: str) -> None:
        """Wait until it has printed a line that ends so."""
        with self._printed:
            found = self._printed.wait_for(lambda: self._has(line), timeout=60)
        assert found, self.lines

    def _has(self, line: str) -> bool:
        return any(each.endswith(line) for each in self.lines)

    def note(self, line: str) -> None:
        with self._printed:
            self.lines.append(line)
            self._printed.notify_all()


@contextmanager
def running(
    script: Path = FUNCTION_APP,
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path = APPS,
    answer_timeout: float = 60.0,
) -> Iterator[Running]:
    """Run a function app; by default apps/function_app.py, in dev mode."""
    config = FunctionAppConfig(
        directory=directory,
        script=script,
        environment={"INNGEST_DEV": "1"} if environ is None else environ,
        answer_timeout=answer_timeout,
    )
    found: list[Running] = []

    async def made() -> LocalFunctionApp:
        return LocalFunctionApp(config, on_log=lambda line: found[0].note(line))

    with start_blocking_portal() as portal:
        local = portal.call(made)
        found.append(Running(local, []))
        with portal.wrap_async_context_manager(local):
            yield found[0]


def target_of(fn_id: str) -> str:
    """The path and query at which the server calls a function of apps/shop.py."""
    return f"/api/inngest?fnId=shop-{fn_id}&stepId=step"


def call_body(data: object = None) -> bytes:
    """The body of a call for an event with this data."""
    event = {"id": "01J", "name": "shop/any", "data": data or {}, "ts": 1}
    stack: dict[str, object] = {"stack": [], "current": 0}
    ctx = {"run_id": "01JCX4V1W7Q3N5S8", "attempt": 0, "stack": stack}
    call = {"event": event, "events": [event], "steps": {}, "ctx": ctx}
    return json.dumps(call, ensure_ascii=False).encode()
