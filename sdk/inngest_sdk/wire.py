"""The protocol's JSON and headers: what a call says, what an answer looks like (wire.md A6-A10).

Unknown fields are ignored on the way in; nulls are left out on the way out. Nowhere else are
header names or body keys of a call spelled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inngest_sdk.errors import BodyInvalidError, ProtocolError, SignatureInvalidError
from inngest_sdk.events import Event
from inngest_sdk.http import Response, dumps

VERSION = "0.1.0"
SDK = f"inngest-serverless:v{VERSION}"
REQUEST_VERSION = "2"  # anything else loses coalesced parallelism on the server (wire.md T6)
ROOT_STEP = "step"  # the stepId of a call that targets no step
RUN_COMPLETE = "0737c22d3bfae812339732d14d8c7dbd6dc4e09c"  # the SHA-1 of "complete"
HANDLED = "x-inngest-sdk-handled"
MAX_STEP_OUTPUT = 4 * 1024 * 1024  # bytes of JSON (wire.md T12)
MAX_RESPONSE = 8 * 1024 * 1024  # bytes (wire.md A7)


def sdk_headers(framework: str, platform: str) -> dict[str, str]:
    """The headers that tell the server an SDK answered; without them a 2xx fails (wire.md T2)."""
    return {
        "content-type": "application/json",
        "x-inngest-sdk": SDK,
        "x-inngest-req-version": REQUEST_VERSION,
        "x-inngest-framework": framework,
        "x-inngest-platform": platform,
    }


@dataclass(frozen=True)
class Call:
    """One call of a function, as the server asked for it.

    `steps` maps step hash to memoized value; `stack` lists the hashes in the order in which the
    steps finished. `max_attempts` may be unknown. `trace` are the headers that tell whose trace the
    call is part of; requests that are made for it carry them on.
    """

    run_id: str
    attempt: int
    max_attempts: int | None
    event: Event
    events: tuple[Event, ...]
    steps: Mapping[str, Any]
    stack: tuple[str, ...] = ()
    planning: bool = False
    use_api: bool = False
    fn_uuid: str | None = None
    job_id: str | None = None
    request_id: str | None = None
    qi_id: str | None = None
    generation: int = 0
    trace: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_final_attempt(self) -> bool:
        """Whether a failure now is the last one."""
        return self.max_attempts is not None and self.attempt + 1 >= self.max_attempts


def parse_json_object(body: bytes, what: str) -> Mapping[str, Any]:
    """The body as a JSON object. Raises BodyInvalidError, saying what is there instead."""
    if not body:
        raise BodyInvalidError(f"the body of {what} is empty; it must be a JSON object")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BodyInvalidError(f"the body of {what} is not JSON: {error}") from None
    return _mapping(value, f"the body of {what}")


def parse_call(body: bytes, headers: Mapping[str, str]) -> Call:
    """Read a call. Raises BodyInvalidError naming the field that is missing or wrong."""
    data = parse_json_object(body, "a call")
    ctx = _mapping(data.get("ctx"), "ctx")
    stack = _mapping(ctx.get("stack") or {}, "ctx.stack")
    event = parse_event(data.get("event"), "event")
    batch = data.get("events") or []
    # Nearly always the one event, told twice.
    events = (event,) if batch == [data["event"]] else parse_events(batch, "events")
    return Call(
        run_id=_text(ctx.get("run_id"), "ctx.run_id"),
        attempt=_integer(ctx.get("attempt", 0), "ctx.attempt"),
        max_attempts=_optional_integer(ctx.get("max_attempts"), "ctx.max_attempts"),
        event=event,
        events=events,
        steps=_mapping(data.get("steps") or {}, "steps"),
        stack=_finished(stack),
        planning=bool(ctx.get("disable_immediate_execution")),
        use_api=bool(ctx.get("use_api", data.get("use_api"))),
        fn_uuid=_optional_text(ctx.get("fn_id"), "ctx.fn_id"),
        job_id=_optional_text(ctx.get("job_id"), "ctx.job_id"),
        request_id=_optional_text(ctx.get("request_id"), "ctx.request_id"),
        qi_id=_optional_text(ctx.get("qi_id"), "ctx.qi_id"),
        generation=_generation(ctx, headers),
        trace=_trace(headers),
    )


def _trace(headers: Mapping[str, str]) -> dict[str, str]:
    # Not what no HTTP client would send on.
    return {
        name: value
        for name in ("traceparent", "tracestate")
        if (value := headers.get(name)) and value.isascii() and value.isprintable()
    }


def _generation(ctx: Mapping[str, Any], headers: Mapping[str, str]) -> int:
    # The header is older, and the only place where some servers say it (engine.md 3.1).
    text = headers.get("x-inngest-generation-id", "")
    if text.isascii() and text.isdigit():
        return int(text)
    return _optional_integer(ctx.get("generation_id"), "ctx.generation_id") or 0


def parse_event(value: Any, where: str) -> Event:
    """One event of a call. Raises BodyInvalidError."""
    try:
        return Event.from_json(_mapping(value, where))
    except (TypeError, ValueError, KeyError) as error:
        raise BodyInvalidError(f"{where} is not an event: {error}") from None


def parse_events(value: Any, where: str) -> tuple[Event, ...]:
    """A list of events. Raises BodyInvalidError."""
    if not isinstance(value, list):
        raise BodyInvalidError(f"{where} must be a list, not {_kind(value)}")
    return tuple(parse_event(item, f"{where}[{index}]") for index, item in enumerate(value))


def _finished(stack: Mapping[str, Any]) -> tuple[str, ...]:
    # `current` points at the step that scheduled this call. Steps behind it in the list have
    # finished too and their values are in `steps` (engine.md 3.1), so the whole list counts.
    order = stack.get("stack") or []
    if not isinstance(order, list) or not all(isinstance(item, str) for item in order):
        raise BodyInvalidError("ctx.stack.stack must be a list of step hashes")
    return tuple(order)


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BodyInvalidError(f"{where} must be an object, not {_kind(value)}")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise BodyInvalidError(f"{where} must be a non-empty string, not {_kind(value)}")
    return value


def _optional_text(value: Any, where: str) -> str | None:
    return _text(value, where) if value else None


def _integer(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BodyInvalidError(f"{where} must be an integer, not {_kind(value)}")
    return value


def _optional_integer(value: Any, where: str) -> int | None:
    return None if value is None else _integer(value, where)


def returned(value: Any) -> Response:
    """The function's result. Never with retry headers: the server would call it a failure (T4).

    Raises TypeError or ValueError if the value is not JSON.
    """
    return Response(200, {}, dumps(value))


def completed(ops: Sequence[Mapping[str, Any]], value: Any) -> Response:
    """Steps that the server has not heard of, and the function's result behind them (A14)."""
    complete = {"op": "RunComplete", "id": RUN_COMPLETE, "data": value}
    return Response(206, {}, dumps([*ops, complete]))


