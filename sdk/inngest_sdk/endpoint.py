"""The one way in: a request comes as a value, a response goes out as a value.

GET introspects, PUT registers, POST calls a function or answers the trust probe. Here, and only
here, errors become responses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from inngest_sdk import signing, wire
from inngest_sdk.api import fetch_with_keys
from inngest_sdk.approval_link import is_followed
from inngest_sdk.checkpoint import Checkpoints, allowed, settled
from inngest_sdk.client import Inngest, RegisteredHandler
from inngest_sdk.config import Streaming
from inngest_sdk.effects import (
    AsyncDriver,
    Driver,
    Flow,
    Invocation,
    Now,
    Outcome,
    Raised,
    Reported,
    Returned,
    invoke,
)
from inngest_sdk.errors import (
    BodyTooLargeError,
    ConfigError,
    DevModeInCloudError,
    FunctionNotFoundError,
    MethodNotAllowedError,
    ProtocolError,
    QueryMissingError,
    ResponseTooLargeError,
    SecretUnavailableError,
    ServerKindMismatchError,
    SignatureInvalidError,
    SigningKeyMissingError,
    StateUnavailableError,
    UnreachableError,
)
from inngest_sdk.failure import error_json, is_retriable, retry_after
from inngest_sdk.http import Request, Response, dumps
from inngest_sdk.introspection import inspect
from inngest_sdk.invocation import FunctionCall, checked
from inngest_sdk.middleware import tell_refused
from inngest_sdk.registration import register, sync_url
from inngest_sdk.sending import tracing

MAX_REQUEST = 100 * 1024 * 1024  # bytes; the Go SDK's default, far above what servers send


@dataclass(frozen=True)
class Entrypoint:
    """What a front door knows of itself.

    `framework` and `platform` are named to the server. `serve_origin` and `serve_path` are the
    code's arguments: they beat the environment, which beats the request's URL. Answers over
    `max_response_bytes` become an error that names the limit, `limit_name`. `streaming` is the
    code's argument too; `can_stream` says that the platform passes bytes on as they come, and
    `heartbeat_seconds` how often a stream shows that it is alive (see `streaming`).
    """

    framework: str
    platform: str
    serve_origin: str | None = None
    serve_path: str | None = None
    max_response_bytes: int = wire.MAX_RESPONSE
    limit_name: str = "the Inngest server"
    streaming: Streaming | None = None
    can_stream: bool = False
    heartbeat_seconds: float = 3.0


@dataclass
class Timing:
    """How long each part of an answer has taken so far, for its server-timing header (wire.md A1).

    `started` is Unix seconds.
    """

    started: float
    parts: str = ""
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.started

    def end(self, part: str) -> Flow[None]:
        """Note that this part has ended now, and that the next begins."""
        at: float = yield Now()
        self.parts += f"{part};dur={_milliseconds(at - self._last)}, "
        self._last = at

    def header(self, at: float) -> str:
        """The header's value for an answer that is complete at this time: milliseconds."""
        return f"{self.parts}total;dur={_milliseconds(at - self.started)}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f}" if seconds > 0 else "0"  # a clock may have been set back


