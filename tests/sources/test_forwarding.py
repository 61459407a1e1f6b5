"""Messages become events: what all bridges share, on sync and on async platforms."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pytest

from inngest_sdk.errors import ConfigError, FunctionConfigInvalidError, SendEventsError
from inngest_serverless import Event, Inngest, MiddlewareSync
from inngest_serverless.forwarding import (
    Failure,
    ForwardError,
    Message,
    Rules,
    body_fields,
    cloud_event,
    event_id,
    forward,
    forward_async,
    ms_of_iso,
    ms_of_seconds,
    name_part,
    raise_for,
)
from tests.sources.event_api import EventApi

Forward: TypeAlias = Callable[[Inngest, Sequence[Message], Rules], list[Failure]]


@pytest.fixture(name="forward_in", params=["sync", "async"])
def forward_in_fixture(request: pytest.FixtureRequest) -> Forward:
    if request.param == "sync":
        return forward
    return lambda client, messages, rules: asyncio.run(forward_async(client, messages, rules))


def message(number: int, group: str = "", **data: Any) -> Message:
    event = Event(name="src/message", id=f"m:{number}", data={"number": number, **data})
    return Message(f"r{number}", (event,), group, original={"raw": number})


def numbers(api: EventApi) -> list[int]:
    return [event["data"]["number"] for event in api.events]


def receipts(failures: Sequence[Failure]) -> list[str]:
    return [failure.receipt for failure in failures]


def test_all_messages_are_sent_in_one_request(forward_in: Forward, api: EventApi) -> None:
    assert forward_in(api.client(), [message(n) for n in range(1000)], Rules()) == []
    assert (len(api.requests), numbers(api)) == (1, list(range(1000)))
    assert [event["id"] for event in api.events[:2]] == ["m:0", "m:1"]


def test_more_than_a_request_holds_is_sent_in_several(forward_in: Forward, api: EventApi) -> None:
    assert forward_in(api.client(), [message(n) for n in range(5001)], Rules()) == []
    assert [len(request) for request in api.requests] == [5000, 1]


def test_nothing_is_sent_of_nothing(forward_in: Forward, api: EventApi) -> None:
    assert forward_in(api.client(), [], Rules()) == []
    assert forward_in(api.client(), [message(1)], Rules(filter=lambda event: False)) == []
    assert api.requests == []


def test_a_name_may_be_fixed_or_depend_on_the_event(forward_in: Forward, api: EventApi) -> None:
    forward_in(api.client(), [message(1)], Rules(name="shop/order.placed"))
    by_number = Rules(name=lambda event: f"{event.name}/{event.data['number']}")
    forward_in(api.client(), [message(2)], by_number)
    assert [event["name"] for event in api.events] == ["shop/order.placed", "src/message/2"]


def test_an_event_may_carry_a_part_of_the_message_only(forward_in: Forward, api: EventApi) -> None:
    rules = Rules(
        filter=lambda event: event.data["number"] != 2, data=lambda event: event.data["body"]
    )
    forward_in(api.client(), [message(n, body={"total": n}) for n in (1, 2, 3)], rules)
    assert [event["data"] for event in api.events] == [{"total": 1}, {"total": 3}]


def too_large(event: Event) -> Any:
    return {"number": event.data["number"], "text": "x" * 600_000}


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"name": lambda e: "inngest/mine" if e.data["number"] == 2 else "a"}, "Inngest's own"),
        ({"name": lambda e: "" if e.data["number"] == 2 else "a"}, "has no name"),
        ({"name": lambda e: "n" * 513 if e.data["number"] == 2 else "a"}, "513 characters"),
        ({"name": lambda e: 7 if e.data["number"] == 2 else "a"}, "the name is a int"),
        ({"name": lambda e: {1: "a", 3: "a"}[e.data["number"]]}, "KeyError: 2"),
        ({"filter": lambda e: 1 / (e.data["number"] - 2)}, "ZeroDivisionError"),
        ({"data": lambda e: too_large(e) if e.data["number"] == 2 else e.data}, "524,288 at most"),
        ({"data": lambda e: [2] if e.data["number"] == 2 else e.data}, "mapping it failed"),
        ({"data": lambda e: {**e.data, "x": {1, 2}} if e.data["number"] == 2 else e.data}, "JSON"),
    ],
)
def test_poison_is_told_from_the_rest_and_the_rest_is_sent(
    rules: dict[str, Any], reason: str, forward_in: Forward, api: EventApi
) -> None:
    failures = forward_in(api.client(), [message(n) for n in (1, 2, 3)], Rules(**rules))
    assert numbers(api) == [1, 3]
    assert [(f.receipt, f.is_poison, f.message) for f in failures] == [("r2", True, {"raw": 2})]
    assert reason in failures[0].reason


def test_poison_is_logged_without_what_it_holds(
    forward_in: Forward, api: EventApi, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable = Message("r1", problem="the message has no body", original="secret")
    assert receipts(forward_in(api.client(), [unreadable], Rules())) == ["r1"]
    assert "message r1 cannot become an event, and is left to the platform" in caplog.text
    assert "secret" not in caplog.text


def test_poison_may_be_dropped(
    forward_in: Forward, api: EventApi, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable = Message("r1", problem="the message has no body")
    assert forward_in(api.client(), [unreadable, message(2)], Rules(on_poison="drop")) == []
    assert (numbers(api), "dropped" in caplog.text) == ([2], True)


def test_poison_may_be_handed_to_a_function(forward_in: Forward, api: EventApi) -> None:
    kept: list[object] = []
    rules = Rules(on_poison=lambda failure: kept.append(failure.message))
    unreadable = Message("r1", problem="the message has no body", original="raw")
    assert forward_in(api.client(), [unreadable], rules) == []
    assert kept == ["raw"]


def test_poison_that_its_function_cannot_keep_is_not_done_with(
    forward_in: Forward, api: EventApi, caplog: pytest.LogCaptureFixture
) -> None:
    def full(failure: Failure) -> None:
        raise OSError("no space left")

    unreadable = Message("r1", problem="the message has no body")
    failures = forward_in(api.client(), [unreadable, message(2)], Rules(on_poison=full))
    assert (receipts(failures), numbers(api)) == (["r1"], [2])
    assert "no space left" in caplog.text


async def keep(failure: Failure) -> None: ...


@pytest.mark.parametrize("on_poison", ["ignore", None, 7, keep])
def test_another_policy_for_poison_is_refused(on_poison: Any) -> None:
    with pytest.raises(ConfigError, match="on_poison is"):
        Rules(on_poison=on_poison)


def test_events_that_the_server_took_do_not_count_as_failed(
    forward_in: Forward, api: EventApi
) -> None:
    api.takes = 2
    failures = forward_in(api.client(), [message(n) for n in range(5)], Rules())
    assert receipts(failures) == ["r2", "r3", "r4"]
    assert not any(failure.is_poison for failure in failures)
    assert "not this one" in failures[0].reason


def test_a_message_of_several_events_fails_when_one_of_them_does(
    forward_in: Forward, api: EventApi
) -> None:
    several = Message("r0", (*message(1).events, *message(2).events))
    api.takes = 1
    assert receipts(forward_in(api.client(), [several], Rules())) == ["r0"]


def test_messages_of_a_group_do_not_overtake_one_that_failed(
    forward_in: Forward, api: EventApi
) -> None:
    rules = Rules(name=lambda event: "" if event.data.get("bad") else "a")
    batch = [
        message(1, "a"),
        message(2, "b"),
        message(3, "a", bad=True),
        message(4, "a"),
        message(5, "b"),
        Message("r6", group="b", problem="the message has no body"),
        message(7, "b"),
        message(8, "a"),
    ]
    failures = forward_in(api.client(), batch, rules)
    assert receipts(failures) == ["r3", "r4", "r6", "r7", "r8"]
    assert numbers(api) == [1, 2, 5]
    assert [f.is_poison for f in failures] == [True, False, True, False, False]


def test_dropped_poison_holds_nobody_up(forward_in: Forward, api: EventApi) -> None:
    batch = [Message("r1", group="a", problem="the message has no body"), message(2, "a")]
    assert forward_in(api.client(), batch, Rules(on_poison="drop")) == []
    assert numbers(api) == [2]


class Growing(MiddlewareSync):
    """Makes events too large, as encryption may."""

    def before_send_events(self, events: list[Event]) -> None:
        for event in events:
            if event.data["number"] == 2:
                event.data = too_large(event)


class Shrinking(MiddlewareSync):
    """Keeps what is large elsewhere."""

    def before_send_events(self, events: list[Event]) -> None:
        for event in events:
            event.data = {"number": event.data["number"]}


class Breaking(MiddlewareSync):
    def before_send_events(self, events: list[Event]) -> None:
        raise SendEventsError("the store is away")


class Renaming(MiddlewareSync):
    def before_send_events(self, events: list[Event]) -> None:
        for event in events:
            event.id = f"other-{event.id}"


def test_what_middleware_makes_too_large_is_poison(forward_in: Forward, api: EventApi) -> None:
    client = api.client(middleware=[Growing])
    assert receipts(forward_in(client, [message(n) for n in (1, 2, 3)], Rules())) == ["r2"]
    assert numbers(api) == [1, 3]


def test_what_middleware_makes_small_enough_is_sent(forward_in: Forward, api: EventApi) -> None:
    client = api.client(middleware=[Shrinking])
    assert forward_in(client, [message(1, text="x" * 600_000)], Rules()) == []
    assert api.events[0]["data"] == {"number": 1}


def test_nothing_counts_as_sent_when_middleware_fails(forward_in: Forward, api: EventApi) -> None:
    client = api.client(middleware=[Breaking])
    failures = forward_in(client, [message(1), message(2)], Rules())
    assert (receipts(failures), api.requests) == (["r1", "r2"], [])


def test_all_fail_when_it_is_not_known_which_did(forward_in: Forward, api: EventApi) -> None:
    client = api.client(middleware=[Renaming])
    api.takes = 1
    assert receipts(forward_in(client, [message(1), message(2)], Rules())) == ["r1", "r2"]


def test_what_was_not_sent_is_not_dropped_for_poison_without_an_id(
    forward_in: Forward, api: EventApi
) -> None:
    batch = [Message(f"r{n}", (Event(name="a", data={"number": n}),)) for n in (1, 2)]
    rules = Rules(name=lambda e: "" if e.data["number"] == 1 else "a", on_poison="drop")
    api.takes = 0
    assert "r2" in receipts(forward_in(api.client(), batch, rules))


def test_without_an_event_key_nothing_is_done(forward_in: Forward) -> None:
    client = Inngest(app_id="shop", is_production=True, signing_key="signkey-test-" + "ab" * 16)
    with pytest.raises(ConfigError, match="no event key"):
        forward_in(client, [message(1)], Rules())


def test_the_clients_logger_is_used(api: EventApi, caplog: pytest.LogCaptureFixture) -> None:
    client = api.client(logger=logging.getLogger("shop"))
    api.takes = 0
    forward(client, [message(1)], Rules())
    assert [record.name for record in caplog.records] == ["shop"]


def test_an_error_names_the_first_few_that_failed() -> None:
    failures = [Failure(f"r{n}", "too large", True, None) for n in range(5)]
    with pytest.raises(ForwardError) as caught:
        raise_for(failures, 9)
    assert caught.value.message == (
        "5 of 9 messages did not become events: r0: too large; r1: too large; r2: too large; "
        "and 2 more"
    )
    assert caught.value.failures == failures


# --- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "body", "encoding"),
    [
        ('{"total": 9.5}', {"total": 9.5}, "json"),
        (b'["\xc3\xa9"]', ["é"], "json"),
        ("7", 7, "json"),
        ("null", None, "json"),
        ("plain text", "plain text", "text"),
        ("", "", "text"),
        (b"\xff\xfe", "//4=", "base64"),
        ("NaN", "NaN", "text"),
        ("[1e999]", "[1e999]", "text"),
        ("1" * 400, "1" * 400, "text"),
        (r'"\ud800"', r'"\ud800"', "text"),
        ("[" * 100_000, "[" * 100_000, "text"),
        (b"\xef\xbb\xbf{}", "\ufeff{}", "text"),
    ],
)
def test_a_body_is_read_as_json_text_or_bytes(raw: Any, body: Any, encoding: str) -> None:
    assert body_fields(raw) == {"body": body, "encoding": encoding}


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        ("2026-11-22T08:26:40Z", 1795336000000),
        ("2026-11-22T08:26:40.5Z", 1795336000500),
        ("2026-11-22T08:26:40.123456789Z", 1795336000123),
        ("2026-11-22 08:26:40", 1795336000000),
        ("2026-11-22T10:26:40+02:00", 1795336000000),
        ("2026-11-22T05:56:40-02:30", 1795336000000),
        ("1979-12-31T23:59:59Z", 0),
        ("2100-01-02T00:00:00Z", 0),
        ("2026-13-22T08:26:40Z", 0),
        ("2026-02-30T08:26:40Z", 0),
        ("tomorrow", 0),
        ("", 0),
        (None, 0),
        (7, 0),
    ],
)
def test_times_of_sources_are_read(written: Any, ms: int) -> None:
    assert ms_of_iso(written) == ms


@pytest.mark.parametrize(
    ("seconds", "ms"),
    [
        (1795336000, 1795336000000),
        (1795336000.5, 1795336000500),
        (0, 0),
        (-1, 0),
        (10**400, 0),
        (float("nan"), 0),
        (float("inf"), 0),
        (True, 0),
        ("1795336000", 0),
        (None, 0),
    ],
)
def test_seconds_outside_of_what_an_event_may_have_count_as_unknown(seconds: Any, ms: int) -> None:
    assert ms_of_seconds(seconds) == ms


def test_an_id_is_made_of_known_parts_only() -> None:
    assert event_id("sqs", "abc", 7) == "sqs:abc:7"
    assert event_id("sqs", "") == event_id("sqs", "a", None) == event_id("sqs") == ""


def test_a_name_is_made_plain() -> None:
    assert name_part(" EC2 Instance/State-change  Näme! ") == "ec2.instance.state-change.n.me"


def test_two_cloud_events_are_the_same_by_source_and_id() -> None:
    attributes = {"id": "1", "source": "//here", "type": "a.b", "time": "2026-11-22T08:26:40Z"}
    made = cloud_event("gcp/a.b", attributes, {"x": 1})
    assert (made.id, made.ts) == ("ce://here:1", 1795336000000)
    assert made.data == {**attributes, "data": {"x": 1}}
    assert cloud_event("gcp/a.b", {"id": "1"}, b"{}").data == {
        "id": "1",
        "body": {},
        "encoding": "json",
    }


@pytest.mark.parametrize("name", ["inngest/x", "Inngest/X", "", "x" * 300])
def test_a_name_that_no_event_can_have_is_refused_at_once(name: str) -> None:
    with pytest.raises((ConfigError, FunctionConfigInvalidError), match="name of a bridge's"):
        Rules(name=name)
