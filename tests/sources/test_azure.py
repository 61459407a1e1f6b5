"""The bridge from Azure, with what its worker makes for the function."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from inngest_serverless import Inngest, azure
from inngest_serverless.forwarding import ForwardError
from tests.sources import brought
from tests.sources.event_api import EventApi
from tests.sources.shapes import AT_MS

Bring: TypeAlias = Callable[..., None]

BODY = {"body": {"total": 9.5}, "encoding": "json"}

EXPECTED = {
    "queue": {
        "name": "azure/queue.message",
        "id": "asq:7c0d6bc5",
        "ts": AT_MS,
        "data": {"message_id": "7c0d6bc5", **BODY},
    },
    "service bus": {
        "name": "azure/servicebus.message",
        "id": f"sb:order-7:{AT_MS}:12",
        "ts": AT_MS,
        "data": {
            "message_id": "order-7",
            "sequence_number": 12,
            "session_id": "s",
            "correlation_id": "c",
            "subject": "An order",
            "content_type": "application/json",
            "application_properties": {"tenant": "acme"},
            **BODY,
        },
    },
    "event hub": {
        "name": "azure/eventhub.event",
        "id": "eh:shop.servicebus.windows.net:clicks:3:0",
        "ts": AT_MS,
        "data": {
            "namespace": "shop.servicebus.windows.net",
            "hub": "clicks",
            "partition": "3",
            "partition_key": "order-7",
            "sequence_number": 0,
            "offset": "0",
            **BODY,
        },
    },
    "event grid": {
        "name": "azure/eventgrid/Microsoft.Storage.BlobCreated",
        "id": f"eg:{brought.GRID['topic']}:{brought.GRID['id']}",
        "ts": AT_MS,
        "data": {
            "id": brought.GRID["id"],
            "topic": brought.GRID["topic"],
            "subject": brought.GRID["subject"],
            "event_type": "Microsoft.Storage.BlobCreated",
            "data_version": "2",
            "data": {"api": "PutBlob", "contentLength": 524288},
        },
    },
    "cloud event": {
        "name": "azure/eventgrid/com.acme.shop.Order.Placed",
        "id": "ce:/shop/orders:831e1650",
        "ts": AT_MS,
        "data": {
            "type": "com.acme.shop/Order Placed",
            "source": "/shop/orders",
            "subject": "orders/7",
            "id": "831e1650",
            "data": {"order": 7},
        },
    },
}
BROUGHT: dict[str, Callable[[], Any]] = {
    "queue": brought.queue_message,
    "service bus": brought.service_bus_message,
    "event hub": brought.event_hub_event,
    "event grid": lambda: brought.event_grid(brought.GRID),
    "cloud event": lambda: brought.event_grid(brought.CLOUD),
}


@pytest.fixture(name="bring", params=["sync", "async"])
def bring_fixture(request: pytest.FixtureRequest) -> Bring:
    """Hand what a trigger brings to a bridge of a client."""

    def bring(client: Inngest, what: object, **options: Any) -> None:
        if request.param == "sync":
            azure.forward(client, **options)(what)
        else:
            asyncio.run(_awaited(azure.forward_async(client, **options)(what)))

    return bring


async def _awaited(made: Any) -> None:
    await made


@pytest.mark.parametrize("kind", EXPECTED)
def test_what_a_trigger_brings_becomes_an_event(kind: str, bring: Bring, api: EventApi) -> None:
    bring(api.client(), BROUGHT[kind]())
    assert api.events == [EXPECTED[kind]]


def test_a_list_becomes_events_in_one_request(bring: Bring, api: EventApi) -> None:
    bring(api.client(), brought.service_bus_messages("1", "two", '{"n": 3}'))
    assert len(api.requests) == 1
    assert [event["data"]["body"] for event in api.events] == [1, "two", {"n": 3}]
    assert [event["id"] for event in api.events] == [f"sb:order-{n}:{AT_MS}:{n}" for n in range(3)]


def test_events_of_a_hub_have_their_partition_in_their_id(bring: Bring, api: EventApi) -> None:
    bring(api.client(), brought.event_hub_events([b"1", b"\xff"]))
    prefix = "eh:shop.servicebus.windows.net:clicks:3"
    assert [event["id"] for event in api.events] == [f"{prefix}:0", f"{prefix}:1"]
    assert api.events[1]["data"]["body"] == "/w=="


@pytest.mark.parametrize("context", ["{", [], {"PartitionId": 3}, {}])
def test_events_of_an_unknown_partition_have_no_id(
    context: object, bring: Bring, api: EventApi
) -> None:
    bring(api.client(), brought.event_hub_events([b"1"], PartitionContext=context))
    assert "id" not in api.events[0]


def test_what_was_not_sent_is_raised_so_that_it_comes_again(bring: Bring, api: EventApi) -> None:
    api.takes = 1
    with pytest.raises(ForwardError, match="1 of 2 messages did not become events"):
        bring(api.client(), brought.service_bus_messages("1", "2"))


def test_poison_may_be_handed_on(bring: Bring, api: EventApi) -> None:
    kept: list[Any] = []
    bring(
        api.client(),
        brought.queue_message("x" * 600_000),
        on_poison=lambda failure: kept.append(failure.message.get_body()),
    )
    assert kept == [b"x" * 600_000]


@pytest.mark.parametrize("what", ["text", b"bytes", {"id": 1}, None])
def test_what_no_parameter_was_annotated_for_is_told(
    what: object, bring: Bring, api: EventApi
) -> None:
    with pytest.raises(ForwardError, match="annotate the function's parameter"):
        bring(api.client(), what)
