"""Realtime: tokens, publishing, and server-sent events (engine.md 1.10)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from inngest_serverless.engine.api import create_api
from inngest_serverless.engine.clock import ManualClock
from inngest_serverless.engine.engine import Engine
from inngest_serverless.engine.realtime import (
    MAX_WAITING,
    TOKEN_MS,
    Hub,
    Message,
    Tokens,
    Topic,
)
from inngest_serverless.engine.realtime_routes import MAX_MESSAGE, Realtime
from inngest_serverless.engine.server import DevOptions, DevServer

from .serving import serving
from .test_api import Client as Api
from .test_api import is_common_error, returns, with_client

NEWS = {"channel": "orders", "name": "news", "kind": "run"}
OTHER = {"channel": "orders", "name": "gossip", "kind": "run"}


class Client:
    """Somebody who publishes to an engine and listens to it."""

    def __init__(self, http: httpx.AsyncClient, clock: ManualClock) -> None:
        self.http, self.clock = http, clock

    async def token(self, *topics: dict[str, str]) -> str:
        answer = await self.http.post("/v1/realtime/token", json=list(topics))
        assert answer.status_code == 201, answer.text
        assert answer.json().keys() == {"jwt"}
        token: str = answer.json()["jwt"]
        return token

    async def publish(self, content: Any, topic: str = "news", **query: str) -> int:
        answer = await self.http.post(
            "/v1/realtime/publish",
            params={"channel": "orders", "topic": topic, **query},
            content=content if isinstance(content, (bytes, str)) else json.dumps(content),
        )
        assert answer.status_code == 200, answer.text
        heard: int = answer.json()["data"]["subscribers"]
        return heard

    @asynccontextmanager
    async def listening(self, *topics: dict[str, str]) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of a stream of these topics, from the moment that nothing is missed."""
        query = {"token": await self.token(*topics)}
        async with self.http.stream("GET", "/v1/realtime/sse", params=query) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = (line async for line in answer.aiter_lines() if line)
            assert await anext(lines) == ": listening"
            yield lines


def with_realtime(act: Callable[[Client], Awaitable[None]], **options: float) -> None:
    async def go() -> None:
        clock = ManualClock()
        async with Engine(returns, clock=clock) as engine:
            realtime = Realtime(clock, **options)  # type: ignore[arg-type]  # two floats
            api = create_api(engine, clock=clock, realtime=realtime)
            async with serving(api) as url, httpx.AsyncClient(base_url=url, timeout=20) as http:
                try:
                    await asyncio.wait_for(act(Client(http, clock)), 20)
                finally:
                    realtime.hub.close()

    asyncio.run(go())


def data_of(line: str) -> dict[str, Any]:
    assert line.startswith("data: ")
    found: dict[str, Any] = json.loads(line.removeprefix("data: "))
    return found


def test_what_is_published_on_a_topic_reaches_those_who_listen_to_it() -> None:
    async def act(client: Client) -> None:
        assert await client.publish({"n": 0}) == 0
        async with client.listening(NEWS) as lines, client.listening(NEWS, OTHER) as more:
            assert await client.publish({"n": 1}, run_id="01R", metadata='{"a":1}') == 2
            assert await client.publish("ja", topic="gossip") == 1
            assert await client.publish({"n": 3}, channel="other") == 0
            assert await client.publish([2]) == 2
            first = data_of(await anext(lines))
            assert first == {
                "kind": "data",
                "channel": "orders",
                "topic": "news",
                "data": {"n": 1},
                "created_at": "2023-11-14T22:13:20.000Z",
                "run_id": "01R",
                "metadata": {"a": 1},
            }
            assert data_of(await anext(lines))["data"] == [2]
            heard = [data_of(await anext(more))["data"] for _ in range(3)]
            assert heard == [{"n": 1}, "ja", [2]]

    with_realtime(act)


@pytest.mark.parametrize(
    ("content", "data"),
    [("plain text", "plain text"), ('"a"', "a"), ("", ""), ("null", None), ("a\nb", "a\nb")],
)
def test_what_is_not_json_is_published_as_text(content: str, data: Any) -> None:
    async def act(client: Client) -> None:
        async with client.listening(NEWS) as lines:
            await client.publish(content)
            assert data_of(await anext(lines))["data"] == data

    with_realtime(act)


def test_a_quiet_stream_is_kept_alive_and_ends_in_the_end() -> None:
    async def act(client: Client) -> None:
        async with client.listening(NEWS) as lines:
            rest = [line async for line in lines]
        assert ": still here" in rest
        assert data_of(rest[-1])["kind"] == "closing"

    with_realtime(act, keepalive_s=0.01, lifetime_s=0.1)


