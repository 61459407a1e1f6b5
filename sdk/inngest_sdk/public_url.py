"""Pieces of the URL that the app is called at, as front doors learn them from a request.

What a client says of itself is not trusted further than its spelling: a front door decides which
of these to believe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
_LEGAL = "/%:@!$&'()*+,;=~"  # in a path; the percent sign stands for what is encoded already


def is_host(value: object) -> bool:
    """Whether this is a host as URLs spell it, maybe with a port."""
    match = _HOST.fullmatch(value) if isinstance(value, str) else None
    return match is not None and int(match[1] or 0) <= 65535


def forwarded_scheme(headers: Mapping[str, str]) -> str | None:
    """The scheme that the client spoke, if proxies tell it: of a list, the first is its own."""
    first = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()
    return first if first in ("http", "https") else None


def encoded_path(path: str) -> str:
    """A decoded path, encoded: a percent sign in it is a character like others."""
    return quote(path, safe=_LEGAL.replace("%", ""), errors="replace")


def join(scheme: str, host: str, path: str, query: str | bytes) -> str:
    """The URL, its path and query as they came. Only what would cut it short is encoded: a stray
    space, `#` or letter beyond ASCII."""
    path = quote("/" + path.lstrip("/"), safe=_LEGAL, errors="replace")
    if isinstance(query, str):
        query = query.encode("utf-8", "replace")
    query = quote(query, safe=_LEGAL + "?")
    return f"{scheme}://{host}{path}?{query}" if query else f"{scheme}://{host}{path}"
