"""Keeps apps registered: asks each to register, finds them on this machine, asks again.

    PUT <app url> ──► the app POSTs to /fn/register ──► api ──► Sync.registered

The answer to the PUT says only whether the app was willing; what it registered comes by the other
way. An app that answers well and registers nothing is talking to another server: that is said.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from inngest_sdk import signing
from inngest_serverless.engine import jsontext
from inngest_serverless.engine.clock import Clock, SystemClock
from inngest_serverless.engine.engine import Engine
from inngest_serverless.engine.model import JSON
from inngest_serverless.engine.register import normal_url
from inngest_serverless.engine.transport import (
    AnswerTooLarge,
    AppUnreachable,
    HttpAnswer,
    HttpRequest,
)

_T = TypeVar("_T")

PORTS = (
    *(80, 443, *range(3000, 3011), 4321, 5000, 5173, 8000, 8080, 8081, 8787, 8888),
    *range(8910, 8916),
)
PATHS = (
    "/api/inngest",
    "/x/inngest",
    "/.netlify/functions/inngest",
    "/.redwood/functions/inngest",
)
_SYNC_SECONDS = 10.0
_PROBE_SECONDS = 2.0
_PROBES_AT_ONCE = 8
_SYNCS_AT_ONCE = 8
_WAITING_SECONDS = 0.25  # between tries of an app that was named and has not come up yet
_DISCOVERY_SECONDS = 5.0
_POLL_SECONDS = 5.0  # an app that answers wrongly is asked again no sooner, polls or not


class Send(Protocol):
    """Sends a request: `Transport.send`."""

    def __call__(self, request: HttpRequest, *, seconds: float) -> Awaitable[HttpAnswer]:
        """Raises AppUnreachable and AnswerTooLarge."""
        ...


@dataclass(frozen=True)
class SyncOptions:
    """`urls` are asked until they come up; `poll_seconds` 0 asks no app twice.

    Without `urls`, apps are looked for on `ports` and `paths` of this machine if `discovery` is on.
    """

    urls: tuple[str, ...] = ()
    discovery: bool = True
    poll_seconds: float = 5.0
    ports: tuple[int, ...] = PORTS
    paths: tuple[str, ...] = PATHS
    own_url: str = "http://localhost:8288"
    signing_key: str | None = None


def server_kind(signing_key: str | None) -> str:
    """What this server says it is. Production-mode SDKs answer only a "cloud" that signs."""
    return "dev" if signing_key is None else "cloud"


def sync_request(url: str, *, now_ms: int, signing_key: str | None = None) -> HttpRequest:
    """The request that asks an app to register (engine.md 1.4)."""
    body = jsontext.canonical({"url": url})
    headers = {
        "content-type": "application/json",
        "user-agent": "Inngest",
        "x-inngest-server-kind": server_kind(signing_key),
    }
    if signing_key is not None:
        headers[signing.HEADER] = signing.sign(signing_key, body, now_ms // 1_000)
    return HttpRequest("PUT", url, headers, body)


def is_sdk(answer: HttpAnswer) -> bool:
    """Whether an Inngest SDK gave this answer."""
    return bool(answer.headers.get("x-inngest-sdk"))


def sync_error(answer: HttpAnswer) -> str | None:
    """What an app's answer to the PUT says went wrong; None if nothing did."""
    said = _said(answer.body)
    if answer.status in _STATES:
        return _STATES[answer.status] + (f": {said}" if said else "")
    if not 200 <= answer.status < 300:
        return said or f"the app answered the sync with HTTP {answer.status}"
    if not is_sdk(answer):
        return "not an Inngest SDK: the answer has no x-inngest-sdk header; is this the right URL?"
    # Some SDKs hand on a refused registration with status 200 (wire.md P3).
    return said if _is_refusal(answer.body) else None


_STATES = {
    401: "unauthorized: the app wants a signature; set its INNGEST_DEV=1, or give its signing key",
    403: "forbidden: the app refuses this server; set its INNGEST_DEV=1, or give its signing key",
    404: "URL not found: nothing is served there; add the path, usually /api/inngest",
    405: "the app does not take PUT here; is this the SDK's URL?",
    500: "internal server error in the app",
}


def _fields(body: bytes) -> dict[str, JSON]:
    with suppress(ValueError):
        found = json.loads(body)
        if isinstance(found, dict):
            return found
    return {}


def _said(body: bytes) -> str:
    fields = _fields(body)
    for name in ("error", "message"):
        if isinstance(fields.get(name), str) and fields[name]:
            return str(fields[name])
    return ""


def _is_refusal(body: bytes) -> bool:
    return bool(_fields(body).get("error"))


