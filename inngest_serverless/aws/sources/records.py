"""Lambda's events that are no HTTP, to messages. Pure.

    queue    SQS                      each message is acknowledged by itself
    stream   Kinesis, DynamoDB        all before the first that failed are acknowledged
    notice   SNS, EventBridge, S3     all or none; the function is invoked asynchronously

Queues often hold what other services put there: SNS notifications, EventBridge events and S3's
notices in SQS messages, the latter two in SNS notifications. Those become the events that they
would have become without the queue, with the same ids; `queue` is added to their data.

An event is whatever JSON someone invokes the function with, so every field may be missing, null or
of another type: such a field counts as missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import unquote_plus

from inngest_sdk.events import Event
from inngest_serverless.aws.sources.dynamodb import plain_item
from inngest_serverless.forwarding import (
    Message,
    base64_bytes,
    body_fields,
    event_id,
    ms_of_iso,
    ms_of_seconds,
    name_part,
    only_given,
    table,
    text,
)

Kind = Literal["queue", "stream", "notice"]


@dataclass(frozen=True)
class Batch:
    """What one invocation brings: how its source wants to be answered, and the messages."""

    kind: Kind
    source: str
    messages: tuple[Message, ...]


def batch_from(event: object) -> Batch | None:
    """Translate a Lambda event; None for one that comes from no source of messages."""
    given = table(event)
    if isinstance(given.get("detail-type"), str) and isinstance(given.get("source"), str):
        return Batch("notice", "aws:events", (_event_bridge_message(given),))
    records = given.get("Records")
    if not isinstance(records, list) or not records:
        return _unknown(given)
    source = _source(records[0])
    if not source:
        return None
    kind, translate = _SOURCES.get(source, ("queue", _no_translation))
    return Batch(kind, source, tuple(_translated(each, translate) for each in records))


def message_from(record: object) -> Message:
    """Translate one record of an event."""
    return _translated(record, _SOURCES.get(_source(record), ("queue", _no_translation))[1])


def _source(record: object) -> str:
    # SNS alone writes a capital E.
    given = table(record)
    return text(given.get("eventSource")) or text(given.get("EventSource"))


def _unknown(given: Mapping[str, Any]) -> Batch | None:
    """Kafka and brokers have their records elsewhere, and are not to count as processed."""
    source = text(given.get("eventSource"))
    if not source:
        return None
    return Batch("queue", source, (replace(_no_translation(given), original=given),))


def _no_translation(given: Mapping[str, Any]) -> Message:
    return Message(
        text(given.get("messageId")),
        problem=f"there is no translation for records from {_source(given) or 'nowhere'}",
    )


def _translated(record: object, translate: Callable[[Mapping[str, Any]], Message]) -> Message:
    if not isinstance(record, dict):
        problem = f"a record is a {type(record).__name__}, not an object"
        return Message("", problem=problem, original=record)
    return replace(translate(record), original=record)


# --- SQS ----------------------------------------------------------------------------------------


def _sqs(record: Mapping[str, Any]) -> Message:
    message_id, body = text(record.get("messageId")), record.get("body")
    if not isinstance(body, str):
        return Message(message_id, problem="the message has no body")
    attributes = table(record.get("attributes"))
    arn = text(record.get("eventSourceARN"))
    queue = arn.rpartition(":")[2]
    carried = body_fields(body)
    held = _enveloped(carried["body"])
    if held is not None:
        events = tuple(replace(each, data={**each.data, "queue": queue}) for each in held)
    else:
        default = Event(
            name="aws/sqs.message",
            # Not the deduplication id of a FIFO queue: it stands for one message for five minutes
            # only, and the same id an hour later is another message.
            id=event_id("sqs", message_id),
            ts=_ms_of_digits(attributes.get("SentTimestamp")),
            data={
                **only_given(
                    queue=queue,
                    queue_arn=arn,
                    message_id=message_id,
                    message_group_id=text(attributes.get("MessageGroupId")),
                    message_deduplication_id=text(attributes.get("MessageDeduplicationId")),
                ),
                "attributes": _sqs_attributes(record.get("messageAttributes")),
                **carried,
            },
        )
        events = (default,)
    # Standard queues have groups too, for fairness and without an order.
    group = text(attributes.get("MessageGroupId")) if arn.endswith(".fifo") else ""
    return Message(message_id, events, group)


def _sqs_attributes(given: object) -> dict[str, str]:
    return {
        name: text(held.get("stringValue")) or text(held.get("binaryValue"))
        for name, held in table(given).items()
        if isinstance(held, dict)
    }


def _enveloped(body: object) -> tuple[Event[Any], ...] | None:
    """The events of what another service put into a queue; None for a message of its own."""
    given = table(body)
    is_sns = given.get("Type") == "Notification" and isinstance(given.get("Message"), str)
    if is_sns and text(given.get("TopicArn")) and text(given.get("MessageId")):
        return _sns_events(given)
    return _noticed(given)


def _noticed(given: Mapping[str, Any]) -> tuple[Event[Any], ...] | None:
    """The events of an EventBridge event or of S3's notices in a message; None for others."""
    names = ("id", "source", "detail-type", "account", "time")
    if "detail" in given and all(text(given.get(name)) for name in names):
        return (_event_bridge_event(given),)
    if given.get("Service") == "Amazon S3" and given.get("Event") == "s3:TestEvent":
        return ()  # S3 tries a new configuration
    records = given.get("Records")
    if not isinstance(records, list) or not records:
        return None
    if not all(_source(each) == "aws:s3" for each in records):
        return None
    return tuple(event for each in records for event in _s3(each).events)


