"""CloudEvents of Google Cloud, and Pub/Sub's pushes, to messages. Pure.

Every field may be missing, null or of another type: such a field counts as missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from inngest_sdk.events import Event
from inngest_serverless.forwarding import (
    Message,
    base64_bytes,
    body_fields,
    cloud_event,
    event_id,
    ms_of_iso,
    name_part,
    only_given,
    table,
    text,
)

PUBSUB = "google.cloud.pubsub.topic.v1.messagePublished"

_VERSION = re.compile(r"\.v\d+\b")


def message_from(event: object) -> Message:
    """Translate a CloudEvent, as functions-framework makes it or as the dict that it is in JSON."""
    attributes, data = _parts(event)
    kind = text(attributes.get("type"))
    if kind == PUBSUB:
        return pubsub_message(table(data), text(attributes.get("source")), event)
    name = name_part(_VERSION.sub("", re.sub(r"^google\.(cloud\.)?", "", kind)))
    if not name:
        return Message(
            text(attributes.get("id")), problem="it is no CloudEvent with a type", original=event
        )
    made = cloud_event(f"gcp/{name}", attributes, data)
    return Message(text(attributes.get("id")), (made,), original=event)


def message_from_push(body: bytes) -> Message:
    """Translate what a push subscription of Pub/Sub posts."""
    try:
        return pubsub_message(table(json.loads(body)), "", body)
    except (ValueError, RecursionError):
        return Message("", problem="the body of the push is not JSON", original=body)


def pubsub_message(given: Mapping[str, Any], source: str, original: object) -> Message:
    """Translate a message with what surrounds it; the topic is in the CloudEvent's source only."""
    message = given.get("message")
    if not isinstance(message, dict):
        return Message("", problem="there is no Pub/Sub message in it", original=original)
    # Pushes have each field twice, the second time with an underscore.
    message_id = text(message.get("messageId")) or text(message.get("message_id"))
    published = text(message.get("publishTime")) or text(message.get("publish_time"))
    # A message of attributes alone has no data.
    raw = base64_bytes(message.get("data") or "")
    if raw is None:
        return Message(message_id, problem="the message's data is not base64", original=original)
    topic = source.partition("/topics/")[2] or None
    made: Event[Any] = Event(
        name="gcp/pubsub.message",
        id=event_id("pubsub", message_id),
        ts=ms_of_iso(published),
        data={
            **only_given(
                topic=topic,
                subscription=text(given.get("subscription")),
                message_id=message_id,
                publish_time=published,
                ordering_key=text(message.get("orderingKey")),
            ),
            "attributes": table(message.get("attributes")),
            **body_fields(raw),
        },
    )
    return Message(message_id, (made,), original=original)


def _parts(event: object) -> tuple[Mapping[str, Any], object]:
    if isinstance(event, dict):
        return event, event.get("data")
    attributes: Any = getattr(event, "get_attributes", dict)
    data: Any = getattr(event, "get_data", lambda: None)
    return attributes(), data()
