"""Durations and dates as SDKs write them: `1d2h3m`, `1.5h`, `2026-11-22T11:36:16.405Z`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Final

DAY_MS: Final = 86_400_000
LONGEST_MS: Final = 366 * DAY_MS
"""The longest sleep and the longest wait (engine.md 2.1)."""

_UNITS_MS: Final = {
    "ns": 1e-6,
    "us": 1e-3,
    "µs": 1e-3,
    "μs": 1e-3,
    "ms": 1.0,
    "s": 1e3,
    "m": 6e4,
    "h": 3.6e6,
    "d": 8.64e7,
    "w": 6.048e8,
}
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h|d|w)")
_DATE: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d+))?)?\s*([Zz]|[+-]\d{2}:?\d{2})?"
)


class DurationError(ValueError):
    """Neither a duration nor a date."""


def duration_ms(text: str) -> int:
    """Milliseconds in `1d2h3m`; negative with a leading `-`; "" and "0" are none."""
    body = text.strip()
    sign = -1 if body.startswith("-") else 1
    body = body.lstrip("+-")
    if body in ("", "0"):
        return 0
    parts = _PART.findall(body)
    if "".join(number + unit for number, unit in parts) != body:
        raise DurationError(f"not a duration: {text!r} (write 10s, 1h30m, 7d)")
    return sign * round(sum(float(number) * _UNITS_MS[unit] for number, unit in parts))


def date_ms(text: str) -> int:
    """Unix milliseconds of an RFC 3339 date; UTC if it names no zone."""
    found = _DATE.fullmatch(text.strip())
    if found is None:
        raise DurationError(f"not a date: {text!r} (write 2026-01-31T12:00:00Z)")
    day, clock, fraction, zone = found.groups()
    try:
        at = datetime.strptime(f"{day} {clock or '00:00:00'}", "%Y-%m-%d %H:%M:%S")
    except ValueError as error:
        raise DurationError(f"not a date: {text!r} ({error})") from None
    ms = int(((fraction or "") + "000")[:3])
    return int((at - _offset(zone)).replace(tzinfo=timezone.utc).timestamp()) * 1000 + ms


def until_ms(text: str, now_ms: int) -> int:
    """When a duration from now, or a date, is reached; never before now."""
    if _DATE.fullmatch(text.strip()):
        return max(now_ms, date_ms(text))
    return now_ms + max(0, duration_ms(text))


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone in "Zz":
        return timedelta()
    digits = zone[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone[0] == "-" else offset
