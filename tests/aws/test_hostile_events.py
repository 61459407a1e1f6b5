"""No event, however odd, gets an exception out of the translators or the handler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from inngest_sdk.client import Inngest
from inngest_sdk.errors import BodyInvalidError
from inngest_sdk.http import Response
from inngest_serverless import aws
from inngest_serverless.aws.http_event import FrontDoor, event_from, front_door, request_from

EVENTS = [
    json.loads(path.read_text("utf-8"))
    for path in sorted((Path(__file__).parent / "events").glob("*.json"))
]

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


HANDLER = aws.serve(Inngest(app_id="shop", is_production=False, api_base_url="http://127.0.0.1:1"))


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
    answer = HANDLER(event, None)
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
