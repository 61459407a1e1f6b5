"""Lengths of time, as users write them and as the server reads them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inngest_sdk import duration
from inngest_sdk.errors import FunctionConfigInvalidError


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (250, "250ms"),
        (1_500, "1s500ms"),
        (60_000, "1m"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(days=1), "24h"),
        (timedelta(microseconds=5), "5us"),
        ("10s", "10s"),
        ("1d2h", "26h"),
        ("1w2d", "216h"),
        ("1.5h", "1h30m"),
        ("100ms", "100ms"),
        (0, "0s"),
        ("0s", "0s"),
    ],
)
def test_a_length_of_time_is_written_in_units_that_every_option_accepts(
    value: duration.Duration, wire: str
) -> None:
    assert duration.to_wire(value, option="timeout") == wire


@pytest.mark.parametrize(
    "value",
    ["10 parsecs", "", "10", "s", "-5s", "5 s", "10S", "1h, 2m", "\uff19s", True, 1.5, None, []],
)
def test_what_is_no_length_of_time_is_refused_with_the_option_and_the_value(value: object) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        duration.to_wire(value, option="Batch.timeout")  # type: ignore[arg-type] # the mistake under test

    assert "Batch.timeout" in caught.value.message
    assert repr(value) in caught.value.message
    assert "'10s', '5m', '1d2h'" in caught.value.message


@pytest.mark.parametrize("value", [10**30, "9" * 20 + "w", "9" * 400 + ".5w"])
def test_a_length_beyond_all_clocks_is_refused(value: duration.Duration) -> None:
    with pytest.raises(FunctionConfigInvalidError, match="longer than any clock"):
        duration.to_wire(value, option="timeout")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (999, "period is 999 ms; the least allowed is 1s"),
        ("500ms", "period is '500ms'; the least allowed is 1s"),
        (timedelta(hours=25), "period is '1 day, 1:00:00'; the most allowed is 24h"),
        ("2d", "period is '2d'; the most allowed is 24h"),
    ],
)
def test_bounds_are_named(value: duration.Duration, message: str) -> None:
    with pytest.raises(FunctionConfigInvalidError) as caught:
        duration.to_wire(
            value, option="period", minimum=timedelta(seconds=1), maximum=timedelta(days=1)
        )

    assert caught.value.message == message


def test_bounds_themselves_are_allowed() -> None:
    second = timedelta(seconds=1)

    assert duration.to_wire("1s", option="period", minimum=second, maximum=second) == "1s"


def test_a_negative_length_is_refused_even_without_bounds() -> None:
    with pytest.raises(FunctionConfigInvalidError, match="the least allowed is 0s"):
        duration.to_wire(timedelta(seconds=-1), option="timeout")


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400)))
def test_what_is_written_reads_back_as_the_same_length(span: timedelta) -> None:
    assert duration.parse(duration.text(span)) == span
