"""The functions that functions-framework calls: a request in, an answer out, and no exception.

An exception that left a handler would reach the Inngest server as a bare 500, which says nothing of
an SDK, so everything becomes an answer with the SDK's headers. The one exception is an event: what
a handler with an event's signature returns is thrown away, and only by raising can it say no.

functions-framework runs many requests at once in one process, in threads or on a loop. Nothing
here is kept between them but the client.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inngest_sdk import wire
from inngest_sdk.client import Inngest
from inngest_sdk.config import Streaming
from inngest_sdk.endpoint import Entrypoint, finish
from inngest_sdk.errors import BodyInvalidError, ProtocolError
from inngest_sdk.http import Request, Response
from inngest_sdk.streaming import Streamed
from inngest_sdk.streaming import serve as serve_request
from inngest_sdk.streaming import serve_async as serve_request_async
from inngest_serverless.discovery import LazyClient, explain
from inngest_serverless.gcp.environment import Environment
from inngest_serverless.gcp.http_request import (
    event_in,
    region_of,
    request_from_flask,
    request_from_starlette,
)

if TYPE_CHECKING:
    from flask import Request as FlaskRequest
    from flask import Response as FlaskResponse
    from starlette.requests import Request as StarletteRequest
    from starlette.responses import Response as StarletteResponse

FRONT = Entrypoint("google-cloud-functions", "gcp", can_stream=True)

LOG = logging.getLogger("inngest_serverless")

_app = LazyClient(os.environ)


@dataclass(frozen=True)
class Served:
    """What a handler serves: how it comes by its client, and the arguments of `serve`."""

    client: Callable[[], Inngest]
    entrypoint: Entrypoint = FRONT


def handler(request: FlaskRequest) -> FlaskResponse | StarletteResponse:
    """Answer a request with the app that INNGEST_APP names (see `discovery`): an entry point for
    functions-framework.

    A StarletteResponse comes only with an error: functions-framework was started with --asgi.
    """
    return _answer(Served(_app.get), request)


def serve(
    client: Inngest,
    *,
    serve_origin: str | None = None,
    serve_path: str | None = None,
    streaming: Streaming | None = None,
) -> Callable[[FlaskRequest], FlaskResponse | StarletteResponse]:
    """Make an entry point for functions-framework that serves a client's functions.

    `serve_origin` and `serve_path` beat INNGEST_SERVE_ORIGIN and INNGEST_SERVE_PATH; `streaming`
    beats the client's and INNGEST_STREAMING. What comes back is a plain function: functions-
    framework takes nothing else.

        handler = inngest_serverless.gcp.serve(client)
    """
    served = _served(client, serve_origin, serve_path, streaming)

    def handler(request: FlaskRequest) -> FlaskResponse | StarletteResponse:
        return _answer(served, request)

    return handler


def serve_async(
    client: Inngest,
    *,
    serve_origin: str | None = None,
    serve_path: str | None = None,
    streaming: Streaming | None = None,
) -> Callable[[StarletteRequest], Awaitable[StarletteResponse]]:
    """Make an entry point for functions-framework's ASGI mode; see `serve` for the arguments.

    Called `async_handler`, it has functions-framework choose that mode by itself; under another
    name, FUNCTION_USE_ASGI=1 has to be set.

        async_handler = inngest_serverless.gcp.serve_async(client)
    """
    return _async_handler(_served(client, serve_origin, serve_path, streaming))


def found_async_handler() -> Callable[[StarletteRequest], Awaitable[StarletteResponse]]:
    """Make the async entry point for the app that INNGEST_APP names."""
    return _async_handler(Served(_app.get))


def _served(
    client: Inngest, origin: str | None, path: str | None, streaming: Streaming | None
) -> Served:
    entrypoint = replace(FRONT, serve_origin=origin, serve_path=path, streaming=streaming)
    return Served(lambda: client, entrypoint)


def _async_handler(
    served: Served,
) -> Callable[[StarletteRequest], Awaitable[StarletteResponse]]:
    async def async_handler(request: StarletteRequest) -> StarletteResponse:
        return await _answer_async(served, request)

    # Its decorator notes the name as one that needs the ASGI mode. Old releases have neither the
    # one nor the other.
    with suppress(ImportError):
        from functions_framework import aio

        aio.http(async_handler)
    return async_handler


def _answer(served: Served, request: FlaskRequest) -> FlaskResponse | StarletteResponse:
    if not hasattr(request, "environ"):
        return _wrong_mode(served, request)
    environment, entrypoint = _place(served, request.headers.get("host", ""))
    answer: Response | Streamed[Iterator[bytes]]
    try:
        asked = _call(request_from_flask(request, environment))
        now = time.time()
        answer = serve_request(
            _client(served), asked, entrypoint, now=now, deadline=environment.deadline(now)
        )
    except Exception as error:
        answer = _refused(error, entrypoint)
    return _flask_response(answer)


async def _answer_async(served: Served, request: StarletteRequest) -> StarletteResponse:
    if not hasattr(request, "scope"):
        raise _is_event(request)
    environment, entrypoint = _place(served, request.headers.get("host", ""))
    answer: Response | Streamed[AsyncIterator[bytes]]
    try:
        asked = _call(await request_from_starlette(request, environment))
        now = time.time()
        answer = await serve_request_async(
            _client(served), asked, entrypoint, now=now, deadline=environment.deadline(now)
        )
    except Exception as error:
        answer = _refused(error, entrypoint)
    return _starlette_response(answer)


def _place(served: Served, host: str) -> tuple[Environment, Entrypoint]:
    platform = f"gcp-{region_of(host)}"
    return Environment.from_env(os.environ), replace(served.entrypoint, platform=platform)


def _call(request: Request) -> Request:
    what = event_in(request)
    if what is None:
        return request
    LOG.warning("refused %s: this function serves Inngest over HTTP", what)
    raise BodyInvalidError(
        f"{what} came to the function that serves Inngest. Send it to a function of its own (see "
        "inngest_serverless.gcp.forward); it is refused here so that it is not lost."
    )


def _client(served: Served) -> Inngest:
    try:
        return served.client()
    except Exception as error:
        LOG.error("the Inngest app could not be loaded: %s", explain(error), exc_info=error)
        raise ProtocolError(explain(error)) from None


def _refused(error: Exception, entrypoint: Entrypoint) -> Response:
    if isinstance(error, ProtocolError):
        return finish(wire.refused(error), entrypoint)
    LOG.error("the Google Cloud entrypoint failed; please report this as a bug", exc_info=error)
    said = f"the Google Cloud entrypoint failed with {type(error).__name__}; see the function's log"
    return finish(wire.refused(ProtocolError(said)), entrypoint)


def _wrong_mode(served: Served, request: object) -> StarletteResponse:
    if not hasattr(request, "scope"):
        raise _is_event(request)
    error = ProtocolError(
        "this is the blocking handler, but functions-framework runs in its ASGI mode; deploy "
        "inngest_serverless.gcp.async_handler, or unset FUNCTION_USE_ASGI"
    )
    return _starlette_response(_refused(error, served.entrypoint))


def _is_event(given: object) -> TypeError:
    return TypeError(
        f"this function serves Inngest over HTTP and was called with a {type(given).__name__}; "
        "deploy it with --trigger-http, and events to a function of their own"
    )


def _flask_response(answer: Response | Streamed[Iterator[bytes]]) -> FlaskResponse:
    from flask import Response as FlaskResponse

    body = answer.body if isinstance(answer, Response) else answer.chunks
    return FlaskResponse(body, answer.status, dict(answer.headers))


def _starlette_response(answer: Response | Streamed[AsyncIterator[bytes]]) -> StarletteResponse:
    from starlette.responses import Response as StarletteResponse
    from starlette.responses import StreamingResponse

    if isinstance(answer, Response):
        return StarletteResponse(answer.body, answer.status, dict(answer.headers))
    return StreamingResponse(answer.chunks, answer.status, dict(answer.headers))
