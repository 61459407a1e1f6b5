"""The app under any ASGI server: containers, Cloud Run, `uvicorn inngest_serverless.asgi:app`.

The URL that the app registers is made from the request, that is from what the client says: its
`host` header, and `x-forwarded-proto` from a proxy that ends TLS (Cloud Run and most load
balancers do, and the server behind them sees plain HTTP). Nothing else depends on either. Yet
whoever can send a PUT could so register the app under a host of their choosing, and the header
may only raise http to https, never the reverse: set INNGEST_SERVE_ORIGIN in production.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any, TypeAlias

from inngest_sdk import wire
from inngest_sdk.client import Inngest
from inngest_sdk.config import Streaming
from inngest_sdk.endpoint import Entrypoint, finish
from inngest_sdk.errors import BodyTooLargeError, ProtocolError
from inngest_sdk.http import Request, Response, header_map
from inngest_sdk.public_url import encoded_path, forwarded_scheme, is_host, join
from inngest_sdk.streaming import Streamed, serve_async
from inngest_serverless.discovery import LazyClient, explain

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Answer: TypeAlias = Response | Streamed[AsyncIterator[bytes]]

# An Inngest server sends 4 MB at most, and has the app fetch what is larger (wire.md T12). The
# bound keeps strangers from filling the memory; it leaves room for servers with higher limits.
MAX_BODY_BYTES = 32 * 1024 * 1024

FRONT = Entrypoint("asgi", "asgi", can_stream=True)

LOG = logging.getLogger("inngest_serverless")


class ClientGone(Exception):
    """The client hung up before its request was complete."""


def serve(
    client: Inngest,
    *,
    serve_origin: str | None = None,
    serve_path: str | None = None,
    streaming: Streaming | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> ASGIApp:
    """Make an ASGI application for a client's functions. It answers on every path.

    `serve_origin` and `serve_path` beat INNGEST_SERVE_ORIGIN and INNGEST_SERVE_PATH; `streaming`
    beats the client's and INNGEST_STREAMING. Larger bodies than `max_body_bytes` are answered 413.

        app = inngest_serverless.asgi.serve(client)
    """
    entrypoint = replace(
        FRONT, serve_origin=serve_origin, serve_path=serve_path, streaming=streaming
    )
    return _application(lambda: client, entrypoint, max_body_bytes)


def request_from(scope: Scope, body: bytes) -> Request:
    """Translate an ASGI scope and its body."""
    headers = header_map(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
    )
    return Request(scope["method"].upper(), _url(scope, headers), headers, body)


def messages_from(response: Response) -> tuple[Message, Message]:
    """Translate a response into the two messages that send it."""
    start = _start(response.status, response.headers)
    start["headers"].append((b"content-length", b"%d" % len(response.body)))
    return start, {"type": "http.response.body", "body": response.body}


async def messages_of(streamed: Streamed[AsyncIterator[bytes]]) -> AsyncIterator[Message]:
    """Translate a stream into the messages that send it, each when it is due."""
    yield _start(streamed.status, streamed.headers)
    async for chunk in streamed.chunks:
        yield {"type": "http.response.body", "body": chunk, "more_body": True}
    yield {"type": "http.response.body", "body": b""}


def _start(status: int, headers: Mapping[str, str]) -> Message:
    pairs = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


def _application(
    client: Callable[[], Inngest], entrypoint: Entrypoint, max_body_bytes: int
) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _http(client, entrypoint, max_body_bytes, scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(client, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1003, "reason": "HTTP only"})
        else:
            # The specification's way to decline a protocol.
            raise NotImplementedError(f"this app does not speak {scope['type']!r}")

    return application


async def _http(
    client: Callable[[], Inngest],
    entrypoint: Entrypoint,
    max_body_bytes: int,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    response: Answer
    try:
        response = await _answer(client, entrypoint, max_body_bytes, scope, receive)
    except ClientGone:
        return
    except ProtocolError as error:
        response = finish(wire.refused(error), entrypoint)
    except Exception as error:
        LOG.exception("the ASGI entrypoint failed; please report this as a bug")
        name = type(error).__name__
        failure = ProtocolError(f"the ASGI entrypoint failed with {name}; see the server's log")
        response = finish(wire.refused(failure), entrypoint)
    try:
        if isinstance(response, Response):
            for message in messages_from(response):
                await send(message)
        else:
            async for message in messages_of(response):
                await send(message)
    except OSError:
        # The client left while its call was worked on. The work goes on to its end, or is done:
        # the Inngest server will repeat the call, and only the report of its steps is lost.
        LOG.info("the client hung up before its answer was sent")


async def _answer(
    client: Callable[[], Inngest],
    entrypoint: Entrypoint,
    max_body_bytes: int,
    scope: Scope,
    receive: Receive,
) -> Answer:
    request = request_from(scope, await _body(scope, receive, max_body_bytes))
    try:
        found = client()
    except Exception as error:
        LOG.error("the Inngest app could not be loaded: %s", explain(error), exc_info=error)
        raise ProtocolError(explain(error)) from None
    # Not cancelled when the client hangs up: a step that has begun should end.
    return await serve_async(found, request, entrypoint, now=time.time())


async def _body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    for name, value in scope["headers"]:
        if name.lower() == b"content-length" and value.isdigit() and int(value) > max_bytes:
            raise _too_large(int(value), max_bytes)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(size, max_bytes)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large(size: int, max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(
        f"the request's body has {size} bytes or more; at most {max_bytes} are taken "
        "(max_body_bytes of inngest_serverless.asgi.serve)"
    )


async def _lifespan(client: Callable[[], Inngest], receive: Receive, send: Send) -> None:
    """Load the app before the first request.

    If that fails the server ends, as it should: a container platform then keeps the revision that
    works. (On Lambda, where nothing is kept, the failure is an answer instead.)
    """
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
        try:
            client()
        except Exception as error:
            LOG.error("the Inngest app could not be loaded", exc_info=error)
            await send({"type": "lifespan.startup.failed", "message": explain(error)})
            return
        await send({"type": "lifespan.startup.complete"})


def _url(scope: Scope, headers: MutableMapping[str, str]) -> str:
    root, path = scope.get("root_path") or "", scope["path"]
    # Servers differ on whether `path` holds the prefix that the app is mounted under; the
    # specification has said since 2.4 that it does.
    if root and path != root and not path.startswith(f"{root.rstrip('/')}/"):
        path = root.rstrip("/") + path
    query = scope.get("query_string", b"")
    return join(_scheme(scope, headers), _host(scope, headers), encoded_path(path), query)


def _scheme(scope: Scope, headers: MutableMapping[str, str]) -> str:
    return "https" if "https" in (scope.get("scheme"), forwarded_scheme(headers)) else "http"


def _host(scope: Scope, headers: MutableMapping[str, str]) -> str:
    if is_host(headers.get("host")):
        return headers["host"]
    name, port = scope.get("server") or ("localhost", None)
    name = f"[{name}]" if ":" in name else name
    return f"{name}:{port}" if port else name


# The app that INNGEST_APP names (see `discovery`), found when the server starts.
app: ASGIApp = _application(LazyClient(os.environ).get, FRONT, MAX_BODY_BYTES)
