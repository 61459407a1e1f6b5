"""One Lambda function that serves Inngest and makes events of a queue's messages."""

from typing import Any

from inngest_serverless import ContextSync, Inngest, TriggerEvent, aws

client = Inngest(app_id="orders")


@client.create_function(fn_id="total", trigger=TriggerEvent(event="aws/sqs.message"))
def total(ctx: ContextSync) -> Any:
    return ctx.step.run("add", sum, ctx.event.data["body"]["prices"])


handler = aws.serve(client, forward=aws.forward(client))
