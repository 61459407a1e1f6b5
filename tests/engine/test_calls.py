"""Calls as HTTP requests, against recorded ones, and over a real connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inngest_sdk import signing
from inngest_serverless.engine import jsontext
from inngest_serverless.engine.calls import (
    MAX_REQUEST,
    HttpCaller,
    body_of,
    request_for,
    with_query,
)
from inngest_serverless.engine.clock import ManualClock
from inngest_serverless.engine.model import Call, Event, Failed, Finished, Reply
from inngest_serverless.engine.transport import AppUnreachable, HttpRequest, Transport

from .captures import SIGNING_KEY, all_calls, exchanges, is_whole, label

EVENT = Event("01M81GMWJKZQVRSHF444KHDDEQ", "e1", "shop/paid", {"n": 1}, 1_700_000_000_000, 0)


def call(**changes: Any) -> Call:
    values: dict[str, Any] = {
        "url": "http://localhost:9001/api/inngest?fnId=shop-f&stepId=step",
        "function_id": "d6062ecf-6a5a-5576-9734-6e966245f51c",
        "run_id": "01M81GMWQH3YJ1D4NG5CE8Z04Y",
        "job_id": "1s78flsy8wok9",
        "request_id": "01M81GMWSA9ZEGM7HMJAMXBMCA",
        "step_id": "step",
        "attempt": 0,
        "max_attempts": 2,
        "generation": 1,
        "stack": (),
        "current": 0,
        "request_version": -1,
        "disable_immediate_execution": False,
        "events": (EVENT,),
        "steps": {},
    }
    return Call(**{**values, **changes})


def recorded_call(request: dict[str, Any]) -> Call:
    """The Call that the recorded request must come from."""
    body, ctx, headers = request["body"], request["body"]["ctx"], request["headers"]
    return Call(
        url=f"http://{headers['host']}{request['path']}?{request['query']}",
        function_id=ctx["fn_id"],
        run_id=ctx["run_id"],
        job_id=ctx["job_id"],
        request_id=ctx["request_id"],
        step_id=headers["x-inngest-step-id"],
        attempt=ctx["attempt"],
        max_attempts=ctx["max_attempts"],
        generation=int(headers["x-inngest-generation-id"]),
        stack=tuple(ctx["stack"]["stack"]),
        current=ctx["stack"]["current"],
        request_version=body["version"],
        disable_immediate_execution=ctx["disable_immediate_execution"],
        events=tuple(
            Event("", e["id"], e["name"], e["data"], e["ts"], 0, e["user"]) for e in body["events"]
        ),
        steps=body["steps"],
    )


def without_generation(raw_body: str) -> str:
    """The recorded body less the one field we send as a header only (engine.md 5.1 M9)."""
    before, _, rest = raw_body.partition('"generation_id":')
    return before + rest.partition(",")[2]


WHOLE = [e for e in all_calls() if is_whole(e["request"]) and not e["request"]["body"]["use_api"]]


@pytest.mark.parametrize("exchange", WHOLE, ids=label)
def test_a_call_is_sent_as_the_real_server_sends_it(exchange: dict[str, Any]) -> None:
    recorded = exchange["request"]
    made = request_for(recorded_call(recorded), now_ms=int(exchange["t"] * 1_000))

    assert made.method == recorded["method"]
    assert made.url == f"http://{recorded['headers']['host']}{recorded['path']}?{recorded['query']}"
    del recorded["body"]["ctx"]["generation_id"]
    assert json.loads(made.body) == recorded["body"]
    if recorded["raw_body"] is not None:
        assert made.body.decode() == without_generation(recorded["raw_body"])
    # Not sent by us: connection and tracestate (calls.py says why), and what httpx adds itself.
    ours = {"host", "connection", "content-length", "tracestate", "x-inngest-signature"}
    expected = {name: value for name, value in recorded["headers"].items() if name not in ours}
    assert made.headers.keys() == expected.keys()
    for name in expected.keys() - {"traceparent", "accept-encoding"}:
        assert made.headers[name] == expected[name], name
    assert made.headers["accept-encoding"].startswith("gzip")
    assert len(made.headers["traceparent"]) == len(expected["traceparent"])


def test_a_recorded_body_over_the_limit_had_use_api_set_as_ours_has() -> None:
    recorded = next(e["request"] for e in all_calls() if e["request"]["body"]["use_api"])
    steps = {f"{n}": {"data": "x" * 900_000} for n in range(5)}
    body = json.loads(body_of(call(steps=steps)))
    assert recorded["body"]["steps"] == body["steps"] == {}
    assert recorded["body"]["ctx"]["use_api"] is body["ctx"]["use_api"] is True
    assert recorded["body"]["use_api"] is body["use_api"] is True
    assert len(recorded["body"]["events"]) == len(body["events"]) == 1


def test_events_too_large_to_send_are_left_to_the_app_to_fetch() -> None:
    big = [
        Event("", str(n), "shop/paid", {"x": "y" * 1_000_000}, 1_700_000_000_000, 0)
        for n in range(8)
    ]
    body = json.loads(body_of(call(events=tuple(big))))
    assert body["events"] == []
    assert body["event"]["id"] == "0"
    assert body["use_api"] is True
    assert len(body_of(call(events=tuple(big)))) <= MAX_REQUEST


def test_a_state_within_the_limit_is_sent() -> None:
    body = json.loads(body_of(call(steps={"a": {"data": "x" * 3_000_000}})))
    assert body["use_api"] is False
    assert len(body["steps"]["a"]["data"]) == 3_000_000


def test_a_recorded_signature_is_the_one_we_make_over_the_same_bytes() -> None:
    signed = [
        e["request"]
        for e in exchanges("py-signed.jsonl")
        if "x-inngest-signature" in e["request"]["headers"] and e["request"]["raw_body"]
    ]
    assert signed
    for request in signed:
        header = request["headers"]["x-inngest-signature"]
        now = int(header[2 : header.index("&")])
        assert signing.sign(SIGNING_KEY, request["raw_body"].encode(), now) == header


def test_a_key_signs_with_and_without_its_prefix_alike() -> None:
    bare = request_for(call(), now_ms=1_700_000_000_999, signing_key=SIGNING_KEY)
    prefixed = request_for(
        call(), now_ms=1_700_000_000_999, signing_key=f"signkey-test-{SIGNING_KEY}"
    )
    assert bare.headers["x-inngest-signature"] == prefixed.headers["x-inngest-signature"]
    signing.verify(bare.body, bare.headers["x-inngest-signature"], [SIGNING_KEY], now=1_700_000_000)


def test_a_planned_step_is_named_in_query_and_header_but_not_in_the_body() -> None:
    url = "http://h/x?code=s%26t&fnId=a&stepId=step"
    made = request_for(call(step_id="abc", url=url), now_ms=0)
    assert made.url == "http://h/x?code=s%26t&fnId=a&stepId=abc"
    assert made.headers["x-inngest-step-id"] == "abc"
    assert json.loads(made.body)["ctx"]["step_id"] == "step"


def test_empty_ids_are_left_out_of_the_body() -> None:
    ctx = json.loads(body_of(call(job_id="", request_id="")))["ctx"]
    assert not {"job_id", "qi_id", "request_id", "generation_id"} & ctx.keys()


def test_setting_a_query_key_keeps_the_others() -> None:
    assert with_query("http://h/x", "stepId", "a") == "http://h/x?stepId=a"
    assert with_query("http://h/x?a=&b=1#frag", "stepId", "é") == (
        "http://h/x?a=&b=1&stepId=%C3%A9"
    )


# ── canonical JSON ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (2.5, "2.5"),
        (1e16, "10000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (5e-324, "5e-324"),
        (333333333.33333329, "333333333.3333333"),
        (9007199254740993, "9007199254740992"),
        (12345678901234567890, "12345678901234567000"),
        (True, "true"),
        ({"b": 1, "a": [None, {}]}, '{"a":[null,{}],"b":1}'),
        ({"\ufb33": 1, "\U0001f600": 2}, '{"\U0001f600":2,"\ufb33":1}'),
        ('\u2028"\\\n\x01/é', '"\u2028\\"\\\\\\n\\u0001/é"'),
    ],
)
def test_canonical_json_is_that_of_rfc_8785(value: Any, text: str) -> None:
    assert jsontext.canonical(value).decode() == text


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_canonical_json_reads_back_as_doubles_and_is_its_own_canonical_form(value: Any) -> None:
    written = jsontext.canonical(value)
    read = jsontext.read(written)
    assert jsontext.canonical(read) == written
    assert as_doubles(read) == as_doubles(value)


def as_doubles(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_doubles(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_doubles(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


# ── over the network ─────────────────────────────────────────────────────────────────────────────

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[str]:
    """A server that does with each connection exactly what the test says."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def request_text(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
    return head + (await reader.readexactly(int(length[1]) if length else 0)).decode()


