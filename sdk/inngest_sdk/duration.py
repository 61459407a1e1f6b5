"""Lengths of time as the server reads them. Knows nothing of the options they belong to."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TypeAlias

from inngest_sdk.errors import FunctionConfigInvalidError

Duration: TypeAlias = "int | timedelta | str"

_HOW_TO_WRITE = (
    "write milliseconds as an int, a timedelta, or text such as '10s', '5m', '1d2h' "
    "(units: w d h m s ms us)"
)

_MICROSECONDS = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|us|w|d|h|m|s)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")

# Go's time.ParseDuration, which the server uses for batchEvents.timeout, has no day and no week
# (wire.md A2); what every option accepts is the smaller set.
_GO_UNITS = ("h", "m", "s", "ms", "us")


def parse(text: str) -> timedelta:
    """Read text such as "10s", "1.5h" or "1w2d"; never negative. Raises ValueError."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration; {_HOW_TO_WRITE}")
    total = sum(
        float(number) * _MICROSECONDS[unit] if "." in number else int(number) * _MICROSECONDS[unit]
        for number, unit in _PART.findall(text)
    )
    return _from_microseconds(total, text)


def length(value: Duration) -> timedelta:
    """Read a length of time in any of its three forms; an int is milliseconds, as in the
    official SDK. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not a duration; {_HOW_TO_WRITE}")
    return _from_microseconds(value * 1_000, value)


def to_wire(
    value: Duration,
    *,
    option: str,
    minimum: timedelta | None = None,
    maximum: timedelta | None = None,
) -> str:
    """Write a length of time the way every option of the server reads it: "90s" is "1m30s".

    Without a `minimum`, zero is allowed. Raises FunctionConfigInvalidError, naming `option`, for
    what is no duration, is negative, or is out of bounds.
    """
    try:
        span = length(value)
    except ValueError as error:
        raise FunctionConfigInvalidError(f"{option}: {error}") from None
    lowest = timedelta(0) if minimum is None else minimum
    if span < lowest:
        raise FunctionConfigInvalidError(
            f"{option} is {_shown(value)}; the least allowed is {text(lowest)}"
        )
    if maximum is not None and span > maximum:
        raise FunctionConfigInvalidError(
            f"{option} is {_shown(value)}; the most allowed is {text(maximum)}"
        )
    return text(span)


def text(span: timedelta) -> str:
    """Write a length of time, not negative, in Go's units, leaving out what is zero."""
    rest = span // timedelta(microseconds=1)
    written = ""
    for unit in _GO_UNITS:
        count, rest = divmod(rest, _MICROSECONDS[unit])
        if count:
            written += f"{count}{unit}"
    return written or "0s"


def _from_microseconds(microseconds: float, value: object) -> timedelta:
    try:
        return timedelta(microseconds=microseconds)
    except OverflowError:
        raise ValueError(f"{value!r} is longer than any clock can tell") from None


def _shown(value: Duration) -> str:
    return f"{value} ms" if isinstance(value, int) else repr(str(value))
