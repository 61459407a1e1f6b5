"""Answers that stream, by Microsoft's FastAPI extension."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import azure.functions as func
import pytest
from starlette.requests import Request

from inngest_serverless import Inngest, Streaming, TriggerEvent
from inngest_serverless.azure import streaming

from .running import call_body

HOSTNAME = "shop.azurewebsites.net"


def request_of(*chunks: bytes | None, target: str = "/api/inngest") -> Request:
    """A request as the worker's own server gets it; a chunk of None is a client that hangs up."""
    messages = [
        {"type": "http.disconnect"}
        if chunk is None
        else {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1}
        for index, chunk in enumerate(chunks or (b"",))
    ]
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"127.0.0.1:40123"), (b"x-a", b"1"), (b"x-a", b"2")],
    }

    async def receive() -> Any:
        return messages.pop(0)

    return Request(scope, receive)


def function_of(client: Inngest, mode: Streaming = Streaming.FORCE) -> Callable[[Any], Any]:
    whole = func.FunctionApp()
    whole.register_functions(streaming.blueprint(client, streaming=mode))
    (function,) = whole.get_functions()
    made: Callable[[Any], Any] = function.get_user_function()
    return made


def dev_client() -> Inngest:
    return Inngest(app_id="shop", is_production=False, api_base_url="http://127.0.0.1:1")


def test_the_first_byte_leaves_before_the_function_has_ended() -> None:
    async def main() -> tuple[int, list[bytes]]:
        client, bell = dev_client(), asyncio.Event()

        @client.create_function(fn_id="wait", trigger=TriggerEvent(event="shop/wait"))
        async def wait(ctx: Any) -> bool:
            return await bell.wait()

        request = request_of(call_body(), target="/api/inngest?fnId=shop-wait&stepId=step")
        answer = await function_of(client)(request)
        chunks: AsyncIterator[bytes] = answer.body_iterator
        first = await chunks.__anext__()
        bell.set()
        return answer.status_code, [first, *[chunk async for chunk in chunks]]

    status, chunks = asyncio.run(main())
    assert (status, chunks[0]) == (201, b" ")
    assert json.loads(b"".join(chunks))["body"] == "true"


@pytest.mark.parametrize("mode", list(Streaming))
def test_what_is_refused_at_the_door_is_a_plain_answer(mode: Streaming) -> None:
    target = "/api/inngest?fnId=shop-refund&stepId=step"
    answer = asyncio.run(function_of(dev_client(), mode)(request_of(call_body(), target=target)))
    assert answer.status_code == 404
    assert answer.headers["x-inngest-sdk"]
    assert int(answer.headers["content-length"]) == len(answer.body)


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("/api/inngest?code=a%3D&x=", "/api/inngest?code=a%3D&x="),
        ("/api/%C3%BC%2F", "/api/%C3%BC%2F"),
        ("/", "/"),
        ("", "/"),
    ],
)
def test_the_public_url_is_rebuilt(target: str, url: str) -> None:
    found = asyncio.run(streaming.request_from(request_of(target=target), HOSTNAME))
    assert found.url == f"https://{HOSTNAME}{url}"


def test_a_request_keeps_its_body_and_its_headers() -> None:
    found = asyncio.run(streaming.request_from(request_of(b"\x00", b"", b"\xff"), HOSTNAME))
    assert (found.method, found.body) == ("POST", b"\x00\xff")
    assert found.headers == {"host": "127.0.0.1:40123", "x-a": "1, 2"}


@pytest.mark.parametrize(
    ("chunks", "status"),
    [((b"{", None), 400), ([bytes(1024 * 1024)] * 101, 413)],
    ids=["hung up", "too large"],
)
def test_a_body_that_cannot_be_taken_is_refused(chunks: Any, status: int) -> None:
    answer = asyncio.run(function_of(dev_client())(request_of(*chunks)))
    assert answer.status_code == status
    assert answer.headers["x-inngest-sdk"]
