"""What an app's answers mean (engine.md 3.4)."""

from __future__ import annotations

import gzip
import importlib.util
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inngest_serverless.engine.model import Failed, Finished, Ops, Reply
from inngest_serverless.engine.reply import read_reply
from inngest_serverless.engine.transport import MAX_ANSWER

from .captures import all_calls, label, response_bytes

NOW = 1_700_000_000_500
BASE = 1_700_000_000_000
SDK = {"X-Inngest-Sdk": "inngest-py:v0.5.19", "x-inngest-req-version": "2"}
STEP_RUN = {"op": "StepRun", "id": "a" * 40, "name": "one", "data": {"n": 1}}
STEP_ERROR = {"op": "StepError", "id": "b" * 40, "error": {"name": "E", "message": "boom"}}


def reply(status: int, body: Any = b"", **headers: str) -> Reply:
    given_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_reply(status, {**SDK, **given_headers}, content, now_ms=NOW)


def failure(found: Reply) -> Failed:
    assert isinstance(found, Failed), found
    assert isinstance(found.error["error"], str)
    assert isinstance(found.error["name"], str)
    assert isinstance(found.error["message"], str)
    return found


# ── recorded answers ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("exchange", all_calls(), ids=label)
def test_a_recorded_answer_means_what_its_status_and_body_say(exchange: dict[str, Any]) -> None:
    response = exchange["response"]
    found = read_reply(
        response["status"], response["headers"], response_bytes(exchange), now_ms=NOW
    )
    if response["status"] == 206:
        assert found == Ops(
            tuple(response["body"]),
            request_version=2,
            retriable=response["headers"].get("x-inngest-no-retry") != "true",
        )
    elif response["status"] == 200:
        assert found == Finished(response["body"])
    else:
        failed = failure(found)
        body = response["body"]
        assert failed.output == body
        assert failed.error["name"] == body["name"]
        assert failed.error["message"] == body["message"]
        assert failed.error["stack"] == body["stack"]
        assert failed.error.get("cause") == body.get("cause")
        assert failed.retriable == (response["headers"].get("x-inngest-no-retry") != "true")


def test_a_recorded_retry_after_sets_the_time_of_the_next_attempt() -> None:
    exchange = next(e for e in all_calls() if "retry-after" in e["response"]["headers"])
    response = exchange["response"]
    found = read_reply(500, response["headers"], response_bytes(exchange), now_ms=NOW)
    assert failure(found).retry_at_ms is not None


# ── 206 ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_array_of_ops_is_handed_on_as_it_came() -> None:
    assert reply(206, [STEP_RUN]) == Ops((STEP_RUN,), request_version=2)


def test_one_op_may_come_without_an_array() -> None:
    assert reply(206, STEP_RUN) == Ops((STEP_RUN,), request_version=2)


def test_an_empty_array_is_no_op_at_all() -> None:
    assert reply(206, []) == Ops((), request_version=2)


def test_either_spelling_of_an_ai_gateway_is_one_op() -> None:
    found = reply(206, [{"op": "AiGateway", "id": "a"}])
    assert isinstance(found, Ops)
    assert found.ops[0]["op"] == "AIGateway"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no body"),
        (b"  \n", "no body"),
        (b"<html>hello</html>", "not JSON"),
        (b"[NaN]", "NaN"),
        (b"null", "null"),
        (b'"ops"', "array"),
        ([None], "null"),
        ([STEP_RUN, None], "op 1"),
        ([[]], "object"),
        ([{"id": "a"}], "unknown kind null"),
        ([{"op": "StepNotFound", "id": "a"}], "StepNotFound"),
        ([{"op": {}, "id": "a"}], "unknown kind {}"),
        ([{"op": "StepError", "id": "a"}], "without an error"),
        ([{"op": "StepFailed", "id": "a", "error": "boom"}], "without an error"),
        (b"[" * 100_000, "deeper"),
    ],
)
def test_a_broken_206_fails_the_attempt_and_says_why(body: Any, said: str) -> None:
    failed = failure(reply(206, body))
    assert said in failed.error["message"]
    assert failed.retriable
    assert failed.output == {"error": failed.error}


