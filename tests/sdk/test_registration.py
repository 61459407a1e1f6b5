"""Registration: the out-of-band exchange played by hand, the in-band answer, and the URL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inngest_sdk import signing
from inngest_sdk.client import Inngest
from inngest_sdk.config import Config
from inngest_sdk.effects import Fetch, Flow
from inngest_sdk.errors import (
    BodyInvalidError,
    ConfigError,
    RegistrationFailedError,
    SignatureInvalidError,
    SigningKeyMissingError,
    UnreachableError,
)
from inngest_sdk.flow_control import (
    Batch,
    Cancel,
    Concurrency,
    Debounce,
    Priority,
    RateLimit,
    Throttle,
    Timeouts,
)
from inngest_sdk.function import TriggerCron, TriggerEvent
from inngest_sdk.http import Request, Response, dumps
from inngest_sdk.registration import register, sync_url

CAPTURED = json.loads((Path(__file__).parent.parent / "captures/py-dev-register.json").read_text())
URL = "http://127.0.0.1:9001/api/inngest"
KEY = "signkey-prod-7468697320697320612074657374206b6579"
NOW = 1_795_347_346.5
OK = Response(200, {}, b'{"ok":true,"modified":true,"sync_id":"s","app_id":"a"}')


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INNGEST_DEV", "INNGEST_SIGNING_KEY", "INNGEST_SIGNING_KEY_FALLBACK"):
        monkeypatch.delenv(name, raising=False)


def app(**arguments: Any) -> Inngest:
    arguments.setdefault("is_production", False)
    client = Inngest(app_id="shop", **arguments)

    @client.create_function(fn_id="mail", trigger=TriggerEvent(event="shop/order.placed"))
    def mail(ctx: object) -> None: ...

    return client


def put(
    client: Inngest,
    headers: dict[str, str] | None = None,
    query: str = "",
    body: bytes = b"",
    verified: bool = False,
    **serving: str,
) -> Flow[Response]:
    return register(
        client,
        Request("PUT", f"{URL}{query}", headers or {}, body),
        URL,
        framework="aws-lambda",
        platform="aws",
        verified=verified,
        **serving,
    )


def asked(flow: Flow[Response]) -> Request:
    effect = next(flow)
    assert isinstance(effect, Fetch)
    return effect.request


def end(flow: Flow[Response], answer: Response | None) -> Response:
    try:
        flow.send(answer)
    except StopIteration as stop:
        response: Response = stop.value
        return response
    raise AssertionError("the flow asks for more")


def test_a_put_makes_the_app_register_itself() -> None:
    flow = put(app(app_version="v7", env="branch"))

    request = asked(flow)
    answer = end(flow, OK)

    assert (request.method, request.url) == ("POST", "http://localhost:8288/fn/register")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-inngest-framework"] == "aws-lambda"
    assert request.headers["x-inngest-env"] == "branch"
    assert "authorization" not in request.headers
    assert "x-inngest-expected-server-kind" not in request.headers
    assert {
        key: value for key, value in json.loads(request.body).items() if key != "functions"
    } == {
        "url": URL,
        "deployType": "ping",
        "sdk": request.headers["x-inngest-sdk"],
        "v": "0.1",
        "framework": "aws-lambda",
        "appName": "shop",
        "appVersion": "v7",
        "capabilities": {"in_band_sync": "v1", "trust_probe": "v1"},
        "headers": {"env": "branch", "platform": "aws"},
    }
    assert answer.status == 200
    assert answer.headers["x-inngest-sync-kind"] == "out_of_band"
    assert answer.json() == {"message": "registered 1 function of app 'shop'", "modified": True}


def test_what_is_not_set_is_not_sent() -> None:
    body = json.loads(asked(put(app())).body)

    assert "appVersion" not in body
    assert body["headers"] == {"platform": "aws"}


def test_the_deployment_and_the_kind_of_the_server_are_passed_on() -> None:
    flow = put(app(), headers={"x-inngest-server-kind": "dev"}, query="?deployId=d%2F1")

    request = asked(flow)

    assert request.url == "http://localhost:8288/fn/register?deployId=d%2F1"
    assert request.headers["x-inngest-expected-server-kind"] == "dev"


def test_the_key_is_sent_hashed() -> None:
    request = asked(put(app(signing_key=KEY)))

    assert request.headers["authorization"] == (
        "Bearer signkey-prod-ed30c63423735b44011c49a38c01a8062833420cfb299072e0263c986242556a"
    )


@pytest.mark.parametrize("status", [401, 403])
def test_when_the_key_is_refused_the_fallback_is_tried(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNGEST_SIGNING_KEY_FALLBACK", "beef")
    flow = put(app(signing_key=KEY))

    first = asked(flow)
    effect = flow.send(Response(status))
    assert isinstance(effect, Fetch)

    assert first.headers["authorization"] != f"Bearer {signing.hashed('beef')}"
    assert effect.request.headers["authorization"] == f"Bearer {signing.hashed('beef')}"
    assert effect.request.body == first.body
    assert end(flow, OK).status == 200


def test_the_fallback_is_not_tried_for_other_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNGEST_SIGNING_KEY_FALLBACK", "beef")
    flow = put(app(signing_key=KEY))
    next(flow)

    with pytest.raises(RegistrationFailedError, match="answered 500"):
        flow.send(Response(500))


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (
            Response(400, {}, b'{"error":"wrong kind of server"}'),
            400,
            "http://localhost:8288 answered 400 to the registration: wrong kind of server",
        ),
        (
            Response(500, {}, b'{"message":"it broke","error":"no"}'),
            500,
            "http://localhost:8288 answered 500 to the registration: it broke",
        ),
        (
            Response(401, {}, b'{"error":"who?"}'),
            401,
            "http://localhost:8288 answered 401 to the registration: who?; "
            "check INNGEST_SIGNING_KEY",
        ),
        (
            Response(503, {}, b"<html>busy"),
            503,
            "http://localhost:8288 answered 503 to the registration: <html>busy",
        ),
        (
            Response(302, {}, b""),
            502,
            "http://localhost:8288 answered 302 to the registration: nothing more",
        ),
        (
            Response(404, {}, b'{"error":{"a":1}}'),
            404,
            'http://localhost:8288 answered 404 to the registration: {"error":{"a":1}}',
        ),
    ],
)
def test_a_refused_registration_is_answered_with_the_servers_status_and_words(
    answer: Response, status: int, message: str
) -> None:
    flow = put(app())
    next(flow)

    with pytest.raises(RegistrationFailedError) as caught:
        flow.send(answer)

    assert caught.value.status == status
    assert caught.value.message == message


@pytest.mark.parametrize("body", [b"", b"[]", b"fine"])
def test_a_success_that_says_nothing_is_a_success(body: bytes) -> None:
    flow = put(app())
    next(flow)

    assert end(flow, Response(200, {}, body)).json()["modified"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "could not register with http://localhost:8288: no route; is the dev server up?"),
        (
            {"is_production": True, "signing_key": KEY},
            "could not register with https://api.inngest.com: no route; is it up, and are "
            "INNGEST_API_BASE_URL",
        ),
    ],
)
def test_an_unreachable_server_is_named_with_what_to_set(
    arguments: dict[str, Any], message: str
) -> None:
    flow = put(app(**arguments))
    next(flow)

    with pytest.raises(RegistrationFailedError) as caught:
        flow.throw(UnreachableError("no route"))

    assert caught.value.status == 502
    assert message in caught.value.message


def test_in_cloud_mode_registering_takes_a_key() -> None:
    with pytest.raises(SigningKeyMissingError, match="INNGEST_SIGNING_KEY"):
        next(put(app(is_production=True)))


def test_anybody_may_ask_for_an_out_of_band_registration_in_cloud_mode() -> None:
    request = asked(put(app(is_production=True, signing_key=KEY), verified=False))

    assert request.url == "https://api.inngest.com/fn/register"


IN_BAND = {"x-inngest-sync-kind": "in_band"}
NAMED = dumps({"url": "https://shop.example/api/inngest?code=c&deployId=d"})


def signed(body: bytes, key: str = KEY) -> dict[str, str]:
    return IN_BAND | {"x-inngest-signature": signing.sign(key, body, int(NOW))}


def test_an_in_band_registration_is_the_signed_answer_itself() -> None:
    client = app(signing_key=KEY, is_production=True, app_version="v7")

    answer = end(put(client, signed(NAMED), body=NAMED, verified=True), None)

    url = "https://shop.example/api/inngest?code=c"
    body = answer.json()
    assert answer.status == 200
    assert answer.headers["x-inngest-sync-kind"] == "in_band"
    assert body["functions"] == client.functions["shop-mail"].configs(url)
    assert body["inspection"]["authentication_succeeded"] is True
    assert {key: body[key] for key in body.keys() - {"functions", "inspection"}} == {
        "app_id": "shop",
        "appVersion": "v7",
        "capabilities": {"in_band_sync": "v1", "trust_probe": "v1"},
        "env": None,
        "framework": "aws-lambda",
        "platform": "aws",
        "sdk": f"inngest-serverless:v{body['sdk_version']}",
        "sdk_author": "inngest-serverless",
        "sdk_language": "py",
        "sdk_version": body["sdk_version"],
        "url": url,
    }


def test_a_front_doors_own_origin_and_path_beat_the_url_that_is_named() -> None:
    flow = put(app(), IN_BAND, body=NAMED, serve_origin="https://ours.example", serve_path="/jobs")

    assert end(flow, None).json()["url"] == "https://ours.example/jobs?code=c"


def test_a_dev_app_without_a_key_answers_in_band() -> None:
    answer = end(put(app(), IN_BAND, body=NAMED), None)

    assert answer.status == 200
    assert "x-inngest-signature" not in answer.headers


@pytest.mark.parametrize("production", [True, False])
def test_where_there_is_a_key_an_unsigned_in_band_registration_is_refused(
    production: bool,
) -> None:
    with pytest.raises(SignatureInvalidError):
        next(put(app(signing_key=KEY, is_production=production), IN_BAND, body=NAMED))


def test_cloud_mode_without_a_key_cannot_answer_in_band() -> None:
    with pytest.raises(SigningKeyMissingError):
        next(put(app(is_production=True), IN_BAND, body=NAMED))


@pytest.mark.parametrize(
    "body", [b"", b"no", b"[]", b"{}", b'{"url":5}', b'{"url":"/a"}', b'{"url":"http://[::1"}']
)
def test_an_in_band_registration_must_name_a_url(body: bytes) -> None:
    with pytest.raises(BodyInvalidError):
        next(put(app(), IN_BAND, body=body))


@pytest.mark.parametrize("kind", ["out_of_band", "in-band", ""])
def test_only_the_very_word_asks_for_in_band(kind: str) -> None:
    assert asked(put(app(), {"x-inngest-sync-kind": kind}, body=NAMED)).method == "POST"


def test_in_band_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNGEST_ALLOW_IN_BAND_SYNC", "0")

    request = asked(put(app(), IN_BAND, body=NAMED))

    assert json.loads(request.body)["capabilities"] == {"trust_probe": "v1"}


@pytest.mark.parametrize(
    ("request_url", "config", "origin", "path", "expected"),
    [
        ("https://a/p", Config(), None, None, "https://a/p"),
        ("https://a", Config(), None, None, "https://a"),
        ("https://a/p", Config(serve_origin="https://b"), None, None, "https://b/p"),
        ("https://a/p", Config(serve_path="/q"), None, None, "https://a/q"),
        ("https://a/p", Config(serve_origin="https://b"), "https://c", None, "https://c/p"),
        ("https://a/p", Config(serve_path="/q"), None, "r", "https://a/r"),
        ("http://a:1/p", Config(), "https://c:2/", "/r", "https://c:2/r"),
        (
            "https://a/p?deployId=1&code=x%2By%3D%3D&probe=trust&fnId=f&stepId=s&flag",
            Config(),
            None,
            None,
            "https://a/p?code=x%2By%3D%3D&flag",
        ),
        ("https://a/p?deploy%49d=1", Config(), None, None, "https://a/p"),
        ("https://a/p?code=1", Config(serve_origin="https://b"), None, "/q", "https://b/q?code=1"),
        ("https://a/p#part", Config(), None, None, "https://a/p"),
    ],
)
def test_the_url_is_the_arguments_then_the_environments_then_the_requests(
    request_url: str, config: Config, origin: str | None, path: str | None, expected: str
) -> None:
    assert sync_url(request_url, config, origin, path) == expected


def test_arguments_that_are_no_url_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"serve_origin is 'shop\.example'"):
        sync_url("https://a/p", Config(), "shop.example", None)


def recorded_app() -> Inngest:
    """The app behind the capture."""
    client = app()
    client.functions.clear()
    plain = {
        "no-steps": 1, "two-steps": 1, "loop-steps": 1, "step-error": 1, "fn-error": 1,
        "non-retriable": 3, "retry-after": 1, "with-on-failure": 0, "sleep": 1, "wait-hit": 1,
        "wait-timeout": 1, "invokee": 1, "invoker": 1, "invokee-fails": 0, "invoker-fails": 0,
        "send-event": 1, "parallel": 1,
    }  # fmt: skip
    options: dict[str, dict[str, Any]] = {
        fn_id: {"trigger": TriggerEvent(event=f"cap/{fn_id}"), "retries": retries}
        for fn_id, retries in plain.items()
    }
    options["with-on-failure"]["on_failure"] = handler
    options["batch"] = {"batch_events": Batch(max_size=3, timeout=5_000)}
    options["cron"] = {"trigger": TriggerCron(cron="* * * * *")}
    options["cancel-me"] = {"cancel": [Cancel(event="cap/cancel")]}
    options["on-cancel"] = {"trigger": TriggerEvent(event="inngest/function.cancelled")}
    options["concurrency"] = {
        "concurrency": [Concurrency(limit=1, key="event.data.user", scope="fn")],
        "throttle": Throttle(limit=10, period=1_000, burst=2),
        "priority": Priority(run="event.data.p"),
        "idempotency": "event.data.id",
    }
    options["rate"] = {
        "rate_limit": RateLimit(limit=1, period=10_000, key="event.data.u"),
        "timeouts": Timeouts(start=10_000, finish=60_000),
    }
    options["debounce"] = {"debounce": Debounce(period=1_000, timeout=10_000)}
    options["big-state"] = {}
    for fn_id, given in options.items():
        given.setdefault("trigger", TriggerEvent(event=f"cap/{fn_id}"))
        given.setdefault("retries", 1)
        client.create_function(fn_id=fn_id, **given)(handler)
    return client


def handler(ctx: object) -> None: ...


def without_empty_lists(entry: dict[str, Any]) -> dict[str, Any]:
    # The official SDK registers empty lists for a failure handler; we leave them out.
    return {key: value for key, value in entry.items() if value != []}


def test_the_same_functions_register_as_the_official_sdk_registers_them() -> None:
    recorded = [without_empty_lists(entry) for entry in CAPTURED["request"]["body"]["functions"]]

    ours = json.loads(asked(put(recorded_app())).body)["functions"]

    assert ours == recorded


def test_a_recorded_answer_is_understood() -> None:
    flow = put(recorded_app())
    next(flow)

    answer = end(flow, Response(200, {}, dumps(CAPTURED["response"]["body"])))

    assert answer.json() == {
        "message": "registered 25 functions of app 'shop'",
        "modified": False,
    }
