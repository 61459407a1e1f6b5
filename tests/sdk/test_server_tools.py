"""Signals, requests, models and messages as steps, in sync and in async functions."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from inngest_sdk.realtime import Topic
from inngest_serverless import StepError, StepOptions, ai
from tests.sdk.play import Mode, app, both, define

Steps = Generator[Any, Any, Any]


@pytest.fixture(params=["sync", "async"])
def mode(request: pytest.FixtureRequest) -> Mode:
    chosen: Mode = request.param
    return chosen


@dataclass
class Api:
    """A server's REST API: keeps what it is asked, answers what the test says."""

    answers: list[tuple[int, Any]] = field(default_factory=list)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            made.asked.append((self.path, json.loads(body)))
            status, answer = made.answers.pop(0)
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as http:
        Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        made.url = f"http://127.0.0.1:{http.server_address[1]}"
        yield made
        http.shutdown()


def test_a_run_waits_for_a_signal_and_gets_what_came_with_it(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        signal = yield ctx.step.wait_for_signal("paid", signal="order/7", timeout="1d")
        return [signal.name, signal.data]

    run = define(both(mode, f))
    [op] = run.ops()
    assert (op["op"], op["displayName"]) == ("WaitForSignal", "paid")
    assert op["opts"] == {"signal": "order/7", "timeout": "24h", "conflict": "fail"}
    run.memo(op, {"data": {"signal": "order/7", "data": {"by": "card"}}})
    assert json.loads(run.call().body) == ["order/7", {"by": "card"}]


def test_a_signal_that_does_not_come_is_none(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        found = yield ctx.step.wait_for_signal(
            "paid", signal="order/7", timeout="1d", on_conflict="replace"
        )
        return found

    run = define(both(mode, f))
    [op] = run.ops()
    assert op["opts"]["conflict"] == "replace"
    run.memo(op, None)
    assert json.loads(run.call().body) is None


def test_a_signal_is_sent_once_as_a_step(mode: Mode, api: Api) -> None:
    def f(ctx: Any) -> Steps:
        return (yield ctx.step.send_signal("tell", signal="order/7", data={"by": "card"}))

    api.answers.append((200, {"data": {"run_id": "02RUN"}}))
    assert define(both(mode, f), app(api_base_url=api.url)).finish() == "02RUN"
    assert api.asked == [("/v1/signals", {"signal": "order/7", "data": {"by": "card"}})]


def test_a_signal_for_nobody_is_final(mode: Mode, api: Api) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.send_signal("tell", signal="order/7")

    api.answers.append((404, {"error": "no run waits for it", "status": 404}))
    [op] = define(both(mode, f), app(api_base_url=api.url)).ops()
    assert (op["op"], op["error"]["name"]) == ("StepFailed", "SignalNotAwaitedError")


def test_a_request_is_made_by_the_server(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        response = yield ctx.step.fetch(
            StepOptions("rates", name="Get rates"), "https://bank.example/rates", body={"of": "EUR"}
        )
        return [response.status_code, response.json(), response.ok]

    run = define(both(mode, f))
    [op] = run.ops()
    assert (op["op"], op["displayName"]) == ("Gateway", "Get rates")
    assert op["opts"]["method"] == "POST"
    answer = {"status_code": 200, "url": "https://bank.example/rates", "headers": {}, "body": "[1]"}
    run.memo(op, {"data": answer})
    assert json.loads(run.call().body) == [200, [1], True]


def test_a_request_without_a_response_is_an_error_to_catch(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        try:
            yield ctx.step.fetch("rates", "https://bank.example/rates")
        except StepError as error:
            return [error.name, error.message]

    run = define(both(mode, f))
    run.memo(run.ops()[0], {"error": {"name": "GatewayError", "message": "refused"}})
    assert json.loads(run.call().body) == ["GatewayError", "refused"]


def test_a_model_is_asked_by_the_server(mode: Mode) -> None:
    model = ai.openai(auth_key="sk-1", model="gpt-5")

    def f(ctx: Any) -> Steps:
        answer = yield ctx.step.ai.infer("sum", adapter=model, body={"messages": []})
        return ai.text_of(answer)

    run = define(both(mode, f))
    [op] = run.ops()
    assert op["op"] == "AIGateway"
    assert op["opts"]["body"] == {"model": "gpt-5", "messages": []}
    run.memo(op, {"data": {"choices": [{"message": {"content": "42"}}]}})
    assert json.loads(run.call().body) == "42"


def test_what_a_provider_says_of_its_failure_is_not_lost(mode: Mode) -> None:
    model = ai.openai(auth_key="sk-1", model="gpt-5")

    def f(ctx: Any) -> Steps:
        try:
            yield ctx.step.ai.infer("sum", adapter=model, body={"messages": []})
        except StepError as error:
            return [error.name, error.message]

    run = define(both(mode, f))
    failure = {"name": "AIGatewayError", "data": {"error": {"code": "quota"}}}
    run.memo(run.ops()[0], {"error": failure})
    assert json.loads(run.call().body) == ["AIGatewayError", "{'error': {'code': 'quota'}}"]


def test_a_model_that_is_called_here_is_shown_as_one(mode: Mode) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.ai.wrap("sum", lambda a, b: a + b, 1, b=2)

    [op] = define(both(mode, f)).ops()
    assert (op["data"], op["opts"]) == (3, {"type": "step.ai.wrap", "input": [1]})


@dataclass
class Progress:
    done: int


PROGRESS = Topic("import:7", "progress", Progress)


def test_a_message_is_published_once_as_a_step(mode: Mode, api: Api) -> None:
    def f(ctx: Any) -> Steps:
        yield ctx.step.realtime.publish("tell", PROGRESS, Progress(done=3))

    api.answers.append((200, {}))
    run = define(both(mode, f), app(api_base_url=api.url))
    [op] = run.ops()
    assert (op["op"], op["opts"]["type"]) == ("StepRun", "step.realtime.publish")
    assert api.asked == [
        ("/v1/realtime/publish?channel=import%3A7&topic=progress", {"done": 3}),
    ]


def test_a_client_publishes_signals_and_makes_tokens(api: Api) -> None:
    client = app(api_base_url=api.url)
    api.answers += [(200, {}), (201, {"jwt": "t0"}), (200, {"data": {"run_id": "02RUN"}})]
    client.publish_sync(Topic("import:7", "log"), "any text")
    token = client.subscription_token_sync("import:7", [PROGRESS])
    assert token.to_json() == {"channel": "import:7", "topics": ["progress"], "key": "t0"}
    assert client.send_signal_sync("order/7") == "02RUN"
    assert [path.partition("?")[0] for path, _ in api.asked] == [
        *("/v1/realtime/publish", "/v1/realtime/token", "/v1/signals")
    ]


async def _async_client(api: Api) -> list[Any]:
    client = app(api_base_url=api.url)
    await client.publish(PROGRESS, Progress(1))
    token = await client.subscription_token("import:7", ["progress"])
    return [token.key, await client.send_signal("order/7", 1)]


def test_an_async_client_does_the_same(api: Api) -> None:
    import asyncio

    api.answers += [(200, {}), (201, {"jwt": "t0"}), (200, {"data": {"run_id": "02RUN"}})]
    assert asyncio.run(_async_client(api)) == ["t0", "02RUN"]
