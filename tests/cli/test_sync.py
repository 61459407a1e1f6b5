"""`inngest-serverless sync`."""

from __future__ import annotations

import json

import pytest

from .answering import Answer, Request, answering
from .conftest import Invoke


def test_an_app_registers_when_asked(invoke: Invoke, app_url: str) -> None:
    invoke("sync", app_url)
    done = invoke("sync", app_url)
    assert done.exit_code == 0, done.output
    assert done.output == f"registered {app_url} (as it was)\n"


def test_with_json_the_answer_is_shown_as_it_came(invoke: Invoke, app_url: str) -> None:
    answer = json.loads(invoke("sync", app_url, "--json").output)
    assert answer["status"] == 200


def test_a_refusal_is_passed_on_with_its_reason(invoke: Invoke, lonely_app: str) -> None:
    done = invoke("sync", lonely_app)
    assert done.exit_code == 1
    assert "the app refused" in done.output


def test_what_is_not_an_app_is_called_that(invoke: Invoke, engine: str) -> None:
    done = invoke("sync", f"{engine}/no/such/page")
    assert done.exit_code == 1


def test_nobody_there(invoke: Invoke, closed: str) -> None:
    done = invoke("sync", closed)
    assert done.exit_code == 3
    assert f"nobody answers at {closed}" in done.output


def test_a_url_needs_its_scheme(invoke: Invoke) -> None:
    done = invoke("sync", "abc.lambda-url.eu-west-1.on.aws")
    assert done.exit_code == 2
    assert "https://" in done.output


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_with_method_and_body(invoke: Invoke, status: int) -> None:
    seen: list[Request] = []

    def app(request: Request) -> Answer:
        seen.append(request)
        if request.path == "/old":
            return Answer(status, {"location": "/new"})
        return Answer(200, {"x-inngest-sdk": "python:v1"}, b'{"modified": true}')

    with answering(app) as url:
        done = invoke("sync", f"{url}/old")
    assert done.exit_code == 0, done.output
    assert [(each.method, each.path) for each in seen] == [("PUT", "/old"), ("PUT", "/new")]
    assert seen[0].body == seen[1].body


@pytest.mark.parametrize(
    ("location", "complaint"),
    [("/", "redirects more than"), ("ftp://files/x", "redirects to 'ftp://files/x'")],
)
def test_a_redirect_to_nowhere_is_said(invoke: Invoke, location: str, complaint: str) -> None:
    with answering(lambda request: Answer(307, {"location": location})) as url:
        done = invoke("sync", url)
    assert done.exit_code == 1, done.exception
    assert complaint in done.output


def test_an_app_on_this_machine_is_asked_without_any_proxy(
    invoke: Invoke, app_url: str, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", closed)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    done = invoke("sync", app_url)
    assert done.exit_code == 0, done.output


def test_a_proxy_that_cannot_be_used_is_said(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://127.0.0.1:1")
    done = invoke("sync", "http://app.invalid/api/inngest")
    assert done.exit_code == 1, done.exception
    assert "ALL_PROXY" in done.output


@pytest.mark.parametrize("url", ["http://", "https:///path", "http://127.0.0.1:0"])
def test_a_url_needs_a_host_and_a_port_that_exists(invoke: Invoke, url: str) -> None:
    done = invoke("sync", url)
    assert done.exit_code == 2, done.exception
    assert "is not a URL" in done.output
