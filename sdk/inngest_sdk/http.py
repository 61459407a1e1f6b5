"""Requests and responses as values. Knows no socket and no platform."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit


def header_map(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Fold header pairs into one dict with lower-case names; repeated names are joined by ", "."""
    folded: dict[str, str] = {}
    for name, value in pairs:
        key = name.lower()
        folded[key] = f"{folded[key]}, {value}" if key in folded else value
    return folded


@dataclass(frozen=True)
class Request:
    """An HTTP request, inbound or outbound.

    `url` is absolute, with its raw query. `headers` has lower-case names. `body` is raw bytes:
    signatures are computed over exactly these.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @cached_property
    def query(self) -> dict[str, str]:
        """The decoded query; of a repeated key the first value counts."""
        found: dict[str, str] = {}
        for key, value in parse_qsl(urlsplit(self.url).query, keep_blank_values=True):
            found.setdefault(key, value)
        return found


@dataclass(frozen=True)
class Response:
    """An HTTP response. `headers` has lower-case names."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON; raises ValueError if it is not."""
        return json.loads(self.body)


_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)

# The server reads numbers into doubles, the largest of which has this many digits (wire.md T10).
_DIGITS = 309
# So many digits in a row leave 18 in a row where only each 17th character is looked at.
_MANY_DIGITS = re.compile("[0-9]{18}")


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON, as checkers that compare bytes want it (wire.md T24).

    Raises TypeError or ValueError for what JSON cannot hold, or no server reads: NaN, infinities,
    integers beyond about 1.8e308, lone surrogates, and what is nested too deeply.
    """
    try:
        text = _ENCODER.encode(value)
        if len(text) >= _DIGITS and _MANY_DIGITS.search(text[::17]):
            json.loads(text, parse_int=_check_integer)
    except RecursionError:
        raise ValueError(
            "it is nested too deeply for JSON encoders; keep it as a flat list, or as a string"
        ) from None
    return text.encode()


def _check_integer(digits: str) -> None:
    if float(digits) in (float("inf"), float("-inf")):
        raise ValueError(
            f"the integer {digits[:12]}... of {len(digits.lstrip('-'))} digits is beyond what "
            "JSON numbers hold, about 1.8e308; send it as a string"
        )
