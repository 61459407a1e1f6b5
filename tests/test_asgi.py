"""The app under an ASGI server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from inngest_sdk.client import Inngest
from inngest_sdk.config import Streaming
from inngest_sdk.endpoint import Entrypoint
from inngest_sdk.function import TriggerEvent
from inngest_serverless import asgi
from inngest_serverless.discovery import LazyClient

Message = dict[str, Any]


def shop() -> Inngest:
    client = Inngest(app_id="shop", is_production=False, api_base_url="http://127.0.0.1:1")

    @client.create_function(fn_id="order", trigger=TriggerEvent(event="shop/order.placed"))
    async def order(ctx: Any) -> object:
        return {"paid": ctx.event.data["total"]}

    @client.create_function(fn_id="sync", trigger=TriggerEvent(event="shop/sync"))
    def sync_order(ctx: Any) -> object:
        return {"paid": ctx.event.data["total"]}

    return client


APP = asgi.serve(shop())
CALL = json.dumps(
    {
        "event": {"id": "01J", "name": "shop/order.placed", "data": {"total": "9,90 €"}, "ts": 1},
        "events": [],
        "steps": {},
        "ctx": {"run_id": "01JCX4V1W7Q3N5S8", "attempt": 0, "stack": {"stack": [], "current": 0}},
    }
).encode()


def scope_of(method: str = "GET", target: str = "/api/inngest", **fields: Any) -> Message:
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(b"host", b"shop.example")],
        "server": ("10.0.0.7", 8080),
        **fields,
    }


def exchange(app: asgi.ASGIApp, scope: Message, *messages: Message) -> list[Message]:
    """Play the server: hand out these messages, collect what the app sends."""
    waiting = list(messages)
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(_run(app, scope, receive, send))
    return sent


async def _run(app: asgi.ASGIApp, *arguments: Any) -> None:
    await app(*arguments)


def request(body: bytes = b"", more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def answer_of(sent: list[Message]) -> tuple[int, Mapping[bytes, bytes], Any]:
    start, body = sent
    assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
    headers = dict(start["headers"])
    assert headers[b"content-length"] == str(len(body["body"])).encode()
    return start["status"], headers, json.loads(body["body"])


def test_a_get_describes_the_app() -> None:
    status, headers, said = answer_of(exchange(APP, scope_of(), request()))
    assert (status, said["function_count"]) == (200, 2)
    assert headers[b"x-inngest-sdk"]
    assert headers[b"x-inngest-framework"] == b"asgi"


@pytest.mark.parametrize("fn_id", ["shop-order", "shop-sync"])
def test_a_call_runs_its_function_however_its_body_is_cut(fn_id: str) -> None:
    scope = scope_of("POST", f"/api/inngest?fnId={fn_id}&stepId=step")
    pieces = [request(CALL[i : i + 7], more=i + 7 < len(CALL)) for i in range(0, len(CALL), 7)]
    status, _, said = answer_of(exchange(APP, scope, *pieces))
    assert (status, said) == (200, {"paid": "9,90 €"})


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("POST", "/?fnId=shop-refund&stepId=step", CALL, 404),
        ("POST", "/?fnId=shop-order&stepId=step", b"{", 400),
        ("POST", "/?fnId=shop-order&stepId=step", b"", 400),
        ("POST", "/", CALL, 400),
        ("DELETE", "/", b"", 405),
        ("PUT", "/", b"", 502),
    ],
)
def test_what_cannot_be_answered_is_refused_readably(
    method: str, target: str, body: bytes, status: int
) -> None:
    found, headers, said = answer_of(exchange(APP, scope_of(method, target), request(body)))
    assert found == status
    assert said["message"]
    assert headers[b"x-inngest-sdk"]


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "http://shop.example/api/inngest"),
        ({"scheme": "https"}, "https://shop.example/api/inngest"),
        ({"root_path": "/shop"}, "http://shop.example/shop/api/inngest"),
        ({"root_path": "/shop/"}, "http://shop.example/shop/api/inngest"),
        ({"root_path": "/shop", "path": "/shop/x"}, "http://shop.example/shop/x"),
        ({"root_path": "/shop", "path": "/shop"}, "http://shop.example/shop"),
        ({"root_path": "/shop", "path": "/shopping"}, "http://shop.example/shop/shopping"),
        ({"path": "/ü #?%"}, "http://shop.example/%C3%BC%20%23%3F%25"),
        ({"query_string": b"a=%20&b=c+d"}, "http://shop.example/api/inngest?a=%20&b=c+d"),
        ({"query_string": b"a=#\xff"}, "http://shop.example/api/inngest?a=%23%FF"),
        ({"headers": []}, "http://10.0.0.7:8080/api/inngest"),
        ({"headers": [(b"host", b"evil/@x")]}, "http://10.0.0.7:8080/api/inngest"),
        ({"headers": [], "server": ("::1", 80)}, "http://[::1]:80/api/inngest"),
        ({"headers": [], "server": ("/run/app.sock", None)}, "http:///run/app.sock/api/inngest"),
        ({"headers": [], "server": None}, "http://localhost/api/inngest"),
    ],
)
def test_the_url_is_rebuilt(fields: Message, url: str) -> None:
    assert asgi.request_from(scope_of(**fields), b"").url == url


@pytest.mark.parametrize(
    ("scheme", "forwarded", "said"),
    [
        ("http", "https", "https"),
        ("http", "HTTPS, http", "https"),
        ("http", "http, https", "http"),
        ("http", "gopher", "http"),
        # A header cannot undo the TLS that the server itself speaks.
        ("https", "http", "https"),
    ],
)
def test_a_proxys_scheme_counts_upwards_only(scheme: str, forwarded: str, said: str) -> None:
    headers = [(b"host", b"shop.example"), (b"x-forwarded-proto", forwarded.encode())]
    url = asgi.request_from(scope_of(scheme=scheme, headers=headers), b"").url
    assert url == f"{said}://shop.example/api/inngest"


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    app = asgi.serve(shop(), max_body_bytes=10)
    scope = scope_of("POST", headers=[(b"Content-Length", b"11")])
    status, _, said = answer_of(exchange(app, scope))
    assert status == 413
    assert "at most 10 are taken" in said["message"]


def test_a_body_that_hides_its_size_is_refused_as_it_comes() -> None:
    app = asgi.serve(shop(), max_body_bytes=10)
    pieces = [request(b"123456", more=True), request(b"789012", more=True)]
    assert answer_of(exchange(app, scope_of("POST"), *pieces))[0] == 413


def test_a_client_that_hangs_up_while_sending_is_left_alone() -> None:
    gone = {"type": "http.disconnect"}
    assert exchange(APP, scope_of("POST"), request(b"{", more=True), gone) == []


def test_a_client_that_hangs_up_while_waiting_does_no_harm() -> None:
    async def receive() -> Message:
        return request()

    async def send(message: Any) -> None:
        raise OSError("the connection is closed")

    asyncio.run(_run(APP, scope_of(), receive, send))


def test_a_websocket_is_closed() -> None:
    scope = {"type": "websocket", "path": "/"}
    sent = exchange(APP, scope, {"type": "websocket.connect"})
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_another_protocol_is_declined() -> None:
    with pytest.raises(NotImplementedError, match="'carrier-pigeon'"):
        exchange(APP, {"type": "carrier-pigeon"})


STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}


def test_the_lifespan_is_followed() -> None:
    sent = exchange(APP, {"type": "lifespan"}, STARTUP, SHUTDOWN)
    assert [m["type"] for m in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def unfindable() -> asgi.ASGIApp:
    lazy = LazyClient({"INNGEST_APP": "no_such_module:client"})
    return asgi._application(lazy.get, Entrypoint("asgi", "asgi"), 100)


def test_a_server_does_not_start_without_its_app() -> None:
    (message,) = exchange(unfindable(), {"type": "lifespan"}, STARTUP)
    assert message["type"] == "lifespan.startup.failed"
    assert "there is no module 'no_such_module'" in message["message"]


def test_without_a_lifespan_each_request_is_told_why_there_is_no_app() -> None:
    status, headers, said = answer_of(exchange(unfindable(), scope_of(), request()))
    assert status == 500
    assert "there is no module 'no_such_module'" in said["message"]
    assert headers[b"x-inngest-no-retry"] == b"false"


def test_a_fault_of_the_server_is_answered_too() -> None:
    scope = scope_of()
    del scope["path"]
    status, headers, said = answer_of(exchange(APP, scope, request()))
    assert status == 500
    assert said["message"] == "the ASGI entrypoint failed with KeyError; see the server's log"
    assert headers[b"x-inngest-sdk"]


@asynccontextmanager
async def served(app: asgi.ASGIApp) -> AsyncIterator[str]:
    """The URL of the app under uvicorn."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, ws="none", log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/api/inngest"
    server.should_exit = True
    await serving