class Sync:
    """Asks apps to register, for as long as `run` runs. Says nothing unless a state changes."""

    def __init__(
        self,
        engine: Engine,
        send: Send,
        options: SyncOptions | None = None,
        *,
        clock: Clock | None = None,
        on_change: Callable[[str, str | None], None] | None = None,
    ) -> None:
        self._engine = engine
        self._send = send
        self._options = options or SyncOptions()
        self._clock = clock or SystemClock()
        self._on_change = on_change or _ignore
        self._waiting = {normal_url(url) for url in self._options.urls}
        self._states: dict[str, str | None] = {}
        self._arrivals = 0
        self._down: set[str] = set()
        self._next: dict[str, float] = {}
        self._next_discovery = 0.0

    def registered(self, url: str) -> None:
        """Note that an app registered, at its own wish or ours."""
        self._arrivals += 1
        self._waiting.discard(url)
        self._keep(url, None)

    async def run(self) -> None:
        """Sync and discover until cancelled, or until nothing is left to ask for."""
        while True:
            await self.round()
            pause = self._pause()
            if pause is None:
                return
            await asyncio.sleep(pause)

    async def round(self) -> None:
        """Ask every app that is due once, and look for one if none is known to work."""
        now = _now()
        due = sorted(url for url in self._asked() if self._next.get(url, 0.0) <= now)
        await _bounded(_SYNCS_AT_ONCE, (self.sync(url) for url in due))
        if self._wants_discovery() and self._next_discovery <= _now():
            self._next_discovery = _now() + _DISCOVERY_SECONDS
            await self.discover()

    async def sync(self, url: str) -> str | None:
        """Ask one app to register; what went wrong, if anything, is kept with the app too."""
        url = normal_url(url)
        arrivals = self._arrivals
        error = await self._put(url)
        if error is None and self._arrivals == arrivals:
            error = (
                "the app answered, but did not register here; it talks to another server: "
                f"set its INNGEST_DEV={self._options.own_url}"
            )
        if error is None:
            self._waiting.discard(url)
        self._next[url] = _now() + self._wait(url)
        self._keep(url, error)
        return error

    async def discover(self) -> None:
        """Look for apps on this machine, and ask the first that is found to register."""
        ports = dict.fromkeys(port for port in self._options.ports if port != self._own_port())
        is_open = await _bounded(_PROBES_AT_ONCE, (_is_open(port) for port in ports))
        for port in (port for port, found in zip(ports, is_open, strict=True) if found):
            for path in self._options.paths:
                url = f"{'https' if port == 443 else 'http'}://localhost:{port}{path}"
                if await self._is_app(url) and await self.sync(url) is None:
                    return

    async def _put(self, url: str) -> str | None:
        key = self._options.signing_key
        request = sync_request(url, now_ms=self._clock.now_ms(), signing_key=key)
        try:
            answer = await self._send(request, seconds=_SYNC_SECONDS)
        except (AppUnreachable, AnswerTooLarge) as error:
            self._down.add(url)
            return f"unreachable: {error}"
        self._down.discard(url)
        return sync_error(answer)

    async def _is_app(self, url: str) -> bool:
        request = HttpRequest("GET", url, {"user-agent": "Inngest"}, b"")
        try:
            return is_sdk(await self._send(request, seconds=_PROBE_SECONDS))
        except (AppUnreachable, AnswerTooLarge):
            return False

    def _asked(self) -> set[str]:
        """The apps to ask: those named that are not up yet; with polls, all that are known."""
        if self._options.poll_seconds <= 0:
            return set(self._waiting)
        named = {normal_url(url) for url in self._options.urls}
        return named | {normal_url(app.url) for app in self._engine.apps() if app.url}

    def _wait(self, url: str) -> float:
        """How long until an app is asked again: not long if it is only about to start."""
        if url in self._waiting and url in self._down:
            return _WAITING_SECONDS
        return self._options.poll_seconds or _POLL_SECONDS

    def _wants_discovery(self) -> bool:
        if not self._options.discovery or self._options.urls:
            return False
        return all(app.error for app in self._engine.apps())

    def _pause(self) -> float | None:
        """How long until the next round; None when no round is needed any more."""
        now = _now()
        times = [self._next.get(url, now) for url in self._asked()]
        if self._wants_discovery():
            times.append(self._next_discovery)
        if self._options.poll_seconds > 0:
            times.append(now + self._options.poll_seconds)  # for apps that register by themselves
        return max(min(times) - now, 0.0) if times else None

    def _own_port(self) -> int | None:
        return urlsplit(self._options.own_url).port

    def _keep(self, url: str, error: str | None) -> None:
        if error is None:
            forget_failures(self._engine, url)
        # Polls go on all day; only a change is worth a write.
        if error != next((app.error for app in self._engine.apps() if app.url == url), None):
            self._engine.note_sync_error(url, error)
        self._changed(url, error)

    def _changed(self, url: str, error: str | None) -> None:
        if url not in self._states or self._states[url] != error:
            self._states[url] = error
            self._on_change(url, error)


def _now() -> float:
    return asyncio.get_running_loop().time()


def forget_failures(engine: Engine, url: str) -> None:
    """Drop what stands for a URL's failures alone: an app that never registered there."""
    apps = [app for app in engine.apps() if app.url == url]
    if apps and all(app.synced_ms == 0 for app in apps):
        engine.remove_app(url)


def _ignore(url: str, error: str | None) -> None:
    pass


async def _is_open(port: int) -> bool:
    """Whether anything listens: a refused connection costs far less than a request per path."""
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection("localhost", port), _PROBE_SECONDS
        )
    except (OSError, asyncio.TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def _bounded(limit: int, work: Iterable[Awaitable[_T]]) -> list[_T]:
    """Do all of it, at most `limit` at a time; the results stand in order."""
    slots = asyncio.Semaphore(limit)

    async def one(each: Awaitable[_T]) -> _T:
        async with slots:
            return await each

    return await asyncio.gather(*(one(each) for each in work))
