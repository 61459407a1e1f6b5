"""Ops: what an app's 206 says, checked and typed (engine.md 2.3-2.8)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from inngest_serverless.engine import expressions
from inngest_serverless.engine.durations import DAY_MS, LONGEST_MS, DurationError, until_ms
from inngest_serverless.engine.model import JSON, GatewayRequest

FOREVER_MS: Final = 365 * DAY_MS
"""How long an invocation or a signal is waited for if the app does not say (engine.md 2.1)."""
LONGEST_NAME: Final = 512


class BadOp(ValueError):
    """An op that makes no sense: the attempt fails, and is retried."""


class FatalOp(ValueError):
    """An op that no retry can mend: the run fails. `name` is what the output calls it."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class StepDone:
    """A step ran. `value` is what is stored."""

    step_id: str
    name: str
    kind: str
    value: JSON


@dataclass(frozen=True)
class StepBroke:
    """A step raised. `final`: whatever attempts are left."""

    step_id: str
    name: str
    error: dict[str, JSON]
    final: bool
    kind: str = "StepRun"


@dataclass(frozen=True)
class Planned:
    """A step to be called for by its id."""

    step_id: str
    name: str
    opts: dict[str, JSON]


@dataclass(frozen=True)
class Sleep:
    """A sleep."""

    step_id: str
    name: str
    until_ms: int


@dataclass(frozen=True)
class WaitForEvent:
    """A wait for an event that satisfies an expression."""

    step_id: str
    name: str
    event: str
    expression: str | None
    expires_ms: int


@dataclass(frozen=True)
class Invoke:
    """A call of another function."""

    step_id: str
    name: str
    function_id: str
    payload: dict[str, JSON]
    expires_ms: int


@dataclass(frozen=True)
class WaitForSignal:
    """A wait for a signal. `replace`: take the wait over from whoever has it."""

    step_id: str
    name: str
    signal: str
    replace: bool
    expires_ms: int


@dataclass(frozen=True)
class Gateway:
    """A request that the engine is to make."""

    step_id: str
    name: str
    request: GatewayRequest


@dataclass(frozen=True)
class Complete:
    """The function returned, said in a 206."""

    output: JSON


@dataclass(frozen=True)
class Discover:
    """The app asks to be called again."""


Async: TypeAlias = Planned | Sleep | WaitForEvent | Invoke | WaitForSignal | Gateway
"""Ops whose steps finish later."""
StepOp: TypeAlias = StepDone | StepBroke | Async
Op: TypeAlias = StepOp | Complete | Discover


def parse(raw: Iterable[JSON], now_ms: int) -> list[Op]:
    """The ops of a reply, waits for events first (engine.md 2.4 rule 4). None is dropped."""
    ops = [_op(each, now_ms) for each in raw if not _is_none(each)]
    return sorted(ops, key=lambda op: not isinstance(op, WaitForEvent))


def is_parallel(raw: Iterable[dict[str, JSON]]) -> bool:
    """Whether a reply of several ops opens a section whose end is one discovery (2.4 rule 3)."""
    return any(each.get("op") in _ASYNC_OPS for each in raw)


def is_race(raw: Iterable[dict[str, JSON]]) -> bool:
    """Whether the section wants a discovery after each completion."""
    return any(_opts(each).get("parallelMode") == "race" for each in raw)


def step_ids(raw: Iterable[JSON]) -> list[str]:
    """The ids that a reply names, sound or not."""
    ids = (each.get("id") for each in raw if isinstance(each, dict))
    return [each for each in ids if isinstance(each, str)]


def signals(raw: Iterable[JSON]) -> list[str]:
    """The signals that a reply wants to wait for."""
    waits = (each for each in raw if isinstance(each, dict) and each.get("op") == "WaitForSignal")
    names = (_opts(each).get("signal") or each.get("name") for each in waits)
    return [name for name in names if isinstance(name, str)]


def _is_none(raw: JSON) -> bool:
    return isinstance(raw, dict) and raw.get("op") == "None"


