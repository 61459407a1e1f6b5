"""HTTP from the engine to apps: one request, its redirects, one answer. Knows no protocol.

It stands on httpcore, the layer below httpx. An httpx client would bring what is unwanted here
(cookies, proxies, redirects that turn a POST into a GET), and its pool looks at every connection
for each request: with a hundred calls in flight that alone costs 3 ms of processor time a call.
Here a free connection is the top of a list.

Connections are kept alive for a second at most. The real server opens one for each call, but a new
one costs more than the rest of the call does. Not longer, because common app servers close idle
connections after five seconds, and one that serves a single connection at a time must get its turn.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from types import TracebackType
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpcore
import httpx

MAX_ANSWER = 8 * 1024 * 1024
MAX_REDIRECTS = 60

_IDLE_SECONDS = 1.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Only connecting is bounded here; an app may think for hours, and `send` bounds the whole.
_TIMEOUTS = {"connect": 10.0, "read": None, "write": None, "pool": None}
_BROKEN = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    OSError,
)


@dataclass(frozen=True)
class HttpRequest:
    """A request to an app. `headers` has lower-case names."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class HttpAnswer:
    """An app's answer, undecoded. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class AppUnreachable(Exception):
    """The app could not be reached, or did not finish its answer. `stack` says more, if we know."""

    def __init__(self, message: str, stack: str | None = None) -> None:
        super().__init__(message)
        self.stack = stack


class AnswerTooLarge(Exception):
    """The app's answer is over the limit."""


class Transport:
    """Sends requests over kept connections; close it when nothing is under way."""

    def __init__(self) -> None:
        self._idle: dict[str, list[httpcore.AsyncHTTPConnection]] = {}
        self._reaper: asyncio.Task[None] | None = None

    async def send(self, request: HttpRequest, *, seconds: float) -> HttpAnswer:
        """Send a request and follow redirects. Raises AppUnreachable and AnswerTooLarge."""
        try:
            return await asyncio.wait_for(self._followed(request), seconds)
        except asyncio.TimeoutError:
            raise AppUnreachable(f"{request.url} did not answer within {seconds:g} s") from None

    async def _followed(self, request: HttpRequest) -> HttpAnswer:
        """Follow redirects with method, body, headers and query as they were (engine.md 3.1)."""
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._exchange(request)
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            request = replace(request, url=_redirected(request.url, location))
        raise AppUnreachable(
            f"the app redirected more than {MAX_REDIRECTS} times, at last to {request.url}"
        )

    async def _exchange(self, request: HttpRequest) -> HttpAnswer:
        try:
            outgoing = _outgoing(request)
        except (ValueError, httpx.InvalidURL) as error:
            raise AppUnreachable(f"{request.url!r} is not a URL to call: {error}") from error
        connection = await self._connection(outgoing.url.origin)
        is_reusable = False
        try:
            answer = await _answer(connection, outgoing, request.url)
            is_reusable = connection.is_idle()
        finally:
            if is_reusable:
                self._keep(outgoing.url.origin, connection)
            else:
                await connection.aclose()
        return answer

    async def _connection(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        idle = self._idle.get(str(origin), [])
        while idle:
            connection = idle.pop()
            if not connection.has_expired():  # by time, or because the app closed it
                return connection
            await connection.aclose()
        context = ssl_context() if origin.scheme == b"https" else None
        return httpcore.AsyncHTTPConnection(
            origin, ssl_context=context, keepalive_expiry=_IDLE_SECONDS
        )

    def _keep(self, origin: httpcore.Origin, connection: httpcore.AsyncHTTPConnection) -> None:
        self._idle.setdefault(str(origin), []).append(connection)
        if self._reaper is None or self._reaper.done():
            self._reaper = asyncio.create_task(self._reap())

    async def _reap(self) -> None:
        """Close what has been idle for long, as long as anything is idle."""
        while any(self._idle.values()):
            await asyncio.sleep(_IDLE_SECONDS)
            for origin, connections in list(self._idle.items()):
                expired = [each for each in connections if each.has_expired()]
                self._idle[origin] = [each for each in connections if each not in expired]
                for each in expired:
                    await each.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        if self._reaper is not None:
            self._reaper.cancel()
            with suppress(asyncio.CancelledError):
                await self._reaper
        for connections in self._idle.values():
            for connection in connections:
                await connection.aclose()
        self._idle.clear()

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


async def _answer(
    connection: httpcore.AsyncHTTPConnection, outgoing: httpcore.Request, url: str
) -> HttpAnswer:
    try:
        response = await connection.handle_async_request(outgoing)
    except _BROKEN as error:
        raise AppUnreachable(_why_unreachable(url, error)) from error
    try:
        body = await _limited(response)
    except _BROKEN as error:
        raise _cut_off(url, error) from error
    finally:
        await response.aclose()
    return HttpAnswer(response.status, _folded(response.headers), body)


async def _limited(response: httpcore.Response) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_stream():
        size += len(chunk)
        if size > MAX_ANSWER:
            raise AnswerTooLarge(f"the answer is larger than {MAX_ANSWER} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _outgoing(request: HttpRequest) -> httpcore.Request:
    url = _url(request.url)
    headers = [(name.encode(), value.encode()) for name, value in request.headers.items()]
    host = url.host if url.port is None else b"%b:%d" % (url.host, url.port)
    return httpcore.Request(
        request.method,
        url,
        headers=[(b"host", host), (b"content-length", b"%d" % len(request.body)), *headers],
        content=request.body,
        extensions={"timeout": _TIMEOUTS},
    )


@lru_cache(maxsize=1024)
def _url(text: str) -> httpcore.URL:
    url = httpx.URL(text)  # reads what people write: names that are not ASCII, unquoted paths
    if url.scheme not in ("http", "https") or not url.host or (url.port or 1) > 65535:
        raise ValueError("it must be http(s)://host, maybe with :port, and a path")
    return httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


@lru_cache(maxsize=1)
def ssl_context() -> ssl.SSLContext:
    """The context of all connections: making one takes longer than a call."""
    return httpx.create_ssl_context()


def _folded(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    folded: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        folded[name] = f"{folded[name]}, {value}" if name in folded else value
    return folded


def _redirected(url: str, location: str) -> str:
    try:
        target = urlsplit(urljoin(url, location))
    except ValueError as error:
        raise AppUnreachable(f"the app redirected to {location!r}: {error}") from error
    return urlunsplit(target if target.query else target._replace(query=urlsplit(url).query))


def _why_unreachable(url: str, error: Exception) -> str:
    parts = urlsplit(url)
    return (
        f"the app at {parts.scheme}://{parts.netloc} cannot be reached ({reason(error)}); "
        "is it running, and is the URL right?"
    )


def reason(error: BaseException) -> str:
    """Why a request got no answer, in a few words."""
    if isinstance(error, (httpcore.ConnectError, httpx.ConnectError)) and _is_refused(error):
        return "connection refused"
    return str(error) or type(error).__name__


def _is_refused(error: BaseException | None) -> bool:
    """Whether a refused connection is behind it: a name with several addresses hides it deep."""
    while error is not None:
        inside = getattr(error, "exceptions", ())
        if isinstance(error, ConnectionRefusedError) or any(map(_is_refused, inside)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _cut_off(url: str, error: Exception) -> AppUnreachable:
    return AppUnreachable(
        "the app's answer broke off",
        stack=(
            f"The server of the app reset the connection while its answer was being read from "
            f"{url} ({reason(error)}). Did it crash, restart, or reach a time limit?"
        ),
    )
