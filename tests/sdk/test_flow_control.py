"""Flow control: what each option registers, and what it refuses when it is made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from inngest_sdk.errors import FunctionConfigInvalidError
from inngest_sdk.flow_control import (
    Batch,
    Cancel,
    Concurrency,
    Debounce,
    Priority,
    RateLimit,
    Singleton,
    Throttle,
    Timeouts,
)


@pytest.mark.parametrize(
    ("option", "wire"),
    [
        (Batch(max_size=2), {"maxSize": 2}),
        (
            Batch(max_size=10, timeout="1m", key="event.data.u", if_exp="event.data.ok"),
            {"maxSize": 10, "timeout": "1m", "key": "event.data.u", "if": "event.data.ok"},
        ),
        (Cancel(event="a/b"), {"event": "a/b"}),
        (
            Cancel(event="a/b", if_exp="async.data.id == event.data.id", timeout=3_600_000),
            {"event": "a/b", "timeout": "1h", "if": "async.data.id == event.data.id"},
        ),
        (Concurrency(limit=0), {"limit": 0}),
        (
            Concurrency(limit=5, key="event.data.u", scope="env"),
            {"limit": 5, "key": "event.data.u", "scope": "env"},
        ),
        (Debounce(period="10s"), {"period": "10s"}),
        (
            Debounce(period=timedelta(days=7), timeout="30d", key="event.data.u"),
            {"period": "168h", "timeout": "720h", "key": "event.data.u"},
        ),
        (Priority(run="event.data.p"), {"run": "event.data.p"}),
        (RateLimit(limit=1, period="1d"), {"limit": 1, "period": "24h"}),
        (
            RateLimit(limit=1, period=1_000, key="event.data.u"),
            {"limit": 1, "period": "1s", "key": "event.data.u"},
        ),
        (Singleton(mode="skip"), {"mode": "skip"}),
        (
            Singleton(mode="cancel", key="event.data.u"),
            {"mode": "cancel", "key": "event.data.u"},
        ),
        (Throttle(limit=1, period="1s"), {"limit": 1, "period": "1s", "burst": 1}),
        (
            Throttle(limit=1, period="1s", key="event.data.u", burst=None),
            {"limit": 1, "period": "1s", "key": "event.data.u"},
        ),
        (Timeouts(), {}),
        (Timeouts(start="10s", finish=timedelta(hours=1)), {"start": "10s", "finish": "1h"}),
    ],
    ids=repr,
)
def test_an_option_registers_what_is_set_and_no_nulls(option: Any, wire: dict[str, Any]) -> None:
    assert option.to_wire() == wire


@pytest.mark.parametrize(
    ("option", "arguments", "message"),
    [
        (Batch, dict(max_size=1), "Batch.max_size is 1; it takes a whole number, 2 or more"),
        (Batch, dict(max_size=True), "Batch.max_size is True; it takes a whole number"),
        (Batch, dict(max_size=2, timeout=999), "Batch.timeout is 999 ms; the least allowed"),
        (Batch, dict(max_size=2, timeout="11m"), "Batch.timeout is '11m'; the most allowed"),
        (Batch, dict(max_size=2, key=" "), "Batch.key is ' '; it takes an expression"),
        (Batch, dict(max_size=2, if_exp=""), "Batch.if_exp is ''; it takes an expression"),
        (Cancel, dict(event=""), "Cancel.event is ''; it takes an event name"),
        (Cancel, dict(event="e" * 256), "with 256 characters; the most allowed is 255"),
        (Cancel, dict(event="e", timeout=0), "Cancel.timeout is 0 ms; the least allowed"),
        (Cancel, dict(event="e", timeout="367d"), "Cancel.timeout is '367d'; the most allowed"),
        (Concurrency, dict(limit=-1), "Concurrency.limit is -1; it takes a whole number, 0"),
        (Concurrency, dict(limit=1, key=""), "Concurrency.key is ''"),
        (
            Concurrency,
            dict(limit=1, scope="world"),
            "Concurrency.scope is 'world'; it takes one of 'account', 'env', 'fn'",
        ),
        (Debounce, dict(period="8d"), "Debounce.period is '8d'; the most allowed is 168h"),
        (Debounce, dict(period=1), "Debounce.period is 1 ms; the least allowed is 1s"),
        (Debounce, dict(period="1s", timeout=0), "Debounce.timeout is 0 ms"),
        (Priority, dict(run=""), "Priority.run is ''"),
        (RateLimit, dict(limit=0, period="1s"), "RateLimit.limit is 0"),
        (RateLimit, dict(limit=1, period="25h"), "RateLimit.period is '25h'; the most allowed"),
        (
            RateLimit,
            dict(limit=1, period="10 parsecs"),
            "RateLimit.period: '10 parsecs' is not a duration",
        ),
        (
            Singleton,
            dict(mode="wait"),
            "Singleton.mode is 'wait'; it takes one of 'skip', 'cancel'",
        ),
        (
            Singleton,
            dict(mode=None),
            "Singleton.mode is None; it takes one of 'skip', 'cancel'",
        ),
        (Throttle, dict(limit=0, period="1s"), "Throttle.limit is 0"),
        (Throttle, dict(limit=1, period=0), "Throttle.period is 0 ms; the least allowed is 1s"),
        (Throttle, dict(limit=1, period="1s", burst=-1), "Throttle.burst is -1"),
        (Timeouts, dict(start=-1), "Timeouts.start is -1 ms"),
        (Timeouts, dict(finish="0s"), "Timeouts.finish is '0s'"),
    ],
)
def test_a_value_out_of_bounds_is_refused_when_the_option_is_made(
    option: Callable[..., object], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        option(**arguments)

    assert message in caught.value.message