def test_no_retry_on_a_206_holds_for_its_step_errors() -> None:
    assert reply(206, [STEP_ERROR], x_inngest_no_retry="true") == Ops(
        (STEP_ERROR,), request_version=2, retriable=False
    )
    assert reply(206, [STEP_ERROR], x_inngest_no_retry="false") == Ops(
        (STEP_ERROR,), request_version=2, retriable=True
    )


def test_without_a_request_version_it_is_zero() -> None:
    found = read_reply(206, {"x-inngest-sdk": "go:v1"}, b"[]", now_ms=NOW)
    assert found == Ops((), request_version=0)
    assert reply(206, [], x_inngest_req_version="two") == Ops((), request_version=0)


# ── 200 ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "output"),
    [
        (b"null", None),
        (b"", None),
        (b"3", 3),
        (b'"done"', "done"),
        (b"[1,2.5]", [1, 2.5]),
        (b'{"a":1}', {"a": 1}),
        (b"plain text", "plain text"),
        (b"\xff", "\ufffd"),
        (b"Infinity", "Infinity"),
        (b'"half \\ud83d a pair"', "half \ufffd a pair"),
    ],
)
@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_any_other_2xx_of_an_sdk_completes_the_run(status: int, body: bytes, output: Any) -> None:
    assert reply(status, body) == Finished(output)


def test_no_retry_turns_a_success_into_a_final_failure_that_says_so() -> None:
    failed = failure(reply(200, {"ok": 1}, x_inngest_no_retry="true"))
    assert not failed.retriable
    assert "x-inngest-no-retry" in failed.error["message"]
    assert failed.output == {"ok": 1}


def test_retry_after_turns_a_success_into_a_failure_that_says_so() -> None:
    failed = failure(reply(200, {"ok": 1}, retry_after="5"))
    assert failed.retriable
    assert failed.retry_at_ms == BASE + 5_000
    assert "retry-after" in failed.error["message"]


def test_a_success_that_says_it_may_be_retried_is_a_success() -> None:
    assert reply(200, 1, x_inngest_no_retry="false") == Finished(1)


@pytest.mark.parametrize("status", [200, 201, 203])
def test_a_2xx_that_no_sdk_sent_fails_with_the_raw_text(status: int) -> None:
    failed = failure(read_reply(status, {}, b"<html>hi</html>", now_ms=NOW))
    assert failed.retriable
    assert failed.error["message"] == "<html>hi</html>"
    assert failed.error["name"] == "Error"
    assert "x-inngest-sdk" in failed.error["error"]
    assert failed.output == "<html>hi</html>"


def test_a_206_that_no_sdk_sent_is_read_as_ops_first() -> None:
    html = failure(read_reply(206, {}, b"<html>hi</html>", now_ms=NOW))
    assert "not JSON" in html.error["message"]
    ops = failure(read_reply(206, {"x-inngest-sdk": ""}, b"[]", now_ms=NOW))
    assert "x-inngest-sdk" in ops.error["error"]


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [400, 401, 404, 410, 500, 502])
def test_an_error_status_of_an_sdk_is_a_function_error(status: int) -> None:
    body = {"code": "unknown", "name": "ValueError", "message": "nope", "stack": "at x"}
    failed = failure(reply(status, body))
    assert failed == Failed(
        {
            "error": f"invalid status code: {status}",
            "name": "ValueError",
            "message": "nope",
            "stack": "at x",
        },
        body,
        retriable=True,
    )


def test_no_retry_makes_an_error_final() -> None:
    failed = failure(reply(400, {"name": "E", "message": "m"}, x_inngest_no_retry="true"))
    assert not failed.retriable
    assert failed.error["error"] == "NonRetriableError"


