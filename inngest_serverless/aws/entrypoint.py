"""The Lambda handler: an event in, an answer out, and no exception past this file.

An exception that left the handler would reach the Inngest server as a bare 502, which it cannot
tell from a broken network, so everything becomes an answer with the SDK's headers.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from inngest_sdk import wire
from inngest_sdk.client import Inngest
from inngest_sdk.config import Streaming
from inngest_sdk.drive import drive
from inngest_sdk.endpoint import Entrypoint, finish, too_large
from inngest_sdk.endpoint import serve as serve_request
from inngest_sdk.errors import ProtocolError
from inngest_sdk.http import Request, Response, dumps
from inngest_serverless.aws.environment import Environment
from inngest_serverless.aws.http_event import (
    FrontDoor,
    NotHttp,
    event_from,
    front_door,
    path_may_be_mapped,
    request_from,
)
from inngest_serverless.discovery import LazyClient, explain

# Room for what surrounds the body in an answer: status, some headers, twice behind a REST API.
ENVELOPE_BYTES = 4096

HEALTH_CHECKER = "ELB-HealthChecker/2.0"

LOG = logging.getLogger("inngest_serverless")

_app = LazyClient(os.environ)


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer a Lambda event with the app that INNGEST_APP names (see `discovery`)."""
    return _answer(_app.get, event, context, Environment.from_env(os.environ))


def serve(
    client: Inngest,
    *,
    serve_origin: str | None = None,
    serve_path: str | None = None,
    streaming: Streaming | None = None,
) -> Callable[[Any, Any], dict[str, Any]]:
    """Make a Lambda handler for a client's functions.

    `serve_origin` and `serve_path` beat INNGEST_SERVE_ORIGIN and INNGEST_SERVE_PATH; `streaming`
    beats the client's and INNGEST_STREAMING. What comes back is a plain function that decorators
    for Lambda handlers can wrap.

        handler = inngest_serverless.aws.serve(client)
    """
    environment = Environment.from_env(os.environ)

    def handler(event: Any, context: Any) -> dict[str, Any]:
        return _answer(
            lambda: client, event, context, environment, serve_origin, serve_path, streaming
        )

    return handler


def prepare() -> None:
    """Load the app at once if Lambda is starting with our handler, and only then.

    Lambda imports the handler's module in its init phase, with more CPU than a small function has
    later: the app is better loaded there than in the first call. Anyone else who imports this
    package may be the app's own module, half-made, on its way to `handler = aws.serve(client)`;
    there, and in tests, the first event looks for the app.

    A failure is logged, and answered to each event with what went wrong. Raised, it would end
    the process and have Lambda start it anew for every call, and the caller would read "502".
    """
    if not Environment.from_env(os.environ).starts_here:
        return
    try:
        _app.get()
    except Exception as error:
        _log_failed_load(error)


def _answer(
    app: Callable[[], Inngest],
    event: Any,
    context: Any,
    environment: Environment,
    serve_origin: str | None = None,
    serve_path: str | None = None,
    streaming: Streaming | None = None,
) -> dict[str, Any]:
    door = front_door(event)
    if isinstance(door, NotHttp):
        return _ignored(door)
    entrypoint = Entrypoint(
        framework="aws-lambda",
        platform=f"aws-{environment.region}",
        serve_origin=serve_origin,
        serve_path=serve_path,
        max_response_bytes=door.max_answer_bytes - ENVELOPE_BYTES,
        limit_name=door.limit_name,
        streaming=streaming,
    )
    try:
        response = _response(app, event, context, door, entrypoint)
        return _within_limit(event_from(response, door), door, entrypoint, environment)
    except ProtocolError as error:
        refusal = error
    except Exception as error:
        LOG.exception("the Lambda entrypoint failed; please report this as a bug")
        name = type(error).__name__
        refusal = ProtocolError(f"the Lambda entrypoint failed with {name}; see the function's log")
    return event_from(finish(wire.refused(refusal), entrypoint), door)


def _response(
    app: Callable[[], Inngest],
    event: Any,
    context: Any,
    door: FrontDoor,
    entrypoint: Entrypoint,
) -> Response:
    try:
        client = app()
    except Exception as error:
        _log_failed_load(error)
        raise ProtocolError(explain(error)) from None
    request = request_from(event, door)
    if door.shape == "alb" and request.headers.get("user-agent") == HEALTH_CHECKER:
        # In cloud mode the core refuses an unsigned GET, and the target would count as unhealthy.
        return finish(Response(200, {}, dumps({"healthy": True})), entrypoint)
    if request.method == "PUT" and path_may_be_mapped(event, door):
        _advise_on_path(client, request, entrypoint)
    now = time.time()
    deadline = _deadline(context, now)
    return drive(serve_request(client, request, entrypoint, now=now, deadline=deadline))


def _deadline(context: Any, now: float) -> float | None:
    """When Lambda will kill this call, in Unix seconds; None without a context that knows."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    milliseconds = remaining() if callable(remaining) else None
    return now + milliseconds / 1000 if isinstance(milliseconds, (int, float)) else None


def _within_limit(
    answer: dict[str, Any], door: FrontDoor, entrypoint: Entrypoint, environment: Environment
) -> dict[str, Any]:
    # The core has held the body to the limit, but the limit is on the answer as JSON. There each
    # quote and backslash of the body, itself JSON, takes another byte, and a character beyond
    # ASCII up to 12 (two times \uXXXX), which is the most.
    if len(answer["body"]) * 12 + ENVELOPE_BYTES <= door.max_answer_bytes:
        return answer
    size = len(json.dumps(answer, ensure_ascii=environment.escapes_unicode).encode())
    if size <= door.max_answer_bytes:
        return answer
    carrier = f"{door.limit_name} (which counts it as the JSON string that it travels in)"
    return event_from(finish(too_large(size, door.max_answer_bytes, carrier), entrypoint), door)


def _advise_on_path(client: Inngest, request: Request, entrypoint: Entrypoint) -> None:
    if entrypoint.serve_path is None and client.config.serve_path is None:
        LOG.warning(
            "registering %s: if the custom domain has an API mapping, this is not its public "
            "path, which Lambda is not told; set INNGEST_SERVE_PATH then",
            request.url,
        )


def _ignored(event: NotHttp) -> dict[str, Any]:
    LOG.warning(
        "ignored %s: this function serves Inngest over HTTP only. If it came from a queue or a "
        "stream, it now counts as processed there.",
        event.what,
    )
    return {"ok": True, "ignored": f"{event.what}: not an HTTP event"}


def _log_failed_load(error: Exception) -> None:
    LOG.error("the Inngest app could not be loaded: %s", explain(error), exc_info=error)
