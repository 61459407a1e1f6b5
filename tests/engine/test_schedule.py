"""Cron lines and durations, as apps write them."""

from __future__ import annotations

from datetime import datetime

import pytest

from inngest_serverless.engine.durations import DurationError, date_ms, duration_ms, until_ms
from inngest_serverless.engine.schedule import CronError, check, jitter_ms, next_ms


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("TZ=UTC * * * * *", "2026-01-01T00:00:30+00:00", "2026-01-01T00:01:00+00:00"),
        ("TZ=UTC * * * * *", "2026-01-01T00:01:00+00:00", "2026-01-01T00:02:00+00:00"),
        ("TZ=UTC 0 12 * * 1", "2026-01-01T00:00:00+00:00", "2026-01-05T12:00:00+00:00"),
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"),
        # Summer time begins in Paris on 2026-03-29.
        ("TZ=Europe/Paris 0 9 * * *", "2026-03-28T09:00:00+01:00", "2026-03-29T09:00:00+02:00"),
    ],
)
def test_the_next_tick_is_in_the_zone_of_the_line(cron: str, after: str, expected: str) -> None:
    check(cron)
    assert next_ms(cron, ms(after)) == ms(expected)


def test_a_line_without_a_zone_is_in_the_zone_of_the_machine() -> None:
    noon = datetime(2026, 6, 1, 12).timestamp() * 1000
    assert next_ms("0 12 * * *", round(noon) - 60_000) == noon


@pytest.mark.parametrize(
    "cron", ["", "* * * *", "* * * * * *", "61 * * * *", "@every 1m", "TZ=Mars/One * * * * *"]
)
def test_what_is_no_schedule_is_refused(cron: str) -> None:
    with pytest.raises(CronError):
        check(cron)


def test_jitter_is_the_same_for_the_same_tick_and_within_its_bound() -> None:
    spread = {jitter_ms("f", tick * 60_000, 30_000) for tick in range(50)}
    assert len(spread) > 40
    assert all(1000 <= each < 30_000 for each in spread)
    assert jitter_ms("f", 60_000, 30_000) == jitter_ms("f", 60_000, 30_000)
    assert jitter_ms("f", 60_000, 1000) == 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("0", 0),
        ("10s", 10_000),
        ("1d2h3m", 93_780_000),
        ("1.5h", 5_400_000),
        ("2w", 1_209_600_000),
        ("250ms", 250),
        ("500us", 0),
        ("-5s", -5000),
    ],
)
def test_durations_are_read_as_go_writes_them(text: str, expected: int) -> None:
    assert duration_ms(text) == expected


@pytest.mark.parametrize("text", ["10", "s", "1 s", "1s2", "soon", "1y"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(DurationError, match="not a duration"):
        duration_ms(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T11:36:16.405Z", ms("2026-11-22T11:36:16.405+00:00")),
        ("2026-11-22T11:36:16.405123456+01:00", ms("2026-11-22T11:36:16.405+01:00")),
        ("2026-11-22T11:36:16-0230", ms("2026-11-22T11:36:16-02:30")),
        ("2026-11-22 11:36:16", ms("2026-11-22T11:36:16+00:00")),
        ("2026-11-22", ms("2026-11-22T00:00:00+00:00")),
    ],
)
def test_dates_are_read_as_the_sdks_write_them(text: str, expected: int) -> None:
    assert date_ms(text) == expected


@pytest.mark.parametrize("text", ["2026-13-01", "2026-11-22T25:00:00Z", "today"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(DurationError, match="not a date"):
        date_ms(text)


def test_what_is_past_is_now() -> None:
    now = ms("2026-01-01T00:00:00+00:00")
    assert until_ms("2025-01-01T00:00:00Z", now) == now
    assert until_ms("-5s", now) == now
    assert until_ms("5s", now) == now + 5000
