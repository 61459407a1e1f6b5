"""Small apps for the tests in this folder, and a real server around them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

PATH = "/api/inngest"
SDK = {"x-inngest-sdk": "test:v1", "x-inngest-req-version": "2"}
Function = Callable[[dict[str, Any]], tuple[int, Any]]


def step_run(step_id: str, data: Any) -> tuple[int, Any]:
    """The answer of a function that ran one step."""
    return 206, [{"op": "StepRun", "id": step_id, "name": step_id, "data": data}]


def registration(url: str, *slugs: str, app: str = "shop", **options: Any) -> dict[str, Any]:
    """What an SDK registers for functions that events of their own name start."""
    return {
        "url": url,
        "appName": app,
        "sdk": "test:v1",
        "functions": [
            {
                "id": slug,
                "name": slug,
                "triggers": [{"event": f"run/{slug}"}],
                "steps": {
                    "step": {
                        "id": "step",
                        "runtime": {"type": "http", "url": f"{url}?fnId={slug}&stepId=step"},
                    }
                },
                **options,
            }
            for slug in slugs
        ],
    }


def sdk_app(
    engine_url: Callable[[], str], functions: dict[str, Function], **options: Any
) -> Starlette:
    """An app as an SDK serves it: GET, PUT (registers itself) and POST (calls a function)."""

    async def serve(request: Request) -> Response:
        if request.method == "PUT":
            url = str(request.url.replace(query=""))
            async with httpx.AsyncClient() as client:
                body = registration(url, *functions, **options)
                answer = await client.post(f"{engine_url()}/fn/register", json=body)
            return JSONResponse(answer.json(), answer.status_code, SDK)
        if request.method == "POST":
            call = json.loads(await request.body())
            status, body = functions[request.query_params["fnId"]](call)
            return JSONResponse(body, status, SDK)
        return JSONResponse({"mode": "dev"}, 200, SDK)

    return Starlette(routes=[Route(PATH, serve, methods=["GET", "PUT", "POST"])])


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """Serve an app on a free port, or on this one; yields its origin."""
    with free_socket(port) as listening:
        config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None)
        server = _Quiet(config)
        task = asyncio.create_task(server.serve([listening]))
        try:
            yield f"http://localhost:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@contextlib.contextmanager
def free_socket(port: int = 0) -> Iterator[socket.socket]:
    """A socket that listens on a port nobody else has, or on this one."""
    named = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with contextlib.closing(named) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        yield listening


def free_port() -> int:
    """A port on which nobody listens."""
    with free_socket() as listening:
        return int(listening.getsockname()[1])