def _ms_of_digits(value: object) -> int:
    digits = text(value)
    # int() of a very long text takes long, and then raises.
    return ms_of_seconds(int(digits) / 1000) if digits.isdecimal() and len(digits) < 20 else 0


# --- SNS ----------------------------------------------------------------------------------------


def _sns(record: Mapping[str, Any]) -> Message:
    given = table(record.get("Sns"))
    message_id = text(given.get("MessageId"))
    if not isinstance(given.get("Message"), str):
        return Message(message_id, problem="the notification has no message")
    return Message(message_id, _sns_events(given))


def _sns_events(given: Mapping[str, Any]) -> tuple[Event[Any], ...]:
    carried = body_fields(given["Message"])
    held = _noticed(table(carried["body"]))
    if held is not None:
        return held
    arn, message_id = text(given.get("TopicArn")), text(given.get("MessageId"))
    attributes = {
        name: text(value.get("Value"))
        for name, value in table(given.get("MessageAttributes")).items()
        if isinstance(value, dict)
    }
    event = Event(
        name="aws/sns.notification",
        id=event_id("sns", message_id),
        ts=ms_of_iso(given.get("Timestamp")),
        data={
            **only_given(
                topic=arn.rpartition(":")[2],
                topic_arn=arn,
                message_id=message_id,
                subject=text(given.get("Subject")),
            ),
            "attributes": attributes,
            **carried,
        },
    )
    return (event,)


# --- EventBridge --------------------------------------------------------------------------------


def _event_bridge_message(given: Mapping[str, Any]) -> Message:
    event = _event_bridge_event(given)
    return Message(text(given.get("id")), (event,), original=given)


def _event_bridge_event(given: Mapping[str, Any]) -> Event[Any]:
    source, detail_type = text(given.get("source")), text(given.get("detail-type"))
    if source == "aws.s3" and (through := _s3_through_event_bridge(given)) is not None:
        return through
    parts = (name_part(source.removeprefix("aws.")), name_part(detail_type))
    resources = given.get("resources")
    return Event(
        name=f"aws/{'.'.join(part for part in parts if part) or 'event'}",
        id=event_id("eventbridge", text(given.get("id"))),
        ts=ms_of_iso(given.get("time")),
        data={
            **only_given(
                id=text(given.get("id")),
                source=source,
                detail_type=detail_type,
                account=text(given.get("account")),
                region=text(given.get("region")),
                time=text(given.get("time")),
            ),
            "resources": resources if isinstance(resources, list) else [],
            "detail": given.get("detail"),
        },
    )


# --- S3 -----------------------------------------------------------------------------------------


def _s3(record: Mapping[str, Any]) -> Message:
    """A notice of S3 itself, where the key comes encoded as in a form."""
    given = table(record.get("s3"))
    key = text(table(given.get("object")).get("key"))
    event_name = text(record.get("eventName"))
    event = _s3_event(
        kind=event_name.removeprefix("s3:"),
        bucket=text(table(given.get("bucket")).get("name")),
        thing={**table(given.get("object")), "key": unquote_plus(key)},
        time=text(record.get("eventTime")),
        region=text(record.get("awsRegion")),
    )
    if event is None:
        return Message(event_name, problem="the notice names no bucket, no object or no event")
    return Message(event.id, (event,))


