"""Registering by invoking the function: a script's order, and CloudFormation's."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import pytest

from inngest_sdk.client import Inngest
from inngest_serverless import TriggerEvent, aws
from inngest_serverless.aws.entrypoint import Served, _answer
from inngest_serverless.aws.environment import Environment

Event: TypeAlias = dict[str, Any]

URL = "https://shop.example/api/inngest"


class Recorder:
    """An Inngest server, and the place where CloudFormation waits for its answer: it notes what
    comes and answers as it is told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.statuses = {"/fn/register": [200], "/answer": [200]}
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                headers = {name.lower(): text for name, text in self.headers.items()}
                recorder.requests.append((self.command, self.path, headers, body))
                statuses = recorder.statuses[self.path.partition("?")[0]]
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.end_headers()
                self.wfile.write(b'{"message": "as told"}')

            do_PUT = do_POST

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def registered(self) -> list[str]:
        return [body["url"] for _, path, _, body in self.requests if path == "/fn/register"]

    def answers(self) -> list[Event]:
        return [body for _, path, _, body in self.requests if path.startswith("/answer")]


@pytest.fixture(name="recorder")
def recorder_fixture() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.close()


def shop(recorder: Recorder) -> Inngest:
    client = Inngest(app_id="shop", is_production=False, api_base_url=recorder.origin)

    @client.create_function(fn_id="order", trigger=TriggerEvent(event="shop/order.placed"))
    def order(ctx: Any) -> None: ...

    return client


def sync(**more: object) -> Event:
    return {"inngest": {"action": "sync", **more}}


def custom_resource(recorder: Recorder, kind: str = "Create", **more: object) -> Event:
    return {
        "RequestType": kind,
        "ResponseURL": f"{recorder.origin}/answer?X-Amz-Signature=s3cret",
        "StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/shop/1",
        "RequestId": "9c1e2d3f",
        "ResourceType": "Custom::InngestApp",
        "LogicalResourceId": "Registration",
        "ResourceProperties": {"ServiceToken": "arn:aws:lambda:x", "Url": URL},
        **more,
    }


def test_a_script_registers_the_app_where_it_says_that_it_is(recorder: Recorder) -> None:
    answer = aws.serve(shop(recorder))(sync(url=URL), None)
    assert (answer["statusCode"], recorder.registered()) == (200, [URL])
    assert json.loads(answer["body"])["message"] == "registered 1 function of app 'shop'"


@pytest.mark.parametrize(
    ("origin", "path", "url", "registered"),
    [
        ("https://a.example", "/x", None, "https://a.example/x"),
        ("https://a.example", None, None, "https://a.example/"),
        # What the event names beats the settings, but an origin takes their path.
        ("https://a.example", "/x", URL, URL),
        (None, "/x", "https://f.lambda-url.eu.on.aws/", "https://f.lambda-url.eu.on.aws/x"),
        (None, None, "https://f.lambda-url.eu.on.aws/", "https://f.lambda-url.eu.on.aws/"),
        (None, None, f"{URL}?code=1&fnId=2", f"{URL}?code=1"),
    ],
)  # fmt: skip
def test_the_app_is_registered_where_it_is(
    origin: str | None, path: str | None, url: str | None, registered: str, recorder: Recorder
) -> None:
    handler = aws.serve(shop(recorder), serve_origin=origin, serve_path=path)
    assert handler(sync(url=url), None)["statusCode"] == 200
    assert recorder.registered() == [registered]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "nothing says where the app is"),
        (7, "nothing says where the app is"),
        ("https://[x/", "url is 'https://[x/'"),
        ("shop.example", "serve_origin is"),
    ],
)
def test_a_place_that_cannot_be_is_refused(url: object, message: str, recorder: Recorder) -> None:
    answer = aws.serve(shop(recorder))(sync(url=url), None)
    assert answer["statusCode"] >= 400
    assert message in json.loads(answer["body"])["message"]
    assert recorder.requests == []


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_custom_resource_registers_the_app_and_tells_cloudformation(
    kind: str, recorder: Recorder
) -> None:
    assert aws.serve(shop(recorder))(custom_resource(recorder, kind), None)["ok"] is True
    assert recorder.registered() == [URL]
    method, path, headers, body = recorder.requests[-1]
    assert (method, path) == ("PUT", "/answer?X-Amz-Signature=s3cret")
    assert "content-type" not in headers  # the URL is signed for none
    assert body == {
        "Status": "SUCCESS",
        "Reason": "registered",
        "StackId": "arn:aws:cloudformation:eu-central-1:123456789012:stack/shop/1",
        "RequestId": "9c1e2d3f",
        "LogicalResourceId": "Registration",
        "PhysicalResourceId": "inngest-Registration",
    }


