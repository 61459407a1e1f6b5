"""Cron lines: when the next tick is, in which zone, and how far jitter moves it."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)")


class CronError(ValueError):
    """A line that is no schedule."""


def check(cron: str) -> None:
    """Raise CronError, with the reason, unless the line can be scheduled."""
    _zone(cron)
    next_ms(cron, 0)


def next_ms(cron: str, after_ms: int) -> int:
    """The first tick after `after_ms`. Without `TZ=zone ` the machine's zone holds."""
    zone, line = _zone(cron)
    try:
        if zone is None:
            # A naive time: the machine's own rules, summer time included, turn it into UTC.
            naive = datetime.fromtimestamp(after_ms / 1000)
            return round(next(CronSim(line, naive)).timestamp() * 1000)
        local = datetime.fromtimestamp(after_ms / 1000, timezone.utc).astimezone(zone)
        return round(next(CronSim(line, local)).timestamp() * 1000)
    except (CronSimError, StopIteration) as error:
        raise CronError(f"not a cron line: {cron!r} ({error})") from None


def jitter_ms(function_id: str, scheduled_ms: int, limit_ms: int) -> int:
    """How late this tick fires: always the same for it, from 1 s up to the limit."""
    if limit_ms <= 1000:
        return limit_ms
    digest = hashlib.sha256(f"{function_id}\0{scheduled_ms}".encode()).digest()
    return 1000 + int.from_bytes(digest[:8], "big") % (limit_ms - 1000)


@lru_cache(maxsize=1024)
def _zone(cron: str) -> tuple[ZoneInfo | None, str]:
    found = _ZONE.fullmatch(cron.strip())
    zone_name, line = found.groups() if found else (None, cron.strip())
    if len(line.split()) != 5:
        raise CronError(f"a cron line has five fields: {cron!r}")
    try:
        return (ZoneInfo(zone_name) if zone_name else None), line
    except (KeyError, ValueError, OSError):
        raise CronError(f"no time zone {zone_name!r} (cron line {cron!r})") from None
