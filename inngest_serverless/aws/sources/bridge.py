"""The Lambda handler that makes events of what queues, streams and notices bring.

What it returns, or raises, is how Lambda learns what to deliver again. A list of what failed is
read only under `ReportBatchItemFailures`: any other event source mapping takes each return for
success, and deletes messages that were never sent. Which one it is cannot be seen from here. So it
raises wherever that says as much as the list: every mapping understands that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from inngest_sdk.client import Inngest
from inngest_serverless.aws.sources.records import Batch, batch_from, message_from
from inngest_serverless.forwarding import (
    Data,
    Failure,
    Filter,
    ForwardError,
    Name,
    OnPoison,
    Rules,
    raise_for,
)
from inngest_serverless.forwarding import forward as forward_messages

LOG = logging.getLogger("inngest_serverless")


def forward(
    client: Inngest,
    *,
    name: Name | None = None,
    filter: Filter | None = None,
    data: Data | None = None,
    on_poison: OnPoison = "fail",
    reports_failures: bool = True,
) -> Callable[[Any, Any], dict[str, Any]]:
    """Make a Lambda handler that sends what SQS, SNS, EventBridge, S3, DynamoDB streams and Kinesis
    bring as events.

    `filter`, `name`, `data` and `on_poison` are those of `forwarding.Rules`; docs/bridges.md has
    the events as they are by default. `reports_failures` says that queues and streams are wired
    with `ReportBatchItemFailures`: then only what failed is delivered again. Without it the whole
    batch is.

        handler = inngest_serverless.aws.forward(client, name="shop/order.placed")

    The handler raises ForwardError when all of a batch failed, any of it without
    `reports_failures`, and any message of a service that can only invoke again. It raises
    ConfigError without an event key in cloud mode.
    """
    rules = Rules(name, filter, data, on_poison)

    def handler(event: Any, context: Any) -> dict[str, Any]:
        batch = batch_from(event)
        if batch is None:
            LOG.warning("ignored an event of no source that can be forwarded")
            return {"ok": True, "ignored": "not an event of a source that can be forwarded"}
        failures = forward_messages(client, batch.messages, rules)
        return _answer(batch, failures, reports_failures)

    return handler


def record_handler(
    client: Inngest,
    *,
    name: Name | None = None,
    filter: Filter | None = None,
    data: Data | None = None,
    on_poison: OnPoison = "fail",
) -> Callable[[Any], None]:
    """Make the `record_handler` of a batch processor of AWS Lambda Powertools: it sends one record,
    and raises ForwardError if it cannot be.

        processor = BatchProcessor(event_type=EventType.SQS)
        process_partial_response(event, aws.record_handler(client), processor, context)

    Each record is a request of its own: `forward` sends thousands in one.
    """
    rules = Rules(name, filter, data, on_poison)

    def handle(record: Any) -> None:
        # Powertools wraps records; what it wraps is under this name.
        message = message_from(getattr(record, "raw_event", record))
        raise_for(forward_messages(client, [message], rules), 1)

    return handle


def refuse_unforwarded(event: object) -> None:
    """Raise ForwardError for messages of a queue or a stream that nobody forwards: any return
    would have them deleted, or passed over."""
    batch = batch_from(event)
    if batch is None or batch.kind == "notice":
        return
    raise ForwardError(
        f"{len(batch.messages)} messages from {batch.source} came to a function that only serves "
        "Inngest, and were left where they are. To make events of them: "
        "handler = aws.serve(client, forward=aws.forward(client)). To stop this, remove the event "
        "source mapping."
    )


def _answer(batch: Batch, failures: Sequence[Failure], reports_failures: bool) -> dict[str, Any]:
    total = len(batch.messages)
    can_report = reports_failures and batch.kind != "notice" and len(failures) < total
    # An id that Lambda does not know has it take the whole batch for failed; so does raising,
    # which also says why.
    if not can_report or not all(failure.receipt for failure in failures):
        raise_for(failures, total)
    reported = failures[:1] if batch.kind == "stream" else failures
    return {"batchItemFailures": [{"itemIdentifier": each.receipt} for each in reported]}
