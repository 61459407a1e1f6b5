"""Flow control as a function's configuration asks for it (engine.md 2.12). Pure.

Slots. A concurrency limit is a number of slots of one name, and the name holds the value of its
key expression. A run's slots are fixed when it is scheduled; a call of the run takes one of each
while it is in flight. A run that sleeps or waits holds none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from inngest_serverless.engine.durations import duration_ms
from inngest_serverless.engine.expressions import evaluate
from inngest_serverless.engine.model import JSON, Event, FunctionConfig

LONGEST_BATCH_MS: Final = 600_000
UNAPPLIED: Final = {
    "priority": "priority",
    "singleton": "singleton",
}
"""Options that a function may carry and this engine does not apply, by wire name."""

T = TypeVar("T")


@dataclass(frozen=True)
class RateLimit:
    """At most so many runs a period; the rest is dropped."""

    limit: int
    period_ms: int
    key: str | None


@dataclass(frozen=True)
class Debounce:
    """One run for events in quick succession: for the last of them."""

    period_ms: int
    timeout_ms: int | None
    key: str | None


@dataclass(frozen=True)
class Batch:
    """One run for several events. `condition`: an event that it does not hold for runs alone."""

    size: int
    timeout_ms: int
    key: str | None
    condition: str | None


@dataclass(frozen=True)
class Limit:
    """At most so many calls at once."""

    limit: int
    scope: str
    key: str | None


@dataclass(frozen=True)
class Throttle:
    """So many runs start a period, and `burst` more at once; the others start later."""

    limit: int
    period_ms: int
    burst: int
    key: str | None


@dataclass(frozen=True)
class Timeouts:
    """How long a run may wait for its start, and last from there."""

    start_ms: int | None
    finish_ms: int | None


@dataclass(frozen=True)
class Flow:
    """All of it."""

    throttle: Throttle | None = None
    timeouts: Timeouts = Timeouts(None, None)
    rate: RateLimit | None = None
    debounce: Debounce | None = None
    batch: Batch | None = None
    limits: tuple[Limit, ...] = ()


def flow_of(function: FunctionConfig) -> Flow:
    """What a function's configuration asks for. ValueError if it makes no sense."""
    config = function.config
    return Flow(
        throttle=_part(config, "throttle", _throttle),
        timeouts=_part(config, "timeouts", _timeouts) or Timeouts(None, None),
        rate=_part(config, "rateLimit", _rate),
        debounce=_part(config, "debounce", _debounce),
        batch=_part(config, "batchEvents", _batch),
        limits=_limits(config.get("concurrency")),
    )


def unapplied(function: FunctionConfig) -> list[str]:
    """The options of a function that this engine does not apply."""
    names = [name for key, name in UNAPPLIED.items() if function.config.get(key)]
    concurrency = function.config.get("concurrency")
    if isinstance(concurrency, dict) and concurrency.get("fn"):
        names.append("concurrency.fn")
    return names


def key_of(expression: str | None, event: Event, now_ms: int) -> str | None:
    """What events have in common; None if the expression says false, so that nothing holds."""
    if expression is None:
        return ""
    value = evaluate(expression, event.to_json(), now_ms)
    return None if value is False else repr(value)


def slots(
    limits: tuple[Limit, ...], function_id: str, event: Event, now_ms: int
) -> tuple[tuple[str, int], ...]:
    """The slots that the calls of a run take, each with how many there are."""
    found = []
    for limit in limits:
        key = key_of(limit.key, event, now_ms)
        owner = function_id if limit.scope == "fn" else limit.scope
        if key is not None:
            found.append((f"{owner}:{limit.key or ''}:{key}", limit.limit))
    return tuple(found)


def next_allowance(rate: RateLimit, allowance_ms: int, now_ms: int) -> int | None:
    """GCRA: the new theoretical arrival time if one more run is within the limit, else None."""
    interval = rate.period_ms / rate.limit
    burst = rate.limit // 10
    if allowance_ms - now_ms > interval * burst:
        return None
    return round(max(allowance_ms, now_ms) + interval)


def next_start(throttle: Throttle, allowance_ms: int, now_ms: int) -> tuple[int, int]:
    """GCRA: when one more run starts, and the new theoretical arrival time."""
    interval = throttle.period_ms / throttle.limit
    tolerance = interval * (throttle.limit + throttle.burst - 1)
    start_ms = max(now_ms, round(allowance_ms - tolerance))
    return start_ms, round(max(allowance_ms, now_ms) + interval)


def _part(config: dict[str, JSON], key: str, read: Callable[[dict[str, Any]], T]) -> T | None:
    raw = config.get(key)
    if not raw:
        return None
    if not isinstance(raw, dict):
        raise ValueError(f"{key} is an object, not {raw!r}")
    try:
        return read(raw)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{key} is not complete: {error} ({raw!r})") from None


def _rate(raw: dict[str, Any]) -> RateLimit:
    return RateLimit(max(1, int(raw["limit"])), duration_ms(raw["period"]), raw.get("key"))


def _throttle(raw: dict[str, Any]) -> Throttle:
    return Throttle(
        max(1, int(raw["limit"])),
        duration_ms(raw["period"]),
        int(raw.get("burst") or 0),
        raw.get("key"),
    )


def _timeouts(raw: dict[str, Any]) -> Timeouts:
    start, finish = raw.get("start"), raw.get("finish")
    return Timeouts(duration_ms(start) if start else None, duration_ms(finish) if finish else None)


def _debounce(raw: dict[str, Any]) -> Debounce:
    timeout = raw.get("timeout")
    return Debounce(
        duration_ms(raw["period"]), duration_ms(timeout) if timeout else None, raw.get("key")
    )


def _batch(raw: dict[str, Any]) -> Batch:
    timeout_ms = min(duration_ms(raw.get("timeout") or "60s"), LONGEST_BATCH_MS)
    return Batch(int(raw.get("maxSize") or 100), timeout_ms, raw.get("key"), raw.get("if"))


def _limits(raw: JSON) -> tuple[Limit, ...]:
    if isinstance(raw, dict) and ("step" in raw or "fn" in raw):
        raw = raw.get("step")
    each = raw if isinstance(raw, list) else [raw]
    limits = [one if isinstance(one, dict) else {"limit": one} for one in each if one]
    return tuple(
        Limit(int(one["limit"]), one.get("scope") or "fn", one.get("key"))
        for one in limits
        if one.get("limit")
    )
