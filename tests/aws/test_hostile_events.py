"""No event, however odd, gets an exception out of the translators or the handler."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from inngest_sdk.client import Inngest
from inngest_sdk.errors import BodyInvalidError
from inngest_sdk.http import Response
from inngest_serverless import aws
from inngest_serverless.aws import response_stream
from inngest_serverless.aws.deployment import CustomResource, order_from
from inngest_serverless.aws.http_event import (
    FrontDoor,
    event_from,
    front_door,
    prelude_from,
    request_from,
)
from inngest_serverless.aws.response_stream import ChunkedAnswer
from inngest_serverless.aws.warm_up import is_warm_up
from inngest_serverless.forwarding import ForwardError

UNREACHABLE = "http://127.0.0.1:1"

EVENTS = [
    json.loads(path.read_text("utf-8"))
    for path in sorted((Path(__file__).parent / "events").glob("*.json"))
]
for each in EVENTS:
    if "ResponseURL" in each:
        each["ResponseURL"] = UNREACHABLE

texts = st.text(st.characters(exclude_categories=()), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def events(draw: st.DrawFn) -> Any:
    """A real event with some of its fields, at any depth, missing or replaced."""
    event = json.loads(json.dumps(draw(st.sampled_from(EVENTS))))
    for _ in range(draw(st.integers(0, 5))):
        place = event
        while True:
            key = draw(st.sampled_from(sorted(place)))
            inner = place[key]
            if not isinstance(inner, dict) or not inner or draw(st.booleans()):
                break
            place = inner
        if draw(st.booleans()):
            place[key] = draw(junk)
        else:
            del place[key]
        if not event:
            break
    return event


HANDLER = aws.serve(Inngest(app_id="shop", is_production=False, api_base_url=UNREACHABLE))


@settings(deadline=None)
@given(events() | junk)
def test_a_request_is_made_of_any_event(event: Any) -> None:
    door = front_door(event)
    if not isinstance(door, FrontDoor):
        assert door.what
        return
    try:
        request = request_from(event, door)
    except BodyInvalidError:
        return
    assert request.url.startswith(("http://", "https://"))
    assert request.url.isascii()
    assert isinstance(request.query, dict)
    assert all(name == name.lower() for name in request.headers)


@settings(deadline=None)
@given(events() | junk)
def test_the_handler_answers_any_event(event: Any) -> None:
    try:
        answer = HANDLER(event, None)
    except ForwardError:
        return  # messages that an answer would have deleted
    assert json.dumps(answer)
    if "ok" not in answer:
        assert answer["statusCode"] in (200, 400, 404, 405, 500, 502)
        headers = answer.get("headers") or answer["multiValueHeaders"]
        assert "x-inngest-sdk" in headers


@given(st.integers(200, 599), st.dictionaries(texts, texts, max_size=3), st.binary(max_size=50))
def test_an_answer_is_made_of_any_response(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    for event in EVENTS:
        door = front_door(event)
        if isinstance(door, FrontDoor):
            answer = event_from(Response(status, headers, body), door)
            assert isinstance(answer["body"], str)
            assert json.dumps(answer)
            assert json.dumps(prelude_from(status, headers, door))


@given(events() | junk)
def test_orders_and_warmers_are_told_from_any_event(event: Any) -> None:
    order = order_from(event)
    if isinstance(order, CustomResource):
        assert all(isinstance(text, str) for text in order.identity.values())
    assert is_warm_up(event, forwards=False) in (True, False)


class_names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=5), st.none() | texts, class_names)
def test_any_stream_is_framed_so_that_http_reads_it(
    chunks: list[bytes], error: str | None, name: str
) -> None:
    """A stream of these chunks, which then fails with `error`, as an HTTP server reads it."""

    def stream() -> Iterator[bytes]:
        yield from chunks
        if error is not None:
            raise type(name, (Exception,), {})(error)

    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    for frame in response_stream._frames(ChunkedAnswer({}, {"statusCode": 201}, stream())):
        server.receive_data(frame)
    assert isinstance(server.next_event(), h11.Request)
    body = b""
    while isinstance(event := server.next_event(), h11.Data):
        body += event.data
    assert body == b'{"statusCode": 201}' + bytes(8) + b"".join(chunks)
    assert isinstance(event, h11.EndOfMessage)
    trailers = dict(event.headers)
    if error is None:
        assert trailers == {}
    else:
        report = json.loads(base64.b64decode(trailers[b"lambda-runtime-function-error-body"]))
        assert report["errorMessage"] == error
