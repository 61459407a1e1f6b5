"""The Lambda handler: an event in, an answer out, and no exception past this file.

An exception that left the handler would reach the Inngest server as a bare 502, which it cannot
tell from a broken network, so everything becomes an answer with the SDK's headers.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from inngest_sdk import wire
from inngest_sdk.client import Inngest
from inngest_sdk.config import Config, Streaming
from inngest_sdk.drive import drive
from inngest_sdk.endpoint import Entrypoint, finish, too_large
from inngest_sdk.endpoint import serve as serve_request
from inngest_sdk.errors import ConfigError, ProtocolError
from inngest_sdk.http import Request, Response, dumps
from inngest_serverless.aws import copies, warm_up
from inngest_serverless.aws.environment import Environment
from inngest_serverless.aws.http_event import (
    DIRECT,
    FrontDoor,
    NotHttp,
    can_pass_chunks,
    event_from,
    front_door,
    path_may_be_mapped,
    prelude_from,
    request_from,
)
from inngest_serverless.discovery import LazyClient, explain

if TYPE_CHECKING:
    from inngest_sdk.streaming import Streamed

# Room for what surrounds the body in an answer: status, some headers, twice behind a REST API.
ENVELOPE_BYTES = 4096

HEALTH_CHECKER = "ELB-HealthChecker/2.0"

LOG = logging.getLogger("inngest_serverless")

# What is left of a stream that a decorator of the handler has made a plain dict of: an answer in
# the form of streams (wire.md A13) all the same, which has the server try again.
LOST = dumps(
    {
        "status": 500,
        "headers": {"content-type": "application/json", "x-inngest-no-retry": "false"},
        "body": json.dumps(
            {
                "name": "Error",
                "message": "a decorator of the Lambda handler replaced the streamed answer by a "
                "copy without its chunks; let it return what the handler returned, or set "
                "INNGEST_STREAMING to disable",
            }
        ),
    }
)

_app = LazyClient(os.environ)

Answer: TypeAlias = "Response | Streamed[Iterator[bytes]]"


@dataclass(frozen=True)
class Served:
    """What a handler serves: how to get the app, and what was said where the handler was made."""

    app: Callable[[], Inngest]
    environment: Environment
    serve_origin: str | None = None
    serve_path: str | None = None
    streaming: Streaming | None = None
    forward: Callable[[Any, Any], dict[str, Any]] | None = None


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer a Lambda event with the app that INNGEST_APP names (see `discovery`)."""
    return _answer(Served(_app.get, Environment.from_env(os.environ)), event, context)


def serve(
    client: Inngest,
    *,
    serve_origin: str | None = None,
    serve_path: str | None = None,
    streaming: Streaming | None = None,
    forward: Callable[[Any, Any], dict[str, Any]] | None = None,
) -> Callable[[Any, Any], dict[str, Any]]:
    """Make a Lambda handler for a client's functions.

    `serve_origin` and `serve_path` beat INNGEST_SERVE_ORIGIN and INNGEST_SERVE_PATH; `streaming`
    beats the client's and INNGEST_STREAMING. What comes back is a plain function that decorators
    for Lambda handlers can wrap. What is no HTTP goes to `forward`, which sends it as events; what
    that raises leaves the handler, so that the source delivers it again.

        handler = inngest_serverless.aws.serve(client)
        handler = inngest_serverless.aws.serve(client, forward=aws.forward(client))
    """
    environment = Environment.from_env(os.environ)
    served = Served(lambda: client, environment, serve_origin, serve_path, streaming, forward)

    def handler(event: Any, context: Any) -> dict[str, Any]:
        return _answer(served, event, context)

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
    environment = Environment.from_env(os.environ)
    if environment.has_runtime_api:
        copies.watch(environment)
    if not environment.starts_here:
        return
    try:
        _app.get()
    except Exception as error:
        _log_failed_load(error)


def _answer(served: Served, event: Any, context: Any) -> dict[str, Any]:
    if warm_up.is_warm_up(event, forwards=served.forward is not None):
        return dict(warm_up.ANSWER)
    if isinstance(event, dict) and ("RequestType" in event or "inngest" in event):
        answer = _ordered(served, event, context)
        if answer is not None:
            return answer
    door = front_door(event)
    if not isinstance(door, NotHttp):
        return _served(served, event, context, door)
    return _ignored(event, door) if served.forward is None else served.forward(event, context)


def _served(served: Served, event: Any, context: Any, door: FrontDoor) -> dict[str, Any]:
    entrypoint = _entrypoint(served, door)
    loaded = None
    try:
        try:
            client = loaded = _loaded(served)
        finally:  # what went wrong is told in the same form
            if _streams(served, loaded, event, door):
                entrypoint = _streaming(entrypoint)
        answer = _response(client, event, context, door, entrypoint)
        return _sent(answer, door, entrypoint, served.environment)
    except ProtocolError as error:
        refusal = error
    except Exception as error:
        refusal = _fault(error)
    return _sent(finish(wire.refused(refusal), entrypoint), door, entrypoint, served.environment)


