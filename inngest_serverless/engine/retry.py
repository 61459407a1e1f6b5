"""When a failed attempt is made again (engine.md 2.1)."""

from __future__ import annotations

from typing import Final

BACKOFF_S: Final = (15, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200)
"""Seconds after failing attempt 0, 1, 2...; the last stays."""
JITTER_MS: Final = 30_000
"""A uniform 0 to 30 s is added."""


def retry_ms(
    attempt: int, now_ms: int, *, jitter: float, at_ms: int | None, interval_ms: int | None
) -> int:
    """When attempt `attempt + 1` is due. The app's Retry-After wins, then a fixed interval.

    `jitter` is a number from 0 to 1.
    """
    if at_ms is not None:
        return max(now_ms, at_ms)
    if interval_ms is not None:
        return now_ms + interval_ms
    base = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)] * 1000
    return now_ms + base + round(jitter * JITTER_MS)