def response_text(status: int, body: str, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", body)
    return "\r\n".join(lines).encode()


def reply_of(handler: Handler, **changes: Any) -> Reply:
    async def act() -> Reply:
        async with listening(handler) as origin, HttpCaller(clock=ManualClock()) as caller:
            return await caller(call(url=f"{origin}/api/inngest?fnId=f", **changes))

    return asyncio.run(act())


def test_a_call_over_the_network_gives_the_apps_reply() -> None:
    seen: list[str] = []

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_text(reader))
        writer.write(response_text(200, '{"ok":1}', "x-inngest-sdk: py:v1"))

    assert reply_of(app) == Finished({"ok": 1})
    head, _, body = seen[0].partition("\r\n\r\n")
    assert head.startswith("POST /api/inngest?fnId=f&stepId=step HTTP/1.1")
    assert body == body_of(call()).decode()


def test_redirects_keep_method_body_headers_and_query() -> None:
    seen: list[str] = []
    hops = [
        response_text(302, "", "location: /api/inngest/"),
        response_text(303, "", "location: /other?fnId=f&moved=1"),
        response_text(200, "1", "x-inngest-sdk: py:v1"),
    ]

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(seen) < len(hops):
            seen.append(await request_text(reader))
            writer.write(hops[len(seen) - 1])

    assert reply_of(app) == Finished(1)
    lines = [each.partition("\r\n")[0] for each in seen]
    assert lines == [
        "POST /api/inngest?fnId=f&stepId=step HTTP/1.1",
        "POST /api/inngest/?fnId=f&stepId=step HTTP/1.1",
        "POST /other?fnId=f&moved=1 HTTP/1.1",
    ]
    assert len({each.partition("\r\n\r\n")[2] for each in seen}) == 1
    assert all("x-run-id" in each.lower() for each in seen)


