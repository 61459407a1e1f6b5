"""Messages of a cloud become events: what the bridges of all three clouds share.

A bridge reads what its platform hands over into `Message`s, each with the events that it holds.
Here they are named and filtered as the user wants it, and sent in as few requests as the server's
limits allow (wire.md A12). What comes back is the `Failure`s: the messages that the platform has
to deliver again, or that nothing can be made of.

Delivery is at least once on every platform. So the id of an event is made of what its source calls
the message: delivered again within 24 hours it starts nothing (wire.md A12).

A message is *poison* when trying again cannot help: nothing can be read from it, or the server
would not take its event, for its size or name. One such event would have the whole request
refused, so they are sorted out before: behind the client's own middleware, since that may make an
event larger or smaller.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from inngest_sdk.client import Inngest
from inngest_sdk.errors import ConfigError, Error, SendEventsError
from inngest_sdk.event_types import plain
from inngest_sdk.events import Event
from inngest_sdk.flow_control import check_event_name
from inngest_sdk.http import dumps
from inngest_sdk.middleware import Chain, MiddlewareSync
from inngest_sdk.sending import RESERVED_PREFIX, send_flow

# The server refuses events from outside of these (engine.md 1.2).
EARLIEST_MS = 315_532_800_000  # 1980-01-01
LATEST_MS = 4_102_444_800_000  # 2100-01-01

# Only asks whether an event can be sent; nothing is sent with it.
_SEED = "0,AAAAAAAAAAAAAA=="

# How many failures an error's text names.
_NAMED = 3

_FATES = {"fail": "left to the platform", "drop": "dropped"}


@dataclass(frozen=True)
class Message:
    """One message of a source, and the events that it holds, named as they are by default.

    `receipt` is what the source calls the message. In a `group` none may overtake another; "" is
    no group. `problem` says why no event could be made. `original` is what the platform gave.
    """

    receipt: str
    events: tuple[Event[Any], ...] = ()
    group: str = ""
    problem: str | None = None
    original: object = field(default=None, repr=False)


@dataclass(frozen=True)
class Failure:
    """A message that was not forwarded, and why. `message` is what the platform gave.

    `is_poison`: it would fail again, however often it is delivered.
    """

    receipt: str
    reason: str
    is_poison: bool
    message: object = field(repr=False)


class ForwardError(Error):
    """Some messages were not forwarded: `failures` says which. The platform is to try again."""

    code = "forward_failed"

    def __init__(self, message: str, failures: Sequence[Failure] = ()) -> None:
        super().__init__(message)
        self.failures: list[Failure] = list(failures)


Name: TypeAlias = "str | Callable[[Event[Any]], str]"
Filter: TypeAlias = Callable[[Event[Any]], object]
Data: TypeAlias = Callable[[Event[Any]], Any]
OnPoison: TypeAlias = "Literal['fail', 'drop'] | Callable[[Failure], object]"


@dataclass(frozen=True)
class Rules:
    """What the user wants of a bridge.

    `filter` says which events are sent, `name` what they are called, `data` what they carry; each
    is given the event as it would be sent without them. `on_poison`: "fail" leaves a message that
    cannot be forwarded to the platform's retries and dead-letter queue, "drop" logs it and counts
    it as done, and a function is given its Failure and counts it as done unless it raises.

    Raises ConfigError for an `on_poison` that is neither.
    """

    name: Name | None = None
    filter: Filter | None = None
    data: Data | None = None
    on_poison: OnPoison = "fail"

    def __post_init__(self) -> None:
        if isinstance(self.name, str):
            check_event_name("the name of a bridge's events", self.name)
            if self.name.lower().startswith(RESERVED_PREFIX):
                raise ConfigError(
                    f"the name of a bridge's events is {self.name!r}; names that begin with "
                    f"'{RESERVED_PREFIX}' are Inngest's own"
                )
        if self.on_poison in ("fail", "drop"):
            return
        import inspect

        if not callable(self.on_poison) or inspect.iscoroutinefunction(self.on_poison):
            raise ConfigError(
                f"on_poison is {self.on_poison!r}; it may be 'fail', 'drop', or a plain function "
                "that is given each Failure (async ones are not awaited)"
            )


def forward(client: Inngest, messages: Sequence[Message], rules: Rules) -> list[Failure]:
    """Send the events of these messages, and return the messages that failed, in order.

    Raises ConfigError without an event key in cloud mode, and what middleware raises: then nothing
    may count as done.
    """
    batch = _Batch(client, messages, rules)
    if batch.events:
        chain = Chain(batch.middleware, client, None)
        try:
            client.send_sync_through(chain, batch.events)
        except SendEventsError as error:
            batch.not_sent(error)
    return batch.settle()


async def forward_async(
    client: Inngest, messages: Sequence[Message], rules: Rules
) -> list[Failure]:
    """Do what `forward` does, on the running loop."""
    import asyncio

    batch = _Batch(client, messages, rules)
    if batch.events:
        chain = Chain(batch.middleware, client, None, asyncio.to_thread)
        try:
            await client.send_through(chain, batch.events)
        except SendEventsError as error:
            batch.not_sent(error)
    # In a thread: the user's function for poison may block.
    return await asyncio.to_thread(batch.settle)


def raise_for(failures: Sequence[Failure], total: int) -> None:
    """Raise ForwardError if there is a failure, naming the first few."""
    if not failures:
        return
    named = "; ".join(f"{each.receipt or 'it'}: {each.reason}" for each in failures[:_NAMED])
    more = len(failures) - _NAMED
    raise ForwardError(
        f"{len(failures)} of {total} messages did not become events: {named}"
        + (f"; and {more} more" if more > 0 else ""),
        failures,
    )


class _Batch(MiddlewareSync):
    """The messages of one call on their way. Stands last in the middleware of the send, where it
    takes out what the server would refuse."""

    def __init__(self, client: Inngest, messages: Sequence[Message], rules: Rules) -> None:
        super().__init__(client, None)
        self.events: list[Event[Any]] = []
        self._messages = messages
        self._rules = rules
        self._failures: dict[int, Failure] = {}
        self._owners: dict[str, list[int]] = {}  # by event id: equal ones share their fate
        self._kept: list[str] | None = None
        self._held_from: dict[str, int] = {}  # by group: the first message that failed
        for index, message in enumerate(messages):
            self._take(index, message)

    @property
    def middleware(self) -> list[Callable[[Any, object], Any]]:
        """The client's, and this behind it."""
        return [*self.client.middleware, lambda client, raw_request: self]

    def before_send_events(self, events: list[Event]) -> None:
        """Take out what cannot be sent, and what must not overtake it."""
        events[:] = [event for event in events if self._may_go(event)]
        self._kept = [event.id for event in events]

    def not_sent(self, error: SendEventsError) -> None:
        """Note which events were not accepted: those that were are the first."""
        # Without `_kept` some middleware raised it, before anything was sent.
        sendable = list(self._owners) if self._kept is None else self._kept
        unsent = sendable[len(error.ids) :]
        for event_id in unsent:
            for index in self._owners_of(event_id):
                self._fail(index, error.message, False)
        self.client.logger.error("%d events were not sent: %s", len(unsent), error.message)

    def settle(self) -> list[Failure]:
        """Do with poison as the rules say, and return what has to be delivered again."""
        ordered = [self._failures[index] for index in sorted(self._failures)]
        return [each for each in ordered if not each.is_poison or self._still_fails(each)]

    def _take(self, index: int, message: Message) -> None:
        if message.problem is not None:
            self._fail(index, message.problem, True)
            return
        for default in message.events:
            try:
                event = self._mapped(default)
            except Exception as error:  # user code, or data that is no JSON
                self._fail(index, f"mapping it failed: {type(error).__name__}: {error}", True)
                return
            if event is not None:
                self.events.append(event)
                self._owners.setdefault(event.id, []).append(index)

    def _mapped(self, event: Event[Any]) -> Event[Any] | None:
        rules = self._rules
        if rules.filter is not None and not rules.filter(event):
            return None
        name = rules.name if isinstance(rules.name, str) else event.name
        if callable(rules.name):
            name = rules.name(event)
        if not isinstance(name, str):
            raise TypeError(f"the name is a {type(name).__name__}, not a string")
        data = event.data if rules.data is None else rules.data(event)
        return plain(replace(event, name=name, data=data))

    def _may_go(self, event: Event[Any]) -> bool:
        index = self._owners_of(event.id)[0]
        if self._held_from.get(self._messages[index].group, index) < index:
            self._fail(index, "it is held back behind a message of its group that failed", False)
            return False
        refusal = _refusal(self.client, event)
        if refusal is None:
            return True
        for owner in self._owners_of(event.id):
            self._fail(owner, refusal, True)
        return False

    def _owners_of(self, event_id: str) -> Sequence[int]:
        # Middleware may have given it another id: then it stands for any of the messages.
        return self._owners.get(event_id) or range(len(self._messages))

    def _fail(self, index: int, reason: str, is_poison: bool) -> None:
        message = self._messages[index]
        known = self._failures.get(index)
        # What was not sent must not be dropped as poison for another event with the same id.
        if known is None or (known.is_poison and not is_poison):
            failure = Failure(message.receipt, reason, is_poison, message.original)
            self._failures[index] = failure
        if message.group and (not is_poison or self._rules.on_poison == "fail"):
            first = self._held_from.get(message.group, index)
            self._held_from[message.group] = min(first, index)

    def _still_fails(self, failure: Failure) -> bool:
        logger, on_poison = self.client.logger, self._rules.on_poison
        fate = _FATES[on_poison] if isinstance(on_poison, str) else "handed to on_poison"
        logger.error(
            "message %s cannot become an event, and is %s: %s",
            failure.receipt,
            fate,
            failure.reason,
        )
        if isinstance(on_poison, str):
            return on_poison == "fail"
        try:
            on_poison(failure)
        except Exception:  # user code: the message is not done with
            logger.exception("on_poison failed for message %s", failure.receipt)
            return True
        return False


