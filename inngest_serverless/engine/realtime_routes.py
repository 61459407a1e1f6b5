"""The routes of realtime (engine.md 1.10): a token, publishing, and server-sent events.

Of what the real server has, the websocket route and the forms of publishing that stream are not
built: what SDKs and browsers need of them, server-sent events do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from inngest_serverless.engine import jsontext
from inngest_serverless.engine.clock import Clock, SystemClock
from inngest_serverless.engine.model import JSON
from inngest_serverless.engine.realtime import (
    Hub,
    Message,
    TokenInvalid,
    Tokens,
    Topic,
    TopicsInvalid,
    read_topics,
)
from inngest_serverless.engine.web import body_of, json_answer, refuse

MAX_MESSAGE = 512 * 1024
"""Bytes of what is published at once."""


@dataclass(frozen=True)
class Realtime:
    """Who listens, with what tokens, for how long.

    A stream that says nothing for `keepalive_s` seconds gets a comment, so that nobody on the way
    takes it for dead; after `lifetime_s` it ends, and its reader asks for a new token.
    """

    clock: Clock = field(default_factory=SystemClock)
    hub: Hub = field(default_factory=Hub)
    tokens: Tokens = field(default_factory=Tokens)
    keepalive_s: float = 15.0
    lifetime_s: float = 15 * 60.0

    def routes(self) -> list[Route]:
        """All of it."""
        return [
            Route("/v1/realtime/token", self.token, methods=["POST"]),
            Route("/v1/realtime/publish", self.publish, methods=["POST"]),
            Route("/v1/realtime/sse", self.events, methods=["GET"]),
        ]

    async def token(self, request: Request) -> Response:
        """A token for the topics in the body."""
        try:
            topics = read_topics(jsontext.read(await body_of(request)))
        except TopicsInvalid as error:
            refuse(400, str(error))
        except ValueError as error:
            refuse(400, f"the body is not JSON: {error}")
        return json_answer({"jwt": self.tokens.issue(topics, self.clock.now_ms())}, 201)

    async def publish(self, request: Request) -> Response:
        """Hand the body to those who listen to `channel` and `topic`; how many is answered."""
        query = request.query_params
        channel, topic = query.get("channel"), query.get("topic")
        if not channel or not topic:
            refuse(400, "channel and topic must be in the query: ?channel=...&topic=...")
        if request.headers.get("content-type", "").startswith("text/stream"):
            refuse(415, "the local engine publishes whole messages only, not text/stream")
        message = Message(
            channel,
            topic,
            _data(await body_of(request, most=MAX_MESSAGE)),
            self.clock.now_ms(),
            run_id=query.get("run_id") or None,
            metadata=_metadata(query.get("metadata")),
        )
        return json_answer({"data": {"subscribers": self.hub.publish(message)}})

    async def events(self, request: Request) -> Response:
        """Stream what is published on the topics of the token, from now on."""
        token = request.query_params.get("token", "")
        try:
            topics = self.tokens.topics(token, self.clock.now_ms())
        except TokenInvalid as error:
            refuse(401, str(error))
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(
            self._stream(topics), media_type="text/event-stream", headers=headers
        )

    async def _stream(self, topics: tuple[Topic, ...]) -> AsyncIterator[str]:
        ends = asyncio.get_running_loop().time() + self.lifetime_s
        with self.hub.listening(topics) as subscription:
            yield ": listening\n\n"  # after this nothing that is published is missed
            while (left := ends - asyncio.get_running_loop().time()) > 0:
                try:
                    wait_s = min(self.keepalive_s, left)
                    message = await asyncio.wait_for(subscription.next(), wait_s)
                except asyncio.TimeoutError:
                    yield ": still here\n\n"
                    continue
                if message is None:
                    break
                yield _event(message.to_json())
        yield _event({"kind": "closing", "data": None})


def _event(body: dict[str, JSON]) -> str:
    # JSON has no line ends outside its escapes, so one `data` line holds it.
    return f"data: {json.dumps(body, separators=(',', ':'))}\n\n"


def _data(body: bytes) -> JSON:
    """What is published: JSON, or else the text itself."""
    try:
        return jsontext.read(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _metadata(text: str | None) -> JSON:
    if text is None:
        return None
    try:
        return jsontext.read(text.encode("utf-8", "replace"))
    except ValueError as error:
        refuse(400, f"metadata is not JSON: {error}")
