"""An app whose functions a test holds up while it looks at what has come, and its handlers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

from inngest_serverless import Context, ContextSync, Inngest, TriggerEvent, aws
from inngest_serverless.aws.response_stream import ChunkedAnswer, runtime_streams

client = Inngest(app_id="shop")


def held(port: int) -> None:
    """Tell the test that work has begun, and wait until it says to go on."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(b"%d\n" % os.getpid())
        line.recv(1)


@client.create_function(fn_id="held", trigger=TriggerEvent(event="shop/held"))
def held_order(ctx: ContextSync) -> str:
    held(ctx.event.data["port"])
    return "done"


@client.create_function(fn_id="held-async", trigger=TriggerEvent(event="shop/held.async"))
async def held_async_order(ctx: Context) -> str:
    held(ctx.event.data["port"])
    return "done"


@client.create_function(fn_id="failing", trigger=TriggerEvent(event="shop/failing"))
def failing(ctx: ContextSync) -> str:
    raise ValueError("no stock")


@client.create_function(fn_id="large", trigger=TriggerEvent(event="shop/large"))
def large(ctx: ContextSync) -> str:
    return "x" * int(ctx.event.data["size"])


@client.create_function(fn_id="exit", trigger=TriggerEvent(event="shop/exit"))
def leave(ctx: ContextSync) -> None:
    held(ctx.event.data["port"])
    os._exit(3)


@client.create_function(fn_id="pid", trigger=TriggerEvent(event="shop/pid"))
def pid(ctx: ContextSync) -> int:
    return os.getpid()


handler = aws.serve(client)


def copying(event: Any, context: Any) -> dict[str, Any]:
    """What a decorator does that makes a dict of its own of an answer."""
    return {**handler(event, context)}


def breaking(event: Any, context: Any) -> dict[str, Any]:
    """Breaks off in the middle of a stream."""

    def chunks() -> Iterator[bytes]:
        yield b"the beginning "
        raise LookupError("no more in stock: größer\n")

    assert runtime_streams()
    return ChunkedAnswer({}, {"statusCode": 200, "headers": {}}, chunks())


def whole(event: Any, context: Any) -> dict[str, Any]:
    """Streams an answer of one chunk, to whoever asks."""
    assert runtime_streams()
    return ChunkedAnswer({}, {"statusCode": 200, "headers": {}}, iter([b"", b"all"]))
