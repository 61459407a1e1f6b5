"""The handlers as functions: what functions-framework asks of them, and what they say of faults."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
import types
from collections.abc import Awaitable
from typing import TypeVar

import pytest
from cloudevents.http import CloudEvent
from flask import Response as FlaskResponse
from functions_framework import _function_registry
from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse

from inngest_serverless import ContextSync, Inngest, Streaming, TriggerEvent, gcp

from .asked import Asked, flask_request, starlette_request
from .running import call_body

T = TypeVar("T")

CLIENT = Inngest(app_id="shop", is_production=False, api_base_url="http://127.0.0.1:1")


@pytest.mark.parametrize("made", [gcp.handler, gcp.serve(CLIENT)], ids=["named", "made"])
def test_an_entry_point_is_a_plain_function(made: object) -> None:
    assert isinstance(made, types.FunctionType)
    assert not inspect.iscoroutinefunction(made)


@pytest.mark.parametrize(
    "made", [gcp.async_handler, gcp.serve_async(CLIENT)], ids=["named", "made"]
)
def test_an_async_entry_point_is_one_that_is_known_as_such(made: object) -> None:
    assert isinstance(made, types.FunctionType)
    assert inspect.iscoroutinefunction(made)
    assert made.__name__ in _function_registry.ASGI_FUNCTIONS


def test_the_async_handler_is_made_once() -> None:
    assert gcp.async_handler is gcp.async_handler


def test_a_name_that_the_package_lacks_is_said() -> None:
    with pytest.raises(
        AttributeError, match=r"'inngest_serverless.gcp' has no attribute 'hanlder'"
    ):
        gcp.hanlder  # type: ignore[attr-defined] # noqa: B018  # a slip


def test_the_blocking_handler_loads_no_web_framework_before_it_is_called() -> None:
    code = "import inngest_serverless.gcp, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    heavy = {"asyncio", "flask", "functions_framework", "httpx", "pydantic", "starlette"}
    assert loaded & heavy == set()


def test_a_handler_that_is_given_an_event_says_how_to_deploy_it() -> None:
    event = CloudEvent({"type": "google.cloud.pubsub", "source": "//pubsub"}, {})
    with pytest.raises(TypeError, match="was called with a CloudEvent; deploy it with"):
        gcp.handler(event)  # type: ignore[arg-type]  # as functions-framework would
    with pytest.raises(TypeError, match="was called with a CloudEvent; deploy it with"):
        asyncio.run(awaited(gcp.async_handler(event)))  # type: ignore[arg-type]  # likewise


def test_a_fault_of_the_server_is_answered_too(caplog: pytest.LogCaptureFixture) -> None:
    broken = flask_request(Asked())
    del broken.environ["wsgi.input"]
    answer = gcp.serve(CLIENT)(broken)
    assert answer.status_code == 500
    assert answer.headers["x-inngest-sdk"]
    assert isinstance(answer, FlaskResponse)
    assert "the Google Cloud entrypoint failed with KeyError" in said_in(answer.data)
    assert "please report this as a bug" in caplog.text


def test_a_fault_of_the_async_server_is_answered_too(caplog: pytest.LogCaptureFixture) -> None:
    broken = starlette_request(Asked())
    del broken.scope["path"]
    answer = asyncio.run(awaited(gcp.serve_async(CLIENT)(broken)))
    assert answer.status_code == 500
    assert answer.headers["x-inngest-sdk"]
    assert "the Google Cloud entrypoint failed with KeyError" in said_in(bytes(answer.body))
    assert "please report this as a bug" in caplog.text


def test_the_region_of_the_host_is_told() -> None:
    asked = Asked("GET", headers={"host": "us-central1-shop.cloudfunctions.net"})
    answer = gcp.serve(CLIENT)(flask_request(asked))
    assert answer.headers["x-inngest-platform"] == "gcp-us-central1"


@pytest.fixture(name="shop")
def shop_fixture() -> Inngest:
    client = Inngest(app_id="shop", is_production=False)

    @client.create_function(fn_id="plain", trigger=TriggerEvent(event="shop/plain"))
    def plain(ctx: ContextSync) -> object:
        return ctx.event.data

    return client


CALL = Asked(query=b"fnId=shop-plain&stepId=step", body=call_body({"n": 1}))


def test_a_stream_that_is_forced_begins_at_once(shop: Inngest) -> None:
    answer = gcp.serve(shop, streaming=Streaming.FORCE)(flask_request(CALL))
    assert isinstance(answer, FlaskResponse)
    first, *_, document = answer.iter_encoded()
    assert (answer.status_code, first, json.loads(document)["status"]) == (201, b" ", 200)


def test_an_async_stream_that_is_forced_begins_at_once(shop: Inngest) -> None:
    async def chunks() -> list[bytes]:
        answer = await gcp.serve_async(shop, streaming=Streaming.FORCE)(starlette_request(CALL))
        assert isinstance(answer, StreamingResponse)
        assert answer.status_code == 201
        return [bytes(chunk) async for chunk in answer.body_iterator if not isinstance(chunk, str)]

    first, *_, document = asyncio.run(chunks())
    assert (first, json.loads(document)["status"]) == (b" ", 200)


def test_a_handler_made_for_flask_refuses_a_request_of_starlette(shop: Inngest) -> None:
    answer = gcp.serve(shop)(starlette_request(CALL))  # type: ignore[arg-type]  # the mistake
    assert isinstance(answer, StarletteResponse)
    assert answer.status_code == 500
    assert "deploy inngest_serverless.gcp.async_handler" in said_in(bytes(answer.body))


def test_an_app_that_cannot_be_found_is_answered_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INNGEST_APP", "no_such_module:client")
    answer = gcp.handler(flask_request(CALL))
    assert isinstance(answer, FlaskResponse)
    assert "there is no module 'no_such_module'" in said_in(answer.data)
    assert "there is no module 'no_such_module'" in caplog.text


def said_in(body: bytes) -> str:
    return str(json.loads(body)["message"])


async def awaited(value: Awaitable[T]) -> T:
    return await value
