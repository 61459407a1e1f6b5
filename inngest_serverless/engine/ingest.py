"""What `POST /e/{key}` holds: a request's bytes → events, or the answer that refuses them.

Pure; engine.md 1.2 is the table. Events before a bad one are taken, whatever comes after it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from urllib.parse import parse_qs

from inngest_serverless.engine import ids, jsontext
from inngest_serverless.engine.model import JSON

MAX_EVENT = 3 * 1024 * 1024
MAX_EVENTS = 5000
MAX_NAME = 512

_EARLIEST = 315_532_800_000  # 1980-01-01
_LATEST = 4_102_444_800_000  # 2100-01-01
_MAX_SESSIONS = 5
_MAX_SESSION_KEY = 128
_MAX_SESSION_ID = 512


@dataclass(frozen=True)
class IncomingEvent:
    """An event as it was sent, checked. The engine fills in what is None."""

    name: str
    data: dict[str, JSON] = field(default_factory=dict)
    id: str | None = None
    ts: int | None = None
    user: dict[str, JSON] | None = None
    v: str | None = None
    meta: dict[str, JSON] | None = None


@dataclass(frozen=True)
class Ingest:
    """The events to store, and the error that stopped the reading, if one did."""

    events: tuple[IncomingEvent, ...]
    error: str | None = None


class EventInvalid(ValueError):
    """One event that cannot be taken; the text says why."""


def read_events(
    body: bytes, content_type: str = "", query: Mapping[str, str] | None = None
) -> Ingest:
    """Read the events of one request, as far as they are good."""
    if not body.strip():
        return Ingest((), "the body is empty; send one event or an array of events")
    try:
        found = _found(body, content_type, query or {})
    except ValueError as error:
        return Ingest((), str(error))
    events: list[IncomingEvent] = []
    for item in found[:MAX_EVENTS]:
        try:
            events.append(read_event(item, whole=len(body)))
        except EventInvalid as error:
            return Ingest(tuple(events), str(error))
    if len(found) > MAX_EVENTS:
        error_text = f"{len(found)} events in one request; {MAX_EVENTS} is the most, send the rest"
        return Ingest(tuple(events), f"{error_text} (from number {MAX_EVENTS + 1}) in another")
    return Ingest(tuple(events))


def read_event(item: JSON, *, whole: int = 0, reserved: bool = True) -> IncomingEvent:
    """Check one event. `whole` is the size of the request; a small one needs no second look.

    Raises EventInvalid. Without `reserved`, the event is for a function invoked directly: its name
    does not matter.
    """
    if not isinstance(item, dict):
        raise EventInvalid(f"an event is a JSON object with a name, not {_shown(item)}")
    name = item.get("name") if reserved else item.get("name") or "invoke"
    if not isinstance(name, str) or not name.strip():
        raise EventInvalid("event name is empty; give each event a name, such as 'shop/order.paid'")
    if reserved and name.lower().startswith("inngest/"):
        raise EventInvalid(f"event name is reserved for internal use: {name}")
    if len(name) > MAX_NAME:
        raise EventInvalid(f"event name has {len(name)} characters; {MAX_NAME} is the most")
    _check_size(item, name, whole)
    data = _object(item, "data", name) or {}
    return IncomingEvent(
        name=name,
        data={key: value for key, value in data.items() if key != "_inngest"},
        id=_text(item, "id", name) or None,
        ts=_timestamp(item.get("ts"), name),
        user=_object(item, "user", name),
        v=_text(item, "v", name) or None,
        meta=_meta(item, name),
    )


def internal_ids(seed: str | None, count: int) -> list[str | None]:
    """The internal ids that `x-inngest-event-id-seed` fixes; None leaves one to the engine.

    A bad seed costs the sender its protection from duplicates, not its events.
    """
    try:
        return [*ids.seeded(seed, count)] if seed else [None] * count
    except ValueError:
        return [None] * count


def _found(body: bytes, content_type: str, query: Mapping[str, str]) -> list[JSON]:
    media = content_type.partition(";")[0].strip().lower()
    if media == "application/x-www-form-urlencoded":
        return [_event_of_form(_url_form(body), query)]
    if media == "multipart/form-data":
        return [_event_of_form(_multipart_form(body, content_type), query)]
    try:
        found = jsontext.read(body)
    except ValueError as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    if isinstance(found, list):
        return found
    if isinstance(found, dict):
        return [found]
    raise ValueError(f"the body must be an event or an array of events, not {_shown(found)}")


# ── the fields ───────────────────────────────────────────────────────────────────────────────────


def _check_size(item: dict[str, JSON], name: str, whole: int) -> None:
    if whole <= MAX_EVENT:
        return
    size = len(json.dumps(item, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_EVENT:
        raise EventInvalid(f"event {name!r} has {size} bytes; {MAX_EVENT} is the most")


def _object(item: dict[str, JSON], field_name: str, name: str) -> dict[str, JSON] | None:
    value = item.get(field_name)
    if value is not None and not isinstance(value, dict):
        raise EventInvalid(
            f"event {name!r}: {field_name} is {_shown(value)}; it must be a JSON object"
        )
    return value


def _text(item: dict[str, JSON], field_name: str, name: str) -> str | None:
    value = item.get(field_name)
    if value is not None and not isinstance(value, str):
        raise EventInvalid(f"event {name!r}: {field_name} is {_shown(value)}; it must be text")
    return value


def _timestamp(value: JSON, name: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise EventInvalid(
            f"event {name!r}: ts is {_shown(value)}; it must be a whole number of milliseconds"
        )
    if not _EARLIEST <= value <= _LATEST:
        raise EventInvalid(
            f"event {name!r}: ts is {_shown(value)}, which is not between 1980 and 2100; "
            "it counts milliseconds since 1970"
        )
    return value


def _meta(item: dict[str, JSON], name: str) -> dict[str, JSON] | None:
    meta = _object(item, "meta", name)
    if not meta or meta.get("sessions") is None:
        return meta
    sessions = meta["sessions"]
    if not isinstance(sessions, dict):
        raise EventInvalid(f"event {name!r}: meta.sessions must be an object of key → id")
    if len(sessions) > _MAX_SESSIONS:
        raise EventInvalid(
            f"event {name!r}: {len(sessions)} keys in meta.sessions; {_MAX_SESSIONS} is the most"
        )
    for key, session in sessions.items():
        _check_session(name, key, session)
    return meta


def _check_session(name: str, key: str, session: JSON) -> None:
    where = f"event {name!r}: meta.sessions[{_shown(key)}]"
    if not isinstance(session, str):
        raise EventInvalid(f"{where} is {_shown(session)}; it must be text")
    if len(key.encode()) > _MAX_SESSION_KEY:
        raise EventInvalid(f"{where}: the key is longer than {_MAX_SESSION_KEY} bytes")
    if len(session.encode()) > _MAX_SESSION_ID:
        raise EventInvalid(f"{where}: the id is longer than {_MAX_SESSION_ID} bytes")


# ── forms ────────────────────────────────────────────────────────────────────────────────────────


def _event_of_form(form: dict[str, list[str]], query: Mapping[str, str]) -> dict[str, JSON]:
    """A form's fields are the event's data; its name comes from the query, or a field `name`."""
    name = query.get("name") or next(iter(form.get("name", [])), "")
    if not name:
        raise ValueError("event name is empty; a form names its event in ?name= or a field 'name'")
    return {"name": name, "data": form}


def _url_form(body: bytes) -> dict[str, list[str]]:
    return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace")


def _multipart_form(body: bytes, content_type: str) -> dict[str, list[str]]:
    header = f"Content-Type: {' '.join(content_type.split())}\r\n\r\n"
    message = BytesParser().parsebytes(header.encode("ascii", "ignore") + body)
    if not message.is_multipart():
        raise ValueError("the body is not multipart/form-data: its boundary was not found")
    form: dict[str, list[str]] = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        if not part.is_multipart() and isinstance(name, str):
            payload = part.get_payload(decode=True)
            text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
            form.setdefault(name, []).append(text)
    return form


def _shown(value: JSON) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:80]}…"
