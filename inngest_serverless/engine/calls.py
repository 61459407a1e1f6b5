"""How the engine calls an app: a Call as an HTTP request, and the request over the network.

All but `HttpCaller` is pure, and checked field by field against recorded traffic.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from types import TracebackType
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from inngest_sdk import signing
from inngest_serverless.engine import jsontext
from inngest_serverless.engine.clock import Clock, SystemClock
from inngest_serverless.engine.model import Call, Reply
from inngest_serverless.engine.reply import (
    can_read_br,
    failed,
    output_too_large,
    read_reply,
)
from inngest_serverless.engine.transport import (
    AnswerTooLarge,
    AppUnreachable,
    HttpRequest,
    Transport,
)

MAX_REQUEST = 4 * 1024 * 1024
MAX_STATE = MAX_REQUEST - 1024
CALL_SECONDS = 2 * 60 * 60

_ACCOUNT = "00000000-0000-4000-a000-000000000000"


def request_for(call: Call, *, now_ms: int, signing_key: str | None = None) -> HttpRequest:
    """Make the request of a call (engine.md 3.1); signed when there is a key.

    Left out of what the real server sends: `tracestate`, which holds its own internals, and
    `connection: close` (`transport` says why).
    """
    body = body_of(call)
    headers = {
        "content-type": "application/json",
        "user-agent": "Inngest",
        "accept-encoding": "gzip, br" if can_read_br() else "gzip",
        "account-id": _ACCOUNT,
        "traceparent": _traceparent(call),
        "x-run-id": call.run_id,
        "x-request-id": call.request_id,
        "x-inngest-step-id": call.step_id,
        "x-inngest-job-id": call.job_id,
        "x-inngest-generation-id": str(call.generation),
        "x-inngest-req-version": str(call.request_version),
    }
    if signing_key is not None:
        headers[signing.HEADER] = signing.sign(signing_key, body, now_ms // 1_000)
    return HttpRequest("POST", with_query(call.url, "stepId", call.step_id), headers, body)


def body_of(call: Call) -> bytes:
    """Write the call's body: canonical, and without what the app must fetch itself (3.2)."""
    events = [jsontext.canonical(event.to_json()) for event in call.events]
    steps = jsontext.canonical(call.steps)
    if len(steps) <= MAX_STATE:
        body = _body(call, events[0], events, steps, use_api=False)
        if len(body) <= MAX_REQUEST:
            return body
    body = _body(call, events[0], events, b"{}", use_api=True)
    return body if len(body) <= MAX_REQUEST else _body(call, events[0], [], b"{}", use_api=True)


def _body(
    call: Call, event: bytes, events: Iterable[bytes], steps: bytes, *, use_api: bool
) -> bytes:
    # Put together from parts that are canonical already: an event is written once, not twice, and
    # the members stand in the order in which they sort.
    members = (
        (b"ctx", jsontext.canonical(_context(call, use_api))),
        (b"defers", b"{}"),
        (b"event", event),
        (b"events", b"[" + b",".join(events) + b"]"),
        (b"steps", steps),
        (b"use_api", jsontext.canonical(use_api)),
        (b"version", jsontext.canonical(call.request_version)),
    )
    return b"{" + b",".join(b'"%b":%b' % member for member in members) + b"}"


def _context(call: Call, use_api: bool) -> dict[str, object]:
    # `generation_id` is a header only: strict protocol checkers refuse it here (5.1 M9).
    context: dict[str, object] = {
        "attempt": call.attempt,
        "disable_immediate_execution": call.disable_immediate_execution,
        "env": "",
        "fn_id": call.function_id,
        "max_attempts": call.max_attempts,
        "run_id": call.run_id,
        "stack": {"current": call.current, "stack": list(call.stack)},
        "step_id": "step",  # even on a call that targets another step; the query names it
        "use_api": use_api,
    }
    if call.request_id:
        context["request_id"] = call.request_id
    if call.job_id:
        context["job_id"] = call.job_id
        context["qi_id"] = base64.b64encode(f"{call.job_id}::default".encode()).decode()
    return context


def _traceparent(call: Call) -> str:
    """One trace for a run and a span for each call, made from their ids (W3C trace context)."""
    trace = hashlib.sha256(call.run_id.encode()).hexdigest()[:32]
    span = hashlib.sha256(f"{call.job_id}:{call.generation}".encode()).hexdigest()[:16]
    return f"00-{trace}-{span}-01"


def with_query(url: str, key: str, value: str) -> str:
    """Set one key of a URL's query; the others stay as they are."""
    parts = urlsplit(url)
    query = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k != key]
    return urlunsplit(parts._replace(query=urlencode([*query, (key, value)]), fragment=""))


# ── over the network ─────────────────────────────────────────────────────────────────────────────


class HttpCaller:
    """Calls apps over HTTP; give it to the Engine. Close it when the engine has stopped.

    async with HttpCaller() as caller, Engine(caller) as engine: ...
    """

    def __init__(
        self,
        *,
        signing_key: str | None = None,
        clock: Clock | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._signing_key = signing_key
        self._clock = clock or SystemClock()
        self._transport = transport or Transport()

    async def __call__(self, call: Call) -> Reply:
        """Call the app and read its answer. Whatever goes wrong is a Failed."""
        try:
            request = request_for(call, now_ms=self._clock.now_ms(), signing_key=self._signing_key)
            answer = await self._transport.send(request, seconds=CALL_SECONDS)
        except AppUnreachable as error:
            return failed(str(error), stack=error.stack)
        except AnswerTooLarge as error:
            return output_too_large(str(error))
        except ValueError as error:
            return failed(f"the app's URL {call.url!r} cannot be called: {error}")
        return read_reply(answer.status, answer.headers, answer.body, now_ms=self._clock.now_ms())

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    async def __aenter__(self) -> HttpCaller:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
