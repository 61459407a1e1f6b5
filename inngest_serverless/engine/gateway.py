"""The requests that the engine makes for apps: `step.fetch` and `step.ai.infer` (wire.md A9, A10).

An app that waits for a slow answer costs money; so it tells the engine what to ask, and ends. What
comes back is the step's value, or its error. Which failures are made again:

                 step.fetch                          step.ai.infer
    again        no answer, 5xx                      no answer, 408, 429, 5xx, a 2xx without JSON
    the value    every other answer, a 404 too       any other 2xx
    the error    a request that cannot be made       any other answer, e.g. of a wrong key

Nothing that is said or logged holds a header, a body, a key, or the query of a URL.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from contextlib import aclosing
from typing import Final
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import httpx

from inngest_serverless.engine import jsontext
from inngest_serverless.engine.calls import CALL_SECONDS, with_query
from inngest_serverless.engine.clock import Clock, SystemClock
from inngest_serverless.engine.model import JSON, Failed, Fetched, GatewayRequest
from inngest_serverless.engine.reply import retry_at_ms
from inngest_serverless.engine.transport import reason, ssl_context

MAX_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of an answer, unpacked: what a step may hold (engine.md 2.1)."""
MAX_REDIRECTS: Final = 20
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
"""Hosts that no proxy reaches."""

_TIMEOUT: Final = httpx.Timeout(None, connect=10.0)
_AGAIN: Final = frozenset({408, 429})
# Who sends the bytes says how: these are never the app's.
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection"})
_ABOUT_CODING: Final = frozenset({"content-encoding", "content-length"})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# All that goes along to another server than the one that was asked.
_HARMLESS: Final = frozenset(
    {b"content-type", b"user-agent", b"accept", b"accept-encoding", b"accept-language"}
)


class _Unmakeable(Exception):
    """The request cannot be made, now or later."""


class _Unanswered(Exception):
    """No answer came, or not all of it."""


