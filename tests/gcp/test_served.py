"""The app in real servers of functions-framework, in both modes."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from inngest_sdk import signing
from inngest_serverless.gcp.http_request import MAX_BODY_BYTES

from .running import APPS, MODES, Running, call_body, running, web

KEY = "signkey-test-" + "ab" * 32


def test_a_get_describes_the_app(served: Running) -> None:
    with web() as client:
        answer = client.get(f"{served.url}/api/inngest")
    assert (answer.status_code, answer.json()["function_count"]) == (200, 8)
    assert answer.headers["x-inngest-framework"] == "google-cloud-functions"
    assert answer.headers["x-inngest-platform"] == "gcp-unknown"


@pytest.mark.parametrize("path", ["/", "/api/inngest", "/deep/er"])
def test_it_answers_on_every_path(served: Running, path: str) -> None:
    answer = served.call("plain", {"total": "9,90 €"}, path=path)
    assert (answer.status_code, answer.json()) == (200, {"total": "9,90 €"})


@pytest.mark.parametrize("fn_id", ["order", "sync"])
def test_a_step_of_either_kind_of_function_runs(served: Running, fn_id: str) -> None:
    answer = served.call(fn_id, {"id": 7, "total": 9})
    assert answer.status_code == 206
    assert [op["data"] for op in answer.json()] == [9]


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("POST", "/?fnId=shop-refund&stepId=step", call_body(), 404),
        ("POST", "/?fnId=shop-plain&stepId=step", b"{", 400),
        ("POST", "/?fnId=shop-plain&stepId=step", b"", 400),
        ("POST", "/", call_body(), 400),
        ("DELETE", "/", b"", 405),
        ("PATCH", "/", b"", 405),
    ],
)
def test_what_cannot_be_answered_is_refused_readably(
    served: Running, method: str, target: str, body: bytes, status: int
) -> None:
    with web() as client:
        answer = client.request(method, served.url + target, content=body)
    assert (answer.status_code, bool(answer.json()["message"])) == (status, True)
    assert answer.headers["x-inngest-sdk"]


@pytest.mark.parametrize("fn_id", ["meet", "meet-sync"])
def test_calls_at_the_same_time_do_not_wait_for_each_other(served: Running, fn_id: str) -> None:
    """None returns before all are there: one at a time, they would never end."""
    with ThreadPoolExecutor() as pool:
        answers = pool.map(lambda n: served.call(fn_id, {"n": n}).json(), range(4))
        assert list(answers) == [{"n": n} for n in range(4)]


@pytest.mark.parametrize("target", MODES)
def test_the_first_calls_may_come_all_at_once(target: str) -> None:
    with running(target) as function, ThreadPoolExecutor() as pool:
        answers = pool.map(lambda n: function.call("meet-sync", {"n": n}).json(), range(4))
        assert list(answers) == [{"n": n} for n in range(4)]


@pytest.mark.parametrize("target", MODES)
def test_a_signature_is_checked_over_the_bytes_that_came(target: str) -> None:
    body = b" " + call_body({"total": "9,90 €"}) + b"\r\n"
    form = {"content-type": "application/x-www-form-urlencoded"}
    production = {"INNGEST_DEV": "0", "INNGEST_SIGNING_KEY": KEY}
    with running(target, environ=production) as function, web() as client:
        url = f"{function.url}/?fnId=shop-plain&stepId=step"
        signed = {"x-inngest-signature": signing.sign(KEY, body, int(time.time()))}
        good = client.post(url, content=body, headers={**form, **signed})
        bad = client.post(url, content=body[1:], headers={**form, **signed})
        unsigned = client.post(url, content=body, headers=form)
    assert [each.status_code for each in (good, bad, unsigned)] == [200, 401, 401]
    assert good.json() == {"total": "9,90 €"}
    assert good.headers["x-inngest-signature"]


# --- streams ----------------------------------------------------------------------------------


@pytest.fixture(params=MODES, scope="module", name="streaming")
def streaming_fixture(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running(request.param, environ={"INNGEST_STREAMING": "force"}) as function:
        yield function


@pytest.fixture(name="gate")
def gate_fixture(tmp_path: Path) -> Path:
    """A named pipe: who reads waits until somebody writes."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    return gate


@contextmanager
def begun(function: Running, fn_id: str, data: object) -> Iterator[http.client.HTTPResponse]:
    """A call whose answer has begun to come."""
    connection = http.client.HTTPConnection(*address(function), timeout=60)
    with closing(connection):
        connection.request("POST", f"/?fnId=shop-{fn_id}&stepId=step", call_body(data))
        yield connection.getresponse()


@pytest.mark.parametrize("fn_id", ["gated", "gated-sync"])
def test_a_slow_answer_comes_chunk_by_chunk(streaming: Running, fn_id: str, gate: Path) -> None:
    with begun(streaming, fn_id, {"gate": str(gate)}) as answer:
        assert answer.status == 201
        assert answer.headers["x-inngest-req-version"] == "2"
        assert "content-length" not in answer.headers
        assert answer.read1() == b" "  # and the function still waits
        gate.write_text("opened")
        document = json.loads(answer.read())
    assert (document["status"], json.loads(document["body"])) == (200, "opened")


def test_a_client_that_hangs_up_leaves_the_function_to_run_to_its_end(
    streaming: Running, tmp_path: Path, gate: Path
) -> None:
    with begun(streaming, "gated", {"gate": str(gate)}) as answer:
        assert answer.read1() == b" "
    gate.write_text("opened")  # this ends when the function reads, and only then
    assert served_still(streaming)


