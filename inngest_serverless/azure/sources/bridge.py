"""Functions that make events of what the triggers of Azure Functions bring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from inngest_sdk.client import Inngest
from inngest_serverless.azure.sources.records import messages_from
from inngest_serverless.forwarding import Data, Filter, Name, OnPoison, Rules, raise_for
from inngest_serverless.forwarding import forward as forward_messages
from inngest_serverless.forwarding import forward_async as forward_messages_async


def forward(
    client: Inngest,
    *,
    name: Name | None = None,
    filter: Filter | None = None,
    data: Data | None = None,
    on_poison: OnPoison = "fail",
) -> Callable[[Any], None]:
    """Make a function that sends what a trigger brings as events: an `EventGridEvent`, a
    `ServiceBusMessage`, a `QueueMessage`, an `EventHubEvent`, or a list of them.

    `filter`, `name`, `data` and `on_poison` are those of `forwarding.Rules`; docs/bridges.md has
    the events as they are by default.

        forward = azure.forward(client)

        @app.queue_trigger(arg_name="message", queue_name="orders", connection="ORDERS")
        def orders(message: func.QueueMessage) -> None:
            forward(message)

    It raises ForwardError for what could not be sent, so that the trigger delivers it again, and
    ConfigError without an event key in cloud mode.
    """
    rules = Rules(name, filter, data, on_poison)

    def bridge(brought: Any) -> None:
        messages = messages_from(brought)
        raise_for(forward_messages(client, messages, rules), len(messages))

    return bridge


def forward_async(
    client: Inngest,
    *,
    name: Name | None = None,
    filter: Filter | None = None,
    data: Data | None = None,
    on_poison: OnPoison = "fail",
) -> Callable[[Any], Awaitable[None]]:
    """Make what `forward` makes, to be awaited in an `async def`, which must not block."""
    rules = Rules(name, filter, data, on_poison)

    async def bridge(brought: Any) -> None:
        messages = messages_from(brought)
        raise_for(await forward_messages_async(client, messages, rules), len(messages))

    return bridge