@pytest.mark.parametrize(
    ("body", "name", "message"),
    [
        ({"error": {"name": "Inner", "message": "deep"}}, "Inner", "deep"),
        ({"body": {"name": "Inner", "message": "deep"}}, "Inner", "deep"),
        ({"error": "only text"}, "Error", "only text"),
        ({"message": ["not", "text"]}, "Error", '["not", "text"]'),
        ({"name": None, "message": ""}, "Error", "invalid status code: 500"),
        ({}, "Error", "invalid status code: 500"),
        ([1], "Error", "invalid status code: 500"),
        (b"", "Error", "invalid status code: 500"),
        (b"plain words", "Error", "plain words"),
    ],
)
def test_name_and_message_come_from_wherever_the_body_has_them(
    body: Any, name: str, message: str
) -> None:
    failed = failure(reply(500, body))
    assert (failed.error["name"], failed.error["message"]) == (name, message)
    assert "stack" not in failed.error


def test_a_cause_is_kept() -> None:
    body = {"name": "A", "message": "a", "cause": {"name": "B", "message": "b"}}
    assert failure(reply(500, body)).error["cause"] == {"name": "B", "message": "b"}


def test_a_proxy_error_becomes_readable() -> None:
    body = b"<html>" + b"x" * 20_000
    failed = failure(read_reply(504, {"content-type": "text/html"}, body, now_ms=NOW))
    assert failed.retriable
    assert "HTTP 504 came before the SDK answered" in failed.error["message"]
    assert failed.error["stack"] == body[:8192].decode()
    assert failed.output == failed.error


def test_a_refused_signature_says_what_to_do() -> None:
    headers = {"x-inngest-sdk-handled": "true"}
    failed = failure(read_reply(401, headers, b'{"message":"Unauthorized"}', now_ms=NOW))
    assert "signing key" in failed.error["message"]
    assert failed.retriable


# ── retry-after ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "wait_ms"),
    [
        ("2", 2_000),
        ("0", 1_000),
        ("-5", 1_000),
        ("9999999", 24 * 3_600_000),
        ("2023-11-14T22:13:30Z", 10_000),
        ("2023-11-14T23:13:30.250+01:00", 10_250),
        ("2023-11-14T22:13:30.123456789Z", 10_123),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10_000),
        ("Tuesday, 14-Nov-23 22:13:30 GMT", 10_000),
        ("2001-01-01T00:00:00Z", 1_000),
        ("soon", None),
        ("12345678", None),
        ("9999-99-99T99:99:99Z", None),
        ("", None),
    ],
)
def test_retry_after_counts_from_the_whole_second(value: str, wait_ms: int | None) -> None:
    failed = failure(reply(500, {}, retry_after=value))
    assert failed.retry_at_ms == (None if wait_ms is None else BASE + wait_ms)


def test_retry_after_on_a_206_is_handed_on() -> None:
    found = reply(206, [STEP_ERROR], retry_after="30")
    assert isinstance(found, Ops)
    assert found.retry_at_ms == BASE + 30_000


# ── 201 ──────────────────────────────────────────────────────────────────────────────────────────


def stream(document: Any, **headers: str) -> Reply:
    return reply(201, b"   \n  " + json.dumps(document).encode() + b"\n", **headers)


def test_a_stream_holds_one_document_whose_body_may_be_text() -> None:
    assert stream({"status": 200, "headers": {}, "body": '{"a":1}'}) == Finished({"a": 1})
    assert stream({"status": 200, "body": {"a": 1}}) == Finished({"a": 1})
    assert stream({"status": 200, "body": '"text"'}) == Finished("text")
    assert stream({"status": 200, "body": None}) == Finished(None)
    assert stream({"status": 206, "body": json.dumps([STEP_RUN])}) == Ops((STEP_RUN,), 2)


def test_an_error_inside_a_stream_is_an_error() -> None:
    document = {
        "status": 500,
        "headers": {"X-Inngest-No-Retry": "true"},
        "body": '{"name":"E","message":"m"}',
    }
    failed = failure(stream(document))
    assert (failed.error["name"], failed.retriable) == ("E", False)


