"""What a request of functions-framework becomes: the same from Flask's and from Starlette's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest
from starlette.requests import Request as StarletteRequest

from inngest_sdk.errors import BodyInvalidError, BodyTooLargeError
from inngest_sdk.http import Request
from inngest_serverless.gcp.environment import Environment
from inngest_serverless.gcp.http_request import (
    MAX_BODY_BYTES,
    event_in,
    region_of,
    request_from_starlette,
)

from .asked import Asked, Translate, through_flask, through_starlette

HERE = Environment()
ORDERS = Environment(service="orders")
CLOUD_FUNCTIONS = "us-central1-shop.cloudfunctions.net"
CLOUD_RUN = "orders-123456789012.europe-west1.run.app"


@pytest.fixture(params=[through_flask, through_starlette], name="translate")
def translate_fixture(request: pytest.FixtureRequest) -> Translate:
    translate: Translate = request.param
    return translate


def at(host: str, path: str = "/", **more: str) -> Asked:
    return Asked(path=path, headers={"host": host, **more})


def test_method_headers_and_body_are_kept(translate: Translate) -> None:
    headers = {"host": "shop.example", "x-inngest-signature": "t=1&s=ab", "content-type": "a/b"}
    request = translate(Asked("put", headers=headers, body=b"\xff\x00 {"), HERE)
    assert request == Request("PUT", "http://shop.example/api/inngest", headers, b"\xff\x00 {")


def test_a_form_is_no_form(translate: Translate) -> None:
    headers = {"host": "a", "content-type": "application/x-www-form-urlencoded"}
    assert translate(Asked(headers=headers, body=b"a=b&c"), HERE).body == b"a=b&c"


@pytest.mark.parametrize(
    ("asked", "url"),
    [
        (Asked(), "http://shop.example/api/inngest"),
        (Asked(scheme="https"), "https://shop.example/api/inngest"),
        (Asked(path="/"), "http://shop.example/"),
        (Asked(path="//evil.example/x"), "http://shop.example/evil.example/x"),
        (Asked(path="/ü #?%"), "http://shop.example/%C3%BC%20%23%3F%25"),
        (Asked(query=b"a=b%2Fc&d=e+f"), "http://shop.example/api/inngest?a=b%2Fc&d=e+f"),
        (Asked(query=b"a=%20&a=%zz&="), "http://shop.example/api/inngest?a=%20&a=%zz&="),
        (Asked(query=b"a=#\xff"), "http://shop.example/api/inngest?a=%23%FF"),
        (Asked(headers={}), "http://10.0.0.7:8080/api/inngest"),
        (Asked(headers={"host": ""}), "http://10.0.0.7:8080/api/inngest"),
        (Asked(headers={"host": "evil/@x"}), "http://10.0.0.7:8080/api/inngest"),
        (Asked(headers={"host": "a:99999"}), "http://10.0.0.7:8080/api/inngest"),
        (Asked(headers={}, server=("::1", 80)), "http://[::1]:80/api/inngest"),
        (at(CLOUD_RUN, "/x"), f"http://{CLOUD_RUN}/x"),
    ],
)
def test_the_url_is_rebuilt(translate: Translate, asked: Asked, url: str) -> None:
    assert translate(asked, HERE).url == url


@pytest.mark.parametrize(
    ("spoken", "forwarded", "said"),
    [
        ("http", "https", "https"),
        ("http", "HTTPS, http", "https"),
        ("http", "http, https", "http"),
        ("http", "gopher", "http"),
        # A header cannot undo the TLS that the server itself speaks.
        ("https", "http", "https"),
    ],
)
def test_the_front_ends_scheme_counts_upwards_only(
    translate: Translate, spoken: str, forwarded: str, said: str
) -> None:
    headers = {"host": "shop.example", "x-forwarded-proto": forwarded}
    url = translate(Asked(scheme=spoken, headers=headers), HERE).url
    assert url == f"{said}://shop.example/api/inngest"


@pytest.mark.parametrize(
    ("host", "path", "public"),
    [
        (CLOUD_FUNCTIONS, "/", "/orders"),
        (CLOUD_FUNCTIONS, "/api/inngest", "/orders/api/inngest"),
        (CLOUD_FUNCTIONS, "/orders/x", "/orders/orders/x"),
        (CLOUD_FUNCTIONS.upper(), "/x", "/orders/x"),
        (f"{CLOUD_FUNCTIONS}:443", "/x", "/orders/x"),
        (CLOUD_RUN, "/x", "/x"),
        ("orders-abc123-uc.a.run.app", "/x", "/x"),
        ("cloudfunctions.net.evil.example", "/x", "/x"),
    ],
)
def test_the_name_that_the_front_end_took_off_is_put_back(
    translate: Translate, host: str, path: str, public: str
) -> None:
    assert translate(at(host, path), ORDERS).url == f"http://{host}{public}"


def test_without_a_name_nothing_is_put_back(translate: Translate) -> None:
    assert translate(at(CLOUD_FUNCTIONS, "/x"), HERE).url == f"http://{CLOUD_FUNCTIONS}/x"


@pytest.mark.parametrize("length", [str(MAX_BODY_BYTES + 1), "9" * 5000])
def test_a_body_that_is_announced_as_too_large_is_not_read(
    translate: Translate, length: str
) -> None:
    headers = {"host": "a", "content-length": length}
    with pytest.raises(BodyTooLargeError, match="Cloud Run takes at most 33,554,432"):
        translate(Asked(headers=headers), HERE)


def test_a_client_that_hangs_up_is_told_so_for_the_log() -> None:
    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    with pytest.raises(BodyInvalidError, match="hung up before"):
        asyncio.run(request_from_starlette(StarletteRequest(scope, receive), HERE))


@pytest.mark.parametrize(
    ("host", "region"),
    [
        (CLOUD_FUNCTIONS, "us-central1"),
        ("northamerica-northeast1-my-shop-1.cloudfunctions.net", "northamerica-northeast1"),
        (CLOUD_RUN, "europe-west1"),
        ("orders-abc123-uc.a.run.app", "unknown"),
        ("shop.example", "unknown"),
        ("a b\r\nus-central1-x.cloudfunctions.net", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_region_is_read_off_googles_own_names(host: str, region: str) -> None:
    assert region_of(host) == region


STORAGE = "google.cloud.storage.object.v1.finalized"
PUSH = {"message": {"data": "e30=", "messageId": "1"}, "subscription": "projects/p/s"}


@pytest.mark.parametrize(
    ("headers", "body", "what"),
    [
        ({"ce-specversion": "1.0", "ce-type": STORAGE}, {}, f"a CloudEvent of type {STORAGE!r}"),
        ({"content-type": "Application/CloudEvents+json; charset=utf-8"}, {}, "a CloudEvent"),
        ({"content-type": "application/cloudevents-batch+json"}, [], "a CloudEvent"),
        ({}, PUSH, "a Pub/Sub message"),
        ({"x-inngest-signature": "t=1&s=ab"}, PUSH, None),
        ({"ce-type": STORAGE}, {}, None),
        ({}, {"message": "of a person"}, None),
        ({}, [], None),
    ],
)
def test_an_event_is_told_from_a_call(
    headers: Mapping[str, str], body: object, what: str | None
) -> None:
    request = Request("POST", "https://shop.example/", headers, json.dumps(body).encode())
    assert event_in(request) == what


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff"])
def test_what_is_not_json_is_no_event(body: bytes) -> None:
    assert event_in(Request("POST", "https://shop.example/", {}, body)) is None


def test_a_call_is_none_whatever_its_body_holds() -> None:
    call = Request("POST", "https://shop.example/?fnId=shop-a", {}, json.dumps(PUSH).encode())
    assert event_in(call) is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Environment()),
        ({"K_SERVICE": ""}, Environment()),
        ({"K_SERVICE": "orders"}, Environment("orders")),
        ({"CLOUD_RUN_TIMEOUT_SECONDS": "300"}, Environment(timeout=300.0)),
        ({"CLOUD_RUN_TIMEOUT_SECONDS": " 60 "}, Environment(timeout=60.0)),
        ({"CLOUD_RUN_TIMEOUT_SECONDS": "0"}, Environment()),
        ({"CLOUD_RUN_TIMEOUT_SECONDS": "-5"}, Environment()),
        ({"CLOUD_RUN_TIMEOUT_SECONDS": "5m"}, Environment()),
        ({"CLOUD_RUN_TIMEOUT_SECONDS": "9" * 5000}, Environment()),
    ],
)
def test_the_environment_is_read(environ: Mapping[str, str], expected: Environment) -> None:
    assert Environment.from_env(environ) == expected


def test_the_deadline_is_the_timeout_from_now() -> None:
    assert Environment(timeout=60.0).deadline(1000.0) == 1060.0
    assert Environment().deadline(1000.0) is None