def reported(ops: Sequence[Mapping[str, Any]], retry_after: str | None = None) -> Response:
    """The ops of this call; errors among them say whether to retry (wire.md A7)."""
    headers: dict[str, str] = {}
    kinds = {op["op"] for op in ops}
    if kinds & {"StepError", "StepFailed"}:
        headers["x-inngest-no-retry"] = "false" if "StepError" in kinds else "true"
    if retry_after is not None:
        headers["retry-after"] = retry_after
    return Response(206, headers, dumps(list(ops)))


def failed(
    error: Mapping[str, Any], *, retriable: bool, retry_after: str | None = None
) -> Response:
    """The function raised. `x-inngest-no-retry` decides, not the status (wire.md A7)."""
    headers = {"x-inngest-no-retry": "false" if retriable else "true"}
    if retriable and retry_after is not None:
        headers["retry-after"] = retry_after
    return Response(500, headers, dumps(error))


def refused(error: ProtocolError) -> Response:
    """The request itself cannot be answered.

    Of a bad signature strangers learn nothing but that the refusal is an SDK's (wire.md A1, A7).
    """
    if isinstance(error, SignatureInvalidError):
        headers = {"content-type": "application/json", HANDLED: "true"}
        return Response(error.status, headers, dumps({"message": "Unauthorized"}))
    body = {"code": error.code, "message": error.message, "name": type(error).__name__}
    headers = {"x-inngest-no-retry": "false" if error.retriable else "true"}
    return Response(error.status, headers, dumps({**body, **error.details}))
