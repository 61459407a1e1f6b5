"""What an HTTP trigger hands over becomes a request."""

from __future__ import annotations

import azure.functions as func
import pytest

from inngest_sdk.http import Response
from inngest_serverless.azure.http_trigger import public_url, request_from, response_from

HOSTNAME = "shop.azurewebsites.net"


@pytest.mark.parametrize(
    ("url", "headers", "public"),
    [
        ("https://shop.azurewebsites.net/api/x?a=1&b=%20", {"host": HOSTNAME}, "/api/x?a=1&b=%20"),
        # On Linux the scheme is often the one inside of Azure.
        ("http://shop.azurewebsites.net/api/x", {"host": HOSTNAME}, "/api/x"),
        ("http://10.0.0.7:8080/api/x", {"host": HOSTNAME}, "/api/x"),
        ("https://h/api/x?code=a%3D%3D", {"host": HOSTNAME}, "/api/x?code=a%3D%3D"),
        ("https://h/api/x", {}, "/api/x"),
        ("https://h/api/x", {"host": "evil/@x"}, "/api/x"),
        # A worker's own server, to which the host passes what may stream.
        ("http://worker/api/x", {"host": "127.0.0.1:43211"}, "/api/x"),
        ("http://worker/api/x", {"host": "localhost"}, "/api/x"),
        ("http://worker/api/x", {"host": "[::1]:80"}, "/api/x"),
        # What anybody can say is not believed.
        ("https://h/api/x", {"host": HOSTNAME, "x-forwarded-host": "evil.example"}, "/api/x"),
        ("https://h/api/x", {"host": HOSTNAME, "disguised-host": "evil.example"}, "/api/x"),
        ("https://h/api/x", {"host": HOSTNAME, "x-original-url": "/evil"}, "/api/x"),
        ("https://h/api/x", {"host": HOSTNAME, "x-forwarded-proto": "http"}, "/api/x"),
        # Nor does anything break that nobody should send.
        ("", {}, "/"),
        ("https://[::/api/x", {}, "/api/x"),
        ("https://h", {}, "/"),
        ("https://h?a=1", {}, "/?a=1"),
        ("https://h/a b/ü?ü=#frag", {}, "/a%20b/%C3%BC?%C3%BC="),
        ("https://h/a\nb", {}, "/a%0Ab"),
        ("/api/x", {}, "/api/x"),
    ],
)
def test_the_public_url_is_rebuilt(url: str, headers: dict[str, str], public: str) -> None:
    assert public_url(url, headers, HOSTNAME) == f"https://{HOSTNAME}{public}"


@pytest.mark.parametrize(
    ("url", "host", "hostname", "origin"),
    [
        ("https://h/x", "jobs.example", HOSTNAME, "https://jobs.example"),  # a custom domain
        ("https://h/x", "jobs.example:8443", "", "https://jobs.example:8443"),
        ("http://localhost:7071/x", "localhost:7071", "localhost:7071", "http://localhost:7071"),
        ("http://127.0.0.1:7071/x", "127.0.0.1:7071", "", "http://127.0.0.1:7071"),
        ("https://localhost:7071/x", "localhost:7071", "", "https://localhost:7071"),
        ("http://h/x", "[::1]:7071", "", "http://[::1]:7071"),
        ("http://h/x", "localhost.evil.example", "", "https://localhost.evil.example"),
        ("http://h/x", None, "", "https://host-header-missing.invalid"),
        ("http://h/x", "", "a b", "https://host-header-missing.invalid"),
    ],
)
def test_the_host_is_what_the_client_asked_for(
    url: str, host: str | None, hostname: str, origin: str
) -> None:
    headers = {} if host is None else {"host": host}
    assert public_url(url, headers, hostname) == f"{origin}/x"


def test_a_request_keeps_its_body_and_its_headers() -> None:
    asked = func.HttpRequest(
        "post",
        "https://h/api/x?fnId=a&fnId=b",
        headers={"Host": HOSTNAME, "X-Inngest-Signature": "t=1&s=2"},
        params={"fnId": "b"},
        body=b"\x00\xff",
    )
    request = request_from(asked, "")
    assert (request.method, request.body) == ("POST", b"\x00\xff")
    assert request.headers == {"host": HOSTNAME, "x-inngest-signature": "t=1&s=2"}
    assert request.query == {"fnId": "a"}


def test_an_answer_keeps_its_body_and_its_headers() -> None:
    answer = response_from(Response(201, {"content-type": "application/json", "x-a": "b"}, b"\xff"))
    assert (answer.status_code, answer.get_body()) == (201, b"\xff")
    assert dict(answer.headers) == {"content-type": "application/json", "x-a": "b"}