def served_still(function: Running) -> bool:
    with begun(function, "plain", {}) as answer:
        return answer.status == 201


def test_what_is_refused_does_not_stream(streaming: Running) -> None:
    assert streaming.call("refund").status_code == 404


@pytest.mark.parametrize("target", MODES)
def test_an_answer_that_is_soon_ready_is_no_stream(target: str) -> None:
    with running(target, environ={"INNGEST_STREAMING": "allow"}) as function:
        answer = function.call("plain", {"n": 1})
    assert (answer.status_code, answer.json()) == (200, {"n": 1})


# --- odd requests -----------------------------------------------------------------------------


def test_a_body_at_the_limit_is_read(served: Running) -> None:
    with web() as client:
        answer = client.post(f"{served.url}/?fnId=shop-plain", content=padded(MAX_BODY_BYTES))
    assert (answer.status_code, answer.json()) == (200, {"n": 1})


def test_a_body_over_the_limit_is_refused(served: Running) -> None:
    with web() as client:
        answer = client.post(f"{served.url}/?fnId=shop-plain", content=padded(MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert "33,554,433 bytes" in answer.json()["message"]


def test_a_body_that_hides_its_size_is_refused_too(served: Running) -> None:
    def chunks() -> Iterator[bytes]:
        whole = padded(MAX_BODY_BYTES + 1)
        for start in range(0, len(whole), 2**20):
            yield whole[start : start + 2**20]

    with web() as client:
        assert client.post(f"{served.url}/?fnId=shop-plain", content=chunks()).status_code == 413


def padded(size: int) -> bytes:
    body = call_body({"n": 1})
    return body + b" " * (size - len(body))


@pytest.mark.parametrize(
    "headers",
    [
        b"",
        b"host:\r\n",
        b"host: evil/@x\r\n",
        b"host: shop.example\r\nx-forwarded-proto: gopher, https\r\n",
        b"host: shop.example\r\nx-inngest-signature: \xff\xfe\r\n",
        b"host: shop.example\r\ncontent-type: multipart/form-data; boundary=x\r\n",
        b"host: shop.example\r\ncontent-encoding: gzip\r\n",
        b"host: shop.example\r\nce-type: \xc3\xa4\r\n",
        b"host: shop.example\r\ntraceparent: \xe4\r\n",
    ],
)
def test_odd_headers_are_borne(served: Running, headers: bytes) -> None:
    body = call_body({"n": 1})
    length = b"content-length: %d\r\n" % len(body)
    head = b"POST /?fnId=shop-plain&stepId=step HTTP/1.0\r\n" + headers + length
    status, said = raw(served, head + b"\r\n" + body)
    assert (status, said) == (200, {"n": 1})


def address(function: Running) -> tuple[str, int]:
    host, _, port = urlsplit(function.url).netloc.partition(":")
    return host, int(port)


def raw(function: Running, request: bytes) -> tuple[int, Any]:
    """Send these bytes; return the status and the JSON that come back."""
    with socket.create_connection(address(function), timeout=60) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, json.loads(answer.read())


@pytest.mark.parametrize("target", MODES)
def test_an_app_that_cannot_be_found_is_said_in_every_answer(target: str) -> None:
    with running(target, environ={"INNGEST_APP": "no_such_module:client"}) as function:
        answer = function.call("plain")
    assert answer.status_code == 500
    assert "there is no module 'no_such_module'" in answer.json()["message"]
    assert answer.headers["x-inngest-no-retry"] == "false"


# --- events, and the wrong mode ---------------------------------------------------------------

PUSH = {"message": {"data": "e30=", "messageId": "1"}, "subscription": "projects/p/s"}


@pytest.mark.parametrize(
    ("headers", "body", "what"),
    [
        (
            {"ce-specversion": "1.0", "ce-type": "google.cloud.storage.object.v1.finalized"},
            {},
            "a CloudEvent of type 'google.cloud.storage.object.v1.finalized'",
        ),
        ({"content-type": "application/cloudevents+json"}, {"type": "x"}, "a CloudEvent came"),
        ({}, PUSH, "a Pub/Sub message came"),
    ],
)
def test_an_event_is_told_that_it_came_to_the_wrong_place(
    served: Running, headers: dict[str, str], body: object, what: str
) -> None:
    with web() as client:
        answer = client.post(served.url, content=json.dumps(body), headers=headers)
    assert answer.status_code == 400  # not 2xx: that would mean that the event is dealt with
    assert answer.json()["message"].startswith(what)
    assert answer.headers["x-inngest-sdk"]


def test_the_blocking_handler_says_that_it_is_not_for_the_asgi_mode() -> None:
    with running(source=APPS / "mixed_up.py") as function:
        answer = function.call("plain")
    assert answer.status_code == 500
    assert "deploy inngest_serverless.gcp.async_handler" in answer.json()["message"]


@pytest.mark.parametrize("target", MODES)
def test_a_handler_made_in_code_registers_under_what_the_code_says(target: str) -> None:
    body = json.dumps({"url": "https://elsewhere.example/"}).encode()
    headers = {
        "x-inngest-sync-kind": "in_band",
        "x-inngest-signature": signing.sign(KEY, body, int(time.time())),
    }
    production = {"INNGEST_DEV": "0", "INNGEST_SIGNING_KEY": KEY}
    with running(target, source=APPS / "in_code.py", environ=production) as own, web() as client:
        answer = client.put(f"{own.url}/", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    (step,) = answer.json()["functions"][0]["steps"].values()
    assert step["runtime"]["url"].startswith("https://shop.example/hooks?fnId=shop-")
