"""CEL: is this event meant? Loose as the protocol wants it: what is missing is null.

CEL itself refuses `event.data.missing`. So each attribute path that starts at `event` or `async`
is taken out of the source and becomes a variable of its own, looked up here:

    event.data.id == async.data.id && has(event.user)    _p0 == _p1 && _p2

That also spares handing a whole event to the evaluator, and lets a wait keep only those values of
its own event that its expression reads (`bind`).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, Final

from inngest_serverless.engine import evaluator
from inngest_serverless.engine.durations import date_ms, duration_ms
from inngest_serverless.engine.model import JSON


class ExpressionError(ValueError):
    """An expression that cannot be compiled, or names what does not exist."""


_STRING = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_STEP = rf"\s*\.\s*[A-Za-z_]\w*\b(?!\s*\()|\s*\[\s*(?:{_STRING}|\d+)\s*\]"
_PATH = rf"(?<![\w.])(event|async)\b((?:{_STEP})*)"
_TOKEN: Final = re.compile(rf"({_STRING}|//[^\n]*)|\bhas\s*\(\s*{_PATH}\s*\)|{_PATH}")
_KEY: Final = re.compile(rf"\.\s*([A-Za-z_]\w*)|\[\s*({_STRING}|\d+)\s*\]")
_BOUND: Final = re.compile(r"\.\s*(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
_NAME: Final = re.compile(r"[A-Za-z_]\w*")

_FUNCTION: Final = re.compile(
    r"lowercase|uppercase|b64decode|json_parse|date|now|now_plus|now_minus"
    r"|size|contains|startsWith|endsWith|matches|has|all|exists|exists_one|map|filter|max|min"
    r"|bool|bytes|double|duration|dyn|int|string|timestamp|type|uint"
    r"|get(FullYear|Month|DayOfYear|DayOfMonth|Date|DayOfWeek|Hours|Minutes|Seconds|Milliseconds)"
)
"""The protocol's functions, then CEL's own."""


@dataclass(frozen=True)
class _Path:
    """Where a variable's value is found. `presence`: it stood in has(), so true or false."""

    root: str
    keys: tuple[str | int, ...]
    presence: bool

    def look(self, value: JSON) -> JSON:
        for key in self.keys:
            if not _has(value, key):
                return False if self.presence else None
            value = value[key]
        return True if self.presence else value


def _has(value: JSON, key: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(key, int) and key < len(value)
    return isinstance(value, dict) and key in value


@dataclass(frozen=True)
class _Compiled:
    program: evaluator.Program
    paths: Mapping[str, _Path]

    def values(self, root: str, value: JSON) -> dict[str, JSON]:
        return {name: path.look(value) for name, path in self.paths.items() if path.root == root}


def check(source: str) -> None:
    """Raise ExpressionError, with the reason, if the expression can never be evaluated."""
    _compiled(source)


def bind(source: str, event: JSON) -> dict[str, JSON]:
    """What the expression reads of its own `event`: all that a wait must keep of it."""
    return _compiled(source).values("event", event)


def matches(source: str, event: JSON, now_ms: int) -> bool:
    """Whether an event satisfies a trigger. What cannot be evaluated does not match."""
    return evaluate(source, event, now_ms) is True


def satisfies(source: str, bound: Mapping[str, JSON], candidate: JSON, now_ms: int) -> bool:
    """Whether an arriving event (`async`) satisfies a wait bound earlier."""
    compiled = _compiled(source)
    values = {**bound, **compiled.values("async", candidate)}
    return _run(compiled, values, now_ms) is True


def evaluate(source: str, event: JSON, now_ms: int) -> JSON:
    """The value of an expression over `event`; null if it cannot be evaluated."""
    try:
        compiled = _compiled(source)
    except ExpressionError:
        return None
    values = {**compiled.values("async", None), **compiled.values("event", event)}
    return _run(compiled, values, now_ms)


def _run(compiled: _Compiled, values: Mapping[str, JSON], now_ms: int) -> Any:
    try:
        return compiled.program.run(values, _functions(now_ms))
    except Exception:  # user code, in effect: any mistake of type or range is "no match"
        return None


@lru_cache(maxsize=4096)
def _compiled(source: str) -> _Compiled:
    paths: dict[str, _Path] = {}
    rewritten = _TOKEN.sub(lambda found: _variable(found, paths), source)
    try:
        program = evaluator.compile(rewritten)
    except Exception as error:  # the library's, whichever it is
        raise ExpressionError(f"bad expression {source!r}: {_reason(error)}") from None
    _check_names(source, program, set(paths) | set(_BOUND.findall(source)))
    return _Compiled(program, paths)


def _variable(found: re.Match[str], paths: dict[str, _Path]) -> str:
    text, has_root, has_steps, root, steps = found.groups()
    if text is not None:
        return "" if text.startswith("//") else text
    keys = tuple(_key(*step) for step in _KEY.findall(has_steps or steps or ""))
    name = f"_p{len(paths)}"
    paths[name] = _Path(has_root or root, keys, presence=has_root is not None)
    return name


def _key(name: str, index: str) -> str | int:
    if name:
        return name
    if index.isdigit():
        return int(index)
    return re.sub(r"\\(.)", r"\1", index[1:-1])


def _check_names(source: str, program: evaluator.Program, known: set[str]) -> None:
    variables, functions = program.names()
    for name in sorted(variables):
        if name not in known:
            raise ExpressionError(
                f"bad expression {source!r}: no variable {name!r}; there are: event, async"
            )
    for name in sorted(functions):
        if _NAME.fullmatch(name) and not _FUNCTION.fullmatch(name):
            raise ExpressionError(f"bad expression {source!r}: no function {name!r}")


def _reason(error: Exception) -> str:
    """The first line of what the parser says, without the source it repeats."""
    text = str(error)
    return text.partition("ERROR: ")[2].splitlines()[0] if "ERROR: " in text else text


def _functions(now_ms: int) -> dict[str, Any]:
    now = _instant(now_ms)
    return {
        "lowercase": lambda text: text.lower() if isinstance(text, str) else text,
        "uppercase": lambda text: text.upper() if isinstance(text, str) else text,
        "b64decode": lambda text: base64.b64decode(text).decode(),
        "json_parse": json.loads,
        "date": lambda at: _instant(at if isinstance(at, (int, float)) else date_ms(at)),
        "now": lambda: now,
        "now_plus": lambda text: now + timedelta(milliseconds=duration_ms(text)),
        "now_minus": lambda text: now - timedelta(milliseconds=duration_ms(text)),
    }


def _instant(ms: float) -> datetime:
    return datetime.fromtimestamp(ms / 1000, timezone.utc)