def _s3_through_event_bridge(given: Mapping[str, Any]) -> Event[Any] | None:
    detail = table(given.get("detail"))
    return _s3_event(
        kind=text(given.get("detail-type")),
        bucket=text(table(detail.get("bucket")).get("name")),
        thing=table(detail.get("object")),
        time=text(given.get("time")),
        region=text(given.get("region")),
        reason=text(detail.get("reason")),
    )


def _s3_event(
    kind: str, bucket: str, thing: Mapping[str, Any], time: str, region: str, reason: str = ""
) -> Event[Any] | None:
    """ "ObjectCreated:Put" of a notice and "Object Created" of EventBridge are one event."""
    key, sequencer = text(thing.get("key")), text(thing.get("sequencer"))
    what, _, action = kind.partition(":")
    if not bucket or not key or not what:
        return None
    size = thing.get("size")
    name = name_part(what.removeprefix("Object"))
    return Event(
        name=f"aws/s3.object.{name}" if what.startswith("Object") else f"aws/s3.{name}",
        # Not all notices have a sequencer; it orders those of one key.
        id=event_id("s3", f"{bucket}/{key}", sequencer or f"{kind}:{time}"),
        ts=ms_of_iso(time),
        data=only_given(
            bucket=bucket,
            key=key,
            action=action or reason,
            size=size if isinstance(size, int) else None,
            etag=text(thing.get("eTag")) or text(thing.get("etag")),
            version_id=text(thing.get("versionId")) or text(thing.get("version-id")),
            sequencer=sequencer,
            region=region,
            time=time,
        ),
    )


# --- streams ------------------------------------------------------------------------------------


def _kinesis(record: Mapping[str, Any]) -> Message:
    given = table(record.get("kinesis"))
    sequence_number = text(given.get("sequenceNumber"))
    raw = base64_bytes(given.get("data"))
    if raw is None:
        return Message(sequence_number, problem="the record's data is not base64")
    arn, id_of_record = text(record.get("eventSourceARN")), text(record.get("eventID"))
    stream = arn.rpartition("/")[2]
    event = Event(
        name="aws/kinesis.record",
        # Shards are numbered in each stream anew.
        id=event_id("kinesis", arn, id_of_record),
        ts=ms_of_seconds(given.get("approximateArrivalTimestamp")),
        data={
            **only_given(
                stream=stream,
                stream_arn=arn,
                event_id=id_of_record,
                partition_key=text(given.get("partitionKey")),
                sequence_number=sequence_number,
            ),
            **body_fields(raw),
        },
    )
    return Message(sequence_number, (event,))


def _dynamodb(record: Mapping[str, Any]) -> Message:
    given = table(record.get("dynamodb"))
    sequence_number = text(given.get("SequenceNumber"))
    operation = name_part(text(record.get("eventName")))
    if not operation:
        return Message(sequence_number, problem="the record does not say what happened")
    arn, id_of_record = text(record.get("eventSourceARN")), text(record.get("eventID"))
    try:
        images = {
            field: plain_item(given[name]) if isinstance(given.get(name), dict) else None
            for field, name in _IMAGES.items()
        }
    except RecursionError:
        return Message(sequence_number, problem="its item is nested too deeply")
    event = Event(
        name=f"aws/dynamodb.{operation}",
        id=event_id("ddb", id_of_record),
        ts=ms_of_seconds(given.get("ApproximateCreationDateTime")),
        data={
            **only_given(
                table=arn.partition(":table/")[2].partition("/")[0],
                table_arn=arn.partition("/stream/")[0],
                operation=operation,
                event_id=id_of_record,
                sequence_number=sequence_number,
                # Whom DynamoDB itself deletes for: its time to live is over.
                deleted_by=text(table(record.get("userIdentity")).get("principalId")),
            ),
            **only_given(**images),
        },
    )
    return Message(sequence_number, (event,))


_IMAGES = {"keys": "Keys", "new_image": "NewImage", "old_image": "OldImage"}

_SOURCES: dict[str, tuple[Kind, Callable[[Mapping[str, Any]], Message]]] = {
    "aws:sqs": ("queue", _sqs),
    "aws:sns": ("notice", _sns),
    "aws:s3": ("notice", _s3),
    "aws:kinesis": ("stream", _kinesis),
    "aws:dynamodb": ("stream", _dynamodb),
}
