"""The app as functions of Azure's programming model (v2), and no exception past this file.

An exception that left a function would reach the Inngest server as a bare 500, so everything
becomes an answer with the SDK's headers.

The worker runs one event loop for all calls. The function is a coroutine on it, as async user
functions are; sync ones run in threads. A worker takes as many calls at once as the host gives it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import azure.functions as func

from inngest_sdk import wire
from inngest_sdk.client import Inngest
from inngest_sdk.config import Streaming
from inngest_sdk.endpoint import Entrypoint, finish
from inngest_sdk.errors import ProtocolError
from inngest_sdk.http import Request, Response
from inngest_sdk.streaming import Streamed, serve_async
from inngest_serverless.azure.environment import Environment
from inngest_serverless.azure.http_trigger import request_from, response_from
from inngest_serverless.discovery import LazyClient, explain

ANSWER_SECONDS = 220.0
"""How long an answer may take that leaves in one piece. Azure's load balancer gives up after 230 s
under every plan, and has counted since before a worker was started for the call."""
TIMEOUT_MARGIN = 1.0
"""Seconds before the function's own timeout, which the host began to count before us."""

LOG = logging.getLogger("inngest_serverless")


@dataclass(frozen=True)
class Door:
    """What a function needs to answer: how to find the client, and what it tells of itself."""

    client: Callable[[], Inngest]
    serve_origin: str | None = None
    serve_path: str | None = None
    streaming: Streaming | None = None
    can_stream: bool = False

    @cached_property
    def environment(self) -> Environment:
        # Not while function_app.py is imported: its folder becomes the working directory later.
        return Environment.from_env(os.environ, Path.cwd())

    @cached_property
    def entrypoint(self) -> Entrypoint:
        return Entrypoint(
            framework="azure-functions",
            platform=f"azure-{self.environment.region}",
            serve_origin=self.serve_origin,
            serve_path=self.serve_path,
            streaming=self.streaming,
            can_stream=self.can_stream,
        )

    def deadline(self, now: float) -> float | None:
        """When an answer that begins now would be cut off, in Unix seconds. None: never."""
        timeout = self.environment.function_timeout
        seconds = [] if timeout is None else [timeout - TIMEOUT_MARGIN]
        if not self.can_stream:
            seconds.append(ANSWER_SECONDS)
        return now + min(seconds) if seconds else None


def blueprint(
    client: Inngest,
    *,
    route: str = "inngest",
    name: str = "inngest",
    auth_level: func.AuthLevel = func.AuthLevel.ANONYMOUS,
    serve_origin: str | None = None,
    serve_path: str | None = None,
    streaming: Streaming | None = None,
) -> func.Blueprint:
    """Make a blueprint with one function that serves a client's functions.

    `route` comes after the prefix of host.json, which is "api": /api/inngest. `name` is the
    function's, unique in the app. Anonymous is no hole: in production every call must be signed
    with INNGEST_SIGNING_KEY. With another `auth_level` register the URL with `?code=` and the key
    in it; Inngest then knows the key. `serve_origin` and `serve_path` beat INNGEST_SERVE_ORIGIN
    and INNGEST_SERVE_PATH; `streaming` beats the client's and INNGEST_STREAMING.

        app = func.FunctionApp()
        app.register_functions(inngest_serverless.azure.blueprint(client))
    """
    door = Door(lambda: client, serve_origin, serve_path, streaming)
    return _blueprint(door, route, name, auth_level)


async def answer(
    door: Door, request: Callable[[], Awaitable[Request]]
) -> Response | Streamed[AsyncIterator[bytes]]:
    """Answer a request, whatever it takes to get it."""
    now = time.time()
    try:
        asked = await request()
        client = _found(door)
        _advise_on_key(asked)
        return await serve_async(
            client, asked, door.entrypoint, now=now, deadline=door.deadline(now)
        )
    except ProtocolError as error:
        refusal = error
    except Exception as error:
        LOG.exception("the Azure entrypoint failed; please report this as a bug")
        name = type(error).__name__
        refusal = ProtocolError(f"the Azure entrypoint failed with {name}; see the function's log")
    return finish(wire.refused(refusal), door.entrypoint)


def _blueprint(door: Door, route: str, name: str, auth_level: func.AuthLevel) -> func.Blueprint:
    made = func.Blueprint()  # type: ignore[no-untyped-call]  # so in azure-functions

    # Every method, so that also what is refused is told why.
    @made.function_name(name)
    @made.route(route=route, methods=list(func.HttpMethod), auth_level=auth_level)
    async def main(req: func.HttpRequest) -> func.HttpResponse:
        async def request() -> Request:
            return request_from(req, door.environment.hostname)

        answered = await answer(door, request)
        assert isinstance(answered, Response), "this door does not stream"
        return response_from(answered)

    return made


def _found(door: Door) -> Inngest:
    try:
        return door.client()
    except Exception as error:
        LOG.error("the Inngest app could not be loaded: %s", explain(error), exc_info=error)
        raise ProtocolError(explain(error)) from None


def _advise_on_key(request: Request) -> None:
    has_key = "x-functions-key" in request.headers
    if request.method == "PUT" and has_key and "code" not in request.query:
        LOG.warning(
            "registering a URL without the function key that this request had in a header: if "
            "the function wants one, Inngest's calls will be refused; register the URL with ?code="
        )


_app = Door(LazyClient(os.environ).get)

# The app that INNGEST_APP names (see `discovery`), found at the first call: function_app.py may be
# where the client is, and is only half there while it imports this.
app: func.FunctionApp = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(_blueprint(_app, "inngest", "inngest", func.AuthLevel.ANONYMOUS))