def _refusal(client: Inngest, event: Event[Any]) -> str | None:
    """Why the event cannot be sent. A flow checks its events before it asks for anything."""
    flow = send_flow(client.config, [event], _SEED)
    try:
        next(flow)
    except SendEventsError as error:
        return error.message
    flow.close()
    return None


# --- reading what platforms hand over, where every field may be missing or of another type -------


def table(value: object) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def only_given(**fields: Any) -> dict[str, Any]:
    """The fields that have a value; a source's empty strings count as none."""
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def body_fields(raw: bytes | str) -> dict[str, Any]:
    """What a message carries: `body`, and `encoding`, which is how to read it.

    "json": the body is what the JSON says. "text": the body is the text, which is no JSON that an
    event could hold. "base64": the bytes are not UTF-8, and the body is their base64.
    """
    try:
        decoded = raw if isinstance(raw, str) else str(raw, "utf-8")
    except UnicodeDecodeError as error:
        return {"body": base64_text(error.object), "encoding": "base64"}
    try:
        value = json.loads(decoded)
        dumps(value)  # what Python reads may be NaN, or half a character
    except (ValueError, RecursionError):
        return {"body": decoded, "encoding": "text"}
    return {"body": value, "encoding": "json"}


def base64_text(raw: bytes) -> str:
    """The base64 of some bytes."""
    import base64

    return base64.b64encode(raw).decode("ascii")