def test_a_physical_id_never_changes(recorder: Recorder) -> None:
    known = custom_resource(recorder, "Update", PhysicalResourceId="inngest-OldName")
    aws.serve(shop(recorder))(known, None)
    assert recorder.answers()[0]["PhysicalResourceId"] == "inngest-OldName"


def test_a_custom_resource_is_deleted_without_the_app(recorder: Recorder) -> None:
    def no_app() -> Inngest:
        raise AssertionError("there is nothing to load it for")

    event = custom_resource(recorder, "Delete")
    assert _answer(Served(no_app, Environment()), event, None)["ok"] is True
    assert [answer["Status"] for answer in recorder.answers()] == ["SUCCESS"]


def test_an_app_that_cannot_be_loaded_fails_the_deployment(recorder: Recorder) -> None:
    def broken() -> Inngest:
        raise ImportError("No module named 'orders'")

    answer = _answer(Served(broken, Environment()), custom_resource(recorder), None)
    assert (answer["ok"], recorder.answers()[0]["Status"]) == (False, "FAILED")
    assert "No module named 'orders'" in recorder.answers()[0]["Reason"]


def test_a_server_that_refuses_fails_the_deployment(recorder: Recorder) -> None:
    recorder.statuses["/fn/register"] = [403]
    aws.serve(shop(recorder))(custom_resource(recorder), None)
    assert recorder.answers()[0]["Status"] == "FAILED"
    assert "answered 403 to the registration: as told" in recorder.answers()[0]["Reason"]


def test_a_fault_of_ours_is_told_without_its_text(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    def odd() -> Inngest:
        return object()  # type: ignore[return-value]  # what no app is

    _answer(Served(odd, Environment()), custom_resource(recorder), None)
    assert recorder.answers()[0]["Status"] == "FAILED"
    assert "AttributeError; see the function's log" in recorder.answers()[0]["Reason"]
    assert "Traceback" in caplog.text


class Hurried:
    """A context of a call that Lambda is about to end."""

    def get_remaining_time_in_millis(self) -> int:
        return 5_500


def test_cloudformation_is_told_before_lambda_ends_the_call(recorder: Recorder) -> None:
    gate = threading.Event()

    def hanging() -> Inngest:
        gate.wait()
        raise ImportError("too late")

    answer = _answer(Served(hanging, Environment()), custom_resource(recorder), Hurried())
    gate.set()
    assert answer["ok"] is False
    assert recorder.answers()[0]["Reason"] == (
        "registering took more than 1 seconds; raise the function's timeout"
    )


def test_a_long_reason_is_cut_to_what_cloudformation_takes(recorder: Recorder) -> None:
    def broken() -> Inngest:
        raise ImportError("é" * 5_000)

    _answer(Served(broken, Environment()), custom_resource(recorder), None)
    (answer,) = recorder.answers()
    assert len(json.dumps(answer)) < 4096
    assert "\\xe9" in answer["Reason"]


@pytest.mark.parametrize(("statuses", "tries"), [([503, 200], 2), ([403], 1), ([500], 3)])
def test_the_answer_is_put_again_while_that_may_help(
    statuses: list[int], tries: int, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.statuses["/answer"] = statuses
    answer = aws.serve(shop(recorder))(custom_resource(recorder, "Delete"), None)
    assert (answer["ok"], len(recorder.answers())) == (statuses[-1] == 200, tries)
    assert ("will wait for an hour" in caplog.text) is (statuses[-1] != 200)


def test_the_answers_url_is_logged_at_no_level(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert aws.serve(shop(recorder))(custom_resource(recorder), None)["ok"] is True
    assert "/fn/register" in caplog.text
    assert "s3cret" not in caplog.text


def test_nobody_at_the_answers_url_is_logged_without_its_secret(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    event = custom_resource(recorder, "Delete", ResponseURL="http://127.0.0.1:1/?X-Amz-Sig=s3cret")
    assert aws.serve(shop(recorder))(event, None)["ok"] is False
    assert "a way to S3" in caplog.text
    assert "s3cret" not in caplog.text
