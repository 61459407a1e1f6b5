"""Requests of every kind, as values: who may ask what, and what becomes of malformed ones."""

from __future__ import annotations

import json
import logging
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inngest_sdk import signing
from inngest_sdk.config import Streaming
from inngest_sdk.drive import drive
from inngest_sdk.effects import Effect, Fetch, Flow, Now, Returned
from inngest_sdk.endpoint import Entrypoint, serve
from inngest_sdk.errors import UnreachableError
from inngest_sdk.http import Request, Response, dumps
from inngest_serverless import (
    Context,
    ContextSync,
    Event,
    Inngest,
    PydanticSerializer,
    TriggerEvent,
)
from tests.sdk.play import FRONT, NOW, Mode, app

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


def played(flow: Flow[Response], *replies: Response | Returned | Exception) -> Effect | Response:
    """What a flow comes to, or asks for, after these replies; asked for the time, it is NOW."""
    try:
        effect = next(flow)
        for reply in (None, *replies):
            if reply is not None:
                effect = flow.throw(reply) if isinstance(reply, Exception) else flow.send(reply)
            while isinstance(effect, Now):
                effect = flow.send(NOW)
    except StopIteration as stop:
        response: Response = stop.value
        return response
    return effect


def fetched(flow: Flow[Response], *replies: Response | Exception) -> Request:
    """What a flow fetches after these replies."""
    effect = played(flow, *replies)
    assert isinstance(effect, Fetch)
    return effect.request


def ended(flow: Flow[Response], *replies: Response | Returned | Exception) -> Response:
    """The answer that a flow comes to after these replies."""
    response = played(flow, *replies)
    assert isinstance(response, Response)
    return response


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
    refused = ended(flow, Response(401, {}, b'{"error":"no such key"}'))
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
    assert signer_of(got) == KEY


# --- what every answer carries ----------------------------------------------------------------


def signer_of(got: Response) -> str:
    header = got.headers["x-inngest-signature"]
    at = int(header.removeprefix("t=").partition("&")[0])
    return signing.verify(got.body, header, [KEY, OTHER], at)


IN_BAND = Request(
    "PUT", URL, {"x-inngest-sync-kind": "in_band"}, dumps({"url": "https://app.example/"})
)


