"""Calls and their answers, whatever is in them (wire.md A6, A7)."""

from __future__ import annotations

import json

import pytest

from tests.contract.doors import Door, call_body, target

VALUES: list[object] = [
    None,
    True,
    0,
    -1.5,
    "",
    "größer 日本 🛒 \u2028",
    'quotes " and \\ and </script>',
    [],
    {"a": {"b": [{"c": None}, []]}, "ü": "ß"},
]
FAILURES = [("retriable", "false", None), ("final", "true", None), ("later", "false", "30")]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: json.dumps(value)[:20])
def test_a_value_comes_back_as_it_went_in(door: Door, value: object) -> None:
    reply = door.call("value", value)
    assert (reply.status, reply.json()) == (200, value)
    assert reply.headers["content-type"].startswith("application/json")


def test_a_sync_function_runs(door: Door) -> None:
    assert door.call("value-sync", {"total": "9,90 €"}).json() == {"total": "9,90 €"}


def test_a_result_carries_nothing_that_asks_for_another_try(door: Door) -> None:
    headers = door.call("value").headers
    assert {"x-inngest-no-retry", "retry-after"}.isdisjoint(headers)


def test_a_body_that_travels_as_bytes_is_read(door: Door) -> None:
    body = call_body("9,90 €")
    binary = {"content-type": "application/octet-stream"}
    assert door.ask("POST", target("value"), body, binary).json() == "9,90 €"


def test_a_call_of_nearly_a_megabyte_arrives(door: Door) -> None:
    assert door.call("measure", "ü" * 450_000).json() == 450_000


def test_an_answer_of_nearly_a_megabyte_arrives(door: Door) -> None:
    assert len(door.call("make", 900_000).json()) == 900_000


def test_an_answer_of_two_megabytes_arrives(door: Door) -> None:
    assert len(door.call("make", 2_000_000).json()) == 2_000_000


def test_an_answer_that_nobody_could_carry_is_an_error_that_says_so(door: Door) -> None:
    reply = door.call("make", 9_000_000)
    assert (reply.status, reply.json()["code"]) == (500, "response_too_large")
    assert "takes at most" in reply.json()["message"]


@pytest.mark.parametrize(("kind", "no_retry", "after"), FAILURES)
def test_a_failed_function_says_whether_to_try_again(
    door: Door, kind: str, no_retry: str, after: str | None
) -> None:
    reply = door.call("fails", kind)
    assert (reply.status, reply.json()["message"]) == (500, "größer als der Vorrat")
    assert reply.headers["x-inngest-no-retry"] == no_retry
    assert reply.headers.get("retry-after") == after


@pytest.mark.parametrize("method", ["DELETE", "PATCH"])
def test_a_method_that_means_nothing_is_refused(door: Door, method: str) -> None:
    reply = door.ask(method)
    assert (reply.status, method in reply.json()["message"]) == (405, True)


def test_a_function_that_is_not_there_is_not_found(door: Door) -> None:
    reply = door.call("refund")
    assert reply.status == 404
    assert "'contract-refund'" in reply.json()["message"]
    assert reply.headers["x-inngest-no-retry"]


@pytest.mark.parametrize("body", [b"{", b"", b"[]", b'{"event":1}'])
def test_a_body_that_is_no_call_is_refused(door: Door, body: bytes) -> None:
    reply = door.ask("POST", target("value"), body)
    assert (reply.status, bool(reply.json()["message"])) == (400, True)


def test_a_call_of_no_function_is_refused(door: Door) -> None:
    reply = door.ask("POST", "stepId=step", call_body())
    assert (reply.status, "fnId" in reply.json()["message"]) == (400, True)


def test_every_answer_names_the_sdk_and_the_version_that_it_speaks(door: Door) -> None:
    replies = [
        door.ask("GET"),
        door.ask("PUT"),
        door.ask("PATCH"),
        door.call("value"),
        door.call("fails", "final"),
        door.call("steps"),
        door.call("refund"),
        door.ask("POST", target("value"), b"{"),
    ]
    heads = [reply.headers for reply in replies]
    heads += [reply.envelope.headers for reply in replies if reply.envelope is not None]
    assert {each["x-inngest-sdk"] for each in heads} == {"inngest-serverless:v0.1.0"}
    assert {each["x-inngest-req-version"] for each in heads} == {"2"}
    assert {each["x-inngest-framework"] for each in heads} == {door.front.framework}


def test_an_answer_tells_where_its_time_went(door: Door) -> None:
    parts = door.call("value").headers["server-timing"].split(", ")
    assert [each.partition(";")[0] for each in parts] == ["parse", "function", "total"]


def test_the_answer_to_a_call_leaves_in_one_piece_with_its_own_status(door: Door) -> None:
    assert door.call("value").envelope is None


def test_the_answer_to_a_call_is_the_document_of_a_stream(door: Door) -> None:
    reply = door.call("value", "9,90 €")
    assert reply.envelope is not None
    assert reply.envelope.body.startswith(b" ")
    assert reply.json() == "9,90 €"


def test_the_first_byte_of_an_answer_comes_while_the_function_still_runs(door: Door) -> None:
    door.server.takes_events.clear()
    with door.begun("sends", "9,90 €") as chunks:
        first = next(chunks)
        assert first.isspace()
        door.server.takes_events.set()
        document = json.loads(first + b"".join(chunks))
    assert document["status"] == 206
    (asked,) = door.server.asked_at("/e/")
    assert asked.json()[0]["data"] == {"value": "9,90 €"}


def test_what_is_refused_at_the_door_has_its_own_status(door: Door) -> None:
    assert door.call("refund").envelope is None
    assert door.ask("POST", target("value"), b"{").envelope is None
    assert door.cloud.ask("POST", target("value"), call_body()).envelope is None