def serve(
    client: Inngest,
    request: Request,
    entrypoint: Entrypoint,
    *,
    now: float,
    deadline: float | None = None,
) -> Flow[Response]:
    """Answer one request. Never raises: every error becomes a response.

    `now` is Unix seconds, as is `deadline`, when the platform would kill the call; None where it
    does not say.
    """
    key = None
    timing = Timing(now)
    try:
        _check_mode(client)
        if is_followed(request):
            from inngest_sdk.approval_page import answer  # loaded by apps that ask for approvals

            return (yield from answer(client, request, now))
        key = yield from _admitted(client, request, now)
        response = yield from _answer(client, request, entrypoint, key, timing, deadline)
    except ProtocolError as error:
        if isinstance(error, SignatureInvalidError):
            # The answer does not say why, so the log has to.
            client.logger.warning("inngest: refused a request: %s", error.message)
        elif isinstance(error, (DevModeInCloudError, SecretUnavailableError)):
            client.logger.error("inngest: %s", error.message)
            client.logger.debug("inngest: it came from here", exc_info=error)
        tell_refused(client.middleware, client, error)
        response = wire.refused(error)
    except ConfigError as error:
        response = _unanswered(error)
    except Exception as error:
        client.logger.exception("inngest: a request could not be answered")
        response = _unanswered(error)
    response = finish(response, entrypoint)
    if wire.HANDLED in response.headers:
        return response
    at: float = yield Now()
    headers = {**response.headers, "server-timing": timing.header(at)}
    if key is not None:
        # By the key that vouched for the request: the server may know no other (wire.md A11).
        headers[signing.HEADER] = signing.sign(key, response.body, int(at))
    return Response(response.status, headers, response.body)


def _unanswered(error: Exception) -> Response:
    # Anybody may be reading: where in the code it happened is for the log.
    body = error_json(error)
    return wire.failed({"name": body["name"], "message": body["message"]}, retriable=True)


def finish(response: Response, entrypoint: Entrypoint) -> Response:
    """Put on what every answer carries, and keep it within the platform's limit."""
    limit = entrypoint.max_response_bytes
    if len(response.body) > limit:
        response = too_large(len(response.body), limit, entrypoint.limit_name)
    if wire.HANDLED in response.headers:
        return response
    common = wire.sdk_headers(entrypoint.framework, entrypoint.platform)
    return Response(response.status, {**common, **response.headers}, response.body)


def too_large(size: int, limit: int, limit_name: str) -> Response:
    """The answer in place of one that the platform would refuse to carry."""
    return wire.refused(
        ResponseTooLargeError(
            f"the answer has {size:,} bytes; {limit_name} takes at most {limit:,}. Keep large "
            "values elsewhere (a bucket) and return references, or send fewer steps at once."
        )
    )


def _check_mode(client: Inngest) -> None:
    config = client.config
    if config.is_production or config.cloud is None or config.allow_dev:
        return
    raise DevModeInCloudError(
        f"this app is in dev mode, in which it takes calls from anybody, but it runs on "
        f"{config.cloud}. Unset INNGEST_DEV (and is_production=False) and set INNGEST_SIGNING_KEY; "
        "if this is a stand-in on your machine, or nobody else can reach it, set "
        "INNGEST_ALLOW_DEV=1"
    )


def _admitted(client: Inngest, request: Request, now: float) -> Flow[str | None]:
    """The key that vouches for a request that may come in; None for none."""
    if len(request.body) > MAX_REQUEST:
        raise BodyTooLargeError(
            f"the request has {len(request.body):,} bytes; at most {MAX_REQUEST:,}"
        )
    return (yield from _verified_key(client, request, now))


def _answer(
    client: Inngest,
    request: Request,
    entrypoint: Entrypoint,
    key: str | None,
    timing: Timing,
    deadline: float | None,
) -> Flow[Response]:
    _check_server_kind(client, request, verified=key is not None)
    if request.method == "GET":
        return _introspect(client, request, entrypoint, verified=key is not None)
    if request.method == "PUT":
        _check_streaming(client, entrypoint)
        url = sync_url(request.url, client.config, entrypoint.serve_origin, entrypoint.serve_path)
        return (
            yield from register(
                client,
                request,
                url,
                framework=entrypoint.framework,
                platform=entrypoint.platform,
                verified=key is not None,
                serve_origin=entrypoint.serve_origin,
                serve_path=entrypoint.serve_path,
            )
        )
    if request.method != "POST":
        raise MethodNotAllowedError(
            f"{request.method} means nothing here; GET introspects, PUT registers, POST calls"
        )
    _require_signature(client, verified=key is not None)
    if is_trust_probe(request):
        return Response(200, {}, dumps({}))  # what proves it is the signature of every answer
    _check_streaming(client, entrypoint)
    return (yield from _call(client, request, entrypoint, timing, deadline))