def test_a_server_that_stops_ends_its_streams() -> None:
    async def go() -> None:
        options = DevOptions(port=0, discovery=False, poll_seconds=0)
        async with httpx.AsyncClient(timeout=20) as http:
            async with DevServer(options) as server:
                answer = await http.post(f"{server.url}/v1/realtime/token", json=[NEWS])
                query = {"token": answer.json()["jwt"]}
                request = http.build_request("GET", f"{server.url}/v1/realtime/sse", params=query)
                stream = await http.send(request, stream=True)
            lines = [line async for line in stream.aiter_lines() if line]
            assert data_of(lines[-1])["kind"] == "closing"

    asyncio.run(go())


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────


def forged(token: str, **claims: Any) -> str:
    """The token with other claims under the old signature."""
    head, body, signature = token.split(".")
    found = json.loads(base64.urlsafe_b64decode(body + "=="))
    text = json.dumps({**found, **claims}).encode()
    return ".".join((head, base64.urlsafe_b64encode(text).rstrip(b"=").decode(), signature))


def unsigned(token: str) -> str:
    """The token with the algorithm `none` and no signature."""
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return f"{head}.{token.split('.')[1]}."


SPOILT: dict[str, Callable[[str], str]] = {
    "left out": lambda token: "",
    "nonsense": lambda token: "a.b.c",
    "cut off": lambda token: token[:-2],
    "too long": lambda token: token + "A",
    "not ASCII": lambda token: "\u00fc" + token,
    "unsigned": unsigned,
    "other topics": lambda token: forged(token, topics=[OTHER]),
    "longer life": lambda token: forged(token, exp=9_999_999_999),
    "other secret": lambda _: Tokens(b"another").issue(
        [Topic("orders", "news")], 1_700_000_000_000
    ),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_token_that_this_engine_did_not_make_opens_nothing(spoil: Callable[[str], str]) -> None:
    async def act(client: Client) -> None:
        query = {"token": spoil(await client.token(NEWS))}
        text = is_common_error(await client.http.get("/v1/realtime/sse", params=query), 401)
        assert "not one of this engine's" in text

    with_realtime(act)


def test_a_token_opens_nothing_after_a_minute() -> None:
    async def act(client: Client) -> None:
        query = {"token": await client.token(NEWS)}
        client.clock.advance(TOKEN_MS - 1)
        async with client.http.stream("GET", "/v1/realtime/sse", params=query) as answer:
            assert answer.status_code == 200
        client.clock.advance(1)
        text = is_common_error(await client.http.get("/v1/realtime/sse", params=query), 401)
        assert "expired" in text

    with_realtime(act)


def test_the_secret_of_tokens_is_a_new_one_at_each_start_and_shown_nowhere() -> None:
    one, two = Tokens(), Tokens()
    assert one.secret != two.secret
    assert repr(one.secret) not in repr(one)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"{}", "must be a list of topics"),
        (b"[]", "must be a list of topics"),
        (b"[1]", "a topic is an object"),
        (b'[{"channel":"c"}]', "needs a channel and a name"),
        (b'[{"channel":"","name":"n"}]', "needs a channel and a name"),
        (b'[{"channel":"c","name":["n"]}]', "needs a channel and a name"),
        (b'[{"channel":"c","name":"n","kind":"x"}]', "the kind of topic 'n' is 'x'"),
    ],
)
def test_a_token_for_what_is_no_topic_is_refused(body: bytes, said: str) -> None:
    async def act(client: Api) -> None:
        answer = await client.http.post("/v1/realtime/token", content=body)
        assert said in is_common_error(answer, 400)

    with_client(act)


@pytest.mark.parametrize(
    ("query", "headers", "content", "status"),
    [
        ("channel=c", {}, b"1", 400),
        ("topic=t", {}, b"1", 400),
        ("channel=c&topic=t&metadata={", {}, b"1", 400),
        ("channel=c&topic=t", {"content-type": "text/stream"}, b"1", 415),
        ("channel=c&topic=t", {}, b"x" * (MAX_MESSAGE + 1), 413),
        ("channel=c&topic=t", {}, b"x" * MAX_MESSAGE, 200),
    ],
)
def test_what_cannot_be_published_is_refused(
    query: str, headers: dict[str, str], content: bytes, status: int
) -> None:
    async def act(client: Api) -> None:
        path = f"/v1/realtime/publish?{query}"
        answer = await client.http.post(path, content=content, headers=headers)
        assert answer.status_code == status, answer.text

    with_client(act)


# ── who is too slow ──────────────────────────────────────────────────────────────────────────────


def test_a_listener_that_falls_far_behind_is_let_go_after_what_it_has() -> None:
    async def go() -> None:
        hub, topic = Hub(), Topic("c", "t")
        with hub.listening([topic]) as slow:
            for n in range(MAX_WAITING + 5):
                hub.publish(Message("c", "t", n, 0))
            heard = [await slow.next() for _ in range(MAX_WAITING + 1)]
            assert [each.data for each in heard if each] == list(range(MAX_WAITING))
            assert heard[-1] is None
        assert hub.publish(Message("c", "t", 0, 0)) == 0

    asyncio.run(go())
