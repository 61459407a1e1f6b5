"""Payload 2.0 in both directions, without a network."""

import base64
import json
from datetime import datetime, timezone
from typing import Any

import pytest

from inngest_serverless.emulators.function_url import (
    Arrival,
    MalformedResponse,
    event_from,
    head_from,
    response_from,
)
from inngest_serverless.emulators.http_server import HttpRequest

ARRIVAL = Arrival(
    request_id="7a1c",
    trace_id="Root=1-2-3",
    at=datetime(2026, 11, 22, 12, 30, 0, 250_000, tzinfo=timezone.utc),
    authority="127.0.0.1:9000",
)


def event_of(
    target: str = "/", body: bytes = b"", headers: dict[str, str] | None = None
) -> dict[str, Any]:
    pairs = tuple((headers or {}).items())
    return event_from(HttpRequest("POST", target, pairs, body, "10.0.0.9"), ARRIVAL)


def test_the_whole_event_of_a_bare_request() -> None:
    event = event_from(
        HttpRequest("GET", "/a%20b", (("user-agent", "probe"),), b"", "10.0.0.9"), ARRIVAL
    )
    assert event == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/a%20b",
        "rawQueryString": "",
        "headers": {
            "host": "127.0.0.1:9000",
            "user-agent": "probe",
            "x-amzn-trace-id": "Root=1-2-3",
            "x-forwarded-for": "10.0.0.9",
            "x-forwarded-port": "9000",
            "x-forwarded-proto": "http",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "127",
            "authentication": None,
            "domainName": "127.0.0.1:9000",
            "domainPrefix": "127",
            "http": {
                "method": "GET",
                "path": "/a%20b",
                "protocol": "HTTP/1.1",
                "sourceIp": "10.0.0.9",
                "userAgent": "probe",
            },
            "requestId": "7a1c",
            "routeKey": "$default",
            "stage": "$default",
            "time": "22/Nov/2026:12:30:00 +0000",
            "timeEpoch": 1795350600250,
        },
        "isBase64Encoded": False,
    }


def test_the_query_stays_raw_and_its_parameters_are_decoded_and_joined() -> None:
    event = event_of("/x?a=1&b=%2F+c&a=2&empty=")
    assert event["rawQueryString"] == "a=1&b=%2F+c&a=2&empty="
    assert event["queryStringParameters"] == {"a": "1,2", "b": "/ c", "empty": ""}


def test_repeated_headers_are_joined_and_those_of_the_connection_dropped() -> None:
    pairs = (("accept", "a"), ("connection", "close"), ("accept", "b"))
    event = event_from(HttpRequest("GET", "/", pairs, b"", ""), ARRIVAL)
    assert event["headers"]["accept"] == "a,b"
    assert "connection" not in event["headers"]


def test_cookies_have_a_place_of_their_own() -> None:
    event = event_of(headers={"cookie": "a=1; b=2;"})
    assert event["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in event["headers"]


def test_the_host_that_the_caller_used_is_the_domain_name() -> None:
    event = event_of(headers={"host": "app.example.org:81"})
    assert event["headers"]["host"] == "app.example.org:81"
    assert event["requestContext"]["domainName"] == "app.example.org:81"
    assert event["requestContext"]["domainPrefix"] == "app"


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        ({"content-type": "application/json; charset=utf-8"}, '{"a":"é"}'.encode(), True),
        ({"content-type": "text/csv"}, b"a,b", True),
        ({"content-type": "application/cloudevents+json"}, b"{}", True),
        ({"content-type": "application/json"}, b"\xff", False),
        ({"content-type": "application/json", "content-encoding": "gzip"}, b"{}", False),
        ({"content-type": "application/octet-stream"}, b"{}", False),
        ({"content-type": "application/x-www-form-urlencoded"}, b"a=1", False),
        ({}, b"{}", False),
    ],
)
def test_only_text_bodies_travel_as_text(headers: dict[str, str], body: bytes, text: bool) -> None:
    event = event_of(body=body, headers=headers)
    expected = body.decode() if text else base64.b64encode(body).decode()
    assert (event["isBase64Encoded"], event["body"]) == (not text, expected)


@pytest.mark.parametrize("result", [b'"Hello"', b"null", b'{"message":"hi"}', b"[1]"])
def test_a_result_without_a_status_code_is_the_body(result: bytes) -> None:
    response = response_from(result)
    assert (response.status, response.body) == (200, result)
    assert response.headers == (("content-type", "application/json"),)


def test_a_result_with_a_status_code_is_the_response() -> None:
    value = {
        "statusCode": "201",
        "headers": {"X-A": "1", "X-N": 2, "Content-Type": "text/plain", "Connection": "close"},
        "cookies": ["c=1"],
        "body": base64.b64encode(b"\x00\xff").decode(),
        "isBase64Encoded": True,
    }
    response = response_from(json.dumps(value).encode())
    assert (response.status, response.body) == (201, b"\x00\xff")
    kept = (("x-a", "1"), ("x-n", "2"), ("content-type", "text/plain"))
    assert response.headers == (*kept, ("set-cookie", "c=1"))


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (b"\x89PNG", "not JSON"),
        (b'{"statusCode": "ok"}', "statusCode is 'ok'"),
        (b'{"statusCode": 99}', "statusCode is 99"),
        (b'{"statusCode": 200, "headers": ["a"]}', "headers is"),
        (b'{"statusCode": 200, "headers": {"a": ["b"]}}', "the header a is"),
        (b'{"statusCode": 200, "headers": {"a": "b\\r\\nc"}}', "one line of text"),
        (b'{"statusCode": 200, "cookies": "a=1"}', "cookies is 'a=1'"),
        (b'{"statusCode": 200, "body": {"a": 1}}', "body is a dict"),
        (b'{"statusCode": 200, "body": "?", "isBase64Encoded": true}', "not base64"),
    ],
)
def test_a_malformed_result_is_refused_with_the_reason(result: bytes, message: str) -> None:
    with pytest.raises(MalformedResponse, match=message):
        response_from(result)


def test_a_streamed_result_begins_with_status_and_headers() -> None:
    value = {"statusCode": 201, "headers": {"X-A": "1"}, "cookies": ["c=1"]}
    head = head_from(json.dumps(value).encode())
    assert (head.status, head.body) == (201, b"")
    assert head.headers == (
        ("x-a", "1"),
        ("content-type", "application/json"),
        ("set-cookie", "c=1"),
    )
    assert head_from(b"{}").status == 200


@pytest.mark.parametrize("prelude", [b"", b"[]", b"\xff", b'{"statusCode": 99}'])
def test_a_malformed_prelude_is_refused(prelude: bytes) -> None:
    with pytest.raises(MalformedResponse):
        head_from(prelude)
