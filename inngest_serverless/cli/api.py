"""The engine's HTTP API as the commands use it. Knows nothing of terminals."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from inngest_serverless.cli.problems import Problem, Unreachable, WrongUse

DEFAULT_URL = "http://127.0.0.1:8288"
ENDED = ("Completed", "Failed", "Cancelled")


def engine_url(given: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the engine's URL: what was given, else INNGEST_DEV if that is a URL, else ours."""
    dev = environ.get("INNGEST_DEV", "")
    url = given or (dev if "://" in dev else DEFAULT_URL)
    if not url.startswith(("http://", "https://")):
        raise WrongUse(f"{url!r} is not a URL: it has to start with http:// or https://")
    return url.rstrip("/")


class EngineApi:
    """Talk to the engine at `url` for as long as the `async with` block runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.AsyncClient(base_url=url, timeout=30)

    async def __aenter__(self) -> EngineApi:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def send(self, events: Sequence[Mapping[str, Any]], key: str = "dev") -> list[str]:
        """Send events and return the ids that the engine gave them."""
        answer = await self._ask("POST", f"/e/{quote(key, safe='')}", json=list(events))
        ids: list[str] = answer["ids"]
        return ids

    async def runs(
        self, *, status: str | None = None, function: str | None = None, limit: int = 20
    ) -> list[dict[str, Any]]:
        """Return runs, newest first."""
        wanted = {"status": status, "function": function, "limit": limit}
        query = {name: str(value) for name, value in wanted.items() if value is not None}
        answer = await self._ask("GET", "/api/runs", params=query)
        rows: list[dict[str, Any]] = answer["runs"]
        return rows

    async def run(self, run_id: str) -> dict[str, Any]:
        """Return a run with its function, events and timeline."""
        answer = await self._ask("GET", f"/api/runs/{quote(run_id, safe='')}")
        detail: dict[str, Any] = answer
        return detail

    async def ended(self, run_id: str, *, timeout: float | None = None) -> dict[str, Any]:
        """Wait until a run has ended and return it; Problem if that takes over `timeout` s."""
        try:
            return await asyncio.wait_for(self._ended(run_id), timeout)
        except asyncio.TimeoutError:
            raise Problem(
                f"run {run_id} has not ended within {timeout:g} s",
                f"See what it waits for: inngest-serverless run {run_id}",
            ) from None

    async def _ended(self, run_id: str) -> dict[str, Any]:
        while (detail := await self.run(run_id))["run"]["status"] not in ENDED:
            await asyncio.sleep(0.1)
        return detail

    async def _ask(self, method: str, path: str, **request: Any) -> Any:
        try:
            answer = await self._client.request(method, path, **request)
        except httpx.TransportError as error:
            raise Unreachable(
                f"no engine answers at {self.url} ({error or type(error).__name__})",
                "Start one with: inngest-serverless dev\nOr name another with --url",
            ) from None
        return _read(answer, self.url)


def _read(answer: httpx.Response, url: str) -> Any:
    try:
        body = answer.json()
    except ValueError:
        raise Problem(
            f"{url} answered {answer.status_code} without JSON: is it an Inngest engine?"
        ) from None
    if answer.is_success:
        return body
    reason = body.get("error") if isinstance(body, dict) else None
    raise Problem(str(reason or f"{url} answered {answer.status_code}"))
