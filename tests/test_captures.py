"""The recorded calls of a real server, through the Lambda handler: same ids, kinds and statuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from inngest_sdk.drive import drive
from inngest_sdk.endpoint import Entrypoint
from inngest_sdk.endpoint import serve as serve_core
from inngest_sdk.http import Response
from inngest_serverless import Inngest, aws
from tests.captures.recorded import Exchange, exchanges
from tests.captures.shop import shop

KEY = "7468697320697320612074657374206b6579"
DEV = [each for each in exchanges("py-dev") if each.to_app and each.request.method == "POST"]
SIGNED = [each for each in exchanges("py-signed") if each.to_app]
SIGNED_CALLS = [each for each in SIGNED if each.request.method == "POST"]


class Recording(ThreadingHTTPServer):
    """Answers what the app asks with what the real server had answered by a line of the capture."""

    line = 0
    answers: ClassVar = [each for each in exchanges("py-dev") if not each.to_app]

    def answer(self, method: str, path: str) -> Response:
        asked = [
            each
            for each in self.answers
            if (each.request.method, urlsplit(each.request.url).path) == (method, path)
        ]
        return max(asked, key=lambda each: (each.line < self.line, each.line)).answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    def answer(self) -> None:
        assert isinstance(self.server, Recording)
        self.rfile.read(int(self.headers.get("content-length") or 0))
        recorded = self.server.answer(self.command, self.path)
        self.send_response(recorded.status)
        self.send_header("content-length", str(len(recorded.body)))
        self.end_headers()
        self.wfile.write(recorded.body)

    do_GET = do_POST = answer

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture(scope="module")
def server() -> Iterator[Recording]:
    with Recording(("127.0.0.1", 0), Answering) as http:
        Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield http
        http.shutdown()


def connected(server: Recording, each: Exchange, **settings: Any) -> Inngest:
    """The app, with the recording at this exchange for its server."""
    server.line = each.line
    return shop(api_base_url=server.url, event_api_base_url=server.url, **settings)


def function_url_event(each: Exchange) -> dict[str, Any]:
    url = urlsplit(each.request.url)
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": url.path,
        "rawQueryString": url.query,
        "headers": dict(each.request.headers),
        "requestContext": {
            "domainName": "abc.lambda-url.eu-central-1.on.aws",
            "http": {"method": each.request.method, "path": url.path},
            "stage": "$default",
        },
        "body": each.request.body.decode(),
        "isBase64Encoded": False,
    }


def kinds(answer_body: Any) -> Any:
    """Of ops, who they are and what they are; of anything else, nothing."""
    if not isinstance(answer_body, list) or not all(
        isinstance(op, dict) and "op" in op for op in answer_body
    ):
        return None
    return [(op["id"], op["op"], op["displayName"]) for op in answer_body]


def compare(each: Exchange, status: int, body: Any) -> None:
    recorded = json.loads(each.answer.body)
    assert status == each.answer.status
    assert kinds(body) == kinds(recorded)
    if status == 200 and b"characters cut" not in each.request.body and "big" not in each.name:
        assert body == recorded
    if status == 500:
        assert (body["name"], body["message"]) == (recorded["name"], recorded["message"])


@pytest.mark.parametrize("each", DEV, ids=lambda each: each.name)
def test_a_recorded_call_is_answered_alike_through_the_lambda_handler(
    each: Exchange, server: Recording
) -> None:
    client = connected(server, each, is_production=False)
    answer = aws.serve(client)(function_url_event(each), None)
    compare(each, answer["statusCode"], json.loads(answer["body"]))


def test_the_captures_hold_every_kind_of_call() -> None:
    assert len(DEV) == 50
    found = {op["op"] for each in DEV for op in _ops(json.loads(each.answer.body))}
    assert found >= {
        "StepRun",
        "StepError",
        "StepFailed",
        "StepPlanned",
        "Sleep",
        "WaitForEvent",
        "InvokeFunction",
    }


def _ops(body: Any) -> list[dict[str, Any]]:
    return (
        [op for op in body if isinstance(op, dict) and "op" in op] if isinstance(body, list) else []
    )


@pytest.mark.parametrize("each", SIGNED_CALLS, ids=lambda each: each.name)
def test_a_recorded_signature_is_accepted_at_its_time(each: Exchange, server: Recording) -> None:
    client = connected(server, each, signing_key=KEY, event_key="NO_EVENT_KEY_SET")
    flow = serve_core(client, each.request, Entrypoint("test", "test"), now=each.at)
    answer = drive(flow)
    if each.whole:
        compare(each, answer.status, answer.json())
    else:
        assert answer.status == 401


@pytest.mark.parametrize("prefix", ["", "signkey-prod-", "signkey-test-"])
def test_the_key_may_have_a_prefix(prefix: str) -> None:
    each = next(each for each in SIGNED_CALLS if each.whole)
    client = shop(signing_key=prefix + KEY)
    answer = drive(serve_core(client, each.request, Entrypoint("test", "test"), now=each.at))
    assert answer.status == each.answer.status


@pytest.mark.parametrize(
    ("late", "status"), [(-301, 401), (-299, None), (0, None), (299, None), (302, 401)]
)
def test_a_recorded_signature_is_good_for_five_minutes(late: int, status: int | None) -> None:
    each = next(each for each in SIGNED_CALLS if each.whole)
    flow = serve_core(shop(signing_key=KEY), each.request, Entrypoint("t", "t"), now=each.at + late)
    assert drive(flow).status == (status or each.answer.status)
