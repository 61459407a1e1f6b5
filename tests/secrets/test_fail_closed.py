"""Apps that could not tell who calls them: they answer nobody, and say why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from inngest_sdk import signing
from inngest_sdk.drive import drive
from inngest_sdk.endpoint import serve
from inngest_sdk.http import Request, Response, dumps
from inngest_serverless import Inngest, TriggerEvent
from tests.sdk.play import FRONT, NOW

URL = "https://app.example/api/inngest"
CALL = dumps({"event": {"name": "a/b", "data": {}}, "ctx": {"run_id": "01RUN", "attempt": 0}})
SIGNED = {signing.HEADER: signing.sign("abcd", CALL, int(NOW))}
IN_BAND = dumps({"url": URL})

REQUESTS = {
    "a call": Request("POST", f"{URL}?fnId=shop-f", {}, CALL),
    "a call signed with some key": Request("POST", f"{URL}?fnId=shop-f", SIGNED, CALL),
    "an introspection": Request("GET", URL),
    "a registration": Request("PUT", URL),
    "a registration in band": Request("PUT", URL, {"x-inngest-sync-kind": "in_band"}, IN_BAND),
    "a trust probe": Request("POST", f"{URL}?probe=trust"),
}
LINK = Request("GET", f"{URL}?approval=e30.AAAA")
LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "shop"}


def asked(request: Request, **settings: Any) -> Response:
    client = Inngest(app_id="shop", **settings)

    @client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))
    def f(ctx: Any) -> int:
        return 7

    return drive(serve(client, request, FRONT, now=NOW))


@pytest.mark.parametrize("what", REQUESTS)
def test_in_cloud_mode_without_a_key_everything_is_refused(what: str) -> None:
    answer = asked(REQUESTS[what])
    assert answer.status == 500
    assert answer.json()["code"] == "signing_key_missing"
    assert "set INNGEST_SIGNING_KEY" in answer.json()["message"].replace("Set", "set")


def test_in_cloud_mode_without_a_key_no_link_is_followed() -> None:
    assert asked(LINK).status == 403


def set_all(monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("settings", [{}, {"signing_key": "abcd"}])
@pytest.mark.parametrize("what", [*REQUESTS, "a link"])
def test_an_app_in_dev_mode_serves_nobody_in_a_cloud(
    what: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, {**LAMBDA, "INNGEST_DEV": "1"})
    answer = asked(REQUESTS.get(what, LINK), **settings)
    assert answer.status == 500
    assert answer.json().keys() == {"code", "message", "name"}  # no traceback for strangers
    said = answer.json()["message"]
    assert "it runs on AWS Lambda (AWS_LAMBDA_FUNCTION_NAME is set)" in said
    assert "Unset INNGEST_DEV" in said and "INNGEST_ALLOW_DEV=1" in said


def test_dev_mode_by_argument_is_no_better(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, {"K_SERVICE": "shop"})
    answer = asked(REQUESTS["a call"], is_production=False)
    assert (answer.status, answer.json()["code"]) == (500, "dev_mode_in_cloud")


@pytest.mark.parametrize(
    "environ",
    [
        {**LAMBDA, "INNGEST_ALLOW_DEV": "1"},
        {**LAMBDA, "AWS_LAMBDA_LOG_STREAM_NAME": "local/[$LATEST]ab"},
        {**LAMBDA, "AWS_SAM_LOCAL": "true"},
        {},
    ],
)
def test_dev_mode_serves_on_stand_ins_and_where_it_is_forced(
    environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, {**environ, "INNGEST_DEV": "1"})
    assert asked(REQUESTS["a call"]).status == 200


def test_cloud_mode_is_at_home_in_a_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, LAMBDA)
    assert asked(REQUESTS["a call signed with some key"], signing_key="abcd").status == 200