def _ordered(served: Served, event: dict[Any, Any], context: Any) -> dict[str, Any] | None:
    """Answer an event that asks for a registration (see `deployment`); None for another."""
    from inngest_serverless.aws import deployment  # once a deployment

    order = deployment.order_from(event)
    if order is None:
        return None
    entrypoint = _entrypoint(served, DIRECT)

    def perform() -> Response:
        client = _loaded(served)
        # The app is registered for a front door, which may stream; this invocation never does.
        where = replace(entrypoint, can_stream=_runtime_streams(served, client))
        return deployment.register(client, order.url, where, time.time())

    if isinstance(order, deployment.CustomResource):
        now = time.time()
        deadline = _deadline(context, now)
        return deployment.carry_out(order, perform, None if deadline is None else deadline - now)
    try:
        return event_from(perform(), DIRECT)
    except ProtocolError as error:
        return event_from(finish(wire.refused(error), entrypoint), DIRECT)
    except Exception as error:
        return event_from(finish(wire.refused(_fault(error)), entrypoint), DIRECT)


def _entrypoint(served: Served, door: FrontDoor) -> Entrypoint:
    return Entrypoint(
        framework="aws-lambda",
        platform=f"aws-{served.environment.region}",
        serve_origin=served.serve_origin,
        serve_path=served.serve_path,
        max_response_bytes=door.max_answer_bytes - ENVELOPE_BYTES,
        limit_name=door.limit_name,
        streaming=served.streaming,
    )


def _streaming(entrypoint: Entrypoint) -> Entrypoint:
    # In chunks Lambda carries up to 200 MB; what counts then is what the server takes.
    return replace(
        entrypoint,
        can_stream=True,
        max_response_bytes=wire.MAX_RESPONSE,
        limit_name="the Inngest server",
    )


def _streams(served: Served, client: Inngest | None, event: Any, door: FrontDoor) -> bool:
    """Whether this answer leaves in chunks, be it only one.

    Streaming that is on says that the Function URL, or the REST API, is set to pass chunks on. Set
    so, it would show a whole answer's JSON to the caller: so all answers through it are chunked.
    """
    return can_pass_chunks(event, door) and _runtime_streams(served, client)


def _runtime_streams(served: Served, client: Inngest | None) -> bool:
    if not served.environment.has_runtime_api:
        return False
    settled = served.streaming
    if settled is None:
        settled = _streaming_in(served.environment) if client is None else client.config.streaming
    if settled not in (Streaming.ALLOW, Streaming.FORCE):
        return False
    from inngest_serverless.aws.response_stream import runtime_streams  # where answers stream

    return runtime_streams()


def _streaming_in(environment: Environment) -> Streaming:
    try:
        return Config.from_env({"INNGEST_STREAMING": environment.streaming}).streaming
    except ConfigError:
        return Streaming.DISABLE


def _loaded(served: Served) -> Inngest:
    try:
        return served.app()
    except Exception as error:
        _log_failed_load(error)
        raise ProtocolError(explain(error)) from None


def _response(
    client: Inngest, event: Any, context: Any, door: FrontDoor, entrypoint: Entrypoint
) -> Answer:
    request = request_from(event, door, _tenant(context))
    if door.shape == "alb" and request.headers.get("user-agent") == HEALTH_CHECKER:
        # In cloud mode the core refuses an unsigned GET, and the target would count as unhealthy.
        return finish(Response(200, {}, dumps({"healthy": True})), entrypoint)
    if request.method == "PUT" and path_may_be_mapped(event, door):
        _advise_on_path(client, request, entrypoint)
    now = time.time()
    deadline = _deadline(context, now)
    if not entrypoint.can_stream:
        return drive(serve_request(client, request, entrypoint, now=now, deadline=deadline))
    from inngest_sdk import streaming  # where answers stream

    return streaming.serve(client, request, entrypoint, now=now, deadline=deadline)


def _tenant(context: Any) -> str | None:
    tenant_id = getattr(context, "tenant_id", None)
    return tenant_id if isinstance(tenant_id, str) and tenant_id else None


def _sent(
    answer: Answer, door: FrontDoor, entrypoint: Entrypoint, environment: Environment
) -> dict[str, Any]:
    if not entrypoint.can_stream:
        assert isinstance(answer, Response), "only where the entrypoint says so is there a stream"
        return _within_limit(event_from(answer, door), door, entrypoint, environment)
    from inngest_serverless.aws.response_stream import ChunkedAnswer

    prelude = prelude_from(answer.status, answer.headers, door)
    if isinstance(answer, Response):
        return ChunkedAnswer(event_from(answer, door), prelude, iter([answer.body]))
    whole = Response(answer.status, answer.headers, LOST)
    return ChunkedAnswer(event_from(whole, door), prelude, answer.chunks)


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


def _ignored(event: Any, found: NotHttp) -> dict[str, Any]:
    """Answer what is no HTTP. Raises ForwardError for messages that would be lost by an answer."""
    if isinstance(event, dict) and ("Records" in event or "eventSource" in event):
        from inngest_serverless.aws.sources.bridge import refuse_unforwarded  # seldom, by mistake

        refuse_unforwarded(event)
    LOG.warning("ignored %s: this function serves Inngest over HTTP only", found.what)
    return {"ok": True, "ignored": f"{found.what}: not an HTTP event"}


def _fault(error: Exception) -> ProtocolError:
    LOG.exception("the Lambda entrypoint failed; please report this as a bug")
    name = type(error).__name__
    return ProtocolError(f"the Lambda entrypoint failed with {name}; see the function's log")


def _log_failed_load(error: Exception) -> None:
    LOG.error("the Inngest app could not be loaded: %s", explain(error), exc_info=error)
