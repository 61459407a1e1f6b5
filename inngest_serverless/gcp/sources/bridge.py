"""Functions for functions-framework that make events of what Google Cloud delivers.

The platform has the event delivered again when the function raises, if retries are on: deploy with
`--retry`, or give the trigger's subscription a retry policy and a dead-letter topic.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from inngest_sdk.client import Inngest
from inngest_serverless.forwarding import (
    Data,
    Filter,
    ForwardError,
    Name,
    OnPoison,
    Rules,
    raise_for,
)
from inngest_serverless.forwarding import forward as forward_messages
from inngest_serverless.forwarding import forward_async as forward_messages_async
from inngest_serverless.gcp.sources.records import message_from, message_from_push

if TYPE_CHECKING:
    from flask import Request


def forward(
    client: Inngest,
    *,
    name: Name | None = None,
    filter: Filter | None = None,
    data: Data | None = None,
    on_poison: OnPoison = "fail",
) -> Callable[[Any], None]:
    """Make a CloudEvent function that sends what Pub/Sub, Cloud Storage and Eventarc bring as
    events.

    `filter`, `name`, `data` and `on_poison` are those of `forwarding.Rules`; docs/bridges.md has
    the events as they are by default.

        forward = gcp.forward(client)

        @functions_framework.cloud_event
        def orders(event: CloudEvent) -> None:
            forward(event)

    The function raises ForwardError for what could not be sent, and ConfigError without an event
    key in cloud mode.
    """
    rules = Rules(name, filter, data, on_poison)

    def bridge(cloud_event: Any) -> None:
        raise_for(forward_messages(client, [message_from(cloud_event)], rules), 1)

    return bridge


def forward_async(
    client: Inngest,
    *,
    name: Name | None = None,
    filter: Filter | None = None,
    data: Data | None = None,
    on_poison: OnPoison = "fail",
) -> Callable[[Any], Awaitable[None]]:
    """Make what `forward` makes, to be awaited in the `async def` of functions-framework's ASGI
    mode (`@functions_framework.aio.cloud_event`)."""
    rules = Rules(name, filter, data, on_poison)

    async def bridge(cloud_event: Any) -> None:
        raise_for(await forward_messages_async(client, [message_from(cloud_event)], rules), 1)

    return bridge


def forward_push(
    client: Inngest,
    *,
    name: Name | None = None,
    filter: Filter | None = None,
    data: Data | None = None,
    on_poison: OnPoison = "fail",
) -> Callable[[Request], tuple[str, int]]:
    """Make an HTTP function for a push subscription of Pub/Sub, where it is not wired as a trigger.

    It answers 204, and 500 for what could not be sent, which Pub/Sub pushes again. It asks nobody
    who they are: deploy it privately, so that the platform checks the push's token.

        forward_push = gcp.forward_push(client)

        @functions_framework.http
        def orders(request: Request) -> tuple[str, int]:
            return forward_push(request)
    """
    rules = Rules(name, filter, data, on_poison)

    def bridge(request: Request) -> tuple[str, int]:
        try:
            raise_for(forward_messages(client, [message_from_push(request.get_data())], rules), 1)
        except ForwardError as error:
            client.logger.error("%s", error)
            return "not forwarded; see the function's log", 500
        return "", 204

    return bridge
