"""The network, and the randomness that goes with it. httpx is imported when first needed."""

from __future__ import annotations

import atexit
import base64
import logging
import os
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from inngest_sdk.errors import UnreachableError
from inngest_sdk.http import Request, Response, header_map

if TYPE_CHECKING:
    import asyncio

    import httpx

# Clients are kept, so that connections are: one for all threads, and one for each event loop, for
# as long as the loop runs. Idle connections are given up early, because a frozen Lambda wakes with
# sockets that the other side has closed.
_client: httpx.Client | None = None
_async_clients: dict[
    asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[None, None]]
] = {}
_disowned: list[object] = []  # kept, as to be collected is to be closed
_KEEPALIVE_SECONDS = 5.0
_CONNECTIONS = 10  # at once; for each request httpcore looks at every one that it has


def now() -> float:
    """Unix seconds."""
    return time.time()


def sleep(seconds: float) -> None:
    """Wait, blocking."""
    time.sleep(seconds)


def event_id_seed() -> str:
    """A fresh value for x-inngest-event-id-seed (wire.md A12): Unix ms and 10 random bytes."""
    return f"{time.time_ns() // 1_000_000},{base64.b64encode(os.urandom(10)).decode()}"


def send(request: Request, timeout: float) -> Response:
    """Send a request. Raises UnreachableError when no response came within `timeout` seconds."""
    import httpx

    global _client
    if _client is None:
        _client = httpx.Client(**_options(httpx))
        atexit.register(_client.close)
    client = _client
    try:
        try:
            return _response(client.request(**_arguments(request, timeout)))
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            # An idle connection that the server had closed. Whatever we send may be sent again.
            return _response(client.request(**_arguments(request, timeout)))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreachable(request, error) from error


async def send_async(request: Request, timeout: float) -> Response:
    """Send a request on the running loop; see `send`."""
    import httpx

    client = await _client_of_loop(httpx)
    try:
        try:
            return _response(await client.request(**_arguments(request, timeout)))
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return _response(await client.request(**_arguments(request, timeout)))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreachable(request, error) from error


def close() -> None:
    """Close the connections that are kept, of threads and of loops that stand still; the next
    request opens new ones."""
    global _client
    kept, _client = _client, None
    if kept is not None:
        kept.close()
    for loop, (_, closing) in list(_async_clients.items()):
        if not loop.is_running() and not loop.is_closed():
            loop.run_until_complete(closing.aclose())


def disown() -> None:
    """Leave the connections to the process that this one was forked from: closed here, they would
    end for it as well."""
    global _client
    _disowned.extend((_client, dict(_async_clients)))
    if _client is not None:
        atexit.unregister(_client.close)
    _client = None
    _async_clients.clear()


async def _client_of_loop(library: Any) -> httpx.AsyncClient:
    import asyncio

    loop = asyncio.get_running_loop()
    if loop in _async_clients:
        return _async_clients[loop][0]
    for closed in [each for each in _async_clients if each.is_closed()]:  # without warning
        del _async_clients[closed]
    client: httpx.AsyncClient = library.AsyncClient(**_options(library))
    closing = _closing(loop, client)
    _async_clients[loop] = client, closing
    await anext(closing)
    return client


async def _closing(
    loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient
) -> AsyncGenerator[None, None]:
    """Close the client when its loop ends: a loop ends its generators before it is closed
    (`loop.shutdown_asyncgens`, which asyncio.run calls)."""
    try:
        yield
    finally:
        _async_clients.pop(loop, None)
        await client.aclose()


def _options(library: Any) -> dict[str, Any]:
    logging.getLogger("httpx").addFilter(_hide_event_key)
    limits = library.Limits(max_connections=_CONNECTIONS, keepalive_expiry=_KEEPALIVE_SECONDS)
    return {"limits": limits, "follow_redirects": True}


def _arguments(request: Request, timeout: float) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": request.url,
        "headers": dict(request.headers),
        "content": request.body,
        "timeout": timeout,
    }


def _response(answer: httpx.Response) -> Response:
    return Response(answer.status_code, header_map(answer.headers.multi_items()), answer.content)


def _hide_event_key(record: logging.LogRecord) -> bool:
    """httpx logs the URL of each request at INFO, the level of many an app."""
    if isinstance(record.args, tuple):
        record.args = tuple(_hidden(each) for each in record.args)
    return True


def _hidden(value: object) -> object:
    # Only URLs with nothing behind the key, as those of events are: the log is the app's, too.
    head, found, tail = str(value).partition("/e/")
    is_url = type(value).__name__ == "URL" and found and "/" not in tail
    return f"{head}/e/…" if is_url else value


def _unreachable(request: Request, error: Exception) -> UnreachableError:
    address = request.url.split("?")[0]
    if "/e/" in address:
        address = address[: address.index("/e/")]  # what follows is the event key
    return UnreachableError(f"no answer from {address}: {type(error).__name__}: {error}")
