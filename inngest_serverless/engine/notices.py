"""The engine's own events: an invocation, the end of a run, a tick (engine.md 2.7, 2.10)."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final

from inngest_serverless.engine import ids
from inngest_serverless.engine.changes import Facts, RunEnded, RunState
from inngest_serverless.engine.model import JSON, CronTrigger, Event
from inngest_serverless.engine.ops import Invoke

INVOKED: Final = "inngest/function.invoked"
FINISHED: Final = "inngest/function.finished"
FAILED: Final = "inngest/function.failed"
CANCELLED: Final = "inngest/function.cancelled"
TIMER: Final = "inngest/scheduled.timer"


def ended(
    state: RunState, end: RunEnded, error: dict[str, JSON] | None, facts: Facts
) -> list[Event]:
    """What the end of a run emits. Runs that handle such an end emit nothing: no loops."""
    if state.events[0].name in (FINISHED, FAILED):
        return []
    data = _end_data(state, end, error)
    id = facts.new_id()
    events = [_event(FINISHED, id, id, data, facts.now_ms)]
    name = {"Failed": FAILED, "Cancelled": CANCELLED}.get(end.status)
    if name is not None:
        # The run id as event id: a handler runs once a run, whatever fails how often.
        events.append(_event(name, facts.new_id(), state.run_id, data, facts.now_ms))
    return [*events, *_batched_callers(state, data, facts)]


def unknown_function(invoked: Event, facts: Facts) -> Event:
    """The end of an invocation whose function does not exist."""
    caller = invoked.data["_inngest"]
    message = f"could not find function with ID: {caller['fn_id']}"
    return refused(invoked, {"name": "Error", "message": message}, facts)


def refused(invoked: Event, error: dict[str, JSON], facts: Facts) -> Event:
    """The end of an invocation that made no run."""
    data = {
        "function_id": "",
        "run_id": "",
        "event": invoked.to_json(),
        "events": [_without_user(invoked)],
        "error": error,
        "_inngest": {"status": "Failed"},
        "correlation_id": correlation_id(invoked),
    }
    id = facts.new_id()
    return _event(FINISHED, id, id, data, facts.now_ms)


def invoked(state: RunState, op: Invoke, correlation: str, facts: Facts) -> Event:
    """The event that starts, and is handed to, an invoked function."""
    given = op.payload.get("data")
    caller = {
        "correlation_id": correlation,
        "expire": op.expires_ms,
        "fn_id": facts.slug_of(op.function_id) or op.function_id,
        "gid": ids.trace_uuid(correlation),
        "name": op.name,
        "source_app_id": state.function.app_id,
        "source_fn_id": state.function.function_id,
        "source_fn_v": 1,
    }
    data = {**(given if isinstance(given, dict) else {}), "_inngest": caller}
    user, version = op.payload.get("user"), op.payload.get("v")
    id = facts.new_id()
    return Event(
        internal_id=id,
        id=id,
        name=INVOKED,
        data=data,
        ts=facts.now_ms,
        received_ms=facts.now_ms,
        user=user if isinstance(user, dict) else {},
        v=version if isinstance(version, str) else None,
    )


def outcome(finished: Event) -> JSON:
    """What an invocation's end leaves in its caller's steps."""
    data = finished.data
    if isinstance(data.get("error"), dict):
        return {"error": data["error"]}
    if data.get("_inngest", {}).get("status") == "Cancelled":
        return {"error": {"name": "Error", "message": "the invoked function was cancelled"}}
    return {"data": data.get("result")}


def tick(trigger: CronTrigger, scheduled_ms: int, fire_ms: int, facts: Facts) -> Event:
    """The event of a cron run. Its id is the schedule time, which deduplicates."""
    scheduled = _rfc3339(scheduled_ms)
    data = {"cron": trigger.cron, "scheduledAt": scheduled, "fireAt": _rfc3339(fire_ms)}
    return Event(
        internal_id=facts.new_id(),
        id=scheduled,
        name=TIMER,
        data=data,
        ts=scheduled_ms,
        received_ms=facts.now_ms,
    )


def correlation_id(event: Event) -> str | None:
    """The invocation that an event belongs to."""
    caller = event.data.get("_inngest") if event.name == INVOKED else None
    found = caller.get("correlation_id") if isinstance(caller, dict) else None
    return found if isinstance(found, str) else None


def _end_data(state: RunState, end: RunEnded, error: dict[str, JSON] | None) -> dict[str, JSON]:
    data: dict[str, JSON] = {
        "_inngest": {"status": end.status},
        "event": state.events[0].to_json(),
        "events": [_without_user(event) for event in state.events],
        "function_id": state.function.slug,
        "run_id": state.run_id,
    }
    if end.status != "Cancelled":
        data["result"] = end.output
    if error is not None:
        kept = ("error", "name", "message", "stack", "cause")
        data["error"] = {key: error[key] for key in kept if error.get(key) is not None}
    if state.correlation_id is not None:
        data["correlation_id"] = state.correlation_id
    return data


def _batched_callers(state: RunState, data: dict[str, JSON], facts: Facts) -> list[Event]:
    """Every further invocation in a batch hears of the end too."""
    events = []
    for event in state.events[1:]:
        correlation = correlation_id(event)
        if correlation is not None:
            id = facts.new_id()
            told = {**data, "correlation_id": correlation}
            events.append(_event(FINISHED, id, id, told, facts.now_ms))
    return events


def _without_user(event: Event) -> dict[str, JSON]:
    body = event.to_json()
    del body["user"]
    return body


def _event(name: str, internal_id: str, id: str, data: dict[str, JSON], now_ms: int) -> Event:
    return Event(
        internal_id=internal_id, id=id, name=name, data=data, ts=now_ms, received_ms=now_ms
    )


def _rfc3339(ms: int) -> str:
    at = datetime.fromtimestamp(ms // 1000, timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