def _op(raw: JSON, now_ms: int) -> Op:
    if not isinstance(raw, dict):
        raise BadOp(f"an op is an object, not {raw!r}")
    op = raw.get("op")
    match op:
        case "RunComplete" | "SyncRunComplete":
            return Complete(raw.get("data"))
        case "DiscoveryRequest":
            return Discover()
        case "DeferAdd" | "DeferAbort":
            raise BadOp(f"the local engine cannot do {op} yet: deferred functions need a server")
        case _:
            return _step_op(op, raw, now_ms)


def _step_op(op: JSON, raw: dict[str, JSON], now_ms: int) -> StepOp:
    make = _STEP_OPS.get(op) if isinstance(op, str) else None
    if make is None:
        raise BadOp(f"unknown op {op!r}")
    step_id = raw.get("id")
    if not isinstance(step_id, str) or not step_id:
        raise BadOp(f"{op} without an id")
    made: StepOp = make(step_id, _name(raw), raw, now_ms)
    return made


def _name(raw: dict[str, JSON]) -> str:
    return str(raw.get("displayName") or raw.get("name") or raw.get("id"))


def _opts(raw: dict[str, JSON]) -> dict[str, JSON]:
    opts = raw.get("opts")
    return opts if isinstance(opts, dict) else {}


def _run(step_id: str, name: str, raw: dict[str, JSON], _: int) -> StepDone:
    return StepDone(step_id, name, "StepRun", {"data": raw.get("data")})


def _legacy(step_id: str, name: str, raw: dict[str, JSON], _: int) -> StepDone:
    return StepDone(step_id, name, "StepRun", raw.get("data"))


def _broke(step_id: str, name: str, raw: dict[str, JSON], _: int) -> StepBroke:
    error = raw.get("error")
    if not isinstance(error, dict):
        raise BadOp(f"{raw.get('op')} of step {name!r} without an error")
    final = raw.get("op") == "StepFailed" or error.get("noRetry") is True
    return StepBroke(step_id, name, step_error(error), final)


def step_error(error: dict[str, JSON]) -> dict[str, JSON]:
    """What is stored of an error (engine.md 2.3): always a name and a message."""
    kept = {
        key: error[key]
        for key in ("name", "message", "stack", "data", "noRetry", "cause")
        if error.get(key) is not None
    }
    return {"name": "Error", "message": "", **kept}


def _planned(step_id: str, name: str, raw: dict[str, JSON], _: int) -> Planned:
    return Planned(step_id, name, _opts(raw))


def _sleep(step_id: str, name: str, raw: dict[str, JSON], now_ms: int) -> Sleep:
    text = _opts(raw).get("duration")
    if text is None:
        text = raw.get("name") or ""
    return Sleep(step_id, name, _until(text, now_ms, f"sleep {name!r}"))


def _wait(step_id: str, name: str, raw: dict[str, JSON], now_ms: int) -> WaitForEvent:
    opts = _opts(raw)
    event = opts.get("event") or raw.get("name")
    if not isinstance(event, str) or not event or len(event) > LONGEST_NAME:
        raise BadOp(f"wait {name!r} needs the name of an event, got {event!r}")
    expression = opts.get("if") or None
    if expression is not None:
        _check(expression, name)
    until = _until(opts.get("timeout") or "", now_ms, f"wait {name!r}")
    return WaitForEvent(step_id, name, event, expression, until)


def _check(expression: JSON, name: str) -> None:
    try:
        expressions.check(str(expression))
    except expressions.ExpressionError as error:
        raise FatalOp("ExpressionError", f"wait {name!r}: {error}") from None


def _invoke(step_id: str, name: str, raw: dict[str, JSON], now_ms: int) -> Invoke:
    opts = _opts(raw)
    payload, function_id = opts.get("payload"), opts.get("function_id")
    if not isinstance(payload, dict):
        raise BadOp(f"invoke {name!r} without a payload (send at least {{'data': {{}}}})")
    if not isinstance(function_id, str) or not function_id:
        raise BadOp(f"invoke {name!r} without a function_id")
    expires = _forever(opts.get("timeout"), now_ms, f"invoke {name!r}")
    return Invoke(step_id, name, function_id, payload, expires)


