"""No request, however odd, gets an exception out of the handlers, in either mode."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import replace
from typing import TypeVar

from flask import Response as FlaskResponse
from hypothesis import given
from hypothesis import strategies as st

from inngest_sdk.client import Inngest
from inngest_sdk.http import Request
from inngest_serverless import gcp
from inngest_serverless.gcp.environment import Environment

from .asked import Asked, flask_request, starlette_request, through_flask, through_starlette
from .running import call_body

T = TypeVar("T")

CLIENT = Inngest(app_id="shop", is_production=False, api_base_url="http://127.0.0.1:1")
HANDLER = gcp.serve(CLIENT)
ASYNC_HANDLER = gcp.serve_async(CLIENT)

latin = st.text(st.characters(max_codepoint=255), max_size=20)
names = st.sampled_from(
    [
        *("host", "content-type", "content-length", "x-forwarded-proto", "x-inngest-signature"),
        *("x-inngest-server-kind", "x-inngest-sync-kind", "ce-type", "ce-specversion"),
        *("traceparent", "x-inngest-req-version"),
    ]
)
likely = st.sampled_from(["shop.example", "https", "1.0", "in_band", "9" * 30, "t=1&s=ab", "cloud"])
methods = st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH"])
bodies = st.sampled_from([call_body(), b"{}", b"[]", b"null"]) | st.binary(max_size=50)
queries = st.sampled_from([b"fnId=shop-x&stepId=step", b"probe=trust"]) | st.binary(max_size=30)
paths = st.builds("/{}".format, st.text(max_size=20))
requests = st.builds(
    Asked,
    method=methods,
    path=paths,
    query=queries,
    headers=st.dictionaries(names, latin | likely, max_size=4),
    body=bodies,
    server=st.sampled_from([("10.0.0.7", 8080), ("::1", 80), ("/run/app.sock", None)]),
)


@given(requests)
def test_both_modes_read_a_request_alike(asked: Asked) -> None:
    place = Environment(service="orders")
    outcomes: list[tuple[Request | None, str | None]] = []
    for translate in (through_flask, through_starlette):
        try:
            request = translate(asked, place)
            outcomes.append((replace(request, headers=told(request)), None))
        except Exception as error:
            outcomes.append((None, repr(error)))
    assert outcomes[0] == outcomes[1]
    read = outcomes[0][0]
    assert read is None or (read.url.startswith("http") and read.url.isascii())


def told(request: Request) -> dict[str, str]:
    """The headers that say something: WSGI has no empty content-type."""
    return {name: value for name, value in request.headers.items() if value}


@given(requests)
def test_the_blocking_handler_answers_any_request(asked: Asked) -> None:
    answer = HANDLER(flask_request(asked))
    assert isinstance(answer, FlaskResponse)
    check(answer.status_code, "x-inngest-sdk" in answer.headers, answer.get_data())


@given(requests)
def test_the_async_handler_answers_any_request(asked: Asked) -> None:
    answer = asyncio.run(awaited(ASYNC_HANDLER(starlette_request(asked))))
    check(answer.status_code, "x-inngest-sdk" in answer.headers, bytes(answer.body))


def check(status: int, is_ours: bool, body: bytes) -> None:
    assert status in (200, 400, 401, 404, 405, 413, 502)
    assert is_ours
    assert isinstance(json.loads(body), dict)


async def awaited(value: Awaitable[T]) -> T:
    return await value
