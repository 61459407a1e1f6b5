"""Whatever the sources' messages look like, a bridge tells what becomes of each."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import azure.functions as func
import pytest
from azure.functions import queue, servicebus
from hypothesis import given
from hypothesis import strategies as st

from inngest_serverless import aws
from inngest_serverless.aws.sources.records import batch_from
from inngest_serverless.azure.sources.records import messages_from
from inngest_serverless.forwarding import (
    EARLIEST_MS,
    LATEST_MS,
    ForwardError,
    Message,
    Rules,
    forward,
)
from inngest_serverless.gcp.sources.records import message_from, message_from_push
from tests.sources import brought, shapes, test_gcp
from tests.sources.event_api import EventApi, event_api
from tests.sources.hostile import HOSTILE, broken

TRIES = 10_000

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(HOSTILE),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
    max_leaves=8,
)


def of_lambda(event: Any) -> list[Message]:
    batch = batch_from(event)
    return [] if batch is None else list(batch.messages)


def of_queued(inner: Any) -> list[Message]:
    return of_lambda(shapes.records(shapes.sqs(json.dumps(inner))))


def of_push(body: Any) -> list[Message]:
    return [message_from_push(json.dumps(body).encode(errors="surrogatepass"))]


def of_cloud_event(event: Any) -> list[Message]:
    return [message_from(event)]


def of_event_grid(fields: Any) -> list[Message]:
    made = {name: fields.get(name) for name in GRID} if isinstance(fields, dict) else GRID
    return messages_from(func.EventGridEvent(**made))


def of_service_bus(fields: Any) -> list[Message]:
    made = fields if isinstance(fields, dict) else {}
    known: dict[str, Any] = {name: made.get(name) for name in SERVICE_BUS}
    return messages_from(servicebus.ServiceBusMessage(body=b"{}", user_properties={}, **known))


def of_queue(fields: Any) -> list[Message]:
    made = fields if isinstance(fields, dict) else {}
    known = {name: each for name, each in made.items() if name in QUEUE}
    message_class: Any = queue.QueueMessage  # without types
    return messages_from(message_class(body=b"{}", **known))


def of_event_hub(fields: Any) -> list[Message]:
    made = fields if isinstance(fields, dict) else {}
    known = {name: each for name, each in made.items() if name in EVENT_HUB}
    context = func.meta.Datum(made.get("context"), "json")
    if not isinstance(made.get("context"), str):
        context = func.meta.Datum(json.dumps(made.get("context")), "json")
    with contextlib.suppress(ValueError, RecursionError):  # the worker itself, for what is no JSON
        _ = context.python_value
        known["trigger_metadata"] = {"PartitionContext": context}
    return messages_from(func.EventHubEvent(body=b"\xff", **known))


GRID: dict[str, Any] = {
    "id": "831e1650",
    "topic": "/subscriptions/1",
    "subject": "/blobs/1.pdf",
    "event_type": "Microsoft.Storage.BlobCreated",
    "event_time": None,
    "data": {"api": "PutBlob"},
    "data_version": "2",
}
SERVICE_BUS: dict[str, Any] = {
    "message_id": "order-7",
    "sequence_number": 12,
    "session_id": "s",
    "correlation_id": "c",
    "subject": "An order",
    "content_type": "application/json",
    "application_properties": {"tenant": "acme"},
    "enqueued_time_utc": None,
}
QUEUE: dict[str, Any] = {"id": "7c0d6bc5", "dequeue_count": 1, "insertion_time": None}
EVENT_HUB: dict[str, Any] = {
    "partition_key": "order-7",
    "sequence_number": 0,
    "offset": "0",
    "enqueued_time": None,
}

SHAPES: dict[str, tuple[Any, Callable[[Any], list[Message]]]] = {
    **{name: (event, of_lambda) for name, event in shapes.LAMBDA_EVENTS.items()},
    "broken sns in sqs": (shapes.notification(), of_queued),
    "broken eventbridge in sqs": (shapes.s3_through_event_bridge(), of_queued),
    "broken s3 in sqs": (shapes.records(shapes.s3()), of_queued),
    "pubsub": ({**test_gcp.PUBSUB, "data": test_gcp.PUSH}, of_cloud_event),
    "storage": ({**test_gcp.STORAGE, "data": test_gcp.OBJECT}, of_cloud_event),
    "push": (test_gcp.PUSH, of_push),
    "event grid": (GRID, of_event_grid),
    "service bus": (SERVICE_BUS, of_service_bus),
    "storage queue": (QUEUE, of_queue),
    "event hub": ({**EVENT_HUB, "context": brought.PARTITION}, of_event_hub),
}


def check(message: Message) -> None:
    """What the rest of a bridge relies on."""
    assert isinstance(message.receipt, str) and isinstance(message.group, str)
    for event in message.events:
        assert isinstance(event.id, str) and isinstance(event.data, dict)
        assert event.name.startswith(("aws/", "gcp/", "azure/"))
        assert event.ts == 0 or EARLIEST_MS <= event.ts <= LATEST_MS


@pytest.mark.parametrize("name", SHAPES)
def test_ten_thousand_broken_messages_are_translated(name: str) -> None:
    shape, translate = SHAPES[name]
    made = problems = 0
    for seed in range(TRIES):
        try:
            for message in translate(broken(shape, seed)):
                check(message)
                made, problems = made + len(message.events), problems + bool(message.problem)
        except Exception as error:
            raise AssertionError(f"seed {seed} breaks {name}") from error
    assert made > TRIES / 10


@given(ANYTHING)
def test_anything_at_all_is_translated(event: Any) -> None:
    for translate in (of_lambda, of_cloud_event, messages_from):
        for message in translate(event):
            check(message)
    for source in ("aws:sqs", "aws:sns", "aws:s3", "aws:kinesis", "aws:dynamodb"):
        for message in of_lambda({"Records": [{"eventSource": source, "body": event}, event]}):
            check(message)


@pytest.fixture(scope="module", name="shared_api")
def shared_api_fixture() -> Iterator[EventApi]:
    with event_api() as started:
        yield started


RECORDS: dict[str, Callable[[int], Any]] = {
    "sqs": lambda number: shapes.sqs(number=number),
    "sqs fifo": lambda number: shapes.sqs(number=number, fifo_group=f"g{number % 100}"),
    "kinesis": lambda number: shapes.kinesis(number=number),
    "dynamodb": lambda number: shapes.dynamodb(number=number),
}


@pytest.mark.parametrize("name", RECORDS)
def test_of_a_thousand_broken_messages_each_is_sent_or_has_failed(
    name: str, api: EventApi, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    whole = [RECORDS[name](number) for number in range(1000)]
    half_broken = [broken(each, n) if n % 2 else each for n, each in enumerate(whole)]
    messages = of_lambda({"Records": half_broken})
    failures = forward(api.client(), messages, Rules())
    # Those that have lost their id share their fate, so some are sent and have failed.
    assert len(messages) == 1000 <= len(api.events) + len(failures)
    assert len(api.events) >= 500
    assert len(failures) > 50


@pytest.mark.parametrize("name", shapes.LAMBDA_EVENTS)
def test_a_handler_answers_or_raises_to_have_it_delivered_again(
    name: str, shared_api: EventApi, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    client = shared_api.client()
    handler = aws.serve(client, forward=aws.forward(client))
    for seed in range(200):
        with contextlib.suppress(ForwardError):
            answer = handler(broken(shapes.LAMBDA_EVENTS[name], seed), None)
            assert "batchItemFailures" in answer or "ok" in answer or "statusCode" in answer
