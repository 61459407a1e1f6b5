"""Requests as the servers of functions-framework hand them over, made by hand."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import Request as FlaskRequest
from starlette.requests import Request as StarletteRequest

from inngest_sdk.http import Request
from inngest_serverless.gcp.environment import Environment
from inngest_serverless.gcp.http_request import request_from_flask, request_from_starlette


@dataclass(frozen=True)
class Asked:
    """What a client asked for. `headers` has lower-case names; `path` is decoded."""

    method: str = "POST"
    path: str = "/api/inngest"
    query: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"host": "shop.example"})
    body: bytes = b""
    scheme: str = "http"
    server: tuple[str, int | None] = ("10.0.0.7", 8080)


def flask_request(asked: Asked) -> FlaskRequest:
    """As gunicorn and Flask hand it over."""
    name, port = asked.server
    environ: dict[str, Any] = {
        "REQUEST_METHOD": asked.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": asked.path.encode("utf-8", "surrogatepass").decode("latin-1"),
        "QUERY_STRING": asked.query.decode("latin-1"),
        "SERVER_NAME": name,
        "SERVER_PORT": "" if port is None else str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": asked.scheme,
        "wsgi.input": io.BytesIO(asked.body),
        "wsgi.input_terminated": True,
    }
    for header, value in asked.headers.items():
        variable = header.upper().replace("-", "_")
        is_bare = variable in ("CONTENT_TYPE", "CONTENT_LENGTH")
        environ[variable if is_bare else f"HTTP_{variable}"] = value
    return FlaskRequest(environ)


def starlette_request(asked: Asked) -> StarletteRequest:
    """As uvicorn and Starlette hand it over, its body in pieces."""
    pieces = [asked.body[i : i + 7] for i in range(0, len(asked.body), 7)] or [b""]
    scope = {
        "type": "http",
        "method": asked.method,
        "path": asked.path,
        "query_string": asked.query,
        "scheme": asked.scheme,
        "server": asked.server,
        "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in asked.headers.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    return StarletteRequest(scope, receive)


Translate = Callable[[Asked, Environment], Request]


def through_flask(asked: Asked, environment: Environment) -> Request:
    """Ask the blocking mode."""
    return request_from_flask(flask_request(asked), environment)


def through_starlette(asked: Asked, environment: Environment) -> Request:
    """Ask the async mode."""
    return asyncio.run(request_from_starlette(starlette_request(asked), environment))
