"""The app on Azure Functions with answers that stream, by Microsoft's FastAPI extension.

    from inngest_serverless.azure.streaming import app

Importing this changes the whole function app: the worker then starts an HTTP server of its own,
and every function with an HTTP trigger gets its requests from there, as the extension's `Request`
(its own functions too have to be written for that). So nothing else imports it.

With streaming an answer has begun at once, so that the 230 s of Azure's load balancer do not bound
it, only the function's timeout does. Up to Python 3.12 the worker needs the app setting
PYTHON_ENABLE_INIT_INDEXING=1.
"""

from __future__ import annotations

import os

import azure.functions as func

from inngest_sdk.client import Inngest
from inngest_sdk.config import Streaming
from inngest_sdk.endpoint import MAX_REQUEST
from inngest_sdk.errors import BodyInvalidError, BodyTooLargeError, ConfigError
from inngest_sdk.http import Request as CoreRequest
from inngest_sdk.http import Response as CoreResponse
from inngest_sdk.http import header_map
from inngest_serverless.azure.entrypoint import Door, answer
from inngest_serverless.azure.http_trigger import public_url
from inngest_serverless.discovery import LazyClient

try:
    from azurefunctions.extensions.http.fastapi import (  # type: ignore[import-untyped]  # it is
        Request,
        Response,
        StreamingResponse,
    )
    from starlette.requests import ClientDisconnect  # under FastAPI
except ImportError as _missing:
    raise ConfigError(
        "inngest_serverless.azure.streaming needs the package "
        f"azurefunctions-extensions-http-fastapi in requirements.txt: {_missing}"
    ) from _missing

__all__ = ["app", "blueprint"]


def blueprint(
    client: Inngest,
    *,
    route: str = "inngest",
    name: str = "inngest",
    auth_level: func.AuthLevel = func.AuthLevel.ANONYMOUS,
    serve_origin: str | None = None,
    serve_path: str | None = None,
    streaming: Streaming = Streaming.ALLOW,
) -> func.Blueprint:
    """Make a blueprint with one function whose slow answers stream; see `azure.blueprint`.

    `streaming` is ALLOW, for whoever imports this has chosen; it beats the client's and
    INNGEST_STREAMING.
    """
    door = Door(lambda: client, serve_origin, serve_path, streaming, can_stream=True)
    return _blueprint(door, route, name, auth_level)


async def request_from(request: Request, hostname: str) -> CoreRequest:
    """Translate a request of the extension's; see `http_trigger.request_from`.

    Raises BodyTooLargeError beyond the 100 MB that Azure itself lets pass by default, and
    BodyInvalidError if it is not all there.
    """
    headers = header_map(request.headers.items())
    scope = request.scope
    query = scope.get("query_string", b"").decode("latin-1")
    path = (scope.get("raw_path") or b"").decode("latin-1") or scope["path"]
    url = f"{scope.get('scheme', 'http')}://worker{path}" + (f"?{query}" if query else "")
    url = public_url(url, headers, hostname)
    return CoreRequest(request.method.upper(), url, headers, await _body(request))


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_REQUEST:
                raise BodyTooLargeError(f"the request has more than {MAX_REQUEST:,} bytes")
    except ClientDisconnect:
        raise BodyInvalidError("the client hung up before its request was complete") from None
    return bytes(body)


def _blueprint(door: Door, route: str, name: str, auth_level: func.AuthLevel) -> func.Blueprint:
    made = func.Blueprint()  # type: ignore[no-untyped-call]  # so in azure-functions

    @made.function_name(name)
    @made.route(route=route, methods=list(func.HttpMethod), auth_level=auth_level)
    async def main(req: Request) -> Response:
        async def request() -> CoreRequest:
            return await request_from(req, door.environment.hostname)

        answered = await answer(door, request)
        if isinstance(answered, CoreResponse):
            return Response(answered.body, answered.status, dict(answered.headers))
        return StreamingResponse(answered.chunks, answered.status, dict(answered.headers))

    return made


# The app that INNGEST_APP names, found at the first call.
app: func.FunctionApp = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(
    _blueprint(
        Door(LazyClient(os.environ).get, streaming=Streaming.ALLOW, can_stream=True),
        "inngest",
        "inngest",
        func.AuthLevel.ANONYMOUS,
    )
)
