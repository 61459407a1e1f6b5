"""The bridge from AWS: what each source's messages become, and what Lambda is answered."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    SqsFifoPartialProcessor,
    process_partial_response,
)
from aws_lambda_powertools.utilities.typing import LambdaContext

from inngest_serverless import aws
from inngest_serverless.aws.sources.dynamodb import plain_item, plain_number, plain_value
from inngest_serverless.forwarding import ForwardError
from tests.sources import shapes
from tests.sources.event_api import EventApi
from tests.sources.shapes import AT, AT_MS, records

QUEUE = shapes.ARN.format("sqs", "orders")
OBJECT = {
    "bucket": "invoices",
    "key": "2026/März 1.pdf",
    "size": 1024,
    "etag": "d41d8cd98f00b204e9800998ecf8427e",
    "version_id": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
    "sequencer": "0055AED6DCD90281E5",
    "region": "eu-central-1",
    "time": AT,
}
S3_EVENT = {
    "name": "aws/s3.object.created",
    "id": "s3:invoices/2026/März 1.pdf:0055AED6DCD90281E5",
    "ts": AT_MS,
    "data": {**OBJECT, "action": "Put"},
}
SNS_EVENT = {
    "name": "aws/sns.notification",
    "id": "sns:95df01b4-ee98-5cb9-9903-4c221d41eb5e",
    "ts": AT_MS,
    "data": {
        "topic": "orders",
        "topic_arn": shapes.ARN.format("sns", "orders"),
        "message_id": "95df01b4-ee98-5cb9-9903-4c221d41eb5e",
        "subject": "An order",
        "attributes": {"tenant": "acme"},
        "body": "hello",
        "encoding": "text",
    },
}
EVENT_BRIDGE_EVENT = {
    "name": "aws/com.acme.shop.order.placed",
    "id": "eventbridge:6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "ts": 1795336000000,
    "data": {
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "source": "com.acme.shop",
        "detail_type": "Order Placed",
        "account": "123456789012",
        "region": "eu-central-1",
        "time": "2026-11-22T08:26:40Z",
        "resources": [shapes.ARN.format("shop", "orders/7")],
        "detail": {"order": 7},
    },
}


def forwarded(api: EventApi, event: object, **options: Any) -> list[dict[str, Any]]:
    """What arrives when a bridge is given an event, all of which it can forward."""
    answer = aws.forward(api.client(), **options)(event, None)
    assert answer == {"batchItemFailures": []}
    return api.events


def queued(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, "data": {**event["data"], "queue": "orders"}}


def test_a_message_of_sqs(api: EventApi) -> None:
    message_id = "059f36b4-87a3-44ab-83d2-000000000001"
    assert forwarded(api, records(shapes.sqs())) == [
        {
            "name": "aws/sqs.message",
            "id": f"sqs:{message_id}",
            "ts": AT_MS,
            "data": {
                "queue": "orders",
                "queue_arn": QUEUE,
                "message_id": message_id,
                "attributes": {"tenant": "acme", "raw": "AAE="},
                "body": {"total": 9.5},
                "encoding": "json",
            },
        }
    ]


def test_two_messages_with_one_deduplication_id_are_two(api: EventApi) -> None:
    batch = records(shapes.sqs(number=1, fifo_group="a"), shapes.sqs(number=2, fifo_group="a"))
    first, second = forwarded(api, batch)
    assert first["id"] != second["id"]
    assert first["data"]["message_group_id"] == "a"
    assert first["data"]["message_deduplication_id"] == "d"


def test_a_notification_of_sns(api: EventApi) -> None:
    assert forwarded(api, records(shapes.sns())) == [SNS_EVENT]


def test_an_event_of_eventbridge(api: EventApi) -> None:
    assert forwarded(api, shapes.event_bridge()) == [EVENT_BRIDGE_EVENT]


@pytest.mark.parametrize(
    ("source", "detail_type", "name"),
    [
        ("aws.ec2", "EC2 Instance State-change Notification", None),
        ("aws.events", "Scheduled Event", "aws/events.scheduled.event"),
        ("", "", "aws/event"),
        ("inngest/", "!", "aws/inngest"),
    ],
)
def test_an_event_of_eventbridge_is_named_by_its_source_and_type(
    source: str, detail_type: str, name: str | None, api: EventApi
) -> None:
    (event,) = forwarded(api, shapes.event_bridge(source, detail_type))
    assert event["name"] == (name or "aws/ec2.ec2.instance.state-change.notification")


def test_a_notice_of_s3_is_the_same_event_by_either_way(api: EventApi) -> None:
    direct, through = (
        *forwarded(api, records(shapes.s3())),
        *forwarded(api, shapes.s3_through_event_bridge())[1:],
    )
    assert direct == S3_EVENT
    assert through == {**S3_EVENT, "data": {**OBJECT, "action": "PutObject"}}


@pytest.mark.parametrize(
    ("event_name", "name"),
    [
        ("ObjectRemoved:DeleteMarkerCreated", "aws/s3.object.removed"),
        ("s3:ObjectTagging:Put", "aws/s3.object.tagging"),
        ("ReducedRedundancyLostObject", "aws/s3.reducedredundancylostobject"),
    ],
)
def test_a_notice_of_s3_is_named_by_what_happened(
    event_name: str, name: str, api: EventApi
) -> None:
    record: Any = shapes.s3() | {"eventName": event_name}
    del record["s3"]["object"]["sequencer"]
    (event,) = forwarded(api, records(record))
    assert event["name"] == name
    assert event["id"].endswith(f":{event_name.removeprefix('s3:')}:{AT}")


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (shapes.notification(), SNS_EVENT),
        (shapes.event_bridge(), EVENT_BRIDGE_EVENT),
        (records(shapes.s3()), S3_EVENT),
        (shapes.notification(json.dumps(records(shapes.s3()))), S3_EVENT),
        (shapes.notification(json.dumps(shapes.event_bridge())), EVENT_BRIDGE_EVENT),
    ],
    ids=["sns", "eventbridge", "s3", "s3 in sns", "eventbridge in sns"],
)
def test_what_other_services_put_into_a_queue_is_what_it_would_be_without(
    inner: dict[str, Any], expected: dict[str, Any], api: EventApi
) -> None:
    assert forwarded(api, records(shapes.sqs(json.dumps(inner)))) == [queued(expected)]


def test_the_test_of_a_new_s3_configuration_is_no_event(api: EventApi) -> None:
    trial = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "invoices"}
    assert forwarded(api, records(shapes.sqs(json.dumps(trial)))) == []


@pytest.mark.parametrize(
    "body", [{"Records": [{"eventSource": "mine"}]}, {"Records": []}, {"detail": 1, "id": "x"}]
)
def test_what_only_resembles_another_service_stays_a_message(
    body: dict[str, Any], api: EventApi
) -> None:
    (event,) = forwarded(api, records(shapes.sqs(json.dumps(body))))
    assert (event["name"], event["data"]["body"]) == ("aws/sqs.message", body)


def test_records_of_kinesis(api: EventApi) -> None:
    read, raw = forwarded(api, records(shapes.kinesis(), shapes.kinesis(b"\xff", 2)))
    sequence = shapes.kinesis()["kinesis"]["sequenceNumber"]
    arn = shapes.ARN.format("kinesis", "stream/clicks")
    assert read == {
        "name": "aws/kinesis.record",
        "id": f"kinesis:{arn}:shardId-000000000006:{sequence}",
        "ts": AT_MS,
        "data": {
            "stream": "clicks",
            "stream_arn": arn,
            "event_id": f"shardId-000000000006:{sequence}",
            "partition_key": "order-7",
            "sequence_number": sequence,
            "body": {"total": 9.5},
            "encoding": "json",
        },
    }
    assert (raw["data"]["body"], raw["data"]["encoding"]) == ("/w==", "base64")


def test_a_record_of_dynamodb(api: EventApi) -> None:
    (event,) = forwarded(api, records(shapes.dynamodb()))
    assert event == {
        "name": "aws/dynamodb.modify",
        "id": "ddb:c4ca4238a0b923820dcc509a6f750001",
        "ts": AT_MS,
        "data": {
            "table": "orders",
            "table_arn": shapes.ARN.format("dynamodb", "table/orders"),
            "operation": "modify",
            "event_id": "c4ca4238a0b923820dcc509a6f750001",
            "sequence_number": "111000000000000000000001",
            "keys": {"id": 101},
            "new_image": {"id": 101, "total": 9.5, "lines": [{"sku": "a", "gift": True}]},
            "old_image": {"id": 101, "note": None},
        },
    }


def test_what_dynamodb_deletes_for_its_time_says_so(api: EventApi) -> None:
    identity = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    record = shapes.dynamodb(operation="REMOVE") | {"userIdentity": identity}
    (event,) = forwarded(api, records(record))
    assert event["name"] == "aws/dynamodb.remove"
    assert event["data"]["deleted_by"] == "dynamodb.amazonaws.com"


@pytest.mark.parametrize(
    ("digits", "number"),
    [
        ("7", 7),
        ("-0.1", -0.1),
        ("1E+2", 100),
        ("9007199254740993", "9007199254740993"),
        ("0.12345678901234567890123456789012345678", "0.12345678901234567890123456789012345678"),
        ("1E+125", 1e125),
        ("1E+999", "1E+999"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("seven", "seven"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_numbers_that_json_would_change_stay_text(digits: str, number: object) -> None:
    assert plain_number(digits) == number
    assert type(plain_number(digits)) is type(number)


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        ({"SS": ["a"]}, ["a"]),
        ({"NS": ["1", "2.5"]}, [1, 2.5]),
        ({"B": "AAE="}, "AAE="),
        ({"BS": ["AAE="]}, ["AAE="]),
        ({"NULL": True}, None),
        ({"N": 7}, {"N": 7}),
        ({"X": 1}, {"X": 1}),
        ({"S": "a", "N": "1"}, {"S": "a", "N": "1"}),
        ("bare", "bare"),
    ],
)
def test_attribute_values_are_made_plain(typed: object, plain: object) -> None:
    assert plain_value(typed) == plain
    assert plain_item({"a": typed}) == {"a": plain}


def test_an_item_that_is_nested_too_deeply_is_poison(api: EventApi) -> None:
    value: dict[str, Any] = {"S": "bottom"}
    for _ in range(5000):
        value = {"L": [value]}
    record = shapes.dynamodb()
    record["dynamodb"]["NewImage"] = {"deep": value}
    with pytest.raises(ForwardError, match="nested too deeply"):
        aws.forward(api.client())(records(record), None)


# --- what Lambda is answered ------------------------------------------------------------------


def failed(answer: dict[str, Any]) -> list[str]:
    return [each["itemIdentifier"] for each in answer["batchItemFailures"]]


def message_id(number: int) -> str:
    return str(shapes.sqs(number=number)["messageId"])


def only_odd(event: Any) -> str:
    return "a" if event.data["body"] % 2 else ""


def test_a_queue_is_told_which_messages_to_deliver_again(api: EventApi) -> None:
    batch = records(*(shapes.sqs(str(n), n) for n in (1, 2, 3, 4)))
    answer = aws.forward(api.client(), name=only_odd)(batch, None)
    assert failed(answer) == [message_id(2), message_id(4)]
    assert [event["data"]["body"] for event in api.events] == [1, 3]


def test_a_fifo_queue_gets_back_all_behind_a_failure_of_their_group(api: EventApi) -> None:
    groups = "abaab"
    batch = records(*(shapes.sqs(str(n), n, groups[n]) for n in range(5)))
    answer = aws.forward(api.client(), name=lambda e: "" if e.data["body"] == 2 else "a")(
        batch, None
    )
    assert failed(answer) == [message_id(2), message_id(3)]
    assert [event["data"]["body"] for event in api.events] == [0, 1, 4]


def test_a_standard_queue_has_groups_without_an_order(api: EventApi) -> None:
    batch = records(*(shapes.sqs(str(n), n, "a") for n in (2, 3)))
    for record in batch["Records"]:
        record["eventSourceARN"] = QUEUE
    assert failed(aws.forward(api.client(), name=only_odd)(batch, None)) == [message_id(2)]


@pytest.mark.parametrize("record", [shapes.kinesis, shapes.dynamodb])
def test_a_stream_is_told_where_the_first_failure_is(record: Any, api: EventApi) -> None:
    batch = records(*(record(number=n) for n in range(5)))
    sequences = [
        each.get("kinesis", {}).get("sequenceNumber") or each["dynamodb"]["SequenceNumber"]
        for each in batch["Records"]
    ]
    bad = {sequences[2], sequences[4]}
    name = lambda event: "" if event.data["sequence_number"] in bad else "a"  # noqa: E731  # short
    assert failed(aws.forward(api.client(), name=name)(batch, None)) == [sequences[2]]
    assert len(api.events) == 3


@pytest.mark.parametrize("name", shapes.LAMBDA_EVENTS)
def test_when_all_failed_it_raises_which_every_mapping_understands(
    name: str, api: EventApi
) -> None:
    api.takes = 0
    with pytest.raises(ForwardError, match="not this one"):
        aws.forward(api.client())(shapes.LAMBDA_EVENTS[name], None)


def test_a_mapping_that_cannot_report_failures_gets_none(api: EventApi) -> None:
    batch = records(*(shapes.sqs(str(n), n) for n in (1, 2)))
    bridge = aws.forward(api.client(), name=only_odd, reports_failures=False)
    with pytest.raises(ForwardError, match="1 of 2 messages did not become events"):
        bridge(batch, None)


def test_a_failure_without_an_id_fails_the_batch(api: EventApi) -> None:
    batch = records(shapes.sqs("1"), {"eventSource": "aws:sqs", "body": 7})
    with pytest.raises(ForwardError, match="the message has no body"):
        aws.forward(api.client())(batch, None)


@pytest.mark.parametrize(
    "event",
    [
        records({"eventSource": "aws:codecommit"}),
        {"eventSource": "aws:kafka", "records": {"orders-0": []}},
        {"eventSource": "aws:mq", "messages": []},
    ],
)
def test_messages_of_other_services_are_not_taken_for_done(
    event: dict[str, Any], api: EventApi
) -> None:
    with pytest.raises(ForwardError, match="there is no translation for records from aws:"):
        aws.forward(api.client())(event, None)


@pytest.mark.parametrize("event", [None, {}, [], "x", 7, {"warmer": True}, {"Records": "x"}])
def test_a_direct_invocation_is_ignored(event: object, api: EventApi) -> None:
    assert aws.forward(api.client())(event, None)["ok"] is True


# --- one function for both --------------------------------------------------------------------

A_GET = {"httpMethod": "GET", "path": "/api/inngest"}


def test_one_function_serves_and_forwards(api: EventApi) -> None:
    client = api.client()
    handler = aws.serve(client, forward=aws.forward(client))
    assert handler(A_GET, None)["statusCode"] == 200
    assert handler(records(shapes.sqs()), None) == {"batchItemFailures": []}
    assert len(api.events) == 1


@pytest.mark.parametrize("name", ["sqs", "sqs fifo", "kinesis", "dynamodb"])
def test_a_queue_or_stream_that_nobody_forwards_keeps_its_messages(
    name: str, api: EventApi
) -> None:
    with pytest.raises(ForwardError, match=r"aws.serve\(client, forward=aws.forward\(client\)\)"):
        aws.serve(api.client())(shapes.LAMBDA_EVENTS[name], None)
    assert api.requests == []


def test_kafkas_messages_that_nobody_forwards_stay_too(api: EventApi) -> None:
    with pytest.raises(ForwardError, match="messages from aws:kafka came"):
        aws.serve(api.client())({"eventSource": "aws:kafka", "records": {"orders-0": []}}, None)


@pytest.mark.parametrize("name", ["sns", "eventbridge", "s3"])
def test_a_notice_that_nobody_forwards_is_ignored(name: str, api: EventApi) -> None:
    assert aws.serve(api.client())(shapes.LAMBDA_EVENTS[name], None)["ok"] is True


# --- powertools -------------------------------------------------------------------------------

CONTEXT = cast(LambdaContext, None)  # a record handler that takes none is not given any


@pytest.mark.parametrize("processor", [BatchProcessor(EventType.SQS), SqsFifoPartialProcessor()])
def test_a_batch_processor_of_powertools_takes_the_record_handler(
    processor: BatchProcessor, api: EventApi
) -> None:
    batch = records(*(shapes.sqs(str(n), n, "a") for n in (1, 2, 3)))
    handle = aws.record_handler(api.client(), name=only_odd)
    answer = process_partial_response(batch, handle, processor, CONTEXT)
    behind = [3] if isinstance(processor, SqsFifoPartialProcessor) else []
    assert failed(cast(dict[str, Any], answer)) == [message_id(n) for n in (2, *behind)]


@pytest.mark.parametrize(
    ("event_type", "record"),
    [(EventType.KinesisDataStreams, shapes.kinesis), (EventType.DynamoDBStreams, shapes.dynamodb)],
)
def test_the_record_handler_takes_records_of_streams(
    event_type: EventType, record: Any, api: EventApi
) -> None:
    processor = BatchProcessor(event_type)
    batch = records(record(number=1), record(number=2))
    answer = process_partial_response(batch, aws.record_handler(api.client()), processor, CONTEXT)
    assert answer == {"batchItemFailures": []}
    assert len(api.events) == 2