def base64_bytes(encoded: object) -> bytes | None:
    """The bytes of some base64; None for what is none."""
    import base64

    if not isinstance(encoded, str):
        return None
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        return None


def name_part(given: str) -> str:
    """Part of an event's name: lower-case letters, digits, - and _, and dots for all else."""
    return re.sub(r"[^a-z0-9_-]+", ".", given.lower()).strip(".")


def event_id(kind: str, *parts: object) -> str:
    """An id of the source's own; "", which is none, if a part of it is not known."""
    known = all(isinstance(part, (str, int)) and part != "" for part in parts)
    return f"{kind}:{':'.join(map(str, parts))}" if parts and known else ""


_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6})\d*)?([Zz]|[+-]\d\d:\d\d)?"
)


def ms_of_iso(value: object) -> int:
    """Unix milliseconds of an ISO 8601 time, UTC unless it says otherwise; 0 for what is none.

    Sources write nanoseconds, and `Z`, which `datetime.fromisoformat` of Python 3.10 reads not.
    """
    if not isinstance(value, str) or (found := _ISO.fullmatch(value.strip())) is None:
        return 0
    from datetime import datetime, timezone

    *numbers, fraction, zone = found.groups()
    year, month, day, hour, minute, second = map(int, numbers)
    micros = int((fraction or "0").ljust(6, "0"))
    try:
        at = datetime(year, month, day, hour, minute, second, micros, tzinfo=timezone.utc)
    except ValueError:
        return 0
    return ms_of_seconds(at.timestamp() - _offset_seconds(zone))


def _offset_seconds(zone: str | None) -> int:
    if zone is None or zone in "Zz":
        return 0
    seconds = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return -seconds if zone[0] == "-" else seconds


def ms_of_seconds(value: object) -> int:
    """Unix milliseconds of Unix seconds; 0, which is "now", for what no event may have."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0
    # Compared first: an infinity cannot be rounded, and NaN is in no range.
    in_range = EARLIEST_MS / 1000 <= value <= LATEST_MS / 1000
    return round(value * 1000) if in_range else 0


def cloud_event(
    name: str, attributes: Mapping[str, Any], data: object, ts: int | None = None
) -> Event[Any]:
    """The event of a CloudEvent, whose `source` and `id` together are unique by its standard.

    `data` that is text or bytes, so not JSON for whoever sent it, is read like a body.
    """
    said = {key: text(attributes.get(key)) for key in ("type", "source", "subject", "id", "time")}
    carried = body_fields(data) if isinstance(data, (str, bytes)) else {"data": data}
    return Event(
        name=name,
        id=event_id("ce", said["source"], said["id"]),
        ts=ms_of_iso(said["time"]) if ts is None else ts,
        data={**only_given(**said), **carried},
    )