def test_the_app_runs_under_a_real_server() -> None:
    async def ask() -> tuple[httpx.Response, httpx.Response]:
        async with served(APP) as url, httpx.AsyncClient(trust_env=False) as web:
            description = await web.get(url)
            call = {"fnId": "shop-order", "stepId": "step"}
            return description, await web.post(url, params=call, content=CALL)

    description, paid = asyncio.run(ask())
    assert description.json()["function_count"] == 2
    assert (paid.status_code, paid.json()) == (200, {"paid": "9,90 €"})


# --- streams ----------------------------------------------------------------------------------


def gated(streaming: Streaming, gate: asyncio.Event) -> asgi.ASGIApp:
    """An app whose function waits for the gate, and whose streams beat fast."""
    client = Inngest(app_id="shop", is_production=False, streaming=streaming)

    @client.create_function(fn_id="order", trigger=TriggerEvent(event="shop/order.placed"))
    async def order(ctx: Any) -> object:
        await gate.wait()
        return {"paid": "9,90 €"}

    front = Entrypoint("asgi", "asgi", can_stream=True, heartbeat_seconds=0.001)
    return asgi._application(lambda: client, front, asgi.MAX_BODY_BYTES)


@pytest.mark.parametrize("streaming", [Streaming.ALLOW, Streaming.FORCE])
def test_a_slow_answer_comes_bit_by_bit_from_a_real_server(streaming: Streaming) -> None:
    async def ask() -> tuple[httpx.Response, list[bytes], bytes]:
        gate = asyncio.Event()
        async with served(gated(streaming, gate)) as url, httpx.AsyncClient(trust_env=False) as web:
            call = {"fnId": "shop-order", "stepId": "step"}
            async with web.stream("POST", url, params=call, content=CALL) as response:
                chunks = response.aiter_raw()
                early = [await anext(chunks), await anext(chunks)]
                gate.set()
                return response, early, b"".join([chunk async for chunk in chunks])

    response, early, rest = asyncio.run(ask())
    assert response.status_code == 201
    assert response.headers["x-inngest-req-version"] == "2"
    assert "content-length" not in response.headers
    assert b"".join(early).isspace()
    document = json.loads(rest)
    assert (document["status"], json.loads(document["body"])) == (200, {"paid": "9,90 €"})


