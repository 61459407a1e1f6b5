"""Realtime: messages to browsers that watch a channel, and the tokens that let them (wire.md A16).

A channel names what is watched ("order:7"), a topic a kind of message in it. Messages are not
kept: who is not watching misses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic
from urllib.parse import urlencode

from inngest_sdk import rest
from inngest_sdk.codec import codec_for
from inngest_sdk.config import Config
from inngest_sdk.effects import Flow
from inngest_sdk.errors import NonRetriableError, RealtimeError, UnreachableError
from inngest_sdk.http import dumps

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # as in `events`

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")

MAX_MESSAGE_BYTES = 512 * 1024  # the server's constant (engine.md 1.10)


@dataclass(frozen=True)
class Topic(Generic[T]):
    """A topic whose messages are of one type: a model, a dataclass... (see `codec`), or any JSON.

        PROGRESS = Topic("imports", "progress", Progress)

    For a channel per user or order, write the function that makes it:

        def progress(order_id: int) -> Topic[Progress]:
            return Topic(f"order:{order_id}", "progress", Progress)
    """

    channel: str
    name: str
    message_type: type[T] | Any = object

    def dump(self, message: T) -> object:
        """Write a message as JSON. Raises RealtimeError for one of another type."""
        try:
            return codec_for(self.message_type).encode(message)
        except NonRetriableError as error:
            raise RealtimeError(
                f"the message for {_place(self.channel, self.name)} was not published; it does not "
                f"fit the topic's type: {error}"
            ) from error


@dataclass(frozen=True)
class SubscriptionToken:
    """Lets a browser watch these topics of a channel. Begin to watch within a minute: by then
    `key`, a JWT, has expired (engine.md 1.10). Who has the key can read the messages."""

    channel: str
    topics: tuple[str, ...]
    key: str = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Write the token as Inngest's browser library takes it."""
        return {"channel": self.channel, "topics": list(self.topics), "key": self.key}


def publish_flow(config: Config, channel: str, topic: str, data: object) -> Flow[None]:
    """Publish a message, any JSON of at most 512 KB, to those who watch the topic.

    Tried five times when the server cannot be reached, is busy (429) or broken (5xx); so a message
    may arrive more than once.

    Raises RealtimeError for what cannot be published or was not taken, and ConfigError without a
    signing key in cloud mode.
    """
    query = urlencode({"channel": _name("channel", channel), "topic": _name("topic", topic)})
    what = f"the message for {_place(channel, topic)}"
    body = _body(what, data)
    try:
        answer = yield from rest.post(config, f"/v1/realtime/publish?{query}", body)
    except UnreachableError as error:
        raise RealtimeError(
            f"{what} was not published, as far as is known: {error}, in {rest.TRIES} tries"
        ) from error
    if not answer.accepted:
        raise RealtimeError(f"{what} was not published: {answer.problem}")


def token_flow(
    config: Config, channel: str, topics: Sequence[str | Topic[Any]]
) -> Flow[SubscriptionToken]:
    """Ask for a token to watch these topics of a channel.

    A run's own progress is on the channel named by its id, under the topic "$run".

    Raises RealtimeError for names that are none and when the server gives no token, and
    ConfigError without a signing key in cloud mode.
    """
    names = _topic_names(_name("channel", channel), topics)
    # "run" is what the official SDKs write, whatever the topic is.
    wanted = [{"channel": channel, "name": name, "kind": "run"} for name in names]
    try:
        answer = yield from rest.post(config, "/v1/realtime/token", dumps(wanted))
    except UnreachableError as error:
        raise RealtimeError(
            f"no token for channel {channel!r}: {error}, in {rest.TRIES} tries"
        ) from error
    key = answer.body.get("jwt")
    if answer.accepted and isinstance(key, str) and key:
        return SubscriptionToken(channel, names, key)
    problem = "its answer has no 'jwt'" if answer.accepted else answer.problem
    raise RealtimeError(f"no token for channel {channel!r}: {problem}")


def _place(channel: str, topic: str) -> str:
    return f"topic {topic!r} of channel {channel!r}"


def _name(what: str, name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise RealtimeError(f"the {what} is {name!r}; it takes a text that is not blank")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise RealtimeError(f"the {what} is {name!r}, which is not Unicode text: {error}") from None
    return name


def _topic_names(channel: str, topics: Sequence[str | Topic[Any]]) -> tuple[str, ...]:
    if isinstance(topics, (str, Topic)) or not topics:
        raise RealtimeError(
            f"the topics of channel {channel!r} are {topics!r}; they take a list of one or more"
        )
    return tuple(_topic_name(channel, topic) for topic in topics)


def _topic_name(channel: str, topic: str | Topic[Any]) -> str:
    if not isinstance(topic, Topic):
        return _name("topic", topic)
    if topic.channel != channel:
        raise RealtimeError(
            f"{_place(topic.channel, topic.name)} was asked for with channel {channel!r}; a token "
            "is for one channel: ask for one each"
        )
    return _name("topic", topic.name)


def _body(what: str, data: object) -> bytes:
    try:
        body = dumps(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise RealtimeError(f"{what} is not JSON: {error}; it was not published") from error
    if len(body) > MAX_MESSAGE_BYTES:
        raise RealtimeError(
            f"{what} has {len(body):,} bytes; the server takes {MAX_MESSAGE_BYTES:,} at most: "
            "publish the address of the large part; it was not published"
        )
    return body