def test_the_streams_own_headers_count_and_override_the_real_ones() -> None:
    document = {"status": 206, "headers": {"x-inngest-req-version": "1"}, "body": "[]"}
    assert stream(document) == Ops((), request_version=1)
    inside = {"status": 200, "headers": {"x-inngest-sdk": "js:v3"}, "body": "1"}
    assert read_reply(201, {}, json.dumps(inside).encode(), now_ms=NOW) == Finished(1)


@pytest.mark.parametrize(
    "body",
    [
        b"   ",
        b'   {"status":200,"body":"1"} trailing',
        b"[]",
        b'{"status":200,"body":"1","error":"the function died"}',
        b'{"status":"200"}',
        b'{"status":true}',
        b'{"status":201,"body":"1"}',
        b'{"body":"1"}',
        b'{"status":200,"headers":[]}',
    ],
)
def test_a_stream_that_ends_otherwise_fails_the_attempt(body: bytes) -> None:
    assert failure(reply(201, body)).retriable


# ── size and compression ─────────────────────────────────────────────────────────────────────────


def test_a_gzipped_answer_is_unpacked() -> None:
    assert reply(200, gzip.compress(b'{"a":1}'), content_encoding="gzip") == Finished({"a": 1})


@pytest.mark.parametrize("encoding", ["gzip, gzip", "deflate", "zstd"])
def test_any_other_encoding_fails_the_attempt(encoding: str) -> None:
    failed = failure(reply(200, b"1", content_encoding=encoding))
    assert encoding in failed.error["message"]
    assert failed.retriable


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"1" * 999)[:-9]])
def test_broken_gzip_fails_the_attempt(body: bytes) -> None:
    assert "unpacked" in failure(reply(500, body, content_encoding="gzip")).error["message"]


def test_br_is_read_with_the_brotli_package_and_refused_readably_without() -> None:
    found = reply(200, b"\x0b\x01\x80{}\x03", content_encoding="br")
    if importlib.util.find_spec("brotli"):
        assert isinstance(found, Finished | Failed)
    else:
        assert "pip install brotli" in failure(found).error["message"]


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_over_8_mb_ends_the_run(packed: bool) -> None:
    body = b'"' + b"x" * MAX_ANSWER + b'"'
    headers = {"content_encoding": "gzip"} if packed else {}
    failed = failure(reply(200, gzip.compress(body) if packed else body, **headers))
    assert not failed.retriable
    assert failed.error["name"] == "output_too_large"
    assert failed.error["error"].startswith("output_too_large")
    assert failed.output == {"error": failed.error}


def test_an_answer_of_8_mb_is_taken() -> None:
    body = b'"' + b"x" * (MAX_ANSWER - 2) + b'"'
    assert isinstance(reply(200, body), Finished)


# ── whatever comes ───────────────────────────────────────────────────────────────────────────────

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    status=st.sampled_from([0, 100, 200, 201, 204, 206, 302, 400, 500, 999]),
    headers=st.dictionaries(
        st.sampled_from(
            ["x-inngest-sdk", "retry-after", "x-inngest-no-retry", "content-encoding", "x"]
        )
        | st.just("x-inngest-req-version"),
        st.text(st.characters(max_codepoint=255), max_size=12)
        | st.sampled_from(["true", "gzip", "br"]),
    ),
    body=st.binary()
    | _JSON.map(lambda value: json.dumps(value).encode())
    | st.lists(st.fixed_dictionaries({"op": st.just("StepError") | _JSON, "error": _JSON})).map(
        lambda value: json.dumps(value).encode()
    )
    | st.fixed_dictionaries({"status": _JSON, "headers": _JSON, "body": _JSON}).map(
        lambda value: json.dumps(value).encode()
    ),
)
def test_whatever_an_app_answers_is_read_without_an_exception(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    found = read_reply(status, headers, body, now_ms=NOW)
    assert isinstance(found, Ops | Finished | Failed)
    json.dumps(getattr(found, "output", None), allow_nan=False).encode()