@pytest.mark.parametrize("key", [KEY, OTHER])
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(), 206),
        (post(query="fnId=shop-nope"), 404),
        (post(b"{"), 400),
        (post(b"", "probe=trust"), 200),
        (Request("GET", URL), 200),
        (IN_BAND, 200),
        (Request("DELETE", URL), 405),
    ],
)
def test_who_signs_gets_a_signed_answer_by_the_same_key(
    request_: Request, status: int, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNGEST_SIGNING_KEY_FALLBACK", OTHER)
    got = answer(shop(signing_key=KEY), signed(request_, key))
    assert (got.status, signer_of(got)) == (status, key)


def test_an_answer_cut_to_the_limit_is_signed_as_it_leaves() -> None:
    front = Entrypoint("test", "test", max_response_bytes=10)
    got = answer(shop(signing_key=KEY), signed(post()), front)
    assert (got.json()["code"], signer_of(got)) == ("response_too_large", KEY)


@pytest.mark.parametrize("settings", [{"is_production": False}, {"signing_key": KEY}])
def test_who_does_not_sign_gets_no_signature(settings: dict[str, Any]) -> None:
    assert "x-inngest-signature" not in answer(shop(**settings), post()).headers


def test_a_signature_is_as_fresh_as_its_answer() -> None:
    flow = serve(shop(signing_key=KEY), signed(post()), FRONT, now=NOW)
    next(flow)
    flow.send(NOW)
    flow.send(Returned(None))
    flow.send(NOW + 7200)
    with pytest.raises(StopIteration) as stop:
        flow.send(NOW + 7201)
    assert stop.value.value.headers["x-inngest-signature"].startswith(f"t={int(NOW) + 7201}&")


def test_an_answer_says_how_long_each_part_took() -> None:
    flow = serve(shop(is_production=False), post(), FRONT, now=NOW)
    next(flow)
    flow.send(NOW + 0.5)
    flow.send(Returned(None))
    flow.send(NOW + 0.25)  # the clock was set back
    with pytest.raises(StopIteration) as stop:
        flow.send(NOW + 1.5)
    timing = stop.value.value.headers["server-timing"]
    assert timing == "parse;dur=500.0, function;dur=0, total;dur=1500.0"


def test_state_that_was_fetched_has_a_time_of_its_own() -> None:
    flow = serve(shop(is_production=False), post(LARGE), FRONT, now=NOW)
    timing = ended(flow, STEPS, BATCH, Returned(None)).headers["server-timing"]
    assert [part.partition(";")[0] for part in timing.split(", ")] == [
        *("parse", "state", "function", "total")
    ]


def test_strangers_are_told_no_times() -> None:
    assert "server-timing" not in answer(shop(signing_key=KEY), post()).headers


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

    def flow() -> Flow[Response]:
        return serve(client, signed(post(LARGE)), FRONT, now=NOW)

    steps = fetched(flow())
    assert steps.url == "https://api.inngest.com/v0/runs/01RUN/actions"
    assert steps.headers["authorization"] == f"Bearer {signing.hashed(KEY)}"
    assert fetched(flow(), STEPS).url.endswith("/v0/runs/01RUN/batch")
    assert ended(flow(), STEPS, BATCH, Returned([1])).status == 200


def test_events_that_came_along_are_not_fetched_again() -> None:
    flow = serve(
        shop(is_production=False), post({**LARGE, "events": CALL["events"]}), FRONT, now=NOW
    )
    assert ended(flow, STEPS, Returned([1])).status == 200


def test_a_refused_key_is_followed_by_the_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNGEST_SIGNING_KEY_FALLBACK", OTHER)
    flow = serve(shop(signing_key=KEY), signed(post(LARGE)), FRONT, now=NOW)
    again = fetched(flow, Response(401))
    assert again.headers["authorization"] == f"Bearer {signing.hashed(OTHER)}"


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
    refused = ended(serve(shop(is_production=False), post(LARGE), FRONT, now=NOW), got)
    assert (refused.status, refused.headers["x-inngest-no-retry"]) == (500, "false")
    assert said in refused.json()["message"]


# --- the trace --------------------------------------------------------------------------------

TRACE = {
    "traceparent": "00-e4dcb4a34c2629d18679c60f1c61a198-4560fbc9f4475574-01",
    "tracestate": "inngest@traceref=%7B%7D",
}


def traced(body: Any, headers: dict[str, str] = TRACE) -> Request:
    return Request("POST", f"{URL}?fnId=shop-f&stepId=step", headers, dumps(body))


def trace_of(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name.startswith("trace")}


def test_a_fetch_of_state_belongs_to_the_trace_of_its_call() -> None:
    flow = serve(shop(is_production=False), traced(LARGE), FRONT, now=NOW)
    assert trace_of(fetched(flow)) == TRACE


@pytest.mark.parametrize("value", ["", "00-é", "00-a\r\nx-injected: 1", "00-\x00"])
def test_a_trace_that_no_client_could_send_on_is_dropped(value: str) -> None:
    request = traced(LARGE, {"traceparent": value, "tracestate": "a=b"})
    flow = serve(shop(is_production=False), request, FRONT, now=NOW)
    assert trace_of(fetched(flow)) == {"tracestate": "a=b"}


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_checkpoints_and_events_belong_to_the_trace_of_their_call(mode: Mode) -> None:
    with Server() as server:
        client = app(api_base_url=server.url, event_api_base_url=server.url)
        trigger = TriggerEvent(event="a/b")
        if mode == "sync":

            @client.create_function(fn_id="f", trigger=trigger)
            def sync_function(ctx: ContextSync) -> list[str]:
                return ctx.step.send_event("tell", Event(name="a/c"))
        else:

            @client.create_function(fn_id="f", trigger=trigger)
            async def async_function(ctx: Context) -> list[str]:
                return await ctx.step.send_event("tell", Event(name="a/c"))

        body = {**CALL, "ctx": {**CALL["ctx"], "fn_id": "u", "qi_id": "q"}}  # type: ignore[dict-item] # CALL's values are of several types
        assert answer(client, traced(body)).status == 200
        assert answer(client, traced(body, {})).status == 200
    assert [(path[:4], trace) for path, trace in server.seen] == [
        ("/e/N", TRACE),
        ("/v1/", TRACE),
        ("/e/N", {}),
        ("/v1/", {}),
    ]


class Server:
    """Takes events and checkpoints, and notes whose trace they belong to."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                trace = {name: self.headers[name] for name in TRACE if name in self.headers}
                seen.append((self.path, trace))
                answer = b'{"ids":["01A"],"status":200}'
                self.send_response(200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Server:
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()


# --- values that no server reads --------------------------------------------------------------


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("where", ["the function", "a step"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("inf"), "is not JSON"),
        (nested(100_000), "is nested too deeply"),
    ],
)
def test_a_value_that_no_server_reads_is_refused_at_once(value: Any, said: str, where: str) -> None:
    client = app()

    @client.create_function(fn_id="f", trigger=TriggerEvent(event="a/b"), retries=0)
    def f(ctx: ContextSync) -> Any:
        return value if where == "the function" else ctx.step.run("x", lambda: value)

    got = answer(client, post())
    failure = got.json() if where == "the function" else got.json()[0]["error"]
    assert (got.status, failure["name"]) in [
        (500, "OutputUnserializableError"),
        (206, "OutputUnserializableError"),
    ]
    assert said in failure["message"]
    assert got.headers["x-inngest-no-retry"] == "true"


@pytest.mark.parametrize(
    "value",
    [
        10**308,
        "9" * 10_000,
        [int("9" * 17)] * 10_000,
        {"n": [10**18] * 1_000},
        nested(200),
        2**1023,
    ],
)
def test_a_value_that_only_looks_too_large_is_taken(value: Any) -> None:
    assert json.loads(dumps(value)) == value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (10**309, "the integer 100000000000... of 310 digits is beyond what JSON numbers hold"),
        ([1, {"n": -(10**400)}], "the integer -10000000000... of 401 digits is beyond"),
        (2**1024, "of 309 digits is beyond"),
    ],
)
def test_an_integer_beyond_doubles_is_not_written(value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        dumps(value)


@given(st.integers(0, 400), st.integers(300, 320), st.integers(0, 400))
def test_a_number_beyond_doubles_is_found_wherever_it_is(
    before: int, digits: int, behind: int
) -> None:
    value = ["x" * before, 10 ** (digits - 1), "x" * behind]
    if digits <= 309:
        assert json.loads(dumps(value)) == value
        return
    with pytest.raises(ValueError, match=f"of {digits} digits is beyond"):
        dumps(value)


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


def test_an_app_that_is_misconfigured_says_so_and_not_where_in_its_code() -> None:
    client = shop(is_production=False, streaming=Streaming.FORCE)
    got = answer(client, Request("PUT", URL))
    assert got.status == 500
    assert "cannot stream" in got.json()["message"]
    assert got.json().keys() == {"name", "message"}