def test_endless_redirects_are_given_up_after_sixty() -> None:
    count = 0

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await request_text(reader)
                count += 1
                writer.write(response_text(307, "", "location: /again"))

    found = reply_of(app)
    assert isinstance(found, Failed)
    assert "60 times" in found.error["message"]
    assert count == 61


def test_a_refused_connection_says_that_the_app_cannot_be_reached() -> None:
    async def act() -> Reply:
        async with listening(_silent) as origin:
            pass
        async with HttpCaller() as caller:
            return await caller(call(url=f"{origin}/api/inngest"))

    found = asyncio.run(act())
    assert isinstance(found, Failed)
    assert found.retriable
    assert "cannot be reached" in found.error["message"]
    assert "http://127.0.0.1:" in found.error["message"]


@pytest.mark.parametrize(
    "url", ["http://no-such-host.invalid/x", "https://[::1", "gopher://x/", "http://h:99999/"]
)
def test_an_impossible_url_is_a_failure_and_no_exception(url: str) -> None:
    async def act() -> Reply:
        async with HttpCaller() as caller:
            return await caller(call(url=url))

    assert isinstance(asyncio.run(act()), Failed)


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)


def test_an_answer_that_breaks_off_says_so_in_the_stack() -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_text(reader)
        writer.write(b"HTTP/1.1 201 X\r\ncontent-length: 1000\r\nx-inngest-sdk: a\r\n\r\n   ")
        await writer.drain()

    found = reply_of(app)
    assert isinstance(found, Failed)
    assert found.retriable
    assert "reset the connection" in found.error["stack"]


def test_a_connection_closed_without_an_answer_is_a_failure() -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_text(reader)

    found = reply_of(app)
    assert isinstance(found, Failed)
    assert found.retriable


def test_an_answer_over_8_mb_is_not_read_to_its_end() -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_text(reader)
        writer.write(b"HTTP/1.1 200 X\r\nx-inngest-sdk: a\r\nconnection: close\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b" " * 1_000_000)
                await writer.drain()

    found = reply_of(app)
    assert isinstance(found, Failed)
    assert found.error["name"] == "output_too_large"
    assert not found.retriable


def test_an_app_that_never_answers_is_given_up_after_the_time_it_has() -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def act() -> str:
        async with listening(app) as origin, Transport() as transport:
            with pytest.raises(AppUnreachable) as caught:
                await transport.send(HttpRequest("GET", origin, {}, b""), seconds=0.05)
            return str(caught.value)

    assert "did not answer within 0.05 s" in asyncio.run(act())
