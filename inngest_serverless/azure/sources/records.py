"""What the triggers of Azure Functions bring, to messages. Pure.

The worker makes these objects of what the host tells it, where any field may be missing: such a
field, and one of another type, counts as missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from inngest_sdk.events import Event
from inngest_serverless.forwarding import (
    Message,
    body_fields,
    cloud_event,
    event_id,
    ms_of_seconds,
    only_given,
    table,
    text,
)


def messages_from(brought: object) -> list[Message]:
    """Translate what a trigger brought, one or, where its cardinality is many, a list."""
    return [_message(each) for each in (brought if isinstance(brought, list) else [brought])]


def _message(brought: object) -> Message:
    import azure.functions as func

    match brought:
        case func.ServiceBusMessage():
            return _service_bus(brought)
        case func.EventHubEvent():
            return _event_hub(brought)
        case func.QueueMessage():
            return _queue(brought)
        case func.EventGridEvent():
            return _event_grid(brought)
    # Made by azure-functions 1.25 and later only.
    if isinstance(brought, getattr(func, "CloudEvent", ())):
        return _cloud_event(brought)
    kind = type(brought).__name__
    return Message(
        "",
        problem=f"a {kind} is nothing that can be forwarded; annotate the function's parameter, as "
        "in message: func.QueueMessage",
        original=brought,
    )


def _service_bus(message: Any) -> Message:
    message_id, sequence = text(message.message_id), message.sequence_number
    enqueued_ms = _ms(message.enqueued_time_utc)
    made: Event[Any] = Event(
        name="azure/servicebus.message",
        # Senders choose message ids, and each queue counts from 1: together with the time they
        # are of one message. Abandoned and received again it keeps all three.
        id=event_id("sb", message_id, enqueued_ms, sequence),
        ts=enqueued_ms,
        data={
            **only_given(
                message_id=message_id,
                sequence_number=sequence,
                session_id=text(message.session_id),
                correlation_id=text(message.correlation_id),
                subject=text(message.subject),
                content_type=text(message.content_type),
            ),
            "application_properties": table(message.application_properties),
            **body_fields(message.get_body()),
        },
    )
    return Message(message_id, (made,), original=message)


def _event_hub(event: Any) -> Message:
    where, sequence = _partition(event), event.sequence_number
    made: Event[Any] = Event(
        name="azure/eventhub.event",
        # Each partition of each hub counts from 0, so without them there is no id.
        id=event_id("eh", where["namespace"], where["hub"], where["partition"], sequence),
        ts=_ms(event.enqueued_time),
        data={
            **only_given(
                **where,
                partition_key=text(event.partition_key),
                sequence_number=sequence,
                offset=event.offset,
            ),
            **body_fields(event.get_body()),
        },
    )
    return Message(str(sequence), (made,), original=event)


def _partition(event: Any) -> dict[str, str]:
    given = table(event.metadata).get("PartitionContext")
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            given = None
    context = table(given)
    return {
        "namespace": text(context.get("FullyQualifiedNamespace")),
        "hub": text(context.get("EventHubName")),
        "partition": text(context.get("PartitionId")),
    }


def _queue(message: Any) -> Message:
    message_id = text(message.id)
    made: Event[Any] = Event(
        name="azure/queue.message",
        id=event_id("asq", message_id),
        ts=_ms(message.insertion_time),
        data={**only_given(message_id=message_id), **body_fields(message.get_body())},
    )
    return Message(message_id, (made,), original=message)


def _event_grid(event: Any) -> Message:
    topic, grid_id = text(event.topic), text(event.id)
    made: Event[Any] = Event(
        name=_grid_name(event.event_type),
        id=event_id("eg", topic, grid_id),
        ts=_ms(event.event_time),
        data={
            **only_given(
                id=grid_id,
                topic=topic,
                subject=text(event.subject),
                event_type=text(event.event_type),
                data_version=text(event.data_version),
            ),
            "data": event.get_json(),
        },
    )
    return Message(grid_id, (made,), original=event)


def _cloud_event(event: Any) -> Message:
    attributes: Mapping[str, Any] = {
        name: getattr(event, name) for name in ("id", "source", "type", "subject")
    }
    made = cloud_event(_grid_name(event.type), attributes, event.get_json(), ts=_ms(event.time))
    return Message(text(event.id), (made,), original=event)


def _grid_name(event_type: object) -> str:
    # In the letters that Azure documents it with: Microsoft.Storage.BlobCreated.
    kind = re.sub(r"[^A-Za-z0-9_-]+", ".", text(event_type)).strip(".")
    return f"azure/eventgrid/{kind or 'event'}"


def _ms(at: object) -> int:
    if not isinstance(at, datetime):
        return 0
    # The worker leaves the zone out where the host wrote none; Azure's times are UTC.
    return ms_of_seconds((at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp())
