"""`inngest-serverless sync`."""

from __future__ import annotations

import json

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