def is_trust_probe(request: Request) -> bool:
    """Whether a POST asks for a proof of our key, and calls no function (wire.md A5)."""
    return request.query.get("probe") == "trust"


def _verified_key(client: Inngest, request: Request, now: float) -> Flow[str | None]:
    """The key that verifies the request's signature; None if it is unsigned, or if this is a dev
    app without a key. A signature that is there must be right, in dev mode too."""
    header = request.headers.get("x-inngest-signature")
    keys = client.config.signing_keys
    if header is None or not keys:
        return None
    signing.parts(header, now)  # what is refused by its looks costs no fetch of keys
    check = partial(_verified_with, request.body, header, now)
    return (yield from signing.vouched(keys, check))


def _verified_with(body: bytes, header: str, now: float, keys: Sequence[str]) -> str:
    return signing.verify(body, header, keys, now)


def _require_signature(client: Inngest, *, verified: bool) -> None:
    if verified or not client.config.is_production:
        return
    if not client.config.signing_keys:
        raise SigningKeyMissingError(
            "this app is in cloud mode and has no signing key, so it cannot tell Inngest's calls "
            "from anybody's. Set INNGEST_SIGNING_KEY; for development, set INNGEST_DEV=1."
        )
    raise SignatureInvalidError("the request is not signed")


def _check_server_kind(client: Inngest, request: Request, *, verified: bool) -> None:
    kind = request.headers.get("x-inngest-server-kind")
    ours = "cloud" if client.config.is_production else "dev"
    if verified or kind is None or kind == ours:
        return
    remedy = (
        "unset INNGEST_DEV to serve Inngest Cloud or a self-hosted server"
        if ours == "dev"
        else "set INNGEST_DEV=1, or to the dev server's URL, to serve a dev server"
    )
    raise ServerKindMismatchError(
        f"a {kind} server asked, but this app is in {ours} mode; {remedy}"
    )


def _check_streaming(client: Inngest, entrypoint: Entrypoint) -> None:
    settled = client.config.streamed(entrypoint.streaming)
    if settled is Streaming.FORCE and not entrypoint.can_stream:
        raise ConfigError(
            f"streaming is set to 'force', but this platform ({entrypoint.framework}) cannot "
            "stream answers; set INNGEST_STREAMING (or streaming=) to 'allow', which streams only "
            "where the platform can, or to 'disable'"
        )


def _introspect(
    client: Inngest, request: Request, entrypoint: Entrypoint, *, verified: bool
) -> Response:
    _require_signature(client, verified=verified)
    framework = entrypoint.framework
    body = inspect(client, request, framework=framework, authenticated=verified or None)
    return Response(200, {}, dumps(body))


def _call(
    client: Inngest,
    request: Request,
    entrypoint: Entrypoint,
    timing: Timing,
    deadline: float | None,
) -> Flow[Response]:
    handler = _handler(client, request)
    call = wire.parse_call(request.body, request.headers)
    yield from timing.end("parse")
    if call.use_api:
        call = yield from _with_state(client, call)
        yield from timing.end("state")
    if not call.events:
        call = replace(call, events=(call.event,))
    step = request.query.get("stepId", wire.ROOT_STEP)
    target = None if step == wire.ROOT_STEP else step
    checkpoints = _checkpoints(client, handler, call, target, timing.started, deadline)
    origin, path = entrypoint.serve_origin, entrypoint.serve_path
    app_url = partial(sync_url, request.url, client.config, origin, path)
    invocation = FunctionCall(
        client, handler, call, target, checkpoints, request, deadline, app_url
    )
    outcome = yield from invoke(Traced(invocation, call.trace) if call.trace else invocation)
    yield from timing.end("function")
    return _reply(client, handler, outcome)


