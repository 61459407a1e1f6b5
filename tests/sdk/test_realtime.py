"""Publishing messages and asking for subscription tokens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, cast
from urllib.parse import parse_qs

import pytest

from inngest_sdk.config import Config, Secret
from inngest_sdk.drive import drive
from inngest_sdk.errors import ConfigError, RealtimeError, UnreachableError
from inngest_sdk.http import Request, Response
from inngest_sdk.realtime import (
    SubscriptionToken,
    Topic,
    publish_flow,
    token_flow,
)
from tests.sdk.exchange import CLOUD, DEV, Exchange, json_answer

TAKEN = Response(200)
TOKEN = json_answer(201, {"jwt": "ey.j.w"})
KEY = "ab12"  # as a self-hosted server has it; of one with a prefix the official SDK drops that


@dataclass
class Progress:
    done: int


PROGRESS = Topic("imports", "progress", Progress)


def test_a_message_goes_to_a_topic_of_a_channel() -> None:
    played = Exchange(publish_flow(DEV, "user:1/é &x", "t&1", {"n": "ü"}), TAKEN)

    (request,) = played.requests
    assert request.method == "POST"
    assert request.url.startswith("http://dev:8288/v1/realtime/publish?")
    assert request.query == {"channel": "user:1/é &x", "topic": "t&1"}
    assert request.headers["content-type"] == "application/json"
    assert request.body == '{"n":"ü"}'.encode()


def test_a_message_may_be_any_json() -> None:
    assert Exchange(publish_flow(DEV, "c", "t", "text"), TAKEN).requests[0].body == b'"text"'


def test_a_token_is_asked_for_topics_by_name_and_by_type() -> None:
    played = Exchange(token_flow(CLOUD, "imports", ["log", PROGRESS]), TOKEN)

    (request,) = played.requests
    assert (request.method, request.url) == ("POST", "https://api.inngest.com/v1/realtime/token")
    assert request.headers["authorization"].startswith("Bearer signkey-prod-")
    assert json.loads(request.body) == [
        {"channel": "imports", "name": "log", "kind": "run"},
        {"channel": "imports", "name": "progress", "kind": "run"},
    ]
    assert played.result == SubscriptionToken("imports", ("log", "progress"), "ey.j.w")


def test_a_token_shows_its_key_to_browsers_only() -> None:
    token = SubscriptionToken("imports", ("log",), "ey.j.w")

    assert token.to_json() == {"channel": "imports", "topics": ["log"], "key": "ey.j.w"}
    assert "ey" not in repr(token)


@contextmanager
def recording_server() -> Iterator[tuple[str, list[Request]]]:
    """A server that gives everybody a token, its address, and what it was asked."""
    asked: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked.append(Request("POST", self.path, headers, body))
            self.send_response(201)
            self.send_header("content-length", str(len(TOKEN.body)))
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(TOKEN.body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.filterwarnings("ignore:Support for class-based `config`:DeprecationWarning")
# The official SDK never closes its connections, nor lets anyone else.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_the_server_is_asked_what_the_official_sdk_asks_it() -> None:
    import inngest
    from inngest.experimental import realtime

    with recording_server() as (url, asked):
        official = inngest.Inngest(app_id="a", api_base_url=url, signing_key=KEY)
        realtime.publish_sync(official, "user:1/é &x", "t&1", {"n": "ü"})
        theirs = realtime.get_subscription_token_sync(official, "user:1", ["a", "b"])
        config = Config(api_origin=url, signing_key=Secret(KEY))
        drive(publish_flow(config, "user:1/é &x", "t&1", {"n": "ü"}))
        ours = drive(token_flow(config, "user:1", ["a", "b"]))

    seen = [_essence(request) for request in asked]
    assert seen[:2] == seen[2:]
    assert ours.to_json() == theirs


def _essence(request: Request) -> object:
    path, _, query = request.url.partition("?")
    headers = {name: request.headers[name] for name in ("authorization", "content-type")}
    return path, parse_qs(query), headers, json.loads(request.body)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (json_answer(400, {"error": "bad"}), "the server answered 400: bad"),
        (json_answer(401, {"error": "who?"}), "401: who?; check INNGEST_SIGNING_KEY"),
        (Response(404, {}, b"nope"), "check INNGEST_API_BASE_URL"),
    ],
)
def test_a_refusal_is_told(answer: Response, message: str) -> None:
    with pytest.raises(RealtimeError) as published:
        Exchange(publish_flow(DEV, "c", "t", 1), answer)
    with pytest.raises(RealtimeError) as asked:
        Exchange(token_flow(DEV, "c", ["t"]), answer)

    assert published.value.message.startswith("the message for topic 't' of channel 'c' was not")
    assert asked.value.message.startswith("no token for channel 'c': ")
    assert message in published.value.message
    assert message in asked.value.message


@pytest.mark.parametrize("body", [{}, {"jwt": ""}, {"jwt": 5}, []])
def test_an_answer_without_a_token_is_none(body: object) -> None:
    with pytest.raises(RealtimeError, match="its answer has no 'jwt'"):
        Exchange(token_flow(DEV, "c", ["t"]), json_answer(201, body))


def test_a_server_that_is_busy_is_asked_again() -> None:
    played = Exchange(publish_flow(DEV, "c", "t", 1), Response(503), Response(429), TAKEN)

    assert played.pauses == [0.1, 0.2]


def test_after_five_tries_in_vain_an_unreachable_server_is_told() -> None:
    with pytest.raises(RealtimeError, match="as far as is known: no route, in 5 tries"):
        Exchange(publish_flow(DEV, "c", "t", 1), *[UnreachableError("no route")] * 5)
    with pytest.raises(RealtimeError, match="no token for channel 'c': no route, in 5 tries"):
        Exchange(token_flow(DEV, "c", ["t"]), *[UnreachableError("no route")] * 5)


def test_cloud_mode_without_a_key_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match="INNGEST_SIGNING_KEY"):
        next(publish_flow(Config(), "c", "t", 1))


@pytest.mark.parametrize(
    ("channel", "topic", "data", "message"),
    [
        ("", "t", 1, "the channel is ''; it takes a text that is not blank"),
        ("c", " ", 1, "the topic is ' '"),
        (7, "t", 1, "the channel is 7"),
        ("c", "\ud800", 1, "the topic is '\\ud800', which is not Unicode text"),
        ("c", "t", {1}, "the message for topic 't' of channel 'c' is not JSON: Object of type set"),
        ("c", "t", float("inf"), "is not JSON"),
        ("c", "t", "x" * 524_287, "has 524,289 bytes; the server takes 524,288 at most"),
    ],
)
def test_what_cannot_be_published_is_not(
    channel: object, topic: object, data: object, message: str
) -> None:
    with pytest.raises(RealtimeError) as caught:
        next(publish_flow(DEV, cast(str, channel), cast(str, topic), data))

    assert message in caught.value.message


def test_the_largest_message_is_published() -> None:
    played = Exchange(publish_flow(DEV, "c", "t", "x" * 524_286), TAKEN)

    assert len(played.requests[0].body) == 524_288


@pytest.mark.parametrize(
    ("topics", "message"),
    [
        ([], r"the topics of channel 'imports' are \[\]; they take a list of one or more"),
        ("log", "are 'log'; they take a list"),
        (PROGRESS, "they take a list"),
        ([""], "the topic is ''"),
        ([Topic("orders", "x", int)], "topic 'x' of channel 'orders' was asked for with channel"),
    ],
)
def test_a_token_is_for_some_topics_of_one_channel(topics: Any, message: str) -> None:
    with pytest.raises(RealtimeError, match=message):
        next(token_flow(DEV, "imports", topics))


def test_a_typed_topic_writes_its_messages_as_json() -> None:
    assert PROGRESS.dump(Progress(done=3)) == {"done": 3}


def test_a_typed_topic_refuses_a_message_of_another_type() -> None:
    with pytest.raises(RealtimeError, match="was not published; it does not fit the topic's type"):
        PROGRESS.dump(cast(Progress, {"done": "all"}))
