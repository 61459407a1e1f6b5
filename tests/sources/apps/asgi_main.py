"""A bridge in functions-framework's ASGI mode."""

import functions_framework.aio
from cloudevents.http import CloudEvent

from inngest_serverless import Inngest, gcp

client = Inngest(app_id="shop")
forward = gcp.forward_async(client)


@functions_framework.aio.cloud_event
async def orders(event: CloudEvent) -> None:
    await forward(event)
