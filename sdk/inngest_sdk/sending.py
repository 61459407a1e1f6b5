"""Sending events: one flow for the client and for steps, sync and async (wire.md A12).

Every try of a request carries the same seed, from which the server derives the events' ids: a
request that arrived although its answer was lost is not counted twice. The server gives event i
the id ULID(ms, entropy) with the entropy's last four bytes increased by i + 1; where a list is cut
into several requests, we advance these bytes likewise, so ids do not depend on where it is cut.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

from inngest_sdk import wire
from inngest_sdk.api import is_refused, retried
from inngest_sdk.config import Config
from inngest_sdk.effects import Flow, fetch, revealed
from inngest_sdk.errors import ConfigError, SendEventsError, UnreachableError
from inngest_sdk.events import Event
from inngest_sdk.http import Request, Response, dumps

# The server's constants (wire.md A12, G4).
MAX_EVENTS_PER_REQUEST = 5_000
MAX_EVENT_BYTES = 512 * 1024
MAX_NAME_CHARACTERS = 512
RESERVED_PREFIX = "inngest/"

# Ours: enough for any one event, and little enough to be sent again when a try fails.
MAX_REQUEST_BYTES = 3 * 1024 * 1024

TRIES = 5

# A dev server takes any key, but there must be one in the URL.
DEV_EVENT_KEY = "NO_EVENT_KEY_SET"

_trace: ContextVar[Mapping[str, str] | None] = ContextVar("inngest_trace", default=None)


@contextmanager
def tracing(trace: Mapping[str, str]) -> Iterator[None]:
    """Put these headers on the requests of all that is sent within: events belong to the trace of
    the call that sends them."""
    token = _trace.set(trace)
    try:
        yield
    finally:
        _trace.reset(token)


def send_flow(config: Config, events: Sequence[Event[Any]], seed: str) -> Flow[list[str]]:
    """Send events and return their ids, in order.

    `seed` is "<unix ms>,<base64 of 10 random bytes>". Events without a `ts` get the seed's. A
    request is tried five times when the server cannot be reached, is busy (429) or broken (5xx).

    Raises ConfigError without an event key in cloud mode, SecretUnavailableError for one that could
    not be fetched, and SendEventsError for an event that cannot be sent (then none is) or that the
    server did not take (`ids` has those that it took).
    """
    _check_key(config)
    milliseconds, entropy = _parse_seed(seed)
    bodies = [_event_body(index, event, milliseconds) for index, event in enumerate(events)]
    ids: list[str] = []
    for start, chunk in _chunks(bodies):
        headers = _headers(config, f"{milliseconds},{_entropy_at(entropy, start)}")
        body = b"[" + b",".join(chunk) + b"]"
        try:
            response = yield from retried(partial(_posted, config, headers, body), TRIES)
        except UnreachableError as error:
            raise _partly_sent(f"{error}, in {TRIES} tries", ids, len(bodies)) from error
        ids += _accepted(response, ids, len(chunk), len(bodies))
    return ids


def _check_key(config: Config) -> None:
    if config.event_key is None and config.is_production:
        raise ConfigError(
            "no event key: set INNGEST_EVENT_KEY (or event_key=) to send events to "
            f"{config.event_api_origin}, or INNGEST_DEV=1 to use a dev server"
        )


def _posted(config: Config, headers: Mapping[str, str], body: bytes) -> Flow[Response]:
    """Post events with the event key, and where that is refused once more if the store that it
    lies in has another one by now."""
    keys = [] if config.event_key is None else [config.event_key]
    texts = yield from revealed(keys)
    request = Request("POST", _url(config, texts), headers, body)
    response = yield from fetch(request, config.request_timeout)
    if is_refused(response):
        newer = yield from revealed(keys, again=True)
        if newer != texts:
            request = replace(request, url=_url(config, newer))
            response = yield from fetch(request, config.request_timeout)
    return response


def _url(config: Config, keys: Sequence[str]) -> str:
    key = keys[0] if keys else DEV_EVENT_KEY
    return f"{config.event_api_origin}/e/{quote(key, safe='')}"


def _headers(config: Config, seed: str) -> dict[str, str]:
    headers = {
        **(_trace.get() or {}),
        "content-type": "application/json",
        "user-agent": wire.SDK,
        "x-inngest-sdk": wire.SDK,
        "x-inngest-event-id-seed": seed,
    }
    return headers if config.env is None else headers | {"x-inngest-env": config.env}


def _parse_seed(seed: str) -> tuple[int, bytes]:
    milliseconds, _, entropy = seed.partition(",")
    try:
        decoded = base64.b64decode(entropy, validate=True)
        if len(decoded) != 10:
            raise ValueError("the entropy is not 10 bytes")
        return int(milliseconds), decoded
    except (binascii.Error, ValueError) as error:
        raise ValueError(
            f"{seed!r} is no seed, '<unix ms>,<base64 of 10 bytes>': {error}"
        ) from None


def _entropy_at(entropy: bytes, start: int) -> str:
    counter = (int.from_bytes(entropy[6:], "big") + start) % 2**32
    return base64.b64encode(entropy[:6] + counter.to_bytes(4, "big")).decode()


def _event_body(index: int, event: object, milliseconds: int) -> bytes:
    if not isinstance(event, Event):
        raise SendEventsError(
            f"event {index} is a {type(event).__name__}, not an Event, such as "
            "Event(name='shop/order.placed', data={}); none was sent"
        )
    what = f"event {index} ({event.name[:80]!r})"
    if not event.name.strip():
        raise SendEventsError(f"event {index} has no name; none was sent")
    if len(event.name) > MAX_NAME_CHARACTERS:
        raise SendEventsError(
            f"{what} has a name of {len(event.name)} characters; the most allowed is "
            f"{MAX_NAME_CHARACTERS}; none was sent"
        )
    # In any case of letters (engine.md 1.2).
    if event.name.lower().startswith(RESERVED_PREFIX):
        raise SendEventsError(
            f"{what}: names that begin with '{RESERVED_PREFIX}' are Inngest's own; none was sent"
        )
    try:
        body = dumps((event if event.ts else replace(event, ts=milliseconds)).to_json())
    except (TypeError, ValueError, RecursionError) as error:
        raise SendEventsError(f"{what} is not JSON: {error}; none was sent") from error
    if len(body) > MAX_EVENT_BYTES:
        raise SendEventsError(
            f"{what} has {len(body):,} bytes; the server takes {MAX_EVENT_BYTES:,} at most: put "
            "the large part into a store and its address into the event; none was sent"
        )
    return body


def _chunks(bodies: Sequence[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    chunk: list[bytes] = []
    size = 0
    for index, body in enumerate(bodies):
        if len(chunk) == MAX_EVENTS_PER_REQUEST or (chunk and size + len(body) > MAX_REQUEST_BYTES):
            yield index - len(chunk), chunk
            chunk, size = [], 0
        chunk.append(body)
        size += len(body)
    if chunk:
        yield len(bodies) - len(chunk), chunk


def _accepted(response: Response, ids: Sequence[str], sent: int, total: int) -> list[str]:
    answer = _answer(response)
    # A refused event has an empty id in the answer, or none (engine.md 1.2).
    listed = answer.get("ids")
    accepted = [item for item in listed if item] if isinstance(listed, list) else []
    if response.status == 200 and len(accepted) == sent:
        return accepted
    reason = answer.get("error") or f"the answer lists {len(accepted)} ids for {sent} events"
    hint = {
        401: "; check INNGEST_EVENT_KEY",
        403: "; check INNGEST_EVENT_KEY",
        404: "; check INNGEST_EVENT_KEY and INNGEST_EVENT_API_BASE_URL",
    }.get(response.status, "")
    message = f"the server answered {response.status}: {reason}{hint}"
    raise _partly_sent(message, [*ids, *accepted], total)


def _answer(response: Response) -> Mapping[str, Any]:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        return answer
    excerpt = response.body[:200].decode(errors="replace")
    return {"error": f"not what an Inngest server answers: {json.dumps(excerpt)}"}


def _partly_sent(message: str, ids: Sequence[str], total: int) -> SendEventsError:
    return SendEventsError(f"{len(ids)} of {total} events were accepted: {message}", ids)
