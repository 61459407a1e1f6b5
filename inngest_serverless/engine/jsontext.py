"""JSON in and out. In: strict, so that whatever was accepted can be stored and sent again.
Out: canonical as the real server sends it (RFC 8785), numbers travelling through doubles.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any

# The largest span of integers that doubles hold exactly; beyond it the real server rounds.
_EXACT = 2**53
_SURROGATES = range(0xD800, 0xE000)
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

# Everything that walks a value recurses; Python allows about a thousand frames in all.
_MAX_DEPTH = 200


def read(text: bytes) -> Any:
    """Parse UTF-8 JSON. Raises ValueError, with a text for its sender, for all that is not JSON.

    Also refused: NaN and infinities (`1e999` included), integers no double can hold, and deep
    nesting. Half surrogates become U+FFFD: they cannot be stored as UTF-8.
    """
    try:
        value = json.loads(
            text.decode("utf-8-sig"),
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise _too_deep() from None
    if text.count(b"[") + text.count(b"{") > _MAX_DEPTH:
        _check_depth(value)
    return _whole_characters(value) if _ESCAPED_SURROGATE.search(text) else value


def canonical(value: Any) -> bytes:
    """Write canonical JSON: sorted keys, no spaces, 1.0 as 1, integers above 2^53 rounded."""
    if _is_plain(value):
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
    else:
        text = _written(value)
    return text.encode("utf-8")


def _too_deep() -> ValueError:
    return ValueError(f"nested deeper than {_MAX_DEPTH} levels")


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        containers = [item for item in level if isinstance(item, (dict, list))]
        level = [
            child
            for container in containers
            for child in (container.values() if isinstance(container, dict) else container)
        ]
        if not level:
            return
    raise _too_deep()


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:40]} is too large")
    return number


def _integer(digits: str) -> int:
    if len(digits) > 300:  # 1e308 is the end of doubles; the quick test is enough below that
        raise ValueError(f"the number {digits[:40]}… is too large")
    return int(digits)


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        if value.isascii() or not any(ord(character) in _SURROGATES for character in value):
            return value
        return "".join("\ufffd" if ord(c) in _SURROGATES else c for c in value)
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    return value


def _is_plain(value: Any) -> bool:
    """Whether the C encoder's text is canonical already, as it nearly always is.

    It differs in the form of some numbers, and sorts keys by code point where the RFC sorts by
    UTF-16 unit; ASCII keys sort alike.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return bool(-_EXACT <= value <= _EXACT)
    if kind is dict:
        return all(
            type(key) is str and key.isascii() and _is_plain(item) for key, item in value.items()
        )
    if kind is list or kind is tuple:
        return all(map(_is_plain, value))
    return False


def _written(value: Any) -> str:
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
        return "{" + ",".join(f"{_written(key)}:{_written(item)}" for key, item in members) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_written, value)) + "]"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(float(value))
    return json.dumps(value, ensure_ascii=False)


def _number(number: float) -> str:
    """A double as ECMAScript prints it: plain digits from 1e-6 up to 1e21, else an exponent."""
    if math.isinf(number) or math.isnan(number):
        raise ValueError(f"{number} is not JSON")
    if number == 0:
        return "0"
    if 1e-6 <= abs(number) < 1e21:
        digits = format(Decimal(repr(number)), "f")
        return digits.removesuffix(".0")
    mantissa, _, exponent = repr(number).partition("e")
    return f"{mantissa}e{'-' if exponent[0] == '-' else '+'}{exponent[1:].lstrip('0')}"
