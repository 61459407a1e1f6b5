"""The translators between Lambda's HTTP events and the core's values.

Formats: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html (v2),
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
(v1), https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
(ALB).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from inngest_sdk.errors import BodyInvalidError
from inngest_sdk.http import Request, Response
from inngest_serverless.aws.http_event import (
    ALB,
    ALB_MULTI,
    DIRECT,
    LATTICE,
    V1,
    V2,
    FrontDoor,
    NotHttp,
    can_pass_chunks,
    event_from,
    front_door,
    request_from,
)

Event: TypeAlias = dict[str, Any]
Load: TypeAlias = Callable[[str], Event]


def translated(event: Event) -> Request:
    door = front_door(event)
    assert isinstance(door, FrontDoor)
    return request_from(event, door)


@pytest.mark.parametrize(
    ("name", "door"),
    [
        ("function_url", V2),
        ("function_url_get", V2),
        ("function_url_local", V2),
        ("http_api", V2),
        ("http_api_base64", V2),
        ("http_api_custom_domain", V2),
        ("http_api_payload_1", V1),
        ("rest_api", V1),
        ("rest_api_console", V1),
        ("rest_api_custom_domain", V1),
        ("alb", ALB),
        ("alb_health_check", ALB),
        ("alb_multi_value", ALB_MULTI),
        ("vpc_lattice", LATTICE),
        ("direct", DIRECT),
    ],
)
def test_a_front_door_is_told_from_its_event(name: str, door: FrontDoor, load: Load) -> None:
    assert front_door(load(name)) is door


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("sqs", "records from aws:sqs"),
        ("sns", "records from aws:sns"),
        ("eventbridge", "an EventBridge event 'Scheduled Event'"),
        (
            "vpc_lattice_v1",
            "a VPC Lattice request of version 1 (set its target group's event version to V2)",
        ),
        ("websocket", "a WebSocket message"),
        ("custom_resource", "a CloudFormation custom resource"),
    ],
)
def test_another_source_of_events_is_named(name: str, what: str, load: Load) -> None:
    assert front_door(load(name)) == NotHttp(what)


@pytest.mark.parametrize(
    ("event", "what"),
    [
        ({}, "an empty event"),
        ({"warmer": True}, "a direct invocation with the keys warmer"),
        (None, "a direct invocation with a NoneType"),
        (["x"], "a direct invocation with a list"),
        ({"x\ny": 1, "\ud800": 2}, "a direct invocation with the keys x\\ny, \\ud800"),
        ({"Records": []}, "a direct invocation with the keys Records"),
        ({"httpMethod": None}, "a direct invocation with the keys httpMethod"),
        ({"version": "2.0", "requestContext": None}, None),
        ({"version": "2.0", "requestContext": {"http": None}}, None),
    ],
)
def test_a_direct_invocation_is_no_http(event: object, what: str | None) -> None:
    found = front_door(event)
    assert isinstance(found, NotHttp)
    assert what is None or found.what == what


@pytest.mark.parametrize(
    ("name", "url"),
    [
        (
            "function_url",
            "https://abcdefghijklmnopqrstuvwx12345678.lambda-url.eu-central-1.on.aws"
            "/api/inngest?fnId=shop-order&stepId=step",
        ),
        (
            "function_url_get",
            "https://abcdefghijklmnopqrstuvwx12345678.lambda-url.eu-central-1.on.aws/",
        ),
        (
            "function_url_local",
            "http://127.0.0.1:9001/api/inngest?fnId=shop-order&stepId=step",
        ),
        (
            "http_api",
            "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"
            "/prod/api/inngest?fnId=shop-order&stepId=step",
        ),
        (
            "http_api_custom_domain",
            "https://api.shop.example/prod/api/inngest?fnId=shop-order&stepId=step",
        ),
        (
            "http_api_payload_1",
            "https://api.shop.example/shop/api/inngest?fnId=shop-order&stepId=step",
        ),
        (
            "rest_api",
            "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"
            "/prod/api/inngest?fnId=shop-order&stepId=step",
        ),
        ("rest_api_console", "https://testPrefix.testDomainName/api/inngest"),
        (
            "rest_api_custom_domain",
            "https://api.shop.example/shop/api/inngest?fnId=shop-order&stepId=step",
        ),
        (
            "alb",
            "http://shop-1234567890.eu-central-1.elb.amazonaws.com"
            "/api/inngest?fnId=shop-order&stepId=step",
        ),
        ("alb_health_check", "https://host-header-missing.invalid/"),
        ("alb_multi_value", "https://shop.example/api/inngest?fnId=shop-order&stepId=step"),
        (
            "vpc_lattice",
            "https://shop-0a40eebed65f8d69c.7d67968.vpc-lattice-svcs.eu-central-1.on.aws"
            "/api/inngest?fnId=shop-order&stepId=step",
        ),
        ("direct", "https://shop.example/api/inngest?probe=1"),
    ],
)
def test_the_public_url_is_rebuilt(name: str, url: str, load: Load) -> None:
    assert translated(load(name)).url == url


def test_a_body_is_the_same_bytes_through_every_front_door(load: Load) -> None:
    names = ["function_url", "http_api", "http_api_base64", "rest_api", "alb", "alb_multi_value"]
    requests = [translated(load(name)) for name in names]
    assert {request.body for request in requests} == {load("alb")["body"].encode()}
    assert {request.method for request in requests} == {"POST"}
    assert "€".encode() in requests[0].body


@pytest.mark.parametrize("name", ["function_url", "rest_api", "alb", "alb_multi_value"])
def test_header_names_are_lower_case_and_values_not_doubled(name: str, load: Load) -> None:
    headers = translated(load(name)).headers
    assert headers["x-inngest-signature"] == f"t=1763800000&s={'5f' * 32}"
    assert headers["content-type"] == "application/json"


def test_null_headers_from_the_console_are_no_headers(load: Load) -> None:
    request = translated(load("rest_api_console"))
    assert (request.method, request.headers, request.body) == ("GET", {}, b"")


def test_a_header_sent_twice_is_joined(load: Load) -> None:
    event = load("alb_multi_value") | {"multiValueHeaders": {"Via": ["a", "b"], "Host": None}}
    assert translated(event).headers == {"via": "a, b"}


@pytest.mark.parametrize(
    ("name", "field", "pairs", "query"),
    [
        # A REST API decodes, so values are encoded again.
        (
            "rest_api",
            "multiValueQueryStringParameters",
            {"a b": ["c&d", "é"]},
            "a+b=c%26d&a+b=%C3%A9",
        ),
        ("rest_api", "multiValueQueryStringParameters", {"probe": [""]}, "probe="),
        # A load balancer does not.
        ("alb", "queryStringParameters", {"a%20b": "c%26d", "e": "f+g"}, "a%20b=c%26d&e=f+g"),
        ("alb", "queryStringParameters", {"a": "x#y z"}, "a=x%23y%20z"),
        ("alb", "queryStringParameters", None, ""),
        ("alb_multi_value", "multiValueQueryStringParameters", {"a": ["1", "2"]}, "a=1&a=2"),
    ],
)
def test_a_query_keeps_its_meaning(
    name: str, field: str, pairs: object, query: str, load: Load
) -> None:
    assert translated(load(name) | {field: pairs}).url.partition("?")[2] == query


def test_a_single_value_query_serves_where_the_multi_value_one_is_missing(load: Load) -> None:
    event = load("rest_api")
    del event["multiValueQueryStringParameters"]
    assert translated(event).query == {"fnId": "shop-order", "stepId": "step"}


def test_the_raw_query_of_v2_wins_over_the_joined_one(load: Load) -> None:
    event = load("function_url") | {"rawQueryString": "a=1&a=2%2C3", "queryStringParameters": {}}
    assert translated(event).url.endswith("?a=1&a=2%2C3")


def test_a_v2_event_written_by_hand_may_lack_the_raw_query(load: Load) -> None:
    event = load("function_url") | {"rawQueryString": None, "queryStringParameters": {"a b": "c"}}
    assert translated(event).url.endswith("?a+b=c")


@pytest.mark.parametrize(
    ("domain", "host", "proto", "origin"),
    [
        # AWS's own domains speak TLS only, whatever a header says.
        ("x.lambda-url.us-east-1.on.aws", None, "http", "https://x.lambda-url.us-east-1.on.aws"),
        ("x.execute-api.cn-north-1.amazonaws.com.cn", None, "http",
         "https://x.execute-api.cn-north-1.amazonaws.com.cn"),
        ("localhost:3000", None, "http", "http://localhost:3000"),
        ("localhost:3000", None, "http,https", "http://localhost:3000"),
        ("shop.example", None, "gopher", "https://shop.example"),
        ("shop.example", None, None, "https://shop.example"),
        # Without a domain name the host header serves.
        (None, "shop.example:8443", "HTTPS", "https://shop.example:8443"),
        (None, "[::1]:9000", "http", "http://[::1]:9000"),
        (None, None, None, "https://host-header-missing.invalid"),
        (None, "", None, "https://host-header-missing.invalid"),
        # What is no host cannot become part of a URL.
        ("evil/@x", "[", None, "https://host-header-missing.invalid"),
        ("x:99999", "y", None, "https://y"),
        (17, "y", None, "https://y"),
    ],
)  # fmt: skip
def test_scheme_and_host(
    domain: object, host: str | None, proto: str | None, origin: str, load: Load
) -> None:
    event = load("function_url")
    event["requestContext"]["domainName"] = domain
    event["headers"] = {"host": host, "x-forwarded-proto": proto}
    assert translated(event).url.startswith(f"{origin}/api/inngest")


def test_a_forwarded_host_is_not_believed(load: Load) -> None:
    event = load("function_url")
    event["headers"]["x-forwarded-host"] = "evil.example"
    assert "evil" not in translated(event).url


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/a b/ü#?", "/a%20b/%C3%BC%23%3F"),
        ("/a%20b", "/a%20b"),
        ("relative", "/relative"),
        ("//evil.example/x", "/evil.example/x"),
        ("", "/"),
        (None, "/"),
        (["/x"], "/"),
    ],
)
def test_a_path_becomes_a_legal_one(path: object, said: str, load: Load) -> None:
    url = translated(load("alb") | {"path": path, "queryStringParameters": None}).url
    assert url == f"http://shop-1234567890.eu-central-1.elb.amazonaws.com{said}"


@pytest.mark.parametrize(
    ("body", "is_base64", "raw"),
    [
        (None, False, b""),
        ("", True, b""),
        ("e30=", True, b"{}"),
        ("e30=", False, b"e30="),
        ("e30=", "true", b"e30="),
        ("ü", None, "ü".encode()),
        ("\ud800", False, b"\xed\xa0\x80"),
    ],
)
def test_a_body_is_read_raw(body: object, is_base64: object, raw: bytes, load: Load) -> None:
    event = load("function_url") | {"body": body, "isBase64Encoded": is_base64}
    assert translated(event).body == raw


@pytest.mark.parametrize(
    ("body", "is_base64", "message"),
    [
        ("e30", True, "the event's body is not base64: "),
        ("{}", True, "the event's body is not base64: "),
        ("ü", True, "the event's body is not base64: "),
        ({"ctx": {}}, False, "the event's body is a dict, not a string"),
        (7, True, "the event's body is a int, not a string"),
    ],
)
def test_a_body_that_cannot_be_read_is_the_callers_fault(
    body: object, is_base64: bool, message: str, load: Load
) -> None:
    event = load("function_url") | {"body": body, "isBase64Encoded": is_base64}
    with pytest.raises(BodyInvalidError) as raised:
        translated(event)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("change", "url"),
    [
        ({"path": "/a?b=1", "queryStringParameters": {"c": "2"}}, "/a?b=1"),
        ({"path": "/a", "queryStringParameters": {"c": "2"}}, "/a?c=2"),
        ({"path": "/a", "queryStringParameters": None}, "/a"),
        ({"path": None, "queryStringParameters": 7}, "/"),
    ],
)
def test_the_path_of_vpc_lattice_may_hold_the_query(change: Event, url: str, load: Load) -> None:
    event = load("vpc_lattice") | change | {"headers": {"host": "shop.example"}}
    assert translated(event).url == f"https://shop.example{url}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9000/a?b#c", "http://127.0.0.1:9000/a?b%23c"),
        ("https://shop.example", "https://shop.example/"),
        ("/a?b=1", "https://host-header-missing.invalid/a?b=1"),
        ("ftp://x/y", "https://host-header-missing.invalid/ftp://x/y"),
        ("https://a b/c", "https://host-header-missing.invalid/c"),
        ("", "https://host-header-missing.invalid/"),
        (None, "https://host-header-missing.invalid/"),
    ],
)
def test_a_direct_invocation_names_a_url_or_a_path(url: object, said: str) -> None:
    assert translated({"inngest": {"method": "get", "url": url}}) == Request("GET", said)


@pytest.mark.parametrize(
    ("name", "can"),
    [
        ("function_url", True),
        ("function_url_local", True),
        ("rest_api", True),
        ("rest_api_custom_domain", True),
        ("http_api", False),
        ("http_api_custom_domain", False),
        ("http_api_payload_1", False),
        ("alb", False),
        ("vpc_lattice", False),
        ("direct", False),
    ],
)
def test_function_urls_and_rest_apis_can_pass_chunks_on(name: str, can: bool, load: Load) -> None:
    event = load(name)
    door = front_door(event)
    assert isinstance(door, FrontDoor)
    assert can_pass_chunks(event, door) is can


@pytest.mark.parametrize(
    ("tenant_id", "headers"), [("acme", {"x-amz-tenant-id": "acme"}), (None, {})]
)
def test_only_lambda_names_the_tenant(tenant_id: str | None, headers: dict[str, str]) -> None:
    event = {"inngest": {"method": "GET", "headers": {"X-Amz-Tenant-Id": "mallory"}}}
    assert request_from(event, DIRECT, tenant_id).headers == headers


RESPONSE = Response(206, {"content-type": "application/json", "retry-after": "7"}, '["é"]'.encode())


@pytest.mark.parametrize(
    ("door", "answer"),
    [
        (
            V2,
            {
                "statusCode": 206,
                "headers": {"content-type": "application/json", "retry-after": "7"},
                "cookies": [],
            },
        ),
        (
            V1,
            {
                "statusCode": 206,
                "headers": {"content-type": "application/json", "retry-after": "7"},
                "multiValueHeaders": {"content-type": ["application/json"], "retry-after": ["7"]},
            },
        ),
        (
            ALB,
            {
                "statusCode": 206,
                "statusDescription": "206 Partial Content",
                "headers": {"content-type": "application/json", "retry-after": "7"},
            },
        ),
        (
            ALB_MULTI,
            {
                "statusCode": 206,
                "statusDescription": "206 Partial Content",
                "multiValueHeaders": {"content-type": ["application/json"], "retry-after": ["7"]},
            },
        ),
        (
            LATTICE,
            {
                "statusCode": 206,
                "headers": {"content-type": "application/json", "retry-after": "7"},
            },
        ),
    ],
)
def test_an_answer_has_its_front_doors_shape(door: FrontDoor, answer: Event) -> None:
    assert event_from(RESPONSE, door) == {**answer, "body": '["é"]', "isBase64Encoded": False}


def test_an_answer_that_is_no_text_goes_as_base64() -> None:
    answer = event_from(Response(200, {}, b"\xff\x00"), V2)
    assert answer["isBase64Encoded"] is True
    assert base64.b64decode(answer["body"]) == b"\xff\x00"


def test_a_status_that_http_does_not_know_still_has_a_description() -> None:
    assert event_from(Response(599), ALB)["statusDescription"] == "599 Unknown"