def test_an_answer_that_is_soon_ready_is_no_stream() -> None:
    app = asgi.serve(shop(), streaming=Streaming.ALLOW)
    scope = scope_of("POST", "/?fnId=shop-order&stepId=step")
    status, headers, said = answer_of(exchange(app, scope, request(CALL)))
    assert (status, said) == (200, {"paid": "9,90 €"})
    assert b"server-timing" in headers


def test_a_stream_that_is_forced_begins_at_once() -> None:
    app = asgi.serve(shop(), streaming=Streaming.FORCE)
    scope = scope_of("POST", "/?fnId=shop-order&stepId=step")
    start, first, document, end = exchange(app, scope, request(CALL))
    assert (start["status"], first["body"], json.loads(document["body"])["status"]) == (
        *(201, b" "),
        200,
    )
    assert [message.get("more_body", False) for message in (first, document, end)] == [
        *(True, True),
        False,
    ]


def test_a_client_that_hangs_up_leaves_its_work_to_end() -> None:
    async def hang_up() -> bool:
        gate, ended = asyncio.Event(), asyncio.Event()
        client = Inngest(app_id="shop", is_production=False)

        @client.create_function(fn_id="order", trigger=TriggerEvent(event="shop/order.placed"))
        async def order(ctx: Any) -> None:
            await gate.wait()
            ended.set()

        async def receive() -> Message:
            return request(CALL)

        async def send(message: Any) -> None:
            gate.set()
            raise OSError("the connection is closed")

        scope = scope_of("POST", "/?fnId=shop-order&stepId=step")
        await asgi.serve(client, streaming=Streaming.FORCE)(scope, receive, send)
        return await ended.wait()

    assert asyncio.run(hang_up())
