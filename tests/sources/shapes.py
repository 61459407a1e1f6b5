"""What the sources of AWS hand over, in the shapes that their documentation shows."""

from __future__ import annotations

import base64
import json
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

REGION = "eu-central-1"
ARN = "arn:aws:{}:eu-central-1:123456789012:{}"
AT = "2026-11-22T08:26:40.500Z"
AT_MS = 1795336000500


def b64(raw: str | bytes) -> str:
    """Base64 of a text or of bytes."""
    return base64.b64encode(raw.encode() if isinstance(raw, str) else raw).decode()


def records(*each: Json) -> Json:
    """The event that brings some records."""
    return {"Records": list(each)}


def sqs(body: str = '{"total": 9.5}', number: int = 1, fifo_group: str | None = None) -> Json:
    """One SQS message."""
    fifo = {"MessageGroupId": fifo_group, "MessageDeduplicationId": "d"} if fifo_group else {}
    return {
        "messageId": f"059f36b4-87a3-44ab-83d2-{number:012}",
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(AT_MS),
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": str(AT_MS + 7),
            **fifo,
        },
        "messageAttributes": {
            "tenant": {"stringValue": "acme", "dataType": "String"},
            "raw": {"binaryValue": "AAE=", "dataType": "Binary"},
        },
        "md5OfBody": "99914b932bd37a50b983c5e7c90ae93b",
        "eventSource": "aws:sqs",
        "eventSourceARN": ARN.format("sqs", "orders.fifo" if fifo_group else "orders"),
        "awsRegion": REGION,
    }


def notification(message: str = "hello") -> Json:
    """An SNS notification, as a function gets it."""
    return {
        "Type": "Notification",
        "MessageId": "95df01b4-ee98-5cb9-9903-4c221d41eb5e",
        "TopicArn": ARN.format("sns", "orders"),
        "Subject": "An order",
        "Message": message,
        "Timestamp": AT,
        "SignatureVersion": "1",
        "Signature": "tcc6faL2yUC6dgZdmrwh1Y4cGa/ebXEkAi6RibDsvpi=",
        "SigningCertUrl": "https://sns.eu-central-1.amazonaws.com/cert.pem",
        "UnsubscribeUrl": "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe",
        "MessageAttributes": {"tenant": {"Type": "String", "Value": "acme"}},
    }


def sns(message: str = "hello") -> Json:
    """One record of SNS; it alone writes EventSource."""
    return {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": ARN.format("sns", "orders:21be56ed-a058-49f5-8c98-aedd2564c486"),
        "Sns": notification(message),
    }


def event_bridge(source: str = "com.acme.shop", detail_type: str = "Order Placed") -> Json:
    """An EventBridge event."""
    return {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": detail_type,
        "source": source,
        "account": "123456789012",
        "time": "2026-11-22T08:26:40Z",
        "region": REGION,
        "resources": [ARN.format("shop", "orders/7")],
        "detail": {"order": 7},
    }


def s3() -> Json:
    """One notice of S3; its keys are encoded as in a form."""
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": REGION,
        "eventTime": AT,
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "all",
            "bucket": {
                "name": "invoices",
                "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
                "arn": "arn:aws:s3:::invoices",
            },
            "object": {
                "key": "2026/M%C3%A4rz+1.pdf",
                "size": 1024,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                "sequencer": "0055AED6DCD90281E5",
            },
        },
    }


def s3_through_event_bridge() -> Json:
    """The same notice by EventBridge; there keys are not encoded."""
    detail = {
        "version": "0",
        "bucket": {"name": "invoices"},
        "object": {
            "key": "2026/März 1.pdf",
            "size": 1024,
            "etag": "d41d8cd98f00b204e9800998ecf8427e",
            "version-id": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
            "sequencer": "0055AED6DCD90281E5",
        },
        "request-id": "C3D13FE58DE4C810",
        "requester": "123456789012",
        "source-ip-address": "127.0.0.1",
        "reason": "PutObject",
    }
    return event_bridge("aws.s3", "Object Created") | {"time": AT, "detail": detail}


def kinesis(raw: str | bytes = '{"total": 9.5}', number: int = 1) -> Json:
    """One record of a Kinesis stream."""
    sequence = f"4959033827149025660855969253836157109592157598913658{number:04}"
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "order-7",
            "sequenceNumber": sequence,
            "data": b64(raw),
            "approximateArrivalTimestamp": AT_MS / 1000,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000006:{sequence}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/shop",
        "awsRegion": REGION,
        "eventSourceARN": ARN.format("kinesis", "stream/clicks"),
    }


def dynamodb(number: int = 1, operation: str = "MODIFY") -> Json:
    """One record of a DynamoDB stream."""
    return {
        "eventID": f"c4ca4238a0b923820dcc509a6f75{number:04}",
        "eventName": operation,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": {
            "ApproximateCreationDateTime": AT_MS / 1000,
            "Keys": {"id": {"N": "101"}},
            "NewImage": {
                "id": {"N": "101"},
                "total": {"N": "9.5"},
                "lines": {"L": [{"M": {"sku": {"S": "a"}, "gift": {"BOOL": True}}}]},
            },
            "OldImage": {"id": {"N": "101"}, "note": {"NULL": True}},
            "SequenceNumber": f"11100000000000000000{number:04}",
            "SizeBytes": 26,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": ARN.format("dynamodb", "table/orders/stream/2026-11-22T00:00:00.000"),
    }


LAMBDA_EVENTS: dict[str, Json] = {
    "sqs": records(sqs(), sqs("plain", 2)),
    "sqs fifo": records(sqs(fifo_group="a"), sqs(number=2, fifo_group="b")),
    "sns": records(sns()),
    "sns in sqs": records(sqs(json.dumps(notification()))),
    "s3 in sns in sqs": records(sqs(json.dumps(notification(json.dumps(records(s3())))))),
    "eventbridge": event_bridge(),
    "eventbridge in sqs": records(sqs(json.dumps(event_bridge()))),
    "s3": records(s3()),
    "s3 through eventbridge": s3_through_event_bridge(),
    "kinesis": records(kinesis(), kinesis(b"\xff", 2)),
    "dynamodb": records(dynamodb(), dynamodb(2, "INSERT")),
}