def _signal(step_id: str, name: str, raw: dict[str, JSON], now_ms: int) -> WaitForSignal:
    opts = _opts(raw)
    signal = opts.get("signal") or raw.get("name")
    if not isinstance(signal, str) or not signal:
        raise BadOp(f"wait {name!r} without the name of a signal")
    conflict = opts.get("conflict") or "fail"
    if conflict not in ("fail", "replace"):
        raise BadOp(f"wait {name!r}: conflict is {conflict!r}; it is 'fail' or 'replace'")
    expires = _forever(opts.get("timeout"), now_ms, f"wait {name!r}")
    return WaitForSignal(step_id, name, signal, conflict == "replace", expires)


def _gateway(step_id: str, name: str, raw: dict[str, JSON], _: int) -> Gateway:
    """A request as the app describes it, body a string (wire.md Q7)."""
    opts, what = _opts(raw), f"fetch {name!r}"
    body = "" if opts.get("body") is None else opts["body"]
    if not isinstance(body, str):
        raise BadOp(f"{what}: the body must be a string, not {type(body).__name__}")
    method = _text(opts, "method", what) or "POST"
    url, headers = _url(opts, what), _headers(opts, what)
    return Gateway(step_id, name, GatewayRequest("Gateway", method, url, headers, body))


def _ai_gateway(step_id: str, name: str, raw: dict[str, JSON], _: int) -> Gateway:
    """A request to a model's provider: its JSON body is posted (wire.md Q6)."""
    opts, what = _opts(raw), f"inference {name!r}"
    body = opts.get("body")
    if not isinstance(body, dict):
        raise BadOp(f"{what}: the body must be an object, not {type(body).__name__}")
    request = GatewayRequest(
        "AIGateway",
        "POST",
        _url(opts, what),
        _headers(opts, what),
        json.dumps(body, separators=(",", ":")),
        auth_key=_text(opts, "auth_key", what),
        format=_text(opts, "format", what),
    )
    return Gateway(step_id, name, request)


# What is wrong is named by its place and type only: its value may be a secret.


def _text(opts: dict[str, JSON], key: str, what: str) -> str:
    value = opts.get(key)
    if value is not None and not isinstance(value, str):
        raise BadOp(f"{what}: {key} must be a string, not {type(value).__name__}")
    return value or ""


def _url(opts: dict[str, JSON], what: str) -> str:
    url = _text(opts, "url", what)
    if not url:
        raise BadOp(f"{what} without a url")
    return url


def _headers(opts: dict[str, JSON], what: str) -> dict[str, str]:
    headers = {} if opts.get("headers") is None else opts["headers"]
    if not isinstance(headers, dict):
        raise BadOp(f"{what}: headers must be an object, not {type(headers).__name__}")
    wrong = sorted(name for name, value in headers.items() if not isinstance(value, str))
    if wrong:
        raise BadOp(f"{what}: these headers must be strings: {', '.join(wrong)}")
    return headers


def _forever(text: JSON, now_ms: int, what: str) -> int:
    return _until(text, now_ms, what) if text else now_ms + FOREVER_MS


def _until(text: JSON, now_ms: int, what: str) -> int:
    try:
        until = until_ms(str(text), now_ms)
    except (DurationError, OverflowError) as error:
        raise BadOp(f"{what}: {error}") from None
    if until - now_ms > LONGEST_MS:
        raise FatalOp("InngestErrTimeoutTooLong", f"{what} is longer than 366 days: {text}")
    return until


_STEP_OPS: Final[dict[str, Any]] = {
    "StepRun": _run,
    "Step": _legacy,
    "StepError": _broke,
    "StepFailed": _broke,
    "StepPlanned": _planned,
    "Sleep": _sleep,
    "WaitForEvent": _wait,
    "InvokeFunction": _invoke,
    "WaitForSignal": _signal,
    "Gateway": _gateway,
    "AIGateway": _ai_gateway,
}
_ASYNC_OPS: Final = frozenset(
    {
        *("StepPlanned", "Sleep", "WaitForEvent", "InvokeFunction", "WaitForSignal"),
        *("Gateway", "AIGateway"),
    }
)
