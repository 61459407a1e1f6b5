"""What a runtime client is taught, and which are left alone."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from inngest_serverless import ContextSync, Inngest, Streaming, TriggerEvent
from inngest_serverless.aws.entrypoint import Served, _answer
from inngest_serverless.aws.environment import Environment
from inngest_serverless.aws.response_stream import (
    ChunkedAnswer,
    UnknownRuntime,
    _teach,
    runtime_streams,
)
from inngest_serverless.emulators.http_server import HttpRequest, HttpResponse, HttpServer
from tests.aws.door import APPS

PATIENCE = 30.0

# Shaped as AWS's: to 3.x, and since 4.0.
OLDER = """
class Marshaller:
    kind = "usual"
    def marshal_response(self, response):
        return repr(response), "application/json"

class LambdaRuntimeClient:
    marshaller = Marshaller()
    def __init__(self, lambda_runtime_address):
        self.lambda_runtime_address = lambda_runtime_address
    def post_invocation_result(self, invoke_id, result_data, content_type="application/json"):
        return invoke_id, result_data, content_type
"""
NEWER = """
class BaseLambdaRuntimeClient:
    marshaller = Marshaller()
    def __init__(self, lambda_runtime_address, use_thread_for_polling_next=False):
        self.lambda_runtime_address = lambda_runtime_address
        self.handled = []
    def handle_exception(self, error):
        self.handled.append(error)
    def post_invocation_result(
        self, invoke_id, result_data, content_type="application/json", invocation_id=None
    ):
        return invoke_id, result_data, content_type, invocation_id
"""


def play(
    status: int, scenario: Callable[[str], object]
) -> tuple[object, list[tuple[HttpRequest, bytes]]]:
    """Run `scenario` with the address of a Runtime API that answers with this status; gives what
    it returns, and the requests that came, with their bodies."""
    received: list[tuple[HttpRequest, bytes]] = []

    async def answer(request: HttpRequest) -> HttpResponse:
        assert request.stream is not None
        body = b"".join([chunk async for chunk in request.stream.chunks()])
        received.append((request, body))
        return HttpResponse(status, (), b"so it is")

    async def main() -> object:
        server = HttpServer(answer, lambda request: True)
        await server.open("127.0.0.1")
        try:
            return await asyncio.to_thread(scenario, server.address)
        finally:
            await server.close()

    return asyncio.run(asyncio.wait_for(main(), PATIENCE)), received


def taught(source: str, address: str) -> Any:
    module = client_module(source)
    _teach(module)
    _teach(module)  # as two threads might; it changes nothing
    make = getattr(module, "BaseLambdaRuntimeClient", None) or module.LambdaRuntimeClient
    return make(address)


def an_answer() -> ChunkedAnswer:
    return ChunkedAnswer({}, {"statusCode": 200}, iter([b"one ", b"", b"two"]))


@pytest.mark.parametrize(("source", "more"), [(OLDER, []), (OLDER + NEWER, ["i-1"])])
def test_an_answer_in_chunks_is_posted_as_the_runtime_api_takes_it(
    source: str, more: list[str]
) -> None:
    def scenario(address: str) -> object:
        client = taught(source, address)
        result, content_type = client.marshaller.marshal_response(an_answer())
        return client.post_invocation_result("r-1", result, content_type, *more)

    _, [(request, body)] = play(202, scenario)
    assert request.target == "/2018-06-01/runtime/invocation/r-1/response"
    assert request.header("lambda-runtime-function-response-mode") == "streaming"
    assert request.header("content-type") == ("application/vnd.awslambda.http-integration-response")
    assert request.header("lambda-runtime-invocation-id") == "".join(more)
    assert body == b'{"statusCode": 200}' + bytes(8) + b"one two"


def test_all_else_is_posted_as_ever() -> None:
    client = taught(OLDER + NEWER, "127.0.0.1:1")
    assert client.marshaller.kind == "usual"
    assert client.marshaller.marshal_response({"a": 1}) == ("{'a': 1}", "application/json")
    assert client.post_invocation_result("r", "x") == ("r", "x", "application/json", None)
    assert client.post_invocation_result("r", "x", "y", invocation_id="i") == ("r", "x", "y", "i")


def post(client: Any) -> object:
    return client.post_invocation_result("r-1", client.marshaller.marshal_response(an_answer())[0])


def test_a_refused_stream_is_the_runtime_clients_to_handle() -> None:
    def older(address: str) -> object:
        with pytest.raises(RuntimeError, match="refused a streamed answer: 413 b'so it is'"):
            post(taught(OLDER, address))
        return None

    def newer(address: str) -> object:
        client = taught(OLDER + NEWER, address)
        post(client)
        return client.handled

    play(413, older)
    handled, _ = play(413, newer)
    assert [type(error) for error in handled] == [RuntimeError]  # type: ignore[attr-defined]  # a stand-in's own


def test_a_runtime_api_that_is_gone_is_the_runtime_clients_to_handle() -> None:
    client = taught(OLDER + NEWER, "127.0.0.1:1")
    post(client)
    assert [type(error) for error in client.handled] == [ConnectionRefusedError]


def client_module(source: str) -> ModuleType:
    module = ModuleType("lambda_runtime_client")
    exec(source, module.__dict__)
    return module


@pytest.mark.parametrize(
    "source",
    [
        "",
        "class LambdaRuntimeClient: ...",
        # It might stream by itself, or want to know more of a result.
        """class BaseLambdaRuntimeClient:
            marshaller = type("M", (), {"marshal_response": lambda self, response: None})()
            def __init__(self, lambda_runtime_address): ...
            def post_invocation_result(self, invoke_id, result_data, content_type, stream): ...""",
        """class BaseLambdaRuntimeClient:
            def __init__(self, lambda_runtime_address): ...
            def post_invocation_result(self, invoke_id, result_data, content_type): ...""",
        """class BaseLambdaRuntimeClient:
            marshaller = type("M", (), {"marshal_response": lambda self, response: None})()
            def __init__(self, connection): ...
            def post_invocation_result(self, invoke_id, result_data, content_type): ...""",
    ],
)
def test_a_runtime_client_of_another_make_is_left_alone(source: str) -> None:
    with pytest.raises(UnknownRuntime, match="is not one that this package can have stream"):
        _teach(client_module(source))


OFF_THE_RUNTIME = """
import json, logging
logging.basicConfig(format="%(message)s")
import streamed
event = {"version": "2.0", "requestContext": {
    "domainName": "x.lambda-url.eu.on.aws", "http": {"method": "GET"}}}
