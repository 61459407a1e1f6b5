"""Answers that leave as a stream, pulled by a blocking server and by one with a loop."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any, Literal

import pytest

from inngest_sdk import signing, streaming
from inngest_sdk.config import Streaming
from inngest_sdk.endpoint import Entrypoint
from inngest_sdk.http import Request, Response, dumps
from inngest_sdk.streaming import Streamed
from inngest_serverless import Context, ContextSync, Inngest, RetryAfterError, TriggerEvent, aws
from tests.sdk.play import NOW, Mode, app

KEY = "signkey-test-" + "ab" * 32
URL = "http://app/api/inngest"
CALL = {
    "ctx": {"run_id": "01RUN", "attempt": 0, "max_attempts": 4, "stack": {"stack": []}},
    "event": {"name": "a/b", "data": {}, "ts": 1},
}
ALLOW, DISABLE, FORCE = Streaming.ALLOW, Streaming.DISABLE, Streaming.FORCE
Form = Literal["pulled", "on a loop"]


def front(mode: Streaming | None, heartbeat: float = 60.0, **facts: Any) -> Entrypoint:
    facts = {"can_stream": True, **facts}
    return Entrypoint("test", "cloud", streaming=mode, heartbeat_seconds=heartbeat, **facts)


def post(query: str = "fnId=shop-f&stepId=step", **fields: Any) -> Request:
    return Request("POST", f"{URL}?{query}", {}, dumps({**CALL, **fields}))


def signed(request: Request) -> Request:
    signature = signing.sign(KEY, request.body, int(NOW))
    headers = {"x-inngest-signature": signature}
    return Request(request.method, request.url, headers, request.body)


def define(handler: Callable[[Any], Any], **settings: Any) -> Inngest:
    client = app(**settings) if settings else app()
    client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))(handler)
    return client


class Server:
    """Serves in one of the two forms, and hides which."""

    def __init__(self, form: Form) -> None:
        self.loop = asyncio.new_event_loop() if form == "on a loop" else None

    def ask(self, client: Inngest, request: Request, entrypoint: Entrypoint) -> Response | Stream:
        if self.loop is None:
            answer = streaming.serve(client, request, entrypoint, now=NOW)
            return answer if isinstance(answer, Response) else Stream(answer, answer.chunks)
        served = streaming.serve_async(client, request, entrypoint, now=NOW)
        streamed = self.loop.run_until_complete(served)
        if isinstance(streamed, Response):
            return streamed
        return Stream(streamed, self._pulled(streamed.chunks))

    def _pulled(self, chunks: AsyncIterator[bytes]) -> Iterator[bytes]:
        assert self.loop is not None

        async def following() -> bytes | None:
            return await anext(chunks, None)

        while (chunk := self.loop.run_until_complete(following())) is not None:
            yield chunk

    def wait(self, event: threading.Event) -> bool:
        if self.loop is None:
            return event.wait(30)
        return self.loop.run_until_complete(asyncio.to_thread(event.wait, 30))

    def close(self) -> None:
        if self.loop is not None:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()


class Stream:
    """A stream as a client sees it."""

    def __init__(self, head: Streamed[Any], chunks: Iterator[bytes]) -> None:
        self.status, self.headers = head.status, head.headers
        self.chunks = chunks

    def document(self) -> dict[str, Any]:
        """The rest of the stream, which is blanks and one document."""
        *blanks, last = self.chunks
        assert set(blanks) <= {b" "}
        assert (last[:1], last[-1:]) == (b"{", b"}")
        document: dict[str, Any] = json.loads(last)
        assert document.keys() == {"status", "headers", "body"}
        assert {type(text) for text in document["headers"].values()} == {str}
        return document


@pytest.fixture(params=["pulled", "on a loop"], name="server")
def server_fixture(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(request.param)
    yield server
    server.close()


@pytest.fixture(params=["sync", "async"], name="mode")
def mode_fixture(request: pytest.FixtureRequest) -> Any:
    return request.param


def waiting(mode: Mode, gate: threading.Event) -> Callable[[Any], Any]:
    """A function that goes on when the test opens the gate."""

    def sync_function(ctx: ContextSync) -> object:
        return {"opened": gate.wait(30)}

    async def async_function(ctx: Context) -> object:
        return {"opened": await asyncio.to_thread(gate.wait, 30)}

    return sync_function if mode == "sync" else async_function


def streamed(answer: Response | Stream) -> Stream:
    assert isinstance(answer, Stream)
    return answer


def plain(answer: Response | Stream) -> Response:
    assert isinstance(answer, Response)
    return answer


def test_a_slow_answer_is_blanks_until_it_is_there(server: Server, mode: Mode) -> None:
    gate = threading.Event()
    client = define(waiting(mode, gate))

    stream = streamed(server.ask(client, post(), front(ALLOW, 0.001)))
    heard = [next(stream.chunks) for _ in range(3)]
    gate.set()
    document = stream.document()

    assert (stream.status, heard) == (201, [b" "] * 3)
    assert (document["status"], json.loads(document["body"])) == (200, {"opened": True})


def test_the_head_and_the_document_both_say_that_an_sdk_answers(server: Server) -> None:
    stream = streamed(server.ask(define(lambda ctx: None), post(), front(FORCE)))

    for headers in (stream.headers, stream.document()["headers"]):
        assert headers["x-inngest-sdk"].startswith("inngest-serverless:v")
        assert headers["x-inngest-req-version"] == "2"
        assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("argument", "setting", "is_stream"),
    [
        (None, None, False),
        (None, DISABLE, False),
        (None, ALLOW, False),
        (None, FORCE, True),
        (ALLOW, FORCE, False),
        (DISABLE, FORCE, False),
        (FORCE, DISABLE, True),
    ],
)
def test_an_answer_that_is_soon_ready_streams_only_when_forced(
    argument: Streaming | None, setting: Streaming | None, is_stream: bool, server: Server
) -> None:
    client = define(lambda ctx: {"n": 1}, streaming=setting)

    answer = server.ask(client, post(), front(argument))

    if is_stream:
        stream = streamed(answer)
        assert next(stream.chunks) == b" "
        assert stream.document()["body"] == '{"n":1}'
    else:
        assert (plain(answer).status, plain(answer).json()) == (200, {"n": 1})


def test_the_environment_forces_it_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNGEST_STREAMING", "force")

    assert (
        streamed(server.ask(define(lambda ctx: 1), post(), front(None))).document()["body"] == "1"
    )


def test_an_error_is_a_document_with_what_the_server_reads_of_errors(
    server: Server, mode: Mode
) -> None:
    def fail() -> None:
        raise RetryAfterError("busy", 5_000)

    async def async_function(ctx: Context) -> None:
        await ctx.step.run("x", fail)

    def sync_function(ctx: ContextSync) -> None:
        ctx.step.run("x", fail)

    client = define(sync_function if mode == "sync" else async_function)
    document = streamed(server.ask(client, post(), front(FORCE))).document()

    assert document["status"] == 206
    assert document["headers"]["retry-after"] == "5"
    assert document["headers"]["x-inngest-no-retry"] == "false"
    assert json.loads(document["body"])[0]["error"]["message"] == "busy"


@pytest.mark.parametrize("mode_", [ALLOW, FORCE])
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(), 401),
        (signed(post("fnId=shop-nope")), 404),
        (signed(Request("POST", f"{URL}?fnId=shop-f", {}, b"{")), 400),
        (signed(post("probe=trust")), 200),
        (post("approval=forged"), 403),  # the form of an approval's page
        (signed(Request("GET", URL)), 200),
        (Request("PUT", URL), 502),
        (Request("DELETE", URL), 405),
    ],
)
def test_what_calls_no_function_is_answered_with_its_own_status(
    request_: Request, status: int, mode_: Streaming, server: Server
) -> None:
    client = Inngest(app_id="shop", signing_key=KEY, api_base_url="http://127.0.0.1:1")
    client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))(lambda ctx: None)

    assert plain(server.ask(client, request_, front(mode_))).status == status


def test_a_stream_is_unsigned_and_an_answer_that_is_soon_ready_is_signed(server: Server) -> None:
    client = Inngest(app_id="shop", signing_key=KEY)
    client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))(lambda ctx: None)

    stream = streamed(server.ask(client, signed(post()), front(FORCE)))
    soon = plain(server.ask(client, signed(post()), front(ALLOW)))

    assert "x-inngest-signature" not in {**stream.headers, **stream.document()["headers"]}
    assert "x-inngest-signature" in soon.headers


@pytest.mark.parametrize("request_", [post(), Request("PUT", URL)])
def test_a_platform_that_cannot_stream_says_so_when_it_must(
    request_: Request, server: Server
) -> None:
    answer = plain(server.ask(define(lambda ctx: 1), request_, front(FORCE, can_stream=False)))

    assert (answer.status, answer.json()["name"]) == (500, "ConfigError")
    assert "this platform (test) cannot stream" in answer.json()["message"]
    assert "INNGEST_STREAMING" in answer.json()["message"]


def test_a_platform_that_cannot_stream_is_asked_what_it_serves_all_the_same(
    server: Server,
) -> None:
    cannot = front(FORCE, can_stream=False)

    assert plain(server.ask(define(lambda ctx: 1), Request("GET", URL), cannot)).status == 200


def test_a_platform_that_cannot_stream_and_need_not_waits(server: Server, mode: Mode) -> None:
    gate = threading.Event()
    gate.set()

    answer = server.ask(define(waiting(mode, gate)), post(), front(ALLOW, 0.001, can_stream=False))

    assert plain(answer).json() == {"opened": True}


@pytest.mark.parametrize(("mode_", "status"), [(ALLOW, 200), (FORCE, 500)])
def test_lambda_cannot_stream_without_its_runtime(mode_: Streaming, status: int) -> None:
    handler = aws.serve(define(lambda ctx: 1), streaming=mode_)
    event = {
        "version": "2.0",
        "rawPath": "/api/inngest",
        "rawQueryString": "fnId=shop-f&stepId=step",
        "headers": {},
        "requestContext": {"domainName": "shop.example", "http": {"method": "POST"}},
        "body": json.dumps(CALL),
    }

    answer = handler(event, None)

    assert answer["statusCode"] == status
    assert ("this platform (aws-lambda) cannot stream" in answer["body"]) is (status == 500)


def test_what_is_no_streaming_is_answered_with_what_is(server: Server) -> None:
    text: Any = "force"

    answer = plain(server.ask(define(lambda ctx: 1), post(), front(text)))

    assert "streaming is 'force'; it takes Streaming.ALLOW" in answer.json()["message"]


def test_state_that_cannot_be_fetched_is_a_document(server: Server) -> None:
    client = define(lambda ctx: 1, api_base_url="http://127.0.0.1:1")
    large = post(ctx={"run_id": "01RUN", "attempt": 0, "use_api": True})

    document = streamed(server.ask(client, large, front(FORCE))).document()

    assert document["status"] == 500
    assert json.loads(document["body"])["code"] == "state_unavailable"


def test_work_that_breaks_down_is_a_document(caplog: pytest.LogCaptureFixture) -> None:
    def interrupted(ctx: ContextSync) -> None:
        raise KeyboardInterrupt

    stream = streamed(Server("pulled").ask(define(interrupted), post(), front(FORCE)))
    document = stream.document()

    assert (document["status"], document["headers"]["x-inngest-no-retry"]) == (500, "false")
    assert "broke down with KeyboardInterrupt" in json.loads(document["body"])["message"]
    assert "broke down with KeyboardInterrupt" in caplog.text


def test_work_that_is_cancelled_is_a_document(caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> bytes:
        me = asyncio.current_task()

        async def cancels_its_call(ctx: Context) -> None:
            for task in asyncio.all_tasks() - {me, asyncio.current_task()}:
                task.cancel()
            await asyncio.Event().wait()

        client = define(cancels_its_call)
        stream = await streaming.serve_async(client, post(), front(FORCE), now=NOW)
        assert isinstance(stream, Streamed)
        return b"".join([chunk async for chunk in stream.chunks])

    document = json.loads(asyncio.run(ask()))

    assert document["status"] == 500
    assert "was cancelled" in json.loads(document["body"])["message"]
    assert "was cancelled" in caplog.text


def test_work_goes_on_when_nobody_waits_for_it(server: Server, mode: Mode) -> None:
    gate, ended = threading.Event(), threading.Event()
    wait = waiting(mode, gate)

    def sync_function(ctx: ContextSync) -> None:
        wait(ctx)
        ended.set()

    async def async_function(ctx: Context) -> None:
        await wait(ctx)
        ended.set()

    client = define(sync_function if mode == "sync" else async_function)
    stream = streamed(server.ask(client, post(), front(FORCE)))
    assert next(stream.chunks) == b" "
    stream.chunks.close()  # type: ignore[attr-defined] # both are generators
    gate.set()

    assert server.wait(ended)


def test_a_document_over_the_limit_becomes_one_that_names_it(server: Server) -> None:
    client = define(lambda ctx: '"' * 1000)
    small = front(FORCE, max_response_bytes=3000, limit_name="the load balancer")

    document = streamed(server.ask(client, post(), small)).document()
    failure = json.loads(document["body"])

    assert (document["status"], failure["code"]) == (500, "response_too_large")
    assert "the load balancer (which counts it as the JSON string" in failure["message"]
    assert document["headers"]["x-inngest-no-retry"] == "true"


def test_what_surrounds_a_call_is_there_in_its_thread() -> None:
    tenant: ContextVar[str] = ContextVar("tenant")
    tenant.set("acme")

    stream = Server("pulled").ask(define(lambda ctx: tenant.get()), post(), front(FORCE))

    assert json.loads(streamed(stream).document()["body"]) == "acme"
