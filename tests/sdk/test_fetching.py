"""Requests that the server makes for a step, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from inngest_sdk.errors import FunctionConfigInvalidError, NonRetriableError
from inngest_sdk.execution import Fail, Replay, Report, decide
from inngest_sdk.failure import is_retriable
from inngest_sdk.fetching import (
    FetchBody,
    FetchRequest,
    FetchResponse,
    FetchStatusError,
    fetch_request,
    gateway_op,
    response_from,
)
from inngest_sdk.steps import StepIds, op_json

URL = "https://example.com/orders?key=s3cret"


def test_a_request_travels_with_method_headers_and_text() -> None:
    step = StepIds().next("quote")
    request = fetch_request("quote", URL, method="post", headers={"X-A": "1"}, body={"q": "ü"})
    op = gateway_op("quote", request)

    assert op_json(step, op, op.kind) == {
        "op": "Gateway",
        "id": step.hashed,
        "name": "quote",
        "displayName": "quote",
        "userland": {"id": "quote"},
        "opts": {
            "url": URL,
            "method": "POST",
            "headers": {"X-A": "1", "content-type": "application/json"},
            "body": '{"q":"ü"}',
        },
        "data": None,
    }


@pytest.mark.parametrize(
    ("body", "method", "text", "headers"),
    [
        (None, "GET", "", {}),
        ("", "POST", "", {}),
        ("a=1", "POST", "a=1", {}),
        (b"\xc3\xbc", "POST", "ü", {}),
        ([1, None], "POST", "[1,null]", {"content-type": "application/json"}),
        ((1,), "POST", "[1]", {"content-type": "application/json"}),
    ],
)
def test_the_body_decides_the_method_and_content_type_where_nothing_is_said(
    body: FetchBody | None, method: str, text: str, headers: dict[str, str]
) -> None:
    request = fetch_request("s", URL, body=body)

    assert request == FetchRequest(URL, method, headers, text)


def test_a_content_type_that_is_given_stays() -> None:
    headers = {"Content-Type": "application/vnd.api+json"}

    assert fetch_request("s", URL, headers=headers, body={}).headers == headers


def test_what_may_be_secret_is_not_shown() -> None:
    request = fetch_request("s", "http://me:pw@host/", headers={"A": "s3cret"}, body="s3cret")

    assert "s3cret" not in repr(request)
    assert "s3cret" not in repr(gateway_op("s", request))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/orders", "url is '/orders'; it takes an absolute URL such as 'https://"),
        ("ftp://example.com", "it takes an absolute URL"),
        ("https://", "it takes an absolute URL"),
        ("https://example.com:0/", "it takes an absolute URL"),
        ("https://example.com:http/", "it takes a URL such as"),
        ("https://[::1/", "it takes a URL such as"),
        ("https://example.com/\ud800", "it takes a URL such as"),
        ("https://example.com/a b", "url has ' ' in it; escape it, as %20"),
        ("https://example.com/\n", "url has '\\n' in it; escape it, as %0A"),
        ("", "url is ''"),
        (None, "url is NoneType; it takes text"),
    ],
)
def test_a_url_that_the_server_cannot_call_is_refused(url: Any, message: str) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        fetch_request("s", url)

    assert caught.value.message.startswith("step 's': ")
    assert message in caught.value.message


def test_a_refusal_of_a_url_tells_no_secrets() -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        fetch_request("s", "ftp://me:pw@example.com/a?key=s3cret#x")

    assert "'ftp://example.com/a'" in caught.value.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": ""}, "method is ''; it takes one such as 'GET'"),
        ({"method": "GET /"}, "method is 'GET /'"),
        ({"method": 5}, "method is 5"),
        ({"headers": [("a", "b")]}, "headers are list; they take a dict"),
        ({"headers": {"a b": "c"}}, "'a b' is no name of a header"),
        ({"headers": {5: "c"}}, "5 is no name of a header"),
        ({"headers": {"a": 5}}, "header 'a' is int; it takes text"),
        ({"headers": {"a": "s3cret\r\nb: c"}}, "header 'a' has a control character"),
        ({"body": b"\xff"}, "body is bytes that are not UTF-8"),
        ({"body": {"a": {1}}}, "body is not JSON: Object of type set"),
        ({"body": 5}, "body is int; it takes text, UTF-8 bytes, a dict or a list"),
    ],
)
def test_what_is_no_request_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        fetch_request("s", URL, **options)

    assert caught.value.message.startswith(f"step 's': {message}")
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("x" * 4_194_304, "step 's': the request has 4,194,"),
        ("\ud800", "step 's': the request is not JSON"),
    ],
)
def test_a_request_that_does_not_fit_into_an_op_is_refused(body: str, message: str) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        gateway_op("s", fetch_request("s", URL, body=body))

    assert caught.value.message.startswith(message)


# As a real server gave it to the official TypeScript SDK.
MEMO = {
    "data": {
        "body": '{"hi":{"q":1}}',
        "headers": {"Content-Length": "14", "Content-Type": "application/json; charset=utf-8"},
        "status_code": 200,
        "url": "http://127.0.0.1:8121/hello",
    }
}


def test_a_response_is_read_from_the_memo() -> None:
    step = StepIds().next("quote")
    op = gateway_op("quote", fetch_request("quote", URL))

    first = decide(op, step.hashed, {}, target=None, planning=False)
    replay = decide(op, step.hashed, {step.hashed: MEMO}, target=None, planning=False)

    assert first == Report()
    assert isinstance(replay, Replay)
    response = response_from("quote", replay.value)
    assert (response.status_code, response.url) == (200, "http://127.0.0.1:8121/hello")
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert (response.ok, response.text) == (True, '{"hi":{"q":1}}')
    assert response.json() == {"hi": {"q": 1}}
    assert response.raise_for_status() is response


def test_a_request_that_came_to_nothing_fails_the_step() -> None:
    step = StepIds().next("quote")
    op = gateway_op("quote", fetch_request("quote", URL))
    memo = {"error": {"name": "GatewayError", "message": "no route"}}

    verdict = decide(op, step.hashed, {step.hashed: memo}, target=None, planning=False)

    assert isinstance(verdict, Fail)
    assert (verdict.error.name, verdict.error.message) == ("GatewayError", "no route")


@pytest.mark.parametrize("status", [199, 304, 404, 500])
def test_a_status_that_is_no_success_can_be_raised_and_is_final(status: int) -> None:
    response = FetchResponse(status, URL, {}, "sold out")

    with pytest.raises(FetchStatusError) as caught:
        response.raise_for_status()

    assert caught.value.response is response
    assert caught.value.message == f"https://example.com/orders answered {status}: 'sold out'"
    assert not response.ok
    assert not is_retriable(caught.value)


def test_a_header_that_came_several_times_is_joined() -> None:
    memo = {**MEMO["data"], "headers": {"Vary": ["a", "b"]}}

    assert response_from("s", memo).headers == {"vary": "a, b"}


def test_a_response_without_headers_has_none() -> None:
    memo = {"status_code": 204, "url": URL, "body": "", "headers": None}

    assert response_from("s", memo) == FetchResponse(204, URL, {}, "")


@pytest.mark.parametrize("memo", [None, 5, {}, {"status_code": "200", "url": URL, "body": ""}])
def test_the_memo_of_another_step_is_no_response(memo: object) -> None:
    with pytest.raises(NonRetriableError, match="step 's' fetches, but what it came to is no"):
        response_from("s", memo)
