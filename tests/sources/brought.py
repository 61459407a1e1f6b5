"""What the triggers of Azure Functions bring, made as the worker makes it of what the host says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from azure.functions import meta
from azure.functions.eventgrid import EventGridEventInConverter
from azure.functions.eventhub import EventHubTriggerConverter
from azure.functions.queue import QueueMessageInConverter
from azure.functions.servicebus import ServiceBusMessageInConverter

from tests.sources.shapes import AT

GRID = {
    "id": "831e1650-001e-001b-66ab-eeb76e069631",
    "topic": "/subscriptions/1/resourceGroups/shop/providers/Microsoft.Storage/storageAccounts/s",
    "subject": "/blobServices/default/containers/invoices/blobs/1.pdf",
    "eventType": "Microsoft.Storage.BlobCreated",
    "eventTime": AT,
    "data": {"api": "PutBlob", "contentLength": 524288},
    "dataVersion": "2",
    "metadataVersion": "1",
}
CLOUD = {
    "specversion": "1.0",
    "id": "831e1650",
    "source": "/shop/orders",
    "type": "com.acme.shop/Order Placed",
    "time": AT,
    "subject": "orders/7",
    "data": {"order": 7},
}
PARTITION = {
    "FullyQualifiedNamespace": "shop.servicebus.windows.net",
    "EventHubName": "clicks",
    "ConsumerGroup": "$Default",
    "PartitionId": "3",
}


def _data(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _datum(value) for name, value in values.items()}


def _datum(value: Any) -> Any:
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return meta.Datum(value, "int" if isinstance(value, int) else "string")
    return meta.Datum(json.dumps(value), "json")


def event_grid(body: Mapping[str, Any]) -> Any:
    """An event of Event Grid, in either of its schemas."""
    datum = meta.Datum(json.dumps(body), "json")
    return EventGridEventInConverter.decode(datum, trigger_metadata={})


def queue_message(body: str = '{"total": 9.5}', **metadata: Any) -> Any:
    """A message of a storage queue."""
    known = {
        "Id": "7c0d6bc5",
        "DequeueCount": 1,
        "InsertionTime": AT,
        "PopReceipt": "r",
        **metadata,
    }
    return QueueMessageInConverter.decode(meta.Datum(body, "string"), trigger_metadata=_data(known))


SERVICE_BUS = {
    "MessageId": "order-7",
    "SequenceNumber": 12,
    "EnqueuedTimeUtc": AT,
    "DeliveryCount": 1,
    "SessionId": "s",
    "CorrelationId": "c",
    "Label": "old",
    "Subject": "An order",
    "ContentType": "application/json",
    "UserProperties": {"tenant": "acme"},
    "ApplicationProperties": {"tenant": "acme"},
    "LockToken": "27d93ba7-c27c-4bd6-8f5c-25d3d4e9fbd0",
}


def service_bus_message(body: str = '{"total": 9.5}', **metadata: Any) -> Any:
    """A message of Service Bus, alone."""
    return ServiceBusMessageInConverter.decode(
        meta.Datum(body, "string"), trigger_metadata=_data({**SERVICE_BUS, **metadata})
    )


def service_bus_messages(*bodies: str) -> list[Any]:
    """Messages of Service Bus, where the trigger's cardinality is many."""
    count = len(bodies)
    metadata = {
        "MessageIdArray": [f"order-{n}" for n in range(count)],
        "SequenceNumberArray": list(range(count)),
        "EnqueuedTimeUtcArray": [AT] * count,
        "DeliveryCountArray": [1] * count,
        "UserPropertiesArray": [{}] * count,
        "ApplicationPropertiesArray": [{"tenant": "acme"}] * count,
    }
    given = meta.Datum(SimpleNamespace(string=list(bodies)), "collection_string")
    found: Any = ServiceBusMessageInConverter.decode(given, trigger_metadata=_data(metadata))
    return list(found)


def event_hub_events(bodies: Sequence[bytes], **metadata: Any) -> list[Any]:
    """Events of an event hub, where the trigger's cardinality is many."""
    properties = [
        {"EnqueuedTimeUtc": AT, "PartitionKey": "order-7", "SequenceNumber": n, "Offset": str(n)}
        for n in range(len(bodies))
    ]
    known = {
        "PartitionContext": PARTITION,
        "SystemPropertiesArray": properties,
        "PropertiesArray": [{}] * len(bodies),
        **metadata,
    }
    given = meta.Datum(SimpleNamespace(bytes=list(bodies)), "collection_bytes")
    found: Any = EventHubTriggerConverter.decode(given, trigger_metadata=_data(known))
    return list(found)


def event_hub_event(body: bytes = b'{"total": 9.5}') -> Any:
    """An event of an event hub, alone."""
    known = {
        "PartitionContext": PARTITION,
        "EnqueuedTimeUtc": AT,
        "PartitionKey": "order-7",
        "SequenceNumber": 0,
        "Offset": "0",
        "SystemProperties": {"SequenceNumber": 0},
    }
    return EventHubTriggerConverter.decode(meta.Datum(body, "bytes"), trigger_metadata=_data(known))
