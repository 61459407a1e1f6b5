"""Pieces of URLs that strangers send."""

from __future__ import annotations

import pytest

from inngest_sdk.public_url import encoded_path, forwarded_scheme, is_host, join


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        ("example.com", True),
        ("example.com:8080", True),
        ("127.0.0.1:1", True),
        ("[::1]:80", True),
        ("example.com:65536", False),
        ("evil.com/path", False),
        ("user@evil.com", False),
        ("a b", False),
        ("", False),
        (None, False),
        (7, False),
    ],
)
def test_what_is_a_host(value: object, is_one: bool) -> None:
    assert is_host(value) is is_one


@pytest.mark.parametrize(
    ("header", "scheme"),
    [
        ("https", "https"),
        ("HTTPS", "https"),
        ("http, https", "http"),
        (" https ,http", "https"),
        ("gopher", None),
        ("", None),
    ],
)
def test_the_first_proxy_tells_the_scheme(header: str, scheme: str | None) -> None:
    assert forwarded_scheme({"x-forwarded-proto": header}) == scheme


@pytest.mark.parametrize(
    ("path", "query", "url"),
    [
        ("/api/inngest", "fnId=a%2Fb&stepId=step", "http://h/api/inngest?fnId=a%2Fb&stepId=step"),
        ("//api", "", "http://h/api"),
        ("", "", "http://h/"),
        ("/a b#c", "x=#y", "http://h/a%20b%23c?x=%23y"),
        ("/é", b"q=\xff", "http://h/%C3%A9?q=%FF"),
    ],
)
def test_a_url_keeps_what_is_legal_as_it_came(path: str, query: str | bytes, url: str) -> None:
    assert join("http", "h", path, query) == url


def test_a_decoded_path_is_encoded_whole() -> None:
    assert encoded_path("/50% off/é") == "/50%25%20off/%C3%A9"
