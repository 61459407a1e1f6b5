"""Events on their way in and out."""

from __future__ import annotations

from typing import Any

import pytest

from inngest_sdk.errors import BodyInvalidError
from inngest_sdk.events import Event, SendEventsResult


def test_an_event_keeps_every_field_both_ways() -> None:
    wire = {
        "name": "shop/order.placed",
        "data": {"n": 1},
        "id": "order-1",
        "ts": 1_700_000_000_000,
        "user": {"id": 7},
        "v": "2",
        "meta": {"sessions": {"cart": "c1"}},
    }

    event = Event.from_json(wire)

    assert event == Event(
        name="shop/order.placed",
        data={"n": 1},
        id="order-1",
        ts=1_700_000_000_000,
        user={"id": 7},
        v="2",
        meta={"sessions": {"cart": "c1"}},
    )
    assert event.to_json() == wire


def test_fields_that_are_not_set_are_not_written() -> None:
    assert Event(name="a/b").to_json() == {"name": "a/b", "data": {}}


def test_unknown_and_null_fields_of_the_server_are_ignored() -> None:
    wire: dict[str, Any] = {
        "name": "a/b",
        "data": None,
        "user": {},
        "ts": 1.7e12,
        "v": None,
        "new": True,
    }

    assert Event.from_json(wire) == Event(name="a/b", ts=1_700_000_000_000)


def test_two_events_do_not_share_their_data() -> None:
    assert Event(name="a").data is not Event(name="b").data


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "an event is NoneType, not an object"),
        (["a"], "an event is list, not an object"),
        ({"data": {}}, "an event has no name"),
        ({"name": 1}, "an event has no name"),
        ({"name": "a/b", "data": [1]}, "the data of event 'a/b' is list, not an object"),
    ],
)
def test_what_is_no_event_is_refused(value: Any, message: str) -> None:
    with pytest.raises(BodyInvalidError) as caught:
        Event.from_json(value)

    assert caught.value.message == message


def test_a_result_of_sending_holds_ids_and_maybe_an_error() -> None:
    assert SendEventsResult(ids=["1"]) == SendEventsResult(ids=["1"], error=None)