answers = [streamed.handler(event, None) for _ in range(2)]
assert [type(answer) for answer in answers] == [dict, dict]
print(answers[0]["statusCode"])
"""


def test_answers_leave_whole_where_the_runtime_is_not_known_and_the_log_says_so_once() -> None:
    process = subprocess.run(
        [sys.executable, "-c", OFF_THE_RUNTIME],
        env={
            **os.environ,
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1",
            "INNGEST_DEV": "1",
            "INNGEST_STREAMING": "allow",
        },
        cwd=APPS,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (process.returncode, process.stdout.strip()) == (0, "200"), process.stderr
    assert process.stderr.count("streaming is on, but this process is not run by AWS's") == 1


# --- which answers are in chunks -----------------------------------------------------------------


@pytest.fixture(name="runtime")
def runtime_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process, as if a runtime client ran it that can be taught."""
    module = client_module(OLDER + NEWER)
    monkeypatch.setitem(sys.modules, "awslambdaric.lambda_runtime_client", module)
    runtime_streams.cache_clear()
    yield
    runtime_streams.cache_clear()


ON_LAMBDA = Environment(has_runtime_api=True)


def shop(streaming: Streaming) -> Inngest:
    client = Inngest(app_id="shop", is_production=False, streaming=streaming)

    @client.create_function(fn_id="order", trigger=TriggerEvent(event="shop/order"))
    def order(ctx: ContextSync) -> str:
        return "done"

    return client


def answered(served: Served, event: dict[str, Any]) -> tuple[dict[str, Any], bytes | None]:
    """What is told of an answer before its body, and the body; None for one that leaves whole."""
    answer = _answer(served, event, None)
    if not isinstance(answer, ChunkedAnswer):
        return answer, None
    return dict(answer.prelude), b"".join(answer.chunks)


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("streaming", [Streaming.ALLOW, Streaming.FORCE])
def test_streaming_puts_every_answer_of_a_url_that_streams_in_chunks(
    streaming: Streaming, front_door_name: str, ask: Callable[..., dict[str, Any]]
) -> None:
    streams = front_door_name in ("function_url", "rest_api")
    event = ask(front_door_name, "GET")
    told, body = answered(Served(lambda: shop(streaming), ON_LAMBDA), event)
    assert told["statusCode"] == 200
    assert (body is not None) is streams
    assert json.loads(told["body"] if body is None else body)["function_count"] == 1


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    ("streaming", "argument", "environment", "chunked"),
    [
        (Streaming.ALLOW, None, ON_LAMBDA, True),
        (Streaming.ALLOW, Streaming.DISABLE, ON_LAMBDA, False),
        (Streaming.DISABLE, Streaming.ALLOW, ON_LAMBDA, True),
        (Streaming.DISABLE, None, ON_LAMBDA, False),
        (Streaming.ALLOW, None, Environment(), False),
    ],
)
def test_who_decides_whether_answers_are_in_chunks(
    streaming: Streaming,
    argument: Streaming | None,
    environment: Environment,
    chunked: bool,
    ask: Callable[..., dict[str, Any]],
) -> None:
    served = Served(lambda: shop(streaming), environment, streaming=argument)
    assert (answered(served, ask("function_url", "GET"))[1] is not None) is chunked


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    ("setting", "chunked"), [("force", True), ("1", True), ("", False), ("no such", False)]
)
def test_an_app_that_cannot_be_loaded_answers_as_the_environment_says(
    setting: str, chunked: bool, ask: Callable[..., dict[str, Any]]
) -> None:
    def broken() -> Inngest:
        raise ImportError("No module named 'orders'")

    environment = Environment(has_runtime_api=True, streaming=setting)
    told, body = answered(Served(broken, environment), ask("function_url", "GET"))
    assert (told["statusCode"], body is not None) == (500, chunked)
    assert b"No module named 'orders'" in (body or told["body"].encode())


@pytest.mark.usefixtures("runtime")
def test_a_copy_of_a_streamed_answer_is_a_stream_that_says_what_is_wrong(
    ask: Callable[..., dict[str, Any]],
) -> None:
    call = json.dumps(
        {
            "event": {"name": "shop/order", "data": {}},
            "ctx": {"run_id": "r", "attempt": 0, "stack": {"stack": [], "current": 0}},
        }
    )
    event = ask("function_url", "POST", "fnId=shop-order&stepId=step", call)
    answer = _answer(Served(lambda: shop(Streaming.FORCE), ON_LAMBDA), event, None)
    assert isinstance(answer, ChunkedAnswer)
    document = json.loads(b"".join(answer.chunks))
    assert (answer["statusCode"], document["status"], document["body"]) == (201, 200, '"done"')
    copied = json.loads({**answer}["body"])
    assert copied["status"] == 500
    assert "a copy without its chunks" in json.loads(copied["body"])["message"]
