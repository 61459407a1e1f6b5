"""Requests of every kind, as values: who may ask what, and what becomes of malformed ones."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inngest_sdk import signing
from inngest_sdk.drive import drive
from inngest_sdk.effects import Fetch, Returned
from inngest_sdk.endpoint import Entrypoint, serve
from inngest_sdk.errors import UnreachableError
from inngest_sdk.http import Request, Response, dumps
from inngest_serverless import ContextSync, Inngest, PydanticSerializer, TriggerEvent
from tests.sdk.play import FRONT, NOW, app

KEY = "signkey-test-" + "ab" * 32
OTHER = "signkey-test-" + "cd" * 32
URL = "https://app.example/api/inngest"


def shop(**settings: Any) -> Inngest:
    client = Inngest(app_id="shop", **settings)

    @client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))
    def f(ctx: ContextSync) -> Any:
        return {"n": len(ctx.events), "x": ctx.step.run("x", lambda: 1)}

    return client


CALL = {
    "ctx": {"run_id": "01RUN", "attempt": 0, "max_attempts": 4, "stack": {"stack": []}},
    "event": {"name": "a/b", "data": {}, "ts": 1},
    "events": [{"name": "a/b", "data": {}, "ts": 1}],
    "steps": {},
}


def post(body: Any = CALL, query: str = "fnId=shop-f&stepId=step", **headers: str) -> Request:
    raw = body if isinstance(body, bytes) else dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("POST", f"{URL}?{query}", named, raw)


def signed(request: Request, key: str = KEY) -> Request:
    header = signing.sign(key, request.body, int(NOW))
    return Request(
        request.method,
        request.url,
        {**request.headers, "x-inngest-signature": header},
        request.body,
    )


def answer(client: Inngest, request: Request, front: Entrypoint = FRONT) -> Response:
    return drive(serve(client, request, front, now=NOW))


# --- who may call -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "request_", "status"),
    [
        ({"signing_key": KEY}, signed(post()), 206),
        ({"signing_key": KEY}, signed(post(), OTHER), 401),
        ({"signing_key": KEY}, post(), 401),
        ({"signing_key": KEY}, post(x_inngest_signature="nonsense"), 401),
        ({}, post(), 500),
        ({}, signed(post()), 500),
        ({"is_production": False}, post(), 206),
        ({"is_production": False}, signed(post()), 206),
        ({"is_production": False, "signing_key": KEY}, post(), 206),
        ({"is_production": False, "signing_key": KEY}, signed(post()), 206),
        ({"is_production": False, "signing_key": KEY}, signed(post(), OTHER), 401),
    ],
)
def test_who_may_call(settings: dict[str, Any], request_: Request, status: int) -> None:
    assert answer(shop(**settings), request_).status == status


def test_the_fallback_key_verifies_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNGEST_SIGNING_KEY_FALLBACK", OTHER)
    assert answer(shop(signing_key=KEY), signed(post(), OTHER)).status == 206


def test_a_refusal_tells_strangers_nothing_and_the_log_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "inngest"):
        refused = answer(shop(signing_key=KEY), post())
    assert "refused a request: the request is not signed" in caplog.text
    assert refused.json() == {"message": "Unauthorized"}
    assert refused.headers == {
        "content-type": "application/json",
        "x-inngest-sdk-handled": "true",
    }


def test_a_cloud_app_without_a_key_says_what_to_set() -> None:
    message = answer(shop(), post()).json()["message"]
    assert "INNGEST_SIGNING_KEY" in message and "INNGEST_DEV=1" in message


def test_a_server_that_refuses_to_register_the_app_is_quoted() -> None:
    flow = serve(shop(signing_key=KEY), Request("PUT", URL), FRONT, now=NOW)
    next(flow)
    with pytest.raises(StopIteration) as stop:
        flow.send(Response(401, {}, b'{"error":"no such key"}'))
    refused: Response = stop.value.value
    assert refused.status == 401
    assert "no such key" in refused.json()["message"]
    assert "x-inngest-sdk" in refused.headers


def test_a_changed_byte_of_the_body_is_refused() -> None:
    good = signed(post())
    bad = Request(good.method, good.url, good.headers, good.body.replace(b"01RUN", b"02RUN"))
    assert answer(shop(signing_key=KEY), bad).status == 401


@pytest.mark.parametrize(
    ("settings", "kind", "remedy"),
    [
        ({"is_production": False}, "cloud", "unset INNGEST_DEV"),
        ({"signing_key": KEY}, "dev", "set INNGEST_DEV=1"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_a_server_of_the_other_kind_is_told_what_to_change(
    settings: dict[str, Any], kind: str, remedy: str, method: str
) -> None:
    request = Request(method, URL, {"x-inngest-server-kind": kind})
    refused = answer(shop(**settings), request)
    assert refused.status == 400
    assert remedy in refused.json()["message"]


# --- GET and the trust probe ------------------------------------------------------------------


def test_a_dev_app_introspects_for_everybody() -> None:
    got = answer(shop(is_production=False), Request("GET", URL))
    assert got.status == 200
    assert got.headers["x-inngest-sdk"].startswith("inngest-serverless:v")
    assert got.json() | {"mode": "dev", "function_count": 1} == got.json()


def test_a_cloud_app_introspects_for_who_signs() -> None:
    client = shop(signing_key=KEY)
    assert answer(client, Request("GET", URL)).status == 401
    got = answer(client, signed(Request("GET", URL)))
    assert got.json()["authentication_succeeded"] is True
    assert KEY not in got.body.decode()


def test_the_trust_probe_is_answered_with_a_signature_of_ours() -> None:
    client = shop(signing_key=KEY)
    probe = post(b"", "probe=trust")
    assert answer(client, probe).status == 401
    got = answer(client, signed(probe))
    assert (got.status, got.json()) == (200, {})
    signing.verify(got.body, got.headers["x-inngest-signature"], [KEY], NOW)


# --- malformed requests -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is empty"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "must be an object, not list"),
        (b"null", "must be an object, not null"),
        ({}, "ctx must be an object, not null"),
        ({**CALL, "ctx": []}, "ctx must be an object, not list"),
        ({**CALL, "ctx": {}}, "ctx.run_id must be a non-empty string, not null"),
        ({**CALL, "ctx": {"run_id": 7}}, "ctx.run_id must be a non-empty string, not int"),
        ({**CALL, "ctx": {"run_id": "r", "attempt": "0"}}, "ctx.attempt must be an integer"),
        ({**CALL, "ctx": {"run_id": "r", "max_attempts": True}}, "ctx.max_attempts must be an"),
        ({**CALL, "ctx": {"run_id": "r", "stack": {"stack": [1]}}}, "ctx.stack.stack must be"),
        ({**CALL, "ctx": {"run_id": "r", "stack": []}}, None),
        ({**CALL, "steps": []}, None),
        ({**CALL, "steps": [1]}, "steps must be an object, not list"),
        ({**CALL, "event": None}, "event must be an object, not null"),
        ({**CALL, "event": {"data": {}}}, "no name"),
        ({**CALL, "event": {"name": "a", "data": [1]}}, "is list, not an object"),
        ({**CALL, "events": {"a": 1}}, "events must be a list, not dict"),
        ({**CALL, "events": [7]}, "events[0] must be an object, not int"),
    ],
)
def test_a_malformed_call_is_answered_with_what_is_wrong(body: Any, said: str | None) -> None:
    got = answer(shop(is_production=False), post(body))
    if said is None:
        assert got.status == 206
        return
    assert got.status == 400
    assert said in got.json()["message"]
    assert got.headers["x-inngest-sdk"]
    assert got.headers["x-inngest-no-retry"] == "false"
    assert "Traceback" not in got.body.decode()


@pytest.mark.parametrize(
    ("method", "query", "status", "said"),
    [
        ("POST", "", 400, "no fnId"),
        ("POST", "fnId=", 400, "no fnId"),
        ("POST", "fnId=shop-nope", 404, "this app serves: shop-f"),
        ("DELETE", "fnId=shop-f", 405, "DELETE means nothing here"),
        ("HEAD", "", 405, "HEAD"),
    ],
)
def test_a_request_for_nothing_we_have_is_answered_with_what_we_have(
    method: str, query: str, status: int, said: str
) -> None:
    got = answer(shop(is_production=False), Request(method, f"{URL}?{query}", {}, dumps(CALL)))
    assert got.status == status
    assert said in got.json()["message"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["ctx", "event", "events", "steps", "use_api"]), json_values)
)
def test_no_body_whatsoever_escapes_as_an_exception(fields: dict[str, Any]) -> None:
    body = {**CALL, **fields}
    got = answer(shop(is_production=False, api_base_url="http://127.0.0.1:9"), post(body))
    assert got.status in (200, 206, 400, 500)
    json.loads(got.body)


@given(st.binary(max_size=200))
def test_no_bytes_whatsoever_escape_as_an_exception(body: bytes) -> None:
    assert answer(shop(is_production=False), post(body)).status == 400


def test_an_answer_over_the_platforms_limit_becomes_an_error_that_names_it() -> None:
    front = Entrypoint("test", "test", max_response_bytes=1000, limit_name="AWS Lambda")
    client = app()

    @client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"))
    def f(ctx: ContextSync) -> str:
        return "x" * 2000

    got = answer(client, post(), front)
    assert (got.status, got.headers["x-inngest-no-retry"]) == (500, "true")
    assert "2,002 bytes; AWS Lambda takes at most 1,000" in got.json()["message"]


def test_a_request_over_100_megabytes_is_refused() -> None:
    got = answer(shop(is_production=False), post(b" " * (100 * 1024 * 1024 + 1)))
    assert got.status == 413


def test_a_failure_of_our_own_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    client = shop(is_production=False)
    client.functions = None  # type: ignore[assignment] # the failure
    with caplog.at_level(logging.ERROR, "inngest"):
        got = answer(client, Request("GET", URL))
    assert (got.status, got.headers["x-inngest-no-retry"]) == (500, "false")
    assert "could not be answered" in caplog.text


# --- large state ------------------------------------------------------------------------------

LARGE = {**CALL, "ctx": {**CALL["ctx"], "use_api": True}, "events": [], "use_api": True}  # type: ignore[dict-item] # CALL's values are of several types
STEPS = Response(200, {}, dumps({"11f6ad8ec52a2984abaafd7c3b516503785c2072": {"data": 41}}))
BATCH = Response(200, {}, dumps([{"name": "a/b", "data": {}}, {"name": "a/b", "data": {}}]))


def test_large_state_is_fetched_with_the_hashed_key() -> None:
    client = shop(signing_key=KEY)
    flow = serve(client, signed(post(LARGE)), FRONT, now=NOW)
    asked = next(flow)
    assert isinstance(asked, Fetch)
    assert asked.request.url == "https://api.inngest.com/v0/runs/01RUN/actions"
    assert asked.request.headers["authorization"] == f"Bearer {signing.hashed(KEY)}"
    asked = flow.send(STEPS)
    assert isinstance(asked, Fetch)
    assert asked.request.url.endswith("/v0/runs/01RUN/batch")
    flow.send(BATCH)
    with pytest.raises(StopIteration) as stop:
        flow.send(Returned([1]))
    assert stop.value.value.status == 200


def test_events_that_came_along_are_not_fetched_again() -> None:
    flow = serve(
        shop(is_production=False), post({**LARGE, "events": CALL["events"]}), FRONT, now=NOW
    )
    assert isinstance(next(flow), Fetch)
    assert not isinstance(flow.send(STEPS), Fetch)


def test_a_refused_key_is_followed_by_the_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNGEST_SIGNING_KEY_FALLBACK", OTHER)
    flow = serve(shop(signing_key=KEY), signed(post(LARGE)), FRONT, now=NOW)
    next(flow)
    asked = flow.send(Response(401))
    assert isinstance(asked, Fetch)
    assert asked.request.headers["authorization"] == f"Bearer {signing.hashed(OTHER)}"


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (Response(410, {}, b'{"error":"gone"}'), "answered 410"),
        (Response(200, {}, b"<html>"), "not JSON"),
        (Response(200, {}, b"[]"), "not a JSON object"),
        (UnreachableError("no answer from there"), "no answer from there"),
    ],
)
def test_state_that_cannot_be_had_is_a_retriable_error(got: Any, said: str) -> None:
    flow = serve(shop(is_production=False), post(LARGE), FRONT, now=NOW)
    next(flow)
    with pytest.raises(StopIteration) as stop:
        flow.throw(got) if isinstance(got, Exception) else flow.send(got)
    refused: Response = stop.value.value
    assert (refused.status, refused.headers["x-inngest-no-retry"]) == (500, "false")
    assert said in refused.json()["message"]


# --- types ------------------------------------------------------------------------------------


def test_a_serializer_gives_declared_types_back() -> None:
    from datetime import date

    client = app(serializer=PydanticSerializer())

    @client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"), output_type=date)
    def f(ctx: ContextSync) -> date:
        day = ctx.step.run("day", lambda: date(2026, 11, 22), output_type=date)
        assert isinstance(day, date)
        return day.replace(day=1)

    [op] = answer(client, post()).json()
    assert op["data"] == "2026-11-22"
    memo = {**CALL, "steps": {op["id"]: {"data": op["data"]}}}
    assert answer(client, post(memo)).json() == "2026-11-01"