class HttpGateway:
    """Makes requests over the network; give it to the Engine. It keeps nothing between two."""

    def __init__(self, clock: Clock | None = None, *, seconds: float = CALL_SECONDS) -> None:
        self._clock = clock or SystemClock()
        self._seconds = seconds

    async def __call__(self, request: GatewayRequest) -> Fetched | Failed:
        """Make one request and follow its redirects. Whatever goes wrong is a Failed."""
        try:
            answer, body = await self._answered(outgoing_for(request))
        except _Unmakeable as error:
            return _failed(str(error), retriable=False)
        except _Unanswered as error:
            return _failed(str(error))
        return outcome(request, answer, body, now_ms=self._clock.now_ms())

    async def _answered(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        try:
            return await asyncio.wait_for(_asked(request), self._seconds)
        except asyncio.TimeoutError:
            raise _Unanswered(f"{_place(request.url)} took over {self._seconds:g} s") from None


def outgoing_for(request: GatewayRequest) -> httpx.Request:
    """The request to send, with its key where the provider wants it (wire.md Q6).

    Header names are written in title case: some receivers compare them so (engine.md 3.4). Raises
    _Unmakeable.
    """
    try:
        url = httpx.URL(_url(request))
    except (httpx.InvalidURL, ValueError):
        raise _Unmakeable("the URL is none that can be called") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise _Unmakeable(f"{_place(url)} cannot be called: it must be http(s)://host and a path")
    given = {_titled(name): value for name, value in request.headers.items()}
    ours = {"Accept": "*/*", "User-Agent": "Inngest", **_basic(url)}
    if request.op == "AIGateway":
        ours["Content-Type"] = "application/json"
    # What is packed otherwise could not be unpacked, whatever the app would take.
    headers = {**ours, **given, **_key_header(request), "Accept-Encoding": "gzip, deflate"}
    kept = {name: value for name, value in headers.items() if name.lower() not in _FRAMING}
    try:
        return httpx.Request(
            request.method,
            url.copy_with(userinfo=b""),
            headers=kept,
            content=request.body.encode() if request.body else None,
            extensions={"timeout": _TIMEOUT.as_dict()},
        )
    except (UnicodeError, ValueError):
        raise _Unmakeable("the method, a header or the body holds what cannot be sent") from None


def _url(request: GatewayRequest) -> str:
    if request.format == "gemini" and request.auth_key:
        return with_query(request.url, "key", request.auth_key)
    return request.url


def _key_header(request: GatewayRequest) -> dict[str, str]:
    key = request.auth_key
    if not key or request.format == "gemini":
        return {}
    if request.format == "anthropic":
        return {"X-Api-Key": key}
    return {"Authorization": key if request.format == "bedrock" else f"Bearer {key}"}


def _basic(url: httpx.URL) -> dict[str, str]:
    """What user and password in a URL mean. They are taken out of it: it may be shown."""
    if not url.userinfo:
        return {}
    pair = unquote(url.userinfo.decode()).encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _titled(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


# ── over the network ─────────────────────────────────────────────────────────────────────────────


async def _asked(request: httpx.Request) -> tuple[httpx.Response, bytes]:
    for _ in range(MAX_REDIRECTS + 1):
        answer, body = await _exchanged(request)
        further = _redirected(request, answer)
        if further is None:
            return answer, body
        request = further
    raise _Unmakeable(f"more than {MAX_REDIRECTS} redirects, at last to {_place(request.url)}")


async def _exchanged(request: httpx.Request) -> tuple[httpx.Response, bytes]:
    """One request and its answer, by httpx's transport: its client would log the whole URL."""
    place = _place(request.url)
    try:
        async with httpx.AsyncHTTPTransport(
            verify=ssl_context(), trust_env=False, proxy=_proxy(request.url)
        ) as transport:
            answer = await transport.handle_async_request(request)
            answer.request = request
            async with aclosing(answer):
                return answer, await _limited(answer, place)
    except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL):
        # Its own words quote the header.
        raise _Unmakeable(f"the request to {place} holds what HTTP does not allow") from None
    except httpx.HTTPError as error:
        raise _Unanswered(f"{place} cannot be reached ({reason(error)})") from None
    except (ImportError, ValueError):
        raise _Unanswered(f"no way to {place}: are the proxies of the environment right?") from None


def _proxy(url: httpx.URL) -> str | None:
    """The proxy that the environment names for a URL."""
    if url.host in LOOPBACK or proxy_bypass(url.host):
        return None
    named = getproxies()
    proxy = named.get(url.scheme) or named.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


async def _limited(answer: httpx.Response, place: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in answer.aiter_bytes():
        size += len(chunk)
        if size > MAX_ANSWER:
            raise _Unmakeable(f"the answer of {place} is larger than {MAX_ANSWER} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _redirected(asked: httpx.Request, answer: httpx.Response) -> httpx.Request | None:
    """The next request, as a browser makes it; with no header that is meant for somebody else."""
    location = answer.headers.get("location")
    if answer.status_code not in _REDIRECTS or not location:
        return None
    try:
        url = asked.url.join(location).copy_with(userinfo=b"")
    except (httpx.InvalidURL, ValueError):
        raise _Unmakeable(f"{_place(asked.url)} redirects to what is no URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise _Unmakeable(f"{_place(asked.url)} redirects to {_place(url)}, which cannot be called")
    headers = _for(url, asked)
    if _becomes_get(asked.method, answer.status_code):
        headers.pop("content-type", None)
        return httpx.Request("GET", url, headers=headers, extensions=asked.extensions)
    return httpx.Request(
        asked.method, url, headers=headers, content=asked.content, extensions=asked.extensions
    )


def _becomes_get(method: str, status: int) -> bool:
    return status == 303 if method != "POST" else status in (301, 302, 303)


def _for(url: httpx.URL, asked: httpx.Request) -> httpx.Headers:
    """The headers that go along to the next URL; how long the body is is counted anew."""
    same = _origin(url) == _origin(asked.url)
    kept = [
        (name, value)
        for name, value in asked.headers.raw
        if (same or name.lower() in _HARMLESS) and name.lower() != b"content-length"
    ]
    return httpx.Headers(kept)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


# ── what an answer means ─────────────────────────────────────────────────────────────────────────


def outcome(
    request: GatewayRequest, answer: httpx.Response, body: bytes, *, now_ms: int
) -> Fetched | Failed:
    """What a step stores of an answer, or why it is asked for again. Pure."""
    status, is_ai = answer.status_code, request.op == "AIGateway"
    value = _json(body) if is_ai else _response(answer, body)
    if status < 300 and is_ai and value is None:
        return _failed("the provider's answer is not JSON", data=_decoded(answer, body))
    if status < 300 or (status < 500 and not is_ai):
        return Fetched({"data": value})
    again = status >= 500 or status in _AGAIN
    data = _decoded(answer, body) if value is None else value
    return Failed(
        {"message": f"HTTP {status} from {_place(answer.request.url)}", "data": data},
        None,
        retriable=again,
        retry_at_ms=retry_at_ms(answer.headers, now_ms),
    )


def _failed(message: str, *, retriable: bool = True, data: JSON = None) -> Failed:
    error = {"message": message} if data is None else {"message": message, "data": data}
    return Failed(error, None, retriable)


def _json(body: bytes) -> JSON:
    try:
        return jsontext.read(body)
    except ValueError:
        return None


def _response(answer: httpx.Response, body: bytes) -> dict[str, JSON]:
    return {
        "url": str(answer.request.url),  # the last, after redirects
        "headers": _headers(answer.headers),
        "body": _decoded(answer, body),
        "status_code": answer.status_code,
    }


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Names in title case, as the real server writes them; without those on how it was packed."""
    unpacked = _ABOUT_CODING if "content-encoding" in headers else frozenset[str]()
    left_out = {"transfer-encoding", *unpacked}
    return {_titled(name): value for name, value in headers.items() if name not in left_out}


def _decoded(answer: httpx.Response, body: bytes) -> str:
    try:
        text = body.decode(answer.charset_encoding or "utf-8", "replace")
    except LookupError:  # what the answer calls its charset is none
        text = body.decode("utf-8", "replace")
    return text.encode("utf-8", "replace").decode()  # no half surrogates: they cannot be stored


def _place(url: httpx.URL) -> str:
    """Where a request goes, for people: no user, no query."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))
