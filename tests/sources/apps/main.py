"""Bridges in functions-framework."""

import functions_framework
from cloudevents.http import CloudEvent
from flask import Request

from inngest_serverless import Inngest, gcp

client = Inngest(app_id="shop")
forward = gcp.forward(client)
forward_push = gcp.forward_push(client)


@functions_framework.cloud_event
def orders(event: CloudEvent) -> None:
    forward(event)


@functions_framework.http
def pushed(request: Request) -> tuple[str, int]:
    return forward_push(request)
