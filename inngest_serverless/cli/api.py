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
    return http_url(given or (dev if "://" in dev else DEFAULT_URL)).rstrip("/")


def http_url(text: str) -> str:
    """Return `text` if it is a URL that can be called; raise WrongUse if not."""
    if not text.startswith(("http://", "https://")):
        raise WrongUse(f"{text!r} is not a URL: it has to start with http:// or https://")
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise WrongUse(f"{text!r} is not a URL: {error}") from None
    if not url.host:
        raise WrongUse(f"{text!r} is not a URL: it names no host")
    if url.port is not None and not 0 < url.port < 65536:
        raise WrongUse(f"{text!r} is not a URL: ports go from 1 to 65535")
    return text


class EngineApi:
    """Talk to the engine at `url` for as long as the `async with` block runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        # An engine is on this machine or near it: the environment's proxies are not for it.
        verify = httpx.create_ssl_context()  # with SSL_CERT_FILE, which trust_env leaves out
        self._client = httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, verify=verify)

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
        answer = await self._ask("POST", f"/e/{_quoted(key)}", "ids", json=list(events))
        ids: list[str] = answer["ids"]
        return ids

    async def runs(
        self, *, status: str | None = None, function: str | None = None, limit: int = 20
    ) -> list[dict[str, Any]]:
        """Return runs, newest first."""
        wanted = {"status": status, "function": function, "limit": limit}
        query = {name: _utf8(str(value)) for name, value in wanted.items() if value is not None}
        answer = await self._ask("GET", "/api/runs", "runs", params=query)
        rows: list[dict[str, Any]] = answer["runs"]
        return rows

    async def run(self, run_id: str) -> dict[str, Any]:
        """Return a run with its function, events and timeline."""
        return await self._ask("GET", f"/api/runs/{_quoted(run_id)}", "run")

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

    async def _ask(self, method: str, path: str, part: str, **request: Any) -> dict[str, Any]:
        """Return the engine's answer, which has to have this part."""
        try:
            answer = await self._client.request(method, path, **request)
        except httpx.TransportError as error:
            raise Unreachable(
                f"no engine answers at {self.url} ({error or type(error).__name__})",
                "Start one with: inngest-serverless dev\nOr name another with --url",
            ) from None
        return _read(answer, self.url, part)


def _quoted(word: str) -> str:
    return quote(_utf8(word), safe="")


def _utf8(word: str) -> str:
    """The word with a ? for what is not UTF-8, which a command line may hold."""
    return word.encode(errors="replace").decode()


def _read(answer: httpx.Response, url: str, part: str) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        raise Problem(
            f"{url} answered {answer.status_code} without JSON: is it an Inngest engine?"
        ) from None
    if answer.is_success and isinstance(body, dict) and part in body:
        return body
    if answer.is_success:
        raise Problem(f"{url} answers, but not as an engine does: is it an Inngest engine?")
    reason = body.get("error") if isinstance(body, dict) else None
    strange = f"{url} answered {answer.status_code} without a reason: is it an Inngest engine?"
    raise Problem(str(reason or strange))