@dataclass(frozen=True)
class Traced:
    """An invocation whose events, where it sends any, belong to the trace of its call."""

    invocation: Invocation
    trace: Mapping[str, str]

    @property
    def is_async(self) -> bool:
        """Whether the user function is a coroutine function."""
        return self.invocation.is_async

    def run(self, drive: Driver) -> Outcome:
        """Run a sync function to its outcome."""
        with tracing(self.trace):
            return self.invocation.run(drive)

    async def run_async(self, drive: AsyncDriver) -> Outcome:
        """Run an async function to its outcome, on the running loop."""
        with tracing(self.trace):
            return await self.invocation.run_async(drive)


def _checkpoints(
    client: Inngest,
    handler: RegisteredHandler,
    call: wire.Call,
    target: str | None,
    now: float,
    deadline: float | None,
) -> Checkpoints | None:
    chosen = handler.function.options.checkpointing
    policy = settled(client.checkpointing if chosen is None else chosen)
    if policy is None or not client.server.has_checkpoints or not allowed(call, target):
        return None
    return Checkpoints(client.server, call, policy, now, deadline)


def _handler(client: Inngest, request: Request) -> RegisteredHandler:
    fn_id = request.query.get("fnId")
    if not fn_id:
        raise QueryMissingError(
            "the query has no fnId; register the app again so that the server learns its URL"
        )
    handler = client.handler_for(fn_id)
    if handler is None:
        known = ", ".join(client.functions) or "no functions at all"
        raise FunctionNotFoundError(
            f"no function {fn_id!r}; this app serves: {known}. If it was renamed or removed, "
            "register the app again."
        )
    return handler


def _with_state(client: Inngest, call: wire.Call) -> Flow[wire.Call]:
    """The call with the steps, and the events, that were too large to send (wire.md A6)."""
    steps = yield from _fetch_state(client, call, "actions")
    if not isinstance(steps, dict):
        raise StateUnavailableError(f"the steps of run {call.run_id} are not a JSON object")
    call = replace(call, steps=steps)
    if not call.events:
        batch = yield from _fetch_state(client, call, "batch")
        call = replace(call, events=wire.parse_events(batch, "the batch of events"))
    return call


def _fetch_state(client: Inngest, call: wire.Call, what: str) -> Flow[Any]:
    url = f"{client.config.api_origin}/v0/runs/{call.run_id}/{what}"
    headers = {**call.trace, "x-inngest-sdk": wire.SDK}
    if client.config.env is not None:
        headers["x-inngest-env"] = client.config.env
    try:
        response = yield from fetch_with_keys(Request("GET", url, headers), client.config)
    except UnreachableError as error:
        raise StateUnavailableError(f"{error.message}; it was asked for the run's state") from error
    if response.status != 200:
        raise StateUnavailableError(
            f"GET {url} answered {response.status}: {response.body[:200].decode(errors='replace')}"
        )
    try:
        return response.json()
    except ValueError as error:
        raise StateUnavailableError(f"GET {url} answered what is not JSON: {error}") from error


def _reply(client: Inngest, handler: RegisteredHandler, outcome: Outcome) -> Response:
    match outcome:
        case Returned(value, ops):
            return _returned(client, handler, value, ops)
        case Reported(ops, after):
            return wire.reported(ops, after)
        case Raised(error):
            return _raised(error)


def _raised(error: Exception) -> Response:
    if isinstance(error, ProtocolError):
        return wire.refused(error)
    return wire.failed(
        error_json(error), retriable=is_retriable(error), retry_after=retry_after(error)
    )


def _returned(
    client: Inngest,
    handler: RegisteredHandler,
    value: object,
    ops: tuple[dict[str, Any], ...],
) -> Response:
    try:
        result = checked(handler, value)
    except Exception as error:
        return _raised(error)
    return wire.completed(ops, result) if ops else wire.returned(result)
