"""Realtime: messages for whoever listens right now, and the tokens that let one listen (1.10).

In memory only: a message that nobody listens for is gone, as is whatever was not read when the
engine stops. The secret of the tokens is a new one at each start (engine.md M14).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from inngest_serverless.engine import jsontext
from inngest_serverless.engine.model import JSON
from inngest_serverless.engine.views import iso

TOKEN_MS: Final = 60_000
"""How long a token opens a subscription; one that is open stays open."""
MAX_WAITING: Final = 1_000
"""Messages that a subscriber may be behind. One that is slower is let go."""
KINDS: Final = ("run", "event")


class TokenInvalid(ValueError):
    """A token that opens nothing; the text says why."""


class TopicsInvalid(ValueError):
    """What is asked for names no topics; the text says why."""


@dataclass(frozen=True)
class Topic:
    """What one may listen to: a name on a channel."""

    channel: str
    name: str
    kind: str = "run"


@dataclass(frozen=True)
class Message:
    """Something that was published. `created_ms` is Unix milliseconds."""

    channel: str
    topic: str
    data: JSON
    created_ms: int
    run_id: str | None = None
    metadata: JSON = None

    def to_json(self) -> dict[str, JSON]:
        """As subscribers get it; what is not there is left out."""
        body: dict[str, JSON] = {
            "kind": "data",
            "channel": self.channel,
            "topic": self.topic,
            "data": self.data,
            "created_at": iso(self.created_ms),
        }
        if self.run_id is not None:
            body["run_id"] = self.run_id
        if self.metadata is not None:
            body["metadata"] = self.metadata
        return body


def read_topics(body: JSON) -> tuple[Topic, ...]:
    """The topics in the body of a request for a token. Raises TopicsInvalid."""
    if not isinstance(body, list) or not body:
        raise TopicsInvalid('the body must be a list of topics: [{"channel", "name", "kind"}]')
    return tuple(map(_topic, body))


def _topic(raw: JSON) -> Topic:
    if not isinstance(raw, dict):
        raise TopicsInvalid(f"a topic is an object, not {raw!r}")
    channel, name, kind = raw.get("channel"), raw.get("name"), raw.get("kind", "run")
    if not isinstance(channel, str) or not isinstance(name, str) or not channel or not name:
        raise TopicsInvalid(f"a topic needs a channel and a name: {raw!r}")
    if kind not in KINDS:
        raise TopicsInvalid(f"the kind of topic {name!r} is {kind!r}; it is one of {KINDS}")
    return Topic(channel, name, kind)


# ── tokens: a compact JWS with HMAC-SHA256 (RFC 7515), a dozen lines of the standard library ─────


@dataclass(frozen=True)
class Tokens:
    """Makes tokens and checks them."""

    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def issue(self, topics: Iterable[Topic], now_ms: int) -> str:
        """A token for these topics, good for TOKEN_MS."""
        claims = {
            "iss": "inngest-serverless",
            "iat": now_ms // 1_000,
            "exp": (now_ms + TOKEN_MS) // 1_000,
            "topics": [vars(topic) for topic in topics],
        }
        signed = f"{_segment(_HEADER)}.{_segment(claims)}"
        return f"{signed}.{self._signature(signed)}"

    def topics(self, token: str, now_ms: int) -> tuple[Topic, ...]:
        """What a token lets one listen to. Raises TokenInvalid."""
        signed, _, signature = token.rpartition(".")
        # The signature first, and over the bytes as they came: nothing of a forged token is read.
        if not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            raise TokenInvalid("the token is not one of this engine's, or of an earlier start")
        claims = _read_segment(signed.partition(".")[2])
        if claims["exp"] * 1_000 <= now_ms:
            raise TokenInvalid(f"the token has expired; it is good for {TOKEN_MS // 1_000} s")
        return tuple(Topic(**topic) for topic in claims["topics"])

    def _signature(self, signed: str) -> str:
        digest = hmac.new(self.secret, signed.encode(), hashlib.sha256).digest()
        return _base64url(digest)


_HEADER: Final[dict[str, JSON]] = {"alg": "HS256", "typ": "JWT"}


def _segment(value: dict[str, JSON]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _read_segment(text: str) -> dict[str, JSON]:
    try:
        value = jsontext.read(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):  # pragma: no cover - we sign nothing of that kind
        raise TokenInvalid("the token is none") from None
    assert isinstance(value, dict)
    return value


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


# ── who listens ──────────────────────────────────────────────────────────────────────────────────


class Subscription:
    """What one subscriber has not read yet."""

    def __init__(self, topics: Iterable[Topic]) -> None:
        self.wanted: frozenset[tuple[str, str]] = frozenset(
            (topic.channel, topic.name) for topic in topics
        )
        self._waiting: deque[Message] = deque()
        self._awake = asyncio.Event()
        self._over = False

    async def next(self) -> Message | None:
        """The next message; None once the subscription is over. May be given up and asked again."""
        while not self._waiting:
            if self._over:
                return None
            self._awake.clear()
            await self._awake.wait()
        return self._waiting.popleft()

    def put(self, message: Message) -> None:
        """Hand a message over; the end of the subscription if too many wait already."""
        if len(self._waiting) >= MAX_WAITING:
            return self.end()
        self._waiting.append(message)
        return self._awake.set()

    def end(self) -> None:
        """Nothing more comes: what waits is read, and then it is over."""
        self._over = True
        self._awake.set()


class Hub:
    """Hands each message to those who listen. Use it on one event loop."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    @contextmanager
    def listening(self, topics: Iterable[Topic]) -> Iterator[Subscription]:
        """Listen to these topics, and to no others, for as long as the block."""
        subscription = Subscription(topics)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def publish(self, message: Message) -> int:
        """Hand a message to all that listen; how many they are."""
        place = (message.channel, message.topic)
        listeners = [each for each in self._subscriptions if place in each.wanted]
        for each in listeners:
            each.put(message)
        return len(listeners)

    def close(self) -> None:
        """End all subscriptions, so that a server can stop."""
        for each in self._subscriptions:
            each.end()
